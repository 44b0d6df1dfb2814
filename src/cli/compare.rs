//! `dlio-rs compare`: two runs side by side.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::output::{self, Format};
use super::{Result, Stop};
use crate::compare::comparison::Comparison;
use crate::compare::runs;
use crate::compare::text;
use crate::compare::tolerance::Tolerance;
use crate::mlperf::leaf::Leaf;
use crate::mlperf::{NO_RUNS, NOT_CLOSED, tree};

const TOLERANCES: &str = "\
Keys of the file of tolerances (YAML), with their defaults:
  au_points: 1.0              mean AU, percentage points
  throughput_percent: 5.0     samples/s, bandwidths, durations of checkpoints, percent of RUN_A's
                              (MLPerf: replicable within 5 %)
  percentile_percent: 25.0    percentiles of stages, medians of step times, percent of RUN_A's
  percentile_floor_ms: 0.1    smaller differences of those do not count
  bytes_percent: 0.0          bytes read, bytes of checkpoints
  samples_percent: 0.0
  order_digest: equal         equal, or ignore: a difference is noted
  layout: equal               ranks and hosts
  comparability_hash: ignore
  direction: both             worse: only what is worse in RUN_B counts
  only_significant: false     true: a difference whose test has p >= alpha does not count
  alpha: 0.05

Significance: Welch's t-test over epochs or checkpoints, Mann-Whitney over steps. Steps are not
independent of each other, so that small p-values of step times mean less than they say.

Exit status: 0 within tolerance, 1 beyond it, 2 a run or the file of tolerances cannot be read.";

/// Which runs.
#[derive(Debug, Clone, Args)]
#[command(after_help = TOLERANCES)]
pub struct CompareArgs {
    /// Folder of a run of dlio-rs, DLIO or mlpstorage
    #[arg(value_name = "RUN_A")]
    pub a: PathBuf,
    /// Another
    #[arg(value_name = "RUN_B")]
    pub b: PathBuf,
    /// How far they may lie apart
    #[arg(long, value_name = "FILE")]
    pub tolerance: Option<PathBuf>,
    /// How to print
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// What is printed.
#[derive(Serialize)]
struct Report {
    schema: &'static str,
    not_closed: &'static str,
    comparison: Comparison,
}

/// Compares and prints.
pub(super) fn print(args: &CompareArgs) -> Result<()> {
    let tolerance = match &args.tolerance {
        Some(file) => Tolerance::read(file).map_err(Stop::usage)?,
        None => Tolerance::default(),
    };
    let (a, b) = (run(&args.a)?, run(&args.b)?);
    let comparison = runs::compare(&a, &b, &tolerance).map_err(Stop::usage)?;
    let report = Report {
        schema: "dlio-rs/comparison/2",
        not_closed: NOT_CLOSED,
        comparison,
    };
    output::print(args.format, &report, |report| {
        text::text(&report.comparison)
    })?;
    if report.comparison.within {
        Ok(())
    } else {
        Err(Stop::failed(""))
    }
}

/// The one run at or below a folder.
fn run(path: &Path) -> Result<Leaf> {
    let failed = |why: String, remedy: &str| {
        Stop::usage(format!(
            "read {}: {why}\n  remedy: give {remedy}",
            path.display()
        ))
    };
    let tree = tree::leaves(path).map_err(|e| failed(e.to_string(), "the folder of a run"))?;
    let n = tree.leaves.len();
    let mut leaves = tree.leaves.into_iter();
    match (leaves.next(), n) {
        (Some(leaf), 1) => Ok(leaf),
        (None, _) => Err(failed(NO_RUNS.into(), "the folder of a run")),
        (Some(first), n) => {
            let remedy = format!("one of them, such as {}", first.path.display());
            Err(failed(format!("{n} runs lie below it"), &remedy))
        }
    }
}
