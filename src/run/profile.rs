//! DLIO's profilers: `iostat` watches block devices, `dftracer` keeps single steps and calls.

use std::time::{SystemTime, UNIX_EPOCH};

use super::context::JobContext;
use super::failure::RankError;
use super::request::JobRequest;
use super::trace;
use crate::clock::now_ns;
use crate::config::Profiler;
use crate::metrics::dftracer::{self, Process};
use crate::metrics::timeline::choose_devices;
use crate::report::rank_files::RankFiles;

/// Ranks that DFTracer's files are written of, at most.
const TRACED: usize = 64;

/// The ranks that are traced for DFTracer: all of them, or so many at equal distances.
fn traced(ranks: usize) -> Vec<usize> {
    let n = ranks.min(TRACED);
    (0..n).map(|i| i * ranks / n).collect()
}

/// Starts the profiler that the workload asks for.
///
/// Errors: nothing would be recorded, or a device is not there.
pub(super) fn start(job: &mut JobContext, request: &JobRequest) -> Result<(), RankError> {
    match request.profiler() {
        Profiler::Iostat => watch_devices(job, request).map_err(RankError::Dataset),
        Profiler::Dftracer => {
            let ranks = traced(job.cluster.size());
            if ranks.contains(&job.cluster.rank()) {
                trace::begin(job, ranks.len());
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Rank 0's host is watched, as in DLIO.
fn watch_devices(job: &JobContext, request: &JobRequest) -> Result<(), String> {
    let cannot = |why: &str, remedy: &str| {
        Err(format!(
            "profiling.profiler=iostat records into timeline.json.zst, and {why}\n  remedy: {remedy}"
        ))
    };
    if request.voice.as_dlio {
        return cannot(
            "under the name dlio_benchmark there is none",
            "set workflow.profiling=false, or start the job as dlio-rs run",
        );
    }
    if job.options.virtual_time {
        return cannot(
            "in virtual time devices do nothing",
            "set workflow.profiling=false, or leave --virtual-time out",
        );
    }
    let Some(gauges) = &job.gauges else {
        return cannot("output.timeline is false", "set output.timeline=true");
    };
    if job.cluster.rank() == 0 {
        let names = choose_devices(&job.workload.profiling.iostat_devices)?;
        gauges.watch_devices(&names);
    }
    Ok(())
}

/// Adds the file for DFTracer to those of a rank that was traced for it.
///
/// Errors: the encoder's.
pub(super) fn add_trace(
    job: &JobContext,
    request: &JobRequest,
    files: &mut RankFiles,
) -> Result<(), RankError> {
    let cluster = job.cluster;
    let (rank, ranks) = (cluster.rank(), cluster.size());
    let Some(tracer) = job
        .tracer
        .as_ref()
        .filter(|_| request.profiler() == Profiler::Dftracer && traced(ranks).contains(&rank))
    else {
        return Ok(());
    };
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_us = now.map_or(0, |d| d.as_micros() as u64);
    let since_start = match job.options.virtual_time {
        true => 0,
        false => now_ns().saturating_sub(tracer.zero_ns()) / 1_000,
    };
    let of = Process {
        rank,
        ranks,
        host: &cluster.host_names()[cluster.node_of_rank()[rank]],
        start_us: now_us.saturating_sub(since_start),
        reads_by_posix: job.workload.storage_system().opens_by_path,
    };
    let bytes = dftracer::to_bytes(tracer, &of)
        .map_err(|e| RankError::Dataset(format!("compress {}: {e}", of.file_name())))?;
    files.add(of.file_name(), bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_ranks_are_traced_at_equal_distances() {
        assert_eq!(traced(3), [0, 1, 2]);
        let some = traced(4096);
        assert_eq!((some.len(), some[0], some[1], some[63]), (64, 0, 64, 4032));
        assert_eq!(traced(65).len(), 64);
    }
}
