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
    bytes: AtomicU64,
    calls: AtomicU64,
    retries: AtomicU64,
    samples: AtomicU64,
    metadata_bytes: AtomicU64,
    metadata_calls: AtomicU64,
    cpu_ns: AtomicU64,
    delay_ns: AtomicU64,
    /// A thread's run-queue delay could not be read.
    is_blind: AtomicBool,
}

impl Shared {
    /// Nothing was read yet.
    pub(super) fn new(storage: Arc<dyn Storage>, activity: Activity) -> Self {
        Shared {
            storage,
            activity,
            bytes: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            metadata_bytes: AtomicU64::new(0),
            metadata_calls: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
            delay_ns: AtomicU64::new(0),
            is_blind: AtomicBool::new(false),
        }
    }

    /// Adds what a run of `samples` samples was: its reads, and those for its metadata.
    pub(super) fn count(&self, reads: &Answer, metadata: &Answer, samples: u64) {
        for (total, n) in [
            (&self.bytes, reads.bytes + metadata.bytes),
            (&self.calls, reads.calls + metadata.calls),
            (&self.retries, reads.retries + metadata.retries),
            (&self.metadata_bytes, metadata.bytes),
            (&self.metadata_calls, metadata.calls),
            (&self.samples, samples),
        ] {
            add(total, n);
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

/// Adds what is not zero: threads on other CPUs have the word too.
fn add(total: &AtomicU64, n: u64) {
    if n > 0 {
        total.fetch_add(n, Relaxed);
    }
}

impl Tally for Shared {
    fn totals(&self) -> Totals {
        Totals {
            bytes: self.bytes.load(Relaxed),
            calls: self.calls.load(Relaxed),
            retries: self.retries.load(Relaxed),
            samples: self.samples.load(Relaxed),
            metadata_bytes: self.metadata_bytes.load(Relaxed),
            metadata_calls: self.metadata_calls.load(Relaxed),
            cpu_ns: self.cpu_ns.load(Relaxed),
            delay_ns: (!self.is_blind.load(Relaxed)).then(|| self.delay_ns.load(Relaxed)),
        }
    }
}
