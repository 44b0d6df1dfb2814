//! Runs that make one published figure together: the rule of six trainings, and of ten writes and ten reads.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;

use super::NO_RUNS;
use super::figures::{self, Direction, RunFigures, Unreadable};
use super::leaf::{Kind, Leaf};
use super::rules::group::Key;
use super::rules::tables::{CHECKPOINTS, TRAINING_RUNS};
use super::stats::Sample;
use super::tree;

/// A run's part in its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The earliest of six: excluded.
    WarmUp,
    /// It counts.
    Measured,
}

/// One run in a group.
#[derive(Debug, Clone, Serialize)]
pub struct GroupRun {
    /// Its part.
    pub role: Role,
    /// Its figures.
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
    /// Operations of all its runs.
    pub operations: usize,
    /// Mean over runs, GiB/s.
    pub gib_per_second: Option<f64>,
    /// Mean over runs, seconds.
    pub duration_seconds: Option<f64>,
    /// Of all operations, seconds.
    pub durations: Option<Sample>,
    /// Of all operations, GiB/s.
    pub throughputs: Option<Sample>,
    /// Mean over runs, the slowest rank's seconds.
    pub slowest_rank_seconds: Option<f64>,
    /// Mean over runs, by the slowest rank's time, GiB/s.
    pub slowest_rank_gib_per_second: Option<f64>,
}

/// Figures of a group of checkpoints.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CheckpointResult {
    /// `Full` or `Subset`.
    pub mode: String,
    /// Data-parallel instances.
    pub dp_instances: Option<u64>,
    /// Size of one, GiB.
    pub size_gib: Option<f64>,
    /// Writes.
    pub write: Option<DirectionResult>,
    /// Reads.
    pub read: Option<DirectionResult>,
}

/// Runs of one model on one kind of accelerator below one folder.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// Organisation of a submission tree.
    pub organisation: Option<String>,
    /// System of a submission tree.
    pub system: Option<String>,
    /// What the runs did.
    pub kind: Kind,
    /// mlpstorage's name of the model.
    pub model: Option<String>,
    /// Emulated accelerator.
    pub accelerator: Option<String>,
    /// True where the number of runs or operations is what a published figure needs, none lacks it, and all did the same
    /// work on as many accelerators and hosts.
    pub complete: bool,
    /// Why it is not.
    pub reasons: Vec<String>,
    /// In order of time.
    pub runs: Vec<GroupRun>,
    /// Of trainings.
    pub training: Option<TrainingResult>,
    /// Of checkpoints.
    pub checkpointing: Option<CheckpointResult>,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Figures {
    /// Groups that have figures.
    pub groups: Vec<Group>,
    /// Generations and sizings, which have none.
    pub without_figures: Vec<RunFigures>,
    /// Runs that should have figures and have not.
    pub unreadable: Vec<Unreadable>,
}

/// Reads runs and trees of runs. Nothing fails: what cannot be read is named.
pub fn read(places: &[impl AsRef<Path>]) -> Figures {
    let mut found = Figures::default();
    let mut seen = BTreeSet::new();
    let mut runs = Vec::new();
    for place in places {
        let place = place.as_ref();
        let leaves = match tree::leaves(place) {
            Ok(tree) => {
                for (path, cause) in tree.unreadable {
                    found.unreadable.push(Unreadable {
                        path: path.display().to_string(),
                        cause: format!("the folder cannot be listed: {cause}"),
                    });
                }
                tree.leaves
            }
            Err(e) => {
                found.unreadable.push(Unreadable {
                    path: place.display().to_string(),
                    cause: format!(
                        "the folder cannot be listed: {e}; give the folder of a run, or one above runs"
                    ),
                });
                continue;
            }
        };
        if leaves.is_empty() {
            found.unreadable.push(Unreadable {
                path: place.display().to_string(),
                cause: NO_RUNS.into(),
            });
        }
        for leaf in leaves {
            let same = leaf
                .path
                .canonicalize()
                .unwrap_or_else(|_| leaf.path.clone());
            if seen.insert(same) {
                sort(&leaf, &mut runs, &mut found);
            }
        }
    }
    found.groups = groups(runs);
    found
}

fn sort(leaf: &Leaf, runs: &mut Vec<RunFigures>, found: &mut Figures) {
    match figures::of(leaf) {
        Ok(run) if run.training.is_some() || run.checkpoints.is_some() => runs.push(run),
        Ok(run) => found.without_figures.push(run),
        Err(unreadable) => found.unreadable.push(unreadable),
    }
}

/// Groups as the rules have them: see [`Key`].
pub fn groups(runs: Vec<RunFigures>) -> Vec<Group> {
    let mut by_key: BTreeMap<Key, Vec<RunFigures>> = BTreeMap::new();
    for run in runs {
        let key = Key {
            folder: run.home.clone(),
            model: run.model.clone(),
            accelerator: run.accelerator.clone(),
            is_training: run.kind == Kind::TrainingRun,
        };
        by_key.entry(key).or_default().push(run);
    }
    let mut groups: Vec<Group> = by_key
        .into_iter()
        .map(|(key, mut runs)| {
            runs.sort_by(|a, b| (&a.timestamp, &a.path).cmp(&(&b.timestamp, &b.path)));
            group(key, runs)
        })
        .collect();
    // By folder where all of this is the same.
    groups.sort_by(|a, b| {
        let of = |g: &Group| {
            (
                g.organisation.clone(),
                g.system.clone(),
                g.kind,
                g.model.clone(),
            )
        };
        (of(a), &a.accelerator).cmp(&(of(b), &b.accelerator))
    });
    groups
}

fn group(key: Key, runs: Vec<RunFigures>) -> Group {
    let kind = if key.is_training {
        Kind::TrainingRun
    } else {
        Kind::Checkpointing
    };
    let first = runs.first();
    let organisation = first.and_then(|r| r.organisation.clone());
    let system = first.and_then(|r| r.system.clone());
    let mut reasons = differences(&runs);
    let mut roles = vec![Role::Measured; runs.len()];
    let (mut training, mut checkpointing) = (None, None);
    if kind == Kind::TrainingRun {
        training = Some(training_result(&runs, &mut roles, &mut reasons));
    } else {
        checkpointing = Some(checkpoint_result(&runs, &mut reasons));
    }
    Group {
        organisation,
        system,
        kind,
        model: key.model,
        accelerator: key.accelerator,
        complete: reasons.is_empty(),
        reasons,
        runs: roles
            .into_iter()
            .zip(runs)
            .map(|(role, run)| GroupRun { role, run })
            .collect(),
        training,
        checkpointing,
    }
}

/// In what runs differ whose figures make one.
fn differences(runs: &[RunFigures]) -> Vec<String> {
    let mut out = Vec::new();
    let mut differing = |what: &str, of: &dyn Fn(&RunFigures) -> String| {
        let mut by_value: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for run in runs {
            by_value.entry(of(run)).or_default().push(&run.path);
        }
        if by_value.len() > 1 {
            let list: Vec<String> = by_value
                .iter()
                .map(|(value, paths)| format!("{value}: {}", paths.join(", ")))
                .collect();
            out.push(format!("the runs differ in {what} ({})", list.join("; ")));
        }
    };
    differing(
        "comparability hash, so they did not do the same work",
        &|r| {
            r.core_config
                .as_ref()
                .map_or_else(|| "unknown".into(), |c| c.hash.clone())
        },
    );
    let count = |n: Option<u64>| n.map_or_else(|| "unknown".into(), |n| n.to_string());
    differing("the number of accelerators", &|r| count(r.accelerators));
    differing("the number of hosts", &|r| count(r.hosts));
    let Some((first, others)) = runs.split_first() else {
        return out;
    };
    for run in others {
        let keys: BTreeSet<&String> = first.work.keys().chain(run.work.keys()).collect();
        let differ = |key: &&String| first.work.get(*key) != run.work.get(*key);
        let keys: Vec<&str> = keys
            .into_iter()
            .filter(differ)
            .map(String::as_str)
            .collect();
        if !keys.is_empty() {
            out.push(format!(
                "{} differs from {} in {}",
                run.path,
                first.path,
                keys.join(", ")
            ));
        }
    }
    out
}

/// All values, or the reason why one is missing.
fn all(
    runs: &[&RunFigures],
    figure: &str,
    of: impl Fn(&RunFigures) -> Option<f64>,
    reasons: &mut Vec<String>,
) -> Option<Sample> {
    let mut values = Vec::new();
    let mut lacking = Vec::new();
    for run in runs {
        match of(run) {
            Some(value) => values.push(value),
            None => lacking.push(run.path.as_str()),
        }
    }
    if lacking.is_empty() {
        Sample::of(&values)
    } else {
        reasons.push(format!("{figure} is absent in {}", lacking.join(", ")));
        None
    }
}

fn training_result(
    runs: &[RunFigures],
    roles: &mut [Role],
    reasons: &mut Vec<String>,
) -> TrainingResult {
    let timed = runs.iter().all(|r| r.timestamp.is_some());
    let mut measured: Vec<&RunFigures> = runs.iter().collect();
    let basis = if runs.len() == TRAINING_RUNS && timed {
        roles[0] = Role::WarmUp;
        let warm_up = measured.remove(0);
        format!(
            "the 5 later of 6 runs; the earliest, {}, is the warm-up",
            warm_up.timestamp.as_deref().unwrap_or_default()
        )
    } else {
        reasons.push(if runs.len() == TRAINING_RUNS {
            "a run has no time, neither in its folder's name nor in summary.json: the warm-up cannot be told".into()
        } else {
            format!(
                "a published figure needs {TRAINING_RUNS} runs, the first to warm up; there are {}",
                runs.len()
            )
        });
        format!("all {} runs, none left out: not publishable", runs.len())
    };
    let of_training =
        |f: fn(&figures::Training) -> Option<f64>| move |r: &RunFigures| f(r.training.as_ref()?);
    let names: BTreeSet<&String> = measured
        .iter()
        .filter_map(|r| r.training.as_ref())
        .flat_map(|t| t.means_of_lists.keys())
        .collect();
    let mut means = BTreeMap::new();
    for name in ["train_au_percentage", "train_throughput_samples_per_second"] {
        if !names.iter().any(|n| *n == name) {
            reasons.push(format!("the list {name} is absent in every run"));
        }
    }
    for name in names {
        let mean = all(
            &measured,
            name,
            |r| {
                r.training
                    .as_ref()?
                    .means_of_lists
                    .get(name)
                    .copied()
                    .flatten()
            },
            reasons,
        );
        let figure = name.trim_start_matches("train_");
        means.insert(format!("train_mean_of_{figure}"), mean.map(|s| s.mean));
    }
    let met = |r: &&&RunFigures| {
        r.training
            .as_ref()
            .is_some_and(|t| t.au_meet_expectation.as_deref() == Some("success"))
    };
    let au_met = measured.iter().filter(met).count();
    if au_met < measured.len() {
        let below: Vec<&str> = measured
            .iter()
            .filter(|r| !met(r))
            .map(|r| r.path.as_str())
            .collect();
        reasons.push(format!(
            "AU does not meet the expectation in {}",
            below.join(", ")
        ));
    }
    TrainingResult {
        basis,
        read_gib_per_second: all(
            &measured,
            "train_io_mean_MB_per_second",
            of_training(|t| t.io_gib_per_second),
            reasons,
        ),
        au_percent: all(
            &measured,
            "train_au_mean_percentage",
            of_training(|t| t.au_mean_percent),
            reasons,
        ),
        samples_per_second: all(
            &measured,
            "train_throughput_mean_samples_per_second",
            of_training(|t| t.samples_per_second),
            reasons,
        ),
        means,
        au_met,
    }
}

fn checkpoint_result(runs: &[RunFigures], reasons: &mut Vec<String>) -> CheckpointResult {
    let own: Vec<&figures::Checkpoints> =
        runs.iter().filter_map(|r| r.checkpoints.as_ref()).collect();
    let modes: BTreeSet<&str> = own.iter().map(|c| c.mode.as_str()).collect();
    if modes.len() > 1 {
        reasons.push("full and subset runs are mixed".into());
    }
    let mut direction = |word: &str, of: fn(&figures::Checkpoints) -> Option<&Direction>| {
        let of_word: Vec<&Direction> = own.iter().filter_map(|c| of(c)).collect();
        let operations = of_word
            .iter()
            .fold(0usize, |n, d| n.saturating_add(d.operations));
        if i64::try_from(operations) != Ok(CHECKPOINTS) {
            reasons.push(format!(
                "a published figure needs {CHECKPOINTS} {word}; there are {operations}"
            ));
        }
        if of_word.is_empty() {
            return None;
        }
        let mean = |f: fn(&Direction) -> Option<f64>| {
            let values: Option<Vec<f64>> = of_word.iter().map(|d| f(d)).collect();
            Some(Sample::of(&values?)?.mean)
        };
        let each = |f: fn(&Direction) -> &Vec<f64>| {
            let values: Vec<f64> = of_word.iter().flat_map(|d| f(d).iter().copied()).collect();
            Sample::of(&values)
        };
        let result = DirectionResult {
            operations,
            gib_per_second: mean(|d| d.gib_per_second),
            duration_seconds: mean(|d| d.duration_seconds),
            durations: each(|d| &d.durations),
            throughputs: each(|d| &d.throughputs),
            slowest_rank_seconds: mean(|d| d.slowest_rank_seconds),
            slowest_rank_gib_per_second: mean(|d| d.slowest_rank_gib_per_second),
        };
        if result.gib_per_second.is_none() || result.duration_seconds.is_none() {
            reasons.push(format!("a run has no bandwidth or duration of its {word}"));
        }
        Some(result)
    };
    let write = direction("writes", |c| c.save.as_ref());
    let read = direction("reads", |c| c.load.as_ref());
    CheckpointResult {
        mode: own.first().map_or_else(String::new, |c| c.mode.clone()),
        dp_instances: own.iter().find_map(|c| c.dp_instances),
        size_gib: own.iter().find_map(|c| c.size_gib),
        write,
        read,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::render::{self, Style};
    use super::super::sheet;
    use super::*;

    /// Whatever the files hold, there is a figure or a reason.
    #[test]
    fn strange_files_never_stop_the_report() {
        let values = [
            "null",
            "NaN",
            "-Infinity",
            "[]",
            "{}",
            "\"x\"",
            "-1",
            "1e300",
            "[1, \"x\", NaN]",
            "[[1]]",
            "true",
            "18446744073709551615",
            "\"\\ud800\"",
            "[",
            "",
        ];
        let tree = tempfile::tempdir().unwrap();
        let mut made = 0;
        for (i, value) in values.iter().enumerate() {
            for (j, workflow) in ["train: true", "checkpoint: true", "x: y"]
                .iter()
                .enumerate()
            {
                let leaf = tree.path().join(format!("{i}_{j}"));
                fs::create_dir_all(leaf.join("dlio_config")).unwrap();
                let config = format!(
                    "workload: {{workflow: {{{workflow}}}, model: {{name: llama_8b, parallelism: {{tensor: {value}, pipeline: {value}}}}}, \
                     checkpoint: {{num_checkpoints_write: {value}, num_checkpoints_read: {value}}}}}"
                );
                fs::write(leaf.join("dlio_config/config.yaml"), config).unwrap();
                let metrics: Vec<String> = [
                    "train_au_percentage",
                    "train_au_mean_percentage",
                    "train_io_mean_MB_per_second",
                    "save_checkpoint_io_mean_GB_per_second",
                    "load_checkpoint_duration_mean_seconds",
                    "checkpoint_size_GB",
                ]
                .iter()
                .map(|key| format!("\"{key}\": {value}"))
                .collect();
                let metrics = format!("{{{}}}", metrics.join(", "));
                let summary = format!(
                    "{{\"start\": {value}, \"num_accelerators\": {value}, \"num_hosts\": {value}, \"epochs\": {value}, \
                      \"metric\": {}}}",
                    if i % 2 == 0 { metrics.as_str() } else { value }
                );
                fs::write(leaf.join("summary.json"), summary).unwrap();
                let entry = format!(
                    "{{\"save_ckpt1\": {value}, \"load_ckpt1\": {{\"duration\": {value}}}}}"
                );
                fs::write(
                    leaf.join("0_per_epoch_stats.json"),
                    format!("{{\"1\": {entry}, \"2\": {value}}}"),
                )
                .unwrap();
                made += 1;
            }
        }
        let found = read(&[tree.path()]);
        let runs: usize = found.groups.iter().map(|g| g.runs.len()).sum();
        assert_eq!(
            runs + found.without_figures.len() + found.unreadable.len(),
            made
        );
        assert!(runs > 0 && !found.unreadable.is_empty());
        assert!(render::all(&found, Style::Text).contains("CLOSED not claimable"));
        let table = sheet::table(&found);
        assert!(table.rows.iter().all(|r| r.len() == table.columns.len()));
    }
}
