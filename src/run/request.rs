//! What a job is asked to do: a workload and what the command line adds to it.

use std::path::PathBuf;

use serde_json::Value;

use super::context::RunOptions;
use super::phase::find::FindSpec;
use crate::config::{Loaded, Profiler, Workload};
use crate::report::Clash;
use crate::report::dlio_log::Level;
use crate::report::live::Progress;

/// How a job speaks.
#[derive(Debug, Clone, Copy)]
pub struct Voice {
    /// Under DLIO's own name: its log on the standard error output, nothing on the standard output.
    pub as_dlio: bool,
    /// Events as JSON lines on the standard output, in place of the report.
    pub json: bool,
    pub quiet: bool,
    /// How it shows that it goes on.
    pub progress: Progress,
    /// The least that DLIO's log takes up.
    pub level: Level,
}

/// Single steps and calls of some ranks in a file.
pub struct TraceRequest {
    /// The file; compressed where it ends in `.gz`. Only rank 0's counts.
    pub file: PathBuf,
    pub ranks: Vec<usize>,
}

pub struct JobRequest<'a> {
    /// The workload, the same on all ranks.
    pub loaded: &'a Loaded,
    /// What the command line adds to it.
    pub options: RunOptions,
    pub voice: Voice,
    /// Folder of results; only rank 0's counts.
    pub folder: PathBuf,
    /// What to do where that folder has results: a folder that was asked for is left also by a job that measures nothing.
    pub clash: Clash,
    pub warnings: Vec<String>,
    /// Percent of AU below which the job fails.
    pub require_au: Option<f64>,
    /// `--config-dir`, for hydra's files.
    pub config_dir: Option<PathBuf>,
    pub trace: Option<TraceRequest>,
    /// The command line, as it was typed.
    pub typed: &'a [String],
    /// Findings of `--rules`, on rank 0.
    pub rules: Value,
    /// The workload's core, for the report.
    pub core_config: Value,
    /// A search in place of one run.
    pub find: Option<FindSpec>,
}

impl JobRequest<'_> {
    pub(super) fn workload(&self) -> &Workload {
        &self.loaded.workload
    }

    pub(super) fn measures(&self) -> bool {
        let w = self.workload();
        w.workflow.train || w.is_checkpoint_only()
    }

    /// Whether there is a recording over time.
    pub(super) fn is_recorded(&self) -> bool {
        // A search is many runs, and writes none of their files.
        self.find.is_none() && self.measures() && self.workload().output.timeline
    }

    /// What is recorded besides, if anything is measured. A search records nothing.
    pub(super) fn profiler(&self) -> Profiler {
        let w = self.workload();
        match w.workflow.profiling && self.find.is_none() && self.measures() {
            true => w.profiling.profiler,
            false => Profiler::None,
        }
    }

    /// A generation leaves files only where their folder was asked for, or where DLIO would.
    pub(super) fn leaves_folder(&self) -> bool {
        self.find.is_none()
            && (self.measures() || self.clash == Clash::Refuse || self.voice.as_dlio)
    }
}
