//! Where batches come from: loaders in real time, or simulated ones over a model of time.

use std::rc::Rc;
use std::sync::Arc;

use super::context::JobContext;
use super::events::Events;
use super::failure::RankError;
use super::wire::time_model;
use crate::clock::VirtualClock;
use crate::cluster::Cluster;
use crate::loader::{BatchSource, Engine, Loader, Recorder, SimulatedLoader};
use crate::metrics::histogram::StageHistograms;
use crate::metrics::timeline::ThreadStages;
use crate::metrics::trace::Tracer;
use crate::plan::order::ShardOrder;
use crate::report::Event;
use crate::stage::Stage;
use crate::storage::Storage;

/// What a thread records, shared with the main thread, which reads it between epochs.
struct Own(Arc<ThreadStages>);

impl Recorder for Own {
    fn record(&mut self, stage: Stage, ns: u64, count: u64) {
        self.0.record(stage, ns, count);
    }
}

/// Loaders of the two splits; both in real or both in virtual time.
pub(super) struct Sources {
    pub(super) train: Box<dyn BatchSource>,
    pub(super) eval: Option<Box<dyn BatchSource>>,
    stages: Vec<Arc<ThreadStages>>,
}

/// What the threads of loaders recorded.
pub(super) struct ThreadRecords(Vec<Arc<ThreadStages>>);

impl ThreadRecords {
    /// What they recorded since the last call; between epochs.
    pub(super) fn take(&self) -> StageHistograms {
        let mut all = StageHistograms::new();
        for thread in &self.0 {
            all.merge(&thread.take());
        }
        all
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
        (self.train, self.eval, ThreadRecords(self.stages))
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
        let over_time = job.gauges.is_some() && virtual_clock.is_none();
        let stages_of = |threads| thread_stages(job.tracer.as_deref(), threads, over_time);
        if let Some(clock) = virtual_clock {
            let mut time = time_model(job.workload).of_rank(job.cluster.rank());
            // Virtual clocks of different ranks do not share a link moment by moment: each gets its part of it.
            time.bandwidth /= job.cluster.local_size() as f64;
            let make = || -> Box<dyn BatchSource> {
                Box::new(SimulatedLoader::new(shape, time, clock.clone()))
            };
            return Ok(Sources {
                train: make(),
                eval: does_eval.then(make),
                stages: stages_of(2 * shape.threads),
            });
        }
        let transfer = storage.system().transfer(job.workload.reader.transfer_size);
        let engine = job.engine(1 + usize::from(does_eval), transfer);
        announce(events, shape.threads, transfer, engine);
        // Readers that are tasks of one thread record in one place, which stays in that CPU's cache; a trace has a row for each.
        let places = match engine {
            Engine::Rings { threads, .. } if job.tracer.is_none() => threads,
            _ => shape.threads,
        };
        let stages = stages_of(2 * places);
        let make = |from: usize| -> Result<Box<dyn BatchSource>, RankError> {
            let own = &stages[from..from + places];
            // As the loader deals its readers out to threads.
            let recorders = (own.iter().cycle().take(shape.threads))
                .map(|stages| Box::new(Own(stages.clone())) as Box<dyn Recorder>)
                .collect();
            let (storage, activity) = (storage.clone(), job.activity);
            let loader = Loader::new(shape, engine, transfer, storage, activity, recorders)?;
            if let Some(gauges) = &job.gauges {
                gauges.watch(loader.tally(), own);
            }
            Ok(Box::new(loader))
        };
        Ok(Sources {
            train: make(0)?,
            eval: if does_eval { Some(make(places)?) } else { None },
            stages,
        })
    }
}

/// What `threads` threads record.
pub(super) fn thread_stages(
    tracer: Option<&Tracer>,
    threads: usize,
    over_time: bool,
) -> Vec<Arc<ThreadStages>> {
    let mut calls = tracer
        .map_or(Vec::new(), |tracer| tracer.threads(threads))
        .into_iter();
    (0..threads)
        .map(|_| Arc::new(ThreadStages::new(over_time, calls.next())))
        .collect()
}

fn announce(events: &mut Events, readers: usize, transfer: usize, engine: Engine) {
    let who = match engine {
        Engine::Threads => format!("{readers} reader thread(s)"),
        Engine::Rings { threads, pins } => {
            let buffers = if pins { ", registered buffers" } else { "" };
            format!(
                "{readers} reader(s) on {threads} thread(s) with a ring of io_uring each{buffers}"
            )
        }
    };
    events.emit(Event::Info(format!("{who}, calls of {transfer} bytes")));
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
