//! Runs that belong together: six of training, one or two of checkpointing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::checkpointing::written_and_read;
use super::facts::Facts;
use super::pair::{ten_and_ten, write_then_read};
use super::tables::TRAINING_RUNS;
use crate::mlperf::Edition;
use crate::mlperf::hash::AllowList;
use crate::mlperf::leaf::{Kind, Leaf};
use crate::mlperf::verdict::{Assessment, Finding, Original, Standing, Verdict};

/// What the runs of a group share.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    /// The folder above them.
    pub folder: PathBuf,
    /// mlpstorage's name of the model.
    pub model: Option<String>,
    /// Emulated accelerator; of trainings.
    pub accelerator: Option<String>,
    /// Training, or checkpointing.
    pub is_training: bool,
}

impl Key {
    /// Of a run's folder. mlpstorage's layout is `<model>/{datasize,datagen,run}/<time>` and `<model>/<time>`: the folder
    /// above the phase is the group's; elsewhere it is the folder that holds the run.
    pub fn of(path: &Path, kind: Kind, model: Option<String>, accelerator: Option<String>) -> Key {
        let is_training = kind != Kind::Checkpointing;
        Key {
            folder: home(path),
            model,
            accelerator: accelerator.filter(|_| is_training),
            is_training,
        }
    }

    /// Model and accelerator, for people.
    pub fn name(&self) -> String {
        let model = self.model.as_deref().unwrap_or("unknown model");
        match &self.accelerator {
            Some(accelerator) => format!("{model} {accelerator}"),
            None => model.to_owned(),
        }
    }
}

/// Runs of one model (and accelerator) below one folder, by the time of their start.
pub struct Group<'a> {
    /// The folder that holds them all.
    pub folder: PathBuf,
    /// Model and accelerator.
    pub name: String,
    /// Training, or checkpointing.
    pub is_training: bool,
    /// Its leaves with their facts, sorted by time.
    pub runs: Vec<(&'a Leaf, &'a Facts)>,
}

impl<'a> Group<'a> {
    /// Sorts leaves into groups, by [`Key`].
    pub fn of(leaves: &'a [(Leaf, Facts)]) -> Vec<Group<'a>> {
        let mut groups: Groups<'a> = BTreeMap::new();
        for (leaf, facts) in leaves {
            if facts.kind == Kind::Unknown {
                continue;
            }
            // Datagen has no accelerator: it joins its model's only group below.
            let (model, accelerator) = (facts.model.clone(), facts.accelerator.clone());
            let key = Key::of(&leaf.path, facts.kind, model, accelerator);
            groups.entry(key).or_default().push((leaf, facts));
        }
        join_generators(&mut groups);
        groups
            .into_iter()
            .map(|(key, mut runs)| {
                runs.sort_by_key(|(leaf, _)| (leaf.began(), leaf.path.clone()));
                Group {
                    name: key.name(),
                    folder: key.folder,
                    is_training: key.is_training,
                    runs,
                }
            })
            .collect()
    }

    fn of_kind(&self, kind: Kind) -> Vec<(&'a Leaf, &'a Facts)> {
        let runs = self.runs.iter().filter(|(_, facts)| facts.kind == kind);
        runs.copied().collect()
    }

    /// Every rule of this file.
    pub fn check(&self, edition: Edition) -> Vec<Finding> {
        if self.is_training {
            self.training(edition)
        } else {
            self.checkpointing(edition)
        }
    }

    fn training(&self, edition: Edition) -> Vec<Finding> {
        let runs = self.of_kind(Kind::TrainingRun);
        let mut out = vec![number(&runs, edition)];
        out.extend(gaps(&runs, edition));
        out.push(equal(&runs));
        out.extend(replicable(&runs));
        out.extend(self.sizes(&runs, edition));
        out
    }

    /// datasize <= run <= datagen.
    fn sizes(&self, runs: &[(&Leaf, &Facts)], edition: Edition) -> Vec<Finding> {
        let original = Original::Violation.in_v3(edition);
        let generated = self.of_kind(Kind::TrainingDatagen);
        let computed = self.of_kind(Kind::TrainingDatasize);
        let mut out = Vec::new();
        let files = |leaf: &Leaf| leaf.number("dataset.num_files_train");
        let bytes = |leaf: &Leaf| {
            let samples = leaf.number("dataset.num_samples_per_file").unwrap_or(1.0);
            Some(files(leaf)? * samples * leaf.number("dataset.record_length_bytes")?)
        };
        let largest = runs
            .iter()
            .filter_map(|(leaf, _)| files(leaf))
            .fold(None, |a: Option<f64>, b| Some(a.map_or(b, |a| a.max(b))));
        let one = ("2.1.13", "datagenTimestamp");
        match generated.as_slice() {
            [] => out.push(Finding::skip(
                one.0,
                one.1,
                "missing: the leaf of datagen (data generated elsewhere, or by another job)",
            )),
            [_] => out.push(Finding::pass(one.0, one.1, "one datagen")),
            several => out.push(
                Finding::fail(
                    one.0,
                    one.1,
                    format!(
                        "{} leaves of datagen; exactly one is expected",
                        several.len()
                    ),
                )
                .remedy("keep the datagen that made the dataset")
                .original(original),
            ),
        }
        if let Some((made, _)) = generated.last() {
            let rule = ("3.2.1", "trainingDatagenMinimumSize");
            let has = bytes(made);
            let needs = runs
                .iter()
                .filter_map(|(leaf, _)| bytes(leaf))
                .fold(0.0, f64::max);
            out.push(match has {
                Some(has) if has < needs => Finding::fail(
                    rule.0,
                    rule.1,
                    format!("generated {has:.0} bytes, a run reads {needs:.0} (DATAGEN-OVERRUN)"),
                )
                .remedy("generate at least as many files as the runs read")
                .original(original),
                Some(has) => Finding::pass(
                    rule.0,
                    rule.1,
                    format!("generated {has:.0} bytes, a run reads {needs:.0}"),
                ),
                None => Finding::skip(rule.0, rule.1, "missing: datagen's dataset parameters"),
            });
        }
        let rule = ("3.3.1", "runIsAtLeastDatasize");
        match (computed.last().and_then(|(leaf, _)| files(leaf)), largest) {
            (Some(least), Some(most)) if most < least => out.push(
                Finding::fail(
                    rule.0,
                    rule.1,
                    format!(
                        "datasize says {least} files, the runs read {most} (DATASIZE-UNDERRUN)"
                    ),
                )
                .remedy(format!("run with dataset.num_files_train={least}"))
                .original(original),
            ),
            (Some(least), Some(most)) => out.push(Finding::pass(
                rule.0,
                rule.1,
                format!("datasize says {least} files, the runs read {most}"),
            )),
            _ => out.push(Finding::skip(
                rule.0,
                rule.1,
                "missing: the leaf of datasize (DATASIZE-MISSING)",
            )),
        }
        out
    }

    fn checkpointing(&self, edition: Edition) -> Vec<Finding> {
        let runs = self.of_kind(Kind::Checkpointing);
        let counts: Vec<_> = runs
            .iter()
            .map(|(leaf, _)| {
                leaf.parameters()
                    .and_then(written_and_read)
                    .unwrap_or((0, 0))
            })
            .collect();
        let mut out = vec![ten_and_ten(&counts, edition)];
        let leaves = ("2.1.23", "checkpointingTimestamps");
        out.push(match counts.len() {
            1 | 2 => Finding::pass(leaves.0, leaves.1, format!("{} leaf(s)", counts.len())),
            n => Finding::fail(
                leaves.0,
                leaves.1,
                format!("{n} leaves; 1 or 2 are expected"),
            )
            .remedy("keep one run with 10 + 10 checkpoints, or a pair of 10 writes and 10 reads")
            .original(Original::Violation.in_v3(edition)),
        });
        if let [(first, _), (second, _)] = runs.as_slice() {
            out.extend(write_then_read(
                first, counts[0], second, counts[1], edition,
            ));
        }
        if runs.len() > 1 {
            out.push(equal(&runs));
        }
        out
    }
}

/// A group is as good as the worst of its runs.
pub fn worst_of(runs: &[&Assessment]) -> Finding {
    let (rule, name) = ("group", "runCategories");
    let standing = Standing::worst(runs.iter().map(|run| run.standing));
    // A run without a category ended the tool, or was left out by it.
    let crashes = runs.iter().any(|run| {
        let mut originals = run.findings.iter().map(|f| f.original);
        run.tool.failure.is_some() && originals.any(|o| o == Original::Crash)
    });
    let original = if crashes {
        Original::Crash
    } else {
        Original::Says(Standing::worst(
            runs.iter().filter_map(|run| run.tool.category),
        ))
    };
    let bad: Vec<_> = runs
        .iter()
        .filter(|run| run.count(Verdict::Fail) > 0)
        .map(|run| run.subject.as_str())
        .collect();
    let finding = if bad.is_empty() {
        Finding::pass(
            rule,
            name,
            format!("no violation in {} leaf(s)", runs.len()),
        )
    } else {
        Finding::fail(
            rule,
            name,
            format!(
                "{} of {} leaf(s) violate a rule: {}",
                bad.len(),
                runs.len(),
                bad.join(", ")
            ),
        )
        .remedy("mend what is said of each leaf, or make other runs")
    };
    finding.standing(standing).original(original)
}

/// Published rates of the measured runs, which the guidelines want to be within 5 %. The first run is the warm-up.
fn replicable(runs: &[(&Leaf, &Facts)]) -> Option<Finding> {
    let rates: Vec<f64> = runs
        .iter()
        .skip(1)
        .filter_map(|(leaf, _)| leaf.metric("train_io_mean_MB_per_second"))
        .collect();
    let least = rates.iter().copied().reduce(f64::min)?;
    let most = rates.iter().copied().reduce(f64::max)?;
    if rates.len() < 2 || least <= 0.0 {
        return None;
    }
    let (rule, name) = ("prose", "replicableWithin5Percent");
    let what = format!(
        "{least:.1} to {most:.1} MiB/s in {} measured run(s)",
        rates.len()
    );
    Some(if most > 1.05 * least {
        Finding::warn(
            rule,
            name,
            format!(
                "{what}: {:.1} % apart; decided by review",
                100.0 * (most / least - 1.0)
            ),
        )
        .remedy("find what else uses the storage system, and run again")
    } else {
        Finding::pass(rule, name, what)
    })
}

/// The folder that a run's group has: the one above the phase, else the one above the run.
pub fn home(path: &Path) -> PathBuf {
    let above = path.parent().unwrap_or(path);
    let is_phase = above.file_name().is_some_and(|name| {
        ["datasize", "datagen", "run"].contains(&name.to_string_lossy().as_ref())
    });
    if is_phase {
        above.parent().unwrap_or(above).to_owned()
    } else {
        above.to_owned()
    }
}

type Groups<'a> = BTreeMap<Key, Vec<(&'a Leaf, &'a Facts)>>;

/// A group that only generated joins the group of its model that ran, where there is exactly one.
fn join_generators(groups: &mut Groups<'_>) {
    let only_generated: Vec<_> = groups
        .iter()
        .filter(|(key, runs)| {
            key.is_training && runs.iter().all(|(_, f)| f.kind != Kind::TrainingRun)
        })
        .map(|(key, _)| key.clone())
        .collect();
    for key in only_generated {
        let hosts: Vec<_> = groups
            .keys()
            .filter(|other| {
                **other != key
                    && other.folder == key.folder
                    && other.is_training
                    && other.model == key.model
                    && groups[*other]
                        .iter()
                        .any(|(_, f)| f.kind == Kind::TrainingRun)
            })
            .cloned()
            .collect();
        if let [host] = hosts.as_slice()
            && let Some(runs) = groups.remove(&key)
        {
            groups.entry(host.clone()).or_default().extend(runs);
        }
    }
}

fn number(runs: &[(&Leaf, &Facts)], edition: Edition) -> Finding {
    let (rule, name) = ("2.1.17", "runTimestamps");
    let what = format!("{} run(s)", runs.len());
    if runs.len() == TRAINING_RUNS {
        return Finding::pass(
            rule,
            name,
            format!("{what}: a warm-up and five measured ones"),
        );
    }
    let more = runs.len() > TRAINING_RUNS;
    Finding::fail(
        rule,
        name,
        format!(
            "{what}; exactly {TRAINING_RUNS} are expected, the first of which is the warm-up{}",
            match edition {
                Edition::V2 => " (v2.0's tool does not count them, its reviewers do)",
                Edition::V3 => "",
            }
        ),
    )
    .remedy(if more {
        "keep 6 consecutive runs"
    } else {
        "run until there are 6 consecutive runs"
    })
    .original(Original::Violation.in_v3(edition))
}

/// Neighbouring start times differ by less than twice the shorter of the two runs.
fn gaps(runs: &[(&Leaf, &Facts)], edition: Edition) -> Vec<Finding> {
    let (rule, name) = ("2.1.18", "runTimestampGap");
    if runs.len() < 2 {
        return Vec::new();
    }
    let mut out = Vec::new();
    let mut largest = 0.0f64;
    for pair in runs.windows(2) {
        let (a, b) = (pair[0].0, pair[1].0);
        let between = a
            .began()
            .zip(b.began())
            .map(|(a, b)| (b - a).as_seconds_f64());
        let shorter = a.duration_s().zip(b.duration_s()).map(|(a, b)| a.min(b));
        let (Some(gap), Some(shorter)) = (between, shorter) else {
            out.push(Finding::skip(
                rule,
                name,
                format!(
                    "missing: times of {} or {}",
                    a.path.display(),
                    b.path.display()
                ),
            ));
            continue;
        };
        if gap < 2.0 * shorter {
            largest = largest.max(gap);
            continue;
        }
        out.push(
            Finding::fail(
                rule,
                name,
                format!(
                    "{:.0} s from {} to {}; less than {:.0} s (twice the shorter run) is expected",
                    gap,
                    a.name(),
                    b.name(),
                    2.0 * shorter
                ),
            )
            .remedy("start the six runs one after another without a pause")
            .original(Original::Violation.in_v3(edition)),
        );
    }
    if out.is_empty() {
        out.push(Finding::pass(
            rule,
            name,
            format!("at most {largest:.0} s from one run to the next"),
        ));
    }
    out
}

/// What the comparability hash is made of, of what ran: equal hashes are equal entries.
pub fn work(leaf: &Leaf) -> BTreeMap<String, String> {
    let of = |parameters| Some(AllowList::of_workflow(parameters)?.entries(parameters));
    leaf.parameters().and_then(of).unwrap_or_default()
}

/// All runs of a group measure the same thing.
fn equal(runs: &[(&Leaf, &Facts)]) -> Finding {
    let (rule, name) = ("group", "sameConfiguration");
    let Some(((first, _), others)) = runs.split_first() else {
        return Finding::skip(rule, name, "missing: runs");
    };
    if others.is_empty() {
        return Finding::skip(rule, name, "missing: a second run");
    }
    let wanted = work(first);
    for (leaf, _) in others {
        let has = work(leaf);
        if has != wanted {
            let keys: BTreeSet<&String> = wanted.keys().chain(has.keys()).collect();
            let text = |of: &BTreeMap<String, String>, key: &String| {
                of.get(key).cloned().unwrap_or_else(|| "not set".into())
            };
            let differing: Vec<_> = keys
                .into_iter()
                .map(|key| (key, text(&has, key), text(&wanted, key)))
                .filter(|(_, has, wanted)| has != wanted)
                .map(|(key, has, wanted)| format!("{key} is {has}, not {wanted}"))
                .take(6)
                .collect();
            return Finding::fail(
                rule,
                name,
                format!(
                    "{} differs from {} in what the comparability hash holds: {}",
                    leaf.name(),
                    first.name(),
                    differing.join(", ")
                ),
            )
            .remedy("run all of them with the same configuration");
        }
        if leaf.accelerators() != first.accelerators() || leaf.hosts() != first.hosts() {
            return Finding::fail(
                rule,
                name,
                format!(
                    "{} and {} ran on different numbers of accelerators or hosts",
                    leaf.name(),
                    first.name()
                ),
            )
            .remedy("run all of them with the same ranks on the same hosts");
        }
    }
    Finding::pass(
        rule,
        name,
        format!("{} runs are configured alike", runs.len()),
    )
}
