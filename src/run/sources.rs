//! Where batches come from: loaders in real time, or simulated ones over a law of time.

use std::rc::Rc;
use std::sync::Arc;

use parking_lot::Mutex;

use super::context::JobContext;
use super::events::Events;
use super::failure::RankError;
use super::wire::model_law;
use crate::clock::VirtualClock;
use crate::cluster::Cluster;
use crate::loader::{BatchSource, Loader, Recorder, SimulatedLoader};
use crate::metrics::histogram::StageHistograms;
use crate::plan::order::ShardOrder;
use crate::report::Event;
use crate::stage::Stage;
use crate::storage::Storage;

/// A thread's histograms, shared with the main thread, which reads them after the threads have ended.
#[derive(Clone)]
struct ThreadHistograms(Arc<Mutex<StageHistograms>>);

impl Recorder for ThreadHistograms {
    fn record(&mut self, stage: Stage, ns: u64, count: u64) {
        // Uncontended: only this thread records.
        self.0.lock().record_n(stage, ns, count);
    }
}

/// Loaders of the two splits; both in real or both in virtual time.
pub(super) struct Sources {
    pub(super) train: Box<dyn BatchSource>,
    pub(super) eval: Option<Box<dyn BatchSource>>,
    histograms: Vec<Arc<Mutex<StageHistograms>>>,
}

/// What the threads of loaders recorded, readable after they have ended.
pub(super) struct ThreadRecords(Vec<Arc<Mutex<StageHistograms>>>);

impl ThreadRecords {
    pub(super) fn merge_into(&self, all: &mut StageHistograms) {
        for thread in &self.0 {
            all.merge(&thread.lock());
        }
    }
}

impl Sources {
    /// The loaders and what their threads will have recorded.
    pub(super) fn take(
        self,
    ) -> (
        Box<dyn BatchSource>,
        Option<Box<dyn BatchSource>>,
        ThreadRecords,
    ) {
        (self.train, self.eval, ThreadRecords(self.histograms))
    }

    /// Starts the threads of the loaders.
    ///
    /// Errors: a thread or its buffers cannot be had.
    pub(super) fn new(
        job: &JobContext,
        events: &mut Events,
        storage: &Arc<dyn Storage>,
        virtual_clock: Option<Rc<VirtualClock>>,
        does_eval: bool,
    ) -> Result<Sources, RankError> {
        let shape = job.shape();
        let histograms: Vec<_> = (0..2 * shape.threads)
            .map(|_| Arc::new(Mutex::new(StageHistograms::new())))
            .collect();
        if let Some(clock) = virtual_clock {
            let mut law = model_law(job.workload);
            // Virtual clocks of different ranks do not share a link moment by moment: each gets its part of it.
            law.bandwidth /= job.cluster.local_size() as f64;
            let make = || -> Box<dyn BatchSource> {
                Box::new(SimulatedLoader::new(shape, law, clock.clone()))
            };
            return Ok(Sources {
                train: make(),
                eval: does_eval.then(make),
                histograms,
            });
        }
        let transfer = storage.system().transfer(job.workload.reader.transfer_size);
        announce(events, shape.threads, transfer);
        let threads = shape.threads;
        let make = |from: usize| -> Result<Box<dyn BatchSource>, RankError> {
            let recorders = histograms[from..from + threads]
                .iter()
                .map(|h| Box::new(ThreadHistograms(h.clone())) as Box<dyn Recorder>)
                .collect();
            Ok(Box::new(Loader::new(
                shape,
                transfer,
                storage.clone(),
                job.activity,
                recorders,
            )?))
        };
        Ok(Sources {
            train: make(0)?,
            eval: if does_eval {
                Some(make(threads)?)
            } else {
                None
            },
            histograms,
        })
    }
}

fn announce(events: &mut Events, threads: usize, transfer: usize) {
    events.emit(Event::Info(format!(
        "{threads} reader thread(s), calls of {transfer} bytes"
    )));
}

/// Exchanges files between ranks where the order wants it; every rank takes part.
pub(super) fn reshard(cluster: &dyn Cluster, order: &mut ShardOrder, epoch: u64) {
    let Some(mut exchange) = order.reshard(epoch) else {
        return;
    };
    for slice in 0..exchange.slices() {
        let sent = exchange.send(slice);
        let bytes = sent
            .iter()
            .map(|part| part.iter().flat_map(|i| i.to_le_bytes()).collect())
            .collect();
        let received = cluster.all_to_all(bytes);
        let received: Vec<Vec<u32>> = received
            .iter()
            .map(|part| {
                let (words, _) = part.as_chunks::<4>();
                words.iter().map(|word| u32::from_le_bytes(*word)).collect()
            })
            .collect();
        exchange.take(slice, &received);
    }
    order.resharded(exchange);
}
