//! The typed workload: DLIO's YAML sections, their loading, overrides and validation.
//!
//! Nothing here reads anything but YAML text; the environment comes as a map.

mod address;
mod checkpoint;
mod element;
mod environment;
mod error;
mod keys;
mod load;
mod object;
pub mod overrides;
mod source;
mod timespec;
mod tree;
mod validate;
mod workload;
pub mod yaml;

#[cfg(test)]
mod load_tests;

pub use address::Address;
pub use element::{Element, element_bytes};
pub use error::ConfigError;
pub use load::{Hydra, LoadRequest, Loaded, Origin, load};
pub use source::{Source, builtin, builtin_names, nearest_builtin};
pub use timespec::{Distribution, TimeSpec};
pub use tree::redact_word;
pub use validate::{unsupported, validate};
pub use workload::*;
