//! Generation: every rank streams its files with a pool of writer threads, in constant memory.
//!
//! File i of the concatenated list (train, then valid) belongs to rank i mod ranks, as in DLIO. A file appears under
//! its name only when it is complete, so a restart skips what is there and right.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use crate::clock::now_ns;
use crate::cluster::Cluster;
use crate::format::{FileSpec, Format, FormatError, Out};
use crate::host;
use crate::host::mounts::space_of;
use crate::loader::{Activity, Phase};
use crate::plan::dataset::{Dims, Shapes};
use crate::report::Event;
use crate::run::context::JobContext;
use crate::run::dataset::{DatasetFiles, split_of};
use crate::run::events::Events;
use crate::run::failure::{RankError, Result, agree, only_where};
use crate::run::memory;
use crate::run::open::{open_storage, pick_format};
use crate::run::wire;
use crate::storage::{Buffer, FolderLock, Storage, StorageError, Telemetry};

/// What generation did on this rank.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Generated {
    pub files_written: u64,
    pub files_skipped: u64,
    pub bytes_written: u64,
    /// Wall time, nanoseconds.
    pub elapsed_ns: u64,
    /// Requests and connections, where the storage system has them.
    pub object_store: Option<Telemetry>,
}

/// Bytes handed to the file system at once.
const CHUNK: usize = 1 << 20;

/// How much of a file's start is compared to tell whether it is this dataset's.
const STAMP: usize = 4096;

/// The files of this rank, handed out one by one with their dimensions.
struct Queue {
    shapes: Shapes,
    /// Index of the next shape that the stream yields.
    next: u64,
    /// Next file of this rank.
    mine: u64,
    total: u64,
    ranks: u64,
}

impl Queue {
    fn take(&mut self) -> Option<(u64, Dims)> {
        if self.mine >= self.total {
            return None;
        }
        // The dimensions are one sequential stream of draws: those of other ranks' files are drawn and dropped.
        loop {
            let dims = self.shapes.next()?;
            self.next += 1;
            if self.next - 1 == self.mine {
                self.mine += self.ranks;
                return Some((self.next - 1, dims));
            }
        }
    }
}

struct Shared<'a> {
    queue: Mutex<Queue>,
    stop: AtomicBool,
    failure: Mutex<Option<RankError>>,
    left: Mutex<usize>,
    bell: Condvar,
    written: AtomicU64,
    skipped: AtomicU64,
    bytes: &'a AtomicU64,
    activity: Activity,
    storage: &'a dyn Storage,
    format: &'a dyn Format,
    files: &'a DatasetFiles,
    is_new: bool,
}

/// Generates the dataset of a workload. A collective.
pub fn run(job: &JobContext, events: &mut Events) -> Result<Generated> {
    let cluster = job.cluster;
    let storage = agree(cluster, open_storage(job))?;
    let format = agree(cluster, pick_format(job.workload))?;
    let Some(format) = format else {
        events.emit(Event::Info(format!(
            "storage {}: nothing to generate",
            storage.system()
        )));
        return Ok(Generated::default());
    };
    let files = Arc::new(DatasetFiles::to_generate(job.workload, cluster.size()));
    let generation = Generation::prepare(job, events, &*storage, format, &files)?;
    let mine = generation.step(events)?;
    generation.finish(events, mine)
}

/// The generation of a dataset, on this rank.
struct Generation<'a> {
    job: &'a JobContext<'a>,
    storage: &'a dyn Storage,
    format: &'a dyn Format,
    files: &'a Arc<DatasetFiles>,
    /// The folders were made by this job: no file is there yet.
    is_new: bool,
    start: u64,
    /// That of the first rank of a dataset, until the manifest is written.
    _lock: Option<FolderLock>,
}

impl<'a> Generation<'a> {
    /// Makes the folders; refuses what cannot be generated.
    fn prepare(
        job: &'a JobContext,
        events: &mut Events,
        storage: &'a dyn Storage,
        format: &'a dyn Format,
        files: &'a Arc<DatasetFiles>,
    ) -> Result<Self> {
        let cluster = job.cluster;
        job.activity.enter(Phase::Generate, 0, 0);
        let named = files.clone();
        job.names.add(move |file| Some(named.shown(file)));
        let prepared = if job.data_part().0 == 0 {
            prepare(job, storage, files)
        } else {
            Ok((None, true))
        };
        let (lock, is_new) = agree(cluster, prepared)?;
        let is_new = !cluster.any(!is_new);
        if let Some(warning) = lock.as_ref().and_then(|lock| lock.taken_over.clone()) {
            events.emit(Event::Warning(warning));
        }
        agree(cluster, check_space(job, storage, format, files))?;
        Ok(Generation {
            job,
            storage,
            format,
            files,
            is_new,
            start: now_ns(),
            _lock: lock,
        })
    }

    /// Writes this rank's files.
    fn step(&self, events: &mut Events) -> Result<Generated> {
        let (job, cluster) = (self.job, self.job.cluster);
        let (rank, ranks) = job.data_part();
        let total = self.files.train.files() + self.files.valid.files();
        let mine_total = total.saturating_sub(rank).div_ceil(ranks);
        let threads = job.write_threads().min(mine_total.max(1) as usize);
        events.emit(Event::GenerationStarted {
            files: total,
            bytes: self.files.total_bytes(self.format),
        });
        let mean = self.files.total_bytes(self.format).unwrap_or_default() / total.max(1);
        let writers = threads as u64;
        let held = writers * CHUNK as u64 + self.storage.write_memory(writers, mean);
        let memory = memory::of_generation(held);
        events.emit(Event::Info(memory.line()));
        agree(cluster, memory::check(job, &memory))?;
        let uncounted = AtomicU64::new(0);
        let bytes = (job.gauges.as_ref()).map_or(&uncounted, |gauges| &gauges.generated);
        let shared = Shared {
            queue: Mutex::new(Queue {
                shapes: Shapes::new(&wire::dataset_spec(job.workload), cluster.rank()),
                next: 0,
                mine: rank,
                total,
                ranks,
            }),
            stop: AtomicBool::new(false),
            failure: Mutex::new(None),
            left: Mutex::new(threads),
            bell: Condvar::new(),
            written: AtomicU64::new(0),
            skipped: AtomicU64::new(0),
            bytes,
            activity: job.activity,
            storage: self.storage,
            format: self.format,
            files: self.files,
            is_new: self.is_new,
        };
        std::thread::scope(|scope| {
            for thread in 0..threads {
                let shared = &shared;
                scope.spawn(move || {
                    host::cpus::take_place();
                    if let Err(error) = shared.write_files(thread) {
                        shared.failure.lock().get_or_insert(error);
                        shared.stop.store(true, Relaxed);
                    }
                    *shared.left.lock() -= 1;
                    shared.bell.notify_all();
                });
            }
            oversee(cluster, &shared, events, mine_total, self.start);
        });
        let mine = Generated {
            files_written: shared.written.into_inner(),
            files_skipped: shared.skipped.into_inner(),
            bytes_written: bytes.load(Relaxed),
            elapsed_ns: now_ns() - self.start,
            object_store: None,
        };
        agree(cluster, shared.failure.into_inner().map_or(Ok(()), Err))?;
        Ok(mine)
    }

    /// Writes the manifest and waits until all is visible.
    fn finish(&self, events: &mut Events, mine: Generated) -> Result<Generated> {
        let cluster = self.job.cluster;
        let mut sums = [mine.files_written, mine.files_skipped, mine.bytes_written];
        cluster.sum_u64(&mut sums);
        // The slowest rank's own work, as in the report.
        let longest = cluster.largest(mine.elapsed_ns);
        events.emit(Event::GenerationDone {
            files_written: sums[0],
            files_skipped: sums[1],
            bytes: sums[2],
            elapsed_s: longest as f64 / 1e9,
        });
        only_where(cluster, self.job.data_part().0 == 0, || {
            let _task = (self.job).doing("write the manifest in", self.files.root());
            self.files.write_manifest(self.storage)
        })?;
        settle(self.job, events);
        Ok(Generated {
            object_store: self.storage.telemetry(),
            ..mine
        })
    }
}

/// Waits until a store that shows new objects late shows them all: `storage.post_generation_settle_seconds`.
///
/// Source: DLIO (MLCommons fork): rank 0 sleeps unless the storage is `local_fs`, then a barrier.
fn settle(job: &JobContext, events: &mut Events) {
    let seconds = job.workload.storage.post_generation_settle_seconds;
    if seconds <= 0.0 || job.workload.storage_system().is_default() {
        return;
    }
    events.emit(Event::Info(format!(
        "settling for {seconds} s: storage.post_generation_settle_seconds"
    )));
    let end = now_ns() + (seconds * 1e9) as u64;
    loop {
        job.activity.moved();
        let left = end.saturating_sub(now_ns());
        if job.cluster.max_u64_patiently(left) == 0 {
            return;
        }
        std::thread::sleep(Duration::from_nanos(left.min(1_000_000_000)));
    }
}

/// The main thread's part: progress, and the job-wide agreement to go on, ten times a second.
fn oversee(
    cluster: &dyn Cluster,
    shared: &Shared,
    events: &mut Events,
    files_total: u64,
    start: u64,
) {
    let mut shown = start;
    loop {
        {
            let mut left = shared.left.lock();
            if *left > 0 {
                shared.bell.wait_for(&mut left, Duration::from_millis(100));
            }
        }
        let is_done = *shared.left.lock() == 0;
        let mine = if shared.stop.load(Relaxed) {
            2
        } else {
            u64::from(!is_done)
        };
        match cluster.max_u64_patiently(mine) {
            0 => return,
            1 => {}
            _ => {
                shared.stop.store(true, Relaxed);
                return;
            }
        }
        if now_ns() - shown > 1_000_000_000 {
            shown = now_ns();
            events.emit(Event::GenerationProgress {
                files: shared.written.load(Relaxed) + shared.skipped.load(Relaxed),
                files_total,
                bytes: shared.bytes.load(Relaxed),
                elapsed_s: (shown - start) as f64 / 1e9,
            });
        }
    }
}

/// Refuses a dataset that cannot fit, before checksums of it are computed for hours.
fn check_space(
    job: &JobContext,
    storage: &dyn Storage,
    format: &dyn Format,
    files: &DatasetFiles,
) -> Result<(), RankError> {
    if job.data_part().0 != 0 || !storage.system().opens_by_path {
        return Ok(());
    }
    let Some(space) = space_of(files.root()) else {
        return Ok(());
    };
    let all = files.least_bytes(format);
    let file = all / (files.train.files() + files.valid.files()).max(1);
    // Files that are there already count as used: all of them together fit into the whole, a single one into what is free.
    if all <= space.total && (file <= space.available || all <= space.total - space.available) {
        return Ok(());
    }
    Err(RankError::Dataset(format!(
        "generate into {}: the dataset has at least {all} bytes in files of {file}, and its file system has {} in all, {} of them free\n  remedy: free space, choose another dataset.data_folder, or lower dataset.num_files_train or dataset.record_length_bytes",
        files.root().display(),
        space.total,
        space.available
    )))
}

/// Makes the folders and takes the dataset for this job; true when none of those with files was there. What a killed job left
/// unfinished is removed.
fn prepare(
    job: &JobContext,
    storage: &dyn Storage,
    files: &DatasetFiles,
) -> Result<(Option<FolderLock>, bool), RankError> {
    let task = job.doing("lock", files.root());
    storage.create_folder(files.root())?;
    let lock = storage.lock(files.root())?;
    drop(task);
    let mut is_new = storage.system().opens_by_path;
    for folder in files.folders() {
        let _task = job.doing("make the folder", &folder);
        is_new = is_new && (folder == files.root() || storage.len(&folder)?.is_none());
        storage.create_folder(&folder)?;
        if let Some(lock) = lock.as_ref().filter(|lock| lock.taken_over.is_some()) {
            lock.sweep(&folder)?;
        }
    }
    let _task = job.doing("read the manifest in", files.root());
    files.check_manifest_before_generation(storage)?;
    Ok((lock, is_new))
}

impl Shared<'_> {
    fn write_files(&self, thread: usize) -> Result<(), RankError> {
        let mut chunk = Buffer::new(CHUNK);
        let mut head = vec![0; STAMP];
        let mut path = PathBuf::new();
        while !self.stop.load(Relaxed) {
            let Some((index, dims)) = self.queue.lock().take() else {
                return Ok(());
            };
            self.files.path_of_global(index, &mut path);
            let (split, own) = split_of(index, self.files.train.files());
            let spec = self.files.spec(split, own, &dims);
            if !self.is_new {
                let look = || self.is_complete(&path, &spec, &mut head);
                if self.activity.io(thread, index, 0, look)? {
                    self.skipped.fetch_add(1, Relaxed);
                    continue;
                }
            }
            self.write_file(thread, index, &path, &spec, &mut chunk)?;
            self.written.fetch_add(1, Relaxed);
        }
        Ok(())
    }

    fn is_complete(
        &self,
        path: &Path,
        spec: &FileSpec,
        head: &mut [u8],
    ) -> Result<bool, RankError> {
        let Some(len) = self.storage.len(path)? else {
            return Ok(false);
        };
        // Where only encoding tells the length, a file that begins right is taken for complete: it appears whole.
        if self.format.encoded_len(spec).is_some_and(|n| n != len) {
            return Ok(false);
        }
        for (which, companion) in self.format.companions().iter().enumerate() {
            let expected = self.format.companion_len(which, spec);
            if self.storage.len(&companion.path(path))? != Some(expected) {
                return Ok(false);
            }
        }
        let got = self.storage.head(path, head)?;
        Ok(self.format.stamp(spec, &head[..got]))
    }

    fn write_file(
        &self,
        thread: usize,
        index: u64,
        path: &Path,
        spec: &FileSpec,
        chunk: &mut [u8],
    ) -> Result<(), RankError> {
        for (which, companion) in self.format.companions().iter().enumerate() {
            self.stream(thread, index, &companion.path(path), &mut |out| {
                self.format.encode_companion(which, spec, chunk, out)
            })?;
        }
        self.stream(thread, index, path, &mut |out| {
            self.format.encode(spec, chunk, out)
        })
    }

    /// Writes one file with what `encode` streams.
    fn stream(
        &self,
        thread: usize,
        index: u64,
        path: &Path,
        encode: &mut dyn FnMut(Out) -> Result<(), FormatError>,
    ) -> Result<(), RankError> {
        let activity = self.activity;
        let mut writer = activity.io(thread, index, 0, || self.storage.create(path))?;
        let mut written = 0;
        let mut io_failure = None;
        let outcome = encode(&mut |bytes| {
            if self.stop.load(Relaxed) {
                return Err(std::io::ErrorKind::BrokenPipe.into());
            }
            let result = activity.io(thread, index, written, || writer.write(bytes));
            if let Err(error) = result {
                let kind = error.kind();
                io_failure = Some(StorageError::writing(path, written, error));
                return Err(kind.into());
            }
            written += bytes.len() as u64;
            self.bytes.fetch_add(bytes.len() as u64, Relaxed);
            Ok(())
        });
        if let Some(error) = io_failure {
            return Err(error.into());
        }
        if self.stop.load(Relaxed) {
            return Err(RankError::Elsewhere);
        }
        outcome.map_err(|source| RankError::Encode {
            path: path.display().to_string(),
            source,
        })?;
        Ok(activity.io(thread, index, written, || writer.finish())?)
    }
}
