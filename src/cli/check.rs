//! `dlio-rs check`: the rules of MLPerf Storage, before a run and after it.

use std::io;
use std::path::Path;
use std::process::Command;

use clap::Args;
use serde::Serialize;
use serde_json::{Value, json};

use super::output::{self, Format};
use super::size::{Gib, gib};
use super::words::WorkloadArgs;
use super::{Result, Stop};
use crate::config::Loaded;
use crate::mlperf::NOT_CLOSED;
use crate::mlperf::editions::Edition;
use crate::mlperf::facts::Inputs;
use crate::mlperf::rules::engine;
use crate::mlperf::rules::table::{self, RULES, Rule};
use crate::mlperf::verdict::{Assessment, Checked, Verdict};

/// What to check.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Instead of a workload a folder: of a run (RUN_DIR), of many runs (RESULTS_TREE), of a submission.\n\
    Of a submission tree, runs and groups are checked here; the tree itself is left to `mlpstorage validate`, which is run\n\
    where it is on PATH and named otherwise."
)]
pub struct CheckArgs {
    /// Which workload, or which folder.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// Simulated accelerators (ranks) that will run
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub accelerators: Option<u64>,
    /// Hosts that will run them
    #[arg(long, value_name = "H", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    pub hosts: Option<u64>,
    /// Memory of each host, GiB
    #[arg(long, value_name = "GIB", value_parser = gib)]
    pub host_memory_gib: Option<Gib>,
    /// Whose rules
    #[arg(long, value_name = "EDITION", default_value = "v3.0")]
    pub edition: Edition,
    /// How to print
    #[arg(long, default_value = "text")]
    pub format: Format,
    /// Print what a rule demands, and what to do about a violation; without ID the table of all rules
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["words", "accelerators", "hosts", "host_memory_gib"])]
    pub explain: Option<String>,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    #[serde(flatten)]
    checked: Checked,
    /// Of submission trees.
    #[serde(skip_serializing_if = "Option::is_none")]
    validator: Option<Validator>,
}

/// `mlpstorage validate`
#[derive(Serialize)]
struct Validator {
    command: String,
    /// None where it is not installed, or a signal ended it.
    status: Option<i32>,
    /// Both of its streams.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<String>,
}

/// Prints one rule, or all of them as the Markdown table of docs/mlperf.md.
pub(super) fn explain(id: &str, form: Format) -> Result<()> {
    let one = Rule::named(id);
    if one.is_none() && !id.is_empty() {
        let ids: Vec<&str> = RULES.iter().map(|rule| rule.id).collect();
        return Err(Stop::usage(format!(
            "check --explain {id}: there is no such rule here\n  remedy: one of {}; trees and code images are judged by `mlpstorage validate`",
            ids.join(", ")
        )));
    }
    let rules = one.map_or(RULES, std::slice::from_ref);
    let of = |rule: &Rule| {
        json!({
            "id": rule.id, "name": rule.name, "scope": rule.scope(), "demand": rule.demand, "remedy": rule.remedy,
        })
    };
    let found: Vec<Value> = rules.iter().map(of).collect();
    let found = json!({"schema": "dlio-rs/rules/1", "rules": found});
    output::print(form, &found, |_| {
        one.map_or_else(table::markdown, Rule::text)
    })
}

/// The folder that was named, where it was one.
///
/// Errors: a folder with overrides or with options that only a run still to be made has.
pub(super) fn folder(args: &CheckArgs) -> Result<Option<&Path>> {
    let is_folder = |word: &&String| Path::new(word).is_dir();
    let Some(folder) = args.workload.words.iter().find(is_folder) else {
        return Ok(None);
    };
    if args.workload.words.len() > 1 {
        return Err(Stop::usage(format!(
            "check {folder}: a folder of results is checked as it is\n  remedy: leave the other words out"
        )));
    }
    if args.accelerators.is_some() || args.hosts.is_some() || args.host_memory_gib.is_some() {
        return Err(Stop::usage(format!(
            "check {folder}: ranks, hosts and memory of a run stand in its summary.json\n  remedy: leave --accelerators, --hosts and --host-memory-gib out"
        )));
    }
    Ok(Some(Path::new(folder)))
}

/// Checks what lies in a folder.
pub(super) fn after(folder: &Path, args: &CheckArgs) -> Result<()> {
    let checked = engine::folder(folder, args.edition).map_err(|e| {
        Stop::usage(format!(
            "check {}: {e}\n  remedy: name a readable folder of results",
            folder.display()
        ))
    })?;
    let is_tree = ["closed", "open"]
        .iter()
        .any(|division| folder.join(division).is_dir());
    let validator = is_tree.then(|| validate(folder)).transpose()?;
    print(Report { checked, validator }, args.format)
}

/// Runs `mlpstorage validate` where it is installed.
fn validate(folder: &Path) -> Result<Validator> {
    let command = format!("mlpstorage validate {}", folder.display());
    let mut validator = Validator {
        command,
        status: None,
        output: None,
    };
    match Command::new("mlpstorage")
        .arg("validate")
        .arg(folder)
        .output()
    {
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(Stop::failed(format!("run {}: {e}", validator.command))),
        Ok(out) => {
            let text = [out.stdout, out.stderr].map(|s| String::from_utf8_lossy(&s).into_owned());
            validator.status = out.status.code();
            validator.output = Some(text.concat());
        }
    }
    Ok(validator)
}

/// Checks a workload that is to run.
pub(super) fn before(loaded: &Loaded, args: &CheckArgs) -> Result<()> {
    let inputs = Inputs {
        accelerators: args.accelerators,
        hosts: args.hosts.or(args.host_memory_gib.as_ref().map(|_| 1)),
        gib_per_host: args.host_memory_gib.as_ref().map(|g| g.value),
        ..Inputs::default()
    };
    let assessment = engine::before(loaded, &inputs, args.edition);
    let report = Report {
        checked: Checked::new(args.edition, vec![assessment]),
        validator: None,
    };
    print(report, args.format)
}

/// Prints what was found; a violation is exit status 1.
fn print(report: Report, form: Format) -> Result<()> {
    output::print(form, &report, |report| {
        let mut out = text(&report.checked);
        if let Some(validator) = &report.validator {
            validator_text(&mut out, validator);
        }
        out
    })?;
    let is_refused = |v: Validator| v.output.is_some() && v.status != Some(0);
    match report.checked.violations > 0 || report.validator.is_some_and(is_refused) {
        true => Err(Stop::failed("")),
        false => Ok(()),
    }
}

fn validator_text(out: &mut String, v: &Validator) {
    let Some(output) = &v.output else {
        let why = "the tree itself is judged by mlpstorage, which is not on PATH";
        *out += &format!("{why}: {}\n", v.command);
        return;
    };
    let status = v.status.map(|n| format!("status {n}"));
    *out += &format!(
        "{}: {}\n",
        v.command,
        status.as_deref().unwrap_or("a signal")
    );
    output
        .lines()
        .for_each(|line| *out += &format!("  {line}\n"));
}

/// For people.
pub(super) fn text(checked: &Checked) -> String {
    let mut out = String::new();
    for assessment in &checked.assessments {
        assessment_text(&mut out, assessment, checked.edition);
    }
    let (n, edition) = (checked.violations, checked.edition);
    out + &format!("{n} violation(s) of the rules of {edition}\n{NOT_CLOSED}\n")
}

fn assessment_text(out: &mut String, a: &Assessment, edition: Edition) {
    *out += &format!("{} {}\n  {}\n", a.kind, a.subject, a.facts);
    for f in &a.findings {
        let verdict = f.verdict.word();
        *out += &format!("  {verdict}  {:<8} {}: {}\n", f.rule, f.name, f.what);
        if let Some(remedy) = &f.remedy {
            *out += &format!("        remedy: {remedy}\n");
        }
    }
    let counts = [Verdict::Pass, Verdict::Fail, Verdict::Warn, Verdict::Skip]
        .map(|v| format!("{} {}", a.count(v), v.word()));
    *out += &format!("  {}\n", counts.join(", "));
    if a.kind == "run" || a.kind == "configuration" {
        *out += &format!("  {}\n", a.standing_text(edition));
    }
    *out += &format!("  category: {}\n\n", a.category.word());
}
