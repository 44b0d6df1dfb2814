//! One epoch of one split as the loader sees it: order from the plan, extents and checks from the format.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::dataset::DatasetFiles;
use crate::config::{Decode, TimeSpec};
use crate::format::{Checker, Expect, Format};
use crate::loader::Work;
use crate::plan::digest::step_hash;
use crate::plan::draw::TimeDraw;
use crate::plan::order::EpochOrder;
use crate::plan::{Run, Split};
use crate::storage::Extent;

/// What stays the same from epoch to epoch.
pub struct Reading {
    /// The files.
    pub files: Arc<DatasetFiles>,
    /// How they are laid out inside; None where no bytes are looked at.
    pub format: Option<&'static dyn Format>,
    /// How far contents are checked.
    pub decode: Decode,
    /// Samples per file.
    pub samples_per_file: u64,
    /// Pause after each sample.
    pub preprocess: TimeSpec,
    /// One stream of draws per reader thread.
    pub preprocess_draws: Vec<Mutex<TimeDraw>>,
}

/// One epoch of one split.
pub struct EpochWork {
    /// The unchanging part.
    pub reading: Arc<Reading>,
    /// Train or valid.
    pub split: Split,
    /// From 1.
    pub epoch: u64,
    /// Which samples in which order.
    pub order: EpochOrder,
}

impl Work for EpochWork {
    fn batches(&self) -> u64 {
        self.order.batches()
    }

    fn batch(&self, batch: u64, out: &mut Vec<Run>) {
        self.order.batch(batch, out);
    }

    fn locate(&self, run: &Run, path: &mut PathBuf) -> (Extent, u64) {
        let files = &self.reading.files;
        let sample_bytes = files.split(self.split).sample_bytes_nominal();
        match self.reading.format {
            // DLIO reads whole npz and npy files for every sample, so that is what is planned.
            Some(format) => {
                files.path_of(self.split, run.file, path);
                match format.locate(run.first, run.count) {
                    Extent::Whole => (Extent::Whole, sample_bytes * self.reading.samples_per_file),
                    range @ Extent::Range { len, .. } => (range, len),
                }
            }
            None => (Extent::Whole, sample_bytes * run.count),
        }
    }

    fn step_hash(&self, batch: u64, runs: &[Run]) -> u64 {
        step_hash(self.epoch, batch + 1, runs)
    }

    fn checker(&self) -> Option<Box<dyn Checker>> {
        self.reading
            .format
            .map(|format| format.checker(self.reading.decode))
    }

    fn begin(&self, checker: &mut dyn Checker, run: &Run, file_len: u64) {
        let expect = Expect {
            samples: self.reading.samples_per_file,
            sample: run.first,
            min_len: self.reading.files.min_file_len(),
        };
        checker.begin(file_len, &expect);
    }

    fn preprocess_ns(&self, thread: usize) -> u64 {
        (self.reading.preprocess_draws[thread]
            .lock()
            .draw_s(&self.reading.preprocess)
            * 1e9)
            .round() as u64
    }
}
