//! The loader of real runs: one rayon pool per rank, whose threads own all that they need.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::account::{Meter, RunTimes};
use super::walk::{self, Cursor};
use super::window::Window;
use super::{
    Activity, Batch, BatchSource, LoaderError, Place, Recorder, Shape, Tally, Totals, Unit, Work,
};
use crate::clock::{now_ns, pause, sharpen_this_thread};
use crate::format::{Checker, FormatError};
use crate::plan::Run;
use crate::stage::{Part, Parts, Stage};
use crate::storage::{Answer, Extent, Lane, Request, Sink, Storage, ensure_open_files};

/// Files or sockets that a reader thread has open at once: what it reads, its metadata, and the counters of the kernel.
const OPEN_EACH: usize = 4;

/// Reader threads and their window.
pub struct Loader {
    pool: rayon::ThreadPool,
    shape: Shape,
    shared: Arc<Shared>,
    epoch: Option<Epoch>,
    next: u64,
}

struct Epoch {
    window: Arc<Window>,
    work: Arc<dyn Work>,
    running: Arc<Running>,
}

/// What outlives an epoch.
struct Shared {
    storage: Arc<dyn Storage>,
    activity: Activity,
    threads: Vec<Mutex<Thread>>,
    bytes: AtomicU64,
    calls: AtomicU64,
    retries: AtomicU64,
    samples: AtomicU64,
    metadata_bytes: AtomicU64,
    metadata_calls: AtomicU64,
    cpu_ns: AtomicU64,
    delay_ns: AtomicU64,
    /// A thread's run-queue delay could not be read.
    is_blind: AtomicBool,
}

/// What one thread owns; the lock is held for a whole epoch by the thread itself.
struct Thread {
    index: usize,
    lane: Lane,
    place: Place,
    checker: Option<Box<dyn Checker>>,
    recorder: Box<dyn Recorder>,
    meter: Meter,
}

/// Counts the tasks of an epoch that have not ended.
struct Running {
    left: Mutex<usize>,
    bell: parking_lot::Condvar,
}

impl Loader {
    /// Makes the pool. `transfer`: bytes of one read call; `recorders`: one per thread of `shape`.
    ///
    /// Errors: [`LoaderError::Threads`].
    pub fn new(
        shape: Shape,
        transfer: usize,
        storage: Arc<dyn Storage>,
        activity: Activity,
        recorders: Vec<Box<dyn Recorder>>,
    ) -> Result<Self, LoaderError> {
        let threads = shape.threads;
        ensure_open_files(threads, OPEN_EACH).map_err(LoaderError::OpenFiles)?;
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads)
            .thread_name(|i| format!("reader-{i}"))
            .start_handler(|_| {
                sharpen_this_thread();
                crate::host::cpus::take_place();
                crate::host::cpus::go_after_main_thread();
            })
            .build()
            .map_err(|e| LoaderError::Threads {
                threads,
                cause: e.to_string(),
            })?;
        let threads = recorders
            .into_iter()
            .enumerate()
            .map(|(index, recorder)| {
                Mutex::new(Thread {
                    index,
                    lane: Lane::keeping(transfer),
                    place: Place::default(),
                    checker: None,
                    recorder,
                    meter: Meter::default(),
                })
            })
            .collect();
        let shared = Shared {
            storage,
            activity,
            threads,
            bytes: AtomicU64::new(0),
            calls: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            samples: AtomicU64::new(0),
            metadata_bytes: AtomicU64::new(0),
            metadata_calls: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
            delay_ns: AtomicU64::new(0),
            is_blind: AtomicBool::new(false),
        };
        Ok(Loader {
            pool,
            shape,
            shared: Arc::new(shared),
            epoch: None,
            next: 0,
        })
    }
}

impl BatchSource for Loader {
    fn start(&mut self, work: Arc<dyn Work>) {
        let window = Arc::new(Window::new(
            self.shape.window,
            work.batches(),
            self.shape.threads,
        ));
        let running = Arc::new(Running {
            left: Mutex::new(self.shape.threads),
            bell: parking_lot::Condvar::new(),
        });
        let cursor = Arc::new(Cursor::default());
        for thread in 0..self.shape.threads {
            let (shared, window, work, running, cursor) = (
                self.shared.clone(),
                window.clone(),
                work.clone(),
                running.clone(),
                cursor.clone(),
            );
            let shape = self.shape;
            self.pool.spawn(move || {
                let outcome = {
                    let mut own = shared.threads[thread].lock();
                    own.meter = Meter::start();
                    own.checker = work.checker();
                    let read: walk::Read = &mut |run| own.read_run(&shared, &*work, run);
                    let outcome = match shape.unit {
                        Unit::Batch => walk::batches(
                            &window,
                            &*work,
                            thread as u64,
                            shape.threads as u64,
                            read,
                        ),
                        Unit::Run => walk::runs(&window, &*work, &cursor, read),
                    };
                    own.end_epoch(&shared);
                    outcome
                };
                if let Err(error) = outcome {
                    window.fail(error);
                }
                let mut left = running.left.lock();
                *left -= 1;
                running.bell.notify_all();
            });
        }
        self.epoch = Some(Epoch {
            window,
            work,
            running,
        });
        self.next = 0;
    }

    fn next(&mut self) -> Result<Option<Batch>, LoaderError> {
        let Some(epoch) = &self.epoch else {
            return Ok(None);
        };
        if self.next >= epoch.work.batches() {
            return Ok(None);
        }
        let batch = epoch.window.take(self.next)?;
        self.next += 1;
        Ok(Some(batch))
    }

    fn release(&mut self) {
        if let Some(epoch) = &self.epoch
            && self.next > 0
        {
            epoch.window.release(self.next - 1);
        }
    }

    fn stop(&mut self) -> Result<(), LoaderError> {
        let Some(epoch) = self.epoch.take() else {
            return Ok(());
        };
        epoch.window.stop();
        let mut left = epoch.running.left.lock();
        while *left > 0 {
            epoch.running.bell.wait(&mut left);
        }
        drop(left);
        epoch.window.take_failure().map_or(Ok(()), Err)
    }

    fn for_each(&self, count: u64, job: &(dyn Fn(u64) + Sync)) {
        let next = AtomicU64::new(0);
        self.pool.broadcast(|_| {
            loop {
                let index = next.fetch_add(1, Relaxed);
                if index >= count {
                    break;
                }
                job(index);
            }
        });
    }

    fn totals(&self) -> Totals {
        self.shared.totals()
    }

    fn tally(&self) -> Option<Arc<dyn Tally>> {
        Some(self.shared.clone())
    }
}

impl Tally for Shared {
    fn totals(&self) -> Totals {
        Totals {
            bytes: self.bytes.load(Relaxed),
            calls: self.calls.load(Relaxed),
            retries: self.retries.load(Relaxed),
            samples: self.samples.load(Relaxed),
            metadata_bytes: self.metadata_bytes.load(Relaxed),
            metadata_calls: self.metadata_calls.load(Relaxed),
            cpu_ns: self.cpu_ns.load(Relaxed),
            delay_ns: (!self.is_blind.load(Relaxed)).then(|| self.delay_ns.load(Relaxed)),
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // A failure was either reported already or belongs to an epoch that nobody waits for any more.
        let _ = self.stop();
    }
}

impl Thread {
    /// Reads one run of samples; returns what the time went to.
    fn read_run(
        &mut self,
        shared: &Shared,
        work: &dyn Work,
        run: &Run,
    ) -> Result<Parts, LoaderError> {
        let begun = now_ns();
        // Finding and opening the file, too, may hang.
        shared
            .activity
            .io_begins(self.index, work.number_of(run), 0);
        let located = work.locate(run, &mut self.place, &mut self.lane);
        if located.is_err() || self.place.extents.is_empty() {
            shared.activity.io_ends(self.index);
        }
        located?;
        let mut times = RunTimes::default();
        times.parts[Part::Metadata] = self.place.index_ns;
        let mut seen = Seen::default();
        let mut answers = Answer {
            opens: self.place.metadata.opens,
            open_ns: self.place.metadata.open_ns,
            ..Answer::default()
        };
        times.parts[Part::Io] += answers.open_ns;
        for (i, &extent) in self.place.extents.iter().enumerate() {
            let request = Request {
                path: &self.place.path,
                extent,
                planned_len: match extent {
                    Extent::Whole => self.place.planned_len,
                    Extent::Range { len, .. } => len,
                },
                tag: run.file << 20 ^ run.first ^ (i as u64) << 40,
            };
            let mut sight = Sight {
                checker: self.checker.as_deref_mut(),
                recorder: &mut *self.recorder,
                work,
                run,
                place: &self.place,
                is_first: i == 0,
                activity: shared.activity,
                thread: self.index,
                seen: &mut seen,
            };
            let before = now_ns();
            let answer = shared.storage.read(&request, &mut self.lane, &mut sight);
            shared.activity.io_ends(self.index);
            let answer = answer?;
            // All of the call but what the checker took: pauses before retries count as the storage system's.
            times.parts[Part::Io] += (now_ns() - before).saturating_sub(seen.take_lap());
            if i == 0 {
                answers.first_byte_ns = answer.first_byte_ns;
            }
            answers.bytes += answer.bytes;
            answers.opens += answer.opens;
            answers.open_ns += answer.open_ns;
            answers.calls += answer.calls;
            answers.retries += answer.retries;
            if seen.failure.is_some() {
                break;
            }
        }
        self.account(shared, run, answers, seen, &mut times)?;
        self.preprocess(shared, work, run, &mut times);
        let ended = now_ns();
        let each = (ended - begun) / run.count.max(1);
        self.recorder.record(Stage::Sample, each, run.count);
        Ok(self.meter.settle(times, ended))
    }

    /// Records what the reads of a run took, and what the checker says of them.
    fn account(
        &mut self,
        shared: &Shared,
        run: &Run,
        answers: Answer,
        mut seen: Seen,
        times: &mut RunTimes,
    ) -> Result<(), LoaderError> {
        let has_read = !self.place.extents.is_empty();
        if has_read && shared.storage.system().has_bytes {
            if let Some(checker) = self.checker.as_deref_mut()
                && seen.failure.is_none()
            {
                let before = now_ns();
                seen.failure = checker.finish().err();
                seen.spent_ns += now_ns() - before;
            }
            // A thread that still had the file open opened nothing.
            if answers.opens > 0 || !shared.storage.system().opens_by_path {
                self.recorder.record(Stage::Open, answers.open_ns, 1);
            }
            if self.checker.is_some() {
                self.recorder.record(Stage::Decode, seen.spent_ns, 1);
            }
        }
        if let Some(source) = seen.failure {
            return Err(LoaderError::Content {
                path: self.place.path.clone(),
                source,
            });
        }
        if self.place.metadata.calls > 0 {
            self.recorder
                .record(Stage::Metadata, self.place.index_ns, 1);
        }
        if let Some(ns) = answers.first_byte_ns {
            self.recorder.record(Stage::FirstByte, ns, 1);
        }
        times.parts[Part::Decode] = seen.spent_ns;
        let metadata = self.place.metadata;
        for answer in [answers, metadata] {
            shared.bytes.fetch_add(answer.bytes, Relaxed);
            shared.calls.fetch_add(answer.calls, Relaxed);
            shared.retries.fetch_add(answer.retries, Relaxed);
        }
        shared.metadata_bytes.fetch_add(metadata.bytes, Relaxed);
        shared.metadata_calls.fetch_add(metadata.calls, Relaxed);
        shared.samples.fetch_add(run.count, Relaxed);
        Ok(())
    }

    /// The pause after each sample of a run.
    fn preprocess(&mut self, shared: &Shared, work: &dyn Work, run: &Run, times: &mut RunTimes) {
        for _ in 0..run.count {
            let ns = work.preprocess_ns(self.index);
            if ns == 0 {
                break;
            }
            let before = now_ns();
            shared.activity.pauses_until(before + ns);
            pause(std::time::Duration::from_nanos(ns));
            let took = now_ns() - before;
            times.parts[Part::Preprocess] += took;
            times.asleep_ns += ns.min(took);
            self.recorder.record(Stage::Preprocess, took, 1);
        }
    }

    /// Adds what this epoch cost the thread to the totals.
    fn end_epoch(&mut self, shared: &Shared) {
        self.lane.close();
        let meter = std::mem::take(&mut self.meter);
        shared.cpu_ns.fetch_add(meter.cpu_ns(), Relaxed);
        match meter.delay_ns() {
            Some(ns) => drop(shared.delay_ns.fetch_add(ns, Relaxed)),
            None => shared.is_blind.store(true, Relaxed),
        }
    }
}

/// What a checker took and found during the reads of one run.
#[derive(Default)]
struct Seen {
    spent_ns: u64,
    /// `spent_ns` when it was last looked at.
    lap_ns: u64,
    failure: Option<FormatError>,
}

impl Seen {
    /// What the checker took since the last look.
    fn take_lap(&mut self) -> u64 {
        self.spent_ns - std::mem::replace(&mut self.lap_ns, self.spent_ns)
    }
}

/// Shows a thread's checker the bytes as they come.
struct Sight<'a> {
    checker: Option<&'a mut (dyn Checker + 'static)>,
    recorder: &'a mut (dyn Recorder + 'static),
    work: &'a dyn Work,
    run: &'a Run,
    place: &'a Place,
    is_first: bool,
    activity: Activity,
    thread: usize,
    seen: &'a mut Seen,
}

impl Sink for Sight<'_> {
    fn begin(&mut self, file_len: u64) {
        if let Some(checker) = self.checker.as_deref_mut()
            && self.is_first
        {
            let before = now_ns();
            self.work.begin(checker, self.run, self.place, file_len);
            self.seen.spent_ns += now_ns() - before;
        }
    }
    fn chunk(&mut self, bytes: &[u8]) -> bool {
        let Some(checker) = self.checker.as_deref_mut() else {
            return true;
        };
        let before = now_ns();
        self.seen.failure = checker.push(bytes).err();
        self.seen.spent_ns += now_ns() - before;
        self.seen.failure.is_none()
    }
    fn position(&mut self, offset: u64) {
        let number = self.work.number_of(self.run);
        self.activity.io_begins(self.thread, number, offset);
    }
    fn called(&mut self, ns: u64) {
        self.recorder.record(Stage::Read, ns, 1);
    }
}
