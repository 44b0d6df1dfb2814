//! The section `cluster`, which only dlio-rs has.

use serde::{Deserialize, Serialize};

use super::StepBarrier;

/// `cluster`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ClusterSection {
    /// How ranks wait for each other after each step. `shared`: in memory that the ranks of a node share, asleep until the
    /// last has come, with one rank per node in a collective of MPI; `mpi`: in a collective of MPI over all ranks, which spins.
    /// Default auto: `shared`.
    pub barrier: StepBarrier,
}

impl Default for ClusterSection {
    fn default() -> Self {
        ClusterSection {
            barrier: StepBarrier::Auto,
        }
    }
}
