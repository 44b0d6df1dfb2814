//! The bounded in-order window between reader threads and the train loop.
//!
//! A batch that is ready costs the train loop two atomic loads; locks are touched only by a side that has to wait.

use std::sync::Arc;
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::time::Duration;

use super::sync::{AtomicBool, AtomicU64, AtomicUsize, Condvar, Mutex, wait};
use super::{Batch, LoaderError};
use crate::clock::now_ns;
use crate::stage::Parts;
use crate::storage::ring::{self, Bell};

/// How long a side sleeps before it looks again by itself: only a bound for lost wake-ups of a dying thread.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

struct Slot {
    /// Runs of the batch that are still to be read; meaningful while the batch is open.
    left: AtomicUsize,
    /// Batch number + 1 when ready.
    ready: AtomicU64,
    hash: AtomicU64,
    /// What readers' time for the batch went to so far.
    parts: [AtomicU64; Parts::LEN],
    begun: AtomicU64,
    done: AtomicU64,
    /// Number of the file that the batch waited for, plus one; 0: none.
    late_file: AtomicU64,
}

pub(super) struct Window {
    slots: Vec<Slot>,
    ahead: u64,
    batches: u64,
    /// Batches below this number may be begun.
    limit: AtomicU64,
    stopped: AtomicBool,
    failure: Mutex<Option<LoaderError>>,
    consumer: Gate,
    /// A task has made a batch ready, and its thread has not woken the consumer yet.
    unseen: AtomicBool,
    readers: Readers,
}

/// How readers sleep until a batch may be begun.
pub(super) enum Readers {
    /// One place per thread, so that the one whose batch may begin is woken and no other.
    Threads(Vec<Gate>),
    /// Tasks of a few threads; the thread of a task does not sleep while another one reads.
    Tasks {
        /// Those of the threads.
        bells: Vec<Arc<Bell>>,
        /// One wake-up of the consumer is for all batches that tasks of a thread make ready one right after another. Not where
        /// the thread may wait in between, other than in its ring.
        gathers: bool,
    },
}

impl Readers {
    pub(super) fn threads(count: usize) -> Self {
        Readers::Threads((0..count).map(|_| Gate::default()).collect())
    }

    /// Wakes those that wait for `batch`, or may do so.
    fn wake(&self, batch: u64) {
        match self {
            Readers::Threads(gates) => gates[(batch % gates.len() as u64) as usize].wake(),
            Readers::Tasks { bells, .. } => bells.iter().for_each(|bell| bell.ring()),
        }
    }
}

/// A place to sleep: `asleep` lets the other side skip the lock when nobody is there.
#[derive(Default)]
pub(super) struct Gate {
    asleep: AtomicUsize,
    lock: Mutex<()>,
    bell: Condvar,
}

impl Gate {
    fn sleep_unless(&self, ready: impl Fn() -> bool) {
        self.asleep.fetch_add(1, SeqCst);
        let mut guard = self.lock.lock();
        // Checked again after announcing the sleep: whoever makes `ready` true either sees the announcement or
        // did so before this check.
        if !ready() {
            guard = wait(&self.bell, guard, LOOK_AGAIN);
        }
        drop(guard);
        self.asleep.fetch_sub(1, SeqCst);
    }

    fn wake(&self) {
        if self.asleep.load(SeqCst) > 0 {
            let _guard = self.lock.lock();
            self.bell.notify_all();
        }
    }
}

impl Window {
    pub(super) fn new(ahead: usize, batches: u64, readers: Readers) -> Self {
        let slots = (0..ahead.max(1))
            .map(|_| Slot {
                left: AtomicUsize::new(0),
                ready: AtomicU64::new(0),
                hash: AtomicU64::new(0),
                parts: Default::default(),
                begun: AtomicU64::new(0),
                done: AtomicU64::new(0),
                late_file: AtomicU64::new(0),
            })
            .collect();
        Window {
            slots,
            ahead: ahead as u64,
            batches,
            limit: AtomicU64::new(ahead as u64),
            stopped: AtomicBool::new(false),
            failure: Mutex::new(None),
            consumer: Gate::default(),
            unseen: AtomicBool::new(false),
            readers,
        }
    }

    fn slot(&self, batch: u64) -> &Slot {
        &self.slots[(batch % self.slots.len() as u64) as usize]
    }

    pub(super) fn batches(&self) -> u64 {
        self.batches
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(SeqCst)
    }

    /// True where a thread may sleep with a lock that others need before they can go on.
    pub(super) fn waits_alone(&self) -> bool {
        matches!(self.readers, Readers::Threads(_))
    }

    pub(super) fn is_open(&self, batch: u64) -> bool {
        batch < self.limit.load(SeqCst)
    }

    /// Waits until `batch` may be begun; false when the epoch was stopped. One thread at a time waits for a batch.
    pub(super) fn may_begin(&self, batch: u64) -> bool {
        loop {
            if self.is_stopped() {
                return false;
            }
            if self.is_open(batch) {
                return true;
            }
            let is_ready = || self.is_stopped() || self.is_open(batch);
            match &self.readers {
                Readers::Threads(gates) => {
                    gates[(batch % gates.len() as u64) as usize].sleep_unless(is_ready);
                }
                Readers::Tasks { .. } => ring::wait_unless(is_ready),
            }
        }
    }

    /// A batch of `runs` runs is begun.
    pub(super) fn open(&self, batch: u64, runs: usize, hash: u64) {
        let slot = self.slot(batch);
        slot.hash.store(hash, SeqCst);
        slot.parts.iter().for_each(|part| part.store(0, Relaxed));
        slot.begun.store(now_ns(), Relaxed);
        slot.left.store(runs, SeqCst);
        if runs == 0 {
            slot.late_file.store(0, Relaxed);
            self.publish(batch);
        }
    }

    /// `runs` runs of the batch are read, which took a thread these times; the slowest was of file number `file`. The last one
    /// makes it ready.
    pub(super) fn done(&self, batch: u64, runs: usize, parts: &Parts, file: u64) {
        let slot = self.slot(batch);
        for (sum, ns) in slot.parts.iter().zip(&parts.0) {
            if *ns > 0 {
                sum.fetch_add(*ns, Relaxed);
            }
        }
        if slot.left.fetch_sub(runs, SeqCst) == runs {
            slot.late_file.store(file + 1, Relaxed);
            self.publish(batch);
        }
    }

    fn publish(&self, batch: u64) {
        let slot = self.slot(batch);
        slot.done.store(now_ns(), Relaxed);
        slot.ready.store(batch + 1, SeqCst);
        match &self.readers {
            Readers::Tasks { gathers: true, .. } => self.unseen.store(true, SeqCst),
            _ => self.consumer.wake(),
        }
    }

    /// Wakes the consumer, if a task has made a batch ready; called by its thread before it waits, and not much later than that
    /// in any case.
    pub(super) fn show(&self) {
        if self.unseen.load(SeqCst) && self.unseen.swap(false, SeqCst) {
            self.consumer.wake();
        }
    }

    pub(super) fn fail(&self, error: LoaderError) {
        self.failure.lock().get_or_insert(error);
        self.stop();
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, SeqCst);
        match &self.readers {
            Readers::Threads(gates) => gates.iter().for_each(Gate::wake),
            Readers::Tasks { bells, .. } => bells.iter().for_each(|bell| bell.ring()),
        }
        self.consumer.wake();
    }

    pub(super) fn take_failure(&self) -> Option<LoaderError> {
        self.failure.lock().take()
    }

    /// Waits for batch `batch` (asked for in order).
    pub(super) fn take(&self, batch: u64) -> Result<Batch, LoaderError> {
        if self.ahead == 0 {
            self.limit.store(batch + 1, SeqCst);
            self.readers.wake(batch);
        }
        let slot = self.slot(batch);
        while slot.ready.load(SeqCst) != batch + 1 {
            if self.is_stopped()
                && let Some(error) = self.take_failure()
            {
                return Err(error);
            }
            self.consumer
                .sleep_unless(|| self.is_stopped() || slot.ready.load(SeqCst) == batch + 1);
        }
        Ok(Batch {
            hash: slot.hash.load(SeqCst),
            parts: Parts(std::array::from_fn(|i| slot.parts[i].load(Relaxed))),
            begun_ns: slot.begun.load(Relaxed),
            done_ns: slot.done.load(Relaxed),
            late_file: slot.late_file.load(Relaxed).checked_sub(1),
        })
    }

    /// Batch `batch` was taken: the threads may begin one more.
    pub(super) fn release(&self, batch: u64) {
        if self.ahead > 0 {
            self.limit.store(batch + 1 + self.ahead, SeqCst);
            self.readers.wake(batch + self.ahead);
        }
    }
}
