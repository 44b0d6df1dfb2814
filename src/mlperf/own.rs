//! Our own `report.json`, as far as figures and comparisons need it.

use serde::Deserialize;

use crate::report::provenance::Provenance;

/// A report of dlio-rs; of another file of that name nothing is set.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct OwnReport {
    pub(crate) schema_version: Option<u32>,
    pub(crate) schema: Option<String>,
    pub(crate) provenance: Option<Provenance>,
    pub(crate) order_digest: Option<String>,
    pub(crate) counters: Counters,
    pub(crate) stages: Vec<Stage>,
    pub(crate) checkpoint: Option<Checkpoints>,
}

impl OwnReport {
    pub(crate) fn is_ours(&self) -> bool {
        let is_named = self
            .schema
            .as_ref()
            .is_some_and(|s| s.starts_with("dlio-rs/"));
        let of = self.provenance.as_ref();
        (self.schema_version.is_some() || is_named) && of.is_some_and(|p| !p.version.is_empty())
    }
}

/// A figure with its unit and formula, of which the number is read.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Figure {
    pub(crate) value: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Counters {
    pub(crate) bytes_read: Figure,
    pub(crate) samples: Figure,
}

/// Nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Stage {
    pub(crate) stage: String,
    pub(crate) count: u64,
    pub(crate) p50: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) p99: Option<f64>,
    #[serde(rename = "p99.9")]
    pub(crate) p999: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Checkpoints {
    pub(crate) save: Option<Direction>,
    pub(crate) load: Option<Direction>,
}

#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub(crate) struct Direction {
    pub(crate) count: u64,
    pub(crate) tensor_bytes: Figure,
    pub(crate) slowest_rank_duration_mean: Figure,
    pub(crate) slowest_rank_throughput_mean: Figure,
}
