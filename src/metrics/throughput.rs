//! Samples per second by DLIO's formulas, and what follows from them.

use super::au::{Window, weighted_mean, window_sums};
use super::record::BlockRecord;
use crate::config::MetricFormula;

/// Throughput of one training block on one rank, samples per second.
///
/// v3: windowed steps * B / T, 0 when the window is empty or T <= 0. v2: (steps - 2) * B / T with
/// DLIO's constant 2, whatever the exclusion settings; negative for one step. Source: DLIO
/// `compute_metrics_train`.
pub fn block_throughput(
    formula: MetricFormula,
    block: &BlockRecord,
    window: Window,
    batch_size: u64,
) -> f64 {
    let s = window_sums(block, window);
    let steps = match formula {
        MetricFormula::V3 if s.steps == 0 || s.wall_ns <= 0 => return 0.0,
        MetricFormula::V3 => s.steps as f64,
        MetricFormula::V2 => block.steps.len() as f64 - 2.0,
    };
    if s.wall_ns == 0 {
        return 0.0;
    }
    steps * batch_size as f64 / (s.wall_ns as f64 / 1e9)
}

/// Throughput of an epoch's training on one rank: blocks weighted by their steps.
pub fn epoch_throughput(
    formula: MetricFormula,
    blocks: &[BlockRecord],
    window: Window,
    batch_size: u64,
) -> f64 {
    weighted_mean(blocks.iter().map(|b| {
        (
            block_throughput(formula, b, window, batch_size),
            b.steps.len() as u64,
        )
    }))
}

/// Throughput of an evaluation on one rank, samples per second: all steps over the whole wall time.
/// Source: DLIO `compute_metrics_eval`.
pub fn eval_throughput(block: &BlockRecord, batch_size_eval: u64) -> f64 {
    if block.wall_ns == 0 {
        return 0.0;
    }
    (block.steps.len() as u64 * batch_size_eval) as f64 / (block.wall_ns as f64 / 1e9)
}

/// `potential_caching` of `<r>_output.json`: 1 when the data is at most the host's memory.
pub fn rank_potential_caching(data_gib: f64, memory_gib: f64) -> u8 {
    u8::from(data_gib <= memory_gib)
}

/// `potential_caching` of `summary.json`: 0 when the host's memory is at most the data. The two
/// differ when both are equal, as in DLIO.
pub fn host_potential_caching(data_gib: f64, memory_gib: f64) -> u8 {
    u8::from(memory_gib > data_gib)
}

#[cfg(test)]
mod tests {
    use super::super::au::tests::{block, slow_start};
    use super::*;

    #[test]
    fn v3_counts_the_window_and_v2_a_constant_two() {
        let b = slow_start();
        let w = Window::new(5, 1, 0);
        assert_eq!(
            block_throughput(MetricFormula::V3, &b, w, 4),
            4.0 * 4.0 / 0.5
        );
        assert_eq!(
            block_throughput(MetricFormula::V2, &b, w, 4),
            3.0 * 4.0 / 0.5
        );
        let two = block(100, &[(10, 10, 0), (10, 10, 0)]);
        assert_eq!(block_throughput(MetricFormula::V2, &two, w, 4), 0.0);
        let one = block(100, &[(10, 40, 0)]);
        assert_eq!(block_throughput(MetricFormula::V2, &one, w, 4), -4.0 / 0.05);
        assert_eq!(block_throughput(MetricFormula::V3, &one, w, 4), 0.0);
    }

    #[test]
    fn evaluation_has_no_exclusion() {
        assert_eq!(eval_throughput(&block(500, &[(10, 40, 0); 5]), 2), 20.0);
    }

    // DLIO compares with <= in one file and with > in the other.
    #[test]
    fn equal_sizes_are_cached_for_a_rank_and_not_for_a_host() {
        let both = |data| {
            (
                rank_potential_caching(data, 3.0),
                host_potential_caching(data, 3.0),
            )
        };
        assert_eq!((both(2.0), both(3.0), both(4.0)), ((1, 1), (1, 0), (0, 0)));
    }
}
