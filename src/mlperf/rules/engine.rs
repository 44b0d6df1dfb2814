//! Goes through the table of rules: before a run, after it, over folders of runs.

use std::path::Path;

use super::parameters::is_submittable;
use super::table::{Check, RULES, Rule, When};
use crate::config::Loaded;
use crate::mlperf::editions::Edition;
use crate::mlperf::facts::{Facts, Inputs};
use crate::mlperf::group::{Group, groups};
use crate::mlperf::leaf::{Kind, Leaf};
use crate::mlperf::verdict::{Assessment, Checked, Finding, Found, Outcome, Verdict};
use crate::mlperf::{NO_RUNS, tree};

impl Rule {
    fn of_run(&self, facts: &Facts) -> Vec<Finding> {
        let is_time = match self.when {
            When::Before => facts.is_before,
            When::After => !facts.is_before,
            When::Both => true,
        };
        let applies =
            is_time && self.editions.contains(&facts.edition) && self.of.contains(&facts.kind);
        match self.check {
            Check::Run(check) | Check::Both(check, _) if applies => {
                self.findings(|out| check(facts, out))
            }
            _ => Vec::new(),
        }
    }

    fn of_group(&self, group: &Group<&Facts>, edition: Edition) -> Vec<Finding> {
        let is_of = |run: &&Facts| self.of.contains(&run.kind);
        let applies = self.editions.contains(&edition) && group.runs.iter().any(is_of);
        match self.check {
            Check::Group(check) | Check::Both(_, check) if applies => {
                self.findings(|out| check(group, out))
            }
            _ => Vec::new(),
        }
    }

    fn findings(&self, check: impl FnOnce(&mut Found)) -> Vec<Finding> {
        let mut found = Found::default();
        check(&mut found);
        let finding = |mut outcome: Outcome| {
            let needs_remedy = matches!(outcome.verdict, Verdict::Fail | Verdict::Warn);
            let remedy = outcome.remedy.or_else(|| Some(self.remedy.to_owned()));
            outcome.remedy = remedy.filter(|_| needs_remedy);
            Finding {
                rule: self.id,
                name: self.name,
                outcome,
            }
        };
        found.0.into_iter().map(finding).collect()
    }
}

/// Findings of a check that is made here.
fn here(id: &str, check: impl FnOnce(&mut Found)) -> Vec<Finding> {
    let rule = Rule::named(id).expect("a row of the table");
    rule.findings(check)
}

/// A run that is still to be made.
pub fn before(loaded: &Loaded, inputs: &Inputs, edition: Edition) -> Assessment {
    let facts = Facts::before(loaded, inputs, edition);
    run(&facts, "configuration", loaded.name.clone())
}

fn run(facts: &Facts, kind: &'static str, subject: String) -> Assessment {
    let findings = RULES.iter().flat_map(|rule| rule.of_run(facts)).collect();
    Assessment::new(kind, subject, facts.text(), findings, is_submittable(facts))
}

/// Every run at or below a folder and the groups that they form. A run that is named itself is no group: it may be one
/// of six. What is no run is left out.
///
/// Errors: the folder cannot be listed.
pub fn folder(root: &Path, edition: Edition) -> std::io::Result<Checked> {
    let found = tree::leaves(root)?;
    let mut out: Vec<Assessment> = Vec::new();
    let runs: Vec<Facts> = found
        .leaves
        .into_iter()
        .filter(|leaf| leaf.kind() != Kind::Unknown || !leaf.is_of_another_benchmark())
        .map(|leaf| Facts::after(leaf, edition))
        .collect();
    let root_text = root.display().to_string();
    let of_folder = here("folder", |out| {
        for (path, why) in &found.unreadable {
            out.fail(format!("{}: {why}", path.display()));
        }
        if runs.is_empty() {
            out.fail(format!("{root_text}: {NO_RUNS}"))
                .remedy("name the folder of a run, or one above it");
        }
    });
    if !of_folder.is_empty() {
        let facts = format!("{} run(s)", runs.len());
        out.push(Assessment::new("folder", root_text, facts, of_folder, true));
    }
    let of_runs: Vec<Assessment> = runs
        .iter()
        .map(|facts| run(facts, "run", facts.leaf.path.display().to_string()))
        .collect();
    let groups = if Leaf::is_run(root) {
        Vec::new()
    } else {
        groups(&runs)
    };
    let of_groups: Vec<Assessment> = groups.iter().map(|g| group(g, edition, &of_runs)).collect();
    out.extend(of_runs);
    out.extend(of_groups);
    Ok(Checked::new(edition, out))
}

fn group(group: &Group<&Facts>, edition: Edition, of_runs: &[Assessment]) -> Assessment {
    let mut findings: Vec<Finding> = RULES
        .iter()
        .flat_map(|rule| rule.of_group(group, edition))
        .collect();
    let paths: Vec<String> = (group.runs.iter())
        .map(|run| run.leaf.path.display().to_string())
        .collect();
    let own = of_runs.iter().filter(|a| paths.contains(&a.subject));
    let own: Vec<&Assessment> = own.collect();
    findings.extend(here("runs", |out| worst_of(&own, out)));
    let submittable = group.runs.first().is_none_or(|first| is_submittable(first));
    Assessment::new(
        "group",
        group.key.folder.display().to_string(),
        format!("{}, {} run(s)", group.key.name(), group.runs.len()),
        findings,
        submittable,
    )
}

/// A group is as good as the worst of its runs.
fn worst_of(runs: &[&Assessment], out: &mut Found) {
    let bad = runs.iter().filter(|run| run.count(Verdict::Fail) > 0);
    let bad: Vec<&str> = bad.map(|run| run.subject.as_str()).collect();
    let (n, all) = (bad.len(), runs.len());
    let outcome = match n {
        0 => out.pass(format!("no violation in {all} run(s)")),
        _ => out.fail(format!(
            "{n} of {all} run(s) violate a rule: {}",
            bad.join(", ")
        )),
    };
    if let Some(standing) = runs.iter().map(|run| run.standing).max() {
        outcome.standing(standing);
    }
}
