//! From every rank's record to one summary of the job.
//!
//! AU and throughput are added over ranks by reductions, as DLIO does; histograms bucket by bucket;
//! one small blob per rank is gathered for the tables. No rank needs a shared file system.

use serde::{Deserialize, Serialize};

use super::au::{au_storage, block_au, epoch_au, mean_and_std};
use super::breakdown::{Breakdown, Line, VALUES};
use super::checkpoint::{self, CheckpointSummary};
use super::evidence::{self, Counts, Evidence, ServedByStorage, combined, judge};
use super::histogram::{StageHistograms, StageSummary};
use super::memory::Peaks;
use super::record::{Counters, PageCache, RankRecord};
use super::series::{Series, Spread};
use super::spec::MetricSpec;
use super::throughput::{epoch_throughput, eval_throughput};
use crate::cluster::Cluster;
use crate::config::MetricFormula;
use crate::host::cgroup::{Limits, Pressure};
use crate::host::facts::HostFacts;
use crate::host::witness::Medium;
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
    /// Verdict of all hosts.
    pub served_by_storage: ServedByStorage,
    /// The rule that gave it, where all hosts agree on one.
    pub rule: String,
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
    /// What its readers' bytes lie on.
    pub medium: Medium,
    /// What its first rank may have of it.
    pub limits: Limits,
    /// How it was held back during training.
    pub pressure: Pressure,
    /// Time in which its ranks' readers could have run and had no CPU, ns.
    pub delay_ns: Option<u64>,
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
    /// Per epoch and host, of as many epochs as fit into [`EVIDENCE_LINES`] lines.
    pub evidence: Vec<Evidence>,
    /// Largest resident sets.
    pub peaks: Peaks,
    /// What a rank was expected to hold, bytes: the largest of all ranks.
    pub planned_bytes: u64,
    /// Percentiles of stages with counts.
    pub stages: Vec<StageSummary>,
    /// Summed over ranks; peak memory, dropped samples and generation time are maxima.
    pub counters: Counters,
    /// What the page cache held before the first epoch; None where nobody looked.
    pub page_cache: Option<PageCache>,
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

    /// CPU seconds of all ranks' reader threads per GiB read; None when nothing was read.
    pub fn cpu_seconds_per_gib(&self) -> Option<f64> {
        self.per_gib(self.counters.reader_cpu_ns)
    }

    /// CPU seconds that all ranks burnt in training, whatever for, per GiB read; None when nothing was read.
    pub fn cpu_burnt_per_gib(&self) -> Option<f64> {
        self.per_gib(self.counters.cpu_ns)
    }

    fn per_gib(&self, ns: u64) -> Option<f64> {
        let read = gib(self.counters.bytes_read as f64);
        (read > 0.0).then(|| ns as f64 / 1e9 / read)
    }

    /// Takes in the largest resident sets of all ranks, which are known last.
    pub fn take_peaks(&mut self, peaks: &[u64]) {
        self.peaks = Peaks::of(peaks);
        self.counters.peak_rss_bytes = self.peaks.max;
        for (rank, peak) in self.rank_table.iter_mut().zip(peaks) {
            rank.counters.peak_rss_bytes = *peak;
        }
    }
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
    /// This rank's record.
    pub record: &'a RankRecord,
    /// This rank's histograms.
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
        input.planned_bytes,
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
        host: (cluster.local_rank() == 0).then(|| HostPart {
            facts: input.host.clone(),
            medium: record.medium.clone(),
            limits: input.limits.clone(),
            pressure: record.pressure,
        }),
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
        planned_bytes: u64,
    ) -> Self {
        let mut s = Sums {
            au: au.to_vec(),
            throughput: throughput.to_vec(),
            eval: evals.iter().flat_map(|(a, t)| [*a, *t]).collect(),
            words: Vec::new(),
            hosts: match cluster.host_names().len() {
                many if many * record.epochs.len() > EVIDENCE_LINES => 0,
                few => few,
            },
            planned_bytes,
            breakdowns: breakdowns.iter().flat_map(Breakdown::to_array).collect(),
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
        let mut planned = [s.planned_bytes];
        cluster.max_u64(&mut planned);
        s.planned_bytes = planned[0];
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
    let digests: Vec<u64> = blobs.iter().map(|b| b.summary.order_digest).collect();
    let parts: Vec<(usize, HostPart)> = blobs
        .iter()
        .filter_map(|b| Some((b.summary.host, b.host.clone()?)))
        .collect();
    let rank_table: Vec<RankSummary> = blobs.into_iter().map(|b| b.summary).collect();
    let hosts = hosts_of(cluster, parts, &rank_table);
    let (epochs, evidence) = epochs_of(input, sums, &au, &hosts);
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
        page_cache: input.record.page_cache,
        object_store: total_requests(&rank_table),
        order_digest: (input.combine_digests)(&digests),
        spreads: Spreads::of(&rank_table.iter().collect::<Vec<_>>()),
        hosts,
        epochs,
        evidence,
        peaks: Peaks::default(),
        planned_bytes: sums.planned_bytes,
        rank_table,
        histograms,
    }
}

fn epochs_of(
    input: &ReduceInput<'_>,
    sums: &Sums,
    au: &[f64],
    hosts: &[HostSummary],
) -> (Vec<EpochSummary>, Vec<Evidence>) {
    let ranks: usize = hosts.iter().map(|h| h.ranks).sum();
    let mut all_evidence = Vec::new();
    let row = WORDS * (1 + sums.hosts);
    let epochs = (input.record.epochs.iter().enumerate()).map(|(i, e)| {
        let words = &sums.words[i * row..(i + 1) * row];
        let total = Counts::from_words(&words[..WORDS], ranks as u64, hosts.len() as u64);
        let evidence = evidence_of(e.epoch, words, total, sums.hosts, hosts);
        let verdict = combined(evidence.iter().map(|line| line.verdict));
        let mut rules = evidence.iter().map(|line| &line.rule);
        let first = rules.next().cloned().unwrap_or_default();
        let rule = match rules.all(|rule| *rule == first) {
            true => first,
            false => "hosts differ, see the evidence in report.json".into(),
        };
        all_evidence.extend(evidence);
        let breakdown = breakdown_of(&sums.breakdowns[i * VALUES..(i + 1) * VALUES], au[i], ranks);
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
            bytes_read: total.delivered,
            bytes_from_device: total.device,
            served_by_storage: verdict,
            rule,
            breakdown,
        }
    });
    let epochs = epochs.collect();
    all_evidence.truncate(EVIDENCE_LINES);
    (epochs, all_evidence)
}

/// The lines of one epoch: one per host, or one for all where they would be too many.
fn evidence_of(
    epoch: u64,
    words: &[u64],
    total: Counts,
    listed: usize,
    hosts: &[HostSummary],
) -> Vec<Evidence> {
    let line = |host: Option<usize>, counts: Counts, medium: &Medium| {
        let (verdict, rule) = judge(medium, &counts);
        Evidence {
            epoch,
            host,
            counts,
            verdict,
            rule,
        }
    };
    if listed == 0 {
        let first = hosts
            .first()
            .map_or(Medium::Simulated, |h| h.medium.clone());
        return vec![line(None, total, &first)];
    }
    (words[WORDS..].chunks_exact(WORDS).zip(hosts).enumerate())
        .map(|(i, (words, host))| {
            let counts = Counts::from_words(words, host.ranks as u64, 1);
            line(Some(i), counts, &host.medium)
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

/// Run-queue delay of the readers of these ranks; None where one of them does not know.
fn delay_of<'a>(mut ranks: impl Iterator<Item = &'a RankSummary>) -> Option<u64> {
    ranks.try_fold(0, |sum, r| Some(sum + r.counters.delay_ns?))
}

fn total_counters(ranks: &[RankSummary]) -> Counters {
    let mut t = Counters {
        delay_ns: delay_of(ranks.iter()),
        ..Counters::default()
    };
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
        t.reader_cpu_ns += c.reader_cpu_ns;
        t.report_cpu_ns += c.report_cpu_ns;
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
    mut parts: Vec<(usize, HostPart)>,
    ranks: &[RankSummary],
) -> Vec<HostSummary> {
    let names = cluster.host_names();
    (0..names.len())
        .map(|node| {
            let members: Vec<&RankSummary> = ranks.iter().filter(|r| r.host == node).collect();
            let part = parts
                .iter()
                .position(|(n, _)| *n == node)
                .map(|i| parts.swap_remove(i).1)
                .unwrap_or_else(|| HostPart {
                    facts: HostFacts {
                        name: names[node].clone(),
                        ..HostFacts::default()
                    },
                    ..HostPart::default()
                });
            HostSummary {
                facts: part.facts,
                medium: part.medium,
                limits: part.limits,
                pressure: part.pressure,
                delay_ns: delay_of(members.iter().copied()),
                ranks: members.len(),
                spreads: Spreads::of(&members),
            }
        })
        .collect()
}

#[cfg(test)]
#[path = "reduce_tests.rs"]
mod tests;
