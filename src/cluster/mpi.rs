//! The only file that names MPI: [`Cluster`] over rsmpi.

use std::ffi::c_void;
use std::sync::Mutex;
use std::sync::atomic::AtomicU64;

use mpi::collective::{CommunicatorCollectives, Root, SystemOperation};
use mpi::datatype::{Partition, PartitionMut};
use mpi::environment::Universe;
use mpi::ffi;
use mpi::point_to_point::Source;
use mpi::topology::{Color, Communicator, SimpleCommunicator};
use mpi::traits::AsRaw;
use mpi::{Count, Threading};

use super::{Cluster, ClusterError};
use crate::clock::{now_ns, sleep_until};

/// The job as MPI_COMM_WORLD shows it.
pub struct Mpi {
    // Fields drop in this order: communicators before the universe, whose drop calls MPI_Finalize.
    windows: Mutex<Vec<Window>>,
    /// The ranks of local rank 0; None on the others.
    leaders: Option<SimpleCommunicator>,
    node: SimpleCommunicator,
    world: SimpleCommunicator,
    rank: usize,
    size: usize,
    local_rank: usize,
    local_size: usize,
    node_of_rank: Vec<usize>,
    host_names: Vec<String>,
    library: String,
    /// None for a part of the job, which ends before the whole.
    _universe: Option<Universe>,
}

struct Window(ffi::MPI_Win);

// SAFETY: a window handle is a plain value; it is used only from the main thread, under the mutex.
unsafe impl Send for Window {}

impl Mpi {
    /// Calls MPI_Init_thread (FUNNELED) and learns the layout of the job.
    ///
    /// Errors: when MPI gives less than FUNNELED, or was initialised before.
    pub fn start(host: &str) -> Result<Self, ClusterError> {
        let (universe, given) = mpi::initialize_with_threading(Threading::Funneled)
            .ok_or(ClusterError::AlreadyStarted)?;
        if given < Threading::Funneled {
            return Err(ClusterError::Threading);
        }
        let library = mpi::environment::library_version()
            .unwrap_or_else(|_| "unknown".into())
            .trim_end_matches(['\0', '\n', ' '])
            .lines()
            .next()
            .unwrap_or("unknown")
            .to_string();
        Ok(Mpi::over(universe.world(), host, library, Some(universe)))
    }

    /// Learns the layout of the ranks of a communicator. A collective of theirs.
    fn over(
        world: SimpleCommunicator,
        host: &str,
        library: String,
        universe: Option<Universe>,
    ) -> Self {
        let (rank, size) = (world.rank() as usize, world.size() as usize);
        let node = world.split_shared(rank as i32);
        let (local_rank, local_size) = (node.rank() as usize, node.size() as usize);
        let is_leader = local_rank == 0;
        let leaders = world.split_by_color(match is_leader {
            true => Color::with_value(0),
            false => Color::undefined(),
        });
        let mut this = Mpi {
            windows: Mutex::new(Vec::new()),
            leaders,
            node,
            world,
            rank,
            size,
            local_rank,
            local_size,
            node_of_rank: Vec::new(),
            host_names: Vec::new(),
            library,
            _universe: universe,
        };
        // A node is named by its lowest rank: the leader's rank, as seen by everyone on it.
        let mut leader = [if is_leader { rank as u64 } else { 0 }];
        let mut seen = [0u64];
        this.node
            .all_reduce_into(&leader[..], &mut seen[..], SystemOperation::max());
        leader = seen;
        let mut entry = leader[0].to_le_bytes().to_vec();
        entry.extend_from_slice(host.as_bytes());
        let mut table = this.gather(&entry).map(encode_parts).unwrap_or_default();
        this.broadcast(&mut table);
        let mut leaders: Vec<u64> = Vec::new();
        for part in decode_parts(&table) {
            let (head, name) = part.split_at(8);
            let leader = u64::from_le_bytes(head.try_into().expect("split at 8 bytes"));
            let index = leaders
                .iter()
                .position(|&l| l == leader)
                .unwrap_or_else(|| {
                    leaders.push(leader);
                    this.host_names
                        .push(String::from_utf8_lossy(name).into_owned());
                    leaders.len() - 1
                });
            this.node_of_rank.push(index);
        }
        this
    }

    fn reduce_u64(&self, values: &mut [u64], op: SystemOperation) {
        if values.is_empty() {
            return;
        }
        let send = values.to_vec();
        self.world.all_reduce_into(&send[..], values, op);
    }
}

impl Drop for Mpi {
    fn drop(&mut self) {
        for Window(mut win) in self
            .windows
            .lock()
            .expect("no thread panics while holding it")
            .drain(..)
        {
            // SAFETY: the window was made by `node_shared` and is freed once; MPI is still initialised, because
            // the universe is a later field. Nothing reads the words after this: the job is over.
            unsafe { ffi::MPI_Win_free(&mut win) };
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

fn displacements(counts: &[Count]) -> Vec<Count> {
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

/// Elementwise maximum over a communicator, without taking the CPU from those that are late: spins for `spin_ns`, then sleeps
/// between looks.
fn max_patiently(ranks: &SimpleCommunicator, send: &[u64], into: &mut [u64], spin_ns: u64) {
    let start = now_ns();
    mpi::request::scope(|scope| {
        let max = SystemOperation::max();
        let mut request = ranks.immediate_all_reduce_into(scope, send, into, max);
        while let Err(again) = request.test() {
            request = again;
            let now = now_ns();
            let waited = now - start;
            if waited >= spin_ns {
                sleep_until(now + (waited / 8).clamp(*LOOKS_NS.start(), *LOOKS_NS.end()));
            }
        }
    });
}

static EMPTY: [u8; 1] = [0];

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
    fn barrier(&self) {
        self.world.barrier();
    }
    fn broadcast(&self, bytes: &mut Vec<u8>) {
        let root = self.world.process_at_rank(0);
        let mut len = [bytes.len() as u64];
        root.broadcast_into(&mut len[..]);
        bytes.resize(len[0] as usize, 0);
        for chunk in bytes.chunks_mut(MAX_BYTES) {
            root.broadcast_into(chunk);
        }
    }
    fn sum_u64(&self, values: &mut [u64]) {
        self.reduce_u64(values, SystemOperation::sum());
    }
    fn min_u64(&self, values: &mut [u64]) {
        self.reduce_u64(values, SystemOperation::min());
    }
    fn max_u64(&self, values: &mut [u64]) {
        self.reduce_u64(values, SystemOperation::max());
    }
    fn sum_f64(&self, values: &mut [f64]) {
        if values.is_empty() {
            return;
        }
        let send = values.to_vec();
        self.world
            .all_reduce_into(&send[..], values, SystemOperation::sum());
    }
    fn gather(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        let root = self.world.process_at_rank(0);
        let mut lens = vec![0u64; self.size];
        let mine = [bytes.len() as u64];
        self.world.all_gather_into(&mine[..], &mut lens[..]);
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
            // An empty slice's dangling address is that of MPI_IN_PLACE in Open MPI.
            let send = if send.is_empty() { &EMPTY[..0] } else { send };
            match &mut parts {
                None => root.gather_varcount_into(send),
                Some(parts) => {
                    let counts: Vec<Count> =
                        lens.iter().map(|&n| slice(n as usize) as Count).collect();
                    let displs = displacements(&counts);
                    let mut recv = vec![0u8; counts.iter().map(|&c| c as usize).sum()];
                    {
                        let mut partition =
                            PartitionMut::new(&mut recv[..], &counts[..], &displs[..]);
                        root.gather_varcount_into_root(send, &mut partition);
                    }
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
        let send_counts: Vec<Count> = parts.iter().map(|p| p.len() as Count).collect();
        let mut recv_counts = vec![0 as Count; self.size];
        self.world
            .all_to_all_into(&send_counts[..], &mut recv_counts[..]);
        let send_displs = displacements(&send_counts);
        let recv_displs = displacements(&recv_counts);
        // One byte more than needed: an empty vector's dangling address is that of MPI_IN_PLACE in Open MPI.
        let mut send: Vec<u8> = parts.concat();
        send.push(0);
        let mut recv = vec![0u8; recv_counts.iter().map(|&c| c as usize).sum::<usize>() + 1];
        {
            let from = Partition::new(&send[..], &send_counts[..], &send_displs[..]);
            let mut into = PartitionMut::new(&mut recv[..], &recv_counts[..], &recv_displs[..]);
            self.world.all_to_all_varcount_into(&from, &mut into);
        }
        recv_counts
            .iter()
            .zip(&recv_displs)
            .map(|(&n, &at)| recv[at as usize..(at + n) as usize].to_vec())
            .collect()
    }
    fn max_pair(&self, pair: [u64; 2]) -> [u64; 2] {
        let mut result = [0u64; 2];
        self.world
            .all_reduce_into(&pair[..], &mut result[..], SystemOperation::max());
        result
    }
    fn max_u64_patiently(&self, value: u64) -> u64 {
        let mut result = [0];
        max_patiently(&self.world, &[value], &mut result, 0);
        result[0]
    }
    fn leaders_max(&self, pair: [u64; 2], spins: bool) -> [u64; 2] {
        let mut result = pair;
        if let Some(leaders) = &self.leaders {
            let spin_ns = if spins { LEADERS_SPIN_NS } else { 0 };
            max_patiently(leaders, &pair, &mut result, spin_ns);
        }
        result
    }
    fn progress(&self) {
        // Any call that looks for messages moves those of all communicators.
        let _ = self.world.any_process().immediate_probe();
    }
    fn node_shared(&self, words: usize) -> &'static [AtomicU64] {
        let mine = if self.local_rank == 0 { words * 8 } else { 0 };
        let mut own: *mut c_void = std::ptr::null_mut();
        let mut base: *mut c_void = std::ptr::null_mut();
        // SAFETY: plain MPI-3 calls on a live communicator with out-parameters that outlive them. The window is
        // kept until this value drops, which is at the end of the process's use of MPI; rank 0 of the node owns
        // `words * 8` bytes and the query returns where they are mapped here.
        unsafe {
            let mut win = std::mem::zeroed();
            ffi::MPI_Win_allocate_shared(
                mine as ffi::MPI_Aint,
                8,
                ffi::RSMPI_INFO_NULL,
                self.node.as_raw(),
                (&raw mut own).cast(),
                &mut win,
            );
            let (mut size, mut unit) = (0, 0);
            ffi::MPI_Win_shared_query(win, 0, &mut size, &mut unit, (&raw mut base).cast());
            self.windows
                .lock()
                .expect("no thread panics while holding it")
                .push(Window(win));
            if self.local_rank == 0 {
                std::ptr::write_bytes(base.cast::<u8>(), 0, words * 8);
            }
            self.node.barrier();
            std::slice::from_raw_parts(base.cast::<AtomicU64>(), words)
        }
    }
    fn split(&self, color: Option<u16>) -> Option<Box<dyn Cluster + '_>> {
        let color = match color {
            Some(color) => Color::with_value(i32::from(color)),
            None => Color::undefined(),
        };
        let part = self.world.split_by_color(color)?;
        let host = &self.host_names[self.node_of_rank[self.rank]];
        let library = self.library.clone();
        Some(Box::new(Mpi::over(part, host, library, None)))
    }
    fn abort(&self, status: i32) -> ! {
        self.world.abort(status)
    }
}
