//! Samples per second by DLIO's formulas, and what follows from them.

use super::au::{Window, weighted_mean, window_sums};
use super::record::BlockRecord;
use crate::config::{MetricFormula, Workload};

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

/// Bytes of one sample as DLIO counts them: the parquet columns, else `record_length` (the product
/// of `record_dims` and the element size where dims are given, else the configured length).
/// Source: DLIO `StatsCounter.record_size`.
pub fn record_size_bytes(w: &Workload) -> f64 {
    let d = &w.dataset;
    if !d.parquet.columns.is_empty() {
        return d
            .parquet
            .columns
            .iter()
            .map(|c| (c.size * element_bytes(&c.dtype).unwrap_or(4)) as f64)
            .sum();
    }
    if !d.record_dims.is_empty() {
        let elements: f64 = d.record_dims.iter().map(|n| *n as f64).product();
        return elements * element_bytes(&d.record_element_type).unwrap_or(1) as f64;
    }
    d.record_length_bytes
}

fn element_bytes(dtype: &str) -> Option<u64> {
    Some(match dtype {
        "float64" | "int64" | "uint64" => 8,
        "float32" | "int32" | "uint32" => 4,
        "float16" | "int16" | "uint16" => 2,
        "uint8" | "int8" | "bool" => 1,
        _ => return None,
    })
}

/// GiB that one host reads per epoch by DLIO's estimate: (ppn * n * Nt // R) * record_size / 2^30.
pub fn data_size_per_host_gib(w: &Workload, ranks_per_host: usize, ranks: usize) -> f64 {
    let samples = ranks_per_host as u128
        * u128::from(w.dataset.num_samples_per_file)
        * u128::from(w.dataset.num_files_train)
        / ranks.max(1) as u128;
    samples as f64 * record_size_bytes(w) / 1024.0 / 1024.0 / 1024.0
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
    use super::super::au::tests::block;
    use super::*;

    #[test]
    fn v3_counts_the_window_and_v2_a_constant_two() {
        let b = block(
            1000,
            &[
                (400, 100, 0),
                (5, 100, 1),
                (5, 100, 1),
                (5, 100, 1),
                (5, 100, 1),
            ],
        );
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

    #[test]
    fn caching_estimate_floors_samples_before_the_size() {
        let mut w = Workload::default();
        w.dataset.num_files_train = 7;
        w.dataset.record_length_bytes = 1073741824.0;
        // 2 ranks per host of 4: 2 * 7 // 4 = 3 samples.
        assert_eq!(data_size_per_host_gib(&w, 2, 4), 3.0);
        assert_eq!(
            (
                rank_potential_caching(3.0, 3.0),
                host_potential_caching(3.0, 3.0)
            ),
            (1, 0)
        );
        assert_eq!(
            (
                rank_potential_caching(4.0, 3.0),
                host_potential_caching(4.0, 3.0)
            ),
            (0, 0)
        );
    }

    #[test]
    fn record_size_prefers_columns_then_dims() {
        let mut w = Workload::default();
        assert_eq!(record_size_bytes(&w), 65536.0);
        w.dataset.record_dims = vec![3, 5];
        w.dataset.record_element_type = "float32".into();
        assert_eq!(record_size_bytes(&w), 60.0);
        w.dataset.parquet.columns = vec![crate::config::ParquetColumn {
            size: 10,
            dtype: "float64".into(),
            ..Default::default()
        }];
        assert_eq!(record_size_bytes(&w), 80.0);
    }
}
