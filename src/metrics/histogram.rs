//! One histogram of durations per stage, with one bucket layout everywhere, so that the buckets of
//! all ranks can be added by an MPI sum and percentiles are those of the whole job.

use std::fmt::Write as _;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Shortest duration that a histogram holds, ns. A zero is counted in the lowest bucket.
pub const LOWEST_NS: u64 = 1;
/// Longest duration that a histogram holds, ns (one hour). Longer ones are counted there.
pub const HIGHEST_NS: u64 = 3_600_000_000_000;
/// Significant decimal digits: a bucket is at most 1 % wide.
pub const SIGNIFICANT_DIGITS: u8 = 2;

/// What a duration was spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Opening a file or object.
    Open,
    /// From a read request to its first byte.
    FirstByte,
    /// One read request, whole.
    Read,
    /// Checking or decoding one sample.
    Decode,
    /// Emulated preprocessing of one sample.
    Preprocess,
    /// The train loop's wait for one batch.
    BatchWait,
    /// Emulated computation of one step.
    Compute,
    /// Waiting for the other ranks after one step.
    Barrier,
    /// One write request of generation.
    Write,
    /// One write of a checkpoint.
    CheckpointWrite,
    /// Making one checkpoint file or folder durable.
    CheckpointFsync,
    /// One read of a checkpoint.
    CheckpointRead,
}

impl Stage {
    /// Stages that the report also tells of each rank alone.
    pub const OF_RANKS: [Stage; 3] = [
        Stage::CheckpointWrite,
        Stage::CheckpointFsync,
        Stage::CheckpointRead,
    ];

    /// All stages in the order of the report.
    pub const ALL: [Stage; 12] = [
        Stage::Open,
        Stage::FirstByte,
        Stage::Read,
        Stage::Decode,
        Stage::Preprocess,
        Stage::BatchWait,
        Stage::Compute,
        Stage::Barrier,
        Stage::Write,
        Stage::CheckpointWrite,
        Stage::CheckpointFsync,
        Stage::CheckpointRead,
    ];

    /// Key in `report.json` and `histograms.hgrm`.
    pub fn name(self) -> &'static str {
        match self {
            Stage::Open => "open",
            Stage::FirstByte => "first_byte",
            Stage::Read => "read",
            Stage::Decode => "decode",
            Stage::Preprocess => "preprocess",
            Stage::BatchWait => "batch_wait",
            Stage::Compute => "compute",
            Stage::Barrier => "barrier",
            Stage::Write => "write",
            Stage::CheckpointWrite => "checkpoint_write",
            Stage::CheckpointFsync => "checkpoint_fsync",
            Stage::CheckpointRead => "checkpoint_read",
        }
    }

    /// Unit of the recorded values.
    pub fn unit(self) -> &'static str {
        "ns"
    }

    /// One sentence for the report's reader.
    pub fn doc(self) -> &'static str {
        match self {
            Stage::Open => "opening one file or object",
            Stage::FirstByte => "from a read request to its first byte",
            Stage::Read => "one read request, from submission to completion",
            Stage::Decode => "checking or decoding one sample",
            Stage::Preprocess => "emulated preprocessing of one sample",
            Stage::BatchWait => "the train loop's wait for one batch",
            Stage::Compute => "emulated computation of one step",
            Stage::Barrier => "waiting for the other ranks after one step",
            Stage::Write => "one write request of dataset generation",
            Stage::CheckpointWrite => "one write call of a checkpoint",
            Stage::CheckpointFsync => "making one checkpoint file or folder durable",
            Stage::CheckpointRead => "one read call of a checkpoint",
        }
    }
}

/// The percentiles of one stage over the whole job. Units: ns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StageSummary {
    /// Which stage.
    pub stage: Stage,
    /// Durations recorded.
    pub count: u64,
    /// Arithmetic mean, from the exact sum.
    pub mean_ns: f64,
    /// Median.
    pub p50_ns: u64,
    /// 90th percentile.
    pub p90_ns: u64,
    /// 99th percentile.
    pub p99_ns: u64,
    /// 99.9th percentile.
    pub p999_ns: u64,
    /// Longest, exact.
    pub max_ns: u64,
}

/// One histogram per [`Stage`].
#[derive(Debug, Clone)]
pub struct StageHistograms {
    histograms: Vec<Histogram<u64>>,
    sums: Vec<u64>,
    maxima: Vec<u64>,
}

impl Default for StageHistograms {
    fn default() -> Self {
        Self::new()
    }
}

fn empty_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, SIGNIFICANT_DIGITS)
        .expect("the bounds are constants that satisfy low >= 1, high >= 2 low, digits <= 5")
}

/// Lowest value of every bucket, in index order; the same for all histograms of the crate.
fn bucket_values() -> Vec<u64> {
    empty_histogram()
        .iter_all()
        .map(|step| step.value_iterated_to())
        .collect()
}

impl StageHistograms {
    /// Empty histograms. Cost: about 36 KB per stage.
    pub fn new() -> Self {
        StageHistograms {
            histograms: Stage::ALL.iter().map(|_| empty_histogram()).collect(),
            sums: vec![0; Stage::ALL.len()],
            maxima: vec![0; Stage::ALL.len()],
        }
    }

    /// Counts one duration, in ns. Values above [`HIGHEST_NS`] count in the last bucket; their true
    /// length still enters the mean and the maximum.
    pub fn record(&mut self, stage: Stage, ns: u64) {
        let i = stage as usize;
        self.histograms[i].saturating_record(ns);
        self.sums[i] = self.sums[i].saturating_add(ns);
        self.maxima[i] = self.maxima[i].max(ns);
    }

    /// Adds another rank's or thread's counts.
    pub fn merge(&mut self, other: &StageHistograms) {
        for i in 0..Stage::ALL.len() {
            self.histograms[i]
                .add(&other.histograms[i])
                .expect("both histograms were built with the same bounds");
            self.sums[i] = self.sums[i].saturating_add(other.sums[i]);
            self.maxima[i] = self.maxima[i].max(other.maxima[i]);
        }
    }

    /// Number of words of [`to_dense`](Self::to_dense).
    pub fn dense_len() -> usize {
        Stage::ALL.len() * (empty_histogram().distinct_values() + 1)
    }

    /// All buckets and the sum of durations, stage by stage. Two dense vectors may be added word by word.
    pub fn to_dense(&self) -> Vec<u64> {
        let mut out = Vec::with_capacity(Self::dense_len());
        for (h, sum) in self.histograms.iter().zip(&self.sums) {
            out.extend(h.iter_all().map(|step| step.count_at_value()));
            out.push(*sum);
        }
        out
    }

    /// The longest duration of every stage, ns. To be reduced by maximum.
    pub fn maxima(&self) -> &[u64] {
        &self.maxima
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
            for (value, count) in values.iter().zip(words) {
                if *count > 0 {
                    out.histograms[i].saturating_record_n(*value, *count);
                }
            }
            out.sums[i] = words[values.len()];
            out.maxima[i] = maxima[i];
        }
        Some(out)
    }

    /// Durations recorded for a stage.
    pub fn count(&self, stage: Stage) -> u64 {
        self.histograms[stage as usize].len()
    }

    /// Value at a quantile (`0..=1`), ns; 0 when the stage is empty. Never above the exact maximum.
    pub fn quantile(&self, stage: Stage, quantile: f64) -> u64 {
        let i = stage as usize;
        self.histograms[i]
            .value_at_quantile(quantile)
            .min(self.maxima[i])
    }

    /// Percentiles of every stage that has counts.
    pub fn summaries(&self) -> Vec<StageSummary> {
        Stage::ALL
            .iter()
            .filter(|stage| self.count(**stage) > 0)
            .map(|&stage| StageSummary {
                stage,
                count: self.count(stage),
                mean_ns: self.sums[stage as usize] as f64 / self.count(stage) as f64,
                p50_ns: self.quantile(stage, 0.50),
                p90_ns: self.quantile(stage, 0.90),
                p99_ns: self.quantile(stage, 0.99),
                p999_ns: self.quantile(stage, 0.999),
                max_ns: self.maxima[stage as usize],
            })
            .collect()
    }

    /// Text of `histograms.hgrm`: HdrHistogram's percentile format for every stage with counts, each
    /// after a line that names it. Values in microseconds.
    pub fn to_hgrm(&self) -> String {
        let mut out = String::new();
        for &stage in &Stage::ALL {
            if self.count(stage) > 0 {
                self.write_stage(stage, &mut out);
            }
        }
        out
    }

    fn write_stage(&self, stage: Stage, out: &mut String) {
        let i = stage as usize;
        let h = &self.histograms[i];
        let us = |ns: u64| ns as f64 / 1e3;
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "# stage: {} ({}), values in us",
            stage.name(),
            stage.doc()
        );
        let _ = writeln!(
            out,
            "{:>12} {:>14} {:>10} {:>14}\n",
            "Value", "Percentile", "TotalCount", "1/(1-Percentile)"
        );
        let mut total = 0;
        for step in h.iter_quantiles(5) {
            total += step.count_since_last_iteration();
            let q = step.quantile_iterated_to();
            let value = us(step.value_iterated_to().min(self.maxima[i]));
            if q < 1.0 {
                let inverse = 1.0 / (1.0 - q);
                let _ = writeln!(out, "{value:12.3} {q:1.12} {total:10} {inverse:14.2}");
            } else {
                let _ = writeln!(out, "{value:12.3} {q:1.12} {total:10}");
            }
        }
        let _ = writeln!(
            out,
            "#[Mean    = {:12.3}, StdDeviation   = {:12.3}]",
            self.sums[i] as f64 / h.len() as f64 / 1e3,
            h.stdev() / 1e3
        );
        let _ = writeln!(
            out,
            "#[Max     = {:12.3}, Total count    = {:12}]",
            us(self.maxima[i]),
            h.len()
        );
        let _ = writeln!(
            out,
            "#[Buckets = {:12}, SubBuckets     = {:12}]\n",
            h.buckets(),
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
        let back = StageHistograms::from_dense(&dense, h.maxima()).unwrap();
        assert_eq!(back.to_dense(), dense);
        assert_eq!(back.summaries(), h.summaries());
        assert_eq!(back.count(Stage::Read), 8);
        assert!(StageHistograms::from_dense(&dense[1..], h.maxima()).is_none());
    }

    #[test]
    fn summed_buckets_give_the_percentiles_of_all_ranks() {
        // Values below 256 ns have buckets of their own, so percentiles are exact there.
        let (mut a, mut b) = (StageHistograms::new(), StageHistograms::new());
        (1..=50).for_each(|ns| a.record(Stage::BatchWait, ns));
        (51..=100).for_each(|ns| b.record(Stage::BatchWait, ns));
        let sum: Vec<u64> = a
            .to_dense()
            .iter()
            .zip(b.to_dense())
            .map(|(x, y)| x + y)
            .collect();
        let all = StageHistograms::from_dense(&sum, b.maxima()).unwrap();
        let s = &all.summaries()[0];
        assert_eq!(
            (s.p50_ns, s.p90_ns, s.p99_ns, s.p999_ns, s.max_ns),
            (50, 90, 99, 100, 100)
        );
        assert_eq!((s.count, s.mean_ns), (100, 50.5));
        a.merge(&b);
        assert_eq!(a.to_dense(), sum);
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
