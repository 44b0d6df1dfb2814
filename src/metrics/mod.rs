//! What was measured: per-step records, histograms per stage, DLIO's formulas, reductions over ranks.

pub mod record;
