//! From every rank's record to one summary of the job.
//!
//! AU and throughput are added over ranks by reductions, as DLIO does; histograms bucket by bucket;
//! one small blob per rank is gathered for the tables. No rank needs a shared file system.

use serde::{Deserialize, Serialize};

use super::au::{au_storage, block_au, epoch_au, mean_and_std};
use super::breakdown::{Breakdown, Line, VALUES};
use super::checkpoint::{self, CheckpointSummary};
use super::histogram::{StageHistograms, StageSummary};
use super::record::{Counters, RankRecord};
use super::spec::MetricSpec;
use super::throughput::{epoch_throughput, eval_throughput};
use crate::cluster::Cluster;
use crate::config::MetricFormula;
use crate::host::facts::HostFacts;
use crate::stage::Stage;
use crate::storage::Telemetry;
use crate::util::units::gib;

/// Why a reduction could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReduceError {
    /// The ranks disagree on the shape of the run.
    #[error(
        "reduce metrics: ranks disagree on the number of {what} ({min} to {max}); a rank left the train loop early, look for its error"
    )]
    Unequal {
        /// Epochs or evaluations.
        what: &'static str,
        /// Fewest on any rank.
        min: u64,
        /// Most on any rank.
        max: u64,
    },
    /// A rank's gathered facts could not be read.
    #[error(
        "reduce metrics: the facts sent by rank {rank} are not readable: {source}; all ranks must run the same binary"
    )]
    Blob {
        /// Which rank.
        rank: usize,
        /// Cause.
        source: serde_json::Error,
    },
}

/// Where the bytes of an epoch came from, judged by the kernel's own count of device reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum ServedByStorage {
    /// Devices delivered at least 90 % of the bytes.
    Pass,
    /// Between 10 % and 90 %.
    Suspect,
    /// Below 10 %: the page cache answered.
    Cached,
    /// The kernel's count is unreadable or means nothing here (network file systems, object stores, null, model).
    Unknown,
}

/// Verdict for `device` of `read` bytes; `device` is None when the counter is unreadable or meaningless.
pub fn served_by_storage(read: u64, device: Option<u64>) -> ServedByStorage {
    match device {
        Some(device) if read > 0 => match device as f64 / read as f64 {
            r if r >= 0.9 => ServedByStorage::Pass,
            r if r >= 0.1 => ServedByStorage::Suspect,
            _ => ServedByStorage::Cached,
        },
        _ => ServedByStorage::Unknown,
    }
}

/// A value per epoch with numpy's mean and population standard deviation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// In order of epochs.
    pub values: Vec<f64>,
    /// 0 when there are no values.
    pub mean: f64,
    /// Population standard deviation; 0 when there are no values.
    pub stdev: f64,
}

impl Series {
    /// Of these values.
    pub fn new(values: Vec<f64>) -> Self {
        let (mean, stdev) = mean_and_std(&values).unwrap_or_default();
        Series {
            values,
            mean,
            stdev,
        }
    }
}

/// AU and throughput of training or of evaluation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// Percent, per epoch or evaluation.
    pub au_percent: Series,
    /// Samples per second of all ranks, per epoch or evaluation.
    pub throughput: Series,
    /// Whether the mean AU reaches `metric.au`.
    pub meets_expectation: bool,
}

/// One epoch of the whole job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochSummary {
    /// From 1.
    pub epoch: u64,
    /// Training steps of rank 0.
    pub steps: u64,
    /// Seconds of training, the slowest rank's.
    pub train_s: f64,
    /// DLIO's AU, percent.
    pub au_percent: f64,
    /// AU by the configured computation instead of the measured one, percent.
    pub au_nominal_percent: f64,
    /// AU if everything but the storage system cost nothing, percent.
    pub au_storage_percent: Option<f64>,
    /// Samples per second, all ranks.
    pub throughput: f64,
    /// Bytes given to readers, all ranks, evaluation included.
    pub bytes_read: u64,
    /// Bytes that the kernel fetched from devices; None when unreadable on a rank.
    pub bytes_from_device: Option<u64>,
    /// Verdict from the two.
    pub served_by_storage: ServedByStorage,
    /// Mean per rank.
    pub breakdown: Breakdown,
}

/// One rank's own figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankSummary {
    /// Which rank.
    pub rank: usize,
    /// Index into the host table.
    pub host: usize,
    /// Mean of its epochs' AU, percent.
    pub au_percent: f64,
    /// Mean of its epochs' throughput, samples per second.
    pub throughput: f64,
    /// Of its epochs.
    pub breakdown: Breakdown,
    /// Counters of this rank alone.
    pub counters: Counters,
    /// Requests and connections of this rank, where the storage system has them.
    pub object_store: Option<Telemetry>,
    /// Digest of the samples that it read, in order.
    pub order_digest: u64,
    /// Percentiles of the stages of checkpoints with counts.
    pub checkpoint_stages: Vec<StageSummary>,
}

/// Smallest, median and largest value over ranks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// Smallest.
    pub min: f64,
    /// Median: the mean of the middle two when their number is even.
    pub median: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Of these values; zeros when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut v: Vec<f64> = values.into_iter().collect();
        v.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (v.first(), v.last()) else {
            return Spread::default();
        };
        Spread {
            min: *min,
            median: (v[(v.len() - 1) / 2] + v[v.len() / 2]) / 2.0,
            max: *max,
        }
    }
}

/// How ranks differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spreads {
    /// AU, percent.
    pub au_percent: Spread,
    /// Bytes read.
    pub bytes_read: Spread,
    /// Seconds of waiting for batches.
    pub wait_s: Spread,
}

impl Spreads {
    fn of(ranks: &[&RankSummary]) -> Self {
        Spreads {
            au_percent: Spread::of(ranks.iter().map(|r| r.au_percent)),
            bytes_read: Spread::of(ranks.iter().map(|r| r.counters.bytes_read as f64)),
            wait_s: Spread::of(ranks.iter().map(|r| r.breakdown.seconds.wait())),
        }
    }
}

/// One host of the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostSummary {
    /// What Linux says about it.
    pub facts: HostFacts,
    /// Ranks on it.
    pub ranks: usize,
    /// How its ranks differ.
    pub spreads: Spreads,
}

/// Everything measured, for the whole job; exists on rank 0 only.
#[derive(Debug, Clone, Serialize)]
pub struct JobSummary {
    /// Ranks.
    pub ranks: usize,
    /// Whose formulas.
    pub formula: MetricFormula,
    /// Required AU, percent.
    pub au_expected_percent: f64,
    /// Bytes of a sample by DLIO's count.
    pub record_size_bytes: f64,
    /// DLIO's estimate of what one host reads per epoch, GiB.
    pub data_size_per_host_gib: f64,
    /// Present when the workflow trains.
    pub train: Option<PhaseSummary>,
    /// Present when the workflow evaluates. With `metric.formula: v2` the lists are DLIO's
    /// rank-major concatenation, AU divided by the number of ranks.
    pub eval: Option<PhaseSummary>,
    /// Present when the workflow saves or loads checkpoints.
    pub checkpoint: Option<CheckpointSummary>,
    /// AU by the configured computation instead of the measured one, percent; None without training.
    pub au_nominal_percent: Option<f64>,
    /// 100 * C / (C + wait for I/O and metadata) over the metric window of all ranks and epochs, percent.
    pub au_storage_percent: Option<f64>,
    /// Mean per rank.
    pub breakdown: Breakdown,
    /// Epochs in order.
    pub epochs: Vec<EpochSummary>,
    /// Percentiles of stages with counts.
    pub stages: Vec<StageSummary>,
    /// Summed over ranks; peak memory, dropped samples and generation time are maxima.
    pub counters: Counters,
    /// Requests and connections of all ranks, where the storage system has them.
    pub object_store: Option<Telemetry>,
    /// All ranks' digests combined in rank order.
    pub order_digest: u64,
    /// How ranks differ.
    pub spreads: Spreads,
    /// In order of nodes.
    pub hosts: Vec<HostSummary>,
    /// In order of ranks.
    pub rank_table: Vec<RankSummary>,
    /// The buckets behind `stages`.
    #[serde(skip)]
    pub histograms: StageHistograms,
}

impl JobSummary {
    /// Mean training throughput in bytes per second by DLIO's record size.
    pub fn train_bytes_per_second(&self) -> f64 {
        self.train
            .as_ref()
            .map_or(0.0, |t| t.throughput.mean * self.record_size_bytes)
    }

    /// What the user should know of computation that took longer than configured: oversleep of a busy client, which DLIO's
    /// AU counts as computation.
    pub fn oversleep_caution(&self) -> Option<String> {
        let over = self.breakdown.overshoot_of_nominal();
        (over > OVERSHOOT_LIMIT).then(|| {
            format!(
                "computation took {over:.1} % longer than configured, because the client was busy: AU is too high; by the configured time it is {:.2} %; give each rank more CPU",
                self.au_nominal_percent.unwrap_or(0.0)
            )
        })
    }

    /// CPU seconds of all ranks per GiB read, deadline spinning excluded; None when nothing was read.
    pub fn cpu_seconds_per_gib(&self) -> Option<f64> {
        let c = &self.counters;
        let read = gib(c.bytes_read as f64);
        (c.bytes_read > 0).then(|| c.cpu_ns.saturating_sub(c.spin_ns) as f64 / 1e9 / read)
    }
}

#[derive(Serialize, Deserialize)]
struct Blob {
    summary: RankSummary,
    /// From the first rank of each node.
    facts: Option<HostFacts>,
    eval: Vec<(f64, f64)>,
}

/// Facts that the record does not hold.
pub struct ReduceInput<'a> {
    /// This rank's record.
    pub record: &'a RankRecord,
    /// This rank's histograms.
    pub histograms: &'a StageHistograms,
    /// What the formulas need of the workload.
    pub spec: &'a MetricSpec,
    /// This rank's host; used from the first rank of each node.
    pub host: &'a HostFacts,
    /// Whether the kernel's device counter means anything for this storage system (local disks).
    pub device_counter_valid: bool,
    /// The same for the checkpoint folder.
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

    let own_au: Vec<f64> = record
        .epochs
        .iter()
        .map(|e| epoch_au(formula, &e.blocks, spec.train))
        .collect();
    let own_throughput: Vec<f64> = record
        .epochs
        .iter()
        .map(|e| epoch_throughput(formula, &e.blocks, spec.train, spec.batch_size))
        .collect();
    let breakdowns: Vec<Breakdown> = (record.epochs.iter())
        .map(|e| Breakdown::of_epoch(&e.blocks, spec.train))
        .collect();
    let sums = Sums::over_ranks(
        cluster,
        record,
        &breakdowns,
        &own_au,
        &own_throughput,
        &evals,
    );

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
        summary: RankSummary {
            rank: cluster.rank(),
            host: cluster
                .node_of_rank()
                .get(cluster.rank())
                .copied()
                .unwrap_or(0),
            au_percent: mean_and_std(&own_au).unwrap_or_default().0,
            throughput: mean_and_std(&own_throughput).unwrap_or_default().0,
            breakdown: Breakdown::of_epochs(breakdowns.iter()),
            counters: record.counters,
            object_store: record.object_store.clone(),
            order_digest: record.order_digest,
            checkpoint_stages: (input.histograms.summaries().into_iter())
                .filter(|s| Stage::OF_RANKS.contains(&s.stage))
                .collect(),
        },
        facts: (cluster.local_rank() == 0).then(|| input.host.clone()),
        eval: evals,
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
    (record.epochs.iter())
        .filter_map(|e| e.eval.as_ref())
        .map(|b| {
            (
                block_au(spec.formula, b, spec.eval),
                eval_throughput(b, spec.batch_size_eval),
            )
        })
        .collect()
}

/// What reductions give per epoch.
struct Sums {
    au: Vec<f64>,
    throughput: Vec<f64>,
    eval: Vec<f64>,
    /// Per epoch: bytes read, bytes from device, ranks with an unreadable device counter.
    words: Vec<u64>,
    /// Per epoch: the values of a [`Breakdown`].
    breakdowns: Vec<f64>,
    train_ns: Vec<u64>,
}

const WORDS: usize = 3;

/// Oversleep beyond this is a warning, percent of the configured computation.
const OVERSHOOT_LIMIT: f64 = 2.0;

impl Sums {
    fn over_ranks(
        cluster: &dyn Cluster,
        record: &RankRecord,
        breakdowns: &[Breakdown],
        au: &[f64],
        throughput: &[f64],
        evals: &[(f64, f64)],
    ) -> Self {
        let mut s = Sums {
            au: au.to_vec(),
            throughput: throughput.to_vec(),
            eval: evals.iter().flat_map(|(a, t)| [*a, *t]).collect(),
            words: Vec::new(),
            breakdowns: breakdowns.iter().flat_map(Breakdown::to_array).collect(),
            train_ns: record.epochs.iter().map(|e| e.train_ns).collect(),
        };
        for e in &record.epochs {
            s.words.extend([
                e.bytes_read,
                e.bytes_from_device.unwrap_or(0),
                u64::from(e.bytes_from_device.is_none()),
            ]);
        }
        cluster.sum_f64(&mut s.au);
        cluster.sum_f64(&mut s.throughput);
        cluster.sum_f64(&mut s.eval);
        cluster.sum_u64(&mut s.words);
        cluster.sum_f64(&mut s.breakdowns);
        cluster.max_u64(&mut s.train_ns);
        s
    }
}

fn summarize(
    cluster: &dyn Cluster,
    input: &ReduceInput<'_>,
    sums: &Sums,
    blobs: Vec<Blob>,
    histograms: StageHistograms,
) -> JobSummary {
    let spec = input.spec;
    let ranks = cluster.size();
    let expected = spec.au_expected_percent;
    let phase = |au: Vec<f64>, throughput: Vec<f64>| {
        let au_percent = Series::new(au);
        PhaseSummary {
            meets_expectation: !au_percent.values.is_empty() && au_percent.mean >= expected,
            au_percent,
            throughput: Series::new(throughput),
        }
    };
    let au: Vec<f64> = sums.au.iter().map(|a| a / ranks as f64).collect();
    let eval = match spec.formula {
        MetricFormula::V3 => phase(
            sums.eval
                .chunks_exact(2)
                .map(|c| c[0] / ranks as f64)
                .collect(),
            sums.eval.chunks_exact(2).map(|c| c[1]).collect(),
        ),
        // DLIO adds Python lists, which concatenates them in rank order.
        MetricFormula::V2 => phase(
            blobs
                .iter()
                .flat_map(|b| b.eval.iter().map(|(a, _)| a / ranks as f64))
                .collect(),
            blobs
                .iter()
                .flat_map(|b| b.eval.iter().map(|(_, t)| *t))
                .collect(),
        ),
    };
    let epochs = epochs_of(input, sums, &au, ranks);
    let mut breakdown = Breakdown::of_epochs(
        epochs
            .iter()
            .map(|e| &e.breakdown)
            .collect::<Vec<_>>()
            .into_iter(),
    );
    let train = spec
        .trains
        .then(|| phase(au.clone(), sums.throughput.clone()));
    if let Some(train) = &train {
        breakdown.percent[Line::Compute] = train.au_percent.mean;
    }
    let digests: Vec<u64> = blobs.iter().map(|b| b.summary.order_digest).collect();
    let facts: Vec<(usize, HostFacts)> = blobs
        .iter()
        .filter_map(|b| b.facts.clone().map(|f| (b.summary.host, f)))
        .collect();
    let rank_table: Vec<RankSummary> = blobs.into_iter().map(|b| b.summary).collect();
    let first_node = cluster.node_of_rank().first().copied().unwrap_or(0);
    let ppn = cluster
        .node_of_rank()
        .iter()
        .filter(|n| **n == first_node)
        .count();
    JobSummary {
        ranks,
        formula: spec.formula,
        au_expected_percent: expected,
        record_size_bytes: spec.record_size_bytes,
        data_size_per_host_gib: spec.data_size_per_host_gib(ppn, ranks),
        eval: spec.evaluates.then_some(eval),
        checkpoint: None,
        au_nominal_percent: (train.as_ref())
            .map(|train| train.au_percent.mean - breakdown.overshoot_percent),
        au_storage_percent: au_storage(
            breakdown.seconds[Line::Compute],
            breakdown.seconds.storage_wait(),
        ),
        train,
        breakdown,
        stages: histograms.summaries(),
        counters: total_counters(&rank_table),
        object_store: total_requests(&rank_table),
        order_digest: (input.combine_digests)(&digests),
        spreads: Spreads::of(&rank_table.iter().collect::<Vec<_>>()),
        hosts: hosts_of(cluster, facts, &rank_table),
        epochs,
        rank_table,
        histograms,
    }
}

fn epochs_of(input: &ReduceInput<'_>, sums: &Sums, au: &[f64], ranks: usize) -> Vec<EpochSummary> {
    input
        .record
        .epochs
        .iter()
        .enumerate()
        .map(|(i, e)| {
            let words = &sums.words[i * WORDS..(i + 1) * WORDS];
            let device = (words[2] == 0).then_some(words[1]);
            let breakdown =
                breakdown_of(&sums.breakdowns[i * VALUES..(i + 1) * VALUES], au[i], ranks);
            let judged = device.filter(|_| input.device_counter_valid);
            EpochSummary {
                epoch: e.epoch,
                steps: e.blocks.iter().map(|b| b.steps.len() as u64).sum(),
                train_s: sums.train_ns[i] as f64 / 1e9,
                au_percent: au[i],
                au_nominal_percent: au[i] - breakdown.overshoot_percent,
                au_storage_percent: au_storage(
                    breakdown.seconds[Line::Compute],
                    breakdown.seconds.storage_wait(),
                ),
                throughput: sums.throughput[i],
                bytes_read: words[0],
                bytes_from_device: device,
                served_by_storage: served_by_storage(words[0], judged),
                breakdown,
            }
        })
        .collect()
}

/// The mean per rank. The line `compute` is AU itself, to the last digit, whatever the order of two reductions.
fn breakdown_of(sums: &[f64], au: f64, ranks: usize) -> Breakdown {
    let sums = sums.try_into().expect("cut to this length");
    let mut out = Breakdown::mean_of(sums, ranks);
    out.percent[Line::Compute] = au;
    out
}

fn total_requests(ranks: &[RankSummary]) -> Option<Telemetry> {
    let mut all = ranks.iter().filter_map(|r| r.object_store.as_ref());
    let mut sum = all.next()?.clone();
    all.for_each(|other| sum.add(other));
    Some(sum)
}

fn total_counters(ranks: &[RankSummary]) -> Counters {
    let mut t = Counters::default();
    for c in ranks.iter().map(|r| &r.counters) {
        t.bytes_read += c.bytes_read;
        t.reads += c.reads;
        t.metadata_bytes += c.metadata_bytes;
        t.metadata_reads += c.metadata_reads;
        t.samples += c.samples;
        t.retries += c.retries;
        // A property of the job's plan: every rank reports the same number.
        t.samples_dropped_per_epoch = t.samples_dropped_per_epoch.max(c.samples_dropped_per_epoch);
        t.cpu_ns += c.cpu_ns;
        t.spin_ns += c.spin_ns;
        t.peak_rss_bytes = t.peak_rss_bytes.max(c.peak_rss_bytes);
        t.bytes_written += c.bytes_written;
        t.files_written += c.files_written;
        t.files_skipped += c.files_skipped;
        t.generate_ns = t.generate_ns.max(c.generate_ns);
    }
    t
}

fn hosts_of(
    cluster: &dyn Cluster,
    mut facts: Vec<(usize, HostFacts)>,
    ranks: &[RankSummary],
) -> Vec<HostSummary> {
    let names = cluster.host_names();
    (0..names.len())
        .map(|node| {
            let members: Vec<&RankSummary> = ranks.iter().filter(|r| r.host == node).collect();
            let facts = facts
                .iter()
                .position(|(n, _)| *n == node)
                .map(|i| facts.swap_remove(i).1)
                .unwrap_or_else(|| HostFacts {
                    name: names[node].clone(),
                    ..HostFacts::default()
                });
            HostSummary {
                facts,
                ranks: members.len(),
                spreads: Spreads::of(&members),
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "reduce_tests.rs"]
mod tests;
