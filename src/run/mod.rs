//! The phases of a run, in order: generate, train with evaluation and checkpoints, or checkpoints alone; report.
//!
//! Every rank walks through here in step; a rank that fails says so at the next point where all meet, and
//! all stop. Which format and which storage system are used is not known here.

pub mod checkpoint;
pub mod checkpoint_only;
pub mod checkpoint_watch;
pub mod dataset;
pub mod failure;
pub mod generate;
mod image;
mod index_cache;
pub mod source;
pub mod train;
pub mod watchdog;
pub mod work;

mod context;
mod epochs;

pub use context::{JobContext, RunOptions, label, shape};
pub use epochs::{Measured, drop_timeout};
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
        _ => format::by_kind(kind).map(Some).ok_or_else(|| {
            RankError::NotBuilt(format!(
                "run with dataset.format={kind}: this version reads and writes {}",
                format::built()
                    .iter()
                    .map(|k| k.word())
                    .collect::<Vec<_>>()
                    .join(", ")
            ))
        }),
    }
}

/// Generates the dataset of a workload. A collective.
pub fn generate_phase(
    job: &JobContext,
    events: &mut Events,
) -> Result<generate::Generated, JobError> {
    let cluster = job.cluster;
    let storage = agree(cluster, open_storage(job))?;
    let format = agree(cluster, pick_format(job.workload))?;
    let Some(format) = format else {
        events.emit(Event::Info(format!(
            "storage {}: nothing to generate",
            storage.name()
        )));
        return Ok(generate::Generated::default());
    };
    let files = Arc::new(dataset::DatasetFiles::to_generate(
        job.workload,
        cluster.size(),
    ));
    generate::generate(job, events, &*storage, format, &files)
}

/// Trains and evaluates. A collective; the record is this rank's.
pub fn train_phase(job: &JobContext, events: &mut Events) -> Result<Measured, JobError> {
    let storage = agree(job.cluster, open_storage(job))?;
    let format = agree(job.cluster, pick_format(job.workload))?;
    let files = agree(
        job.cluster,
        dataset::DatasetFiles::to_read(job.workload, job.cluster.size(), &*storage),
    )?;
    epochs::train(job, events, storage, format, Arc::new(files))
}

/// Saves and loads checkpoints without training. A collective; the record is this rank's.
pub fn checkpoint_phase(job: &JobContext, events: &mut Events) -> Result<Measured, JobError> {
    checkpoint_only::run(job, events)
}

/// Deletes the dataset when `dataset.keep_files` is false. A collective.
pub fn cleanup_phase(job: &JobContext) -> Result<(), JobError> {
    if job.workload.dataset.keep_files {
        return Ok(());
    }
    let storage = agree(job.cluster, open_storage(job))?;
    let files = dataset::DatasetFiles::to_generate(job.workload, job.cluster.size());
    let format = agree(job.cluster, pick_format(job.workload))?;
    generate::delete_dataset(job, &*storage, format, &files)
}
