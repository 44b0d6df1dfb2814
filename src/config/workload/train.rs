//! The sections `train`, `evaluation` and `metric`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;
use crate::config::TimeSpec;

/// `train`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Train {
    /// Epochs.
    ///
    /// - Unit: epochs
    pub epochs: u64,
    /// Time that the accelerator computes in a step: a number, or a map that names a distribution.
    ///
    /// - Unit: seconds
    pub computation_time: TimeSpec,
    /// Most steps of an epoch. Negative: no limit.
    ///
    /// - Unit: steps
    pub total_training_steps: i64,
    /// Seed of the shuffles and of drawn times.
    ///
    /// - Unit: none
    pub seed: u64,
    /// Add the number of the epoch to the seed.
    pub seed_change_epoch: bool,
}

impl Default for Train {
    fn default() -> Self {
        Train {
            epochs: 1,
            computation_time: TimeSpec::default(),
            total_training_steps: -1,
            seed: 123,
            seed_change_epoch: true,
        }
    }
}

/// `evaluation`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Evaluation {
    /// Time that the accelerator computes in an evaluation step: a number, or a map that names a distribution.
    ///
    /// - Unit: seconds
    pub eval_time: TimeSpec,
    /// First epoch that ends with an evaluation.
    ///
    /// - Unit: epochs
    pub eval_after_epoch: u64,
    /// Epochs from one evaluation to the next.
    ///
    /// - Unit: epochs
    pub epochs_between_evals: u64,
}

impl Default for Evaluation {
    fn default() -> Self {
        Evaluation {
            eval_time: TimeSpec::default(),
            eval_after_epoch: 1,
            epochs_between_evals: 1,
        }
    }
}

/// `metric`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Metric {
    /// Accelerator utilization that the run must reach.
    ///
    /// - Unit: fraction
    pub au: f64,
    /// Formulas of the metrics.
    ///
    /// - DLIO: no such key; its two versions differ in this.
    pub formula: MetricFormula,
}

impl Default for Metric {
    fn default() -> Self {
        Metric {
            au: 0.90,
            formula: MetricFormula::V3,
        }
    }
}
