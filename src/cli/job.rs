//! `dlio-rs run` and `dlio-rs generate`: the whole of a job, on every rank.

use std::cell::Cell;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use super::args::RunArgs;
use super::{Exit, Stop, default_output, load_everywhere, rules, told_by_rank_0};
use crate::cluster::{Cluster, host};
use crate::config::{self, DropCache, Loaded, StorageType, Workload};
use crate::format;
use crate::interrupt;
use crate::metrics::au::Window;
use crate::metrics::host::HostFacts;
use crate::metrics::reduce::{JobSummary, ReduceInput, ServedByStorage, reduce};
use crate::mlperf::hash::CoreConfig;
use crate::plan;
use crate::report::console::{Console, JsonLines, final_report};
use crate::report::dlio_log::{DlioLog, Level};
use crate::report::hydra::HydraFacts;
use crate::report::json::Provenance;
use crate::report::provenance::{self, Build};
use crate::report::{self, Event, OutputDir, ReportInput, gather_rank_files, write_all};
use crate::run::{
    Events, JobContext, JobError, Measured, RankError, RunOptions, agree, checkpoint_phase,
    cleanup_phase, generate_phase, label, train_phase,
};

/// Which phases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    /// Those that the YAML's workflow names.
    Workflow,
    /// Generation only.
    GenerateOnly,
}

/// Runs the job. A collective.
pub(super) fn run(
    cluster: &dyn Cluster,
    args: &RunArgs,
    what: What,
    as_dlio: bool,
    typed: &[String],
) -> Result<(), Stop> {
    let mut loaded = load_everywhere(cluster, &args.workload, as_dlio)?;
    apply_flags(&mut loaded.workload, args, what);
    let usage = |message: String| told_by_rank_0(cluster, Exit::Usage, message);
    let warnings = check(cluster, &loaded.workload, args).map_err(usage)?;
    stays_inside("output.log_file", &loaded.workload.output.log_file).map_err(usage)?;
    if let Some(Some(subdir)) = &loaded.hydra.output_subdir {
        stays_inside("hydra.output_subdir", subdir).map_err(usage)?;
    }
    if loaded.workload.reader.drop_cache == DropCache::System {
        crate::run::drop_timeout().map_err(usage)?;
    }
    let folder = output_folder(args, &loaded);
    let level = Level::from_env(std::env::var("DLIO_LOG_LEVEL").ok().as_deref()).map_err(usage)?;
    let rules = rules::enforce(cluster, &loaded, args, &folder, as_dlio).map_err(usage)?;
    let job = Job {
        rules,
        cluster,
        args,
        loaded: &loaded,
        as_dlio,
        level,
        typed,
        folder,
        is_told: Cell::new(false),
    };
    job.run(warnings).map_err(|error| {
        if job.is_told.get() {
            return told_by_rank_0(cluster, Exit::Failed, String::new());
        }
        let exit = if matches!(error, JobError::AuBelow { .. }) {
            Exit::AuBelow
        } else {
            Exit::Failed
        };
        told_by_rank_0(cluster, exit, error.to_string())
    })
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

/// Everything that can be refused before any I/O.
fn check(cluster: &dyn Cluster, w: &Workload, args: &RunArgs) -> Result<Vec<String>, String> {
    let mut w = w.clone();
    if args.max_steps.is_some() {
        // The flag is a cap: more steps than there are is no error, as it is for the key.
        let available = plan::steps::Steps::available(&w, cluster.size());
        w.train.total_training_steps = w.train.total_training_steps.min(available as i64);
    }
    let warnings =
        config::validate(&w, cluster.size(), cluster.local_size()).map_err(|e| e.to_string())?;
    config::unsupported(&w, &format::built()).map_err(|e| e.to_string())?;
    if w.workflow.checkpoint {
        plan::checkpoint::CheckpointPlan::new(&w, cluster.size()).map_err(|e| e.to_string())?;
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

/// The folder of results: `--output`, then `output.folder`, then `hydra.run.dir`, then `results/<model>/<time>`.
fn output_folder(args: &RunArgs, loaded: &Loaded) -> PathBuf {
    let w = &loaded.workload;
    args.output
        .clone()
        .or_else(|| w.output.folder.clone().map(PathBuf::from))
        .or_else(|| loaded.hydra.run_dir.clone().map(PathBuf::from))
        .unwrap_or_else(|| default_output(&w.model.name))
}

struct Job<'a> {
    cluster: &'a dyn Cluster,
    args: &'a RunArgs,
    loaded: &'a Loaded,
    as_dlio: bool,
    level: Level,
    typed: &'a [String],
    /// Findings of `--rules`, on rank 0.
    rules: serde_json::Value,
    /// Decided once: its default holds the time. Only rank 0's counts.
    folder: PathBuf,
    /// Set when the standard error output has the failure already, as a line of DLIO's log.
    is_told: Cell<bool>,
}

impl Job<'_> {
    fn run(&self, warnings: Vec<String>) -> Result<(), JobError> {
        let (cluster, w) = (self.cluster, &self.loaded.workload);
        let start = label();
        let options = RunOptions {
            stall_timeout: Duration::from_secs(self.args.stall_timeout),
            virtual_time: self.args.virtual_time,
        };
        let job = JobContext::new(cluster, w, options);
        interrupt::speak_once(job.spoken);
        let made = if cluster.rank() == 0 && self.leaves_folder() {
            // As hydra, so that a run that fails leaves its log there.
            let existing = if self.as_dlio {
                OutputDir::make_target(&self.folder)
            } else {
                Ok(())
            };
            existing
                .and_then(|()| OutputDir::create(&self.folder))
                .map(Some)
                .map_err(|e| RankError::from(report::ReportError::from(e)))
        } else {
            Ok(None)
        };
        let output = agree(cluster, made)?;
        let mut events = self.listeners(output.as_ref())?;
        let done = self.phases(&job, &mut events, output, &start, warnings);
        if let Err(error) = &done
            && matches!(error, JobError::Failed { .. })
        {
            self.is_told.set(self.as_dlio && self.level <= Level::Error);
            events.emit(Event::Failed {
                message: error.to_string(),
            });
        }
        done
    }

    fn measures(&self) -> bool {
        let w = &self.loaded.workload;
        w.workflow.train || w.is_checkpoint_only()
    }

    /// A generation leaves files only where their folder was asked for, or where DLIO would.
    fn leaves_folder(&self) -> bool {
        let asked = self.args.output.is_some()
            || self.loaded.workload.output.folder.is_some()
            || self.loaded.hydra.run_dir.is_some();
        self.measures() || asked || self.as_dlio
    }

    fn phases(
        &self,
        job: &JobContext,
        events: &mut Events,
        output: Option<OutputDir>,
        start: &str,
        warnings: Vec<String>,
    ) -> Result<(), JobError> {
        let (cluster, w) = (self.cluster, &self.loaded.workload);
        let phases = [
            (w.workflow.generate_data, "generate"),
            (w.workflow.train, "train"),
            (w.workflow.train && w.workflow.evaluation, "evaluate"),
            (w.workflow.checkpoint, "checkpoint"),
        ];
        let phases = phases
            .into_iter()
            .filter_map(|(on, name)| on.then_some(name))
            .collect();
        events.emit(Event::RunStarted {
            ranks: cluster.size(),
            phases,
        });
        for warning in self
            .loaded
            .warnings
            .iter()
            .cloned()
            .chain(warnings)
            .chain(plan::order::warnings(w))
            .chain(Window::warning(w, cluster.size()))
        {
            events.emit(Event::Warning(warning));
        }
        let generated = if w.workflow.generate_data {
            Some(generate_phase(job, events)?)
        } else {
            None
        };
        if !self.measures() {
            let written = output.map_or(Ok(()), |output| self.write_unmeasured(output, events));
            agree(cluster, written)?;
            return cleanup_phase(job);
        }
        let mut measured = if w.is_checkpoint_only() {
            checkpoint_phase(job, events)?
        } else {
            train_phase(job, events)?
        };
        if let Some(g) = generated {
            let c = &mut measured.record.counters;
            c.bytes_written = g.bytes_written;
            c.files_written = g.files_written;
            c.files_skipped = g.files_skipped;
            c.generate_ns = g.elapsed_ns;
            if let (Some(all), Some(written)) = (&mut measured.record.object_store, &g.object_store)
            {
                all.add(written);
            }
        }
        measured.record.counters.peak_rss_bytes = peak_rss_bytes();
        let summary = self.report(&measured, events, output, start)?;
        cleanup_phase(job)?;
        self.judge(summary)
    }

    fn listeners(&self, output: Option<&OutputDir>) -> Result<Events, JobError> {
        let mut events = Events::default();
        let mut log = Ok(());
        if self.cluster.rank() == 0 {
            let w = &self.loaded.workload;
            if self.args.json {
                events.listen(Box::new(JsonLines::new(Box::new(std::io::stdout()))));
            } else if !self.as_dlio {
                events.listen(Box::new(Console::new(
                    Box::new(std::io::stderr()),
                    std::io::stderr().is_terminal(),
                    self.args.quiet,
                )));
            }
            let mut sinks: Vec<Box<dyn Write>> = Vec::new();
            if self.as_dlio {
                sinks.push(Box::new(std::io::stderr()));
            }
            if let Some(dir) = output {
                // DLIO's own log grows where people look for it, also when the run fails.
                let live = self.as_dlio && dir.is_inside_target();
                let folder = if live { dir.target() } else { dir.path() };
                let path = folder.join(&w.output.log_file);
                match File::create(&path) {
                    Ok(file) => sinks.push(Box::new(file)),
                    Err(source) => {
                        log = Err(RankError::from(report::ReportError::Write { path, source }))
                    }
                }
            }
            if !sinks.is_empty() {
                events.listen(Box::new(DlioLog::new(
                    sinks,
                    w,
                    self.cluster.size(),
                    self.level,
                )));
            }
        }
        agree(self.cluster, log)?;
        Ok(events)
    }

    /// Reduces, writes and publishes. A collective; the summary is on rank 0.
    fn report(
        &self,
        measured: &Measured,
        events: &mut Events,
        output: Option<OutputDir>,
        start: &str,
    ) -> Result<Option<JobSummary>, JobError> {
        let (cluster, w) = (self.cluster, &self.loaded.workload);
        let name = &cluster.host_names()[cluster.node_of_rank()[cluster.rank()]];
        let facts = HostFacts::read(name);
        let input = ReduceInput {
            record: &measured.record,
            histograms: &measured.histograms,
            workload: w,
            host: &facts,
            device_counter_valid: is_real(w) && has_block_device(&w.data_root()),
            checkpoint_device_counter_valid: is_real(w) && has_block_device(&w.checkpoint_root()),
            combine_digests: plan::digest::combine,
        };
        let summary = reduce(cluster, &input).map_err(|e| RankError::Dataset(e.to_string()));
        let summary = agree(cluster, summary)?;
        let files =
            gather_rank_files(cluster, &measured.record, w, &facts).map_err(RankError::from);
        let files = agree(cluster, files)?;
        let written = match (&summary, &files, output) {
            (Some(summary), Some(files), Some(output)) => {
                self.write(summary, files, events, output, &facts, start)
            }
            _ => Ok(()),
        };
        agree(cluster, written)?;
        Ok(summary)
    }

    fn write(
        &self,
        summary: &JobSummary,
        files: &[report::RankFiles],
        events: &mut Events,
        output: OutputDir,
        facts: &HostFacts,
        start: &str,
    ) -> Result<(), RankError> {
        let w = &self.loaded.workload;
        let provenance = self.provenance(facts, start);
        let load = summary.checkpoint.as_ref().and_then(|c| c.load.as_ref());
        if load.is_some_and(|l| l.served_by_storage == ServedByStorage::Cached) {
            events.emit(Event::Warning(
                "checkpoint loads were answered by the page cache, not by the storage: their throughput is that of memory; use reader.drop_cache=system, checkpoint.between_phases or O_DIRECT".into(),
            ));
        }
        let hydra = self.hydra_facts();
        let run_dir = self.folder.display().to_string();
        let input = ReportInput {
            workload: w,
            summary,
            provenance: &provenance,
            rank_files: files,
            warnings: &events.warnings.clone(),
            hydra: hydra.as_ref(),
            // mlpstorage, which calls by that name, writes its own.
            with_provenance: !self.as_dlio,
        };
        write_all(output.path(), &input)?;
        events.emit(Event::RunMeasured {
            summary: Box::new(summary.clone()),
            folder: run_dir.clone(),
        });
        output.publish().map_err(report::ReportError::from)?;
        events.emit(Event::OutputsSaved { folder: run_dir });
        if !self.args.json && !self.as_dlio {
            print!("{}", final_report(summary, &provenance));
            println!("Results: {}", self.folder.display());
        }
        Ok(())
    }

    /// What a run without measurements leaves: hydra's folder and the log.
    fn write_unmeasured(&self, output: OutputDir, events: &mut Events) -> Result<(), RankError> {
        if let Some(hydra) = self.hydra_facts() {
            report::hydra::write(output.path(), &hydra)?;
        }
        output.publish().map_err(report::ReportError::from)?;
        let folder = self.folder.display().to_string();
        events.emit(Event::OutputsSaved { folder });
        Ok(())
    }

    /// What hydra's folder says; None where hydra was told to write none.
    fn hydra_facts(&self) -> Option<HydraFacts<'_>> {
        let output_subdir = match &self.loaded.hydra.output_subdir {
            Some(subdir) => subdir.clone()?,
            None if self.as_dlio => ".hydra".into(),
            None => "dlio_config".into(),
        };
        let cwd = std::env::current_dir().unwrap_or_default();
        let config_dir = self.args.workload.config_dir.as_ref();
        let config_dir = config_dir.and_then(|d| std::path::absolute(d).ok());
        Some(HydraFacts {
            workload_name: &self.loaded.name,
            tree: &self.loaded.tree,
            task_words: &self.loaded.words,
            hydra_words: &self.loaded.hydra.words,
            run_dir: self.folder.display().to_string(),
            output_subdir,
            cwd: cwd.display().to_string(),
            config_dir: config_dir.map(|d| d.display().to_string()),
        })
    }

    fn provenance(&self, facts: &HostFacts, start: &str) -> Provenance {
        let cluster = self.cluster;
        let bound = host::affinity_count();
        let cpus = host::node_cpus();
        let build = Build::here();
        let storage = self.loaded.workload.storage_type_effective();
        Provenance {
            version: env!("CARGO_PKG_VERSION").into(),
            git_commit: env!("DLIO_RS_COMMIT").into(),
            build_profile: env!("DLIO_RS_PROFILE").into(),
            mpi_library: cluster.library().into(),
            kernel: kernel(),
            hosts: cluster.host_names().to_vec(),
            ranks: cluster.size(),
            cpus_allowed: bound,
            affinity: if bound < cpus {
                format!(
                    "rank 0 bound to {bound} of {cpus} CPUs; reader and writer threads use all of them"
                )
            } else {
                format!("unbound, {cpus} CPUs")
            },
            memory_bytes: facts.memory_bytes,
            start: start.into(),
            end: label(),
            command_line: self
                .typed
                .iter()
                .map(|word| config::redact_word(word))
                .collect(),
            config: serde_json::to_value(&self.loaded.workload).unwrap_or_default(),
            rules: self.rules.clone(),
            mpi_environment: provenance::mpi_environment(),
            storage_library: build.storage_library(storage),
            build,
            core_config: serde_json::to_value(&self.loaded.tree)
                .ok()
                .and_then(|tree| CoreConfig::of_workload(&tree))
                .and_then(|core| serde_json::to_value(core).ok())
                .unwrap_or_else(|| provenance::UNKNOWN.into()),
        }
    }

    fn judge(&self, summary: Option<JobSummary>) -> Result<(), JobError> {
        let Some(wanted) = &self.args.require_au else {
            return Ok(());
        };
        let required = wanted
            .parse()
            .unwrap_or(self.loaded.workload.metric.au * 100.0);
        let au = summary
            .as_ref()
            .and_then(|s| s.train.as_ref())
            .map_or(100.0, |t| t.au_percent.mean);
        let mut below = [u64::from(self.cluster.rank() == 0 && au < required)];
        self.cluster.max_u64(&mut below);
        if below[0] == 1 {
            Err(JobError::AuBelow { au, required })
        } else {
            Ok(())
        }
    }
}

/// True for a storage system that holds bytes.
fn is_real(w: &Workload) -> bool {
    !matches!(
        w.storage_type_effective(),
        StorageType::Null | StorageType::Model
    )
}

/// The largest resident set that this process has had. Source: getrusage(2), `ru_maxrss` in KiB.
fn peak_rss_bytes() -> u64 {
    nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)
        .map_or(0, |usage| usage.max_rss().max(0) as u64 * 1024)
}

fn kernel() -> String {
    nix::sys::utsname::uname().map_or_else(
        |_| "unknown".into(),
        |u| {
            format!(
                "{} {} {}",
                u.sysname().to_string_lossy(),
                u.release().to_string_lossy(),
                u.machine().to_string_lossy()
            )
        },
    )
}

/// True when the folder lies on a block device of this host, whose reads `/proc/self/io` counts.
fn has_block_device(folder: &std::path::Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    // Memory and network file systems have anonymous devices: major number 0.
    std::fs::metadata(folder).is_ok_and(|meta| nix::sys::stat::major(meta.dev()) != 0)
}
