//! Turns a plan into batches: reader threads in one rayon pool, and a bounded in-order window.
//!
//! The loader's shape is part of the workload, because it decides how many requests the storage system sees at once:
//!
//! | `reader.data_loader` | Unit of work of a thread | Batches in flight |
//! |---|---|---|
//! | `pytorch` | a whole batch; batch j belongs to thread j mod `read_threads` | `read_threads` x ceil(`prefetch_size` / `read_threads`) |
//! | `tensorflow` | a whole batch (a run of samples for stream formats) | `read_threads` + `prefetch_size` |
//! | `native` | a sample, taken in order by whichever thread is free | enough for `io_depth` samples, and `prefetch_size` |
//!
//! A thread owns one buffer of one transfer and allocates nothing per sample, so memory is
//! `threads x transfer size`, whatever a sample's length.
//!
//! The threads of this table may be tasks of a few threads of the system, which read through io_uring ([`Engine::Rings`]): they
//! take, read and check the same samples in the same order, and have the same places in [`Activity`]. Metadata is read by plain
//! calls with either engine, since the reader that reads it holds the lock of the file's entry. No format and no storage system is named here.

mod account;
pub mod activity;
mod pool;
mod reader;
mod shared;
mod simulated;
mod sync;
mod walk;
mod window;

#[cfg(test)]
mod explore_tests;

use std::path::PathBuf;
use std::sync::Arc;

use crate::format::{Checker, FormatError, Found, Index};
use crate::plan::Run;
use crate::stage::{Parts, Stage};
use crate::storage::{Answer, Extent, Lane, StorageError};

pub use activity::{Activity, Phase, Stretch, Task, Working};
pub use pool::Loader;
pub use simulated::SimulatedLoader;

/// What is to be read in one epoch of one split. Called from many threads.
pub trait Work: Send + Sync {
    /// Batches of this epoch.
    fn batches(&self) -> u64;
    /// The runs of batch `batch`, in order, appended to `out`.
    fn batch(&self, batch: u64, out: &mut Vec<Run>);
    /// Writes the path of a run's file.
    fn path_of(&self, run: &Run, path: &mut PathBuf);
    /// The number by which the watchdog names the file of a run.
    fn number_of(&self, run: &Run) -> u64 {
        run.file
    }
    /// Bytes of a run as the plan knows them without its file: what `null` and `model` storage answer with.
    fn planned_len(&self, run: &Run) -> u64;
    /// Where a run lies. May read metadata of the file, through the lane that its samples are read through.
    ///
    /// Errors: the metadata cannot be read or does not fit.
    fn locate(&self, run: &Run, place: &mut Place, lane: &mut Lane) -> Result<(), LoaderError>;
    /// Whether [`Self::locate`] may read metadata, for which a reader's thread waits.
    fn reads_metadata(&self) -> bool {
        false
    }
    /// Hash of one step's samples for the order digest.
    fn step_hash(&self, batch: u64, runs: &[Run]) -> u64;
    /// A checker of file contents, one per thread; None when bytes are not looked at.
    fn checker(&self) -> Option<Box<dyn Checker>>;
    /// Tells a checker what to expect of a run's file, which has `file_len` bytes.
    ///
    /// Errors: the plan knows that it has another length.
    fn begin(
        &self,
        checker: &mut dyn Checker,
        run: &Run,
        place: &Place,
        file_len: u64,
    ) -> Result<(), LoaderError>;
    /// Pause after reading one sample, nanoseconds; `thread` has its own stream of draws.
    fn preprocess_ns(&self, thread: usize) -> u64;
}

/// Where a run lies. Reused from run to run.
#[derive(Default)]
pub struct Place {
    pub path: PathBuf,
    /// The bytes to read, in order; none when the samples came with earlier ones.
    pub extents: Vec<Extent>,
    /// Bytes of an extent whose length is not known before it is read.
    pub planned_len: u64,
    /// Bytes of the whole file, where the plan knows them.
    pub exact_len: Option<u64>,
    /// The file's metadata, where the format has an index.
    pub index: Option<Arc<dyn Index>>,
    /// What finding the file's metadata took.
    pub metadata: Metadata,
}

/// What finding the metadata of a file took. Unit of times: nanoseconds.
#[derive(Debug, Default)]
pub struct Metadata {
    /// Bytes, calls and retries; opening the file, where that was done for it.
    pub answer: Answer,
    /// Time in which the storage system was waited for, opening the file included.
    pub storage_ns: u64,
    /// The rest: parsing, and waiting for a library's lock.
    pub client_ns: u64,
    /// Duration of each of its read calls.
    pub calls_ns: Vec<u64>,
}

impl Metadata {
    /// Nothing was read. Keeps the memory of the list.
    pub fn clear(&mut self) {
        let mut calls_ns = std::mem::take(&mut self.calls_ns);
        calls_ns.clear();
        *self = Metadata {
            calls_ns,
            ..Metadata::default()
        };
    }

    /// What opening the file took; nothing else.
    pub fn opening(&self) -> Answer {
        Answer {
            opens: self.answer.opens,
            open_ns: self.answer.open_ns,
            ..Answer::default()
        }
    }

    /// Time in which the storage system was waited for, without opening the file.
    pub fn read_ns(&self) -> u64 {
        self.storage_ns.saturating_sub(self.answer.open_ns)
    }
}

/// Where a reader thread's durations go; one per thread, so recording needs no lock.
pub trait Recorder: Send {
    /// `count` durations of this length.
    fn record(&mut self, stage: Stage, ns: u64, count: u64);
}

/// How a loader works. See the module's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// What a thread takes at once.
    pub unit: Unit,
    pub threads: usize,
    /// Batches that may be begun before they are asked for; 0: a batch is begun when it is asked for.
    pub window: usize,
}

/// What a thread takes at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Batch j, for thread j mod threads.
    Batch,
    /// The next run of samples.
    Run,
}

/// Who reads while an answer of the storage system is awaited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engine {
    /// A thread for each reader.
    Threads,
    /// Readers are tasks of a few threads, each of which has a ring of io_uring.
    Rings {
        threads: usize,
        /// The kernel pins the readers' buffers once, in place of at each read.
        pins: bool,
    },
}

/// A batch that is ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Batch {
    /// Its hash for the order digest.
    pub hash: u64,
    /// What the readers' time for it went to.
    pub parts: Parts,
    /// When the first reader began it, ns of the source's clock.
    pub begun_ns: u64,
    /// When it was ready, ns of the source's clock.
    pub done_ns: u64,
    /// Number of the file that it waited for: the slowest of those that the last reader read; None for a batch without reads.
    pub late_file: Option<u64>,
}

impl Batch {
    /// What a wait for this batch, from `asked_ns` to `loaded_ns`, went to. The sum is the wait.
    pub fn parts_of_wait(&self, asked_ns: u64, loaded_ns: u64) -> Parts {
        let busy = (loaded_ns.min(self.done_ns)).saturating_sub(asked_ns.max(self.begun_ns));
        self.parts.of_wait(loaded_ns.saturating_sub(asked_ns), busy)
    }
}

/// Totals of what the threads read. Units: bytes, counts and nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Bytes delivered by the storage system, metadata included.
    pub bytes: u64,
    pub calls: u64,
    /// Calls repeated.
    pub retries: u64,
    pub samples: u64,
    pub metadata_bytes: u64,
    /// Read calls for metadata (of `calls`).
    pub metadata_calls: u64,
    /// CPU time (user + system) of the reader threads while they read.
    pub cpu_ns: u64,
    /// Time in which reader threads could have run and had no CPU; None where the kernel does not count it.
    pub delay_ns: Option<u64>,
}

/// Totals that other threads may look at while readers work.
pub trait Tally: Send + Sync {
    /// Totals since the loader was made.
    fn totals(&self) -> Totals;
}

/// One read in virtual time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// When it began, ns of the virtual clock.
    pub from_ns: u64,
    /// When it ended.
    pub to_ns: u64,
    pub bytes: u64,
    pub samples: u64,
}

/// Why a batch could not be had.
#[derive(Debug, thiserror::Error)]
pub enum LoaderError {
    /// The storage system failed.
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// The metadata is not what it should be.
    #[error("read the metadata of {}: {source}\n  remedy: {}", .path.display(), .source.remedy(Found::InMetadata))]
    Metadata {
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// The content is not what it should be.
    #[error("decode {}: {source}\n  remedy: {}", .path.display(), .source.remedy(Found::InContents))]
    Content {
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: FormatError,
    },
    /// It has another length than its dataset's manifest says.
    #[error("use {}: it has {len} bytes, and a file of the dataset that {by} describes has {expected}\n  remedy: it was changed or replaced; generate it again, or delete the manifest if the files are meant to be other ones", .path.display())]
    Replaced {
        path: PathBuf,
        len: u64,
        /// Bytes that it should have.
        expected: u64,
        /// Name of the manifest.
        by: &'static str,
    },
    /// The limit of open files.
    #[error("{0}")]
    OpenFiles(String),
    /// The pool could not be made.
    #[error(
        "start {threads} reader threads: {cause}\n  remedy: lower reader.read_threads, or raise the limit of processes (ulimit -u)"
    )]
    Threads {
        /// How many were wanted.
        threads: usize,
        cause: String,
    },
}

/// Where the train loop gets its batches.
pub trait BatchSource {
    /// Begins an epoch; reads may start at once.
    fn start(&mut self, work: std::sync::Arc<dyn Work>);
    /// The next batch in order; None after the last. Waits for it.
    fn next(&mut self) -> Result<Option<Batch>, LoaderError>;
    /// The batch that `next` gave is in use: another may be begun. Called after the wait was timed, because waking a
    /// thread costs the caller some microseconds which are not the storage system's.
    fn release(&mut self);
    /// Ends the epoch: waits for the threads, drops what was not asked for.
    fn stop(&mut self) -> Result<(), LoaderError>;
    /// Runs `job` for each of `0..count` on the reader threads, between epochs; its first argument is the thread's number.
    fn for_each(&self, count: u64, job: &(dyn Fn(usize, u64) + Sync));
    /// Totals since the loader was made.
    fn totals(&self) -> Totals;
    /// The same for other threads; None in virtual time, which has none.
    fn tally(&self) -> Option<std::sync::Arc<dyn Tally>> {
        None
    }
    /// The reads that were reckoned since the last call; only in virtual time there are any.
    fn take_deliveries(&mut self) -> Vec<Delivery> {
        Vec::new()
    }
}
