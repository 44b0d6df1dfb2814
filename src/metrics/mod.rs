//! What was measured: per-step records, histograms per stage, DLIO's formulas, reductions over ranks.
//!
//! The formulas are pure functions; [`reduce`](mod@reduce) is the only part that talks to other ranks.

pub mod au;
pub mod breakdown;
pub mod checkpoint;
pub mod dftracer;
pub mod evidence;
pub mod histogram;
pub mod memory;
pub mod record;
pub mod reduce;
pub mod sequential;
pub mod series;
pub mod spec;
pub mod steady;
pub mod summary;
pub mod throughput;
pub mod timeline;
pub mod trace;
