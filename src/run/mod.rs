//! A job: its phases in order ([`phase`]), what they share, and its results.
//!
//! Every rank walks through here in step; a rank that fails says so at the next point where all meet, and
//! all stop. Which format and which storage system are used is not known here.

mod bare;
pub mod caches;
pub mod checkpoint_watch;
pub mod checkpointer;
pub mod dataset;
pub mod failure;
pub mod job;
mod lookout;
pub mod phase;
pub mod preflight;
mod profile;
mod recording;
pub mod request;
pub mod source;
pub mod steps;
mod ticker;
mod waiting;
pub mod watch;
pub mod wire;
pub mod work;

mod context;
mod events;
mod index_cache;
pub(crate) mod manifest;
mod memory;
pub(crate) mod names;
mod open;
mod patient;
mod residency;
mod results;
mod screen;
mod search;
mod shared;
mod sources;
mod trace;

pub use context::{RunOptions, shape};
pub use failure::{JobError, RankError, agree};
pub use preflight::preflight;
