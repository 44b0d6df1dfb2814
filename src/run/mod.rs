//! A job: its phases in order ([`phase`]), what they share, and its results.
//!
//! Every rank walks through here in step; a rank that fails says so at the next point where all meet, and
//! all stop. Which format and which storage system are used is not known here.

pub mod caches;
pub mod checkpoint_watch;
pub mod checkpointer;
pub mod dataset;
pub mod failure;
pub mod job;
pub mod phase;
pub mod source;
pub mod steps;
pub mod watch;
pub mod wire;
pub mod work;

mod context;
mod index_cache;
mod results;
mod sources;

pub use context::{JobContext, RunOptions, label, shape};
pub use failure::{JobError, RankError, agree};

use std::sync::Arc;

use crate::config::{StorageType, Workload};
use crate::format::{self, Format};
use crate::report::{Event, Listener};
use crate::storage::{self, Storage};

/// Rank 0's listeners; other ranks have none. Remembers every warning for the report.
#[derive(Default)]
pub struct Events {
    listeners: Vec<Box<dyn Listener>>,
    /// Each once, in order.
    pub warnings: Vec<String>,
}

impl Events {
    /// Adds a listener.
    pub fn listen(&mut self, listener: Box<dyn Listener>) {
        self.listeners.push(listener);
    }

    /// Tells all listeners. A warning that was given before is not repeated.
    pub fn emit(&mut self, event: Event) {
        if let Event::Warning(text) = &event {
            if self.warnings.contains(text) {
                return;
            }
            self.warnings.push(text.clone());
        }
        for listener in &mut self.listeners {
            listener.on(&event);
        }
    }
}

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
