//! What the readers of a rank share: the storage, the rank's page for the watchdog, and the totals that they add to.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use super::account::Meter;
use super::{Activity, Tally, Totals};
use crate::storage::{Answer, Storage};

/// Shared by the readers of a rank as long as the loader lives.
pub(super) struct Shared {
    pub(super) storage: Arc<dyn Storage>,
    pub(super) activity: Activity,
    /// One for each reader.
    counts: Vec<Counts>,
    cpu_ns: AtomicU64,
    delay_ns: AtomicU64,
    /// A thread's run-queue delay could not be read.
    is_blind: AtomicBool,
}

/// What one reader counts. It lies in a line of the CPU's cache that no other reader writes to.
#[derive(Default)]
#[repr(align(64))]
struct Counts {
    bytes: AtomicU64,
    calls: AtomicU64,
    retries: AtomicU64,
    samples: AtomicU64,
    metadata_bytes: AtomicU64,
    metadata_calls: AtomicU64,
}

impl Shared {
    /// Nothing was read yet by any of `readers` readers.
    pub(super) fn new(storage: Arc<dyn Storage>, activity: Activity, readers: usize) -> Self {
        Shared {
            storage,
            activity,
            counts: (0..readers).map(|_| Counts::default()).collect(),
            cpu_ns: AtomicU64::new(0),
            delay_ns: AtomicU64::new(0),
            is_blind: AtomicBool::new(false),
        }
    }

    /// Adds what a run of `samples` samples was: its reads, and those for its metadata. Called by reader `reader`.
    pub(super) fn count(&self, reader: usize, reads: &Answer, metadata: &Answer, samples: u64) {
        let own = &self.counts[reader];
        for (count, n) in [
            (&own.bytes, reads.bytes + metadata.bytes),
            (&own.calls, reads.calls + metadata.calls),
            (&own.retries, reads.retries + metadata.retries),
            (&own.metadata_bytes, metadata.bytes),
            (&own.metadata_calls, metadata.calls),
            (&own.samples, samples),
        ] {
            // Nobody else writes, so that no locked instruction is needed.
            count.store(count.load(Relaxed) + n, Relaxed);
        }
    }

    /// Adds what an epoch cost a thread to the totals.
    pub(super) fn settle(&self, meter: &Meter) {
        self.cpu_ns.fetch_add(meter.cpu_ns(), Relaxed);
        match meter.delay_ns() {
            Some(ns) => drop(self.delay_ns.fetch_add(ns, Relaxed)),
            None => self.is_blind.store(true, Relaxed),
        }
    }
}

impl Tally for Shared {
    fn totals(&self) -> Totals {
        let sum = |of: fn(&Counts) -> &AtomicU64| -> u64 {
            self.counts.iter().map(|own| of(own).load(Relaxed)).sum()
        };
        Totals {
            bytes: sum(|own| &own.bytes),
            calls: sum(|own| &own.calls),
            retries: sum(|own| &own.retries),
            samples: sum(|own| &own.samples),
            metadata_bytes: sum(|own| &own.metadata_bytes),
            metadata_calls: sum(|own| &own.metadata_calls),
            cpu_ns: self.cpu_ns.load(Relaxed),
            delay_ns: (!self.is_blind.load(Relaxed)).then(|| self.delay_ns.load(Relaxed)),
        }
    }
}
