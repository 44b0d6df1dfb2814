//! The typed workload: DLIO's YAML sections, their loading, overrides and validation.
//!
//! Nothing here reads anything but YAML text, `.env` and the environment map it is given.

pub mod timespec;
pub mod workload;

pub use timespec::{Distribution, TimeSpec};
pub use workload::*;
