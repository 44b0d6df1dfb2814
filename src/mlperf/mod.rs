//! MLPerf Storage: its rules, its files and its arithmetic, for tuning and OPEN work.
//!
//! A *leaf* is the folder of one run. Leaves of dlio-rs, of DLIO and of `mlpstorage` are read alike, by their DLIO files.
//! CLOSED results need unmodified DLIO: nothing here ever claims that category.

pub(crate) mod editions;
pub(crate) mod facts;
pub(crate) mod figures;
pub(crate) mod foreign;
pub(crate) mod group;
pub(crate) mod hash;
pub(crate) mod leaf;
pub(crate) mod own;
pub(crate) mod ratio;
pub(crate) mod render;
pub(crate) mod results;
pub(crate) mod rules;
pub(crate) mod sample;
pub(crate) mod sheet;
pub(crate) mod show;
pub(crate) mod size;
pub(crate) mod steps;
pub(crate) mod table;
pub(crate) mod tree;
pub(crate) mod verdict;

/// What every output that speaks of MLPerf says.
pub(crate) const NOT_CLOSED: &str = "CLOSED not claimable: CLOSED demands unmodified DLIO; results of dlio-rs are OPEN or what-if material";

/// What is said of a folder that holds nothing to read.
pub(crate) const NO_RUNS: &str = "no run at or below it: the folder of a run holds dlio_config/, dlio.log, summary.json, <rank>_output.json or mlpstorage's *_metadata.json";
