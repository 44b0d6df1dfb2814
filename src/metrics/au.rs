//! Accelerator utilization: DLIO's formulas for a block, an epoch and a job, and what is left of it when only the storage
//! system counts.

use std::ops::Range;

use super::record::{BlockRecord, StepTime};
use crate::config::MetricFormula;

/// Which steps of every block count. Source: DLIO `utils/statscounter.py::__init__`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// First step, from 0.
    pub first: u64,
    /// One past the last step; may be below `first`, then nothing counts.
    pub end: u64,
}

impl Window {
    /// The window of a phase of `steps` steps: the same indices are applied to each block's own list.
    pub fn new(steps: u64, exclude_start: u64, exclude_end: u64) -> Self {
        Window {
            first: exclude_start,
            end: steps.saturating_sub(exclude_end),
        }
    }

    /// Whether the step of this index, from 0, counts.
    pub fn contains(&self, index: usize) -> bool {
        (self.first..self.end).contains(&(index as u64))
    }

    /// The part of a list of `len` steps that counts.
    pub fn range(&self, len: usize) -> Range<usize> {
        let clamp = |x: u64| usize::try_from(x).unwrap_or(usize::MAX).min(len);
        let first = clamp(self.first);
        first..clamp(self.end).max(first)
    }
}

/// Sums over the window of one block, ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WindowSums {
    pub steps: u64,
    /// Computation (DLIO's C).
    pub compute_ns: u64,
    /// Waiting for batches.
    pub wait_ns: u64,
    /// The block's wall time less the `proc` time of the excluded steps (DLIO's T).
    pub wall_ns: i64,
}

/// Sums over a block's window. Source: DLIO `compute_metrics_train`; T keeps all barrier waits.
pub fn window_sums(block: &BlockRecord, window: Window) -> WindowSums {
    let range = window.range(block.steps.len());
    let inside = &block.steps[range.clone()];
    // With an empty window DLIO subtracts the head and the tail as its two slices give them.
    let head = &block.steps[..range.start];
    let tail_from =
        usize::try_from(window.end).map_or(block.steps.len(), |e| e.min(block.steps.len()));
    let tail = &block.steps[tail_from..];
    let proc = |s: &[StepTime]| s.iter().map(|t| t.proc_ns).sum::<u64>() as i64;
    WindowSums {
        steps: inside.len() as u64,
        compute_ns: inside.iter().map(|t| t.compute_ns).sum(),
        wait_ns: inside.iter().map(|t| t.load_ns).sum(),
        wall_ns: block.wall_ns as i64 - proc(head) - proc(tail),
    }
}

/// Whether a block has steps that count and a window of time. Where not, its AU is 0 by definition.
pub fn is_counted(sums: &WindowSums) -> bool {
    sums.steps > 0 && sums.wall_ns > 0
}

/// DLIO's AU of one block on one rank, percent: 100 * C / T.
///
/// 0 when nothing was computed; with the v3 formula also when the window is empty or T <= 0.
/// Source: DLIO `compute_metrics_train`, `compute_metrics_eval`.
pub fn block_au(formula: MetricFormula, block: &BlockRecord, window: Window) -> f64 {
    let s = window_sums(block, window);
    // v2 divides by T whatever its sign; T = 0 would be a division by zero there.
    let undefined = match formula {
        MetricFormula::V3 => !is_counted(&s),
        MetricFormula::V2 => s.wall_ns == 0,
    };
    if s.compute_ns == 0 || undefined {
        return 0.0;
    }
    100.0 * s.compute_ns as f64 / s.wall_ns as f64
}

/// Utilization if everything but the storage system cost nothing, percent: 100 * C / (C + wait), where the wait is what
/// went to I/O and metadata, over the window; None when both are 0.
pub fn au_storage(compute: f64, storage_wait: f64) -> Option<f64> {
    let sum = compute + storage_wait;
    (sum > 0.0).then(|| 100.0 * compute / sum)
}

/// Blocks weighted by their number of steps; 0 when there were none. Source: DLIO `end_train`.
pub fn weighted_mean(values_and_steps: impl IntoIterator<Item = (f64, u64)>) -> f64 {
    let (sum, steps) = values_and_steps
        .into_iter()
        .fold((0.0, 0), |(sum, n), (v, s)| (sum + v * s as f64, n + s));
    if steps == 0 { 0.0 } else { sum / steps as f64 }
}

/// AU of an epoch on one rank, percent.
pub fn epoch_au(formula: MetricFormula, blocks: &[BlockRecord], window: Window) -> f64 {
    weighted_mean(
        blocks
            .iter()
            .map(|b| (block_au(formula, b, window), b.steps.len() as u64)),
    )
}

/// Mean and population standard deviation, as numpy's `mean` and `std` (ddof = 0); None when empty.
pub fn mean_and_std(values: &[f64]) -> Option<(f64, f64)> {
    if values.is_empty() {
        return None;
    }
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let variance = values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / n;
    Some((mean, variance.sqrt()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Steps of (load, compute, barrier) milliseconds; proc = load + compute.
    pub(crate) fn block(wall_ms: u64, steps: &[(u64, u64, u64)]) -> BlockRecord {
        BlockRecord {
            start: "2026-01-01T00:00:00.000000".into(),
            end: "2026-01-01T00:00:01.000000".into(),
            wall_ns: wall_ms * 1_000_000,
            steps: steps
                .iter()
                .map(|&(l, c, b)| StepTime {
                    load_ns: l * 1_000_000,
                    compute_ns: c * 1_000_000,
                    proc_ns: (l + c) * 1_000_000,
                    barrier_ns: b * 1_000_000,
                })
                .collect(),
            ..BlockRecord::default()
        }
    }

    /// Five steps in a second; the first waits for half of it.
    pub(in crate::metrics) fn slow_start() -> BlockRecord {
        let mut steps = [(5, 100, 1); 5];
        steps[0] = (400, 100, 0);
        block(1000, &steps)
    }

    #[test]
    fn first_step_is_excluded_from_computation_and_wall() {
        // T = 1000 - 500 = 500, C = 4 * 100.
        let b = slow_start();
        let w = Window::new(5, 1, 0);
        assert_eq!(block_au(MetricFormula::V3, &b, w), 80.0);
        assert_eq!(block_au(MetricFormula::V2, &b, w), 80.0);
        let s = window_sums(&b, w);
        assert_eq!(
            (s.steps, s.compute_ns, s.wait_ns),
            (4, 400_000_000, 20_000_000)
        );
        assert_eq!(au_storage(400.0, 20.0), Some(100.0 * 400.0 / 420.0));
    }

    #[test]
    fn end_exclusion_acts_only_on_lists_that_reach_it() {
        let w = Window::new(10, 1, 2);
        assert_eq!(w.range(10), 1..8);
        assert_eq!(w.range(5), 1..5);
        assert_eq!(w.range(1), 1..1);
        assert_eq!(Window::new(1, 5, 5).range(9), 5..5);
        // Steps 8 and 9 leave wall and computation: T = 1000 - 100 - 200, C = 7 * 50.
        let b = block(1000, &[(50, 50, 0); 10]);
        assert_eq!(block_au(MetricFormula::V3, &b, w), 100.0 * 350.0 / 700.0);
    }

    #[test]
    fn empty_window_is_zero() {
        let b = block(100, &[(10, 90, 0)]);
        assert_eq!(block_au(MetricFormula::V3, &b, Window::new(1, 1, 0)), 0.0);
        assert_eq!(au_storage(0.0, 0.0), None);
    }

    #[test]
    fn epochs_weight_blocks_by_their_steps() {
        assert_eq!(weighted_mean([(80.0, 3), (40.0, 1)]), 70.0);
        assert_eq!(weighted_mean([(80.0, 0)]), 0.0);
    }

    #[test]
    fn mean_and_std_are_numpys() {
        // numpy.mean/std([54.2, 82.4]) = 68.3, 14.1
        let (m, s) = mean_and_std(&[54.2, 82.4]).unwrap();
        assert!((m - 68.3).abs() < 1e-12 && (s - 14.1).abs() < 1e-12);
        assert_eq!(mean_and_std(&[]), None);
    }
}
