//! The memory in which the ranks of a host show what they are in.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use parking_lot::Mutex;

use crate::cluster::Cluster;
use crate::host::process::Identity;
use crate::loader::Activity;

/// Every watchdog looks this often, and shows by it that its process runs.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A process whose watchdog has not looked for this long is stopped.
pub(super) const FROZEN_NS: u64 = 10 * LOOK_EVERY.as_nanos() as u64;

/// Names the files that pages hold as numbers.
#[derive(Clone, Default)]
pub struct Names(Arc<Mutex<Vec<Naming>>>);

type Naming = Box<dyn Fn(u64) -> Option<String> + Send>;

impl Names {
    /// Adds names; those added last are asked first.
    pub fn add(&self, name_of: impl Fn(u64) -> Option<String> + Send + 'static) {
        self.0.lock().push(Box::new(name_of));
    }

    /// How many were added.
    pub fn count(&self) -> usize {
        self.0.lock().len()
    }

    /// Forgets all but the first `count`.
    pub fn keep(&self, count: usize) {
        self.0.lock().truncate(count);
    }

    pub(super) fn of(&self, file: u64) -> String {
        let names = self.0.lock();
        let name = names.iter().rev().find_map(|name_of| name_of(file));
        name.unwrap_or_else(|| format!("file {file}"))
    }
}

/// The pages of the ranks of this host.
#[derive(Clone)]
pub struct Board {
    /// Pages in node-local rank order.
    pub pages: Vec<Activity>,
    /// World ranks in the same order.
    pub ranks: Vec<usize>,
    pub node: usize,
    pub hosts: Vec<String>,
    /// 0 until one process of this host speaks.
    pub spoken: &'static AtomicU64,
    /// Names of files, for messages.
    pub names: Names,
}

impl Board {
    /// Lays out the pages that the ranks of a host share, for this many threads of each with I/O outstanding. A collective.
    pub fn lay_out(cluster: &dyn Cluster, threads: usize) -> Board {
        let per_rank = Activity::words(threads);
        let words = cluster.node_shared(1 + per_rank * cluster.local_size());
        let nodes = cluster.node_of_rank();
        let node = nodes[cluster.rank()];
        let pages: Vec<Activity> = words[1..]
            .chunks_exact(per_rank)
            .map(Activity::new)
            .collect();
        pages[cluster.local_rank()].belongs_to(Identity::own());
        Board {
            pages,
            ranks: (0..cluster.size()).filter(|&r| nodes[r] == node).collect(),
            node,
            hosts: cluster.host_names().to_vec(),
            spoken: &words[0],
            names: Names::default(),
        }
    }
}
