//! `dlio-rs run` and `dlio-rs generate`: the words of a job, checked on every rank before it begins.

use std::path::PathBuf;
use std::time::Duration;

use super::args::RunArgs;
use super::{
    Exit, Stop, command_of_file, default_output, load_everywhere, rules, together, told_by_rank_0,
};
use crate::cluster::Cluster;
use crate::config::{self, DropCache, Loaded, StorageType, Workload};
use crate::format;
use crate::mlperf::hash::CoreConfig;
use crate::plan;
use crate::report::Clash;
use crate::report::dlio_log::Level;
use crate::report::provenance;
use crate::run::request::{JobRequest, Voice};
use crate::run::{self, JobError, RunOptions, wire};

/// Which phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Those that the YAML's workflow names.
    Workflow,
    /// Generation only.
    GenerateOnly,
}

/// Runs the job. A collective.
pub(super) fn start(
    cluster: &dyn Cluster,
    args: &RunArgs,
    what: What,
    as_dlio: bool,
    typed: &[String],
) -> Result<(), Stop> {
    let mut loaded = load_everywhere(cluster, &args.workload, as_dlio)?;
    apply_flags(&mut loaded.workload, args, what);
    // Whatever one rank refuses, as a variable of its own environment, ends all of them.
    let (warnings, level) = together(cluster, refusals(cluster, &loaded, args))?;
    let (folder, clash) = output_folder(args, &loaded);
    let usage = |message: String| told_by_rank_0(cluster, Exit::Usage, message);
    let rules = rules::enforce(cluster, &loaded, args, &folder, as_dlio).map_err(usage)?;
    let w = &loaded.workload;
    let request = JobRequest {
        options: RunOptions {
            stall_timeout: Duration::from_secs(args.stall_timeout),
            virtual_time: args.virtual_time,
        },
        voice: Voice {
            as_dlio,
            json: args.json,
            quiet: args.quiet,
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
        typed,
        rules,
        core_config: core_config(&loaded),
        loaded: &loaded,
    };
    run::job::run(cluster, &request).map_err(|failure| {
        if failure.is_told {
            return told_by_rank_0(cluster, Exit::Failed, String::new());
        }
        let exit = match failure.error {
            JobError::AuBelow { .. } => Exit::AuBelow,
            _ => Exit::Failed,
        };
        told_by_rank_0(cluster, exit, failure.error.to_string())
    })
}

/// Everything that can be refused before any I/O; the warnings, and how much DLIO's log takes up.
fn refusals(
    cluster: &dyn Cluster,
    loaded: &Loaded,
    args: &RunArgs,
) -> Result<(Vec<String>, Level), String> {
    let w = &loaded.workload;
    let warnings = check(cluster, w, args)?;
    if w.is_checkpoint_only()
        && !args.allow_commands
        && let Some(command) = command_of_file(loaded)
    {
        return Err(format!(
            "{command}\n  remedy: add --allow-commands if you trust it, or type checkpoint.between_phases=... on the command line"
        ));
    }
    stays_inside("output.log_file", &w.output.log_file)?;
    if let Some(Some(subdir)) = &loaded.hydra.output_subdir {
        stays_inside("hydra.output_subdir", subdir)?;
    }
    if w.reader.drop_cache == DropCache::System {
        run::caches::drop_timeout()?;
    }
    let level = Level::from_env(std::env::var("DLIO_LOG_LEVEL").ok().as_deref())?;
    Ok((warnings, level))
}

/// What the workload hashes to in MLPerf's terms.
fn core_config(loaded: &Loaded) -> serde_json::Value {
    serde_json::to_value(&loaded.tree)
        .ok()
        .and_then(|tree| CoreConfig::of_workload(&tree))
        .and_then(|core| serde_json::to_value(core).ok())
        .unwrap_or_else(|| provenance::UNKNOWN.into())
}

fn apply_flags(w: &mut Workload, args: &RunArgs, what: What) {
    if what == What::GenerateOnly {
        w.workflow.generate_data = true;
        w.workflow.train = false;
        w.workflow.evaluation = false;
        w.workflow.checkpoint = false;
    }
    if let Some(n) = args.max_epochs {
        w.train.epochs = w.train.epochs.min(n);
    }
    if let Some(n) = args.max_steps {
        let cap = i64::try_from(n).unwrap_or(i64::MAX);
        let set = w.train.total_training_steps;
        w.train.total_training_steps = if set > 0 { set.min(cap) } else { cap };
    }
}

/// Refuses a name that would leave the folder of results.
fn stays_inside(key: &str, name: &str) -> Result<(), String> {
    let inside = std::path::Path::new(name)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if inside && !name.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{key}={name}: it would lie outside of the folder of results\n  remedy: give a name within it, such as {}",
        if key == "output.log_file" {
            "dlio.log"
        } else {
            "dlio_config"
        }
    ))
}

/// The workload, for this many ranks.
fn check(cluster: &dyn Cluster, w: &Workload, args: &RunArgs) -> Result<Vec<String>, String> {
    let mut w = w.clone();
    if args.max_steps.is_some() {
        // The flag is a cap: more steps than there are is no error, as it is for the key.
        let available = plan::steps::Steps::available(&wire::steps(&w), cluster.size());
        w.train.total_training_steps = w.train.total_training_steps.min(available as i64);
    }
    let warnings =
        config::validate(&w, cluster.size(), cluster.local_size()).map_err(|e| e.to_string())?;
    config::unsupported(&w, &format::built()).map_err(|e| e.to_string())?;
    if w.workflow.checkpoint {
        plan::checkpoint::CheckpointPlan::new(&w.model, w.checkpoint.mode, cluster.size())
            .map_err(|e| e.to_string())?;
    }
    let kind = w.storage_type_effective();
    if args.virtual_time && !matches!(kind, StorageType::Model | StorageType::Null) {
        return Err(format!(
            "--virtual-time needs a storage system that is a law: storage.storage_type is {kind}\n  remedy: set storage.storage_type=model"
        ));
    }
    if args.virtual_time && w.workflow.checkpoint {
        return Err(
            "--virtual-time has no clock for checkpoints\n  remedy: set workflow.checkpoint=false, or leave --virtual-time out".into(),
        );
    }
    if let Some(text) = &args.require_au
        && text != "config"
        && text.parse::<f64>().is_err()
    {
        return Err(format!(
            "--require-au={text}: a percentage is expected, such as --require-au=90"
        ));
    }
    Ok(warnings)
}

/// The folder of results: `--output`, then `output.folder`, then `hydra.run.dir`, then `results/<model>/<time>`, which is
/// the only one that may get another name.
fn output_folder(args: &RunArgs, loaded: &Loaded) -> (PathBuf, Clash) {
    let w = &loaded.workload;
    args.output
        .clone()
        .or_else(|| w.output.folder.clone().map(PathBuf::from))
        .or_else(|| loaded.hydra.run_dir.clone().map(PathBuf::from))
        .map_or_else(
            || (default_output(&w.model.name), Clash::Suffix),
            |asked| (asked, Clash::Refuse),
        )
}
