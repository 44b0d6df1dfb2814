//! From every rank's record to one summary of the job.
//!
//! AU and throughput are added over ranks by reductions, as DLIO does; histograms bucket by bucket;
//! one small blob per rank is gathered for the tables. No rank needs a shared file system.

mod summarize;

use serde::{Deserialize, Serialize};

use self::summarize::summarize;
use super::au::{block_au, epoch_au, mean_and_std};
use super::breakdown::Breakdown;
use super::checkpoint;
use super::evidence;
use super::histogram::StageHistograms;
use super::record::RankRecord;
use super::spec::MetricSpec;
use super::summary::{JobSummary, RankSummary};
use super::throughput::{epoch_throughput, eval_throughput};
use crate::cluster::Cluster;
use crate::host::cgroup::{Limits, Pressure};
use crate::host::facts::HostFacts;
use crate::host::witness::Medium;
use crate::stage::Stage;

/// Why a reduction could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReduceError {
    /// The ranks disagree on the shape of the run.
    #[error(
        "reduce metrics: ranks disagree on the number of {what} ({min} to {max}); a rank left the train loop early, look for its error"
    )]
    Unequal {
        what: &'static str,
        min: u64,
        max: u64,
    },
    /// A rank's gathered facts could not be read.
    #[error(
        "reduce metrics: the facts sent by rank {rank} are not readable: {source}; all ranks must run the same binary"
    )]
    Blob {
        rank: usize,
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Blob {
    summary: RankSummary,
    /// From the first rank of each node.
    host: Option<HostPart>,
    eval: Vec<(f64, f64)>,
}

/// What the first rank of a host says of it.
#[derive(Clone, Default, Serialize, Deserialize)]
struct HostPart {
    facts: HostFacts,
    medium: Medium,
    limits: Limits,
    pressure: Pressure,
}

/// Lines of evidence that are kept one by one.
pub const EVIDENCE_LINES: usize = 16_384;

/// Facts that the record does not hold.
pub struct ReduceInput<'a> {
    pub record: &'a RankRecord,
    pub histograms: &'a StageHistograms,
    /// What the formulas need of the workload.
    pub spec: &'a MetricSpec,
    /// This rank's host; used from the first rank of each node.
    pub host: &'a HostFacts,
    /// What this rank's container or batch system lets it have.
    pub limits: &'a Limits,
    /// What this rank was expected to hold, bytes.
    pub planned_bytes: u64,
    /// Whether the kernel's device counter means anything for the checkpoint folder.
    pub checkpoint_device_counter_valid: bool,
    /// Combines all ranks' order digests in rank order.
    pub combine_digests: fn(&[u64]) -> u64,
}

/// Reduces all ranks' measurements; collective. The summary is returned on rank 0 only.
///
/// Errors: [`ReduceError`] when ranks did different numbers of epochs (on every rank), or when a
/// rank's blob cannot be read (rank 0).
pub fn reduce(
    cluster: &dyn Cluster,
    input: &ReduceInput<'_>,
) -> Result<Option<JobSummary>, ReduceError> {
    let (record, spec) = (input.record, input.spec);
    let formula = spec.formula;
    let evals = own_evals(record, spec);
    equal_on_all_ranks(cluster, "epochs", record.epochs.len())?;
    equal_on_all_ranks(cluster, "evaluations", evals.len())?;

    let (window, batch) = (spec.train, spec.batch_size);
    let blocks = || record.epochs.iter().map(|e| &e.blocks);
    let own = Own {
        au: blocks().map(|b| epoch_au(formula, b, window)).collect(),
        throughput: blocks()
            .map(|b| epoch_throughput(formula, b, window, batch))
            .collect(),
        breakdowns: blocks().map(|b| Breakdown::of_epoch(b, window)).collect(),
        evals,
    };
    let sums = Sums::over_ranks(cluster, input, &own);

    let mut dense = input.histograms.to_dense();
    cluster.sum_u64(&mut dense);
    let mut maxima = input.histograms.maxima();
    cluster.max_u64(&mut maxima);

    let checkpoint = spec.checkpoints.then(|| {
        checkpoint::reduce(
            cluster,
            &record.checkpoints,
            input.checkpoint_device_counter_valid,
        )
    });

    let blob = Blob {
        summary: own_summary(cluster, input, &own),
        host: (cluster.local_rank() == 0).then(|| HostPart {
            facts: input.host.clone(),
            medium: record.medium.clone(),
            limits: input.limits.clone(),
            pressure: record.pressure,
        }),
        eval: own.evals,
    };
    let bytes = serde_json::to_vec(&blob).expect("plain numbers and strings always serialize");
    let Some(gathered) = cluster.gather(&bytes) else {
        return Ok(None);
    };
    let blobs = gathered
        .iter()
        .enumerate()
        .map(|(rank, b)| {
            serde_json::from_slice::<Blob>(b).map_err(|source| ReduceError::Blob { rank, source })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let histograms = StageHistograms::from_dense(&dense, &maxima)
        .expect("a sum over ranks has the length of this rank's own vector");
    let mut summary = summarize(cluster, input, &sums, blobs, histograms);
    summary.checkpoint = checkpoint;
    Ok(Some(summary))
}

/// This rank's figures per epoch.
struct Own {
    au: Vec<f64>,
    throughput: Vec<f64>,
    breakdowns: Vec<Breakdown>,
    /// AU and throughput per evaluation.
    evals: Vec<(f64, f64)>,
}

fn own_summary(cluster: &dyn Cluster, input: &ReduceInput<'_>, own: &Own) -> RankSummary {
    let (record, rank) = (input.record, cluster.rank());
    RankSummary {
        rank,
        host: cluster.node_of_rank().get(rank).copied().unwrap_or(0),
        au_percent: mean_and_std(&own.au).unwrap_or_default().0,
        throughput: mean_and_std(&own.throughput).unwrap_or_default().0,
        breakdown: Breakdown::of_epochs(own.breakdowns.iter()),
        counters: record.counters,
        object_store: record.object_store.clone(),
        order_digest: record.order_digest,
        checkpoint_stages: (input.histograms.summaries().into_iter())
            .filter(|s| Stage::OF_RANKS.contains(&s.stage))
            .collect(),
    }
}

fn equal_on_all_ranks(
    cluster: &dyn Cluster,
    what: &'static str,
    n: usize,
) -> Result<(), ReduceError> {
    let (mut min, mut max) = ([n as u64], [n as u64]);
    cluster.min_u64(&mut min);
    cluster.max_u64(&mut max);
    if min == max {
        return Ok(());
    }
    Err(ReduceError::Unequal {
        what,
        min: min[0],
        max: max[0],
    })
}

/// AU (percent) and throughput of this rank's evaluations.
fn own_evals(record: &RankRecord, spec: &MetricSpec) -> Vec<(f64, f64)> {
    let evaluations = record.epochs.iter().filter_map(|e| e.eval.as_ref());
    let au = |b| block_au(spec.formula, b, spec.eval);
    let of = |b| (au(b), eval_throughput(b, spec.batch_size_eval));
    evaluations.map(of).collect()
}

/// What reductions give per epoch.
struct Sums {
    au: Vec<f64>,
    throughput: Vec<f64>,
    eval: Vec<f64>,
    /// Per epoch: [`Counts`] of all hosts together, then of each host, where there are as many.
    words: Vec<u64>,
    /// Hosts that `words` has one by one.
    hosts: usize,
    planned_bytes: u64,
    /// Per epoch: the values of a [`Breakdown`].
    breakdowns: Vec<f64>,
    train_ns: Vec<u64>,
}

const WORDS: usize = evidence::WORDS;

impl Sums {
    fn over_ranks(cluster: &dyn Cluster, input: &ReduceInput<'_>, own: &Own) -> Self {
        let (record, planned_bytes) = (input.record, input.planned_bytes);
        let breakdowns = own.breakdowns.iter().copied();
        let mut s = Sums {
            au: own.au.clone(),
            throughput: own.throughput.clone(),
            eval: own.evals.iter().flat_map(|(a, t)| [*a, *t]).collect(),
            words: Vec::new(),
            hosts: match cluster.host_names().len() {
                many if many * record.epochs.len() > EVIDENCE_LINES => 0,
                few => few,
            },
            planned_bytes,
            breakdowns: breakdowns.flat_map(Breakdown::to_array).collect(),
            train_ns: record.epochs.iter().map(|e| e.train_ns).collect(),
        };
        for e in &record.epochs {
            let own = e.counts.to_words();
            s.words.extend(own);
            for host in 0..s.hosts {
                let is_here = host == cluster.node_of_rank()[cluster.rank()];
                s.words.extend(if is_here { own } else { [0; WORDS] });
            }
        }
        cluster.sum_f64(&mut s.au);
        cluster.sum_f64(&mut s.throughput);
        cluster.sum_f64(&mut s.eval);
        cluster.sum_u64(&mut s.words);
        cluster.sum_f64(&mut s.breakdowns);
        cluster.max_u64(&mut s.train_ns);
        s.planned_bytes = cluster.largest(s.planned_bytes);
        s
    }
}

#[cfg(test)]
#[path = "reduce_tests.rs"]
mod tests;
