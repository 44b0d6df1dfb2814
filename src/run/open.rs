//! The storage system and the format of a job.

use std::sync::Arc;

use super::context::JobContext;
use super::failure::RankError;
use super::wire;
use crate::config::Workload;
use crate::format::{self, Format};
use crate::storage::{self, Storage, StoreSpec};

/// Opens the storage system of a workload's dataset. A collective.
pub fn open_storage(job: &JobContext) -> Result<Arc<dyn Storage>, RankError> {
    let mut spec = wire::dataset_store(job.workload);
    spec.time = spec.time.of_rank(job.cluster.rank());
    open_store(job, &spec)
}

/// Opens a storage system with the words that the ranks of a node share, and records its retries. A collective.
pub fn open_store(job: &JobContext, spec: &StoreSpec) -> Result<Arc<dyn Storage>, RankError> {
    let shared = job.cluster.node_shared(storage::SHARED_WORDS);
    let store = Arc::from(storage::open(spec, shared)?);
    if let Some(gauges) = &job.gauges {
        gauges.watch_store(&store);
    }
    Ok(store)
}

/// The format, or None where the storage system delivers no bytes and so needs none.
///
/// Errors: a format that is not built, on a storage system that has bytes.
pub fn pick_format(workload: &Workload) -> Result<Option<&'static dyn Format>, RankError> {
    let kind = workload.dataset.format;
    if !workload.storage_system().has_bytes {
        return Ok(None);
    }
    wire::format_row(workload).format.map(Some).ok_or_else(|| {
        RankError::Dataset(format!(
            "run with dataset.format={kind}: this version reads and writes {}",
            format::built().join(", ")
        ))
    })
}
