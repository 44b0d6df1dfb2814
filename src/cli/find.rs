//! `dlio-rs find`: the words of a search, checked on every rank before it begins.

use std::path::{Path, PathBuf};

use clap::Args;

use super::words::{JobArgs, WorkloadArgs};
use super::{Exit, Result, default_output, load_everywhere, printed_by_rank_0, together};
use crate::cluster::Cluster;
use crate::config::{self, Loaded};
use crate::report::Clash;
use crate::report::dlio_log::Level;
use crate::report::find::{By, Document, Question};
use crate::report::live::Progress;
use crate::run::phase::find::{FindLimits, FindSpec};
use crate::run::request::{JobRequest, Voice};
use crate::run::{self, RunOptions, preflight};

/// What to look for.
#[derive(Debug, Clone, Args)]
pub struct FindArgs {
    /// Which workload.
    #[command(flatten)]
    pub workload: WorkloadArgs,
    /// What to count; the ranks of each trial are the first ones of the job
    #[arg(long, value_enum, value_name = "WHAT", default_value = "ranks")]
    pub by: By,
    /// Try numbers up to N [default: all ranks or hosts of the job, 32 threads]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub at_most: Option<u64>,
    /// How often a search may end with a number that does not reach metric.au
    #[arg(long, value_name = "PROBABILITY", default_value = "0.01", value_parser = probability)]
    pub error: f64,
    /// Longest trial, minutes; a number that is not decided by then counts as not passing
    #[arg(long, value_name = "MINUTES", default_value = "5", value_parser = positive)]
    pub minutes: f64,
    /// Shortest trial, seconds
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = positive)]
    pub seconds: f64,
    /// Folder of find.json [default: results/<model>/<time>]
    #[arg(long, value_name = "DIR", conflicts_with = "resume")]
    pub output: Option<PathBuf>,
    /// Go on with the search of this find.json; its trials are not repeated
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Print find.json on stdout instead of the table
    #[arg(long)]
    pub json: bool,
    /// How the job is watched.
    #[command(flatten)]
    pub job: JobArgs,
}

fn number(text: &str) -> Result<f64, String> {
    text.parse().map_err(|_| "it is no number".to_string())
}

fn probability(text: &str) -> Result<f64, String> {
    match number(text)? {
        p if p > 0.0 && p < 0.5 => Ok(p),
        _ => Err("it must be above 0 and below 0.5, such as 0.01".into()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    match number(text)? {
        n if n > 0.0 && n.is_finite() => Ok(n),
        _ => Err("it must be above 0".into()),
    }
}

/// Searches. A collective.
pub(super) fn start(cluster: &dyn Cluster, args: &FindArgs, typed: &[String]) -> Result<()> {
    let mut loaded = load_everywhere(cluster, &args.workload, false, args.job.patience())?;
    let w = &mut loaded.workload;
    if w.workflow.train {
        // Trials end in the middle of an epoch: what comes between or after epochs is no part of them.
        w.workflow.evaluation = false;
        w.workflow.checkpoint = false;
    }
    let ready = prepare(cluster, &loaded, args, typed);
    let (spec, warnings, options) = together(cluster, ready)?;
    let request = JobRequest {
        options,
        voice: Voice {
            as_dlio: false,
            json: false,
            quiet: args.job.quiet,
            progress: Progress::Auto,
            level: Level::Warning,
        },
        folder: PathBuf::new(),
        clash: Clash::Refuse,
        warnings,
        require_au: None,
        config_dir: args.workload.config_dir.clone(),
        trace: None,
        typed,
        rules: serde_json::Value::Null,
        core_config: serde_json::Value::Null,
        find: Some(spec),
        loaded: &loaded,
    };
    run::job::run(cluster, &request)
        .map_err(|failure| printed_by_rank_0(cluster, Exit::Failed, failure.error.to_string()))
}

type Ready = (FindSpec, Vec<String>, RunOptions);

/// Everything that can be refused before any I/O.
fn prepare(
    cluster: &dyn Cluster,
    loaded: &Loaded,
    args: &FindArgs,
    typed: &[String],
) -> Result<Ready, String> {
    let w = &loaded.workload;
    let limits = FindLimits {
        by: args.by,
        at_most: args.at_most,
        error: args.error,
        virtual_time: args.job.virtual_time,
    };
    let question = Question::of(loaded, cluster, limits)?;
    super::job::check_virtual_time(w, args.job.virtual_time)?;
    if w.checkpoint.between_phases.is_some() && w.is_checkpoint_only() {
        return Err("find runs no shell command: checkpoint.between_phases is set\n  remedy: add ~checkpoint.between_phases".into());
    }
    let warnings = preflight(loaded, cluster.size())?;
    let options = args.job.options(loaded)?;
    let folder = args.output.clone();
    let mut spec = FindSpec {
        question,
        minutes: args.minutes,
        seconds: args.seconds,
        file: match &args.resume {
            Some(file) => file.clone(),
            None => folder
                .unwrap_or_else(|| default_output(&w.model.name))
                .join("find.json"),
        },
        tried: Vec::new(),
        command_line: typed.iter().map(|word| config::redact_word(word)).collect(),
        prints_json: args.json,
    };
    if cluster.rank() == 0 {
        match &args.resume {
            Some(file) => resume(&mut spec, file)?,
            None if spec.file.exists() => {
                return Err(format!(
                    "write {}: it is there already\n  remedy: go on with it by --resume, or choose another folder (--output DIR)",
                    spec.file.display()
                ));
            }
            None => {}
        }
    }
    Ok((spec, warnings, options))
}

fn resume(spec: &mut FindSpec, file: &Path) -> Result<(), String> {
    let failed = |cause: String| format!("resume {}: {cause}", file.display());
    let remedy = "remedy: give the file that an earlier `dlio-rs find` wrote";
    let text = std::fs::read(file).map_err(|e| failed(format!("{e}\n  {remedy}")))?;
    let earlier: Document = serde_json::from_slice(&text)
        .map_err(|e| failed(format!("it is no find.json: {e}\n  {remedy}")))?;
    spec.resume(earlier).map_err(failed)
}
