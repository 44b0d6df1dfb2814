//! [`Cluster`] over a library of MPI, whether linked or opened.

use std::ffi::c_int;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use super::library::{Calls, Datum, Handle, Library, Operation, first_line};
use super::{Cluster, ClusterError};
use crate::clock::{now_ns, sleep_until};

/// The job as MPI_COMM_WORLD shows it.
pub struct Mpi {
    calls: Calls,
    world: Handle,
    /// Not a part of a job, which ends before the whole.
    is_whole: bool,
    node: Handle,
    /// The ranks of local rank 0; None on the others.
    leaders: Option<Handle>,
    windows: Mutex<Vec<Handle>>,
    rank: usize,
    size: usize,
    local_rank: usize,
    local_size: usize,
    node_of_rank: Vec<usize>,
    host_names: Vec<String>,
    library: String,
    source: String,
}

impl Mpi {
    /// Calls MPI_Init_thread (FUNNELED) and learns the layout of the job.
    ///
    /// Errors: when MPI gives less than FUNNELED, or was initialised before.
    pub(super) fn start(library: Library, host: &str) -> Result<Self, ClusterError> {
        let calls = library.calls;
        if calls.is_initialized() {
            return Err(ClusterError::AlreadyStarted);
        }
        if !calls.init_funneled() {
            return Err(ClusterError::Threading {
                library: first_line(&calls.version()),
                origin: library.source,
            });
        }
        let version = first_line(&calls.version());
        let world = calls.world();
        Ok(Mpi::over(
            calls,
            world,
            true,
            host,
            (version, library.source),
        ))
    }

    /// Learns the layout of the ranks of a communicator. A collective of theirs.
    fn over(
        calls: Calls,
        world: Handle,
        is_whole: bool,
        host: &str,
        (library, source): (String, String),
    ) -> Self {
        let (rank, size) = (calls.rank(world), calls.size(world));
        let node = calls.split_shared(world, rank);
        let (local_rank, local_size) = (calls.rank(node), calls.size(node));
        let is_leader = local_rank == 0;
        let leaders = calls.split(world, is_leader.then_some(0), rank);
        let mut this = Mpi {
            calls,
            world,
            is_whole,
            node,
            leaders,
            windows: Mutex::new(Vec::new()),
            rank,
            size,
            local_rank,
            local_size,
            node_of_rank: Vec::new(),
            host_names: Vec::new(),
            library,
            source,
        };
        this.learn_nodes(host);
        this
    }

    /// Fills the tables of nodes. A collective.
    fn learn_nodes(&mut self, host: &str) {
        // A node is named by its lowest rank: the leader's rank, as seen by everyone on it.
        let mut mine = [if self.local_rank == 0 {
            self.rank as u64
        } else {
            0
        }];
        let mut leader = [0u64];
        let max = Operation::Max;
        self.calls
            .all_reduce(self.node, &mut mine, &mut leader, max);
        let mut entry = leader[0].to_le_bytes().to_vec();
        entry.extend_from_slice(host.as_bytes());
        let mut table = self.gather(&entry).map(encode_parts).unwrap_or_default();
        self.broadcast(&mut table);
        let mut leaders: Vec<u64> = Vec::new();
        for part in decode_parts(&table) {
            let (head, name) = part.split_at(8);
            let leader = u64::from_le_bytes(head.try_into().expect("split at 8 bytes"));
            let known = leaders.iter().position(|&l| l == leader);
            let index = known.unwrap_or_else(|| {
                leaders.push(leader);
                let name = String::from_utf8_lossy(name);
                self.host_names.push(name.into_owned());
                leaders.len() - 1
            });
            self.node_of_rank.push(index);
        }
    }

    fn reduce<T: Datum>(&self, values: &mut [T], operation: Operation) {
        if values.is_empty() {
            return;
        }
        let mut send = values.to_vec();
        self.calls
            .all_reduce(self.world, &mut send, values, operation);
    }

    /// Elementwise maximum over a communicator, without taking the CPU from those that are late: spins for `spin_ns`, then
    /// sleeps between looks.
    fn max_patiently(&self, ranks: Handle, send: &mut [u64], into: &mut [u64], spin_ns: u64) {
        let start = now_ns();
        self.calls.max_patiently(ranks, send, into, || {
            let now = now_ns();
            let waited = now - start;
            if waited >= spin_ns {
                sleep_until(now + (waited / 8).clamp(*LOOKS_NS.start(), *LOOKS_NS.end()));
            }
        });
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        let windows = self.windows.get_mut();
        // Nothing reads their words after this: the job is over.
        for window in windows
            .expect("no thread panics while holding it")
            .drain(..)
        {
            self.calls.unshare(window);
        }
        for comm in self.leaders.into_iter().chain([self.node]) {
            self.calls.free(comm);
        }
        if self.is_whole {
            self.calls.finalize();
        } else {
            self.calls.free(self.world);
        }
    }
}

/// Length-prefixed concatenation, so that one broadcast carries many byte strings.
fn encode_parts(parts: Vec<Vec<u8>>) -> Vec<u8> {
    let mut out = Vec::new();
    for part in parts {
        out.extend_from_slice(&(part.len() as u64).to_le_bytes());
        out.extend_from_slice(&part);
    }
    out
}

fn decode_parts(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut parts = Vec::new();
    while let Some((head, rest)) = bytes.split_first_chunk::<8>() {
        let (part, rest) = rest.split_at(u64::from_le_bytes(*head) as usize);
        parts.push(part);
        bytes = rest;
    }
    parts
}

fn displacements(counts: &[c_int]) -> Vec<c_int> {
    counts
        .iter()
        .scan(0, |at, &n| {
            let here = *at;
            *at += n;
            Some(here)
        })
        .collect()
}

/// Nanoseconds for which leaders spin where CPUs are idle.
const LEADERS_SPIN_NS: u64 = 200_000;

/// Between two looks at a collective that is under way, nanoseconds: an eighth of the wait so far, within these.
const LOOKS_NS: std::ops::RangeInclusive<u64> = 20_000..=2_000_000;

/// MPI counts are 32-bit: what one collective may carry.
const MAX_BYTES: usize = i32::MAX as usize;

impl Cluster for Mpi {
    fn rank(&self) -> usize {
        self.rank
    }
    fn size(&self) -> usize {
        self.size
    }
    fn local_rank(&self) -> usize {
        self.local_rank
    }
    fn local_size(&self) -> usize {
        self.local_size
    }
    fn node_of_rank(&self) -> &[usize] {
        &self.node_of_rank
    }
    fn host_names(&self) -> &[String] {
        &self.host_names
    }
    fn library(&self) -> &str {
        &self.library
    }
    fn library_source(&self) -> Option<&str> {
        Some(&self.source)
    }
    fn barrier(&self) {
        self.calls.barrier(self.world);
    }
    fn broadcast(&self, bytes: &mut Vec<u8>) {
        let mut len = (bytes.len() as u64).to_ne_bytes();
        self.calls.broadcast(self.world, &mut len);
        bytes.resize(u64::from_ne_bytes(len) as usize, 0);
        for chunk in bytes.chunks_mut(MAX_BYTES) {
            self.calls.broadcast(self.world, chunk);
        }
    }
    fn sum_u64(&self, values: &mut [u64]) {
        self.reduce(values, Operation::Sum);
    }
    fn min_u64(&self, values: &mut [u64]) {
        self.reduce(values, Operation::Min);
    }
    fn max_u64(&self, values: &mut [u64]) {
        self.reduce(values, Operation::Max);
    }
    fn sum_f64(&self, values: &mut [f64]) {
        self.reduce(values, Operation::Sum);
    }
    fn gather(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        let mut lens = vec![0u64; self.size];
        self.calls
            .all_gather(self.world, bytes.len() as u64, &mut lens);
        // Rounds keep every message within a 32-bit count however long the parts are.
        let total: u64 = lens.iter().sum();
        let per_round = if total <= MAX_BYTES as u64 {
            MAX_BYTES
        } else {
            MAX_BYTES / self.size
        };
        let mut parts: Option<Vec<Vec<u8>>> = (self.rank == 0).then(|| {
            lens.iter()
                .map(|&n| Vec::with_capacity(n as usize))
                .collect()
        });
        let longest = lens.iter().copied().max().unwrap_or(0) as usize;
        let mut at = 0;
        while at < longest {
            let slice = |n: usize| n.saturating_sub(at).min(per_round);
            let send = &bytes[at.min(bytes.len())..at.min(bytes.len()) + slice(bytes.len())];
            match &mut parts {
                None => self.calls.gather(self.world, send, &mut [], (&[], &[])),
                Some(parts) => {
                    let counts: Vec<c_int> =
                        lens.iter().map(|&n| slice(n as usize) as c_int).collect();
                    let displs = displacements(&counts);
                    let mut recv = vec![0u8; counts.iter().map(|&c| c as usize).sum()];
                    self.calls
                        .gather(self.world, send, &mut recv, (&counts, &displs));
                    for (rank, part) in parts.iter_mut().enumerate() {
                        let from = displs[rank] as usize;
                        part.extend_from_slice(&recv[from..from + counts[rank] as usize]);
                    }
                }
            }
            at += per_round;
        }
        parts
    }
    fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        let lens: Vec<u64> = parts.iter().map(|p| p.len() as u64).collect();
        let mut recv_lens = vec![0; self.size];
        self.calls.exchange(self.world, &lens, &mut recv_lens);
        let counts = |lens: &[u64]| lens.iter().map(|&n| n as c_int).collect::<Vec<_>>();
        let (send_counts, recv_counts) = (counts(&lens), counts(&recv_lens));
        let send_displs = displacements(&send_counts);
        let recv_displs = displacements(&recv_counts);
        let send: Vec<u8> = parts.concat();
        let mut recv = vec![0u8; recv_lens.iter().sum::<u64>() as usize];
        self.calls.exchange_bytes(
            self.world,
            (&send, &send_counts, &send_displs),
            (&mut recv, &recv_counts, &recv_displs),
        );
        recv_counts
            .iter()
            .zip(&recv_displs)
            .map(|(&n, &at)| recv[at as usize..(at + n) as usize].to_vec())
            .collect()
    }
    fn max_pair(&self, mut pair: [u64; 2]) -> [u64; 2] {
        let mut result = [0u64; 2];
        let max = Operation::Max;
        self.calls
            .all_reduce(self.world, &mut pair, &mut result, max);
        result
    }
    fn max_u64_patiently(&self, value: u64) -> u64 {
        let mut result = [0];
        self.max_patiently(self.world, &mut [value], &mut result, 0);
        result[0]
    }
    fn leaders_max(&self, mut pair: [u64; 2], spins: bool) -> [u64; 2] {
        let mut result = pair;
        if let Some(leaders) = self.leaders {
            let spin_ns = if spins { LEADERS_SPIN_NS } else { 0 };
            self.max_patiently(leaders, &mut pair, &mut result, spin_ns);
        }
        result
    }
    fn progress(&self) {
        // Any call that looks for messages moves those of all communicators.
        self.calls.probe(self.world);
    }
    fn node_shared(&self, words: usize) -> &'static [AtomicU64] {
        let (window, base) = self.calls.share(self.node, words * 8);
        self.windows
            .lock()
            .expect("no thread panics while holding it")
            .push(window);
        // SAFETY: the node's rank 0 gave `words * 8` bytes, aligned for words by their unit. They stay until this value drops,
        // which is at the end of the process's use of MPI.
        unsafe {
            if self.local_rank == 0 {
                std::ptr::write_bytes(base, 0, words * 8);
            }
            self.calls.barrier(self.node);
            std::slice::from_raw_parts(base.cast::<AtomicU64>(), words)
        }
    }
    fn split(&self, color: Option<u16>) -> Option<Box<dyn Cluster + '_>> {
        let part = self
            .calls
            .split(self.world, color.map(c_int::from), self.rank)?;
        let host = &self.host_names[self.node_of_rank[self.rank]];
        let names = (self.library.clone(), self.source.clone());
        Some(Box::new(Mpi::over(self.calls, part, false, host, names)))
    }
}
