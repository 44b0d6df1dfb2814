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
pub mod phase;
pub mod request;
pub mod source;
pub mod steps;
mod waiting;
pub mod watch;
pub mod wire;
pub mod work;

mod context;
mod events;
mod index_cache;
mod patient;
mod results;
mod shared;
mod sources;

pub use context::{JobContext, RunOptions, label, shape};
pub use events::Events;
pub use failure::{JobError, RankError, agree};

use std::sync::Arc;

use crate::config::{StorageType, Workload};
use crate::format::{self, Format};
use crate::storage::{self, Storage};

/// Opens the storage system of a workload, with the words that the ranks of a node share.
pub fn open_storage(job: &JobContext) -> Result<Arc<dyn Storage>, RankError> {
    let shared = job.cluster.node_shared(storage::SHARED_WORDS);
    Ok(storage::open(job.workload, shared)?.into())
}

/// The format, or None where the storage system delivers no bytes and so needs none.
///
/// Errors: a format that is not built, on a storage system that has bytes.
pub fn pick_format(workload: &Workload) -> Result<Option<&'static dyn Format>, RankError> {
    let kind = workload.dataset.format;
    match workload.storage_type_effective() {
        StorageType::Null | StorageType::Model => Ok(None),
        _ => wire::format_row(workload).format.map(Some).ok_or_else(|| {
            RankError::NotBuilt(format!(
                "run with dataset.format={kind}: this version reads and writes {}",
                format::built().join(", ")
            ))
        }),
    }
}
