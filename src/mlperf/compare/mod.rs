//! Two runs side by side: each difference with its size, its tolerance and its significance.

mod judge;
mod runs;
mod steps;
pub mod text;
pub mod tolerance;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::figures;
use super::hash::differing;
use super::json::at;
use super::leaf::Leaf;
use super::stats::Significance;
use judge::Job;
use tolerance::Tolerance;

/// What a comparison says of one figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within tolerance.
    Within,
    /// Beyond it.
    Beyond,
    /// Told, without judgement.
    Told,
    /// A run lacks the figure.
    Skip,
}

/// One figure of both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Item {
    /// Its name.
    pub figure: String,
    /// Its unit.
    pub unit: &'static str,
    /// Of the first run.
    pub a: Value,
    /// Of the second run.
    pub b: Value,
    /// Second less first; in `difference_unit`.
    pub difference: Option<f64>,
    /// `percentage points` or `%` (of the first run's).
    pub difference_unit: &'static str,
    /// How far they may lie apart, in `difference_unit`.
    pub tolerance: Option<f64>,
    /// What follows.
    pub verdict: Verdict,
    /// Why, where the numbers do not say it.
    pub note: Option<String>,
    /// Whether chance explains the difference, or why that cannot be told.
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
    /// Dotted.
    pub key: String,
    /// Of the first run; null where it does not set it.
    pub a: Value,
    /// Of the second run.
    pub b: Value,
}

/// The whole comparison.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Folder of the first run.
    pub a: String,
    /// Folder of the second run.
    pub b: String,
    /// The tolerances.
    pub tolerance: Tolerance,
    /// Figures.
    pub items: Vec<Item>,
    /// Parameters of the workloads that differ.
    pub parameters: Vec<Parameter>,
    /// Versions and machines that differ.
    pub environment: Vec<Parameter>,
    /// True where nothing is beyond tolerance.
    pub within: bool,
}

/// Compares two runs. Err: one of them cannot be read, or they cannot be compared.
pub fn compare(a: &Leaf, b: &Leaf, tolerance: &Tolerance) -> Result<Comparison, String> {
    let figures =
        |leaf: &Leaf| figures::of(leaf).map_err(|u| format!("read {}: {}", u.path, u.cause));
    let (fa, fb) = (figures(a)?, figures(b)?);
    for run in [&fa, &fb] {
        if run.training.is_none() && run.checkpoints.is_none() {
            return Err(format!(
                "compare {}: it only generated data and has no figures; give a run that trained or wrote checkpoints",
                run.path
            ));
        }
    }
    if fa.training.is_some() != fb.training.is_some() {
        return Err(format!(
            "compare {} and {}: one trained and the other wrote checkpoints; give two runs of one kind",
            fa.path, fb.path
        ));
    }
    let mut job = Job {
        a,
        b,
        tolerance,
        items: Vec::new(),
    };
    job.layout(&fa, &fb);
    if let (Some(x), Some(y)) = (&fa.training, &fb.training) {
        job.training(x, y);
    }
    if let (Some(x), Some(y)) = (&fa.checkpoints, &fb.checkpoints) {
        job.direction("save", x.save.as_ref(), y.save.as_ref());
        job.direction("load", x.load.as_ref(), y.load.as_ref());
    }
    job.stages();
    let items = job.items;
    Ok(Comparison {
        a: fa.path,
        b: fb.path,
        tolerance: tolerance.clone(),
        within: items.iter().all(|i| i.verdict != Verdict::Beyond),
        items,
        parameters: different(a.parameters(), b.parameters(), |_| true),
        environment: different(
            a.report.value().and_then(|r| at(r, "provenance")),
            b.report.value().and_then(|r| at(r, "provenance")),
            |key| ENVIRONMENT.contains(&key),
        ),
    })
}

/// Facts of `report.json` that say with what, and where, a run was made.
const ENVIRONMENT: [&str; 8] = [
    "version",
    "git_commit",
    "build_profile",
    "mpi_library",
    "kernel",
    "cpus_allowed",
    "affinity",
    "memory_bytes",
];

fn different(
    a: Option<&Value>,
    b: Option<&Value>,
    counts: impl Fn(&str) -> bool,
) -> Vec<Parameter> {
    let none = Value::Null;
    differing(a.unwrap_or(&none), b.unwrap_or(&none), counts)
        .into_iter()
        .map(|(key, a, b)| Parameter { key, a, b })
        .collect()
}
