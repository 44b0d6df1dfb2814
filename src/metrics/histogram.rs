//! One histogram of durations per stage, with one bucket layout everywhere, so that the buckets of
//! all ranks can be added by an MPI sum and percentiles are those of the whole job.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::stage::Stage;

/// Shortest duration that a histogram holds, ns. A zero is counted in the lowest bucket.
pub const LOWEST_NS: u64 = 1;
/// Longest duration that a histogram holds, ns (one hour). Longer ones are counted there.
pub const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits: a bucket is at most 1 % wide.
pub const SIGNIFICANT_DIGITS: u8 = 2;

/// The percentiles of one stage over the whole job. Units: ns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    pub stage: Stage,
    pub count: u64,
    /// Arithmetic mean, from the exact sum.
    pub mean_ns: f64,
    pub p50_ns: Option<u64>,
    /// 90th percentile; None below 10 values.
    pub p90_ns: Option<u64>,
    /// 99th percentile; None below 100 values.
    pub p99_ns: Option<u64>,
    /// 99.9th percentile; None below 1,000 values.
    pub p999_ns: Option<u64>,
    /// Longest, exact.
    pub max_ns: u64,
}

/// One histogram per [`Stage`], made when the stage's first duration comes and grown as its durations do.
#[derive(Debug, Clone, Default)]
pub struct StageHistograms {
    stages: [Option<Box<Durations>>; Stage::ALL.len()],
}

/// What is kept of one stage.
#[derive(Debug, Clone)]
struct Durations {
    buckets: Histogram<u64>,
    sum_ns: u64,
    max_ns: u64,
}

impl Durations {
    /// Without a duration. Buckets are laid out as in a histogram that reaches [`HIGHEST_NS`], so that counts can be added
    /// by index; those that are not needed yet are not there.
    fn new() -> Self {
        let mut buckets = Histogram::new_with_bounds(LOWEST_NS, 2, SIGNIFICANT_DIGITS)
            .expect("the bounds are constants that satisfy low >= 1, high >= 2 low, digits <= 5");
        buckets.auto(true);
        Durations {
            buckets,
            sum_ns: 0,
            max_ns: 0,
        }
    }

    fn record(&mut self, ns: u64, count: u64) {
        self.buckets
            .record_n(ns.min(HIGHEST_NS), count)
            .expect("a histogram that grows takes every value");
        self.sum_ns = self.sum_ns.saturating_add(ns.saturating_mul(count));
        self.max_ns = self.max_ns.max(ns);
    }

    fn merge(&mut self, other: &Durations) {
        self.buckets
            .add(&other.buckets)
            .expect("a histogram that grows takes every value");
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    fn quantile(&self, quantile: f64) -> u64 {
        self.buckets.value_at_quantile(quantile).min(self.max_ns)
    }

    /// None where too few values lie beyond the quantile.
    fn supported(&self, quantile: f64) -> Option<u64> {
        let is_enough = supports(self.buckets.len(), quantile, 1.0);
        is_enough.then(|| self.quantile(quantile))
    }
}

/// Whether `n` values support a quantile (`0..=1`): at least `beyond` of them lie above it.
///
/// A report shows a percentile from one value beyond it (p99 from 100 values); a comparison of two runs needs more.
pub fn supports(n: u64, quantile: f64, beyond: f64) -> bool {
    // The rounding keeps 100 * (1 - 0.99) from falling below 1.
    n as f64 * (1.0 - quantile) >= beyond - 1e-6
}

/// The largest value of every bucket, in index order; the same for all histograms of the crate.
pub(super) fn bucket_values() -> Vec<u64> {
    Histogram::<u64>::new_with_bounds(LOWEST_NS, HIGHEST_NS, SIGNIFICANT_DIGITS)
        .expect("the bounds are constants that satisfy low >= 1, high >= 2 low, digits <= 5")
        .iter_all()
        .map(|step| step.value_iterated_to())
        .collect()
}

impl StageHistograms {
    pub fn new() -> Self {
        Self::default()
    }

    /// Counts one duration, in ns. Values above [`HIGHEST_NS`] count in the last bucket; their true
    /// length still enters the mean and the maximum.
    pub fn record(&mut self, stage: Stage, ns: u64) {
        self.record_n(stage, ns, 1);
    }

    /// Counts `count` durations of this length.
    pub fn record_n(&mut self, stage: Stage, ns: u64, count: u64) {
        self.stages[stage as usize]
            .get_or_insert_with(|| Box::new(Durations::new()))
            .record(ns, count);
    }

    /// Adds another rank's or thread's counts.
    pub fn merge(&mut self, other: &StageHistograms) {
        for (mine, theirs) in self.stages.iter_mut().zip(&other.stages) {
            match (mine, theirs) {
                (Some(mine), Some(theirs)) => mine.merge(theirs),
                (mine @ None, Some(theirs)) => *mine = Some(theirs.clone()),
                (_, None) => {}
            }
        }
    }

    /// Bytes that a thread's histogram of one stage needs at most.
    pub fn bytes_of_stage() -> u64 {
        (bucket_values().len() * size_of::<u64>() + size_of::<Durations>()) as u64
    }

    /// Number of words of [`to_dense`](Self::to_dense).
    #[cfg(test)]
    pub fn dense_len() -> usize {
        Stage::ALL.len() * (bucket_values().len() + 1)
    }

    /// All buckets and the sum of durations, stage by stage. Two dense vectors may be added word by word.
    pub fn to_dense(&self) -> Vec<u64> {
        let buckets = bucket_values().len();
        let mut out = vec![0; Stage::ALL.len() * (buckets + 1)];
        for (stage, words) in self.stages.iter().zip(out.chunks_exact_mut(buckets + 1)) {
            let Some(stage) = stage else { continue };
            for (word, step) in words.iter_mut().zip(stage.buckets.iter_all()) {
                *word = step.count_at_value();
            }
            words[buckets] = stage.sum_ns;
        }
        out
    }

    /// The longest duration of every stage, ns. To be reduced by maximum.
    pub fn maxima(&self) -> Vec<u64> {
        (self.stages.iter())
            .map(|stage| stage.as_ref().map_or(0, |s| s.max_ns))
            .collect()
    }

    /// The inverse of [`to_dense`](Self::to_dense) with the reduced [`maxima`](Self::maxima).
    /// None when a length does not fit.
    pub fn from_dense(dense: &[u64], maxima: &[u64]) -> Option<Self> {
        let values = bucket_values();
        if maxima.len() != Stage::ALL.len() || dense.len() != Stage::ALL.len() * (values.len() + 1)
        {
            return None;
        }
        let mut out = Self::new();
        for (i, words) in dense.chunks_exact(values.len() + 1).enumerate() {
            if words[..values.len()].iter().all(|count| *count == 0) {
                continue;
            }
            let mut stage = Durations::new();
            for (value, count) in values.iter().zip(words) {
                if *count > 0 {
                    stage.record(*value, *count);
                }
            }
            stage.sum_ns = words[values.len()];
            stage.max_ns = maxima[i];
            out.stages[i] = Some(Box::new(stage));
        }
        Some(out)
    }

    /// Durations recorded for a stage.
    #[cfg(test)]
    pub fn count(&self, stage: Stage) -> u64 {
        self.stages[stage as usize]
            .as_ref()
            .map_or(0, |s| s.buckets.len())
    }

    /// Value at a quantile (`0..=1`), ns, where there are enough values. Never above the exact maximum.
    pub fn supported(&self, stage: Stage, quantile: f64) -> Option<u64> {
        self.stages[stage as usize].as_ref()?.supported(quantile)
    }

    /// Percentiles of every stage that has counts.
    pub fn summaries(&self) -> Vec<StageSummary> {
        self.used()
            .map(|(stage, s)| StageSummary {
                stage,
                count: s.buckets.len(),
                mean_ns: s.sum_ns as f64 / s.buckets.len() as f64,
                p50_ns: s.supported(0.50),
                p90_ns: s.supported(0.90),
                p99_ns: s.supported(0.99),
                p999_ns: s.supported(0.999),
                max_ns: s.max_ns,
            })
            .collect()
    }

    /// Value at a quantile (`0..=1`), ns, however few values there are; 0 without any.
    pub fn quantile(&self, stage: Stage, quantile: f64) -> u64 {
        (self.stages[stage as usize].as_ref()).map_or(0, |s| s.quantile(quantile))
    }

    /// The buckets with counts of every stage that has any.
    pub fn sparse(&self) -> impl Iterator<Item = (Stage, Sparse)> {
        self.used().map(|(stage, s)| (stage, s.sparse()))
    }

    fn used(&self) -> impl Iterator<Item = (Stage, &Durations)> {
        (Stage::ALL.iter().copied().zip(&self.stages))
            .filter_map(|(stage, durations)| Some((stage, durations.as_deref()?)))
    }

    /// Text of `histograms.hgrm`: HdrHistogram's percentile format for every stage with counts, each
    /// after a line that names it. Values in microseconds.
    pub fn to_hgrm(&self) -> String {
        let mut out = String::new();
        for (stage, durations) in self.used() {
            durations.write(stage, &mut out);
        }
        out
    }
}

/// A histogram without its empty buckets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sparse {
    /// Indices of buckets, ascending.
    pub indices: Vec<u16>,
    /// Counts of these buckets.
    pub counts: Vec<u64>,
    /// Exact sum of the durations, ns.
    pub sum_ns: u64,
    /// Longest duration, ns.
    pub max_ns: u64,
}

impl Sparse {
    pub fn add(&mut self, other: &Sparse) {
        self.sum_ns = self.sum_ns.saturating_add(other.sum_ns);
        self.max_ns = self.max_ns.max(other.max_ns);
        if self.indices == other.indices {
            (self.counts.iter_mut().zip(&other.counts)).for_each(|(sum, count)| *sum += count);
            return;
        }
        let mut all: std::collections::BTreeMap<u16, u64> = self.pairs().collect();
        for (index, count) in other.pairs() {
            *all.entry(index).or_default() += count;
        }
        (self.indices, self.counts) = all.into_iter().unzip();
    }

    /// Index and count of each bucket.
    pub fn pairs(&self) -> impl Iterator<Item = (u16, u64)> {
        let counts = self.counts.iter().copied();
        self.indices.iter().copied().zip(counts)
    }

    /// Bytes that it takes.
    pub fn bytes(&self) -> usize {
        size_of::<Sparse>() + self.indices.len() * (size_of::<u16>() + size_of::<u64>())
    }
}

impl Durations {
    fn sparse(&self) -> Sparse {
        let mut out = Sparse {
            sum_ns: self.sum_ns,
            max_ns: self.max_ns,
            ..Sparse::default()
        };
        for (index, step) in self.buckets.iter_all().enumerate() {
            if step.count_at_value() > 0 {
                out.indices.push(index as u16);
                out.counts.push(step.count_at_value());
            }
        }
        out
    }

    fn write(&self, stage: Stage, out: &mut String) {
        let h = &self.buckets;
        let us = |ns: u64| ns as f64 / 1e3;
        // Writing to a String cannot fail.
        let (name, doc) = (stage.name(), stage.doc());
        let _ = writeln!(out, "# stage: {name} ({doc}), values in us");
        *out += "       Value     Percentile TotalCount 1/(1-Percentile)\n\n";
        let mut total = 0;
        for step in h.iter_quantiles(5) {
            total += step.count_since_last_iteration();
            let q = step.quantile_iterated_to();
            let value = us(step.value_iterated_to().min(self.max_ns));
            if q < 1.0 {
                let inverse = 1.0 / (1.0 - q);
                let _ = writeln!(out, "{value:12.3} {q:1.12} {total:10} {inverse:14.2}");
            } else {
                let _ = writeln!(out, "{value:12.3} {q:1.12} {total:10}");
            }
        }
        let (mean, stdev) = (self.sum_ns as f64 / h.len() as f64 / 1e3, h.stdev() / 1e3);
        let (max, count, buckets) = (us(self.max_ns), h.len(), h.buckets());
        let _ = write!(
            out,
            "#[Mean    = {mean:12.3}, StdDeviation   = {stdev:12.3}]\n\
             #[Max     = {max:12.3}, Total count    = {count:12}]\n\
             #[Buckets = {buckets:12}, SubBuckets     = {:12}]\n\n",
            256
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_round_trip_keeps_every_bucket() {
        let mut h = StageHistograms::new();
        for ns in [0, 1, 255, 256, 1_000, 123_456_789, HIGHEST_NS, u64::MAX / 4] {
            h.record(Stage::Read, ns);
        }
        h.record(Stage::Write, 77);
        let dense = h.to_dense();
        assert_eq!(dense.len(), StageHistograms::dense_len());
        let back = StageHistograms::from_dense(&dense, &h.maxima()).unwrap();
        assert_eq!(back.to_dense(), dense);
        assert_eq!(back.summaries(), h.summaries());
        assert_eq!(back.count(Stage::Read), 8);
        assert!(StageHistograms::from_dense(&dense[1..], &h.maxima()).is_none());
    }

    #[test]
    fn summed_buckets_give_the_percentiles_of_all_ranks() {
        // Values below 256 ns have buckets of their own, so percentiles are exact there.
        let (mut a, mut b) = (StageHistograms::new(), StageHistograms::new());
        (1..=50).for_each(|ns| a.record(Stage::BatchWait, ns));
        (51..=100).for_each(|ns| b.record(Stage::BatchWait, ns));
        let words = a.to_dense().into_iter().zip(b.to_dense());
        let sum: Vec<u64> = words.map(|(x, y)| x + y).collect();
        let all = StageHistograms::from_dense(&sum, &b.maxima()).unwrap();
        let s = &all.summaries()[0];
        assert_eq!(
            (s.p50_ns, s.p90_ns, s.p99_ns, s.p999_ns, s.max_ns),
            (Some(50), Some(90), Some(99), None, 100)
        );
        assert_eq!((s.count, s.mean_ns), (100, 50.5));
        a.merge(&b);
        assert_eq!(a.to_dense(), sum);
    }

    #[test]
    fn a_percentile_needs_values_beyond_it() {
        let mut h = StageHistograms::new();
        for n in 1..=1_000_u64 {
            h.record(Stage::Read, 5);
            let s = &h.summaries()[0];
            let got = [s.p50_ns, s.p90_ns, s.p99_ns, s.p999_ns].map(|p| p.is_some());
            assert_eq!(got, [n >= 2, n >= 10, n >= 100, n >= 1_000], "{n}");
        }
    }

    #[test]
    fn hgrm_has_one_block_per_used_stage() {
        let mut h = StageHistograms::new();
        h.record(Stage::Open, 2_000);
        h.record(Stage::Barrier, 5_000_000);
        let text = h.to_hgrm();
        assert_eq!(text.matches("# stage: ").count(), 2);
        assert!(
            text.contains("       2.000 1.000000000000          1\n"),
            "{text}"
        );
        assert!(text.contains("#[Max     =     5000.000, Total count    =            1]"));
    }
}
