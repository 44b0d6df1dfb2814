//! The whole of training: loaders, epochs, evaluation, what lies between them.

use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use parking_lot::Mutex;

use super::Events;
use super::checkpoint::{Checkpointer, Moment};
use super::checkpoint_watch::FileNames;
use super::context::{JobContext, label};
use super::dataset::DatasetFiles;
use super::failure::{JobError, RankError, agree};
use super::index_cache::IndexCache;
use super::train::{Span, Surroundings, evaluate, train_block};
use super::watchdog::Watchdog;
use super::work::{EpochWork, Reading, access};
use crate::clock::{Clock, RealClock, VirtualClock, process_cpu_ns, sharpen_this_thread};
use crate::cluster::{Cluster, host};
use crate::config::{DropCache, StorageType};
use crate::format::Format;
use crate::loader::{BatchSource, Loader, Phase, Recorder, SimulatedLoader, Work};
use crate::metrics::histogram::StageHistograms;
use crate::metrics::host::read_meminfo;
use crate::metrics::record::{EpochRecord, RankRecord};
use crate::plan::Split;
use crate::plan::digest::Digest;
use crate::plan::draw::TimeDraw;
use crate::plan::order::ShardOrder;
use crate::plan::steps::Steps;
use crate::report::Event;
use crate::stage::Stage;
use crate::storage::{ModelLaw, Storage};

/// What training left on this rank.
pub struct Measured {
    /// The raw record.
    pub record: RankRecord,
    /// All histograms of this rank, threads included.
    pub histograms: StageHistograms,
}

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
struct Sources {
    train: Box<dyn BatchSource>,
    eval: Option<Box<dyn BatchSource>>,
}

/// Seeds of per-rank draws are this far apart, as the fork's reshard seeds are.
const RANK_SEED_STEP: u64 = 31;

/// Runs all epochs. A collective.
pub fn train(
    job: &JobContext,
    events: &mut Events,
    storage: Arc<dyn Storage>,
    format: Option<&'static dyn Format>,
    files: Arc<DatasetFiles>,
) -> Result<Measured, JobError> {
    let (cluster, w) = (job.cluster, job.workload);
    let (rank, ranks) = (cluster.rank(), cluster.size());
    agree(
        cluster,
        files.check_presence(&*storage, rank as u64, ranks as u64),
    )?;
    let does_eval = w.workflow.evaluation && w.dataset.num_files_eval > 0;
    let steps = Steps::new(w, ranks);
    events.emit(Event::StepsPlanned {
        steps: steps.train,
        eval_steps: steps.eval,
        dropped: steps.dropped,
    });
    let reading = Arc::new(Reading {
        files: files.clone(),
        format,
        storage: storage.clone(),
        indexes: IndexCache::default(),
        access: access(w),
        decode: w.reader.decode,
        verify_content: w.reader.verify_content,
        samples_per_file: w.dataset.num_samples_per_file,
        preprocess: w.reader.preprocess_time.clone(),
        preprocess_draws: (0..job.shape().threads.max(1))
            .map(|t| {
                Mutex::new(TimeDraw::new(
                    w.train.seed + RANK_SEED_STEP * rank as u64 + 1000 * (t as u64 + 1),
                ))
            })
            .collect(),
    });
    let mut orders = [
        ShardOrder::new(w, Split::Train, rank, ranks, files.train.files()),
        ShardOrder::new(w, Split::Valid, rank, ranks, files.valid.files()),
    ];
    let histograms: Vec<_> = (0..2 * job.shape().threads)
        .map(|_| Arc::new(Mutex::new(StageHistograms::new())))
        .collect();
    let virtual_clock = job
        .options
        .virtual_time
        .then(|| Rc::new(VirtualClock::default()));
    let sources = make_sources(
        job,
        events,
        &storage,
        &histograms,
        virtual_clock.clone(),
        does_eval,
    );
    let mut sources = agree(cluster, sources)?;
    let real = RealClock {
        spin: cluster.local_size() <= job.node_cpus,
    };
    let clock: &dyn Clock = match &virtual_clock {
        Some(clock) => &**clock,
        None => &real,
    };
    let mut main_histograms = StageHistograms::new();
    let mut draws = TimeDraw::new(w.train.seed + RANK_SEED_STEP * rank as u64);
    let mut digest = Digest::default();
    let named = files.clone();
    let checkpoint_names = w
        .workflow
        .checkpoint
        .then(|| FileNames::new(w, ranks))
        .flatten();
    let _watchdog = Watchdog::for_job(
        job,
        Arc::new(move |file| {
            if let Some(name) = checkpoint_names.as_ref().and_then(|n| n.name(file)) {
                return name;
            }
            let mut path = PathBuf::new();
            named.path_of(Split::Train, file, &mut path);
            path.display().to_string()
        }),
    );
    let mut checkpoints = if w.workflow.checkpoint {
        Some(Checkpointer::new(job, events)?)
    } else {
        None
    };
    sharpen_this_thread();
    let mut ctx = Surroundings {
        clock,
        cluster,
        activity: job.activity,
        events,
        histograms: &mut main_histograms,
        draws: &mut draws,
        digest: &mut digest,
        spin_ns: 0,
        done: (0, steps.train * w.train.epochs),
    };

    let cpu_start = process_cpu_ns();
    let mut cpu_between = 0;
    let mut record = RankRecord {
        rank,
        ..RankRecord::default()
    };
    let mut next_eval = w.evaluation.eval_after_epoch;
    let mut next_checkpoint = w.checkpoint.checkpoint_after_epoch;
    // Zero counts as step mode and never comes.
    let steps_between = u64::try_from(w.checkpoint.steps_between_checkpoints).ok();
    for epoch in 1..=w.train.epochs {
        let mut works = Vec::with_capacity(2);
        let aside = process_cpu_ns();
        for (split, order) in [Split::Train, Split::Valid].into_iter().zip(&mut orders) {
            reshard(cluster, order, epoch);
            works.push(Arc::new(EpochWork {
                reading: reading.clone(),
                split,
                epoch,
                order: order.epoch(epoch),
            }));
        }
        ctx.activity.enter(Phase::DropCache, epoch, 0);
        let eval_now = does_eval && epoch >= next_eval;
        let dropped = drop_caches(job, &*storage, &works[0], steps.train).and_then(|()| {
            if eval_now {
                drop_caches(job, &*storage, &works[1], steps.eval)
            } else {
                Ok(())
            }
        });
        agree(cluster, dropped)?;
        cpu_between += process_cpu_ns() - aside;
        cluster.barrier();

        let span = Span {
            epoch,
            epochs: w.train.epochs,
            steps: steps.train,
            next_step: 1,
            pause_after: steps_between.filter(|_| checkpoints.is_some()),
        };
        let bytes_before =
            sources.train.totals().bytes + sources.eval.as_ref().map_or(0, |e| e.totals().bytes);
        let device_before = device_bytes();
        let mut row = EpochRecord {
            epoch,
            start: label(),
            ..EpochRecord::default()
        };
        ctx.events.emit(Event::EpochStarted {
            epoch,
            steps: steps.train,
            overridden: steps.overridden,
        });
        let started = clock.now_ns();
        sources.train.start(works[0].clone());
        let mut span = span;
        let mut number = 1;
        let last = loop {
            let block = number;
            ctx.events.emit(Event::BlockStarted { epoch, block });
            let ended = train_block(
                &mut ctx,
                &mut *sources.train,
                span,
                &w.train.computation_time,
            );
            // Every rank is due for a checkpoint at the same step.
            let (record, saver) = match (ended, &mut checkpoints) {
                (Ok((record, true)), Some(saver)) => (record, saver),
                (ended, _) => break ended.map(|(record, _)| record),
            };
            span.next_step += record.steps.len() as u64;
            ctx.events.emit(Event::BlockEnded {
                epoch,
                block,
                record: record.clone(),
            });
            row.blocks.push(record);
            let aside = process_cpu_ns();
            let step = span.next_step - 1;
            let moment = Moment {
                epoch,
                step,
                number,
                taken: step,
            };
            saver.save(ctx.events, moment)?;
            cpu_between += process_cpu_ns() - aside;
            span.pause_after = span.pause_after.zip(steps_between).map(|(at, n)| at + n);
            number += 1;
        };
        // From here on this rank has nothing of its own to wait for.
        ctx.activity.enter(Phase::Barrier, epoch, steps.train);
        let stopped = sources.train.stop().map_err(RankError::from);
        let last = agree(cluster, last.and_then(|block| stopped.map(|()| block)))?;
        let done = span.next_step - 1 + last.steps.len() as u64;
        ctx.events.emit(Event::BlockEnded {
            epoch,
            block: number,
            record: last.clone(),
        });
        row.blocks.push(last);
        if let Some(saver) = &mut checkpoints
            && steps_between.is_none()
            && epoch == next_checkpoint
        {
            next_checkpoint += w.checkpoint.epochs_between_checkpoints;
            let aside = process_cpu_ns();
            let moment = Moment {
                epoch,
                step: done + 1,
                number,
                taken: done,
            };
            saver.save(ctx.events, moment)?;
            cpu_between += process_cpu_ns() - aside;
        }
        row.train_ns = clock.now_ns() - started;
        ctx.events.emit(Event::EpochEnded {
            epoch,
            steps: done,
            elapsed_s: row.train_ns as f64 / 1e9,
        });
        if eval_now && let Some(source) = &mut sources.eval {
            next_eval += w.evaluation.epochs_between_evals;
            ctx.events.emit(Event::EvalStarted {
                epoch,
                steps: steps.eval,
            });
            source.start(works[1].clone());
            let span = Span {
                steps: steps.eval,
                next_step: 1,
                pause_after: None,
                ..span
            };
            let eval = evaluate(&mut ctx, &mut **source, span, &w.evaluation.eval_time);
            let stopped = source.stop().map_err(RankError::from);
            ctx.activity.enter(Phase::Barrier, epoch, steps.eval);
            let eval = agree(cluster, eval.and_then(|eval| stopped.map(|()| eval)))?;
            ctx.events.emit(Event::EvalEnded {
                epoch,
                record: eval.clone(),
            });
            row.eval = Some(eval);
        }
        row.end = label();
        row.host_meminfo = read_meminfo();
        let bytes_after =
            sources.train.totals().bytes + sources.eval.as_ref().map_or(0, |e| e.totals().bytes);
        row.bytes_read = bytes_after - bytes_before;
        row.bytes_from_device = device_before
            .zip(device_bytes())
            .map(|(before, after)| after.saturating_sub(before));
        record.epochs.push(row);
    }
    ctx.activity
        .enter(Phase::Report, w.train.epochs, steps.train);
    let spin_ns = ctx.spin_ns;
    let totals = [Some(&sources.train), sources.eval.as_ref()]
        .into_iter()
        .flatten()
        .map(|s| s.totals());
    for t in totals {
        record.counters.bytes_read += t.bytes;
        record.counters.reads += t.calls;
        record.counters.samples += t.samples;
        record.counters.retries += t.retries;
    }
    record.counters.samples_dropped_per_epoch = steps.dropped;
    record.counters.cpu_ns = process_cpu_ns()
        .saturating_sub(cpu_start)
        .saturating_sub(cpu_between);
    record.counters.spin_ns = spin_ns;
    record.object_store = storage.telemetry();
    record.order_digest = digest.finish();
    drop(sources);
    if let Some(saver) = checkpoints {
        let (log, stages) = saver.finish();
        record.checkpoints = log;
        main_histograms.merge(&stages);
    }
    for thread in &histograms {
        main_histograms.merge(&thread.lock());
    }
    Ok(Measured {
        record,
        histograms: main_histograms,
    })
}

/// Exchanges files between ranks where the order wants it; every rank takes part.
fn reshard(cluster: &dyn Cluster, order: &mut ShardOrder, epoch: u64) {
    let Some(parts) = order.reshard_split(epoch) else {
        return;
    };
    let bytes = parts
        .iter()
        .map(|part| part.iter().flat_map(|i| i.to_le_bytes()).collect())
        .collect();
    let received = cluster.all_to_all(bytes);
    let received = received
        .iter()
        .map(|part| {
            part.chunks_exact(4)
                .map(|b| u32::from_le_bytes(b.try_into().expect("chunks of 4")))
                .collect()
        })
        .collect();
    order.reshard_merge(epoch, received);
}

fn make_sources(
    job: &JobContext,
    events: &mut Events,
    storage: &Arc<dyn Storage>,
    histograms: &[Arc<Mutex<StageHistograms>>],
    virtual_clock: Option<Rc<VirtualClock>>,
    does_eval: bool,
) -> Result<Sources, RankError> {
    let shape = job.shape();
    if let Some(clock) = virtual_clock {
        let mut law = ModelLaw::new(job.workload);
        // Virtual clocks of different ranks do not share a link moment by moment: each gets its part of it.
        law.bandwidth /= job.cluster.local_size() as f64;
        let make = || -> Box<dyn BatchSource> {
            Box::new(SimulatedLoader::new(shape, law, clock.clone()))
        };
        return Ok(Sources {
            train: make(),
            eval: does_eval.then(make),
        });
    }
    let transfer = storage.transfer(job.workload.reader.transfer_size);
    let bound = host::affinity_count();
    if bound < job.node_cpus && bound < shape.threads + 1 {
        events.emit(Event::Info(format!(
            "the launcher bound this rank to {bound} of {} CPUs; reader threads use all of them",
            job.node_cpus
        )));
    }
    events.emit(Event::Info(format!(
        "reader memory per rank: {} thread(s) x {transfer} bytes of transfer = {:.1} MiB",
        shape.threads,
        (shape.threads * transfer) as f64 / 1048576.0
    )));
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
    })
}

/// Empties the page cache of what this epoch will read, as the workload says.
///
/// Errors: `system` where the kernel does not permit it.
fn drop_caches(
    job: &JobContext,
    storage: &dyn Storage,
    work: &EpochWork,
    steps: u64,
) -> Result<(), RankError> {
    let kind = job.workload.storage_type_effective();
    let is_cached = matches!(
        kind,
        StorageType::LocalFs | StorageType::Mmap | StorageType::DirectFs
    );
    match job.workload.reader.drop_cache {
        _ if !is_cached => Ok(()),
        DropCache::None => Ok(()),
        DropCache::System if job.cluster.local_rank() > 0 => Ok(()),
        DropCache::System => drop_system_cache(),
        DropCache::Fadvise => {
            let mut path = PathBuf::new();
            let mut runs = Vec::new();
            let mut last = None;
            for batch in 0..work.batches().min(steps) {
                runs.clear();
                work.batch(batch, &mut runs);
                for run in &runs {
                    if last.replace(run.file) != Some(run.file) {
                        work.path_of(run, &mut path);
                        storage.evict(&path)?;
                        job.activity.moved();
                    }
                }
            }
            Ok(())
        }
    }
}

/// DLIO's variable: seconds that emptying the page cache may take.
const DROP_TIMEOUT: &str = "DLIO_DROP_CACHES_TIMEOUT";

/// The seconds of `DLIO_DROP_CACHES_TIMEOUT`, at least 1; None where it is not set.
///
/// Errors: it is no whole number.
pub fn drop_timeout() -> Result<Option<Duration>, String> {
    let Ok(text) = std::env::var(DROP_TIMEOUT) else {
        return Ok(None);
    };
    match text.trim() {
        "" => Ok(None),
        seconds => match seconds.parse::<u64>() {
            Ok(n) => Ok(Some(Duration::from_secs(n.max(1)))),
            Err(_) => Err(format!(
                "environment variable {DROP_TIMEOUT}: {text:?} is no whole number of seconds\n  remedy: set it to one, such as 300, or unset it"
            )),
        },
    }
}

/// Empties the page cache of this node, within [`drop_timeout`].
pub(super) fn drop_system_cache() -> Result<(), RankError> {
    let limit = drop_timeout().map_err(RankError::Dataset)?;
    let (tell, told) = std::sync::mpsc::channel();
    // Writing back terabytes takes minutes and cannot be interrupted.
    std::thread::spawn(move || {
        // SAFETY: sync takes no argument and only writes back.
        unsafe { libc::sync() };
        let _ = tell.send(std::fs::write("/proc/sys/vm/drop_caches", "3"));
    });
    let failed = |what: String, remedy: &str| {
        RankError::Dataset(format!(
            "drop the page cache through /proc/sys/vm/drop_caches: {what}\n  remedy: {remedy}, or set reader.drop_cache=fadvise"
        ))
    };
    let written = match limit {
        None => told.recv().map_err(|_| RecvTimeoutError::Disconnected),
        Some(limit) => told.recv_timeout(limit),
    };
    match written {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(failed(e.to_string(), "run as root")),
        Err(_) => Err(failed(
            format!(
                "not done after the {} s of {DROP_TIMEOUT}",
                limit.unwrap_or_default().as_secs()
            ),
            "raise that variable",
        )),
    }
}

/// Bytes that the kernel fetched from devices for this process; None where it does not say.
pub(super) fn device_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/io").ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("read_bytes: ")?.trim().parse().ok())
}
