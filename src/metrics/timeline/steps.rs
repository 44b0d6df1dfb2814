//! Training steps by their number.

use serde::{Deserialize, Serialize};

/// Training steps of all ranks. A step's number counts through the job from 1: `(epoch - 1) * steps per epoch + step`.
/// Evaluation steps are not among them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Steps {
    /// Steps of each rank in the whole job (the most of any rank).
    pub total: u64,
    /// All steps in at most 4,096 bins of equal width.
    pub bins: StepBins,
    /// The first 64 steps, each in a bin of its own.
    pub first: StepBins,
    /// The longest waits for a batch of the whole job, at most 256, longest first.
    pub longest_waits: Vec<LongWait>,
}

/// Steps in bins of equal width; all lists have one entry per bin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct StepBins {
    /// Steps per bin: bin `i` holds the steps `i * width + 1 ..= (i + 1) * width`.
    pub width: u64,
    /// Steps of all ranks in the bin.
    pub counts: Vec<u64>,
    /// Waiting for the batch (DLIO's `load`).
    pub wait: Extremes,
    /// The step without its barrier (DLIO's `proc`): wait, computation and what lies between.
    pub step: Extremes,
    /// Waiting for the other ranks after the step.
    pub barrier: Extremes,
}

/// Smallest, sum and largest of a duration per bin, over all ranks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extremes {
    /// Smallest, ns; 0 in a bin without steps.
    pub min_ns: Vec<u64>,
    /// Sum, ns; divided by the bin's count it is the mean.
    pub sum_ns: Vec<u64>,
    /// Largest, ns.
    pub max_ns: Vec<u64>,
    /// The rank that had the largest; of equals the lowest.
    pub max_rank: Vec<u32>,
}

/// One wait for a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LongWait {
    /// How long.
    pub wait_ns: u64,
    /// When it began, offset in ns.
    pub at_ns: u64,
    /// From 1.
    pub epoch: u64,
    /// Step within the epoch, from 1.
    pub step: u64,
    /// Who waited.
    pub rank: usize,
    /// Index into the table of hosts.
    pub host: usize,
    /// The file that the batch waited for; None where it is not known.
    pub file: Option<String>,
}
