//! Latencies over time, and histograms per epoch.

use serde::{Deserialize, Serialize};

use crate::stage::Stage;

/// Buckets of latency.
pub const BUCKETS: usize = 64;

/// Lower bounds of the buckets are 2^k and 1.5 * 2^k from this k on: 512 ns.
const FIRST_EXPONENT: u32 = 9;

/// Lower bounds of the [`BUCKETS`] buckets, ns: 512, 768, 1024, 1536, ... The first bucket also holds what is shorter, the
/// last one (from 1,649 s) what is longer.
pub fn edges_ns() -> Vec<u64> {
    (0..BUCKETS as u32)
        .map(|i| (2 + u64::from(i % 2)) << (FIRST_EXPONENT - 1 + i / 2))
        .collect()
}

/// The bucket of a duration.
pub(super) fn bucket_of(ns: u64) -> usize {
    if ns < 1 << FIRST_EXPONENT {
        return 0;
    }
    let exponent = ns.ilog2();
    let half = (ns >> (exponent - 1)) & 1;
    (2 * (exponent - FIRST_EXPONENT) as usize + half as usize).min(BUCKETS - 1)
}

/// How long stages took, over time: one heat map per stage that occurred.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LatencyMaps {
    /// Width of a bin of time, ns: bin `i` is `[i * bin_ns, (i + 1) * bin_ns)`. A duration counts where it ended.
    pub bin_ns: u64,
    /// Lower bounds of the buckets, ns.
    pub edges_ns: Vec<u64>,
    /// Stages with counts.
    pub stages: Vec<StageLatency>,
}

/// The heat map of one stage.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageLatency {
    pub stage: Stage,
    /// Durations of all ranks: at most 256 bins of time, each with a count per bucket.
    pub counts: Vec<Vec<u64>>,
}

/// Histograms of some epochs. Where there are many epochs, one entry holds several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EpochHistograms {
    /// From 1.
    pub first_epoch: u64,
    /// The last epoch of the entry.
    pub last_epoch: u64,
    pub stages: Vec<StageCounts>,
}

/// A histogram in HdrHistogram's buckets of two significant digits (at most 1 % wide), without the empty ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCounts {
    pub stage: Stage,
    /// The largest value of each bucket that has counts, ns, ascending.
    pub values_ns: Vec<u64>,
    /// Counts of these buckets.
    pub counts: Vec<u64>,
    /// Exact sum of all durations, ns.
    pub sum_ns: u64,
    /// Longest duration, exact, ns.
    pub max_ns: u64,
}

impl StageCounts {
    /// Number of durations.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// The smallest bucket's value that a share `quantile` (`0..=1`) of the durations does not exceed, ns; never above the
    /// exact maximum. 0 without durations.
    pub fn quantile(&self, quantile: f64) -> u64 {
        let wanted = ((self.count() as f64 * quantile).ceil() as u64).max(1);
        let mut below = 0;
        for (value, count) in self.values_ns.iter().zip(&self.counts) {
            below += count;
            if below >= wanted {
                return (*value).min(self.max_ns);
            }
        }
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_ascend() {
        let edges = edges_ns();
        assert_eq!(edges[..4], [512, 768, 1024, 1536]);
        assert!(edges.is_sorted());
        assert_eq!(edges[BUCKETS - 1], 3 << 39);
        for (i, edge) in edges.iter().enumerate() {
            assert_eq!(bucket_of(*edge), i);
            assert_eq!(bucket_of(edge - 1), i.saturating_sub(1));
        }
        assert_eq!((bucket_of(0), bucket_of(u64::MAX)), (0, BUCKETS - 1));
    }

    #[test]
    fn quantiles_are_those_of_the_counts() {
        let counts = StageCounts {
            stage: Stage::Read,
            values_ns: vec![10, 20, 30],
            counts: vec![90, 9, 1],
            sum_ns: 1_100,
            max_ns: 29,
        };
        let got = [0.0, 0.9, 0.99, 1.0].map(|q| counts.quantile(q));
        assert_eq!(got, [10, 10, 20, 29]);
    }
}
