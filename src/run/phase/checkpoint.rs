//! A job that saves and loads checkpoints and does nothing else.
//!
//! Source: DLIO `main.py::_checkpoint_write` and `_checkpoint_read`.

use std::process::{Command, Stdio};
use std::time::Duration;

use super::Measured;
use crate::clock::{now_ns, pause, process_cpu_ns};
use crate::config::DropCache;
use crate::loader::Phase;
use crate::metrics::checkpoint::CheckpointKind;
use crate::metrics::record::RankRecord;
use crate::metrics::timeline::{Column, Recorded, Recorder};
use crate::report::Event;
use crate::run::caches::drop_system_cache;
use crate::run::checkpoint_watch::FileNames;
use crate::run::checkpointer::{Checkpointer, Moment};
use crate::run::context::{JobContext, label};
use crate::run::events::Events;
use crate::run::failure::{RankError, Result, agree};
use crate::run::memory;

/// All its checkpoints are of this epoch.
const EPOCH: u64 = 1;

/// Saves, then loads. A collective; the record is this rank's.
pub fn run(job: &JobContext, events: &mut Events) -> Result<Measured> {
    let mut phase = Checkpoints::prepare(job, events)?;
    phase.save_all(events)?;
    phase.load_all(events)?;
    Ok(phase.finish())
}

/// The checkpoints of a job that does nothing else, on this rank.
struct Checkpoints<'a> {
    job: &'a JobContext<'a>,
    checkpointer: Checkpointer<'a>,
    writes: u64,
    reads: u64,
    start: String,
    cpu_start: u64,
}

impl<'a> Checkpoints<'a> {
    fn prepare(job: &'a JobContext, events: &mut Events) -> Result<Self> {
        if let Some(names) = FileNames::new(job.workload, job.cluster.size()) {
            job.names.add(move |file| names.name(file));
        }
        let mut checkpointer = Checkpointer::new(job, events)?;
        let c = &job.workload.checkpoint;
        if c.num_checkpoints_write > 0 {
            let memory = memory::of_saving(checkpointer.save_memory());
            agree(job.cluster, memory::check(job, &memory))?;
            checkpointer.claim(events)?;
        }
        let cpu_start = process_cpu_ns();
        if let Some(gauges) = &job.gauges {
            gauges.begin(Column::Cpu, Some(cpu_start));
        }
        Ok(Checkpoints {
            job,
            checkpointer,
            writes: u64::try_from(c.num_checkpoints_write).unwrap_or(0),
            reads: u64::try_from(c.num_checkpoints_read).unwrap_or(0),
            start: label(),
            cpu_start,
        })
    }

    fn save_all(&mut self, events: &mut Events) -> Result<()> {
        if self.writes == 0 {
            return Ok(());
        }
        let kind = CheckpointKind::Save;
        events.emit(Event::CheckpointsStarted { kind });
        for step in 1..=self.writes {
            rest(self.job);
            self.checkpointer.save(events, moment(step, step))?;
        }
        events.emit(Event::CheckpointsEnded { kind });
        Ok(())
    }

    fn load_all(&mut self, events: &mut Events) -> Result<()> {
        if self.reads == 0 {
            return Ok(());
        }
        let (job, c) = (self.job, &self.job.workload.checkpoint);
        // With `keep` the first ones are gone: the newest are loaded.
        let first = match c.keep {
            Some(keep) if self.writes > keep => self.writes - self.reads + 1,
            _ => 1,
        };
        let moments: Vec<Moment> = (first..first + self.reads)
            .zip(1..)
            .map(|(step, number)| moment(step, number))
            .collect();
        self.checkpointer.check_loadable(&moments)?;
        job.activity.enter(Phase::DropCache, EPOCH, 0);
        match &c.between_phases {
            Some(command) => (self.checkpointer).set_between(between(job, events, command)?),
            None => {
                let emptied = empty_caches(job, &self.checkpointer, &moments);
                agree(job.cluster, emptied)?;
            }
        }
        let kind = CheckpointKind::Load;
        events.emit(Event::CheckpointsStarted { kind });
        for &moment in &moments {
            rest(job);
            self.checkpointer.load(events, moment)?;
        }
        events.emit(Event::CheckpointsEnded { kind });
        Ok(())
    }

    fn finish(self) -> Measured {
        self.job.activity.enter(Phase::Report, EPOCH, 0);
        let object_store = self.checkpointer.telemetry();
        let (mut checkpoints, histograms) = self.checkpointer.finish();
        checkpoints.span = Some((self.start, label()));
        let mut record = RankRecord {
            rank: self.job.cluster.rank(),
            checkpoints,
            object_store,
            ..RankRecord::default()
        };
        let cpu_ns = process_cpu_ns();
        record.counters.cpu_ns = cpu_ns.saturating_sub(self.cpu_start);
        let timeline = self.job.gauges.as_ref().map(|gauges| {
            gauges.end(Column::Cpu, Some(cpu_ns));
            let idle = Recorder::new(gauges.zero_ns());
            Recorded::new(record.rank, idle, gauges, |_| None)
        });
        Measured {
            record,
            histograms,
            planned_bytes: 0,
            timeline,
        }
    }
}

fn moment(step: u64, number: u64) -> Moment {
    Moment {
        epoch: EPOCH,
        step,
        number,
        taken: number,
    }
}

/// The pause before each checkpoint; DLIO takes the absolute value, so its default of -1 is a second.
fn rest(job: &JobContext) {
    let seconds = job.workload.checkpoint.time_between_checkpoints.abs();
    job.activity
        .busy_until(now_ns().saturating_add((seconds * 1e9) as u64));
    pause(Duration::from_secs_f64(seconds));
    job.activity.moved();
}

/// Runs the command on rank 0; the others wait. Its seconds, on rank 0.
fn between(job: &JobContext, events: &mut Events, command: &str) -> Result<f64> {
    let cluster = job.cluster;
    cluster.barrier();
    let start = now_ns();
    let outcome = if cluster.rank() == 0 {
        // As long as it takes: the command is the user's.
        job.activity.busy_until(u64::MAX);
        let _task = job.activity.task(&format!("run {command}"));
        let outcome = shell(command);
        job.activity.busy_until(0);
        outcome
    } else {
        Ok(())
    };
    agree(cluster, outcome)?;
    let seconds = (now_ns() - start) as f64 / 1e9;
    events.emit(Event::Info(format!(
        "checkpoint.between_phases took {seconds:.3} s: {command}"
    )));
    Ok(seconds)
}

fn shell(command: &str) -> Result<(), RankError> {
    let failed = |cause: String| {
        RankError::Dataset(format!(
            "run checkpoint.between_phases '{command}': {cause}\n  remedy: the command must end with status 0; try it in a shell on rank 0's host"
        ))
    };
    // Its output would mix with the report.
    let out = Command::new("sh")
        .args(["-c", command])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| failed(e.to_string()))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    Err(failed(format!("{}: {}", out.status, said.trim())))
}

/// Without a command, the page cache is emptied as `reader.drop_cache` says.
fn empty_caches(
    job: &JobContext,
    checkpointer: &Checkpointer,
    moments: &[Moment],
) -> Result<(), RankError> {
    match job.workload.reader.drop_cache {
        _ if !checkpointer.storage().system().opens_by_path => Ok(()),
        DropCache::None => Ok(()),
        DropCache::System if job.cluster.local_rank() > 0 => Ok(()),
        DropCache::System => drop_system_cache(job),
        // Checkpoints are written and read through the page cache whatever the readers of samples do.
        DropCache::Fadvise | DropCache::DontCache => checkpointer.evict(moments),
    }
}
