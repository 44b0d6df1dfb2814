//! The section `cluster`, which only dlio-rs has.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::StepBarrier;

section! {
    /// `cluster`
    pub struct ClusterSection {
        /// How ranks wait for each other after each step.
        ///
        /// - DLIO: no such key; ranks meet in a barrier of MPI.
        pub barrier: StepBarrier = StepBarrier::Auto,
    }
}
