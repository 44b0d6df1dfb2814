//! What the formulas need of a workload.

use super::au::Window;
use crate::config::{MetricFormula, Workload, element_bytes};
use crate::util::units::gib;

/// A few numbers of a workload. Built once by [`MetricSpec::of`], the only place in this module that knows a workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MetricSpec {
    pub formula: MetricFormula,
    /// Training steps that count.
    pub train: Window,
    /// Evaluation steps that count.
    pub eval: Window,
    /// Samples per training step and rank.
    pub batch_size: u64,
    /// Samples per evaluation step and rank.
    pub batch_size_eval: u64,
    /// Required AU, percent.
    pub au_expected_percent: f64,
    /// Bytes of a sample by DLIO's count.
    pub record_size_bytes: f64,
    /// Samples of the training set.
    pub samples: u128,
    pub trains: bool,
    pub evaluates: bool,
    /// Whether the workflow saves or loads checkpoints.
    pub checkpoints: bool,
}

impl MetricSpec {
    /// Of a workload on this many ranks.
    ///
    /// The training window: `total_training_steps` where set, else floor(n * Nt / B / R) steps; the evaluation window:
    /// floor(n * Ne / Be / R). Source: DLIO `utils/statscounter.py::__init__`.
    pub fn of(w: &Workload, ranks: usize) -> Self {
        let d = &w.dataset;
        let m = &w.output.metric;
        let samples = |files: u64| u128::from(d.num_samples_per_file) * u128::from(files);
        let steps = |files: u64, batch: u64| {
            let per_step = u128::from(batch.max(1)) * ranks.max(1) as u128;
            u64::try_from(samples(files) / per_step).unwrap_or(u64::MAX)
        };
        let window = |steps| Window::new(steps, m.exclude_start_steps, m.exclude_end_steps);
        let capped = u64::try_from(w.train.total_training_steps)
            .ok()
            .filter(|k| *k > 0);
        let r = &w.reader;
        MetricSpec {
            formula: w.metric.formula,
            train: window(capped.unwrap_or_else(|| steps(d.num_files_train, r.batch_size))),
            eval: window(steps(d.num_files_eval, r.batch_size_eval)),
            batch_size: r.batch_size,
            batch_size_eval: r.batch_size_eval,
            au_expected_percent: w.metric.au * 100.0,
            record_size_bytes: record_size_bytes(w),
            samples: samples(d.num_files_train),
            trains: w.workflow.train,
            evaluates: w.workflow.train && w.workflow.evaluation && w.dataset.num_files_eval > 0,
            checkpoints: w.workflow.checkpoint,
        }
    }

    /// GiB that one host reads per epoch by DLIO's estimate: (ppn * n * Nt // R) * record_size / 2^30.
    pub fn data_size_per_host_gib(&self, ranks_per_host: usize, ranks: usize) -> f64 {
        let samples = ranks_per_host as u128 * self.samples / ranks.max(1) as u128;
        gib(samples as f64 * self.record_size_bytes)
    }

    /// What the user should know of a training window that holds no step.
    pub fn warning(&self) -> Option<String> {
        (self.trains && self.train.first >= self.train.end).then(|| {
            "an epoch has no more steps than output.metric.exclude_start_steps and exclude_end_steps leave out: AU and throughput will be 0; use more files, a smaller reader.batch_size, or leave no steps out".into()
        })
    }
}

/// Bytes of one sample as DLIO counts them: the parquet columns, else `record_length` (the product
/// of `record_dims` and the element size where dims are given, else the configured length).
/// Source: DLIO `StatsCounter.record_size`.
fn record_size_bytes(w: &Workload) -> f64 {
    let d = &w.dataset;
    if !d.parquet.columns.is_empty() {
        return (d.parquet.columns.iter())
            .map(|c| {
                // As numpy: bool has a byte, what is no numeric dtype counts 4.
                let known = element_bytes(&c.dtype).or((c.dtype == "bool").then_some(1));
                (c.size * known.unwrap_or(4)) as f64
            })
            .sum();
    }
    if !d.record_dims.is_empty() {
        let elements: f64 = d.record_dims.iter().map(|n| *n as f64).product();
        return elements * element_bytes(&d.record_element_type).unwrap_or(1) as f64;
    }
    d.record_length_bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_follow_the_workload() {
        let mut w = Workload::default();
        w.dataset.num_files_train = 64;
        w.dataset.num_samples_per_file = 3;
        w.reader.batch_size = 5;
        assert_eq!(MetricSpec::of(&w, 2).train, Window { first: 1, end: 19 });
        w.train.total_training_steps = 7;
        w.output.metric.exclude_end_steps = 2;
        assert_eq!(MetricSpec::of(&w, 2).train, Window { first: 1, end: 5 });
    }

    #[test]
    fn caching_estimate_floors_samples_before_the_size() {
        let mut w = Workload::default();
        w.dataset.num_files_train = 7;
        w.dataset.record_length_bytes = 1073741824.0;
        // 2 ranks per host of 4: 2 * 7 // 4 = 3 samples.
        assert_eq!(MetricSpec::of(&w, 4).data_size_per_host_gib(2, 4), 3.0);
    }

    #[test]
    fn record_size_prefers_columns_then_dims() {
        let size = |w: &Workload| MetricSpec::of(w, 1).record_size_bytes;
        let mut w = Workload::default();
        assert_eq!(size(&w), 65536.0);
        w.dataset.record_dims = vec![3, 5];
        // numpy.dtype(name).itemsize
        for (name, bytes) in [("float32", 4.0), ("complex64", 8.0), ("complex128", 16.0)] {
            w.dataset.record_element_type = name.into();
            assert_eq!(size(&w), 15.0 * bytes, "{name}");
        }
        w.dataset.parquet.columns = vec![crate::config::ParquetColumn {
            size: 10,
            dtype: "float64".into(),
            ..Default::default()
        }];
        assert_eq!(size(&w), 80.0);
    }
}
