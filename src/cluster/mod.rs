//! Ranks and what they say to each other.
//!
//! [`Cluster`] is all that the rest of the program knows of MPI. Every collective must be called by
//! every rank in the same order, from the main thread only (MPI_THREAD_FUNNELED).

mod solo;

pub use solo::Solo;

/// One rank's view of the job.
pub trait Cluster {
    /// This rank, `0..size()`.
    fn rank(&self) -> usize;
    /// Number of ranks = simulated accelerators.
    fn size(&self) -> usize;
    /// Position among the ranks of this node.
    fn local_rank(&self) -> usize;
    /// Ranks on this node.
    fn local_size(&self) -> usize;
    /// Node index of every rank, in rank order; nodes are numbered by their lowest rank.
    fn node_of_rank(&self) -> &[usize];
    /// Host name of every node.
    fn host_names(&self) -> &[String];
    /// The MPI library, as it names itself; "none" without one.
    fn library(&self) -> &str;
    /// Returns when every rank has called it.
    fn barrier(&self);
    /// Rank 0's bytes, on every rank.
    fn broadcast(&self, bytes: &mut Vec<u8>);
    /// Elementwise sum over ranks, on every rank.
    fn sum_u64(&self, values: &mut [u64]);
    /// Elementwise minimum over ranks, on every rank.
    fn min_u64(&self, values: &mut [u64]);
    /// Elementwise maximum over ranks, on every rank.
    fn max_u64(&self, values: &mut [u64]);
    /// Elementwise sum over ranks, on every rank.
    fn sum_f64(&self, values: &mut [f64]);
    /// Every rank's bytes in rank order, on rank 0 only.
    fn gather(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>>;
    /// Sends `parts[i]` to rank i; returns what each rank sent here, in rank order.
    fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>>;
    /// Maximum over ranks without burning a core while others are late: polls and sleeps.
    fn max_u64_patiently(&self, value: u64) -> u64;
    /// Zeroed words shared by the ranks of this node, for as long as the process lives.
    fn node_shared(&self, words: usize) -> &'static [std::sync::atomic::AtomicU64];
    /// Ends every rank at once with this exit status.
    fn abort(&self, status: i32) -> !;
}
