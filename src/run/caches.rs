//! Emptying the page cache before files are read again, as `reader.drop_cache` says.

use std::path::PathBuf;
use std::time::Duration;

use super::context::JobContext;
use super::failure::RankError;
use super::work::EpochWork;
use crate::clock::now_ns;
use crate::config::{DropCache, StorageType};
use crate::host::caches::{DropError, drop_page_cache};
use crate::loader::Work;
use crate::storage::Storage;

/// Empties the page cache of what the first `steps` batches of an epoch will read.
///
/// Errors: `system` where the kernel does not permit it.
pub(super) fn drop_caches(
    job: &JobContext,
    storage: &dyn Storage,
    work: &EpochWork,
    steps: u64,
) -> Result<(), RankError> {
    let kind = job.workload.storage_type_effective();
    let is_cached = matches!(
        kind,
        StorageType::LocalFs | StorageType::Mmap | StorageType::DirectFs
    );
    match job.workload.reader.drop_cache {
        _ if !is_cached => Ok(()),
        DropCache::None => Ok(()),
        DropCache::System if job.cluster.local_rank() > 0 => Ok(()),
        DropCache::System => drop_system_cache(job),
        DropCache::Fadvise => {
            let mut path = PathBuf::new();
            let mut runs = Vec::new();
            let mut last = None;
            for batch in 0..work.batches().min(steps) {
                runs.clear();
                work.batch(batch, &mut runs);
                for run in &runs {
                    if last.replace(run.file) != Some(run.file) {
                        work.path_of(run, &mut path);
                        let _task = job.doing("evict", &path);
                        storage.evict(&path)?;
                    }
                }
            }
            Ok(())
        }
    }
}

/// DLIO's variable: seconds that emptying the page cache may take.
const DROP_TIMEOUT: &str = "DLIO_DROP_CACHES_TIMEOUT";

/// The seconds of `DLIO_DROP_CACHES_TIMEOUT`, at least 1; None where it is not set. `variable` looks a variable of rank 0's
/// environment up.
///
/// Errors: it is no whole number.
pub fn drop_timeout<'v>(
    variable: impl Fn(&str) -> Option<&'v str>,
) -> Result<Option<Duration>, String> {
    let Some(text) = variable(DROP_TIMEOUT) else {
        return Ok(None);
    };
    match text.trim() {
        "" => Ok(None),
        seconds => match seconds.parse::<u64>() {
            Ok(n) => Ok(Some(Duration::from_secs(n.max(1)))),
            Err(_) => Err(format!(
                "environment variable {DROP_TIMEOUT}: {text:?} is no whole number of seconds\n  remedy: set it to one, such as 300, or unset it"
            )),
        },
    }
}

/// Empties the page cache of this node, within a limit of time.
pub(super) fn drop_system_cache(job: &JobContext) -> Result<(), RankError> {
    let limit = job.options.drop_timeout;
    let _task = (job.activity).task("write back all data and empty the page cache of the host");
    if let Some(limit) = limit {
        // As long as the user allows.
        (job.activity).busy_until(now_ns().saturating_add(limit.as_nanos() as u64));
    }
    let dropped = drop_page_cache(limit);
    job.activity.busy_until(0);
    dropped.map_err(|cause| {
        let (cause, remedy) = match cause {
            DropError::Refused(e) => (e.to_string(), "run as root"),
            DropError::Late(_) => (format!("{cause}, the limit of {DROP_TIMEOUT}"), "raise that variable"),
        };
        RankError::Dataset(format!(
            "drop the page cache through /proc/sys/vm/drop_caches: {cause}\n  remedy: {remedy}, or set reader.drop_cache=fadvise"
        ))
    })
}
