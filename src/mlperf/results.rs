//! Published results: the figures of runs that belong together, by the rules 3.3.8 and 4.3.6.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::editions::{CHECKPOINTS, TRAINING_RUNS};
use super::figures::{self, Checkpoints, Direction, Means, RunFigures, Training, Unreadable};
use super::group::{self, groups};
use super::hash::{keys_that_differ, work};
use super::leaf::{Kind, Leaf};
use super::sample::Sample;
use super::{NO_RUNS, tree};

/// A run's part in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The earliest of six: excluded.
    WarmUp,
    Measured,
}

impl Role {
    pub fn word(self) -> &'static str {
        match self {
            Role::WarmUp => "warm-up",
            Role::Measured => "measured",
        }
    }
}

#[derive(Debug, Clone, Serialize)]
pub struct GroupRun {
    pub role: Role,
    #[serde(flatten)]
    pub run: RunFigures,
}

/// Figures of a group of trainings.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TrainingResult {
    /// Of which runs the means are.
    pub basis: String,
    /// Mean over runs of `train_io_mean_MB_per_second` / 1024.
    pub read_gib_per_second: Option<Sample>,
    /// Of the runs' mean AU, percent.
    pub au_percent: Option<Sample>,
    /// Of the runs' samples per second.
    pub samples_per_second: Option<Sample>,
    /// `train_mean_of_<name>`: mean over runs of the mean of the list `train_<name>`.
    pub means: BTreeMap<String, Option<f64>>,
    /// Runs whose AU met the expectation.
    pub au_met: usize,
}

/// One direction of a group of checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DirectionResult {
    /// Operations of all its runs; means over runs.
    #[serde(flatten)]
    pub means: Means,
    /// Of all operations, seconds.
    pub durations: Option<Sample>,
    /// Of all operations, GiB/s.
    pub throughputs: Option<Sample>,
}

/// Figures of a group of checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckpointResult {
    /// `Full` or `Subset`.
    pub mode: &'static str,
    pub dp_instances: Option<u64>,
    /// Size of one, GiB.
    pub size_gib: Option<f64>,
    pub write: Option<DirectionResult>,
    pub read: Option<DirectionResult>,
}

/// Runs of one model on one kind of accelerator below one folder.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    pub organisation: Option<String>,
    pub system: Option<String>,
    pub kind: Kind,
    /// mlpstorage's name of the model.
    pub model: Option<String>,
    pub accelerator: Option<String>,
    /// True where the number of runs or operations is what a published figure needs, none lacks it, and all did the same
    /// work on as many accelerators and hosts.
    pub complete: bool,
    pub reasons: Vec<String>,
    /// In order of time.
    pub runs: Vec<GroupRun>,
    pub training: Option<TrainingResult>,
    pub checkpointing: Option<CheckpointResult>,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    pub groups: Vec<Group>,
    /// Generations and sizings, which have none.
    pub without_figures: Vec<RunFigures>,
    /// Runs that should have figures and have not.
    pub unreadable: Vec<Unreadable>,
}

/// A run and what is read of it.
struct Run {
    leaf: Leaf,
    figures: RunFigures,
}

impl AsRef<Leaf> for Run {
    fn as_ref(&self) -> &Leaf {
        &self.leaf
    }
}

/// Reads runs and trees of runs. Nothing fails: what cannot be read is named.
pub fn read(places: &[impl AsRef<Path>]) -> Figures {
    let mut found = Figures::default();
    let mut seen = BTreeSet::new();
    let mut runs = Vec::new();
    for place in places {
        let place = place.as_ref();
        let mut name = |path: &Path, cause: String| {
            let path = path.display().to_string();
            found.unreadable.push(Unreadable { path, cause });
        };
        let tree = match tree::leaves(place) {
            Ok(tree) => tree,
            Err(e) => {
                name(
                    place,
                    format!(
                        "the folder cannot be listed: {e}\n  remedy: give the folder of a run, or one above runs"
                    ),
                );
                continue;
            }
        };
        for (path, cause) in tree.unreadable {
            name(&path, format!("the folder cannot be listed: {cause}"));
        }
        if tree.leaves.is_empty() {
            name(place, NO_RUNS.into());
        }
        for leaf in tree.leaves {
            if !seen.insert(leaf.real_path()) {
                continue;
            }
            match figures::of(&leaf) {
                Ok(figures) if figures.training.is_some() || figures.checkpoints.is_some() => {
                    runs.push(Run { leaf, figures });
                }
                Ok(figures) => found.without_figures.push(figures),
                Err(unreadable) => found.unreadable.push(unreadable),
            }
        }
    }
    found.groups = groups(runs).into_iter().map(result).collect();
    // By folder where all of this is the same.
    found.groups.sort_by_cached_key(|g| {
        let place = (g.organisation.clone(), g.system.clone());
        (place, g.kind, g.model.clone(), g.accelerator.clone())
    });
    found
}

fn result(group: group::Group<Run>) -> Group {
    let mut reasons = differences(&group.runs);
    let mut roles = vec![Role::Measured; group.runs.len()];
    let (mut training, mut checkpointing) = (None, None);
    let kind = if group.key.is_training {
        training = Some(training_result(&group.runs, &mut roles, &mut reasons));
        Kind::TrainingRun
    } else {
        checkpointing = Some(checkpoint_result(&group.runs, &mut reasons));
        Kind::Checkpointing
    };
    let first = group.runs.first().map(|run| &run.figures);
    Group {
        organisation: first.and_then(|r| r.organisation.clone()),
        system: first.and_then(|r| r.system.clone()),
        kind,
        model: group.key.model,
        accelerator: group.key.accelerator,
        complete: reasons.is_empty(),
        reasons,
        training,
        checkpointing,
        runs: (roles.into_iter().zip(group.runs))
            .map(|(role, Run { figures: run, .. })| GroupRun { role, run })
            .collect(),
    }
}

/// In what runs differ whose figures make one.
fn differences(runs: &[Run]) -> Vec<String> {
    let mut out = Vec::new();
    type Of = fn(&RunFigures) -> Option<String>;
    let mut differing = |what: &str, of: Of| {
        let mut by_value: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for run in runs {
            let value = of(&run.figures).unwrap_or_else(|| "unknown".into());
            by_value.entry(value).or_default().push(&run.figures.path);
        }
        if by_value.len() > 1 {
            let list = by_value.iter();
            let list = list.map(|(value, paths)| format!("{value}: {}", paths.join(", ")));
            let list = list.collect::<Vec<_>>().join("; ");
            out.push(format!("the runs differ in {what} ({list})"));
        }
    };
    let hash: Of = |r| Some(r.core_config.as_ref()?.hash.clone());
    let (ranks, hosts): (Of, Of) = (
        |r| Some(r.accelerators?.to_string()),
        |r| Some(r.hosts?.to_string()),
    );
    differing("comparability hash, so they did not do the same work", hash);
    differing("the number of accelerators", ranks);
    differing("the number of hosts", hosts);
    let Some((first, others)) = runs.split_first() else {
        return out;
    };
    // What ran counts, whatever mlpstorage's metadata holds.
    let wanted = work(&first.leaf);
    for run in others {
        let has = work(&run.leaf);
        let keys = keys_that_differ(&wanted, &has);
        if !keys.is_empty() {
            let (a, b) = (&run.figures.path, &first.figures.path);
            out.push(format!("{a} differs from {b} in {}", keys.join(", ")));
        }
    }
    out
}

/// All values, or the reason why one is missing.
fn all(
    runs: &[&Run],
    figure: &str,
    of: impl Fn(&Training) -> Option<f64>,
    reasons: &mut Vec<String>,
) -> Option<Sample> {
    let value = |run: &&&Run| run.figures.training.as_ref().and_then(&of);
    let values: Vec<f64> = runs.iter().filter_map(|run| value(&run)).collect();
    let lacking = runs.iter().filter(|run| value(run).is_none());
    let lacking: Vec<&str> = lacking.map(|run| run.figures.path.as_str()).collect();
    if lacking.is_empty() {
        return Sample::of(&values);
    }
    reasons.push(format!("{figure} is absent in {}", lacking.join(", ")));
    None
}

/// The runs that count, and of which the means are. The earliest of six is the warm-up.
fn measured<'r>(
    runs: &'r [Run],
    roles: &mut [Role],
    reasons: &mut Vec<String>,
) -> (Vec<&'r Run>, String) {
    let is_timed = runs.iter().all(|r| r.figures.timestamp.is_some());
    if runs.len() == TRAINING_RUNS && is_timed {
        roles[0] = Role::WarmUp;
        let time = runs[0].figures.timestamp.as_deref().unwrap_or_default();
        let basis = format!("the 5 later of 6 runs; the earliest, {time}, is the warm-up");
        return (runs[1..].iter().collect(), basis);
    }
    reasons.push(if runs.len() == TRAINING_RUNS {
        "a run has no time, neither in its folder's name nor in summary.json: nothing says which is the warm-up".into()
    } else {
        format!("a published figure needs {TRAINING_RUNS} runs, the first to warm up; there are {}", runs.len())
    });
    let basis = format!("all {} runs, none left out: not publishable", runs.len());
    (runs.iter().collect(), basis)
}

fn training_result(runs: &[Run], roles: &mut [Role], reasons: &mut Vec<String>) -> TrainingResult {
    let (measured, basis) = measured(runs, roles, reasons);
    let trainings = || measured.iter().filter_map(|r| r.figures.training.as_ref());
    let names: BTreeSet<&String> = trainings().flat_map(|t| t.means_of_lists.keys()).collect();
    for name in ["train_au_percentage", "train_throughput_samples_per_second"] {
        if !names.iter().any(|n| *n == name) {
            reasons.push(format!("the list {name} is absent in every run"));
        }
    }
    let mut means = BTreeMap::new();
    for name in names {
        let of = |t: &Training| t.means_of_lists.get(name).copied().flatten();
        let mean = all(&measured, name, of, reasons);
        let figure = name.trim_start_matches("train_");
        means.insert(format!("train_mean_of_{figure}"), mean.map(|s| s.mean));
    }
    let verdict = |r: &&Run| r.figures.training.as_ref()?.au_meet_expectation;
    let with = |wanted: Option<&str>| {
        let runs = measured.iter().filter(|r| verdict(r) == wanted);
        runs.map(|r| r.figures.path.as_str()).collect::<Vec<_>>()
    };
    for (wanted, what) in [
        (Some("fail"), "AU does not meet the expectation"),
        (None, "nothing says whether AU meets the expectation"),
    ] {
        let paths = with(wanted);
        if !paths.is_empty() {
            reasons.push(format!("{what} in {}", paths.join(", ")));
        }
    }
    let mut sample = |figure, of: fn(&Training) -> Option<f64>| all(&measured, figure, of, reasons);
    TrainingResult {
        basis,
        read_gib_per_second: sample("train_io_mean_MB_per_second", |t| t.io_gib_per_second),
        au_percent: sample("train_au_mean_percentage", |t| t.au_mean_percent),
        samples_per_second: sample("train_throughput_mean_samples_per_second", |t| {
            t.samples_per_second
        }),
        means,
        au_met: with(Some("success")).len(),
    }
}

fn checkpoint_result(runs: &[Run], reasons: &mut Vec<String>) -> CheckpointResult {
    let own = runs.iter().filter_map(|r| r.figures.checkpoints.as_ref());
    let own: Vec<&Checkpoints> = own.collect();
    let modes: BTreeSet<&str> = own.iter().map(|c| c.mode).collect();
    if modes.len() > 1 {
        reasons.push("full and subset runs are mixed".into());
    }
    let mut of = |word: &str, of: fn(&Checkpoints) -> Option<&Direction>| {
        let directions: Vec<&Direction> = own.iter().filter_map(|c| of(c)).collect();
        direction_result(word, &directions, reasons)
    };
    let write = of("writes", |c| c.save.as_ref());
    let read = of("reads", |c| c.load.as_ref());
    CheckpointResult {
        mode: own.first().map_or("", |c| c.mode),
        dp_instances: own.iter().find_map(|c| c.dp_instances),
        size_gib: own.iter().find_map(|c| c.size_gib),
        write,
        read,
    }
}

fn direction_result(
    word: &str,
    of: &[&Direction],
    reasons: &mut Vec<String>,
) -> Option<DirectionResult> {
    let operations = of.iter().map(|d| d.means.operations);
    let operations = operations.fold(0, usize::saturating_add);
    if operations as u64 != CHECKPOINTS {
        let needed = format!("a published figure needs {CHECKPOINTS} {word}");
        reasons.push(format!("{needed}; there are {operations}"));
    }
    if of.is_empty() {
        return None;
    }
    let mean = |f: fn(&Means) -> Option<f64>| {
        let values: Option<Vec<f64>> = of.iter().map(|d| f(&d.means)).collect();
        Some(Sample::of(&values?)?.mean)
    };
    let each = |f: fn(&Direction) -> &Vec<f64>| {
        let values: Vec<f64> = of.iter().flat_map(|d| f(d).iter().copied()).collect();
        Sample::of(&values)
    };
    let means = Means {
        operations,
        gib_per_second: mean(|d| d.gib_per_second),
        duration_seconds: mean(|d| d.duration_seconds),
        slowest_rank_seconds: mean(|d| d.slowest_rank_seconds),
        slowest_rank_gib_per_second: mean(|d| d.slowest_rank_gib_per_second),
    };
    if means.gib_per_second.is_none() || means.duration_seconds.is_none() {
        reasons.push(format!("a run has no bandwidth or duration of its {word}"));
    }
    Some(DirectionResult {
        means,
        durations: each(|d| &d.durations),
        throughputs: each(|d| &d.throughputs),
    })
}
