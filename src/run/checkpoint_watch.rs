//! What the watchdog and the histograms hear of checkpoint I/O.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

use super::sources::thread_stages;
use crate::checkpoint::observer::{Call, Observer};
use crate::clock::now_ns;
use crate::config::Workload;
use crate::loader::Activity;
use crate::metrics::histogram::StageHistograms;
use crate::metrics::timeline::{Gauges, ThreadStages};
use crate::metrics::trace::Tracer;
use crate::plan::checkpoint::CheckpointPlan;
use crate::stage::Stage;

/// File numbers of the activity page from here on are checkpoint files, not files of the dataset.
const FIRST_FILE: u64 = 1 << 48;
/// Files of one rank have consecutive numbers.
const FILES_PER_RANK: u64 = 1 << 20;

/// Names the files of `FIRST_FILE` and above, for the watchdog.
#[derive(Clone)]
pub struct FileNames {
    plan: CheckpointPlan,
    root: PathBuf,
}

impl FileNames {
    /// Of a workload. None when it has no plan of checkpoints.
    pub fn new(w: &Workload, ranks: usize) -> Option<Self> {
        Some(FileNames {
            plan: CheckpointPlan::new(&w.model, w.checkpoint.mode, ranks).ok()?,
            root: w.checkpoint_root(),
        })
    }

    /// The name of file number `file`; None for files of the dataset.
    pub fn name(&self, file: u64) -> Option<String> {
        let file = file.checked_sub(FIRST_FILE)?;
        let files = self.plan.rank(file / FILES_PER_RANK).files;
        let name = match files.get((file % FILES_PER_RANK) as usize) {
            Some(file) => &file.name,
            None => "the folder",
        };
        Some(format!("{name} of a checkpoint in {}", self.root.display()))
    }
}

/// Tells I/O calls to this rank's page and histograms.
pub(super) struct Watched {
    pub(super) activity: Activity,
    first_file: u64,
    /// One per thread, so that nobody waits.
    threads: Vec<Arc<ThreadStages>>,
    /// Files that are being made durable.
    syncs: AtomicUsize,
    /// Until when the longest of them may last.
    sync_until_ns: AtomicU64,
}

impl Watched {
    /// For rank `rank` with this many threads.
    pub(super) fn new(
        activity: Activity,
        rank: u64,
        threads: usize,
        gauges: Option<&Gauges>,
        tracer: Option<&Tracer>,
    ) -> Self {
        let threads = thread_stages(tracer, threads, gauges.is_some());
        if let Some(gauges) = gauges {
            gauges.watch(None, &threads);
        }
        Watched {
            activity,
            first_file: FIRST_FILE + rank * FILES_PER_RANK,
            threads,
            syncs: AtomicUsize::new(0),
            sync_until_ns: AtomicU64::new(0),
        }
    }

    /// The histograms of all threads.
    pub(super) fn finish(self) -> StageHistograms {
        let mut all = StageHistograms::new();
        for thread in self.threads {
            all.merge(&thread.take());
        }
        all
    }
}

impl Observer for Watched {
    fn begins(&self, thread: usize, file: usize, offset: u64) {
        self.activity
            .io_begins(thread, self.first_file + file as u64, offset);
    }
    fn may_last(&self, ns: u64) {
        let until = now_ns().saturating_add(ns);
        let longest = self.sync_until_ns.fetch_max(until, Relaxed).max(until);
        self.syncs.fetch_add(1, Relaxed);
        self.activity.busy_until(longest);
    }
    fn moved(&self, bytes: u64) {
        self.activity.worked(bytes);
    }
    fn done(&self, thread: usize) {
        self.activity.io_ends(thread);
    }
    fn ended(&self, thread: usize, call: Call, ns: u64) {
        let one_less = |syncs: usize| syncs.checked_sub(1);
        if call == Call::Fsync && self.syncs.fetch_update(Relaxed, Relaxed, one_less) == Ok(1) {
            self.activity.busy_until(0);
        }
        self.activity.io_ends(thread);
        let stage = match call {
            Call::Write => Stage::CheckpointWrite,
            Call::Fsync => Stage::CheckpointFsync,
            Call::Read => Stage::CheckpointRead,
        };
        self.threads[thread].record(stage, ns, 1);
    }
}
