//! Accelerator utilization: DLIO's formulas for a block, an epoch and a job, and our own view of the
//! same steps without what the harness itself took.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::record::{BlockRecord, StepTime};
use crate::config::{MetricFormula, Workload};

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

    /// The training window: `total_training_steps` where set, else floor(n * Nt / B / R).
    pub fn train(w: &Workload, ranks: usize) -> Self {
        let available = planned_steps(w.dataset.num_files_train, w.reader.batch_size, w, ranks);
        let steps = u64::try_from(w.train.total_training_steps)
            .ok()
            .filter(|k| *k > 0)
            .unwrap_or(available);
        let m = &w.output.metric;
        Window::new(steps, m.exclude_start_steps, m.exclude_end_steps)
    }

    /// The evaluation window: floor(n * Ne / Be / R).
    pub fn eval(w: &Workload, ranks: usize) -> Self {
        let steps = planned_steps(w.dataset.num_files_eval, w.reader.batch_size_eval, w, ranks);
        let m = &w.output.metric;
        Window::new(steps, m.exclude_start_steps, m.exclude_end_steps)
    }

    /// What the user should know of a training window that holds no step.
    pub fn warning(w: &Workload, ranks: usize) -> Option<String> {
        let window = Window::train(w, ranks);
        let m = &w.output.metric;
        (w.workflow.train && window.first >= window.end).then(|| {
            format!(
                "an epoch has no more steps than are left out of the metrics (output.metric.exclude_start_steps={}, exclude_end_steps={}): AU and throughput will be 0; use more files, a smaller reader.batch_size, or leave no steps out",
                m.exclude_start_steps, m.exclude_end_steps
            )
        })
    }

    /// The part of a list of `len` steps that counts.
    pub fn range(&self, len: usize) -> Range<usize> {
        let clamp = |x: u64| usize::try_from(x).unwrap_or(usize::MAX).min(len);
        let first = clamp(self.first);
        first..clamp(self.end).max(first)
    }
}

fn planned_steps(files: u64, batch: u64, w: &Workload, ranks: usize) -> u64 {
    let samples = u128::from(w.dataset.num_samples_per_file) * u128::from(files);
    let per_step = u128::from(batch.max(1)) * ranks.max(1) as u128;
    u64::try_from(samples / per_step).unwrap_or(u64::MAX)
}

/// Sums over the window of one block, ns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WindowSums {
    /// Steps in the window.
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

/// DLIO's AU of one block on one rank, percent: 100 * C / T.
///
/// 0 when nothing was computed; with the v3 formula also when the window is empty or T <= 0.
/// Source: DLIO `compute_metrics_train`, `compute_metrics_eval`.
pub fn block_au(formula: MetricFormula, block: &BlockRecord, window: Window) -> f64 {
    let s = window_sums(block, window);
    // v2 divides by T whatever its sign; T = 0 would be a division by zero there.
    let undefined = match formula {
        MetricFormula::V3 => s.steps == 0 || s.wall_ns <= 0,
        MetricFormula::V2 => s.wall_ns == 0,
    };
    if s.compute_ns == 0 || undefined {
        return 0.0;
    }
    100.0 * s.compute_ns as f64 / s.wall_ns as f64
}

/// Utilization without the harness's and the other ranks' share, percent:
/// 100 * C / (C + wait) over the window; None when both are 0.
pub fn au_storage(compute_ns: u64, wait_ns: u64) -> Option<f64> {
    let sum = compute_ns as f64 + wait_ns as f64;
    (sum > 0.0).then(|| 100.0 * compute_ns as f64 / sum)
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

/// Where the training time of all steps went. Units: seconds, summed over ranks (rank-seconds) or
/// the mean per rank, as the owner says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Wall time of the blocks.
    pub wall_s: f64,
    /// Waiting for batches.
    pub wait_s: f64,
    /// Computing.
    pub compute_s: f64,
    /// Waiting for other ranks.
    pub barrier_s: f64,
    /// The rest of the wall time.
    pub harness_s: f64,
}

impl Breakdown {
    /// Of blocks of one rank; every step counts, also those outside the metric window.
    pub fn of_blocks<'a>(blocks: impl IntoIterator<Item = &'a BlockRecord>) -> Self {
        let (mut wall, mut wait, mut compute, mut barrier) = (0u64, 0u64, 0u64, 0u64);
        for block in blocks {
            wall += block.wall_ns;
            for s in &block.steps {
                wait += s.load_ns;
                compute += s.compute_ns;
                barrier += s.barrier_ns;
            }
        }
        let s = |ns: u64| ns as f64 / 1e9;
        Breakdown {
            wall_s: s(wall),
            wait_s: s(wait),
            compute_s: s(compute),
            barrier_s: s(barrier),
            harness_s: s(wall.saturating_sub(wait + compute + barrier)),
        }
    }

    /// Adds another breakdown.
    pub fn add(&mut self, other: &Breakdown) {
        self.wall_s += other.wall_s;
        self.wait_s += other.wait_s;
        self.compute_s += other.compute_s;
        self.barrier_s += other.barrier_s;
        self.harness_s += other.harness_s;
    }

    /// Every part divided by `n`.
    pub fn divided(&self, n: f64) -> Breakdown {
        Breakdown {
            wall_s: self.wall_s / n,
            wait_s: self.wait_s / n,
            compute_s: self.compute_s / n,
            barrier_s: self.barrier_s / n,
            harness_s: self.harness_s / n,
        }
    }

    /// A part as percent of the wall time; 0 without wall time.
    pub fn percent(&self, part_s: f64) -> f64 {
        if self.wall_s > 0.0 {
            100.0 * part_s / self.wall_s
        } else {
            0.0
        }
    }
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
        }
    }

    #[test]
    fn first_step_is_excluded_from_computation_and_wall() {
        // T = 1000 - 500 = 500, C = 4 * 100.
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
        assert_eq!(block_au(MetricFormula::V3, &b, w), 80.0);
        assert_eq!(block_au(MetricFormula::V2, &b, w), 80.0);
        let s = window_sums(&b, w);
        assert_eq!(
            (s.steps, s.compute_ns, s.wait_ns),
            (4, 400_000_000, 20_000_000)
        );
        assert_eq!(
            au_storage(s.compute_ns, s.wait_ns),
            Some(100.0 * 400.0 / 420.0)
        );
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
        assert_eq!(au_storage(0, 0), None);
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

    #[test]
    fn breakdown_accounts_for_every_second() {
        let b = Breakdown::of_blocks(&[block(1000, &[(100, 300, 50), (50, 300, 100)])]);
        assert_eq!(
            b,
            Breakdown {
                wall_s: 1.0,
                wait_s: 0.15,
                compute_s: 0.6,
                barrier_s: 0.15,
                harness_s: 0.1
            }
        );
        assert_eq!(b.percent(b.compute_s), 60.0);
    }

    #[test]
    fn windows_follow_the_workload() {
        let mut w = Workload::default();
        w.dataset.num_files_train = 64;
        w.dataset.num_samples_per_file = 3;
        w.reader.batch_size = 5;
        assert_eq!(Window::train(&w, 2), Window { first: 1, end: 19 });
        w.train.total_training_steps = 7;
        w.output.metric.exclude_end_steps = 2;
        assert_eq!(Window::train(&w, 2), Window { first: 1, end: 5 });
    }
}
