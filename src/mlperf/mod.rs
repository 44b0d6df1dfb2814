//! MLPerf Storage: its rules, its files and its arithmetic, for tuning and OPEN work.
//!
//! A *leaf* is the folder of one run. Leaves of dlio-rs, of DLIO and of `mlpstorage` are read alike, by their DLIO files.
//! CLOSED results need unmodified DLIO: nothing here ever claims that category.

pub mod compare;
pub mod figures;
pub mod groups;
pub mod hash;
pub mod json;
pub mod leaf;
pub mod ratio;
pub mod render;
pub mod rules;
pub mod sheet;
pub mod size;
pub mod stats;
pub mod table;
pub mod tree;
pub mod verdict;

use serde::{Deserialize, Serialize};

/// What every output that speaks of MLPerf says.
pub const NOT_CLOSED: &str = "CLOSED not claimable: CLOSED demands unmodified DLIO; results of dlio-rs are OPEN or what-if material";

/// What is said of a folder that holds nothing to read.
pub const NO_RUNS: &str = "no run at or below it: the folder of a run holds summary.json, dlio.log, report.json, *_output.json, *_metadata.json or dlio_config/";

/// A round of MLPerf Storage, whose rules apply.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
pub enum Edition {
    /// The round of 2025.
    #[value(name = "v2.0", alias = "v2", alias = "mlperf-v2")]
    #[serde(rename = "v2.0")]
    V2,
    /// The round of 2026.
    #[value(name = "v3.0", alias = "v3", alias = "mlperf-v3")]
    #[serde(rename = "v3.0")]
    V3,
}

impl std::fmt::Display for Edition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Edition::V2 => "v2.0",
            Edition::V3 => "v3.0",
        })
    }
}
