//! What a rank will hold, added up before it starts, and what it held at most.

use serde::{Deserialize, Serialize};

use super::series::Spread;

/// Bytes that a rank will need, by purpose.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryPlan(pub Vec<(&'static str, u64)>);

impl MemoryPlan {
    pub fn total(&self) -> u64 {
        self.0.iter().fold(0, |sum, (_, n)| sum.saturating_add(*n))
    }

    /// One line that names every part above a hundredth of a MiB.
    pub fn line(&self) -> String {
        let parts = (self.0.iter())
            .filter(|(_, n)| *n > 10_000)
            .map(|(what, n)| format!("{what} {}", mib(*n)));
        format!(
            "memory per rank: {} ({})",
            mib(self.total()),
            parts.collect::<Vec<_>>().join(", ")
        )
    }

    /// Whether it fits.
    ///
    /// Errors: what to say when it does not.
    pub fn check(&self, limit_bytes: u64, origin: &str) -> Result<(), String> {
        if self.total() <= limit_bytes {
            return Ok(());
        }
        Err(format!(
            "{}; that is more than the {} of {origin}\n  remedy: the largest part is {}; or allow more with --memory",
            self.line(),
            mib(limit_bytes),
            self.remedy()
        ))
    }

    /// The largest part, and what makes it smaller.
    fn remedy(&self) -> String {
        let Some((largest, _)) = self.0.iter().max_by_key(|(_, bytes)| *bytes) else {
            return String::new();
        };
        let known = REMEDIES.iter().find(|(part, _)| part == largest);
        known.map_or((*largest).into(), |(part, remedy)| {
            format!("{part}: {remedy}")
        })
    }
}

/// What makes a part smaller.
const REMEDIES: [(&str, &str); 11] = [
    ("program", "start fewer ranks per host"),
    (
        "read buffers",
        "set fewer reader.read_threads, or a smaller reader.io_depth or reader.transfer_size",
    ),
    (
        "histograms",
        "set fewer reader.read_threads or a smaller reader.io_depth",
    ),
    (
        "windows",
        "set a smaller reader.prefetch_size or reader.io_depth",
    ),
    (
        "decoded files",
        "set fewer reader.read_threads, a smaller reader.io_depth, or reader.decode=verify",
    ),
    ("kept metadata", "set reader.index_cache=none"),
    (
        "checkpoint buffers",
        "set a smaller checkpoint.write_files, on object stores also checkpoint.parts_in_flight or storage.storage_options.part_size",
    ),
    (
        "generation buffers",
        "set fewer reader.write_threads, on object stores also a smaller checkpoint.parts_in_flight or storage.storage_options.part_size",
    ),
    (
        "order lists",
        "use fewer files or samples per rank, or reader.order=permutation",
    ),
    (
        "step records",
        "train for fewer steps: train.epochs, train.total_training_steps, or a larger reader.batch_size",
    ),
    ("results", "set output.per_rank_files=none"),
];

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / 1048576.0)
}

/// The largest resident sets of ranks, taken when everything but the report itself was done. Units: bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Peaks {
    /// Rank 0, which also gathers and writes the results.
    pub rank_0: u64,
    /// The other ranks; zeros where there are none.
    pub others: Spread,
    pub max: u64,
}

impl Peaks {
    /// Of all ranks, in rank order.
    pub fn of(peaks: &[u64]) -> Self {
        Peaks {
            rank_0: peaks.first().copied().unwrap_or(0),
            others: Spread::of(peaks.iter().skip(1).map(|n| *n as f64)),
            max: peaks.iter().copied().max().unwrap_or(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_that_does_not_fit_names_its_sum_and_parts() {
        let plan = MemoryPlan(vec![
            ("buffers", 512 << 20),
            ("step records", 32_000_000_000),
        ]);
        assert_eq!(plan.check(40 << 30, "--memory"), Ok(()));
        let error = plan.check(1 << 30, "--memory").unwrap_err();
        for part in ["31029.6 MiB", "buffers 512.0 MiB", "1024.0 MiB of --memory"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(
            error.contains("largest part is step records: train for fewer"),
            "{error}"
        );
        let plan = MemoryPlan(vec![
            ("read buffers", 1 << 20),
            ("checkpoint buffers", 1 << 30),
        ]);
        let error = plan.check(1 << 29, "--memory").unwrap_err();
        assert!(error.contains("checkpoint.write_files"), "{error}");
        assert!(!error.contains("reader."), "{error}");
        // Sums that overflow do not fit.
        let plan = MemoryPlan(vec![("a", u64::MAX), ("b", 1)]);
        assert!(plan.check(u64::MAX - 1, "x").is_err());
    }

    #[test]
    fn rank_0_stands_apart() {
        let p = Peaks::of(&[900, 10, 30, 20]);
        assert_eq!((p.rank_0, p.max), (900, 900));
        assert_eq!(
            (p.others.min, p.others.median, p.others.max),
            (10.0, 20.0, 30.0)
        );
    }
}
