//! How far two runs may lie apart.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::mlperf::foreign;

/// Whether something must be equal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    Equal,
    Ignore,
}

/// Which differences count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// Better and worse: the runs must be alike.
    Both,
    /// Only where the second run is worse.
    Worse,
}

/// The tolerances; every key of the file is one of these.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tolerance {
    /// Mean AU, percentage points.
    pub au_points: f64,
    /// Mean throughput and checkpoint bandwidth, percent of the first run's. MLPerf's rules call a result
    /// replicable within 5 %.
    pub throughput_percent: f64,
    /// Percentiles of latencies and of step times, percent of the first run's.
    pub percentile_percent: f64,
    /// Differences of percentiles below so many milliseconds do not count.
    pub percentile_floor_ms: f64,
    /// Bytes read and bytes of checkpoints, percent of the first run's.
    pub bytes_percent: f64,
    /// Samples, percent of the first run's.
    pub samples_percent: f64,
    /// Digest of the order of reads.
    pub order_digest: Demand,
    pub layout: Demand,
    pub comparability_hash: Demand,
    pub direction: Direction,
    /// A difference whose test has p >= `alpha` does not count. Differences without a test count.
    pub only_significant: bool,
    pub alpha: f64,
}

impl Default for Tolerance {
    fn default() -> Self {
        Tolerance {
            au_points: 1.0,
            throughput_percent: 5.0,
            percentile_percent: 25.0,
            percentile_floor_ms: 0.1,
            bytes_percent: 0.0,
            samples_percent: 0.0,
            order_digest: Demand::Equal,
            layout: Demand::Equal,
            comparability_hash: Demand::Ignore,
            direction: Direction::Both,
            only_significant: false,
            alpha: 0.05,
        }
    }
}

impl Tolerance {
    /// Reads a YAML file. Err: what is wrong, with file and remedy.
    pub fn read(path: &Path) -> Result<Self, String> {
        let place = path.display();
        let text = foreign::text(path)
            .and_then(|text| text.ok_or_else(|| "there is no such file".into()))
            .map_err(|why| {
                format!("read {place}: {why}\n  remedy: give a YAML file of tolerances")
            })?;
        let (value, _) = crate::config::yaml::parse(&text).map_err(|e| {
            format!(
                "read {place}: line {} column {}: {}",
                e.line, e.column, e.wrong
            )
        })?;
        let read: Tolerance = serde_yaml::from_value(value).map_err(|e| {
            format!("read {place}: {e}\n  remedy: `dlio-rs compare --help` lists the keys and their defaults")
        })?;
        for (key, number) in [
            ("au_points", read.au_points),
            ("throughput_percent", read.throughput_percent),
            ("percentile_percent", read.percentile_percent),
            ("percentile_floor_ms", read.percentile_floor_ms),
            ("bytes_percent", read.bytes_percent),
            ("samples_percent", read.samples_percent),
        ] {
            if !(number.is_finite() && number >= 0.0) {
                return Err(format!(
                    "read {place}: {key} is {number}\n  remedy: write a number of at least 0"
                ));
            }
        }
        if !(read.alpha > 0.0 && read.alpha < 1.0) {
            return Err(format!(
                "read {place}: alpha is {}\n  remedy: write a probability between 0 and 1",
                read.alpha
            ));
        }
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pipe_is_refused_and_not_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let message = Tolerance::read(&pipe).unwrap_err();
        assert!(message.contains("no regular file"), "{message}");
    }

    #[test]
    fn unknown_and_impossible_keys_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.yaml");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Tolerance::read(&path)
        };
        assert_eq!(read("").unwrap(), Tolerance::default());
        let t = read("au_points: 2\norder_digest: ignore\ndirection: worse\n").unwrap();
        assert_eq!((t.au_points, t.order_digest), (2.0, Demand::Ignore));
        for (text, word) in [
            ("au_point: 2", "au_point"),
            ("au_points: -1", "au_points is -1"),
            ("au_points: .nan", "au_points is NaN"),
            ("alpha: 1", "alpha is 1"),
            ("order_digest: maybe", "maybe"),
            ("[1]", "t.yaml"),
            ("a: [", "line"),
        ] {
            let message = read(text).unwrap_err();
            assert!(
                message.contains(word) && message.contains("t.yaml"),
                "{message}"
            );
        }
        assert!(Tolerance::read(Path::new("/nowhere.yaml")).is_err());
    }
}
