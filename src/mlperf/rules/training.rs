//! What the files of a training run must say.

use serde_json::Value;

use super::facts::Facts;
use super::tables::minimum_au_percent;
use crate::mlperf::Edition;
use crate::mlperf::json::{Document, at};
use crate::mlperf::leaf::{Kind, Leaf};
use crate::mlperf::verdict::{Finding, Original};

/// Every rule of this file that needs the run's files.
pub fn after(leaf: &Leaf, facts: &Facts) -> Vec<Finding> {
    let mut out = summary(leaf, facts);
    if facts.kind == Kind::TrainingRun {
        out.extend(utilization(leaf, facts));
        out.push(run_data(leaf, facts.edition));
        out.push(published(leaf, facts.edition));
    }
    if facts.edition == Edition::V3 {
        if facts.kind == Kind::TrainingRun {
            out.extend(capability(leaf));
        }
        out.extend(arguments(leaf, facts));
    }
    out
}

/// `summary.json`: presence, and what the tools break on.
fn summary(leaf: &Leaf, facts: &Facts) -> Vec<Finding> {
    let (rule, name) = ("summary", "summaryIsComplete");
    let is_run = matches!(
        facts.kind,
        Kind::TrainingRun | Kind::Checkpointing | Kind::Unknown
    );
    let (value, not_numbers) = match &leaf.summary {
        Document::Absent if !is_run => return Vec::new(),
        Document::Absent => {
            return vec![
                Finding::fail(
                    rule,
                    name,
                    "there is no summary.json: the run did not finish",
                )
                .remedy("run again; the reports leave a run without it out")
                .original(Original::NotListed),
            ];
        }
        Document::Broken(why) => {
            return vec![
                Finding::fail(rule, name, format!("summary.json cannot be read: {why}"))
                    .remedy("restore the file, or run again")
                    .original(Original::Crash),
            ];
        }
        Document::Read { value, not_numbers } => (value, *not_numbers),
    };
    let mut out = Vec::new();
    let list_of_numbers = |v: &Value| {
        v.as_array()
            .is_some_and(|list| !list.is_empty() && list.iter().all(Value::is_number))
    };
    let wanted: [(&str, &str, bool, bool); 4] = [
        (
            "num_accelerators",
            "a whole number",
            leaf.accelerators().is_some(),
            value.get("num_accelerators").is_some(),
        ),
        (
            "host_memory_GB",
            "a list of numbers",
            value.get("host_memory_GB").is_some_and(list_of_numbers),
            value.get("host_memory_GB").is_some_and(list_of_numbers),
        ),
        (
            "host_cpu_count",
            "a list of numbers",
            value.get("host_cpu_count").is_some_and(list_of_numbers),
            value.get("host_cpu_count").is_some_and(list_of_numbers),
        ),
        (
            "metric",
            "an object",
            value.get("metric").is_some_and(Value::is_object),
            true,
        ),
    ];
    for (key, expected, is_right, is_taken) in wanted {
        if is_right {
            continue;
        }
        let found = value.get(key).map_or_else(|| "absent".into(), short);
        out.push(
            Finding::fail(
                rule,
                name,
                format!("summary.json: {key} is {found}; {expected} is expected"),
            )
            .remedy("restore the file, or run again")
            .original(match (facts.edition, is_taken) {
                (Edition::V2, false) => Original::Crash,
                _ => Original::Silent,
            }),
        );
    }
    for key in ["start", "end"] {
        let is_there = match key {
            "start" => leaf.start().is_some(),
            _ => leaf.end().is_some(),
        };
        if !is_there {
            let found = value.get(key).map_or_else(|| "absent".into(), short);
            out.push(
                Finding::fail(
                    rule,
                    name,
                    format!("summary.json: {key} is {found}; a time such as 2026-01-31T12:00:00.000000 is expected"),
                )
                .remedy("restore the file, or run again"),
            );
        }
    }
    if let (Some(start), Some(end)) = (leaf.start(), leaf.end())
        && end < start
    {
        out.push(
            Finding::fail(
                rule,
                name,
                format!("summary.json: end {end} is before start {start}"),
            )
            .remedy("set the clock of the host right and run again"),
        );
    }
    if not_numbers > 0 {
        out.push(
            Finding::warn(
                rule,
                "numbersAreFinite",
                format!("summary.json holds NaN or Infinity {not_numbers} time(s), which JSON does not know"),
            )
            .remedy("run again; a metric without a value should be left out"),
        );
    }
    if out.is_empty() {
        out.push(Finding::pass(
            rule,
            name,
            format!(
                "start, end, num_accelerators, host_memory_GB, host_cpu_count and metric; {:.1} s",
                leaf.duration_s().unwrap_or_default()
            ),
        ));
    }
    out
}

/// A value for a message, cut.
pub(super) fn short(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &text[..at]),
        None => text,
    }
}

/// AU: v2.0's tools never look at it, its reviewers do.
fn utilization(leaf: &Leaf, facts: &Facts) -> Vec<Finding> {
    let (rule, name) = ("3.3.2", "trainingAcceleratorUtilizationCheck");
    let verdict = leaf
        .summary("metric.train_au_meet_expectation")
        .and_then(Value::as_str);
    let mean = leaf.metric("train_au_mean_percentage");
    let minimum = facts.model.as_deref().and_then(minimum_au_percent);
    let mut what = vec![match verdict {
        Some(word) => format!("train_au_meet_expectation is \"{word}\""),
        None => "train_au_meet_expectation is absent".into(),
    }];
    if let Some(au) = mean {
        what.push(format!("mean AU {au:.2} %"));
    }
    if let Some(minimum) = minimum {
        what.push(format!("the model needs {minimum:.0} %"));
    }
    let what = what.join(", ");
    let below = mean.zip(minimum).is_some_and(|(au, least)| au < least);
    let remedy = "a faster storage system, more reader.read_threads, or fewer accelerators";
    vec![
        match (verdict == Some("success") && !below, facts.edition) {
            (true, _) => Finding::pass(rule, name, what),
            (false, Edition::V2) => Finding::warn(
                rule,
                name,
                format!(
                    "{what}; v2.0's tools never look at AU: decided by review, which refuses it"
                ),
            )
            .remedy(remedy),
            (false, Edition::V3) => Finding::fail(rule, name, what)
                .remedy(remedy)
                .original(Original::Violation),
        },
    ]
}

fn run_data(leaf: &Leaf, edition: Edition) -> Finding {
    let (rule, name) = ("3.3.1", "trainingRunDataMatchesDatasize");
    let told = |key: &str| leaf.summary(key).and_then(Value::as_u64);
    let configured = leaf.number("dataset.num_files_train");
    match (told("num_files_train"), told("num_files_eval")) {
        (Some(files), Some(eval)) if configured.is_none_or(|n| n == files as f64) => {
            Finding::pass(rule, name, format!("{files} files, {eval} for evaluation"))
        }
        (Some(files), Some(_)) => Finding::fail(
            rule,
            name,
            format!(
                "summary.json says {files} files, config.yaml {}",
                configured.unwrap_or_default()
            ),
        )
        .remedy("keep the files of one run together"),
        _ => Finding::fail(
            rule,
            name,
            "summary.json lacks num_files_train or num_files_eval",
        )
        .remedy("restore the file, or run again")
        .original(Original::Violation.in_v3(edition)),
    }
}

/// Numbers that the reports publish.
fn published(leaf: &Leaf, edition: Edition) -> Finding {
    let (rule, name) = ("report", "trainingMetrics");
    let mut missing = Vec::new();
    if leaf.metric("train_io_mean_MB_per_second").is_none() {
        missing.push("train_io_mean_MB_per_second");
    }
    for key in ["train_au_percentage", "train_throughput_samples_per_second"] {
        if leaf.metric_list(key).is_none() {
            missing.push(key);
        }
    }
    let epochs = leaf.number("train.epochs");
    let measured = leaf.metric_list("train_au_percentage").map(|l| l.len());
    if !missing.is_empty() {
        let finding = Finding::new(
            rule,
            name,
            match edition {
                Edition::V2 => crate::mlperf::verdict::Verdict::Warn,
                Edition::V3 => crate::mlperf::verdict::Verdict::Fail,
            },
            format!("summary.json lacks metric {}", missing.join(", ")),
        );
        return finding
            .remedy("run again")
            .original(Original::Violation.in_v3(edition));
    }
    match (epochs, measured) {
        (Some(epochs), Some(n)) if epochs != n as f64 => Finding::fail(
            rule,
            name,
            format!("{n} epoch(s) measured, train.epochs is {epochs}"),
        )
        .remedy("run all epochs (without --max-epochs)"),
        _ => Finding::pass(rule, name, "every published number is there"),
    }
}

/// The largest host has at most half as much again as the smallest.
fn capability(leaf: &Leaf) -> Option<Finding> {
    let (rule, name) = ("3.3.7", "nodeCapabilityConsistency");
    let hosts = leaf.hosts().filter(|hosts| *hosts > 1)?;
    let mut what = Vec::new();
    let mut worst = 0.0f64;
    for key in ["host_memory_GB", "host_cpu_count"] {
        let list = leaf.summary(key)?.as_array()?;
        let list: Vec<f64> = list.iter().filter_map(Value::as_f64).collect();
        let least = list.iter().copied().reduce(f64::min)?;
        let most = list.iter().copied().reduce(f64::max)?;
        if list.len() as u64 != hosts || least <= 0.0 {
            return Some(Finding::skip(
                rule,
                name,
                format!("missing: {key} of every host (DLIO fills the wrong places of its list)"),
            ));
        }
        worst = worst.max(most / least);
        what.push(format!("{key} {least} to {most}"));
    }
    let what = what.join(", ");
    Some(if worst > 1.5 {
        Finding::warn(rule, name, format!("{what}: {worst:.2} times"))
            .remedy("use hosts that are alike")
            .original(Original::Warning)
    } else {
        Finding::pass(rule, name, what)
    })
}

/// What mlpstorage was told: only where it started the run.
fn arguments(leaf: &Leaf, facts: &Facts) -> Vec<Finding> {
    let kind = facts.kind;
    let usage = ("3.1.1", "trainingVerifyDatasizeUsage");
    let client = ("3.3.4", "trainingSingleHostClientLimit");
    let paths = match kind {
        Kind::Checkpointing => ("4.4.1", "checkpointPathArgs"),
        _ => ("3.4.1", "trainingPathArgs"),
    };
    let is_training = kind != Kind::Checkpointing;
    let Some(metadata) = leaf.metadata() else {
        let missing = "missing: mlpstorage's *_metadata.json, which holds its arguments";
        let mut out = vec![Finding::skip(paths.0, paths.1, missing)];
        if is_training {
            out.push(Finding::skip(usage.0, usage.1, missing));
            out.push(Finding::skip(client.0, client.1, missing));
        }
        out.extend(provenance(leaf, facts));
        return out;
    };
    let mut out = Vec::new();
    if is_training {
        let dataset = at(metadata, "parameters.dataset").and_then(Value::as_object);
        out.push(match dataset {
            Some(map) if !map.is_empty() => Finding::pass(
                usage.0,
                usage.1,
                "the metadata holds the dataset's parameters",
            ),
            _ => Finding::fail(
                usage.0,
                usage.1,
                "the metadata has no parameters.dataset, or an empty one",
            )
            .remedy("start the run through mlpstorage")
            .original(Original::Violation),
        });
        let hosts = at(metadata, "args.hosts")
            .and_then(Value::as_array)
            .map(Vec::len);
        out.push(match (leaf.hosts(), hosts) {
            (Some(1), Some(n)) if n > 1 => {
                Finding::fail(client.0, client.1, format!("1 host ran, {n} were named"))
                    .remedy(
                        "name the hosts that run, and see that the launcher reaches all of them",
                    )
                    .original(Original::Violation)
            }
            (Some(ran), Some(n)) => {
                Finding::pass(client.0, client.1, format!("{ran} host(s) ran, {n} named"))
            }
            _ => Finding::skip(client.0, client.1, "missing: args.hosts or num_hosts"),
        });
    }
    let folder = if is_training {
        "args.data_dir"
    } else {
        "args.checkpoint_folder"
    };
    let text = |key: &str| at(metadata, key).and_then(Value::as_str);
    out.push(match (text(folder), text("args.results_dir")) {
        (Some(a), Some(b)) if a != b && !a.is_empty() && !b.is_empty() => Finding::pass(
            paths.0,
            paths.1,
            format!("{folder} {a}, args.results_dir {b}"),
        ),
        (a, b) => Finding::fail(
            paths.0,
            paths.1,
            format!(
                "{folder} is {}, args.results_dir is {}: both must be set and differ",
                a.unwrap_or("not set"),
                b.unwrap_or("not set")
            ),
        )
        .remedy("name both folders to mlpstorage")
        .original(Original::Violation),
    });
    out.extend(provenance(leaf, facts));
    out
}

/// Side files of mlpstorage.
fn provenance(leaf: &Leaf, facts: &Facts) -> Vec<Finding> {
    let separation = match facts.kind {
        Kind::Checkpointing => ("4.4.2", "checkpointFilesystemCheck"),
        _ => ("3.4.2", "trainingFilesystemCheck"),
    };
    let mut out = Vec::new();
    if facts.folders.is_some() {
        // Looked at themselves.
    } else if !leaf.files.contains("fs_separation.json") {
        out.push(Finding::skip(
            separation.0,
            separation.1,
            "missing: fs_separation.json, which mlpstorage writes before a run",
        ));
    } else {
        let document = Document::json(&leaf.path.join("fs_separation.json"));
        let said = document
            .value()
            .and_then(|v| at(v, "same_filesystem")?.as_bool());
        let shown = document.value().map_or_else(String::new, |v| {
            let path = |key| at(v, key).and_then(Value::as_str).unwrap_or("?");
            format!(
                "data in {}, results in {}",
                path("data_or_chkpt_path"),
                path("results_path")
            )
        });
        out.push(match said {
            Some(false) => Finding::pass(
                separation.0,
                separation.1,
                format!("{shown}: different file systems"),
            ),
            Some(true) => Finding::fail(
                separation.0,
                separation.1,
                format!("{shown}: the same file system"),
            )
            .remedy("name a folder of results on another file system")
            .original(Original::Violation),
            None => Finding::fail(
                separation.0,
                separation.1,
                "fs_separation.json: same_filesystem is no truth value",
            )
            .remedy("restore the file, or run again"),
        });
    }
    out.push(if leaf.is_ours() {
        Finding::warn(
            "EDN-03",
            "dlioRevisionIsKnown",
            "dlio-rs made this run (report.json); it is none of the DLIO revisions of the edition's list",
        )
        .remedy("disclose it: OPEN allows another DLIO whose source is available")
    } else if leaf.files.contains("provenance.json") {
        let document = Document::json(&leaf.path.join("provenance.json"));
        let commit = document
            .value()
            .and_then(|v| at(v, "dlio.commit"))
            .and_then(Value::as_str)
            .unwrap_or("unknown");
        if commit == "unknown" {
            Finding::warn("EDN-03", "dlioRevisionIsKnown", "dlio.commit is unknown")
                .remedy("disclose the source of the DLIO that ran")
                .original(Original::Warning)
        } else {
            Finding::pass("EDN-03", "dlioRevisionIsKnown", commit)
        }
    } else {
        Finding::skip(
            "PROV-01",
            "provenance",
            "missing: provenance.json, which releases after the round of v3.0 write",
        )
    });
    out
}
