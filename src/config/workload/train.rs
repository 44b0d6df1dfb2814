//! The sections `train`, `evaluation` and `metric`.

use serde::{Deserialize, Serialize};

use super::*;
use crate::config::TimeSpec;

/// `train`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Train {
    /// Default 1.
    pub epochs: u64,
    /// Per step. Default 0 s.
    pub computation_time: TimeSpec,
    /// Cap on steps per epoch; -1: none.
    pub total_training_steps: i64,
    /// Default 123.
    pub seed: u64,
    /// Add the epoch to the seed. Default true.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluation {
    /// Per step. Default 0 s.
    pub eval_time: TimeSpec,
    /// First epoch with an evaluation. Default 1.
    pub eval_after_epoch: u64,
    /// Default 1.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metric {
    /// AU that the run must reach, fraction. Default 0.90.
    pub au: f64,
    /// dlio-rs: formulas. Default v3.
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
