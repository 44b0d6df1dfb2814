//! All ranks' orders in one process, with the exchange between them done in memory.

use super::order::{EpochOrder, OrderSpec, ShardOrder};
use super::reshard::Reshard;

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
        let begun = self.ranks.iter_mut().map(|rank| rank.reshard(epoch));
        let Some(mut exchange) = begun.collect::<Option<Vec<_>>>() else {
            return;
        };
        for slice in 0..exchange.first().map_or(0, Reshard::slices) {
            let sent: Vec<_> = exchange.iter().map(|own| own.send(slice)).collect();
            for (to, own) in exchange.iter_mut().enumerate() {
                let received: Vec<_> = sent.iter().map(|parts| parts[to].clone()).collect();
                own.take(slice, &received);
            }
        }
        for (rank, own) in self.ranks.iter_mut().zip(exchange) {
            rank.resharded(own);
        }
    }

    pub fn rank(&self, rank: usize) -> EpochOrder {
        self.ranks[rank].epoch(self.epoch)
    }
}
