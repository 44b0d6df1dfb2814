//! What every phase needs of the job, and the CPUs it may use.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::watch::{Board, Names};
use super::wire;
use crate::cluster::Cluster;
use crate::config::{DataLoaderKind, ReadEngine, Workload};
use crate::format::Walked;
use crate::host;
use crate::loader::{Activity, Engine, Shape, Task, Unit};
use crate::metrics::timeline::Gauges;
use crate::metrics::trace::Tracer;
use crate::storage::ring;

/// What the command line adds to the workload.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// Seconds without any movement before the run is ended; zero: never.
    pub stall_timeout: Duration,
    /// Bytes that a rank may hold; None: a part of the host's memory.
    pub memory: Option<u64>,
    /// Run in virtual time (only over `model` and `null` storage).
    pub virtual_time: bool,
    /// Longest time to empty the page cache of a node; None: no limit.
    pub drop_timeout: Option<Duration>,
}

/// The job as its phases see it.
pub struct JobContext<'a> {
    pub cluster: &'a dyn Cluster,
    pub workload: &'a Workload,
    pub options: RunOptions,
    /// This rank's page.
    pub activity: Activity,
    /// Names of the files that pages hold as numbers.
    pub names: Names,
    /// CPUs of this node, or of the quota of its cgroup.
    pub node_cpus: usize,
    /// Each host has a data folder of its own.
    pub has_own_data: Cell<bool>,
    /// What is sampled while the job runs; None where nothing is recorded over time.
    pub gauges: Option<Arc<Gauges>>,
    /// Single steps and calls, where this rank is traced.
    pub tracer: Option<Arc<Tracer>>,
}

/// Seeds of per-rank draws are this far apart, as the fork's reshard seeds are.
const RANK_SEED_STEP: u64 = 31;

/// The cap that DLIO puts on automatic writer threads.
const MAX_WRITE_THREADS: usize = 32;

/// Threads of a rank that may have I/O outstanding: readers, writers and those of checkpoints are never at work together.
pub(super) fn io_threads(workload: &Workload) -> usize {
    let c = &workload.checkpoint;
    let configured = [
        workload.reader.write_threads.unwrap_or(0),
        c.read_threads,
        c.write_files.unwrap_or(0),
    ];
    let most = configured.into_iter().max().unwrap_or(0) as usize;
    shape(workload).threads.max(MAX_WRITE_THREADS).max(most)
}

impl<'a> JobContext<'a> {
    /// The job whose ranks have their pages on `board`.
    pub fn new(
        cluster: &'a dyn Cluster,
        workload: &'a Workload,
        options: RunOptions,
        board: &Board,
    ) -> Self {
        JobContext {
            cluster,
            workload,
            options,
            activity: board.pages[cluster.local_rank()],
            names: board.names.clone(),
            node_cpus: host::cpus::usable_cpus(),
            has_own_data: Cell::new(false),
            gauges: None,
            tracer: None,
        }
    }

    /// Which part of the work on all files of the dataset is this rank's, and of how many: all ranks share it, or those of a
    /// host where each host has a copy.
    pub fn data_part(&self) -> (u64, u64) {
        let cluster = self.cluster;
        let (part, parts) = match self.has_own_data.get() {
            true => (cluster.local_rank(), cluster.local_size()),
            false => (cluster.rank(), cluster.size()),
        };
        (part as u64, parts as u64)
    }

    /// Seed of the times that this rank draws.
    pub fn draw_seed(&self) -> u64 {
        self.workload.train.seed + RANK_SEED_STEP * self.cluster.rank() as u64
    }

    /// The main thread begins with a file or folder, until the guard is dropped: what the watchdog says of it.
    pub fn doing(&self, what: &str, path: &Path) -> Task {
        self.activity.task(&format!("{what} {}", path.display()))
    }

    /// CPUs of the node divided among its ranks, at least one.
    pub fn cpus_per_rank(&self) -> usize {
        (self.node_cpus / self.cluster.local_size()).max(1)
    }

    pub fn write_threads(&self) -> usize {
        match self.workload.reader.write_threads {
            Some(n) => n.max(1) as usize,
            None => self.cpus_per_rank().min(MAX_WRITE_THREADS),
        }
    }

    /// Who reads: `reader.engine`. `loaders` have one buffer of `transfer` bytes for each reader.
    pub fn engine(&self, loaders: usize, transfer: usize) -> Engine {
        if self.workload.reader.engine.chosen().0 != ReadEngine::Uring {
            return Engine::Threads;
        }
        let readers = self.shape().threads;
        let buffers = self.cluster.local_size() * loaders * readers * transfer;
        // Bytes that come by way of the page cache or of a socket are copied, and nothing of ours is pinned.
        let system = self.workload.storage_system();
        let is_direct = system.opens_by_path && !system.page_cache;
        Engine::Rings {
            threads: self.cpus_per_rank().min(readers),
            pins: is_direct && ring::may_pin(buffers as u64),
        }
    }

    /// The loader's shape; see [`crate::loader`].
    pub fn shape(&self) -> Shape {
        shape(self.workload)
    }
}

/// The shape of the loader that a workload asks for.
pub fn shape(workload: &Workload) -> Shape {
    let reader = &workload.reader;
    let threads = reader.threads().max(1) as usize;
    let prefetch = reader.prefetch_size as usize;
    match workload.data_loader() {
        DataLoaderKind::TensorFlow => {
            let unit = match wire::format_row(workload).walked {
                Walked::Records => Unit::Run,
                _ => Unit::Batch,
            };
            Shape {
                unit,
                threads,
                window: threads + prefetch,
            }
        }
        DataLoaderKind::Native => {
            let depth = reader.io_depth.unwrap_or(reader.threads()).max(1) as usize;
            let batch = reader.batch_size.max(1) as usize;
            Shape {
                unit: Unit::Run,
                threads: depth,
                window: depth.div_ceil(batch) + prefetch,
            }
        }
        // PyTorch without workers loads a batch when it is asked for.
        _ if reader.threads() == 0 => Shape {
            unit: Unit::Batch,
            threads,
            window: 0,
        },
        _ => {
            let factor = if prefetch == 0 {
                2
            } else {
                prefetch.div_ceil(threads)
            };
            Shape {
                unit: Unit::Batch,
                threads,
                window: threads * factor,
            }
        }
    }
}

/// Now, as DLIO labels it.
pub fn label() -> String {
    crate::report::timestamp()
}
