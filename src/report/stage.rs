//! The rows of one stage of time, and the words for who served the reads.

use serde_json::{Value, json};

use super::rows::{Row, plain};
use crate::metrics::evidence::ServedByStorage;
use crate::metrics::histogram::StageSummary;
use crate::stage::UNIT;

/// A stage's percentiles; those that the count does not support are null.
pub(super) fn stage(s: &StageSummary) -> Vec<Row> {
    let ns = |key: &str, value: Value| Row {
        path: key.into(),
        label: key.into(),
        value,
        unit: UNIT,
        ..Row::default()
    };
    vec![
        plain("stage", s.stage.name()).label("stage"),
        plain("doc", s.stage.doc()),
        plain("unit", UNIT),
        plain("blame", s.stage.blame().word()),
        plain("formula", "hdr_percentile"),
        plain("count", s.count).label("count"),
        plain("mean", s.mean_ns),
        ns("p50", json!(s.p50_ns)),
        ns("p90", json!(s.p90_ns)),
        ns("p99", json!(s.p99_ns)),
        ns("p99.9", json!(s.p999_ns)),
        ns("max", json!(s.max_ns)),
    ]
}

/// A verdict's word.
pub(super) fn verdict(v: ServedByStorage) -> &'static str {
    match v {
        ServedByStorage::Pass => "PASS",
        ServedByStorage::Suspect => "SUSPECT: part of the bytes came from the page cache",
        ServedByStorage::Cached => "CACHED: the page cache answered, not the storage",
        ServedByStorage::Unknown => "UNKNOWN",
    }
}
