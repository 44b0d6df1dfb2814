//! Whether the files of a dataset are there, and as long as they should be.

use std::path::{Path, PathBuf};

use super::DatasetFiles;
use crate::format::FileSpec;
use crate::loader::{LoaderError, Stretch};
use crate::plan::Split;
use crate::report::Event;
use crate::run::context::JobContext;
use crate::run::events::Events;
use crate::run::failure::RankError;
use crate::run::manifest::MANIFEST;
use crate::storage::Storage;

/// Files that were looked at, and their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Presence {
    files: u64,
    bytes: u64,
}

/// Containers have bytes of their own, and so have their headers.
const SIZE_TOLERANCE: f64 = 0.1;

/// Looking at a file brings metadata of its neighbours into memory: of ext4, the 64 or so names of a block of the folder, and
/// the 512 inodes that are read ahead. Where files have this many bytes it is little beside them.
pub(in crate::run) const LARGE: u64 = 256 << 10;

/// Places of the dataset in which smaller files are looked at, so that reading them is as cold as it was.
pub(in crate::run) const GROUPS: u64 = 4;

/// DLIO's `dataset.listing_validation_interval`.
const LOOK_EVERY: u64 = 1000;

/// Every how many of `used` files one is looked for: as it is `given`; where it is not, few enough that looking does not warm
/// what is to be read.
fn look_every(given: Option<u64>, used: u64, is_small: bool) -> u64 {
    match is_small {
        true => given.unwrap_or(LOOK_EVERY.max(used.div_ceil(GROUPS))),
        false => given.unwrap_or(LOOK_EVERY),
    }
}

impl DatasetFiles {
    /// Checks a sample of the files that this rank answers for: present, and not shorter than planned.
    ///
    /// Every file that [`look_every`] names, and the last one, spread over the ranks. Returns how many files were looked at.
    pub fn check_presence(
        &self,
        job: &JobContext,
        storage: &dyn Storage,
    ) -> Result<Presence, RankError> {
        let mut seen = Presence::default();
        let (rank, ranks) = job.data_part();
        let interval = self.workload.dataset.listing_validation_interval;
        if interval == Some(0) || !storage.system().has_bytes {
            return Ok(seen);
        }
        let task = job.doing("look for", &self.root);
        if !storage.has_folder(&self.root)? {
            return Err(RankError::Dataset(format!(
                "find the dataset: {} does not exist\n  remedy: set dataset.data_folder to where it is, or generate it (workflow.generate_data=true)",
                self.root.display()
            )));
        }
        drop(task);
        let evaluates = self.workload.workflow.evaluation;
        let samples = self.workload.dataset.num_samples_per_file;
        let is_small =
            storage.system().opens_by_path && self.sample_bytes().saturating_mul(samples) < LARGE;
        let mut path = PathBuf::new();
        for (split, used) in [
            (Split::Train, self.used.0),
            (Split::Valid, if evaluates { self.used.1 } else { 0 }),
        ] {
            if used == 0 {
                continue;
            }
            let interval = look_every(interval, used, is_small);
            let checks = (used - 1) / interval + 2;
            let own = checks.saturating_sub(rank).div_ceil(ranks);
            let _work = job.activity.work(Stretch::Check, own);
            for check in (rank..checks).step_by(ranks as usize) {
                let position = (check * interval).min(used - 1);
                let index = self.split(split).position_to_index(position);
                self.path_of(split, index, &mut path);
                let _task = job.doing("look for", &path);
                job.activity.worked(1);
                match storage.len(&path)? {
                    None => return Err(self.missing(&path, split, used)),
                    Some(len) if len < self.min_file_len() => {
                        return Err(RankError::Dataset(format!(
                            "use {}: it has {len} bytes and its samples need {}\n  remedy: it is truncated or of another dataset; generate it again",
                            path.display(),
                            self.min_file_len()
                        )));
                    }
                    Some(len) => {
                        self.check_len(&path, len, None)?;
                        seen.files += 1;
                        seen.bytes += len;
                    }
                }
            }
        }
        Ok(seen)
    }

    /// Compares the length of a file, bytes, with the one that the manifest gives it. Where sizes are random that is known
    /// with what the file holds (`spec`), which is drawn where contents are compared: for the length alone each rank would
    /// have to draw the sizes of all files.
    ///
    /// Errors: it is another one.
    pub fn check_len(
        &self,
        path: &Path,
        len: u64,
        spec: Option<&FileSpec>,
    ) -> Result<(), LoaderError> {
        let drawn = spec.filter(|_| self.is_exact);
        let expected = drawn.and_then(|spec| self.encoded_len(spec));
        match expected.or(self.exact_file_len) {
            Some(expected) if expected != len => Err(LoaderError::Replaced {
                path: path.into(),
                len,
                expected,
                by: MANIFEST,
            }),
            _ => Ok(()),
        }
    }

    /// Says when files that others wrote are not of the size that the workload gives them. A collective.
    pub fn warn_of_sizes(&self, job: &JobContext, seen: Presence, events: &mut Events) {
        let mut sums = [seen.files, seen.bytes];
        job.cluster.sum_u64(&mut sums);
        let [files, bytes] = sums;
        let needed = files.saturating_mul(self.nominal_len);
        let is_near = bytes >= needed && bytes as f64 <= (1.0 + SIZE_TOLERANCE) * needed as f64;
        if needed == 0 || is_near {
            return;
        }
        events.emit(Event::Warning(format!(
            "the dataset in {} was not generated by dlio-rs: {files} of its files hold {bytes} bytes, and the workload's samples would make {needed}; throughput counts the workload's",
            self.root.display()
        )));
    }

    fn missing(&self, path: &Path, split: Split, used: u64) -> RankError {
        let key = if split == Split::Train {
            "dataset.num_files_train"
        } else {
            "dataset.num_files_eval"
        };
        RankError::Dataset(format!(
            "find {}: it does not exist, though {key}={used} names it\n  remedy: the dataset has too few files or other names: generate it, lower {key}, or set dataset.num_files_generated to the number it was generated with (it is part of the names)",
            path.display()
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_files_are_looked_for_in_few_places() {
        let every = |used, is_small| look_every(None, used, is_small);
        assert_eq!([every(300, true), every(20_000, true)], [1000, 5000]);
        assert_eq!(every(20_000, false), 1000);
        // What was asked for is done.
        for given in [1, 999, 1000, 1500] {
            assert_eq!(look_every(Some(given), 20_000, true), given);
        }
    }
}
