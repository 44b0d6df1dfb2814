//! The typed workload: DLIO's YAML sections, their loading, overrides and validation.
//!
//! Nothing here reads anything but YAML text; the environment comes as a map.

mod address;
mod checkpoint;
mod coerce;
mod compose;
mod defaults;
mod dotenv;
mod effect;
mod element;
mod environment;
mod error;
mod explain;
mod folder;
mod foreign;
mod interpolate;
mod keys;
mod limits;
mod load;
mod object;
mod origin;
pub mod overrides;
mod schema;
mod secret;
mod source;
mod threads;
mod timespec;
mod tree;
mod validate;
mod workload;
pub mod yaml;

#[cfg(test)]
mod load_tests;
#[cfg(test)]
mod remedy_tests;

pub use address::Address;
pub use element::{Element, element_bytes};
pub use error::ConfigError;
pub use explain::{Format, explain};
pub use load::{LoadRequest, Loaded, PATIENCE, load};
pub use origin::Origin;
pub use secret::redact_word;
pub use source::{Source, builtin, builtin_names, near, patiently};
pub use threads::Machine;
pub use timespec::{Distribution, TimeSpec};
pub use validate::{unsupported, validate};
pub use workload::*;
