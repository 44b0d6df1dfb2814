//! A job from agreement to verdict: the folder of results, the listeners, the phases in order, the report, the judgement.

use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use serde_json::Value;

use super::context::{JobContext, RunOptions, label};
use super::failure::{JobError, RankError, agree};
use super::phase::{Measured, checkpoint, generate, train};
use super::{Events, results, wire};
use crate::cluster::Cluster;
use crate::config::{Loaded, Workload};
use crate::host;
use crate::interrupt;
use crate::metrics::reduce::JobSummary;
use crate::metrics::spec::MetricSpec;
use crate::report::console::{Console, JsonLines};
use crate::report::dlio_log::{DlioLog, Level};
use crate::report::{self, Event, OutputDir};
use crate::storage::Telemetry;

/// How a job speaks.
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    /// Under DLIO's own name: its log on the standard error output, nothing on the standard output.
    pub as_dlio: bool,
    /// Events as JSON lines on the standard output, in place of the report.
    pub json: bool,
    /// No progress.
    pub quiet: bool,
    /// The least that DLIO's log takes up.
    pub level: Level,
}

/// A job to run.
pub struct JobRequest<'a> {
    /// The workload, the same on all ranks.
    pub loaded: &'a Loaded,
    /// What the command line adds to it.
    pub options: RunOptions,
    /// How it speaks.
    pub voice: Voice,
    /// Folder of results; only rank 0's counts.
    pub folder: PathBuf,
    /// The folder was asked for, so that also a job that measures nothing leaves it.
    pub is_folder_asked: bool,
    /// Warnings of the workload.
    pub warnings: Vec<String>,
    /// Percent of AU below which the job fails.
    pub require_au: Option<f64>,
    /// `--config-dir`, for hydra's files.
    pub config_dir: Option<PathBuf>,
    /// The command line, as it was typed.
    pub typed: &'a [String],
    /// Findings of `--rules`, on rank 0.
    pub rules: Value,
    /// The workload's core, for the report.
    pub core_config: Value,
}

/// Why a job failed.
pub struct JobFailure {
    /// The cause.
    pub error: JobError,
    /// The standard error output has it already, as a line of DLIO's log.
    pub is_told: bool,
}

impl From<JobError> for JobFailure {
    fn from(error: JobError) -> Self {
        JobFailure {
            error,
            is_told: false,
        }
    }
}

/// Runs the job. A collective.
pub fn run(cluster: &dyn Cluster, request: &JobRequest) -> Result<(), JobFailure> {
    let start = label();
    let job = JobContext::new(cluster, &request.loaded.workload, request.options);
    interrupt::speak_once(job.spoken);
    let output = agree(cluster, request.make_output(cluster))?;
    let mut events = request.listeners(cluster, output.as_ref())?;
    request
        .phases(&job, &mut events, output, &start)
        .map_err(|error| {
            let mut failure = JobFailure::from(error);
            if matches!(failure.error, JobError::Failed { .. }) {
                let voice = request.voice;
                failure.is_told = voice.as_dlio && voice.level <= Level::Error;
                events.emit(Event::Failed {
                    message: failure.error.to_string(),
                });
            }
            failure
        })
}

impl JobRequest<'_> {
    pub(super) fn workload(&self) -> &Workload {
        &self.loaded.workload
    }

    fn measures(&self) -> bool {
        let w = self.workload();
        w.workflow.train || w.is_checkpoint_only()
    }

    /// A generation leaves files only where their folder was asked for, or where DLIO would.
    fn leaves_folder(&self) -> bool {
        self.measures() || self.is_folder_asked || self.voice.as_dlio
    }

    /// The folder of results, on rank 0.
    fn make_output(&self, cluster: &dyn Cluster) -> Result<Option<OutputDir>, RankError> {
        if cluster.rank() > 0 || !self.leaves_folder() {
            return Ok(None);
        }
        // As hydra, so that a run that fails leaves its log there.
        let existing = if self.voice.as_dlio {
            OutputDir::make_target(&self.folder)
        } else {
            Ok(())
        };
        existing
            .and_then(|()| OutputDir::create(&self.folder))
            .map(Some)
            .map_err(|e| RankError::from(report::ReportError::from(e)))
    }

    fn listeners(
        &self,
        cluster: &dyn Cluster,
        output: Option<&OutputDir>,
    ) -> Result<Events, JobError> {
        let mut events = Events::default();
        let mut log = Ok(());
        if cluster.rank() == 0 {
            let w = self.workload();
            if self.voice.json {
                events.listen(Box::new(JsonLines::new(Box::new(std::io::stdout()))));
            } else if !self.voice.as_dlio {
                events.listen(Box::new(Console::new(
                    Box::new(std::io::stderr()),
                    std::io::stderr().is_terminal(),
                    self.voice.quiet,
                )));
            }
            let mut sinks: Vec<Box<dyn Write>> = Vec::new();
            if self.voice.as_dlio {
                sinks.push(Box::new(std::io::stderr()));
            }
            if let Some(dir) = output {
                // DLIO's own log grows where people look for it, also when the run fails.
                let live = self.voice.as_dlio && dir.is_inside_target();
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
                let level = self.voice.level;
                events.listen(Box::new(DlioLog::new(sinks, w, cluster.size(), level)));
            }
        }
        agree(cluster, log)?;
        Ok(events)
    }

    fn phases(
        &self,
        job: &JobContext,
        events: &mut Events,
        output: Option<OutputDir>,
        start: &str,
    ) -> Result<(), JobError> {
        let w = self.workload();
        self.announce(job, events);
        let generated = if w.workflow.generate_data {
            Some(generate::run(job, events)?)
        } else {
            None
        };
        if !self.measures() {
            let written = output.map_or(Ok(()), |output| {
                results::write_unmeasured(self, output, events)
            });
            agree(job.cluster, written)?;
            return generate::clean_up(job);
        }
        let mut measured = if w.is_checkpoint_only() {
            checkpoint::run(job, events)?
        } else {
            train::run(job, events)?
        };
        if let Some(generated) = generated {
            add_generation(&mut measured, &generated);
        }
        measured.record.counters.peak_rss_bytes = host::process::peak_rss_bytes();
        let summary = results::report(self, job, &measured, events, output, start)?;
        generate::clean_up(job)?;
        self.judge(job.cluster, summary)
    }

    /// What the job will do, and what is odd about it.
    fn announce(&self, job: &JobContext, events: &mut Events) {
        let (w, ranks) = (self.workload(), job.cluster.size());
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
        events.emit(Event::RunStarted { ranks, phases });
        let loaded = self.loaded.warnings.iter().chain(&self.warnings).cloned();
        let derived = wire::order_warning(w)
            .into_iter()
            .chain(MetricSpec::of(w, ranks).warning());
        for warning in loaded.chain(derived) {
            events.emit(Event::Warning(warning));
        }
    }

    fn judge(&self, cluster: &dyn Cluster, summary: Option<JobSummary>) -> Result<(), JobError> {
        let Some(required) = self.require_au else {
            return Ok(());
        };
        let au = summary
            .as_ref()
            .and_then(|s| s.train.as_ref())
            .map_or(100.0, |t| t.au_percent.mean);
        let mut below = [u64::from(cluster.rank() == 0 && au < required)];
        cluster.max_u64(&mut below);
        if below[0] == 1 {
            Err(JobError::AuBelow { au, required })
        } else {
            Ok(())
        }
    }
}

fn add_generation(measured: &mut Measured, generated: &generate::Generated) {
    let c = &mut measured.record.counters;
    c.bytes_written = generated.bytes_written;
    c.files_written = generated.files_written;
    c.files_skipped = generated.files_skipped;
    c.generate_ns = generated.elapsed_ns;
    let all = &mut measured.record.object_store;
    *all = Telemetry::both(all.take(), generated.object_store.clone());
}
