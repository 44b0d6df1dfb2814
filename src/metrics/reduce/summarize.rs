//! One summary of what the reductions and the ranks' blobs hold.

use super::{Blob, HostPart, ReduceInput, Sums, WORDS};
use crate::cluster::Cluster;
use crate::config::MetricFormula;
use crate::host::witness::Medium;
use crate::metrics::au::au_storage;
use crate::metrics::breakdown::{Breakdown, Line, VALUES};
use crate::metrics::evidence::{Counts, Evidence, combined, judge};
use crate::metrics::histogram::StageHistograms;
use crate::metrics::memory::Peaks;
use crate::metrics::record::Counters;
use crate::metrics::series::Series;
use crate::metrics::spec::MetricSpec;
use crate::metrics::summary::{
    EpochSummary, HostSummary, JobSummary, PhaseSummary, RankSummary, Spreads,
};
use crate::storage::Telemetry;

pub(super) fn summarize(
    cluster: &dyn Cluster,
    input: &ReduceInput<'_>,
    sums: &Sums,
    blobs: Vec<Blob>,
    histograms: StageHistograms,
) -> JobSummary {
    let spec = input.spec;
    let ranks = cluster.size();
    let au: Vec<f64> = sums.au.iter().map(|a| a / ranks as f64).collect();
    let evaluations = || evaluations(spec, ranks, sums, &blobs);
    let eval = spec.evaluates.then(evaluations);
    let digests: Vec<u64> = blobs.iter().map(|b| b.summary.order_digest).collect();
    let parts: Vec<(usize, HostPart)> = blobs
        .iter()
        .filter_map(|b| Some((b.summary.host, b.host.clone()?)))
        .collect();
    let rank_table: Vec<RankSummary> = blobs.into_iter().map(|b| b.summary).collect();
    let hosts = hosts_of(cluster, parts, &rank_table);
    let (epochs, evidence) = epochs_of(input, sums, &au, &hosts);
    let mut breakdown = Breakdown::of_epochs(epochs.iter().map(|e| &e.breakdown));
    let train = spec
        .trains
        .then(|| phase(spec, au.clone(), sums.throughput.clone()));
    if let Some(train) = &train {
        breakdown.percent[Line::Compute] = train.au_percent.mean;
    }
    let nodes = cluster.node_of_rank();
    let ppn = nodes.iter().filter(|n| Some(*n) == nodes.first()).count();
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
        au_storage_percent: au_of_storage(&breakdown),
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

fn au_of_storage(b: &Breakdown) -> Option<f64> {
    au_storage(b.seconds[Line::Compute], b.seconds.storage_wait())
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
            au_storage_percent: au_of_storage(&breakdown),
            throughput: sums.throughput[i],
            bytes_read: total.delivered,
            bytes_from_device: total.device,
            served_by_storage: verdict,
            rule,
            breakdown,
        }
    });
    let epochs = epochs.collect();
    all_evidence.truncate(super::EVIDENCE_LINES);
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
            let known = parts.iter().position(|(n, _)| *n == node);
            let mut part = known.map_or_else(HostPart::default, |i| parts.swap_remove(i).1);
            if known.is_none() {
                part.facts.name = names[node].clone();
            }
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
