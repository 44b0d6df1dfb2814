//! The loader in virtual time: the same shapes over [`TimeModel`], as a discrete-event calculation.
//!
//! Threads are clocks; a batch is ready when the last of its reads ends. With the train loop on the same virtual
//! clock, AU and throughput come out exactly and at once.

use std::rc::Rc;
use std::sync::Arc;

use super::{Batch, BatchSource, Delivery, LoaderError, Shape, Totals, Unit, Work};
use crate::clock::{Clock, VirtualClock};
use crate::plan::Run;
use crate::stage::{Part, Parts};
use crate::storage::TimeModel;

/// Reader threads that exist only as times.
pub struct SimulatedLoader {
    shape: Shape,
    time: TimeModel,
    clock: Rc<VirtualClock>,
    work: Option<Arc<dyn Work>>,
    /// When each thread is free.
    free_at: Vec<u64>,
    /// When the link is free.
    link_free: u64,
    /// When batch j was taken, for the window.
    taken: Vec<u64>,
    /// Batches computed so far.
    ready: Vec<Batch>,
    started: u64,
    next: u64,
    totals: Totals,
    deliveries: Vec<Delivery>,
}

impl SimulatedLoader {
    /// A loader over `time` that lives on `clock`.
    pub fn new(shape: Shape, time: TimeModel, clock: Rc<VirtualClock>) -> Self {
        SimulatedLoader {
            shape,
            time,
            clock,
            work: None,
            free_at: vec![0; shape.threads],
            link_free: 0,
            taken: Vec::new(),
            ready: Vec::new(),
            started: 0,
            next: 0,
            totals: Totals::default(),
            deliveries: Vec::new(),
        }
    }

    /// When `batch` may be begun: when the batch one window earlier was taken.
    fn gate(&self, batch: u64) -> u64 {
        match self.shape.window as u64 {
            0 => self.clock.now_ns(),
            window if batch < window => self.started,
            window => self.taken[(batch - window) as usize],
        }
    }

    fn read(&mut self, run: &Run, planned: u64, from: u64) -> u64 {
        let first = self.time.first_byte_at(run.file << 20 ^ run.first, from);
        let busy = self.time.transfer_ns(planned);
        let end = if busy == 0 {
            first
        } else {
            self.link_free = self.link_free.max(first) + busy;
            self.link_free
        };
        self.totals.bytes += planned;
        self.totals.calls += 1;
        self.totals.samples += run.count;
        self.deliveries.push(Delivery {
            from_ns: from,
            to_ns: end,
            bytes: planned,
            samples: run.count,
        });
        end
    }

    fn compute(&mut self, work: &dyn Work, batch: u64) {
        let mut runs = Vec::new();
        work.batch(batch, &mut runs);
        let hash = work.step_hash(batch, &runs);
        let gate = self.gate(batch);
        let mut done_ns = gate;
        let mut begun_ns = u64::MAX;
        let mut late_file = None;
        let mut parts = Parts::default();
        for run in &runs {
            let thread = match self.shape.unit {
                Unit::Batch => (batch % self.shape.threads as u64) as usize,
                Unit::Run => (0..self.free_at.len())
                    .min_by_key(|&t| self.free_at[t])
                    .unwrap_or(0),
            };
            let planned = work.planned_len(run);
            let from = self.free_at[thread].max(gate);
            let read = self.read(run, planned, from);
            let pause: u64 = (0..run.count).map(|_| work.preprocess_ns(thread)).sum();
            let end = read + pause;
            parts[Part::Io] += read - from;
            parts[Part::Preprocess] += pause;
            self.free_at[thread] = end;
            begun_ns = begun_ns.min(from);
            if end >= done_ns {
                done_ns = end;
                late_file = Some(work.number_of(run));
            }
        }
        self.ready.push(Batch {
            hash,
            parts,
            begun_ns: begun_ns.min(done_ns),
            done_ns,
            late_file,
        });
    }
}

impl BatchSource for SimulatedLoader {
    fn start(&mut self, work: Arc<dyn Work>) {
        self.started = self.clock.now_ns();
        self.free_at.fill(self.started);
        self.taken.clear();
        self.ready.clear();
        self.next = 0;
        self.work = Some(work);
    }

    fn next(&mut self) -> Result<Option<Batch>, LoaderError> {
        let Some(work) = self.work.clone() else {
            return Ok(None);
        };
        if self.next >= work.batches() {
            return Ok(None);
        }
        // Batches that could have begun before now are computed in order, so that the link serves them in order.
        let last = (self.next + self.shape.window.max(1) as u64).min(work.batches());
        while (self.ready.len() as u64) < last {
            self.compute(&*work, self.ready.len() as u64);
        }
        let batch = self.ready[self.next as usize];
        self.clock.advance_to(batch.done_ns);
        self.taken.push(self.clock.now_ns());
        self.next += 1;
        Ok(Some(batch))
    }

    fn release(&mut self) {}

    fn stop(&mut self) -> Result<(), LoaderError> {
        self.work = None;
        Ok(())
    }

    fn for_each(&self, count: u64, job: &(dyn Fn(usize, u64) + Sync)) {
        (0..count).for_each(|index| job(0, index));
    }

    fn totals(&self) -> Totals {
        self.totals
    }

    fn take_deliveries(&mut self) -> Vec<Delivery> {
        std::mem::take(&mut self.deliveries)
    }
}
