//! Pure arithmetic: which files exist, how long they are, who reads what and when.
//!
//! No I/O, no clock, no threads, no MPI, and no randomness that does not come from a seed.

#[cfg(test)]
#[path = "allocated_tests.rs"]
pub(crate) mod allocated;
pub mod checkpoint;
pub mod dataset;
pub mod digest;
pub mod draw;
pub mod fill;
pub mod mt19937;
pub mod order;
pub mod permutation;
pub mod reshard;
pub mod simulate;
pub mod steps;

/// Which part of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Split {
    Train,
    Valid,
}

impl Split {
    /// Name of its folder.
    pub fn folder(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Valid => "valid",
        }
    }
}

/// Consecutive samples of one file, read in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// File index: the number in the file's name.
    pub file: u64,
    /// First sample inside the file.
    pub first: u64,
    /// Number of samples.
    pub count: u64,
}
