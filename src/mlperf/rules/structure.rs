//! Which files a run's folder holds.

use super::facts::Facts;
use crate::mlperf::Edition;
use crate::mlperf::json::Document;
use crate::mlperf::leaf::{Kind, Leaf};
use crate::mlperf::verdict::{Finding, Original};

const CONFIG_FILES: [&str; 3] = ["config.yaml", "hydra.yaml", "overrides.yaml"];

/// Ids of the rules of a kind of run: files, `dlio_config`, and the first part of the names of its stream logs.
fn ids(kind: Kind) -> Option<(&'static str, &'static str, &'static str)> {
    match kind {
        Kind::TrainingRun => Some(("2.1.19", "2.1.20", "training_run")),
        Kind::TrainingDatagen => Some(("2.1.14", "2.1.15", "training_datagen")),
        Kind::Checkpointing => Some(("2.1.25", "2.1.26", "checkpointing_run")),
        Kind::TrainingDatasize | Kind::Unknown => None,
    }
}

/// Every rule of this file.
pub fn check(leaf: &Leaf, facts: &Facts) -> Vec<Finding> {
    let mut out = broken(leaf, facts.edition);
    out.extend(metadata(leaf, facts));
    out.push(timestamp(leaf));
    let Some((files_rule, config_rule, _)) = ids(facts.kind) else {
        return out;
    };
    let original = match facts.edition {
        Edition::V2 => Original::Silent,
        Edition::V3 => Original::Violation,
    };
    out.extend(files(leaf, facts.kind, files_rule, original));
    out.push(config_folder(leaf, config_rule, original));
    out
}

/// Files that are there and cannot be read.
fn broken(leaf: &Leaf, edition: Edition) -> Vec<Finding> {
    let (rule, name) = ("files", "filesAreReadable");
    let named = [
        ("dlio_config/config.yaml", &leaf.config),
        ("dlio_config/overrides.yaml", &leaf.overrides),
        ("dlio_config/hydra.yaml", &leaf.hydra),
        ("report.json", &leaf.report),
    ];
    let metadata = leaf.metadata.iter().map(|(name, doc)| (name.as_str(), doc));
    let mut out: Vec<Finding> = named
        .into_iter()
        .chain(metadata)
        .filter_map(|(file, document)| match document {
            Document::Broken(why) => Some(
                Finding::fail(
                    rule,
                    name,
                    format!("{}: {why}", leaf.path.join(file).display()),
                )
                .remedy("restore the file, or run again")
                .original(match (edition, file) {
                    // A run without parameters has no type, on which it stumbles.
                    (Edition::V2, "dlio_config/config.yaml") => Original::Crash,
                    _ => Original::Silent,
                }),
            ),
            _ => None,
        })
        .collect();
    if let Some(value) = leaf.overrides.value()
        && !value
            .as_array()
            .is_some_and(|list| list.iter().all(serde_json::Value::is_string))
    {
        out.push(
            Finding::fail(
                rule,
                name,
                format!(
                    "{}: a list of words is expected",
                    leaf.path.join("dlio_config/overrides.yaml").display()
                ),
            )
            .remedy("restore the file, or run again")
            .original(match edition {
                Edition::V2 => Original::Crash,
                Edition::V3 => Original::Silent,
            }),
        );
    }
    out
}

fn metadata(leaf: &Leaf, facts: &Facts) -> Option<Finding> {
    let (rule, name) = ("metadata", "oneMetadataFile");
    let original = match facts.edition {
        Edition::V2 => Original::NotListed,
        Edition::V3 => Original::Silent,
    };
    let remedy = "start the run through mlpstorage, which writes training_<time>_metadata.json";
    match leaf.metadata.as_slice() {
        [_] => None,
        [] => Some(
            Finding::warn(
                rule,
                name,
                "no *_metadata.json: mlpstorage did not start this run, and lists it nowhere",
            )
            .remedy(remedy)
            .original(original),
        ),
        several => Some(
            Finding::fail(
                rule,
                name,
                format!(
                    "{} metadata files ({}); exactly one is read",
                    several.len(),
                    several
                        .iter()
                        .map(|(name, _)| name.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                ),
            )
            .remedy("keep the one of this run; a folder holds one run")
            .original(original),
        ),
    }
}

fn timestamp(leaf: &Leaf) -> Finding {
    let (rule, name) = ("2.1.17", "runTimestampName");
    if leaf.timestamp().is_some() {
        Finding::pass(rule, name, leaf.name())
    } else {
        Finding::warn(
            rule,
            name,
            format!(
                "the folder is called '{}', not YYYYMMDD_HHMMSS",
                leaf.name()
            ),
        )
        .remedy("name the run's folder by its start, such as 20260131_120000")
    }
}

/// Logs of the launcher's streams that a run of this kind should have and lacks. mlpstorage writes them, no benchmark does.
pub fn missing_streams(leaf: &Leaf, kind: Kind) -> Vec<String> {
    let Some((_, _, prefix)) = ids(kind) else {
        return Vec::new();
    };
    let wanted = ["stdout", "stderr"].map(|stream| format!("{prefix}.{stream}.log"));
    missing(leaf, wanted)
}

/// The rules search the names for these words anywhere.
fn missing(leaf: &Leaf, words: impl IntoIterator<Item = String>) -> Vec<String> {
    let is_missing = |word: &String| !leaf.files.iter().any(|file| file.contains(word.as_str()));
    words.into_iter().filter(is_missing).collect()
}

fn files(leaf: &Leaf, kind: Kind, rule: &'static str, original: Original) -> Vec<Finding> {
    let name = "requiredFiles";
    let mut wanted = vec!["dlio.log".to_owned()];
    // DLIO writes none of these when it only generates.
    if kind != Kind::TrainingDatagen {
        wanted.extend(["output.json", "per_epoch_stats.json", "summary.json"].map(str::to_owned));
    }
    let mut lacking: Vec<String> = missing(leaf, wanted)
        .into_iter()
        .map(|word| match word.as_str() {
            "output.json" | "per_epoch_stats.json" => format!("<rank>_{word}"),
            _ => word,
        })
        .collect();
    let streams = missing_streams(leaf, kind);
    let mut out = Vec::new();
    let what =
        |lacking: &[String]| format!("{}: {} missing", leaf.path.display(), lacking.join(", "));
    if streams.is_empty() {
        // Nothing to say of them.
    } else if leaf.is_ours() {
        out.push(
            Finding::warn(rule, name, what(&streams))
                .remedy("mlpstorage writes them; of a run by hand keep what the launcher printed, under these names")
                .original(original),
        );
    } else {
        lacking.splice(0..0, streams);
    }
    if !lacking.is_empty() {
        out.push(
            Finding::fail(rule, name, what(&lacking))
                .remedy("start the run through mlpstorage, which keeps its streams as *.stdout.log and *.stderr.log; DLIO's own files come with a finished run")
                .original(original),
        );
    }
    if out.is_empty() {
        out.push(Finding::pass(
            rule,
            name,
            format!("{} files", leaf.files.len()),
        ));
    }
    out
}

fn config_folder(leaf: &Leaf, rule: &'static str, original: Original) -> Finding {
    let name = "dlioConfigFolder";
    let Some(files) = &leaf.config_files else {
        return Finding::fail(
            rule,
            name,
            format!("{} has no dlio_config/", leaf.path.display()),
        )
        .remedy("run with ++hydra.output_subdir=dlio_config")
        .original(original);
    };
    let folder = leaf
        .config_folder
        .as_ref()
        .and_then(|f| f.file_name())
        .map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    let missing: Vec<_> = CONFIG_FILES
        .into_iter()
        .filter(|file| !files.contains(*file))
        .collect();
    let others: Vec<_> = files
        .iter()
        .filter(|file| !CONFIG_FILES.contains(&file.as_str()))
        .map(String::as_str)
        .collect();
    if missing.is_empty() && others.is_empty() {
        return if folder == "dlio_config" || folder == ".hydra_config" {
            Finding::pass(rule, name, "config.yaml, hydra.yaml and overrides.yaml")
        } else {
            Finding::fail(rule, name, format!("the folder is called {folder}"))
                .remedy("call it dlio_config (++hydra.output_subdir=dlio_config)")
                .original(original)
        };
    }
    let mut what = Vec::new();
    if !missing.is_empty() {
        what.push(format!("{} missing", missing.join(", ")));
    }
    if !others.is_empty() {
        what.push(format!("{} too many", others.join(", ")));
    }
    Finding::fail(rule, name, format!("{folder}/: {}", what.join("; ")))
        .remedy("it holds exactly config.yaml, hydra.yaml and overrides.yaml")
        .original(original)
}
