//! `dlio-rs check`: the rules of MLPerf Storage, before a run and after it. The layout of `--json` is
//! [`Checked`](crate::mlperf::verdict::Checked).

use std::fmt::Write as _;
use std::io::Write;
use std::path::Path;

use clap::Args;

use super::args::WorkloadArgs;
use super::size::{Gib, gib};
use super::{Exit, Stop};
use crate::config::Loaded;
use crate::mlperf::rules::{self, facts::Inputs};
use crate::mlperf::verdict::{Assessment, Checked, Original, Verdict};
use crate::mlperf::{Edition, NOT_CLOSED};

/// What to check.
#[derive(Debug, Clone, Args)]
#[command(
    after_help = "Instead of a workload a folder: of a run (RUN_DIR), of many runs (RESULTS_TREE), of a submission."
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
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// The folder that was named, where it was one.
///
/// Errors: a folder with overrides or with options that only a run still to be made has.
pub(super) fn folder(args: &CheckArgs) -> Result<Option<&Path>, Stop> {
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
pub(super) fn after(folder: &Path, args: &CheckArgs) -> Result<(), Stop> {
    let checked = rules::folder(folder, args.edition).map_err(|e| {
        Stop::usage(format!(
            "failed to check {}: {e}\n  remedy: name a readable folder of results",
            folder.display()
        ))
    })?;
    tell(&checked, args.json)
}

/// Checks a workload that is to run.
pub(super) fn before(loaded: &Loaded, args: &CheckArgs) -> Result<(), Stop> {
    let hosts = args
        .hosts
        .or_else(|| args.host_memory_gib.as_ref().map(|_| 1));
    let inputs = Inputs {
        accelerators: args.accelerators,
        hosts,
        gib_per_host: args.host_memory_gib.as_ref().map(|g| g.value),
        ..Inputs::default()
    };
    let assessment = rules::before(loaded, &inputs, args.edition);
    tell(&Checked::new(args.edition, vec![assessment]), args.json)
}

/// Prints what was found; a violation is exit status 1.
fn tell(checked: &Checked, json: bool) -> Result<(), Stop> {
    let text = if json {
        let mut text = serde_json::to_string_pretty(checked).map_err(|e| Stop {
            exit: Exit::Failed,
            message: format!("internal error: the findings cannot be written as JSON: {e}"),
        })?;
        text.push('\n');
        text
    } else {
        text(checked)
    };
    let written = std::io::stdout().lock().write_all(text.as_bytes());
    written.map_err(|e| Stop {
        exit: Exit::Failed,
        message: format!("failed to write the findings: {e}"),
    })?;
    if checked.violations > 0 {
        return Err(Stop {
            exit: Exit::Failed,
            message: String::new(),
        });
    }
    Ok(())
}

/// For people.
pub(super) fn text(checked: &Checked) -> String {
    let mut out = String::new();
    for assessment in &checked.assessments {
        assessment_text(&mut out, assessment, checked.edition);
    }
    let _ = writeln!(
        out,
        "{} violation(s) of the rules of {}",
        checked.violations, checked.edition
    );
    let _ = writeln!(out, "{NOT_CLOSED}");
    out
}

fn assessment_text(out: &mut String, a: &Assessment, edition: Edition) {
    let _ = writeln!(out, "{} {}", a.kind, a.subject);
    let _ = writeln!(out, "  {}", a.facts);
    for finding in &a.findings {
        let _ = writeln!(
            out,
            "  {}  {:<8} {}: {}",
            finding.verdict.word(),
            finding.rule,
            finding.name,
            finding.what
        );
        match (finding.verdict, finding.original) {
            (Verdict::Fail, Original::Dead) => {
                let _ = writeln!(
                    out,
                    "        the tool of {edition} has this check and never reaches it"
                );
            }
            (Verdict::Fail, Original::Silent) => {
                let _ = writeln!(out, "        no tool of {edition} looks at this");
            }
            _ => {}
        }
        if let (Some(remedy), Verdict::Fail | Verdict::Warn) = (&finding.remedy, finding.verdict) {
            let _ = writeln!(out, "        remedy: {remedy}");
        }
    }
    let counts = [Verdict::Pass, Verdict::Fail, Verdict::Warn, Verdict::Skip]
        .map(|v| format!("{} {}", a.count(v), v.word()));
    let _ = writeln!(out, "  {}", counts.join(", "));
    if a.kind != "tree" && a.kind != "group" {
        let _ = writeln!(out, "  {}", a.standing_text(edition));
        let _ = writeln!(out, "  {}", a.tool.text());
    }
    let _ = writeln!(out, "  category: {}\n", a.category.word());
}
