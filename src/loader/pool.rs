//! The loader of real runs: one rayon pool per rank, whose readers own all that they need.

use std::io;
use std::iter::StepBy;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::account::Meter;
use super::reader::Reader;
use super::shared::Shared;
use super::walk::{self, Cursor};
use super::window::{Readers, Window};
use super::{
    Activity, Batch, BatchSource, Engine, LoaderError, Recorder, Shape, Tally, Totals, Unit, Work,
};
use crate::clock::sharpen_this_thread;
use crate::storage::ring::{self, Bell, Ring};
use crate::storage::{Lane, Storage, ensure_open_files};

/// Files or sockets that a reader has open at once: what it reads, its metadata, and the counters of the kernel.
const OPEN_EACH: usize = 4;

/// Readers and their window.
pub struct Loader {
    pool: rayon::ThreadPool,
    shape: Shape,
    lasting: Arc<Lasting>,
    epoch: Option<Epoch>,
    next: u64,
}

/// An epoch under way.
struct Epoch {
    window: Arc<Window>,
    work: Arc<dyn Work>,
    running: Arc<Running>,
}

/// What the threads of an epoch are given.
#[derive(Clone)]
struct Part {
    shape: Shape,
    lasting: Arc<Lasting>,
    window: Arc<Window>,
    work: Arc<dyn Work>,
    cursor: Arc<Cursor>,
}

/// What outlives an epoch.
struct Lasting {
    shared: Arc<Shared>,
    /// One for each thread that has a ring, which alone takes it. Before the readers, whose buffers are registered there.
    rings: Vec<Mutex<Ring>>,
    /// Each lock is held by its reader for a whole epoch.
    readers: Vec<Mutex<Reader>>,
    /// One for each ring.
    bells: Vec<Arc<Bell>>,
}

/// Counts the threads of an epoch that have not ended.
struct Running {
    left: Mutex<usize>,
    bell: parking_lot::Condvar,
}

impl Loader {
    /// Makes the pool. `transfer`: bytes of one read call; `recorders`: one per reader of `shape`.
    ///
    /// Errors: [`LoaderError::Threads`]; rings that the kernel refuses.
    pub fn new(
        shape: Shape,
        engine: Engine,
        transfer: usize,
        storage: Arc<dyn Storage>,
        activity: Activity,
        recorders: Vec<Box<dyn Recorder>>,
    ) -> Result<Self, LoaderError> {
        ensure_open_files(shape.threads, OPEN_EACH).map_err(LoaderError::OpenFiles)?;
        let threads = match engine {
            Engine::Threads => shape.threads,
            Engine::Rings { threads, .. } => threads.clamp(1, shape.threads),
        };
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
        let readers: Vec<_> = recorders
            .into_iter()
            .enumerate()
            .map(|(index, recorder)| {
                Mutex::new(Reader::new(index, Lane::keeping(transfer), recorder))
            })
            .collect();
        let (bells, rings) = match engine {
            Engine::Threads => Default::default(),
            Engine::Rings { pins, .. } => {
                let bells = bells(threads)?;
                let rings = rings(&pool, &bells, &readers, pins).map_err(ring_refused)?;
                (bells, rings)
            }
        };
        let lasting = Lasting {
            shared: Arc::new(Shared::new(storage, activity, shape.threads)),
            rings,
            readers,
            bells,
        };
        Ok(Loader {
            pool,
            shape,
            lasting: Arc::new(lasting),
            epoch: None,
            next: 0,
        })
    }
}

/// One for the ring of each thread.
///
/// Errors: rings cannot be had.
fn bells(threads: usize) -> Result<Vec<Arc<Bell>>, LoaderError> {
    ring::probe().map_err(|cause| ring::refused(&cause))?;
    (0..threads)
        .map(|_| Bell::new().map(Arc::new))
        .collect::<Result<_, _>>()
        .map_err(ring_refused)
}

fn ring_refused(cause: io::Error) -> LoaderError {
    ring::refused(&ring::explained(&cause)).into()
}

/// The readers that are tasks of thread `thread` of `threads`.
fn readers_of(thread: usize, threads: usize, all: usize) -> StepBy<Range<usize>> {
    (thread..all).step_by(threads)
}

/// Made once, by the threads that use them: to register the buffers takes longer than to read a small dataset.
///
/// Errors: the kernel's refusal.
fn rings(
    pool: &rayon::ThreadPool,
    bells: &[Arc<Bell>],
    readers: &[Mutex<Reader>],
    pins: bool,
) -> io::Result<Vec<Mutex<Ring>>> {
    let made = pool.broadcast(|thread| {
        let own = readers_of(thread.index(), bells.len(), readers.len());
        let mut ring = Ring::new(own.len(), bells[thread.index()].clone())?;
        if pins {
            let buffers: Vec<_> = (own.zip(0..))
                .map(|(reader, number)| readers[reader].lock().lane.registered(number))
                .collect();
            // SAFETY: the readers keep their buffers longer than the rings live: [`Lasting`] drops the rings first, and where
            // there is none, the caller does.
            unsafe { ring.register(&buffers) }?;
        }
        Ok(Mutex::new(ring))
    });
    made.into_iter().collect()
}

impl BatchSource for Loader {
    fn start(&mut self, work: Arc<dyn Work>) {
        let readers = match self.lasting.bells.is_empty() {
            true => Readers::threads(self.shape.threads),
            false => Readers::Tasks {
                bells: self.lasting.bells.clone(),
                gathers: !work.reads_metadata(),
            },
        };
        let window = Arc::new(Window::new(self.shape.window, work.batches(), readers));
        let threads = self.pool.current_num_threads();
        let running = Arc::new(Running {
            left: Mutex::new(threads),
            bell: parking_lot::Condvar::new(),
        });
        let part = Part {
            shape: self.shape,
            lasting: self.lasting.clone(),
            window: window.clone(),
            work: work.clone(),
            cursor: Arc::new(Cursor::default()),
        };
        let ended = running.clone();
        self.pool.spawn_broadcast(move |thread| {
            let bell = part.lasting.bells.get(thread.index());
            let meter = Arc::new(match bell {
                None => Meter::start(),
                Some(_) => Meter::start_with_helpers(),
            });
            let outcome = match bell {
                None => part.read(thread.index(), meter.clone()),
                Some(_) => part.read_through_ring(thread.index(), &meter),
            };
            part.lasting.shared.settle(&meter);
            if let Err(error) = outcome {
                part.window.fail(error);
            }
            *ended.left.lock() -= 1;
            ended.bell.notify_all();
        });
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

    fn for_each(&self, count: u64, job: &(dyn Fn(usize, u64) + Sync)) {
        let next = AtomicU64::new(0);
        self.pool.broadcast(|thread| {
            loop {
                let index = next.fetch_add(1, Relaxed);
                if index >= count {
                    break;
                }
                job(thread.index(), index);
            }
        });
    }

    fn totals(&self) -> Totals {
        self.lasting.shared.totals()
    }

    fn tally(&self) -> Option<Arc<dyn Tally>> {
        Some(self.lasting.shared.clone())
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        // A failure was either reported already or belongs to an epoch that nobody waits for any more.
        let _ = self.stop();
    }
}

impl Part {
    /// One reader's part of the epoch.
    fn read(&self, reader: usize, meter: Arc<Meter>) -> Result<(), LoaderError> {
        let Part {
            shape,
            lasting,
            window,
            work,
            cursor,
        } = self;
        let mut own = lasting.readers[reader].lock();
        own.begin_epoch(&**work, meter);
        let read: walk::Read = &mut |run| own.read_run(&lasting.shared, &**work, run);
        let outcome = match shape.unit {
            Unit::Batch => {
                let (first, step) = (reader as u64, shape.threads as u64);
                walk::batches(window, &**work, first, step, read)
            }
            Unit::Run => walk::runs(window, &**work, cursor, read),
        };
        own.end_epoch();
        outcome
    }

    /// The parts of the readers that are tasks of one thread.
    fn read_through_ring(&self, thread: usize, meter: &Arc<Meter>) -> Result<(), LoaderError> {
        let rings = &self.lasting.rings;
        let readers = readers_of(thread, rings.len(), self.shape.threads);
        let tasks = readers.map(|reader| -> Box<dyn FnOnce()> {
            let (part, meter) = (self.clone(), meter.clone());
            Box::new(move || {
                if let Err(error) = part.read(reader, meter) {
                    part.window.fail(error);
                }
            })
        });
        let mut ring = rings[thread].lock();
        let show = || self.window.show();
        ring.run(tasks.collect(), &show).map_err(ring_refused)
    }
}
