//! Ranks and what they say to each other.
//!
//! [`Cluster`] is all that the rest of the program knows of MPI. Every collective must be called by
//! every rank in the same order, from the main thread only (MPI_THREAD_FUNNELED).

mod library;
mod meeting;
mod mpi;
mod solo;
mod start;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) mod threads;

pub use library::{LibraryError, Named, outlook};
pub use meeting::Meeting;
pub(crate) use mpi::Mpi;
pub use solo::Solo;
pub use start::{is_launched, start};

/// Why the job could not be formed.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// MPI was initialised by something else in this process.
    #[error("MPI was already initialised in this process")]
    AlreadyStarted,
    /// MPI gives no thread support.
    #[error(
        "the MPI library gives less than MPI_THREAD_FUNNELED: {library} ({origin})\n  remedy: use one built with thread support"
    )]
    Threading {
        /// The library, as it names itself.
        library: String,
        /// Which one it is.
        origin: String,
    },
    /// There is no library to use.
    #[error("{0}\n  remedy: {REMEDY}")]
    Library(#[from] LibraryError),
    /// The launcher meant a larger job than this process sees.
    #[error(
        "the launcher meant {wanted} ranks ({variable}={wanted}) but this process sees a world of 1.\n\
         the MPI library is: {library}\n\
         ({origin})\n\
         Every process would run the whole benchmark alone.\n  remedy: {REMEDY}"
    )]
    WrongLauncher {
        /// Ranks the launcher announced.
        wanted: usize,
        /// Where it said so.
        variable: &'static str,
        /// The library, as it names itself.
        library: String,
        /// Which one it is.
        origin: String,
    },
}

/// What to do where launcher and library do not fit.
#[cfg(feature = "mpi-linked")]
const REMEDY: &str = "start it with the mpirun of the library that it is linked with, build dlio-rs again with the launcher's \
                      mpicc first on PATH, or use a binary that opens the library at run time";
#[cfg(not(feature = "mpi-linked"))]
const REMEDY: &str = "name the launcher's own MPI library by --mpi-lib FILE or DLIO_RS_MPI_LIB=FILE, or start it with that \
                      library's own mpirun; `dlio-rs info` without a launcher lists the libraries that it finds";

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
    /// Which file it is and why it is used; None without one.
    fn library_source(&self) -> Option<&str> {
        None
    }
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
    /// The largest of the ranks' values, on every rank.
    fn largest(&self, value: u64) -> u64 {
        let mut values = [value];
        self.max_u64(&mut values);
        values[0]
    }
    /// Whether it is so on any rank.
    fn any(&self, is_so: bool) -> bool {
        self.largest(u64::from(is_so)) > 0
    }
    /// Elementwise sum over ranks, on every rank.
    fn sum_f64(&self, values: &mut [f64]);
    /// Every rank's bytes in rank order, on rank 0 only.
    fn gather(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>>;
    /// Sends `parts[i]` to rank i; returns what each rank sent here, in rank order.
    fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>>;
    /// Elementwise maximum of two words over ranks: what every training step ends with. Allocates nothing.
    fn max_pair(&self, pair: [u64; 2]) -> [u64; 2];
    /// Maximum over ranks without burning a core while others are late: polls and sleeps.
    fn max_u64_patiently(&self, value: u64) -> u64;
    /// Elementwise maximum over nodes, of which each is represented by its rank of local rank 0: only these call it. They spin
    /// for a moment where CPUs are idle (`spins`), and then sleep between looks.
    fn leaders_max(&self, pair: [u64; 2], spins: bool) -> [u64; 2];
    /// Lets the MPI library move messages that it has taken and not yet sent.
    fn progress(&self);
    /// Zeroed words shared by the ranks of this node, for as long as the process lives.
    fn node_shared(&self, words: usize) -> &'static [std::sync::atomic::AtomicU64];
    /// A job of the ranks that bring the same color, in their order here; None for those that bring none. A collective of
    /// all ranks, as is dropping it of its own ranks. It lives at most as long as this job.
    fn split(&self, color: Option<u16>) -> Option<Box<dyn Cluster + '_>>;
}
