//! How many steps a run takes. Every number is the same on all ranks, so that no collective can dead-lock.

use super::order::{OrderSpec, ShardOrder};

/// What step counts depend on.
#[derive(Debug, Clone)]
pub struct StepsSpec {
    pub train: OrderSpec,
    /// The order of evaluation, where there is one.
    pub valid: Option<OrderSpec>,
    /// The most training steps per epoch, where there is a limit.
    pub cap: Option<u64>,
}

/// Step counts of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    pub train: u64,
    /// True when `train.total_training_steps` cut it.
    pub overridden: bool,
    /// Evaluation steps; 0 without evaluation.
    pub eval: u64,
    /// Training samples per epoch that no rank reads, because they do not fill a batch on every rank.
    pub dropped: u64,
}

impl Steps {
    /// The steps of a run on this many ranks.
    ///
    /// Source: DLIO main.py: the loader's batches, capped per epoch by `total_training_steps`.
    pub fn new(spec: &StepsSpec, ranks: usize) -> Self {
        let available = Self::available(spec, ranks);
        let samples = spec.train.files * spec.train.dataset.samples_per_file();
        Steps {
            train: spec.cap.map_or(available, |cap| available.min(cap)),
            overridden: spec.cap.is_some(),
            eval: spec.valid.as_ref().map_or(0, |valid| batches(valid, ranks)),
            dropped: samples - available * spec.train.batch_size * ranks as u64,
        }
    }

    /// Training steps per epoch that the dataset gives.
    pub fn available(spec: &StepsSpec, ranks: usize) -> u64 {
        batches(&spec.train, ranks)
    }
}

fn batches(order: &OrderSpec, ranks: usize) -> u64 {
    // The count does not depend on the shuffle, whose list of ids would cost memory.
    let plain = OrderSpec {
        sample_shuffle: false,
        ..order.clone()
    };
    ShardOrder::new(plain, 0, ranks).epoch(1).batches()
}
