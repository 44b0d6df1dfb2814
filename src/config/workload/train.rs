//! The sections `train`, `evaluation` and `metric`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;
use crate::config::TimeSpec;

section! {
    /// `train`
    pub struct Train {
        /// Epochs.
        ///
        /// - Unit: epochs
        /// - Most: 2^32
        pub epochs: u64 = 1,
        /// Time that the accelerator computes in a step: a number, or a map that names a distribution.
        ///
        /// - Unit: seconds
        pub computation_time: TimeSpec = TimeSpec::default(),
        /// Most steps of an epoch. Negative: no limit.
        ///
        /// - Unit: steps
        pub total_training_steps: i64 = -1,
        /// Seed of the shuffles and of drawn times.
        ///
        /// - Unit: none
        pub seed: u64 = 123,
        /// Add the number of the epoch to the seed.
        pub seed_change_epoch: bool = true,
    }
}

section! {
    /// `evaluation`
    pub struct Evaluation {
        /// Time that the accelerator computes in an evaluation step: a number, or a map that names a distribution.
        ///
        /// - Unit: seconds
        pub eval_time: TimeSpec = TimeSpec::default(),
        /// First epoch that ends with an evaluation.
        ///
        /// - Unit: epochs
        pub eval_after_epoch: u64 = 1,
        /// Epochs from one evaluation to the next.
        ///
        /// - Unit: epochs
        pub epochs_between_evals: u64 = 1,
    }
}

section! {
    /// `metric`
    pub struct Metric {
        /// Accelerator utilization that the run must reach.
        ///
        /// - Unit: fraction
        pub au: f64 = 0.90,
        /// Formulas of the metrics.
        ///
        /// - DLIO: no such key; its two versions differ in this.
        pub formula: MetricFormula = MetricFormula::V3,
    }
}
