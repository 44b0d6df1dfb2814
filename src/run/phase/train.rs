//! Training: epochs of steps, the checkpoints and evaluations between them.

use std::rc::Rc;
use std::sync::Arc;

use serde_json::json;

use super::Measured;
use super::evaluate::Evaluation;
use crate::clock::{VirtualClock, process_cpu_ns, sharpen_this_thread};
use crate::config::DropCache;
use crate::host::cgroup::Pressure;
use crate::host::facts::Meminfo;
use crate::host::process::device_bytes;
use crate::host::witness::{Medium, Mount, nic_bytes};
use crate::loader::{BatchSource, Phase};
use crate::metrics::evidence::Counts;
use crate::metrics::record::{EpochRecord, RankRecord};
use crate::metrics::timeline::{Column, Gauges, Recorded};
use crate::metrics::trace::PhaseKind;
use crate::plan::Split;
use crate::plan::order::ShardOrder;
use crate::plan::steps::Steps;
use crate::report::Event;
use crate::run::bare;
use crate::run::caches::drop_caches;
use crate::run::checkpoint_watch::FileNames;
use crate::run::checkpointer::{Checkpointer, Moment};
use crate::run::context::{JobContext, label};
use crate::run::dataset::DatasetFiles;
use crate::run::events::Events;
use crate::run::failure::{RankError, Result, agree};
use crate::run::memory;
use crate::run::open::{open_storage, pick_format};
use crate::run::residency::{Sample, before_epoch};
use crate::run::sources::{Sources, ThreadRecords, reshard};
use crate::run::steps::{Judge, Span, StepLoop};
use crate::run::wire;
use crate::run::work::{EpochWork, Reading};
use crate::storage::{Storage, Telemetry};

/// Trains and evaluates. A collective; the record is this rank's.
pub fn run(job: &JobContext, events: &mut Events) -> Result<Measured> {
    let mut training = Training::prepare(job, events)?;
    for epoch in 1..=job.workload.train.epochs {
        training.step(events, epoch)?;
    }
    Ok(training.finish(events))
}

/// Trains, whatever the number of epochs, until `judge` has seen enough. A collective; the record is this rank's.
pub(super) fn run_until<'a>(
    job: &'a JobContext,
    events: &mut Events,
    judge: &'a mut dyn Judge,
) -> Result<Measured> {
    let mut training = Training::prepare(job, events)?;
    training.steps.judge = Some(judge);
    let is_done = |training: &Training| {
        let judge = training.steps.judge.as_ref();
        judge.is_none_or(|judge| judge.is_done())
    };
    let mut epoch = 1;
    while !is_done(&training) {
        training.step(events, epoch)?;
        epoch += 1;
    }
    Ok(training.finish(events))
}

/// The training of a job, on this rank.
struct Training<'a> {
    job: &'a JobContext<'a>,
    storage: Arc<dyn Storage>,
    plan: Steps,
    reading: Arc<Reading>,
    order: ShardOrder,
    source: Box<dyn BatchSource>,
    evaluation: Option<Evaluation<'a>>,
    threads: ThreadRecords,
    steps: StepLoop<'a>,
    saves: Option<Saves<'a>>,
    record: RankRecord,
    cpu_start: u64,
    storage_cpu_start: u64,
    pressure_start: Pressure,
    /// Where the dataset lies, on a mounted file system.
    mount: Option<Mount>,
    planned_bytes: u64,
}

/// The checkpoints of a training, and when they are due.
struct Saves<'a> {
    saver: Checkpointer<'a>,
    /// Steps between them; None: they come after epochs.
    every_steps: Option<u64>,
    /// The epoch after which the next one is due.
    next_epoch: u64,
}

impl<'a> Saves<'a> {
    fn new(job: &'a JobContext, events: &mut Events) -> Result<Self> {
        let c = &job.workload.checkpoint;
        Ok(Saves {
            saver: Checkpointer::new(job, events)?,
            // Zero counts as step mode and never comes.
            every_steps: u64::try_from(c.steps_between_checkpoints).ok(),
            next_epoch: c.checkpoint_after_epoch,
        })
    }
}

impl<'a> Training<'a> {
    fn prepare(job: &'a JobContext, events: &mut Events) -> Result<Self> {
        let (cluster, w) = (job.cluster, job.workload);
        let (rank, ranks) = (cluster.rank(), cluster.size());
        job.activity.enter(Phase::Find, 0, 0);
        let storage = agree(cluster, open_storage(job))?;
        let format = agree(cluster, pick_format(w))?;
        let mut files = DatasetFiles::to_read(job, &*storage)?;
        bare::recognise(job, events, &*storage, format, &mut files)?;
        let files = Arc::new(files);
        let seen = agree(cluster, files.check_presence(job, &*storage))?;
        files.warn_of_sizes(job, seen, events);
        files.warn_of_more(events);
        let plan = Steps::new(&wire::steps(w), ranks);
        events.emit(Event::StepsPlanned {
            steps: plan.train,
            eval_steps: plan.eval,
            dropped: plan.dropped,
        });
        let reading = Arc::new(Reading::new(job, &storage, format, &files));
        let order = ShardOrder::new(
            wire::order(w, Split::Train, files.train.files()),
            rank,
            ranks,
        );
        let mut saves = (w.workflow.checkpoint)
            .then(|| Saves::new(job, events))
            .transpose()?;
        let needs = memory::Needs {
            storage: &*storage,
            format,
            reads_metadata: reading.reads_metadata(),
            index_bytes: reading.index_bytes(),
            files: files.used.0 + files.used.1,
            sample_bytes: files.sample_bytes(),
            order_bytes: order.memory_bytes() + files.names_memory(),
            checkpoint_bytes: saves.as_ref().map_or(0, |s| s.saver.save_memory()),
            steps: &plan,
        };
        let memory = memory::plan(job, &needs);
        events.emit(Event::Info(memory.line()));
        agree(cluster, memory::check(job, &memory))?;
        (saves.iter_mut()).try_for_each(|saves| saves.saver.claim(events))?;
        let virtual_clock = (job.options.virtual_time).then(|| Rc::new(VirtualClock::default()));
        let does_eval = Evaluation::is_wanted(w);
        let sources = Sources::new(job, events, &storage, virtual_clock.clone(), does_eval);
        let (source, eval, threads) = agree(cluster, sources)?.take();
        name_files(job, &files);
        sharpen_this_thread();
        let mount = (storage.system().opens_by_path)
            .then(|| Mount::of(files.root()))
            .flatten();
        let pressure_start = Pressure::read();
        let cpu_start = process_cpu_ns();
        if let Some(gauges) = &job.gauges {
            gauges.begin(Column::Cpu, Some(cpu_start));
        }
        Ok(Training {
            job,
            plan,
            reading,
            order,
            source,
            evaluation: eval.map(|source| Evaluation::prepare(job, source, &files, plan.eval)),
            threads,
            steps: StepLoop::new(job, virtual_clock, plan.train),
            saves,
            record: RankRecord {
                rank,
                medium: medium_of(&*storage, mount.as_ref()),
                ..RankRecord::default()
            },
            cpu_start,
            storage_cpu_start: storage.own_cpu_ns(),
            pressure_start,
            mount,
            planned_bytes: memory.total(),
            storage,
        })
    }

    fn step(&mut self, events: &mut Events, epoch: u64) -> Result<()> {
        let (work, sample) = self.begin_epoch(events, epoch)?;
        let before = self.counts();
        self.meter(&before, Gauges::begin);
        let mut row = EpochRecord {
            epoch,
            start: label(),
            ..EpochRecord::default()
        };
        events.emit(Event::EpochStarted {
            epoch,
            steps: self.plan.train,
            overridden: self.plan.overridden,
        });
        let started = self.steps.clock.now_ns();
        self.source.start(work);
        let done = self.blocks(events, &mut row)?;
        let ended = self.steps.clock.now_ns();
        row.train_ns = ended - started;
        self.steps.phase(PhaseKind::Epoch, started, ended);
        events.emit(Event::EpochEnded {
            epoch,
            steps: done,
            elapsed_s: row.train_ns as f64 / 1e9,
        });
        if let Some(evaluation) = &mut self.evaluation {
            row.eval = evaluation.step(events, &mut self.steps, epoch)?;
        }
        row.end = label();
        row.host_meminfo = Meminfo::read();
        let after = self.counts();
        self.meter(&after, Gauges::end);
        row.counts = Counts {
            sampled_pages: sample.sum.pages,
            resident_pages: sample.sum.held,
            ..after.since(&before)
        };
        self.epoch_ended(&row);
        self.record.epochs.push(row);
        Ok(())
    }

    /// Outside counters begin or end to count for the recording.
    fn meter(&self, counts: &Counts, what: fn(&Gauges, Column, Option<u64>)) {
        let Some(gauges) = &self.job.gauges else {
            return;
        };
        what(gauges, Column::DeviceBytes, counts.device);
        if self.job.cluster.local_rank() == 0 {
            what(gauges, Column::NicBytes, counts.nic);
        }
    }

    /// Keeps what readers recorded in the epoch.
    fn epoch_ended(&mut self, row: &EpochRecord) {
        let readers = self.threads.take();
        let spec = &self.steps.spec;
        if let Some(recording) = &mut self.steps.recording {
            (recording.recorder).epoch_ended(row, spec.formula, spec.train, &readers);
        }
        self.steps.histograms.merge(&readers);
    }

    /// Draws the orders of an epoch, empties caches and looks what they hold; ends with all ranks together.
    fn begin_epoch(&mut self, events: &mut Events, epoch: u64) -> Result<(Arc<EpochWork>, Sample)> {
        let cluster = self.job.cluster;
        reshard(cluster, &mut self.order, epoch);
        let work = Arc::new(EpochWork::new(
            self.reading.clone(),
            Split::Train,
            epoch,
            self.order.epoch(epoch),
        ));
        if let Some(evaluation) = &mut self.evaluation {
            evaluation.begin_epoch(&self.reading, epoch);
        }
        self.steps.activity.enter(Phase::DropCache, epoch, 0);
        let storage = &*self.storage;
        let began = self.job.gauges.as_ref().map(|gauges| gauges.offset_ns());
        agree(cluster, drop_caches(self.job, storage))?;
        let drops = self.job.workload.reader.drop_cache != DropCache::None;
        if let Some((recorder, at)) = events.recorder.as_mut().zip(began).filter(|_| drops) {
            let text = format!("caches dropped before epoch {epoch}");
            recorder.span(at, "cache_drop", text, json!({ "epoch": epoch }));
        }
        let does_eval = self.evaluation.is_some();
        let data = (storage, &*self.reading.files);
        let (sample, found) = before_epoch(self.job, data, &*self.source, does_eval, epoch)?;
        if epoch == 1 {
            self.record.page_cache = found;
        }
        cluster.barrier();
        Ok((work, sample))
    }

    /// The blocks of an epoch: what lies between two checkpoints. Returns the steps that were done.
    fn blocks(&mut self, events: &mut Events, row: &mut EpochRecord) -> Result<u64> {
        let (job, epoch) = (self.job, row.epoch);
        let w = job.workload;
        let every = self.saves.as_ref().and_then(|s| s.every_steps);
        let mut span = Span {
            epoch,
            epochs: w.train.epochs,
            steps: self.plan.train,
            next_step: 1,
            pause_after: every,
        };
        let mut number = 1;
        let last = loop {
            let block = number;
            events.emit(Event::BlockStarted { epoch, block });
            let source = &mut *self.source;
            let ended = self
                .steps
                .train(events, source, span, &w.train.computation_time);
            // Every rank is due for a checkpoint at the same step.
            let record = match ended {
                Ok((record, true)) => record,
                ended => break ended.map(|(record, _)| record),
            };
            span.next_step += record.steps.len() as u64;
            events.emit(Event::BlockEnded {
                epoch,
                block,
                record: record.clone(),
            });
            row.blocks.push(record);
            let step = span.next_step - 1;
            let moment = Moment {
                epoch,
                step,
                number,
                taken: step,
            };
            self.save(events, moment)?;
            span.pause_after = span.pause_after.zip(every).map(|(at, n)| at + n);
            number += 1;
        };
        // From here on this rank has nothing of its own to wait for.
        let activity = job.activity;
        activity.enter(Phase::Barrier, epoch, self.plan.train);
        let stopped = self.source.stop().map_err(RankError::from);
        let last = agree(job.cluster, last.and_then(|block| stopped.map(|()| block)))?;
        let done = span.next_step - 1 + last.steps.len() as u64;
        events.emit(Event::BlockEnded {
            epoch,
            block: number,
            record: last.clone(),
        });
        row.blocks.push(last);
        self.save_after_epoch(events, epoch, number, done)?;
        Ok(done)
    }

    fn save_after_epoch(
        &mut self,
        events: &mut Events,
        epoch: u64,
        number: u64,
        done: u64,
    ) -> Result<()> {
        match &mut self.saves {
            Some(saves) if saves.every_steps.is_none() && saves.next_epoch == epoch => {
                saves.next_epoch += self.job.workload.checkpoint.epochs_between_checkpoints;
            }
            _ => return Ok(()),
        }
        let moment = Moment {
            epoch,
            step: done + 1,
            number,
            taken: done,
        };
        self.save(events, moment)
    }

    fn save(&mut self, events: &mut Events, moment: Moment) -> Result<()> {
        let Some(saves) = &mut self.saves else {
            return Ok(());
        };
        saves.saver.save(events, moment)
    }

    fn sources(&self) -> impl Iterator<Item = &dyn BatchSource> {
        let eval = self.evaluation.as_ref().map(Evaluation::source);
        std::iter::once(&*self.source).chain(eval)
    }

    /// What was delivered and what outside counters saw so far; those of the host are read by its first rank.
    fn counts(&self) -> Counts {
        let is_first = self.job.cluster.local_rank() == 0;
        let received = |t: Telemetry| t.endpoints.iter().map(|e| e.bytes_read).sum();
        Counts {
            delivered: self.sources().map(|source| source.totals().bytes).sum(),
            device: device_bytes(),
            mount: (self.mount.as_ref())
                .filter(|_| is_first)
                .and_then(Mount::bytes_from_server),
            socket: self.storage.telemetry().map(received),
            nic: is_first.then(nic_bytes).flatten(),
            ..Counts::default()
        }
    }

    /// The record. Ends the threads.
    fn finish(self, events: &Events) -> Measured {
        let epochs = self.job.workload.train.epochs;
        let activity = self.steps.activity;
        activity.enter(Phase::Report, epochs, self.plan.train);
        let cpu_ns = process_cpu_ns();
        let totals: Vec<_> = self.sources().map(|source| source.totals()).collect();
        let mut record = self.record;
        let counters = &mut record.counters;
        counters.delay_ns = Some(0);
        for t in totals {
            counters.bytes_read += t.bytes;
            counters.reads += t.calls;
            counters.samples += t.samples;
            counters.retries += t.retries;
            counters.metadata_bytes += t.metadata_bytes;
            counters.metadata_reads += t.metadata_calls;
            counters.reader_cpu_ns += t.cpu_ns;
            counters.delay_ns = counters.delay_ns.zip(t.delay_ns).map(|(a, b)| a + b);
        }
        // Checkpoints have a storage of their own.
        let by_storage = self.storage.own_cpu_ns();
        counters.reader_cpu_ns += by_storage.saturating_sub(self.storage_cpu_start);
        counters.samples_dropped_per_epoch = self.plan.dropped;
        counters.cpu_ns = cpu_ns.saturating_sub(self.cpu_start);
        if let Some(gauges) = &self.job.gauges {
            gauges.end(Column::Cpu, Some(cpu_ns));
        }
        counters.report_cpu_ns = events.cpu_ns;
        record.pressure = Pressure::read().since(&self.pressure_start);
        counters.spin_ns = self.steps.spin_ns;
        let saves = self.saves.as_ref();
        record.object_store = Telemetry::both(
            self.storage.telemetry(),
            saves.and_then(|saves| saves.saver.telemetry()),
        );
        record.order_digest = self.steps.digest.finish();
        let files = self.reading.files.clone();
        let timeline = self.steps.recording.map(|recording| {
            let name = |file| Some(files.shown(file));
            Recorded::new(record.rank, recording.recorder, &recording.gauges, name)
        });
        drop((self.source, self.evaluation));
        let mut histograms = self.steps.histograms;
        if let Some(saves) = self.saves {
            let (log, stages) = saves.saver.finish();
            record.checkpoints = log;
            histograms.merge(&stages);
        }
        histograms.merge(&self.threads.take());
        Measured {
            record,
            histograms,
            planned_bytes: self.planned_bytes,
            timeline,
        }
    }
}

/// What lies between the readers and the bytes of a dataset.
fn medium_of(storage: &dyn Storage, mount: Option<&Mount>) -> Medium {
    match mount {
        Some(mount) => mount.medium(),
        None if !storage.system().has_bytes => Medium::Simulated,
        None if storage.telemetry().is_some() => Medium::Object,
        None => Medium::Other("unknown".into()),
    }
}

/// Tells the watchdog what the numbers of files mean.
fn name_files(job: &JobContext, files: &Arc<DatasetFiles>) {
    let w = job.workload;
    let files = files.clone();
    job.names.add(move |file| Some(files.shown(file)));
    if w.workflow.checkpoint
        && let Some(checkpoints) = FileNames::new(w, job.cluster.size())
    {
        job.names.add(move |file| checkpoints.name(file));
    }
}
