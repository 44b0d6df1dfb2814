//! What a comparison found.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::stats::Significance;
use super::tolerance::Tolerance;

/// What a comparison says of one figure.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    Within,
    Beyond,
    /// Different, which the tolerance lets pass.
    Noted,
    /// A run lacks the figure.
    #[default]
    Skip,
}

/// One figure of both runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Item {
    pub figure: String,
    pub unit: &'static str,
    pub a: Value,
    pub b: Value,
    /// Second less first; in `difference_unit`.
    pub difference: Option<f64>,
    /// `percentage points` or `%` (of the first run's).
    pub difference_unit: &'static str,
    /// How far they may lie apart, in `difference_unit`.
    pub tolerance: Option<f64>,
    pub verdict: Verdict,
    /// Why, where the numbers do not say it.
    pub note: Option<String>,
    /// Whether chance explains the difference, or why no test can say it.
    #[serde(serialize_with = "test_or_reason")]
    pub significance: Option<Result<Significance, String>>,
}

/// The test as a map; where it could not be made, `{"reason": ...}`.
fn test_or_reason<S: serde::Serializer>(
    test: &Option<Result<Significance, String>>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match test {
        None => serializer.serialize_none(),
        Some(Ok(test)) => test.serialize(serializer),
        Some(Err(reason)) => BTreeMap::from([("reason", reason)]).serialize(serializer),
    }
}

/// A parameter that the runs do not share.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Parameter {
    pub key: String,
    /// Of the first run; null where it does not set it.
    pub a: Value,
    pub b: Value,
}

/// The whole comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    pub a: String,
    pub b: String,
    pub tolerance: Tolerance,
    pub items: Vec<Item>,
    /// Parameters of the workloads that differ.
    pub parameters: Vec<Parameter>,
    /// Versions and machines that differ.
    pub environment: Vec<Parameter>,
    /// True where nothing is beyond tolerance.
    pub within: bool,
}
