//! `dlio-rs run` and `dlio-rs generate`: the words of a job, checked on every rank before it begins.

use std::path::PathBuf;

use super::args::RunArgs;
use super::{
    Exit, Result, command_of_file, default_output, load_everywhere, printed_by_rank_0, rules,
    together,
};
use crate::cluster::Cluster;
use crate::config::{Loaded, Origin, Workload};
use crate::mlperf::hash::CoreConfig;
use crate::plan;
use crate::report::dlio_log::Level;
use crate::report::event_file;
use crate::report::provenance;
use crate::report::{Clash, Event};
use crate::run::request::{JobRequest, TraceRequest, Voice};
use crate::run::{self, JobError, RunOptions, preflight, wire};

/// Which phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Those that the YAML's workflow names.
    Workflow,
    /// Generation only.
    GenerateOnly,
}

/// Runs the job. A collective. With `--json` what stops it before it begins is an event, too.
pub(super) fn start(
    cluster: &dyn Cluster,
    args: &RunArgs,
    what: What,
    as_dlio: bool,
    typed: &[String],
) -> Result<()> {
    let outcome = run_job(cluster, args, what, as_dlio, typed);
    if let Err(stop) = &outcome
        && stop.exit == Exit::Usage
        && args.json
        && cluster.rank() == 0
    {
        let message = stop.message.clone();
        event_file::alone(std::io::stdout(), &Event::Failed { message });
    }
    outcome
}

fn run_job(
    cluster: &dyn Cluster,
    args: &RunArgs,
    what: What,
    as_dlio: bool,
    typed: &[String],
) -> Result<()> {
    let mut loaded = load_everywhere(cluster, &args.workload, as_dlio, args.job.patience())?;
    apply_flags(&mut loaded, args, what);
    // Whatever one rank refuses, as a variable of its own environment, ends all of them.
    let (warnings, level, options) = together(cluster, refusals(cluster, &loaded, args))?;
    let (folder, clash) = output_folder(args, &loaded);
    let usage = |message: String| printed_by_rank_0(cluster, Exit::Usage, message);
    let rules = rules::enforce(cluster, &loaded, args, &folder, as_dlio).map_err(usage)?;
    let w = &loaded.workload;
    let request = JobRequest {
        options,
        voice: Voice {
            as_dlio,
            json: args.json,
            quiet: args.job.quiet,
            progress: args.progress,
            level,
        },
        folder,
        clash,
        warnings,
        require_au: args
            .require_au
            .as_ref()
            .map(|percent| percent.parse().unwrap_or(w.metric.au * 100.0)),
        config_dir: args.workload.config_dir.clone(),
        trace: args.trace.clone().map(|file| TraceRequest {
            file,
            ranks: args.trace_ranks.clone(),
        }),
        typed,
        rules,
        core_config: core_config(&loaded),
        find: None,
        loaded: &loaded,
    };
    run::job::run(cluster, &request).map_err(|failure| {
        if failure.is_printed {
            return printed_by_rank_0(cluster, Exit::Failed, String::new());
        }
        let exit = match failure.error {
            JobError::AuBelow { .. } => Exit::AuBelow,
            _ => Exit::Failed,
        };
        printed_by_rank_0(cluster, exit, failure.error.to_string())
    })
}

/// Everything that can be refused before any I/O; the warnings, how much DLIO's log takes up, and the limits of the job.
fn refusals(
    cluster: &dyn Cluster,
    loaded: &Loaded,
    args: &RunArgs,
) -> Result<(Vec<String>, Level, RunOptions), String> {
    let w = &loaded.workload;
    let warnings = check(cluster, loaded, args)?;
    if w.is_checkpoint_only()
        && !args.allow_commands
        && let Some(command) = command_of_file(loaded)
    {
        return Err(format!(
            "{command}\n  remedy: add --allow-commands if you trust it, or type checkpoint.between_phases=... on the command line"
        ));
    }
    let variable = |name: &str| loaded.variables.get(name).map(String::as_str);
    let options = args.job.options(loaded)?;
    let level = Level::from_env(variable("DLIO_LOG_LEVEL"))?;
    Ok((warnings, level, options))
}

/// What the workload hashes to in MLPerf's terms.
fn core_config(loaded: &Loaded) -> serde_json::Value {
    serde_json::to_value(&loaded.tree)
        .ok()
        .and_then(|tree| CoreConfig::of_workload(&tree))
        .and_then(|core| serde_json::to_value(core).ok())
        .unwrap_or_else(|| provenance::UNKNOWN.into())
}

/// What the verb and its options change in the workload, with the origin of each value.
fn apply_flags(loaded: &mut Loaded, args: &RunArgs, what: What) {
    let w = &mut loaded.workload;
    let mut note = |key: &str, word: String| {
        loaded.origins.insert(key.into(), Origin::CommandLine(word));
    };
    if what == What::GenerateOnly {
        let phases = &mut w.workflow;
        for (key, phase, wanted) in [
            ("workflow.generate_data", &mut phases.generate_data, true),
            ("workflow.train", &mut phases.train, false),
            ("workflow.evaluation", &mut phases.evaluation, false),
            ("workflow.checkpoint", &mut phases.checkpoint, false),
        ] {
            if std::mem::replace(phase, wanted) != wanted {
                note(key, "generate".into());
            }
        }
    }
    if let Some(n) = args.max_epochs.filter(|n| *n < w.train.epochs) {
        w.train.epochs = n;
        note("train.epochs", format!("--max-epochs {n}"));
    }
    if let Some(n) = args.max_steps {
        let cap = i64::try_from(n).unwrap_or(i64::MAX);
        let set = w.train.total_training_steps;
        if set <= 0 || cap < set {
            w.train.total_training_steps = cap;
            note("train.total_training_steps", format!("--max-steps {n}"));
        }
    }
}

/// Everything that can be refused before any I/O.
fn check(cluster: &dyn Cluster, loaded: &Loaded, args: &RunArgs) -> Result<Vec<String>, String> {
    let mut loaded = loaded.clone();
    if args.max_steps.is_some() {
        // The flag is a cap: more steps than there are is no error, as it is for the key.
        let cap = std::mem::replace(&mut loaded.workload.train.total_training_steps, -1);
        preflight(&loaded, cluster.size())?;
        let w = &mut loaded.workload;
        let available = plan::steps::Steps::available(&wire::steps(w), cluster.size());
        w.train.total_training_steps = cap.min(available as i64);
    }
    let warnings = preflight(&loaded, cluster.size())?;
    let w = &loaded.workload;
    check_virtual_time(w, args.job.virtual_time)?;
    if let Some(text) = &args.require_au
        && text != "config"
        && text.parse::<f64>().is_err()
    {
        return Err(format!(
            "--require-au={text}: a percentage is expected\n  remedy: write one, such as --require-au=90"
        ));
    }
    Ok(warnings)
}

/// Refuses virtual time where something takes real time.
pub(super) fn check_virtual_time(w: &Workload, is_virtual: bool) -> Result<(), String> {
    let system = w.storage_system();
    if is_virtual && !system.simulated {
        return Err(format!(
            "--virtual-time needs a simulated storage system: storage.storage_type is {system}\n  remedy: set storage.storage_type=model"
        ));
    }
    if is_virtual && w.workflow.checkpoint {
        return Err(
            "--virtual-time has no clock for checkpoints\n  remedy: set workflow.checkpoint=false, or leave --virtual-time out".into(),
        );
    }
    Ok(())
}

/// The folder of results: `--output`, then `output.folder`, then `hydra.run.dir`, then `results/<model>/<time>`, which is
/// the only one that may get another name.
fn output_folder(args: &RunArgs, loaded: &Loaded) -> (PathBuf, Clash) {
    let w = &loaded.workload;
    args.output
        .clone()
        .or_else(|| w.output.folder.clone().map(PathBuf::from))
        .or_else(|| loaded.hydra.run_dir.clone().map(PathBuf::from))
        .map(|asked| (asked, Clash::Refuse))
        .unwrap_or_else(|| (default_output(&w.model.name), Clash::Suffix))
}
