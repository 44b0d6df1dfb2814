//! What a trial measured, as it is written down.

use super::judge::AuJudge;
use crate::metrics::checkpoint::CheckpointPhase;
use crate::metrics::sequential::Outcome;
use crate::metrics::summary::{HostSummary, JobSummary};
use crate::report::find::{Trial, limit_of, lost};
use crate::run::context::JobContext;
use crate::util::units::gib;

pub(super) fn of_training(number: u64, job: &JobContext, s: &JobSummary, judge: &AuJudge) -> Trial {
    let (cluster, reader) = (job.cluster, &job.workload.reader);
    let look = judge.seen;
    let seconds = judge.elapsed_ns as f64 / 1e9;
    let train_s: f64 = s.epochs.iter().map(|epoch| epoch.train_s).sum();
    let samples = cluster.size() as f64 * reader.batch_size as f64;
    Trial {
        outcome: Some(look.map_or(Outcome::Undecided, |look| look.outcome)),
        au_percent: look.map(|look| look.au),
        au_interval_percent: look.and_then(|look| look.interval),
        warm_up_steps: look.map_or(0, |look| look.warm_up),
        steps: look.map_or(0, |look| look.steps),
        samples_per_second: (look.filter(|look| look.step_s > 0.0))
            .map(|look| samples / look.step_s),
        gib_per_second: gib(s.counters.bytes_read as f64) / train_s.max(1e-9),
        lost_percent: lost(&s.breakdown),
        limit: limit_of(s, train_s),
        ..trial_of(number, job, s, seconds)
    }
}

pub(super) fn of_checkpoints(number: u64, job: &JobContext, s: &JobSummary, seconds: f64) -> Trial {
    let phase = |phase: &Option<CheckpointPhase>| phase.as_ref().map(|p| p.slowest_gib.mean);
    let (save, load) = match &s.checkpoint {
        Some(checkpoint) => (phase(&checkpoint.save), phase(&checkpoint.load)),
        None => (None, None),
    };
    Trial {
        gib_per_second: save.or(load).unwrap_or(0.0),
        load_gib_per_second: save.and(load),
        ..trial_of(number, job, s, seconds)
    }
}

fn trial_of(number: u64, job: &JobContext, s: &JobSummary, seconds: f64) -> Trial {
    let cpus_of = |host: &HostSummary| {
        let online = host.facts.cpu_count as f64;
        host.limits
            .cpu_quota
            .map_or(online, |quota| quota.min(online))
    };
    let cpus: f64 = s.hosts.iter().map(cpus_of).sum();
    let busy = match job.options.virtual_time {
        true => 0.0,
        false => 100.0 * s.counters.cpu_ns as f64 / 1e9 / (seconds * cpus).max(1e-9),
    };
    Trial {
        number,
        ranks: job.cluster.size(),
        hosts: job.cluster.host_names().len(),
        read_threads: job.workload.reader.threads(),
        outcome: None,
        au_percent: None,
        au_interval_percent: None,
        warm_up_steps: 0,
        steps: 0,
        seconds,
        samples_per_second: None,
        gib_per_second: 0.0,
        load_gib_per_second: None,
        cpu_busy_percent: busy.min(100.0),
        lost_percent: Default::default(),
        limit: None,
    }
}
