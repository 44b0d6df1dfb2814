//! All ranks' orders in one process, with the exchange between them done in memory.

use super::order::{EpochOrder, OrderSpec, ShardOrder};

/// The orders of every rank of a job.
pub struct JobOrder {
    ranks: Vec<ShardOrder>,
    epoch: u64,
}

impl JobOrder {
    /// The orders of `size` ranks, before the first epoch.
    pub fn new(spec: OrderSpec, size: usize) -> Self {
        JobOrder {
            ranks: (0..size)
                .map(|r| ShardOrder::new(spec.clone(), r, size))
                .collect(),
            epoch: 0,
        }
    }

    /// Goes to an epoch; epochs are taken one after another from 1.
    pub fn advance(&mut self, epoch: u64) {
        self.epoch = epoch;
        let Some(sent) = self
            .ranks
            .iter()
            .map(|r| r.reshard_split(epoch))
            .collect::<Option<Vec<_>>>()
        else {
            return;
        };
        for (to, rank) in self.ranks.iter_mut().enumerate() {
            rank.reshard_merge(epoch, sent.iter().map(|parts| parts[to].clone()).collect());
        }
    }

    /// One rank's order of the epoch.
    pub fn rank(&self, rank: usize) -> EpochOrder {
        self.ranks[rank].epoch(self.epoch)
    }
}
