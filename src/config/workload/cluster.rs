//! The section `cluster`, which only dlio-rs has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StepBarrier;

/// `cluster`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ClusterSection {
    /// How ranks wait for each other after each step.
    ///
    /// - DLIO: no such key; ranks meet in a barrier of MPI.
    pub barrier: StepBarrier,
}

impl Default for ClusterSection {
    fn default() -> Self {
        ClusterSection {
            barrier: StepBarrier::Auto,
        }
    }
}
