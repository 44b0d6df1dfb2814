//! The published figures of one run, read from its own files.
//!
//! A figure is taken from `summary.json`; where that has none (the original writes NaN for what it did not do)
//! from `0_per_epoch_stats.json`. What cannot be had is absent, with the reason.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use serde::Serialize;

use super::foreign::{CheckpointStats, Document, Loose, PerEpochStats};
use super::hash::CoreConfig;
use super::leaf::{Kind, Leaf};
use super::own;
use super::sample::Sample;
use crate::storage::System;

/// `metric.au` where a workload does not set it. Source: DLIO's defaults.
const DEFAULT_AU: f64 = 0.90;

/// Why a figure is not there.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Absence {
    pub figure: String,
    pub reason: String,
}

impl fmt::Display for Absence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.figure, self.reason)
    }
}

/// Whether the mean AU reached what was expected of it, and whose word that is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct AuVerdict {
    pub(crate) is_met: bool,
    /// DLIO's word; else mean AU and `metric.au`, percent.
    source: Result<String, (f64, f64)>,
}

impl AuVerdict {
    pub(crate) fn word(&self) -> &'static str {
        match self.is_met {
            true => "success",
            false => "fail",
        }
    }
}

impl fmt::Display for AuVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Ok(word) => write!(f, "train_au_meet_expectation is \"{word}\""),
            Err((mean, least)) => write!(
                f,
                "summary.json has no train_au_meet_expectation; mean AU {mean:.2} % against metric.au {least:.0} %"
            ),
        }
    }
}

/// DLIO's verdict; where `summary.json` has none (older versions), its mean AU against `metric.au`. None without both.
pub(crate) fn au_verdict(leaf: &Leaf) -> Option<AuVerdict> {
    if let Some(word) = leaf.metric("train_au_meet_expectation").text() {
        return Some(AuVerdict {
            is_met: word == "success",
            source: Ok(word.to_owned()),
        });
    }
    leaf.workload()?;
    let mean = mean_au(leaf)?;
    let least = 100.0 * leaf.parameters.metric.au.number().unwrap_or(DEFAULT_AU);
    Some(AuVerdict {
        is_met: mean >= least,
        source: Err((mean, least)),
    })
}

fn mean_au(leaf: &Leaf) -> Option<f64> {
    let mean = leaf.metric("train_au_mean_percentage").number();
    mean.or_else(|| mean_of(&leaf.metric("train_au_percentage").list()?))
}

/// Training of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Training {
    /// Mean over epochs, percent.
    pub au_mean_percent: Option<f64>,
    /// Per epoch, percent; null where the file has no number.
    pub au_percent: Vec<Option<f64>>,
    /// `success` or `fail`: DLIO's verdict, else by `metric.au`.
    pub au_meet_expectation: Option<&'static str>,
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

/// Saves or loads of a run, or of a group of runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Means {
    pub operations: usize,
    /// Mean, GiB/s: size / rank 0's duration, as DLIO computes it.
    pub gib_per_second: Option<f64>,
    /// Mean, seconds, of rank 0.
    pub duration_seconds: Option<f64>,
    /// Mean of the slowest rank's seconds; only runs of dlio-rs know it.
    pub slowest_rank_seconds: Option<f64>,
    /// Mean by the slowest rank's time, GiB/s.
    pub slowest_rank_gib_per_second: Option<f64>,
}

/// Saves or loads of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Direction {
    /// Means over operations.
    #[serde(flatten)]
    pub means: Means,
    /// Seconds of each.
    pub durations: Vec<f64>,
    /// GiB/s of each.
    pub throughputs: Vec<f64>,
}

/// Checkpoints of one run.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Checkpoints {
    /// Size of one, all ranks, GiB.
    pub size_gib: Option<f64>,
    /// `Full` or `Subset`.
    pub mode: &'static str,
    /// Data-parallel instances, where the configuration says it.
    pub dp_instances: Option<u64>,
    pub save: Option<Direction>,
    pub load: Option<Direction>,
}

/// Everything about one run.
#[derive(Debug, Clone, Serialize)]
pub struct RunFigures {
    pub path: String,
    pub is_ours: bool,
    /// `OPEN` for runs of dlio-rs and those in an OPEN tree. CLOSED is never claimed.
    pub division: Option<&'static str>,
    pub organisation: Option<String>,
    pub system: Option<String>,
    pub kind: Kind,
    /// mlpstorage's name of the model.
    pub model: Option<String>,
    pub accelerator: Option<String>,
    /// `YYYYMMDD_HHMMSS`: the folder's, else of the start.
    pub timestamp: Option<String>,
    pub accelerators: Option<u64>,
    pub hosts: Option<u64>,
    pub epochs: Option<u64>,
    /// `object` or `file`.
    pub access: &'static str,
    pub core_config: Option<CoreConfig>,
    pub training: Option<Training>,
    pub checkpoints: Option<Checkpoints>,
    pub absent: Vec<Absence>,
}

/// A run that cannot be used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Unreadable {
    pub path: String,
    /// Cause and remedy.
    pub cause: String,
}

/// The figures of a run.
///
/// Errors: it has none, though it should.
pub fn of(leaf: &Leaf) -> Result<RunFigures, Unreadable> {
    let kind = leaf.kind();
    if let Some(cause) = unusable(leaf, kind) {
        return Err(Unreadable {
            path: leaf.path.display().to_string(),
            cause,
        });
    }
    let mut absent = Absences::default();
    let training = (kind == Kind::TrainingRun).then(|| training(leaf, &mut absent));
    let checkpoints = (kind == Kind::Checkpointing).then(|| checkpoints(leaf, &mut absent));
    let core_config = CoreConfig::of_leaf(leaf);
    if core_config.is_none() {
        absent.add(
            "comparability hash",
            "there are no parameters: neither metadata nor dlio_config/config.yaml",
        );
    }
    let place = place(&leaf.real_path());
    let is_ours = leaf.is_ours();
    Ok(RunFigures {
        path: leaf.path.display().to_string(),
        is_ours,
        division: (is_ours || place.is_open).then_some("OPEN"),
        organisation: place.organisation,
        system: place.system,
        kind,
        model: leaf.model(),
        accelerator: leaf.accelerator().filter(|_| kind != Kind::Checkpointing),
        timestamp: leaf.began().map(|t| t.format("%Y%m%d_%H%M%S").to_string()),
        accelerators: leaf.accelerators(),
        hosts: leaf.hosts(),
        epochs: leaf.summary.value().and_then(|s| s.epochs.whole()),
        access: access(leaf),
        core_config,
        training,
        checkpoints,
        absent: absent.0,
    })
}

/// Why a run that should have figures has none.
fn unusable(leaf: &Leaf, kind: Kind) -> Option<String> {
    let has_none = match kind {
        Kind::TrainingRun | Kind::Checkpointing => false,
        Kind::Unknown => leaf.is_of_another_benchmark(),
        Kind::TrainingDatagen | Kind::TrainingDatasize => true,
    };
    let again = "run it again, or take its folder out";
    match &leaf.summary {
        _ if has_none => None,
        Document::Absent => Some(format!("there is no summary.json: the run did not finish; {again}")),
        Document::Broken(cause) => Some(format!("summary.json cannot be read: {cause}; {again}")),
        Document::Read(summary) if summary.metric.is_none() => {
            Some("summary.json has no map 'metric': it is not DLIO's".into())
        }
        Document::Read(_) if kind == Kind::Unknown => Some(
            "neither dlio_config/config.yaml nor the metrics of summary.json say whether it trained or wrote checkpoints".into(),
        ),
        Document::Read(_) => None,
    }
}

fn access(leaf: &Leaf) -> &'static str {
    let p = &leaf.parameters;
    let kind = p.storage.storage_type.text().unwrap_or_default();
    let folders = [&p.dataset.data_folder, &p.checkpoint.checkpoint_folder];
    let of_folder = |folder: &Loose| System::of_scheme(folder.text()?.split_once("://")?.0);
    let named = folders.into_iter().filter_map(of_folder);
    match named
        .chain(System::of_word(kind))
        .any(|system| system.objects)
    {
        true => "object",
        false => "file",
    }
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
    let is_results = |i: &usize| {
        names[*i] == "results" && ["training", "checkpointing"].contains(&names[i + 2].as_str())
    };
    match (1..names.len().saturating_sub(2)).find(is_results) {
        Some(i) => Place {
            is_open: i > 1 && names[i - 2].eq_ignore_ascii_case("open"),
            organisation: Some(names[i - 1].clone()),
            system: Some(names[i + 1].clone()),
        },
        None => Place::default(),
    }
}

#[derive(Default)]
struct Absences(Vec<Absence>);

impl Absences {
    fn add(&mut self, figure: &str, reason: impl Into<String>) {
        self.0.push(Absence {
            figure: figure.into(),
            reason: reason.into(),
        });
    }

    /// A metric, or the reason why there is none.
    fn metric(&mut self, leaf: &Leaf, key: &str) -> Option<f64> {
        let value = leaf.metric(key).0.as_f64();
        if value.is_none() {
            let metrics = leaf.summary.value().and_then(|s| s.metric.as_ref());
            let why = match metrics.is_some_and(|m| m.contains_key(key)) {
                true => "summary.json holds no number for it (NaN or null)",
                false => "summary.json has no such key",
            };
            self.add(key, why);
        }
        value
    }

    fn list(&mut self, leaf: &Leaf, key: &str) -> Vec<Option<f64>> {
        let Some(values) = leaf.metric(key).list() else {
            self.add(key, "summary.json has no such list");
            return Vec::new();
        };
        let missing = values.iter().filter(|v| v.is_none()).count();
        if missing > 0 {
            let all = values.len();
            self.add(key, format!("{missing} of {all} values are NaN or null"));
        }
        values
    }
}

fn mean_of(values: &[Option<f64>]) -> Option<f64> {
    let all: Option<Vec<f64>> = values.iter().copied().collect();
    Some(Sample::of(&all?)?.mean)
}

fn training(leaf: &Leaf, absent: &mut Absences) -> Training {
    let au_percent = absent.list(leaf, "train_au_percentage");
    let samples = absent.list(leaf, "train_throughput_samples_per_second");
    let io = absent.metric(leaf, "train_io_mean_MB_per_second");
    let metrics = leaf.summary.value().and_then(|s| s.metric.as_ref());
    let means_of_lists = metrics
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with("train_"))
        .filter_map(|(key, value)| Some((key.clone(), mean_of(&value.list()?))))
        .collect();
    let verdict = au_verdict(leaf);
    let by_metric = verdict.as_ref().filter(|v| v.source.is_err());
    if verdict.is_none() || by_metric.is_some() {
        let none = || "summary.json has none, nor mean AU and metric.au".into();
        let why = by_metric.map_or_else(none, AuVerdict::to_string);
        absent.add("train_au_meet_expectation", why);
    }
    let mut mean = |key: &str, values: &[_]| absent.metric(leaf, key).or_else(|| mean_of(values));
    Training {
        au_mean_percent: mean("train_au_mean_percentage", &au_percent),
        au_percent,
        au_meet_expectation: verdict.map(|v| v.word()),
        samples_per_second: mean("train_throughput_mean_samples_per_second", &samples),
        samples_per_second_stdev: (leaf.metric("train_throughput_stdev_samples_per_second").0)
            .as_f64(),
        samples_per_second_values: samples,
        io_mib_per_second: io,
        io_gib_per_second: io.map(|v| v / 1024.0),
        means_of_lists,
    }
}

fn checkpoints(leaf: &Leaf, absent: &mut Absences) -> Checkpoints {
    let stats: Document<PerEpochStats> = Document::json(&leaf.path.join("0_per_epoch_stats.json"));
    if let Some(cause) = stats.broken() {
        let why = format!("0_per_epoch_stats.json cannot be read: {cause}");
        absent.add("checkpoints one by one", why);
    }
    let c = &leaf.parameters.checkpoint;
    let own = leaf.report.value().and_then(|r| r.checkpoint.as_ref());
    let mut of = |word, planned, own| direction(leaf, word, planned, stats.value(), own, absent);
    let (own_save, own_load) = own.map_or((None, None), |o| (o.save.as_ref(), o.load.as_ref()));
    let save = of("save", &c.num_checkpoints_write, own_save);
    let load = of("load", &c.num_checkpoints_read, own_load);
    let is_subset = c.mode.text() == Some("subset");
    let p = &leaf.parameters.model.parallelism;
    let ranks_of = |value: &Loose| value.whole().filter(|n| *n > 0);
    let one = |value| ranks_of(value).unwrap_or(1);
    let instance = one(&p.tensor).saturating_mul(one(&p.pipeline));
    let whole =
        |ranks: u64| (!is_subset && ranks.is_multiple_of(instance)).then_some(ranks / instance);
    Checkpoints {
        size_gib: absent.metric(leaf, "checkpoint_size_GB"),
        mode: if is_subset { "Subset" } else { "Full" },
        dp_instances: ranks_of(&p.data).or_else(|| whole(leaf.accelerators()?)),
        save,
        load,
    }
}

/// Saves (`save`) or loads (`load`); None where there were none.
fn direction(
    leaf: &Leaf,
    word: &str,
    planned: &Loose,
    stats: Option<&PerEpochStats>,
    own: Option<&own::Direction>,
    absent: &mut Absences,
) -> Option<Direction> {
    let (mut durations, mut throughputs) = (Vec::new(), Vec::new());
    let prefix = format!("{word}_ckpt");
    let is_digit = |n: &str| n.starts_with(|c: char| c.is_ascii_digit());
    let is_one = |key: &str| key.strip_prefix(&prefix).is_some_and(is_digit);
    let epochs = stats.into_iter().flat_map(|s| s.epochs.values());
    for (_, entry) in epochs.flatten().filter(|(key, _)| is_one(key)) {
        if let Some(one) = CheckpointStats::of(entry) {
            durations.extend(one.duration.number());
            throughputs.extend(one.throughput.number());
        }
    }
    let counted = stats.map(|_| durations.len());
    let reported = own.map(|d| d.count as usize);
    let operations = counted.or(reported).or(planned.whole().map(|n| n as usize));
    let operations = operations.filter(|n| *n > 0)?;
    let mean = |values: &[f64]| Sample::of(values).map(|s| s.mean);
    let rate = absent.metric(leaf, &format!("{word}_checkpoint_io_mean_GB_per_second"));
    let time = absent.metric(leaf, &format!("{word}_checkpoint_duration_mean_seconds"));
    let slowest = own.and_then(|d| d.slowest_rank_duration_mean.value);
    if slowest.is_none() {
        let figure = format!("slowest rank's {word} duration");
        let why = "there is no report.json of dlio-rs; DLIO records rank 0's time only";
        absent.add(&figure, why);
    }
    let means = Means {
        operations,
        gib_per_second: rate.or_else(|| mean(&throughputs)),
        duration_seconds: time.or_else(|| mean(&durations)),
        slowest_rank_seconds: slowest,
        slowest_rank_gib_per_second: own.and_then(|d| d.slowest_rank_throughput_mean.value),
    };
    Some(Direction {
        means,
        durations,
        throughputs,
    })
}
