//! One epoch of one split as the loader sees it: order from the plan, extents and checks from the format.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;

use super::context::JobContext;
use super::dataset::DatasetFiles;
use super::index_cache::{IndexCache, Kept};
use super::source::StorageSource;
use super::wire;
use crate::clock::{look_ns, now_ns};
use crate::config::{Decode, TimeSpec, VerifyContent};
use crate::format::content::ContentChecker;
use crate::format::{Access, Checker, Expect, Format, FormatError, Opened};
use crate::loader::{LoaderError, Place, Work};
use crate::plan::digest::step_hash;
use crate::plan::draw::TimeDraw;
use crate::plan::order::EpochOrder;
use crate::plan::{Run, Split};
use crate::storage::{Extent, Lane, Storage};

/// One read in this many is compared under `verify_content: sampled`.
const SAMPLED: u64 = 64;

/// What stays the same from epoch to epoch.
pub struct Reading {
    pub files: Arc<DatasetFiles>,
    /// How they are laid out inside; None where no bytes are looked at.
    pub format: Option<&'static dyn Format>,
    pub storage: Arc<dyn Storage>,
    /// Metadata that was read, as far as it outlives an epoch.
    pub indexes: IndexCache,
    /// How samples are asked for.
    pub access: Access,
    pub decode: Decode,
    /// Which contents are compared with what was generated.
    pub verify_content: VerifyContent,
    pub samples_per_file: u64,
    /// Pause after each sample.
    pub preprocess: TimeSpec,
    /// One stream of draws per reader thread.
    pub preprocess_draws: Vec<Mutex<TimeDraw>>,
}

impl Reading {
    /// How `job` reads `files` on `storage`. `format` is None where no bytes are looked at.
    pub(super) fn new(
        job: &JobContext,
        storage: &Arc<dyn Storage>,
        format: Option<&'static dyn Format>,
        files: &Arc<DatasetFiles>,
    ) -> Self {
        let w = job.workload;
        let draws_of =
            |thread: usize| Mutex::new(TimeDraw::new(job.draw_seed() + 1000 * (thread as u64 + 1)));
        Reading {
            files: files.clone(),
            format,
            storage: storage.clone(),
            indexes: IndexCache::new(w.reader.index_cache),
            access: wire::access(w),
            decode: w.reader.decode,
            verify_content: w.reader.verify_content,
            samples_per_file: w.dataset.num_samples_per_file,
            preprocess: w.reader.preprocess_time.clone(),
            preprocess_draws: (0..job.shape().threads.max(1)).map(draws_of).collect(),
        }
    }

    /// Whether samples are found by metadata of their file.
    pub(super) fn reads_metadata(&self) -> bool {
        let first = Run {
            file: 0,
            first: 0,
            count: 1,
        };
        let (expect, options) = (self.expect(&first), self.files.options());
        let needs = |f: &dyn Format| f.has_reads() && f.needs_index(&expect, options);
        self.format.is_some_and(needs)
    }

    /// Bytes of one file's metadata in memory, about; 0 where none is read.
    pub(super) fn index_bytes(&self) -> u64 {
        let spec = self.files.nominal_spec();
        let format = self.format.filter(|_| self.reads_metadata());
        format.map_or(0, |format| format.index_memory(&spec))
    }

    fn expect(&self, run: &Run) -> Expect {
        Expect {
            samples: self.samples_per_file,
            sample: run.first,
            count: run.count,
            min_len: self.files.min_file_len(),
        }
    }

    /// Reads the metadata of a file; what that took is put into `place`.
    fn index_of(
        &self,
        format: &dyn Format,
        place: &mut Place,
        lane: &mut Lane,
    ) -> Result<Kept, LoaderError> {
        let mut source = StorageSource::new(&*self.storage, &place.path, lane);
        let read = format
            .index(&mut source, self.files.options())
            .and_then(|index| {
                // Of a file that holds more, the first ones are read.
                if index.samples() >= self.samples_per_file {
                    return Ok(index);
                }
                Err(FormatError::Content(format!(
                    "it holds {} samples, fewer than dataset.num_samples_per_file={}",
                    index.samples(),
                    self.samples_per_file
                )))
            });
        place.metadata = source.spent();
        let kept = read.map(|index| Kept {
            index,
            storage_ns: place.metadata.storage_ns,
        });
        kept.map_err(|source| match source {
            FormatError::Storage(error) => LoaderError::Storage(*error),
            source => LoaderError::Metadata {
                path: place.path.clone(),
                source,
            },
        })
    }
}

/// One epoch of one split.
pub struct EpochWork {
    pub reading: Arc<Reading>,
    pub split: Split,
    /// From 1.
    pub epoch: u64,
    pub order: EpochOrder,
    indexes: IndexCache,
}

impl EpochWork {
    pub fn new(reading: Arc<Reading>, split: Split, epoch: u64, order: EpochOrder) -> Self {
        EpochWork {
            indexes: reading.indexes.next_epoch(),
            reading,
            split,
            epoch,
            order,
        }
    }

    fn is_compared(&self, run: &Run) -> bool {
        match self.reading.verify_content {
            VerifyContent::Off => false,
            VerifyContent::Full => true,
            VerifyContent::Sampled => {
                step_hash(self.epoch, run.file, &[*run]).is_multiple_of(SAMPLED)
            }
        }
    }
}

impl Work for EpochWork {
    fn batches(&self) -> u64 {
        self.order.batches()
    }

    fn batch(&self, batch: u64, out: &mut Vec<Run>) {
        self.order.batch(batch, out);
    }

    fn path_of(&self, run: &Run, path: &mut PathBuf) {
        self.reading.files.path_of(self.split, run.file, path);
    }

    fn number_of(&self, run: &Run) -> u64 {
        self.reading.files.global_index(self.split, run.file)
    }

    fn planned_len(&self, run: &Run) -> u64 {
        self.reading.files.sample_bytes() * run.count
    }

    fn reads_metadata(&self) -> bool {
        self.reading.reads_metadata()
    }

    fn locate(&self, run: &Run, place: &mut Place, lane: &mut Lane) -> Result<(), LoaderError> {
        let reading = &*self.reading;
        place.extents.clear();
        place.index = None;
        place.metadata.clear();
        place.planned_len = self.planned_len(run);
        place.exact_len = reading.files.exact_file_len();
        let Some(format) = reading.format else {
            place.extents.push(Extent::Whole);
            return Ok(());
        };
        if !format.has_reads() {
            return Ok(());
        }
        self.path_of(run, &mut place.path);
        if !format.needs_index(&reading.expect(run), reading.files.options()) {
            place.planned_len = reading.files.sample_bytes() * reading.samples_per_file;
            place.extents.push(Extent::Whole);
            return Ok(());
        }
        let before = now_ns();
        let (index, waited_ns) = self.indexes.get_or_read(self.split, run.file, || {
            reading.index_of(format, place, lane)
        })?;
        let metadata = &mut place.metadata;
        metadata.storage_ns += waited_ns;
        metadata.client_ns = (look_ns() - before).saturating_sub(metadata.storage_ns);
        index.extents(run.first, run.count, reading.access, &mut place.extents);
        place.index = Some(index);
        Ok(())
    }

    fn step_hash(&self, batch: u64, runs: &[Run]) -> u64 {
        step_hash(self.epoch, batch + 1, runs)
    }

    fn checker(&self) -> Option<Box<dyn Checker>> {
        let reading = &*self.reading;
        let format = reading.format?;
        let checker = format.checker(reading.decode, reading.files.options());
        Some(match reading.verify_content {
            VerifyContent::Off => checker,
            _ => Box::new(ContentChecker::new(
                checker,
                format,
                reading.files.options().clone(),
            )),
        })
    }

    fn begin(
        &self,
        checker: &mut dyn Checker,
        run: &Run,
        place: &Place,
        file_len: u64,
    ) -> Result<(), LoaderError> {
        let reading = &*self.reading;
        let dims = self
            .is_compared(run)
            .then(|| reading.files.dims_of(self.split, run.file));
        let spec = dims
            .as_ref()
            .map(|dims| reading.files.spec(self.split, run.file, dims));
        reading
            .files
            .check_len(&place.path, file_len, spec.as_ref())?;
        checker.begin(&Opened {
            file_len,
            expect: reading.expect(run),
            extents: &place.extents,
            index: place.index.as_ref(),
            spec: spec.as_ref(),
        });
        Ok(())
    }

    fn preprocess_ns(&self, thread: usize) -> u64 {
        (self.reading.preprocess_draws[thread]
            .lock()
            .draw_s(&self.reading.preprocess)
            * 1e9)
            .round() as u64
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::{IndexCacheLife, Workload};
    use crate::format::{FileSpec, FormatOptions, Index, Out, Source};
    use crate::plan::order::ShardOrder;
    use crate::run::wire;
    use crate::storage;

    /// A format whose metadata is parsed for a long time, from the first `reads` bytes, one by one.
    struct Slow {
        reads: u64,
    }

    const PARSING: Duration = Duration::from_millis(30);

    impl Format for Slow {
        fn encoded_len(&self, _: &FileSpec) -> Option<u64> {
            None
        }
        fn encode(&self, _: &FileSpec, _: &mut [u8], _: Out) -> Result<(), FormatError> {
            Ok(())
        }
        fn needs_index(&self, _: &Expect, _: &FormatOptions) -> bool {
            true
        }
        fn index(
            &self,
            source: &mut dyn Source,
            _: &FormatOptions,
        ) -> Result<Arc<dyn Index>, FormatError> {
            for at in 0..self.reads {
                source.read_at(at, &mut [0])?;
            }
            std::thread::sleep(PARSING);
            Ok(Arc::new(Empty))
        }
        fn content_checker(&self, is_full: bool, options: &FormatOptions) -> Box<dyn Checker> {
            let row = wire::format_row(&Workload::default());
            row.format.unwrap().content_checker(is_full, options)
        }
    }

    struct Empty;

    impl Index for Empty {
        fn samples(&self) -> u64 {
            u64::MAX
        }
        fn extents(&self, _: u64, _: u64, _: Access, _: &mut Vec<Extent>) {}
        fn memory(&self) -> usize {
            1
        }
        fn describe(&self) -> Vec<String> {
            Vec::new()
        }
        fn as_any(&self) -> &dyn std::any::Any {
            self
        }
    }

    /// Where the first file of a dataset lies, by its metadata in `format`.
    fn located(format: &'static dyn Format) -> Place {
        let folder = tempfile::tempdir().unwrap();
        let mut workload = Workload::default();
        workload.dataset.data_folder = folder.path().display().to_string();
        let files = Arc::new(DatasetFiles::to_generate(&workload, 1));
        let run = Run {
            file: 0,
            first: 0,
            count: 1,
        };
        let mut path = PathBuf::new();
        files.path_of(Split::Train, 0, &mut path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, [7; 100]).unwrap();
        let order = wire::order(&workload, Split::Train, files.train.files());
        let reading = Arc::new(Reading {
            files,
            format: Some(format),
            storage: storage::open(&wire::dataset_store(&workload), &[])
                .unwrap()
                .into(),
            indexes: IndexCache::new(IndexCacheLife::Epoch),
            access: wire::access(&workload),
            decode: Decode::None,
            verify_content: VerifyContent::Off,
            samples_per_file: 1,
            preprocess: TimeSpec::default(),
            preprocess_draws: Vec::new(),
        });
        let order = ShardOrder::new(order, 0, 1).epoch(1);
        let work = EpochWork::new(reading, Split::Train, 1, order);
        let (mut place, mut lane) = (Place::default(), Lane::keeping(4096));
        work.locate(&run, &mut place, &mut lane).unwrap();
        place
    }

    #[test]
    fn parsing_metadata_is_no_time_of_the_storage() {
        let parsing = PARSING.as_nanos() as u64;
        let metadata = located(&Slow { reads: 0 }).metadata;
        assert!(metadata.client_ns >= parsing, "{metadata:?}");
        assert_eq!(metadata.read_ns(), 0, "{metadata:?}");
        let metadata = located(&Slow { reads: 3 }).metadata;
        assert!(metadata.client_ns >= parsing, "{metadata:?}");
        assert_eq!(metadata.calls_ns.len(), 3);
        assert_eq!(metadata.answer.calls, 3);
        let calls: u64 = metadata.calls_ns.iter().sum();
        assert!(metadata.read_ns() >= calls, "{metadata:?}");
        assert_eq!(metadata.answer.opens, 1);
    }
}
