//! The rules of MLPerf Storage, each with its number, its figures and what would mend it.
//!
//! | Module | Which rules |
//! |---|---|
//! | [`tables`] | numbers and lists of the editions |
//! | [`facts`] | what the rules need to know of a run |
//! | [`parameters`] | R1, R2, R4 to R6, 3.6.x, 4.6.3: kind, model, overrides |
//! | [`template`] | EDN-01: what is measured is what the template says |
//! | [`dataset`] | R3, 3.1.2: files and steps |
//! | [`hosts`] | 3.3.x, 4.6.x, 3.4.2: ranks on hosts, file systems |
//! | [`training`], [`checkpointing`] | 3.x, 4.x: what a run's files say |
//! | [`structure`] | 2.1.x: files of a run |
//! | [`group`] | 2.1.17, 2.1.18, 3.2.1: runs that belong together |
//! | [`pair`] | 4.7.1, 2.1.24: checkpoints written by one run and read by another |
//!
//! `R1` to `R6` are the checks of mlpstorage's own run verifier in the order of its documentation, `2.1.x` to `4.x` the rules'
//! numbers, `EDN` and `PROV` those of later releases; what has no number there has a word.

pub mod checkpointing;
pub mod dataset;
pub mod facts;
pub mod group;
pub mod hosts;
pub mod pair;
pub mod parameters;
pub mod structure;
pub mod tables;
pub mod template;
#[cfg(test)]
mod tests;
pub mod training;

use std::path::Path;

use crate::config::Loaded;
use crate::mlperf::leaf::{Kind, Leaf};
use crate::mlperf::tree;
use crate::mlperf::verdict::{Assessment, Checked, Finding};
use crate::mlperf::{Edition, NO_RUNS};
use facts::{Facts, Inputs};

/// A run that is still to be made.
pub fn before(loaded: &Loaded, inputs: &Inputs, edition: Edition) -> Assessment {
    let facts = Facts::before(loaded, inputs, edition);
    let mut findings = parameters::check(&facts);
    findings.extend(dataset::check(&facts));
    findings.extend(hosts::check(&facts));
    findings.extend(checkpointing::check(&facts));
    Assessment::new(
        edition,
        "configuration",
        loaded.name.clone(),
        facts.text(),
        findings,
        parameters::is_submittable(&facts),
    )
}

/// A run that was made.
pub fn run(leaf: &Leaf, facts: &Facts) -> Assessment {
    let mut findings = structure::check(leaf, facts);
    if facts.kind != Kind::TrainingDatasize {
        findings.extend(parameters::check(facts));
        findings.extend(dataset::check(facts));
        findings.extend(hosts::check(facts));
        findings.extend(training::after(leaf, facts));
        findings.extend(checkpointing::check(facts));
        if facts.kind == Kind::Checkpointing {
            findings.extend(checkpointing::after(leaf, facts.edition));
        }
    }
    Assessment::new(
        facts.edition,
        "run",
        leaf.path.display().to_string(),
        facts.text(),
        findings,
        parameters::is_submittable(facts),
    )
}

/// Every run at or below a folder, the groups that they form, and the tree where it is that of a submission. A run that is
/// named itself is no group: it may be one of six.
///
/// Errors: the folder cannot be listed.
pub fn folder(root: &Path, edition: Edition) -> std::io::Result<Checked> {
    assess(root, edition, !Leaf::is_run(root))
}

fn assess(root: &Path, edition: Edition, with_groups: bool) -> std::io::Result<Checked> {
    let found = tree::leaves(root)?;
    let runs: Vec<(Leaf, Facts)> = found
        .leaves
        .into_iter()
        .map(|leaf| {
            let facts = Facts::after(&leaf, edition);
            (leaf, facts)
        })
        .collect();
    let (mut out, mut groups) = (Vec::new(), Vec::new());
    let mut tree = Vec::new();
    tree.extend(found.unreadable.into_iter().map(|(path, why)| {
        Finding::fail(
            "2.1.1",
            "foldersAreReadable",
            format!("{}: {why}", path.display()),
        )
        .remedy("make the folder readable, or check what lies above it")
    }));
    if runs.is_empty() {
        tree.push(
            Finding::fail(
                "2.1.1",
                "runsAreThere",
                format!("{}: {NO_RUNS}", root.display()),
            )
            .remedy("name the folder of a run, or one above it"),
        );
    }
    if !tree.is_empty() {
        out.push(Assessment::new(
            edition,
            "tree",
            root.display().to_string(),
            format!("{} run(s)", runs.len()),
            tree,
            true,
        ));
    }
    let of_runs: Vec<Assessment> = runs.iter().map(|(leaf, facts)| run(leaf, facts)).collect();
    if with_groups {
        for group in group::Group::of(&runs) {
            let own: Vec<&Assessment> = runs
                .iter()
                .zip(&of_runs)
                .filter(|((leaf, _), _)| group.runs.iter().any(|(own, _)| own.path == leaf.path))
                .map(|(_, assessment)| assessment)
                .collect();
            let mut findings = group.check(edition);
            findings.push(group::worst_of(&own));
            let (_, first) = group.runs[0];
            groups.push(Assessment::new(
                edition,
                "group",
                group.folder.display().to_string(),
                format!("{}, {} leaf(s)", group.name, group.runs.len()),
                findings,
                parameters::is_submittable(first),
            ));
        }
    }
    out.extend(of_runs);
    out.extend(groups);
    Ok(Checked::new(edition, out))
}
