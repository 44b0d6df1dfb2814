//! What a run's folder must hold to be judged, and what a workload needs to start: dlio-rs's own checks.

use super::checkpointing;
use crate::mlperf::facts::{Facts, one_line};
use crate::mlperf::foreign::{Document, Loose, Summary};
use crate::mlperf::leaf::Kind;
use crate::mlperf::verdict::{Outcome, Standing};

/// Files that are there and cannot be read.
pub(super) fn readable(facts: &Facts) -> Vec<Outcome> {
    let leaf = &facts.leaf;
    let named = [
        ("dlio_config/config.yaml", leaf.config.broken()),
        ("dlio_config/overrides.yaml", leaf.overrides.broken()),
        ("report.json", leaf.report.broken()),
    ];
    let metadata = leaf
        .metadata
        .iter()
        .map(|(name, document)| (name.as_str(), document.broken()));
    let broken = named.into_iter().chain(metadata).filter_map(|(file, why)| {
        let path = leaf.path.join(file);
        Some(Outcome::fail(format!("{}: {}", path.display(), why?)))
    });
    let mut out: Vec<Outcome> = broken.collect();
    if leaf.metadata.len() > 1 {
        let names: Vec<&str> = leaf
            .metadata
            .iter()
            .map(|(name, _)| name.as_str())
            .collect();
        let what = format!(
            "{} metadata files ({}); a folder holds one run",
            names.len(),
            names.join(", ")
        );
        out.push(Outcome::fail(what).remedy("keep the one of this run"));
    }
    if let (Err(why), true) = (&facts.typed, leaf.config.value().is_some()) {
        let what = format!(
            "dlio_config/config.yaml: {}; rules that need all of it are left out",
            one_line(why)
        );
        out.push(
            Outcome::warn(what).remedy("run with a config.yaml whose keys and types DLIO knows"),
        );
    }
    out
}

/// What the run did is declared.
pub(super) fn kind(facts: &Facts) -> Vec<Outcome> {
    let what = match facts.kind {
        Kind::Checkpointing => "checkpointing",
        _ => "training",
    };
    vec![if facts.kind == Kind::Unknown {
        Outcome::fail(
            "neither workflow.train, workflow.generate_data nor workflow.checkpoint is true",
        )
        .standing(Standing::Invalid)
    } else if facts.is_kind_guessed() {
        let only = format!("only the metrics speak of {what}; nothing says what the run was to do");
        Outcome::fail(only)
            .remedy("restore dlio_config/config.yaml, or run again")
            .standing(Standing::Invalid)
    } else {
        Outcome::pass(what)
    }]
}

/// The shell command that the workload holds.
pub(super) fn command(facts: &Facts) -> Vec<Outcome> {
    let workload = facts.typed.as_ref().ok();
    let command = workload.and_then(|w| w.checkpoint.between_phases.as_ref());
    let shown = |command: &String| {
        let command = command.escape_debug();
        Outcome::info(format!("rank 0 runs '{command}' between saves and loads"))
    };
    command.map(shown).into_iter().collect()
}

/// What a run would refuse to start with.
pub(super) fn can_start(facts: &Facts) -> Vec<Outcome> {
    let (Ok(workload), Some(ranks)) = (&facts.typed, facts.accelerators) else {
        return Vec::new();
    };
    let refused = crate::config::validate(workload, ranks as usize)
        .map(|_| ())
        .map_err(|e| e.to_string())
        .and_then(|()| match facts.kind {
            Kind::Checkpointing => checkpointing::plan(facts).map(|_| ()),
            _ => Ok(()),
        });
    let refusal = |why: String| Outcome::fail(one_line(&why)).standing(Standing::Invalid);
    refused.err().map(refusal).into_iter().collect()
}

/// dlio-rs's own storage systems: two of them read nothing, whatever the list of parameters says.
pub(super) fn storage(facts: &Facts) -> Vec<Outcome> {
    let Some(storage) = facts.storage() else {
        return Vec::new();
    };
    let what = format!("storage.storage_type={storage}");
    if !storage.has_bytes {
        let what = format!("{what} answers without a storage system");
        vec![Outcome::fail(what).standing(Standing::Invalid)]
    } else if !storage.in_dlio {
        let what = format!("{what} is none of DLIO's");
        vec![Outcome::warn(what).remedy("storage.storage_type=local_fs, or disclose it")]
    } else {
        Vec::new()
    }
}

/// `summary.json`: presence, and what every reader of it needs.
pub(super) fn summary(facts: &Facts) -> Vec<Outcome> {
    let summary = match &facts.leaf.summary {
        Document::Absent if facts.kind == Kind::TrainingDatagen => return Vec::new(),
        Document::Absent => {
            return vec![
                Outcome::fail("there is no summary.json: the run did not finish")
                    .remedy("run again"),
            ];
        }
        Document::Broken(why) => {
            return vec![Outcome::fail(format!("summary.json cannot be read: {why}"))];
        }
        Document::Read(summary) => summary,
    };
    let mut out = wrong_keys(summary);
    if let (Some(start), Some(end)) = (facts.leaf.start(), facts.leaf.end()) {
        if end < start {
            let what = format!("summary.json: end {end} is before start {start}");
            out.push(Outcome::fail(what).remedy("set the clock of the host right and run again"));
        } else if out.is_empty() {
            let s = (end - start).as_seconds_f64();
            out.push(Outcome::pass(format!(
                "times, ranks, hosts and metrics; {s:.1} s"
            )));
        }
    }
    out
}

fn wrong_keys(summary: &Summary) -> Vec<Outcome> {
    let time = "a time such as 2026-01-31T12:00:00.000000";
    let end = if summary.end.is_set() {
        &summary.end
    } else {
        &summary.end_time
    };
    let keys: [(&str, &Loose, bool, &str); 5] = [
        (
            "start",
            &summary.start,
            summary.start.time().is_some(),
            time,
        ),
        ("end", end, end.time().is_some(), time),
        (
            "num_accelerators",
            &summary.num_accelerators,
            summary.num_accelerators.whole().is_some(),
            "a whole number",
        ),
        (
            "host_memory_GB",
            &summary.host_memory_gb,
            summary.host_memory_gb.numbers().is_some(),
            "a list of numbers",
        ),
        (
            "host_cpu_count",
            &summary.host_cpu_count,
            summary.host_cpu_count.numbers().is_some(),
            "a list of numbers",
        ),
    ];
    let wrong = |key: &str, found: &str, expected: &str| {
        Outcome::fail(format!(
            "summary.json: {key} is {found}; {expected} is expected"
        ))
    };
    let mut out: Vec<Outcome> = keys
        .into_iter()
        .filter(|(_, _, is_right, _)| !is_right)
        .map(|(key, found, _, expected)| wrong(key, &found.to_string(), expected))
        .collect();
    if summary.metric.is_none() {
        out.push(wrong("metric", "no map", "a map"));
    }
    out
}
