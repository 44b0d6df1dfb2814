//! Whether the page cache holds the dataset before the first epoch, and emptying it where it does.

use std::path::PathBuf;

use parking_lot::Mutex;

use super::context::JobContext;
use super::dataset::DatasetFiles;
use super::failure::{JobError, RankError, agree};
use crate::loader::BatchSource;
use crate::metrics::record::PageCache;
use crate::plan::Split;
use crate::storage::{Pages, Storage};

/// Files of the dataset that are looked at, by all ranks together.
const SAMPLED: u64 = 256;

/// The files that the job reads, by one number: training files, then those of evaluation.
struct Used<'a> {
    files: &'a DatasetFiles,
    train: u64,
    all: u64,
}

impl Used<'_> {
    fn path(&self, position: u64, path: &mut PathBuf) {
        let (split, position) = if position < self.train {
            (Split::Train, position)
        } else {
            (Split::Valid, position - self.train)
        };
        let index = self.files.split(split).position_to_index(position);
        self.files.path_of(split, index, path);
    }
}

/// Looks whether pages of a sample of the files are in memory. Where any are, every host forgets those of all files, by
/// its reader threads. None where reads do not go through the page cache, or are meant to. A collective.
pub(super) fn make_cold(
    job: &JobContext,
    storage: &dyn Storage,
    files: &DatasetFiles,
    readers: &dyn BatchSource,
    does_eval: bool,
) -> Result<Option<PageCache>, JobError> {
    let cluster = job.cluster;
    if super::wire::dataset_store(job.workload).pages == Pages::Keep {
        return Ok(None);
    }
    let used = Used {
        files,
        train: files.used.0,
        all: files.used.0 + if does_eval { files.used.1 } else { 0 },
    };
    let found = agree(cluster, sample(job, storage, &used))?;
    let mut sums = [found.sampled_files, found.resident_bytes];
    cluster.sum_u64(&mut sums);
    let found = PageCache {
        sampled_files: sums[0],
        resident_bytes: sums[1],
    };
    if found.resident_bytes > 0 {
        agree(cluster, evict(job, storage, &used, readers))?;
    }
    Ok(Some(found))
}

/// This rank's part of the sample, which is spread evenly over the files.
fn sample(job: &JobContext, storage: &dyn Storage, used: &Used) -> Result<PageCache, RankError> {
    let (rank, ranks) = (job.cluster.rank(), job.cluster.size());
    let count = used.all.min(SAMPLED);
    let mut path = PathBuf::new();
    let mut found = PageCache::default();
    for number in (rank as u64..count).step_by(ranks) {
        let position = (u128::from(number) * u128::from(used.all) / u128::from(count)) as u64;
        used.path(position, &mut path);
        found.resident_bytes += storage.resident(&path)?;
        found.sampled_files += 1;
        job.activity.moved();
    }
    Ok(found)
}

/// This rank's part of its host's work: every host has a page cache of its own, whoever reads a file first.
fn evict(
    job: &JobContext,
    storage: &dyn Storage,
    used: &Used,
    readers: &dyn BatchSource,
) -> Result<(), RankError> {
    let (rank, ranks) = (
        job.cluster.local_rank() as u64,
        job.cluster.local_size() as u64,
    );
    let count = used.all.saturating_sub(rank).div_ceil(ranks);
    let failure = Mutex::new(None);
    let activity = job.activity;
    readers.for_each(count, &|number| {
        if failure.lock().is_some() {
            return;
        }
        let mut path = PathBuf::new();
        used.path(rank + number * ranks, &mut path);
        if let Err(error) = storage.evict(&path) {
            failure.lock().get_or_insert(error);
        }
        activity.moved();
    });
    failure
        .into_inner()
        .map_or(Ok(()), |error| Err(error.into()))
}
