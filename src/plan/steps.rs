//! How many steps a run takes. Every number is the same on all ranks, so that no collective can dead-lock.

use super::Split;
use super::order::ShardOrder;
use crate::config::Workload;

/// Step counts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// Training steps per epoch.
    pub train: u64,
    /// True when `train.total_training_steps` cut it.
    pub overridden: bool,
    /// Evaluation steps; 0 without evaluation.
    pub eval: u64,
    /// Training samples per epoch that no rank reads, because they do not fill a batch on every rank.
    pub dropped: u64,
}

impl Steps {
    /// The steps of `workload` on this many ranks.
    ///
    /// Source: DLIO main.py: the loader's batches, capped per epoch by `total_training_steps`.
    pub fn new(workload: &Workload, ranks: usize) -> Self {
        let available = Self::available(workload, ranks);
        let cap = workload.train.total_training_steps;
        let train = if cap > 0 {
            available.min(cap as u64)
        } else {
            available
        };
        let d = &workload.dataset;
        let eval = if workload.workflow.evaluation {
            Self::batches(workload, Split::Valid, ranks)
        } else {
            0
        };
        Steps {
            train,
            overridden: cap > 0,
            eval,
            dropped: d.num_files_train * d.num_samples_per_file
                - available * workload.reader.batch_size * ranks as u64,
        }
    }

    /// Training steps per epoch that the dataset gives.
    pub fn available(workload: &Workload, ranks: usize) -> u64 {
        Self::batches(workload, Split::Train, ranks)
    }

    fn batches(workload: &Workload, split: Split, ranks: usize) -> u64 {
        let mut plain = workload.clone();
        // The count does not depend on the shuffle, whose list of ids would cost memory.
        plain.reader.sample_shuffle = crate::config::Shuffle::Off;
        let files = match split {
            Split::Train => workload.dataset.num_files_train,
            Split::Valid => workload.dataset.num_files_eval,
        };
        ShardOrder::new(&plain, split, 0, ranks, files)
            .epoch(1)
            .batches()
    }
}
