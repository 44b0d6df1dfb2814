//! What the page cache holds of the dataset before an epoch, and emptying it where reads are meant to be cold.

use std::path::PathBuf;

use parking_lot::Mutex;

use super::context::JobContext;
use super::dataset::{DatasetFiles, GROUPS, LARGE};
use super::failure::{RankError, Result, agree};
use crate::config::DropCache;
use crate::loader::{BatchSource, Stretch};
use crate::metrics::record::PageCache;
use crate::plan::Split;
use crate::storage::{Pages, Resident, Storage};
use crate::util::hash::{GAMMA, mix64};

/// Files of the dataset that are looked at, by all ranks together. To look at a file is to open it, which warms metadata (see
/// [`LARGE`]). So only one of [`SHARE`] files is looked at, and small ones lie in [`GROUPS`] groups of neighbours; of files
/// with [`LARGE`] bytes each lies in a part of the dataset of its own.
const SAMPLED: std::ops::RangeInclusive<u64> = 32..=256;

/// See [`SAMPLED`].
const SHARE: u64 = 1024;

/// How many of `all` files are looked at.
fn sampled(all: u64) -> u64 {
    (all / SHARE)
        .clamp(*SAMPLED.start(), *SAMPLED.end())
        .min(all)
}

/// Where the files of the sample lie: in groups of neighbours, each somewhere in its part of the files, which are of equal
/// size.
struct Spots {
    all: u64,
    groups: u64,
    in_group: u64,
    /// Decides where in its part a group lies.
    seed: u64,
}

impl Spots {
    /// In `all` files of `len` bytes.
    fn new(all: u64, len: u64, seed: u64) -> Self {
        let count = sampled(all);
        let groups = if len >= LARGE { count.max(1) } else { GROUPS };
        Spots {
            all,
            groups,
            in_group: count.div_ceil(groups),
            seed,
        }
    }

    /// The position of file `number` of the sample.
    fn position(&self, number: u64) -> u64 {
        if sampled(self.all) == self.all {
            return number;
        }
        let group = number / self.in_group;
        let begin_of = |group: u64| group * self.all / self.groups;
        let from = begin_of(group);
        let places = begin_of(group + 1) - from - self.in_group + 1;
        from + mix64(self.seed ^ group.wrapping_mul(GAMMA)) % places + number % self.in_group
    }
}

/// The files that the job reads, by one number: training files, then those of evaluation.
struct Used<'a> {
    files: &'a DatasetFiles,
    train: u64,
    all: u64,
    spots: Spots,
}

impl Used<'_> {
    /// The path of a file; returns the number by which the watchdog names it.
    fn path(&self, position: u64, path: &mut PathBuf) -> u64 {
        let (split, position) = if position < self.train {
            (Split::Train, position)
        } else {
            (Split::Valid, position - self.train)
        };
        let index = self.files.split(split).position_to_index(position);
        self.files.path_of(split, index, path);
        self.files.global_index(split, index)
    }
}

/// This rank's part of the sample.
#[derive(Default)]
pub(super) struct Sample {
    /// Of all files that were looked at.
    pub(super) sum: Resident,
    files: u64,
}

/// What the page cache holds of a sample of the files when an epoch begins: this rank's part, and what all ranks found
/// where reads are meant to be cold. In that case, before the first epoch, where any page is in memory, every host forgets
/// those of all files by its reader threads, and the sample is looked up again. Readers forget what they read, so later
/// epochs are not looked at, nor are those before which the host's whole page cache is emptied. A collective.
pub(super) fn before_epoch(
    job: &JobContext,
    (storage, files): (&dyn Storage, &DatasetFiles),
    readers: &dyn BatchSource,
    does_eval: bool,
    epoch: u64,
) -> Result<(Sample, Option<PageCache>)> {
    let cluster = job.cluster;
    let is_cold = super::wire::dataset_store(job.workload).pages != Pages::Keep;
    let is_due = match job.workload.reader.drop_cache {
        _ if !storage.system().page_cache => false,
        DropCache::System => false,
        _ => !is_cold || epoch == 1,
    };
    if !is_due {
        return Ok((Sample::default(), None));
    }
    let all = files.used.0 + if does_eval { files.used.1 } else { 0 };
    let w = job.workload;
    let len = (files.sample_bytes()).saturating_mul(w.dataset.num_samples_per_file);
    let used = Used {
        files,
        train: files.used.0,
        all,
        spots: Spots::new(
            all,
            len,
            w.train.seed.wrapping_add(epoch.wrapping_mul(GAMMA)),
        ),
    };
    let sample = agree(cluster, look(job, storage, &used))?;
    if !is_cold {
        return Ok((sample, None));
    }
    let mut sums = [sample.files, sample.sum.bytes];
    cluster.sum_u64(&mut sums);
    let found = PageCache {
        sampled_files: sums[0],
        resident_bytes: sums[1],
        kept_bytes: 0,
    };
    if found.resident_bytes == 0 {
        return Ok((sample, Some(found)));
    }
    agree(cluster, evict(job, storage, &used, readers))?;
    let sample = agree(cluster, look(job, storage, &used))?;
    let mut kept = [sample.sum.bytes];
    cluster.sum_u64(&mut kept);
    let found = PageCache {
        kept_bytes: kept[0],
        ..found
    };
    Ok((sample, Some(found)))
}

/// This rank's part of the sample.
fn look(job: &JobContext, storage: &dyn Storage, used: &Used) -> Result<Sample, RankError> {
    let (rank, ranks) = (job.cluster.rank(), job.cluster.size());
    let mut path = PathBuf::new();
    let mut sample = Sample::default();
    for number in (rank as u64..sampled(used.all)).step_by(ranks) {
        used.path(used.spots.position(number), &mut path);
        let task = job.doing("look up the pages of", &path);
        let seen = storage.resident(&path)?;
        drop(task);
        sample.sum.held += seen.held;
        sample.sum.pages += seen.pages;
        sample.sum.bytes += seen.bytes;
        sample.files += 1;
        job.activity.moved();
    }
    Ok(sample)
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
    let _work = activity.work(Stretch::DropCache, count);
    readers.for_each(count, &|thread, number| {
        if failure.lock().is_some() {
            return;
        }
        let mut path = PathBuf::new();
        let file = used.path(rank + number * ranks, &mut path);
        if let Err(error) = activity.io(thread, file, 0, || storage.evict(&path)) {
            failure.lock().get_or_insert(error);
        }
        activity.worked(1);
    });
    failure
        .into_inner()
        .map_or(Ok(()), |error| Err(error.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(all: u64, len: u64, seed: u64) -> Vec<u64> {
        let spots = Spots::new(all, len, seed);
        (0..sampled(all)).map(|n| spots.position(n)).collect()
    }

    #[test]
    fn the_sample_is_small_and_from_all_over() {
        for (all, count) in [
            (0, 0),
            (1, 1),
            (32, 32),
            (33, 32),
            (20_000, 32),
            (200_000, 195),
            (1 << 40, 256),
        ] {
            assert_eq!(sampled(all), count, "{all}");
            for (len, seed) in [(4096, 1), (4096, 2), (LARGE, 1)] {
                let positions = positions(all, len, seed);
                assert!(positions.is_sorted_by(|a, b| a < b), "{all}: {positions:?}");
                assert!(
                    positions.last().is_none_or(|last| *last < all),
                    "{all}: {positions:?}"
                );
                // A quarter of the files holds a quarter of the sample.
                let first = positions.iter().filter(|p| **p < all / 4).count() as u64;
                assert!(first.abs_diff(count / 4) <= 1, "{all}: {first} of {count}");
            }
        }
    }

    // 36 files in a row that are in memory lie beside groups in fixed places in every epoch.
    #[test]
    fn no_part_of_the_files_stays_unseen() {
        for seed in 0..100 {
            let large = positions(400, 1 << 20, seed);
            for warm in 0..=364 {
                let is_seen = large.iter().any(|p| (warm..warm + 36).contains(p));
                assert!(is_seen, "files from {warm}: {large:?}");
            }
        }
        let small = |seed| positions(20_000, 4096, seed);
        // Neighbours, whose metadata comes together.
        let apart = small(1).windows(2).filter(|w| w[1] > w[0] + 1).count();
        assert_eq!(apart, 3);
        assert_ne!(small(1), small(2));
        let seen = (0..200).any(|seed| small(seed).iter().any(|p| (1..=36).contains(p)));
        assert!(seen, "the first files are never looked at");
    }
}
