//! Emptying the page cache before files are read again, as `reader.drop_cache` says.

use std::time::Duration;

use super::context::JobContext;
use super::failure::RankError;
use crate::clock::now_ns;
use crate::config::DropCache;
use crate::host::caches::{DropError, drop_page_cache};
use crate::loader::Stretch;
use crate::storage::Storage;

/// Empties the page cache of this node under `reader.drop_cache: system`; the other ways act on each file as it is read.
///
/// Errors: the kernel does not permit it.
pub(super) fn drop_caches(job: &JobContext, storage: &dyn Storage) -> Result<(), RankError> {
    let is_due = job.workload.reader.drop_cache == DropCache::System
        && storage.system().opens_by_path
        && job.cluster.local_rank() == 0;
    if is_due {
        drop_system_cache(job)
    } else {
        Ok(())
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
    let _work = job.activity.work(Stretch::DropCache, 0);
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
