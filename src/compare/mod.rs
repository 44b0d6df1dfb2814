//! Two runs side by side: each difference with its size, its tolerance and its significance.

pub(crate) mod comparison;
mod judge;
pub(crate) mod runs;
mod stats;
pub(crate) mod text;
pub(crate) mod tolerance;
