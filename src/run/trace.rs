//! The trace of chosen ranks, as a file that rank 0 writes.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::context::JobContext;
use super::failure::{RankError, Result, agree};
use super::request::TraceRequest;
use crate::clock::now_ns;
use crate::metrics::trace::{self, Tracer};
use crate::report::ReportError;

/// The file, on rank 0.
pub(super) struct Tracing {
    file: File,
    path: PathBuf,
}

impl Tracing {
    /// From here on the chosen ranks are traced. The file is made now, so that one that cannot be is known before the run.
    pub(super) fn start(
        job: &mut JobContext,
        request: &TraceRequest,
    ) -> Result<Option<Tracing>, RankError> {
        let cluster = job.cluster;
        if let Some(rank) = request.ranks.iter().find(|rank| **rank >= cluster.size()) {
            return Err(RankError::Dataset(format!(
                "trace rank {rank}: the job has {} rank(s), from 0 on\n  remedy: choose others with --trace-ranks",
                cluster.size()
            )));
        }
        if request.ranks.contains(&cluster.rank()) {
            begin(job, request.ranks.len());
        }
        if cluster.rank() > 0 {
            return Ok(None);
        }
        let path = request.file.clone();
        let _task = job.doing("create", &path);
        let file = File::create(&path).map_err(ReportError::writing(&path))?;
        Ok(Some(Tracing { file, path }))
    }
}

/// From here on this rank, one of `traced`, keeps single steps and calls.
pub(super) fn begin(job: &mut JobContext, traced: usize) {
    // The same beginning as the recording's, where there is one.
    let zero_ns = match (&job.gauges, job.options.virtual_time) {
        (Some(gauges), _) => gauges.zero_ns(),
        (None, true) => 0,
        (None, false) => now_ns(),
    };
    (job.tracer).get_or_insert_with(|| Arc::new(Tracer::new(zero_ns, traced)));
}

/// Writes what the chosen ranks have kept. A collective.
pub(super) fn finish(
    job: &JobContext,
    request: Option<&TraceRequest>,
    tracing: Option<Tracing>,
) -> Result<()> {
    let cluster = job.cluster;
    let Some(request) = request else {
        return Ok(());
    };
    let rank = cluster.rank();
    let host = &cluster.host_names()[cluster.node_of_rank()[rank]];
    let own = (job.tracer.as_ref())
        .filter(|_| request.ranks.contains(&rank))
        .map_or(String::new(), |t| t.to_json(rank, host));
    let written = match (cluster.gather(own.as_bytes()), tracing) {
        (Some(ranks), Some(Tracing { file, path })) => {
            let _task = job.doing("write", &path);
            let is_packed = path.extension().is_some_and(|e| e == "gz");
            trace::write(&file, is_packed, &ranks)
                .and_then(|()| crate::storage::close(file))
                .map_err(|e| ReportError::writing(&path)(e).into())
        }
        _ => Ok(()),
    };
    agree(cluster, written)
}
