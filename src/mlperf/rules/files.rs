//! What a run's folder must hold to be judged, and what a workload needs to start: dlio-rs's own checks.

use super::checkpointing;
use crate::mlperf::facts::{Facts, one_line};
use crate::mlperf::foreign::{Document, Loose, Summary};
use crate::mlperf::leaf::Kind;
use crate::mlperf::verdict::Found;

/// Files that are there and cannot be read.
pub(super) fn readable(facts: &Facts, out: &mut Found) {
    let leaf = &facts.leaf;
    let named = [
        ("dlio_config/config.yaml", leaf.config.broken()),
        ("dlio_config/overrides.yaml", leaf.overrides.broken()),
        ("report.json", leaf.report.broken()),
    ];
    let metadata = leaf.metadata.iter();
    let metadata = metadata.map(|(name, document)| (name.as_str(), document.broken()));
    for (file, why) in named.into_iter().chain(metadata) {
        if let Some(why) = why {
            out.fail(format!("{}: {why}", leaf.path.join(file).display()));
        }
    }
    if leaf.metadata.len() > 1 {
        let names: Vec<&str> = leaf
            .metadata
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let (n, names) = (names.len(), names.join(", "));
        out.fail(format!(
            "{n} metadata files ({names}); a folder holds one run"
        ))
        .remedy("keep the one of this run");
    }
    if let (Err(why), true) = (&facts.typed, leaf.config.value().is_some()) {
        out.warn(format!(
            "dlio_config/config.yaml: {}; rules that need all of it are left out",
            one_line(why)
        ))
        .remedy("run with a config.yaml whose keys and types DLIO knows");
    }
}

/// What the run did is declared.
pub(super) fn kind(facts: &Facts, out: &mut Found) {
    let what = match facts.kind {
        Kind::Unknown => {
            out.invalid(
                "neither workflow.train, workflow.generate_data nor workflow.checkpoint is true",
            );
            return;
        }
        Kind::Checkpointing => "checkpointing",
        _ => "training",
    };
    match facts.is_kind_guessed() {
        true => out
            .invalid(format!(
                "only the metrics speak of {what}; nothing says what the run was to do"
            ))
            .remedy("restore dlio_config/config.yaml, or run again"),
        false => out.pass(what),
    };
}

/// The shell command that the workload holds.
pub(super) fn command(facts: &Facts, out: &mut Found) {
    let workload = facts.typed.as_ref().ok();
    if let Some(command) = workload.and_then(|w| w.checkpoint.between_phases.as_ref()) {
        let command = command.escape_debug();
        out.info(format!("rank 0 runs '{command}' between saves and loads"));
    }
}

/// What a run would refuse to start with.
pub(super) fn can_start(facts: &Facts, out: &mut Found) {
    let (Ok(workload), Some(ranks)) = (&facts.typed, facts.accelerators) else {
        return;
    };
    let refused = match crate::config::validate(workload, ranks as usize) {
        Err(e) => Some(e.to_string()),
        Ok(_) if facts.kind == Kind::Checkpointing => checkpointing::plan(facts).err(),
        Ok(_) => None,
    };
    if let Some(why) = refused {
        out.invalid(one_line(&why));
    }
}

/// dlio-rs's own storage systems: two of them read nothing, whatever the list of parameters says.
pub(super) fn storage(facts: &Facts, out: &mut Found) {
    let Some(storage) = facts.storage() else {
        return;
    };
    let what = format!("storage.storage_type={storage}");
    if !storage.has_bytes {
        out.invalid(what + " answers without a storage system");
    } else if !storage.in_dlio {
        out.warn(what + " is none of DLIO's")
            .remedy("storage.storage_type=local_fs, or disclose it");
    }
}

/// `summary.json`: presence, and what every reader of it needs.
pub(super) fn summary(facts: &Facts, out: &mut Found) {
    let summary = match &facts.leaf.summary {
        Document::Absent if facts.kind == Kind::TrainingDatagen => return,
        Document::Absent => {
            out.fail("there is no summary.json: the run did not finish")
                .remedy("run again");
            return;
        }
        Document::Broken(why) => {
            out.fail(format!("summary.json cannot be read: {why}"));
            return;
        }
        Document::Read(summary) => summary,
    };
    wrong_keys(summary, out);
    if let (Some(start), Some(end)) = (facts.leaf.start(), facts.leaf.end()) {
        if end < start {
            out.fail(format!("summary.json: end {end} is before start {start}"))
                .remedy("set the clock of the host right and run again");
        } else if out.0.is_empty() {
            let s = (end - start).as_seconds_f64();
            out.pass(format!("times, ranks, hosts and metrics; {s:.1} s"));
        }
    }
}

fn wrong_keys(summary: &Summary, out: &mut Found) {
    let time = "a time such as 2026-01-31T12:00:00.000000";
    let s = summary;
    let end = match s.end.is_set() {
        true => &s.end,
        false => &s.end_time,
    };
    let (memory, cpus, n) = (&s.host_memory_gb, &s.host_cpu_count, &s.num_accelerators);
    let keys: [(&str, &Loose, bool, &str); 5] = [
        ("start", &s.start, s.start.time().is_some(), time),
        ("end", end, end.time().is_some(), time),
        ("num_accelerators", n, n.whole().is_some(), "a whole number"),
        ("host_memory_GB", memory, memory.numbers().is_some(), LIST),
        ("host_cpu_count", cpus, cpus.numbers().is_some(), LIST),
    ];
    let mut wrong = |key: &str, found: &str, expected: &str| {
        out.fail(format!(
            "summary.json: {key} is {found}; {expected} is expected"
        ));
    };
    for (key, found, _, expected) in keys.into_iter().filter(|(_, _, is_right, _)| !is_right) {
        wrong(key, &found.to_string(), expected);
    }
    if summary.metric.is_none() {
        wrong("metric", "no map", "a map");
    }
}

const LIST: &str = "a list of numbers";
