//! The published figures of runs, read from their own files: per run, and [`groups`](super::groups) of them.
//!
//! A figure is taken from `summary.json`; where that has none (the original writes NaN for what it did not do)
//! from `0_per_epoch_stats.json`. What cannot be had is absent, with the reason.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::hash::CoreConfig;
use super::json::{Document, at};
use super::leaf::{Kind, Leaf};
use super::rules::group::{home, work};
use super::stats::Sample;

/// Why a figure is not there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Absence {
    /// Which figure.
    pub figure: String,
    /// The reason.
    pub reason: String,
}

/// Training of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Training {
    /// Mean over epochs, percent.
    pub au_mean_percent: Option<f64>,
    /// Per epoch, percent; null where the file has no number.
    pub au_percent: Vec<Option<f64>>,
    /// DLIO's verdict: `success` or `fail`.
    pub au_meet_expectation: Option<String>,
    /// Mean over epochs.
    pub samples_per_second: Option<f64>,
    /// Population standard deviation over epochs.
    pub samples_per_second_stdev: Option<f64>,
    /// Per epoch.
    pub samples_per_second_values: Vec<Option<f64>>,
    /// DLIO's `train_io_mean_MB_per_second`, which is MiB/s.
    pub io_mib_per_second: Option<f64>,
    /// The same / 1024: what is published.
    pub io_gib_per_second: Option<f64>,
    /// Mean of every list of the metrics that begins with `train_`; null where a value is missing.
    pub means_of_lists: BTreeMap<String, Option<f64>>,
}

/// Saves or loads of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Direction {
    /// How many.
    pub operations: usize,
    /// Mean, GiB/s: size / rank 0's duration, as DLIO computes it.
    pub gib_per_second: Option<f64>,
    /// Mean, seconds, of rank 0.
    pub duration_seconds: Option<f64>,
    /// Seconds of each.
    pub durations: Vec<f64>,
    /// GiB/s of each.
    pub throughputs: Vec<f64>,
    /// Mean over operations of the slowest rank's seconds; only runs of dlio-rs know it.
    pub slowest_rank_seconds: Option<f64>,
    /// Mean over operations by the slowest rank's time, GiB/s.
    pub slowest_rank_gib_per_second: Option<f64>,
}

/// Checkpoints of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Checkpoints {
    /// Size of one, all ranks, GiB.
    pub size_gib: Option<f64>,
    /// `Full` or `Subset`.
    pub mode: String,
    /// Data-parallel instances, where the configuration tells.
    pub dp_instances: Option<u64>,
    /// Writes.
    pub save: Option<Direction>,
    /// Reads.
    pub load: Option<Direction>,
}

/// Everything about one run.
#[derive(Debug, Clone, Serialize)]
pub struct RunFigures {
    /// Its folder.
    pub path: String,
    /// The folder of its group, without links.
    #[serde(skip)]
    pub home: PathBuf,
    /// What decides that runs did the same work, of what ran; the hash is that of mlpstorage's metadata where there is one.
    #[serde(skip)]
    pub work: BTreeMap<String, String>,
    /// True where dlio-rs made it.
    pub is_ours: bool,
    /// `OPEN` for runs of dlio-rs and those in an OPEN tree. CLOSED is never said.
    pub division: Option<&'static str>,
    /// Organisation of a submission tree.
    pub organisation: Option<String>,
    /// System of a submission tree.
    pub system: Option<String>,
    /// What it did.
    pub kind: Kind,
    /// mlpstorage's name of the model.
    pub model: Option<String>,
    /// Emulated accelerator.
    pub accelerator: Option<String>,
    /// `YYYYMMDD_HHMMSS`: the folder's, else of the start.
    pub timestamp: Option<String>,
    /// Ranks.
    pub accelerators: Option<u64>,
    /// Hosts.
    pub hosts: Option<u64>,
    /// Epochs that were trained.
    pub epochs: Option<u64>,
    /// `object` or `file`.
    pub access: &'static str,
    /// Comparability.
    pub core_config: Option<CoreConfig>,
    /// Present for training.
    pub training: Option<Training>,
    /// Present for checkpoints.
    pub checkpoints: Option<Checkpoints>,
    /// What is not there.
    pub absent: Vec<Absence>,
}

/// A run that cannot be used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unreadable {
    /// Its folder.
    pub path: String,
    /// Cause and remedy.
    pub cause: String,
}

/// The figures of a run. Err: it has none, though it should.
pub fn of(leaf: &Leaf) -> Result<RunFigures, Unreadable> {
    let unreadable = |cause: String| Unreadable {
        path: leaf.path.display().to_string(),
        cause,
    };
    let kind = leaf.kind();
    // mlpstorage runs benchmarks, too, that have nothing to do with DLIO.
    let is_other = leaf
        .metadata()
        .and_then(|m| at(m, "benchmark_type")?.as_str())
        .is_some_and(|word| !["training", "checkpointing"].contains(&word));
    let has_figures = match kind {
        Kind::TrainingRun | Kind::Checkpointing => true,
        Kind::Unknown => !is_other,
        Kind::TrainingDatagen | Kind::TrainingDatasize => false,
    };
    if has_figures {
        match &leaf.summary {
            Document::Absent => {
                return Err(unreadable(
                    "there is no summary.json: the run did not finish; run it again, or take its folder out".into(),
                ));
            }
            Document::Broken(cause) => {
                return Err(unreadable(format!(
                    "summary.json cannot be read: {cause}; run it again, or take its folder out"
                )));
            }
            Document::Read { .. } => {}
        }
        if leaf.summary("metric").and_then(Value::as_object).is_none() {
            return Err(unreadable(
                "summary.json has no map 'metric': it is not DLIO's".into(),
            ));
        }
        if kind == Kind::Unknown {
            return Err(unreadable(
                "neither dlio_config/config.yaml nor the metrics of summary.json tell whether it trained or wrote checkpoints".into(),
            ));
        }
    }
    let mut absent = Vec::new();
    let training = (kind == Kind::TrainingRun).then(|| training(leaf, &mut absent));
    let checkpoints = (kind == Kind::Checkpointing).then(|| checkpoints(leaf, &mut absent));
    let core_config = CoreConfig::of_leaf(leaf);
    if core_config.is_none() {
        absent.push(Absence {
            figure: "comparability hash".into(),
            reason: "there are no parameters: neither metadata nor dlio_config/config.yaml".into(),
        });
    }
    let canonical = leaf.path.canonicalize();
    let canonical = canonical.unwrap_or_else(|_| leaf.path.clone());
    let place = place(&canonical);
    let is_ours = leaf.is_ours();
    let time = leaf.began();
    let object = leaf
        .parameter("storage.storage_type")
        .and_then(Value::as_str)
        .is_some_and(|t| t.starts_with("s3") || t == "azure" || t == "aistore");
    let elsewhere = ["dataset.data_folder", "checkpoint.checkpoint_folder"]
        .iter()
        .filter_map(|key| leaf.parameter(key)?.as_str())
        .any(|folder| folder.starts_with("s3://") || folder.starts_with("az://"));
    Ok(RunFigures {
        path: leaf.path.display().to_string(),
        home: home(&canonical),
        work: work(leaf),
        is_ours,
        division: (is_ours || place.is_open).then_some("OPEN"),
        organisation: place.organisation,
        system: place.system,
        kind,
        model: leaf.model(),
        accelerator: leaf.accelerator(),
        timestamp: time.map(|t| t.format("%Y%m%d_%H%M%S").to_string()),
        accelerators: leaf.accelerators(),
        hosts: leaf.hosts(),
        epochs: leaf.summary("epochs").and_then(Value::as_u64),
        access: if object || elsewhere {
            "object"
        } else {
            "file"
        },
        core_config,
        training,
        checkpoints,
        absent,
    })
}

/// What the path of a run in a submission tree says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Place {
    is_open: bool,
    organisation: Option<String>,
    system: Option<String>,
}

/// Of a folder `<division>/<org>/results/<system>/{training,checkpointing}/...`.
fn place(path: &Path) -> Place {
    let names: Vec<String> = path
        .components()
        .map(|c| c.as_os_str().to_string_lossy().into_owned())
        .collect();
    let found = (1..names.len().saturating_sub(2)).find(|&i| {
        names[i] == "results" && ["training", "checkpointing"].contains(&names[i + 2].as_str())
    });
    match found {
        Some(i) => Place {
            is_open: i > 1 && names[i - 2].eq_ignore_ascii_case("open"),
            organisation: Some(names[i - 1].clone()),
            system: Some(names[i + 1].clone()),
        },
        None => Place::default(),
    }
}

/// A metric, or the reason why there is none.
fn metric(leaf: &Leaf, key: &str, absent: &mut Vec<Absence>) -> Option<f64> {
    let value = leaf.metric(key);
    if value.is_none() {
        let present = leaf.summary("metric").and_then(|m| m.get(key)).is_some();
        absent.push(Absence {
            figure: key.into(),
            reason: if present {
                "summary.json holds no number for it (NaN or null)".into()
            } else {
                "summary.json has no such key".into()
            },
        });
    }
    value
}

fn list(leaf: &Leaf, key: &str, absent: &mut Vec<Absence>) -> Vec<Option<f64>> {
    let metric = leaf.summary("metric").and_then(|m| m.get(key));
    let Some(list) = metric.and_then(Value::as_array) else {
        absent.push(Absence {
            figure: key.into(),
            reason: "summary.json has no such list".into(),
        });
        return Vec::new();
    };
    let values: Vec<Option<f64>> = list.iter().map(Value::as_f64).collect();
    let missing = values.iter().filter(|v| v.is_none()).count();
    if missing > 0 {
        absent.push(Absence {
            figure: key.into(),
            reason: format!("{missing} of {} values are NaN or null", values.len()),
        });
    }
    values
}

fn mean_of(values: &[Option<f64>]) -> Option<f64> {
    let all: Option<Vec<f64>> = values.iter().copied().collect();
    Some(Sample::of(&all?)?.mean)
}

fn training(leaf: &Leaf, absent: &mut Vec<Absence>) -> Training {
    let au_percent = list(leaf, "train_au_percentage", absent);
    let samples = list(leaf, "train_throughput_samples_per_second", absent);
    let io = metric(leaf, "train_io_mean_MB_per_second", absent);
    let metrics = leaf.summary("metric").and_then(Value::as_object);
    let means_of_lists = metrics
        .into_iter()
        .flatten()
        .filter(|(key, value)| key.starts_with("train_") && value.is_array())
        .map(|(key, value)| {
            let values: Vec<Option<f64>> = value
                .as_array()
                .map_or_else(Vec::new, |l| l.iter().map(Value::as_f64).collect());
            (key.clone(), mean_of(&values))
        })
        .collect();
    Training {
        au_mean_percent: metric(leaf, "train_au_mean_percentage", absent)
            .or_else(|| mean_of(&au_percent)),
        au_percent,
        au_meet_expectation: leaf
            .summary("metric")
            .and_then(|m| m.get("train_au_meet_expectation")?.as_str())
            .map(str::to_owned),
        samples_per_second: metric(leaf, "train_throughput_mean_samples_per_second", absent)
            .or_else(|| mean_of(&samples)),
        samples_per_second_stdev: leaf.metric("train_throughput_stdev_samples_per_second"),
        samples_per_second_values: samples,
        io_mib_per_second: io,
        io_gib_per_second: io.map(|v| v / 1024.0),
        means_of_lists,
    }
}

fn checkpoints(leaf: &Leaf, absent: &mut Vec<Absence>) -> Checkpoints {
    let stats = Document::json(&leaf.path.join("0_per_epoch_stats.json"));
    if let Document::Broken(cause) = &stats {
        absent.push(Absence {
            figure: "checkpoints one by one".into(),
            reason: format!("0_per_epoch_stats.json cannot be read: {cause}"),
        });
    }
    let ours = |key: &str| {
        let value = at(leaf.report.value()?, key)?;
        value.as_f64().or_else(|| value.get("value")?.as_f64())
    };
    let mut direction = |word: &str, configured: &str| {
        let (mut durations, mut throughputs) = (Vec::new(), Vec::new());
        let epochs = stats.value().and_then(Value::as_object);
        for epoch in epochs.into_iter().flatten().filter_map(|e| e.1.as_object()) {
            for (_, entry) in epoch.iter().filter(|(key, _)| {
                key.strip_prefix(&format!("{word}_ckpt"))
                    .is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit()))
            }) {
                // The original's times of blocks are text; those of checkpoints are numbers, but not in all versions.
                let number = |key: &str| match entry.get(key)? {
                    Value::String(text) => text.parse().ok(),
                    other => other.as_f64(),
                };
                durations.extend(number("duration"));
                throughputs.extend(number("throughput"));
            }
        }
        let counted = stats.value().map(|_| durations.len());
        let reported = ours(&format!("checkpoint.{word}.count")).map(|n| n as usize);
        let planned = leaf.number(configured).map(|n| n as usize);
        let operations = counted.or(reported).or(planned).unwrap_or(0);
        if operations == 0 {
            return None;
        }
        let key = format!("{word}_checkpoint_io_mean_GB_per_second");
        let rate = metric(leaf, &key, absent).or_else(|| Sample::of(&throughputs).map(|s| s.mean));
        let key = format!("{word}_checkpoint_duration_mean_seconds");
        let time = metric(leaf, &key, absent).or_else(|| Sample::of(&durations).map(|s| s.mean));
        let slowest = ours(&format!("checkpoint.{word}.slowest_rank_duration_mean"));
        if slowest.is_none() {
            absent.push(Absence {
                figure: format!("slowest rank's {word} duration"),
                reason: "there is no report.json of dlio-rs; DLIO records rank 0's time only"
                    .into(),
            });
        }
        Some(Direction {
            operations,
            gib_per_second: rate,
            duration_seconds: time,
            durations,
            throughputs,
            slowest_rank_seconds: slowest,
            slowest_rank_gib_per_second: ours(&format!(
                "checkpoint.{word}.slowest_rank_throughput_mean"
            )),
        })
    };
    let save = direction("save", "checkpoint.num_checkpoints_write");
    let load = direction("load", "checkpoint.num_checkpoints_read");
    let subset = leaf
        .parameter("checkpoint.mode")
        .and_then(Value::as_str)
        .is_some_and(|mode| mode == "subset");
    let number = |key: &str| leaf.number(key).map(|n| n as u64).filter(|n| *n > 0);
    let instance = number("model.parallelism.tensor")
        .unwrap_or(1)
        .saturating_mul(number("model.parallelism.pipeline").unwrap_or(1));
    let dp_instances = number("model.parallelism.data").or_else(|| {
        let ranks = leaf.accelerators()?;
        (!subset && ranks % instance == 0).then_some(ranks / instance)
    });
    Checkpoints {
        size_gib: metric(leaf, "checkpoint_size_GB", absent),
        mode: if subset { "Subset" } else { "Full" }.into(),
        dp_instances,
        save,
        load,
    }
}
