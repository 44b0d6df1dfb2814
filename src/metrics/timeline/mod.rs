//! The recording of a run over time: `timeline.json.zst` beside `report.json`.
//!
//! Its size is bounded whatever the ranks, the steps and the hours: a recording that is full halves its resolution. Sums
//! are exact; what is folded, and by how much, stands in the file. `docs/timeline.md` describes it in words.
//!
//! All times are nanoseconds since the common start: the end of a barrier of all ranks at the beginning of the job, in
//! virtual time the beginning of training.

mod assemble;
mod bins;
mod devices;
mod event;
mod gauges;
mod heat;
mod host_series;
mod incidents;
mod latency;
mod longest;
mod merge;
#[cfg(test)]
pub(crate) mod merge_tests;
mod ranks;
mod recorder;
mod series;
mod shape;
mod steps;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::json;

pub use devices::choose_devices;
pub use event::{Event, EventLog};
pub use gauges::{Gauges, Sampler};
pub use heat::ThreadStages;
pub use latency::{EpochHistograms, LatencyMaps, StageLatency};
pub use merge::merge;
pub use ranks::RankEpochs;
pub use recorder::{Recorded, Recorder, StepSpan};
pub use series::{Column, Device, Series};
pub use steps::{Extremes, LongWait, StepBins, Steps};

/// Name and version of the schema. A reader refuses another number; new fields and columns do not change it.
pub const SCHEMA: &str = "dlio-rs/timeline/1";

/// Name of the file within a folder of results: JSON, compressed as one zstd frame.
pub const FILE: &str = "timeline.json.zst";

const SERIES_BINS: usize = 2_048;
/// Width of such a bin before anything is folded.
const BIN_NS: u64 = 100_000_000;

/// How many times as long as a step a wait must be to be an event.
const STANDS_OUT: u64 = 10;

/// Level of its compression: more gains little on numbers.
const LEVEL: i32 = 3;

/// Which clock the offsets are of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockKind {
    /// The monotonic clock of each host.
    #[default]
    Monotonic,
    Virtual,
}

/// A run over time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Timeline {
    /// [`SCHEMA`].
    pub schema: String,
    /// Which clock offsets are of.
    pub clock: ClockKind,
    /// Wall-clock label of offset 0 (local time of rank 0, as in `report.json`).
    pub start: String,
    /// Offset of the end of the recording, ns.
    pub length_ns: u64,
    /// Ranks of the job.
    pub ranks: usize,
    /// Names of the hosts; other tables refer to them by index.
    pub hosts: Vec<String>,
    /// Index into `hosts` of each rank.
    pub host_of_rank: Vec<usize>,
    /// The whole job.
    pub series: Series,
    /// The same per host, in the order of `hosts`. Fewer and wider bins than the job's.
    pub host_series: Vec<Series>,
    /// Training steps.
    pub steps: Steps,
    /// A value per rank and epoch.
    pub rank_epochs: RankEpochs,
    /// Latencies over time.
    pub latency: LatencyMaps,
    /// Histograms per epoch, all ranks together.
    pub histograms: Vec<EpochHistograms>,
    /// What happened when.
    pub events: EventLog,
    /// Block devices that were watched (`workflow.profiling`).
    pub devices: Vec<Device>,
}

/// Why a recording cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TimelineError {
    /// The file cannot be opened or unpacked.
    #[error("read {}: {source}", .path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    /// It is not a recording.
    #[error("read {}: {source}\n  remedy: it must be a timeline.json.zst that dlio-rs wrote", .path.display())]
    Format {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// It is a recording of another version.
    #[error("read {}: its schema is '{found}', and this dlio-rs reads '{SCHEMA}'\n  remedy: use the version of dlio-rs that wrote it", .path.display())]
    Schema { path: PathBuf, found: String },
}

impl Timeline {
    /// Reads a `timeline.json.zst`.
    ///
    /// Errors: [`TimelineError`], which names the file.
    pub fn load(path: &Path) -> Result<Self, TimelineError> {
        let read = |source| TimelineError::Read {
            path: path.to_owned(),
            source,
        };
        let file = std::fs::File::open(path).map_err(read)?;
        let text = zstd::stream::decode_all(file).map_err(read)?;
        let timeline: Timeline =
            serde_json::from_slice(&text).map_err(|source| TimelineError::Format {
                path: path.to_owned(),
                source,
            })?;
        if timeline.schema != SCHEMA {
            return Err(TimelineError::Schema {
                path: path.to_owned(),
                found: timeline.schema,
            });
        }
        Ok(timeline)
    }

    /// Adds events for waits that stand out: of the longest ones those that took [`STANDS_OUT`] times as long as a step takes
    /// on average. Waits that overlap are one event.
    pub fn note_long_waits(&mut self) {
        let bins = &self.steps.bins;
        let steps: u64 = bins.counts.iter().sum();
        let spent: u64 = (bins.step.sum_ns.iter()).chain(&bins.barrier.sum_ns).sum();
        let limit = STANDS_OUT.saturating_mul(spent / steps.max(1)).max(1);
        let mut waits: Vec<&LongWait> = (self.steps.longest_waits.iter())
            .filter(|wait| wait.wait_ns >= limit)
            .collect();
        waits.sort_by_key(|wait| wait.at_ns);
        let end = |wait: &LongWait| wait.at_ns + wait.wait_ns;
        let mut until = 0;
        let mut groups: Vec<Vec<&LongWait>> = Vec::new();
        for wait in waits {
            match groups.last_mut() {
                Some(group) if wait.at_ns < until => group.push(wait),
                _ => groups.push(vec![wait]),
            }
            until = until.max(end(wait));
        }
        for group in groups {
            let Some(longest) = group.iter().max_by_key(|wait| wait.wait_ns) else {
                continue;
            };
            let ranks: BTreeSet<usize> = group.iter().map(|wait| wait.rank).collect();
            let seconds = longest.wait_ns as f64 / 1e9;
            let fields = json!({
                "wait_s": seconds,
                "ranks": ranks.len(),
                "rank": longest.rank,
                "host": self.hosts.get(longest.host),
                "epoch": longest.epoch,
                "step": longest.step,
                "file": longest.file,
            });
            self.events.push(Event {
                at_ns: group[0].at_ns,
                until_ns: group.iter().map(|wait| end(wait)).max(),
                kind: "long_wait".into(),
                text: format!(
                    "rank {} waited {seconds:.3} s for the batch of step {} in epoch {}",
                    longest.rank, longest.step, longest.epoch
                ),
                fields: fields.as_object().cloned().unwrap_or_default(),
            });
        }
    }

    /// Adds events for stretches of bins in which requests to an object store were repeated, on any rank.
    pub fn note_retries(&mut self) {
        let series = &self.series;
        let classes: Vec<_> = Column::retried()
            .filter_map(|(column, class)| Some((class, series.get(column)?)))
            .collect();
        let is_hit = |bin: &usize| classes.iter().any(|(_, counts)| counts[*bin] > 0);
        let hit: Vec<usize> = (0..series.bins).filter(is_hit).collect();
        for stretch in hit.chunk_by(|a, b| a + 1 == *b) {
            let (first, last) = (stretch[0], stretch[stretch.len() - 1]);
            let sums = (classes.iter())
                .map(|(class, counts)| (class, counts[first..=last].iter().sum::<u64>()))
                .filter(|(_, n)| *n > 0);
            let total: u64 = sums.clone().map(|(_, n)| n).sum();
            self.events.push(Event {
                at_ns: first as u64 * series.bin_ns,
                until_ns: Some((last as u64 + 1) * series.bin_ns),
                kind: "retries".into(),
                text: format!("{total} request(s) were repeated"),
                fields: sums
                    .map(|(class, n)| ((*class).to_owned(), n.into()))
                    .collect(),
            });
        }
    }

    /// The bytes of a `timeline.json.zst`.
    pub fn to_bytes(&self) -> std::io::Result<Vec<u8>> {
        let mut packed = zstd::stream::Encoder::new(Vec::new(), LEVEL)?;
        serde_json::to_writer(&mut packed, self)?;
        packed.finish()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::latency::{BUCKETS, StageCounts, edges_ns};
    use super::*;
    use crate::stage::Stage;

    /// Two ranks on two hosts, four steps of a second; rank 1 waited two seconds for its third batch.
    pub(crate) fn example() -> Timeline {
        let column = |values: &[u64]| values.to_vec();
        let mut series = Series {
            bin_ns: 1_000_000_000,
            bins: 4,
            ..Series::default()
        };
        series.columns.insert(Column::Bytes, column(&[8, 8, 0, 8]));
        series.columns.insert(Column::WaitIo, column(&[0, 0, 7, 3]));
        let mut log = EventLog::default();
        log.events.push(Event {
            at_ns: 1_000_000_000,
            until_ns: Some(4_000_000_000),
            kind: "epoch".into(),
            text: "epoch 1 of 1".into(),
            fields: [("epoch".to_owned(), 1.into())].into_iter().collect(),
        });
        let extremes = |max: u64| Extremes {
            min_ns: vec![0; 4],
            sum_ns: vec![0, 0, max, 0],
            max_ns: vec![0, 0, max, 0],
            max_rank: vec![0, 0, 1, 0],
        };
        let bins = StepBins {
            width: 1,
            counts: vec![2; 4],
            wait: extremes(2_000_000_000),
            step: extremes(3_000_000_000),
            barrier: extremes(5),
        };
        Timeline {
            schema: SCHEMA.into(),
            start: "2026-11-26T18:29:44.000000".into(),
            length_ns: 4_000_000_000,
            ranks: 2,
            hosts: vec!["node0".into(), "node1".into()],
            host_of_rank: vec![0, 1],
            host_series: vec![series.clone(), series.clone()],
            series,
            steps: Steps {
                total: 4,
                first: bins.clone(),
                bins,
                longest_waits: vec![LongWait {
                    wait_ns: 2_000_000_000,
                    at_ns: 2_000_000_000,
                    epoch: 1,
                    step: 3,
                    rank: 1,
                    host: 1,
                    file: Some("train/img_3_of_8.npz".into()),
                }],
            },
            rank_epochs: RankEpochs {
                epochs: 1,
                epochs_per_column: 1,
                au_percent: vec![vec![90.0], vec![45.5]],
                wait_s: vec![vec![0.0], vec![2.0]],
                barrier_s: vec![vec![2.0], vec![0.0]],
                p99_wait_s: vec![vec![0.0], vec![2.0]],
                bytes: vec![vec![16.0], vec![8.0]],
            },
            latency: LatencyMaps {
                bin_ns: 8_000_000_000,
                edges_ns: edges_ns(),
                stages: vec![StageLatency {
                    stage: Stage::Read,
                    counts: vec![vec![1; BUCKETS]],
                }],
            },
            histograms: vec![EpochHistograms {
                first_epoch: 1,
                last_epoch: 1,
                stages: vec![StageCounts {
                    stage: Stage::BatchWait,
                    values_ns: vec![0, 2_000_683_007],
                    counts: vec![7, 1],
                    sum_ns: 2_000_000_000,
                    max_ns: 2_000_000_000,
                }],
            }],
            events: log,
            ..Timeline::default()
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let example = example();
        std::fs::write(&path, example.to_bytes().unwrap()).unwrap();
        assert_eq!(Timeline::load(&path).unwrap(), example);
        assert_eq!(example.series.sum(Column::Bytes), Some(24));
        assert_eq!(example.series.get(Column::NicBytes), None);
    }

    #[test]
    fn another_schema_and_other_bytes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE);
        let other = Timeline {
            schema: "dlio-rs/timeline/9".into(),
            ..Timeline::default()
        };
        std::fs::write(&path, other.to_bytes().unwrap()).unwrap();
        let error = Timeline::load(&path).unwrap_err().to_string();
        assert!(error.contains("dlio-rs/timeline/9"), "{error}");
        std::fs::write(&path, b"not zstd").unwrap();
        let error = Timeline::load(&path).unwrap_err().to_string();
        assert!(error.contains(FILE), "{error}");
    }
}
