//! Containers that several formats share, and checkpoints too.

pub(crate) mod npy;
pub(crate) mod zip;
