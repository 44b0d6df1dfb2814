//! What each rank is doing right now, in memory that the ranks of a node share.
//!
//! The watchdog reads it, so that it can say what a silent rank was doing although that rank cannot speak.
//! All stores are relaxed: a reader of these words only needs values that are recent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::clock::now_ns;

const MOVED: usize = 0;
const PHASE: usize = 1;
const EPOCH: usize = 2;
const STEP: usize = 3;
const BUSY_UNTIL: usize = 4;
const ALIVE: usize = 5;
const HEAD: usize = 8;
const PER_READER: usize = 3;

/// What the main thread of a rank is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Phase {
    /// Not yet in a phase.
    Start = 0,
    /// Writing the dataset.
    Generate,
    /// Waiting for a batch.
    BatchWait,
    /// Emulating computation.
    Compute,
    /// Waiting for the other ranks.
    Barrier,
    /// Dropping cached pages between epochs.
    DropCache,
    /// Saving a checkpoint.
    Save,
    /// Loading a checkpoint.
    Load,
    /// Reducing and writing results.
    Report,
    /// Done; nothing more is expected of this rank.
    Done,
}

impl Phase {
    /// The phase's name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Start => "start",
            Phase::Generate => "generation",
            Phase::BatchWait => "waiting for a batch",
            Phase::Compute => "compute",
            Phase::Barrier => "waiting for other ranks",
            Phase::DropCache => "dropping caches",
            Phase::Save => "saving a checkpoint",
            Phase::Load => "loading a checkpoint",
            Phase::Report => "report",
            Phase::Done => "done",
        }
    }

    fn from_word(word: u64) -> Phase {
        [
            Phase::Start,
            Phase::Generate,
            Phase::BatchWait,
            Phase::Compute,
            Phase::Barrier,
            Phase::DropCache,
            Phase::Save,
            Phase::Load,
            Phase::Report,
            Phase::Done,
        ]
        .into_iter()
        .find(|&phase| phase as u64 == word)
        .unwrap_or(Phase::Start)
    }
}

/// One rank's page.
#[derive(Debug, Clone, Copy)]
pub struct Activity {
    words: &'static [AtomicU64],
}

/// An I/O call that has begun and not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outstanding {
    /// When it began, [`now_ns`].
    pub since_ns: u64,
    /// File index.
    pub file: u64,
    /// Byte offset of the call.
    pub offset: u64,
}

impl Activity {
    /// Words of one page for this many reader or writer threads.
    pub const fn words(threads: usize) -> usize {
        HEAD + PER_READER * threads
    }

    /// A page over these words (of [`Activity::words`] length).
    pub fn new(words: &'static [AtomicU64]) -> Self {
        Activity { words }
    }

    /// Something was done: a read ended, a step ended, a chunk was written.
    pub fn moved(&self) {
        self.words[MOVED].store(now_ns(), Relaxed);
    }

    /// When this rank last moved, [`now_ns`]; 0: never.
    pub fn last_moved(&self) -> u64 {
        self.words[MOVED].load(Relaxed)
    }

    /// This process runs (said by its watchdog thread, which does nothing else).
    pub fn sign_of_life(&self) {
        self.words[ALIVE].store(now_ns(), Relaxed);
    }

    /// When the process last gave a sign of life; 0: never.
    pub fn last_sign_of_life(&self) -> u64 {
        self.words[ALIVE].load(Relaxed)
    }

    /// The main thread enters a phase.
    pub fn enter(&self, phase: Phase, epoch: u64, step: u64) {
        self.words[PHASE].store(phase as u64, Relaxed);
        self.words[EPOCH].store(epoch, Relaxed);
        self.words[STEP].store(step, Relaxed);
    }

    /// Phase, epoch and step.
    pub fn place(&self) -> (Phase, u64, u64) {
        (
            Phase::from_word(self.words[PHASE].load(Relaxed)),
            self.words[EPOCH].load(Relaxed),
            self.words[STEP].load(Relaxed),
        )
    }

    /// The main thread will knowingly wait until this time (computation), which is no stall.
    pub fn busy_until(&self, at_ns: u64) {
        self.words[BUSY_UNTIL].store(at_ns, Relaxed);
    }

    /// When the main thread's knowing wait ends.
    pub fn busy_end(&self) -> u64 {
        self.words[BUSY_UNTIL].load(Relaxed)
    }

    /// Reader `thread` begins an I/O call.
    pub fn io_begins(&self, thread: usize, file: u64, offset: u64) {
        let at = HEAD + PER_READER * thread;
        self.words[at + 1].store(file, Relaxed);
        self.words[at + 2].store(offset, Relaxed);
        self.words[at].store(now_ns(), Relaxed);
    }

    /// Reader `thread` has no I/O outstanding.
    pub fn io_ends(&self, thread: usize) {
        self.words[HEAD + PER_READER * thread].store(0, Relaxed);
        self.moved();
    }

    /// The oldest I/O call that has not ended.
    pub fn oldest(&self) -> Option<Outstanding> {
        self.words[HEAD..]
            .chunks_exact(PER_READER)
            .map(|w| Outstanding {
                since_ns: w[0].load(Relaxed),
                file: w[1].load(Relaxed),
                offset: w[2].load(Relaxed),
            })
            .filter(|io| io.since_ns != 0)
            .min_by_key(|io| io.since_ns)
    }
}
