//! What every phase needs of the job, and the CPUs it may use.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::wire;
use crate::cluster::Cluster;
use crate::config::{DataLoaderKind, Workload};
use crate::format::Walked;
use crate::host;
use crate::loader::{Activity, Shape, Unit};

/// What the command line adds to the workload.
#[derive(Debug, Clone, Copy)]
pub struct RunOptions {
    /// Seconds without any movement before the run is ended; zero: never.
    pub stall_timeout: Duration,
    /// Run in virtual time (only over `model` and `null` storage).
    pub virtual_time: bool,
}

/// The job as its phases see it.
pub struct JobContext<'a> {
    /// The ranks.
    pub cluster: &'a dyn Cluster,
    /// The workload.
    pub workload: &'a Workload,
    /// From the command line.
    pub options: RunOptions,
    /// This rank's page.
    pub activity: Activity,
    /// The pages of all ranks of this node, in node-local order.
    pub pages: Vec<Activity>,
    /// The word by which one watchdog of the node takes the task of speaking.
    pub spoken: &'static AtomicU64,
    /// CPUs of this node.
    pub node_cpus: usize,
}

/// The cap that DLIO puts on automatic writer threads.
const MAX_WRITE_THREADS: usize = 32;

impl<'a> JobContext<'a> {
    /// Lays out the pages that the ranks of a node share. A collective.
    pub fn new(cluster: &'a dyn Cluster, workload: &'a Workload, options: RunOptions) -> Self {
        let node_cpus = host::cpus::node_cpus();
        // Both phases' threads have their slots: readers and writers are never at work together.
        let threads = shape(workload)
            .threads
            .max(MAX_WRITE_THREADS)
            .max(workload.reader.write_threads.unwrap_or(0) as usize);
        let per_rank = Activity::words(threads);
        let words = cluster.node_shared(1 + per_rank * cluster.local_size());
        let pages: Vec<_> = words[1..]
            .chunks_exact(per_rank)
            .map(Activity::new)
            .collect();
        JobContext {
            cluster,
            workload,
            options,
            activity: pages[cluster.local_rank()],
            pages,
            spoken: &words[0],
            node_cpus,
        }
    }

    /// CPUs of the node divided among its ranks, at least one.
    pub fn cpus_per_rank(&self) -> usize {
        (self.node_cpus / self.cluster.local_size()).max(1)
    }

    /// Generator threads of this rank.
    pub fn write_threads(&self) -> usize {
        match self.workload.reader.write_threads {
            Some(n) => n.max(1) as usize,
            None => self.cpus_per_rank().min(MAX_WRITE_THREADS),
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
    let threads = reader.read_threads.max(1) as usize;
    let prefetch = reader.prefetch_size as usize;
    match wire::loader(workload) {
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
            let depth = reader.io_depth.unwrap_or(reader.read_threads).max(1) as usize;
            let batch = reader.batch_size.max(1) as usize;
            Shape {
                unit: Unit::Run,
                threads: depth,
                window: depth.div_ceil(batch) + prefetch,
            }
        }
        // PyTorch without workers loads a batch when it is asked for.
        _ if reader.read_threads == 0 => Shape {
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
