//! A value per rank and epoch.

use serde::{Deserialize, Serialize};

/// Rank x epoch. Epochs beyond 64 are folded: a column holds `epochs_per_column` epochs, the last one perhaps fewer.
///
/// Every table has a row per rank, in rank order, and a column per fold of epochs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct RankEpochs {
    /// Epochs of the job.
    pub epochs: u64,
    /// Epochs in a column: column `i` holds the epochs `i * epochs_per_column + 1 ..= (i + 1) * epochs_per_column`.
    pub epochs_per_column: u64,
    /// AU, percent; the mean of a column's epochs.
    pub au_percent: Vec<Vec<f32>>,
    /// Waiting for batches, seconds; the sum of a column's epochs. All training steps, also those that AU leaves out.
    pub wait_s: Vec<Vec<f32>>,
    /// Waiting for other ranks, seconds; the sum of a column's epochs.
    pub barrier_s: Vec<Vec<f32>>,
    /// 99th percentile of the waits for batches, seconds, from a histogram (within 1 %); the largest of a column's epochs.
    pub p99_wait_s: Vec<Vec<f32>>,
    /// Bytes given to readers, evaluation included; the sum of a column's epochs. Rounded to 24 significant bits.
    pub bytes: Vec<Vec<f64>>,
}

impl RankEpochs {
    pub fn columns(&self) -> usize {
        self.au_percent.first().map_or(0, Vec::len)
    }
}
