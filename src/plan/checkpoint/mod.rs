//! The checkpoint of a model: for every rank its files, and in each file its tensors.
//!
//! Pure arithmetic on the `model` section and the number of ranks, so that a job of a thousand ranks is planned
//! without starting one. Layout, names and sizes are DLIO's. Source: DLIO `checkpointing/base_checkpointing.py`.

mod layout;
mod model;

pub use layout::{CheckpointPlan, FilePlan, RankPlan, State, TensorPlan, folder_name};
pub use model::DType;

/// Why a model has no checkpoint plan.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// A data type that DLIO does not know.
    #[error(
        "plan the checkpoint: {key}={word} is no data type of a tensor\n  remedy: use one of int8, uint8, fp16, bf16, fp32, fp64"
    )]
    DataType {
        /// Key in the YAML.
        key: &'static str,
        word: String,
    },
    /// A number that is divided by is zero.
    #[error("plan the checkpoint: {key} is 0\n  remedy: set it to 1 or more")]
    Zero {
        /// Key in the YAML.
        key: &'static str,
    },
    /// The sizes do not fit into 63 bits.
    #[error(
        "plan the checkpoint: the model section describes more than 2^63 bytes\n  remedy: check model.transformer and model.num_layers"
    )]
    TooLarge,
}

#[cfg(test)]
mod tests;
