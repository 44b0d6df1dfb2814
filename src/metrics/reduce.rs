//! From every rank's record to one summary of the job.
//!
//! AU and throughput are added over ranks by reductions, as DLIO does; histograms bucket by bucket;
//! one small blob per rank is gathered for the tables. No rank needs a shared file system.

use serde::{Deserialize, Serialize};

use super::au::{au_storage, block_au, epoch_au, mean_and_std};
use super::breakdown::{Breakdown, Line, VALUES};
use super::checkpoint;
use super::evidence::{self, Counts, Evidence, combined, judge};
use super::histogram::StageHistograms;
use super::memory::Peaks;
use super::record::{Counters, RankRecord};
use super::series::Series;
use super::spec::MetricSpec;
use super::summary::{EpochSummary, HostSummary, JobSummary, PhaseSummary, RankSummary, Spreads};
use super::throughput::{epoch_throughput, eval_throughput};
use crate::cluster::Cluster;
use crate::config::MetricFormula;
use crate::host::cgroup::{Limits, Pressure};
use crate::host::facts::HostFacts;
use crate::host::witness::Medium;
use crate::stage::Stage;
use crate::storage::Telemetry;

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
        summary: own_summary(cluster, input, &own_au, &own_throughput, &breakdowns),
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

fn own_summary(
    cluster: &dyn Cluster,
    input: &ReduceInput<'_>,
    au: &[f64],
    throughput: &[f64],
    breakdowns: &[Breakdown],
) -> RankSummary {
    let record = input.record;
    RankSummary {
        rank: cluster.rank(),
        host: cluster
            .node_of_rank()
            .get(cluster.rank())
            .copied()
            .unwrap_or(0),
        au_percent: mean_and_std(au).unwrap_or_default().0,
        throughput: mean_and_std(throughput).unwrap_or_default().0,
        breakdown: Breakdown::of_epochs(breakdowns.iter()),
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
            breakdowns: breakdowns
                .iter()
                .copied()
                .flat_map(Breakdown::to_array)
                .collect(),
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

fn summarize(
    cluster: &dyn Cluster,
    input: &ReduceInput<'_>,
    sums: &Sums,
    blobs: Vec<Blob>,
    histograms: StageHistograms,
) -> JobSummary {
    let spec = input.spec;
    let ranks = cluster.size();
    let au: Vec<f64> = sums.au.iter().map(|a| a / ranks as f64).collect();
    let eval = spec
        .evaluates
        .then(|| evaluations(spec, ranks, sums, &blobs));
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
        .then(|| phase(spec, au.clone(), sums.throughput.clone()));
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
        au_expected_percent: spec.au_expected_percent,
        record_size_bytes: spec.record_size_bytes,
        data_size_per_host_gib: spec.data_size_per_host_gib(ppn, ranks),
        eval,
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

fn phase(spec: &MetricSpec, au: Vec<f64>, throughput: Vec<f64>) -> PhaseSummary {
    let au_percent = Series::new(au);
    PhaseSummary {
        meets_expectation: !au_percent.values.is_empty()
            && au_percent.mean >= spec.au_expected_percent,
        au_percent,
        throughput: Series::new(throughput),
    }
}

/// All evaluations of the job. `sums` and the ranks' own numbers are AU and throughput in turn.
fn evaluations(spec: &MetricSpec, ranks: usize, sums: &Sums, blobs: &[Blob]) -> PhaseSummary {
    let pairs: Vec<(f64, f64)> = match spec.formula {
        MetricFormula::V3 => sums.eval.chunks_exact(2).map(|c| (c[0], c[1])).collect(),
        // DLIO adds Python lists, which concatenates them in rank order.
        MetricFormula::V2 => blobs.iter().flat_map(|b| b.eval.iter().copied()).collect(),
    };
    let (au, throughput) = pairs.iter().map(|(au, t)| (au / ranks as f64, t)).unzip();
    phase(spec, au, throughput)
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
