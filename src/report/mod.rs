//! What a run leaves behind: DLIO's files, our own report, the console.
//!
//! The measuring code emits [`Event`]s; listeners print them. Nothing here measures.
//!
//! Rank 0 writes everything: the other ranks' files travel to it as text ([`rank_files`]), so no shared file system is
//! needed.

use std::path::{Path, PathBuf};

mod bottleneck;
pub mod checkpoint;
pub mod console;
pub mod dlio;
pub mod dlio_log;
pub mod event;
pub mod event_file;
mod figures;
pub mod find;
pub(crate) mod html;
pub mod hydra;
pub mod json;
pub mod live;
pub(crate) mod log_file;
mod object_store;
pub mod provenance;
pub mod publish;
pub mod python;
pub mod rank_files;
mod rows;
pub(crate) mod shown;
mod stage;
pub(crate) mod watch;
pub mod yaml;

pub use event::{Event, Listener};
pub use publish::{Clash, OutputDir, PublishError};

use crate::config::Workload;
use crate::metrics::summary::JobSummary;
use crate::metrics::timeline::{self, Timeline};

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file could not be written.
    #[error(
        "write {path}: {}\n  remedy: check that the folder is writable and has space",
        crate::storage::errno_words(.source)
    )]
    Write {
        path: PathBuf,
        source: std::io::Error,
    },
    /// They could not be written where they were wanted.
    #[error("{cause}\n  {place}")]
    Elsewhere {
        cause: Box<ReportError>,
        place: String,
    },
    /// The standard output does not take the report.
    #[error(
        "print the report: {source}; the results are saved, and report.json holds all that it says"
    )]
    Print { source: std::io::Error },
    /// The folder cannot be created or published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

impl ReportError {
    /// What a failed write of `path` becomes.
    pub(crate) fn writing(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |source| ReportError::Write { path, source }
    }
}

/// Writes a file anew.
pub(crate) fn write_file(path: &Path, text: impl AsRef<[u8]>) -> Result<(), ReportError> {
    crate::storage::write_file(path, text.as_ref()).map_err(ReportError::writing(path))
}

/// Wall-clock label of now as DLIO writes it: local time, microseconds, no zone.
pub fn timestamp() -> String {
    chrono::Local::now()
        .format("%Y-%m-%dT%H:%M:%S%.6f")
        .to_string()
}

/// What [`write_all`] writes.
pub struct ReportInput<'a> {
    pub workload: &'a Workload,
    pub summary: &'a mut JobSummary,
    /// Where the figures come from.
    pub provenance: &'a provenance::Provenance,
    /// The run over time, where it was recorded.
    pub timeline: Option<&'a Timeline>,
    /// Every warning of the run, once each.
    pub warnings: &'a [String],
    /// Hydra's folder; None: not written.
    pub hydra: Option<&'a hydra::HydraFacts<'a>>,
    /// Whether files of our own are written that are no DLIO's and no program needs: `provenance.json`, `report.html`.
    pub with_own: bool,
}

/// `report.html` of the run.
fn html_of(input: &ReportInput<'_>, report: &serde_json::Value) -> String {
    let shown = shown::Shown::read(report).unwrap_or_default();
    let view = html::View {
        name: format!("{} {}", input.workload.model.name, input.provenance.start),
        report,
        shown: &shown,
        absent: Vec::new(),
        recording: input.timeline.map_or_else(
            || html::Recording::Missing("it was switched off by output.timeline: false".into()),
            |timeline| html::Recording::Read(std::borrow::Cow::Borrowed(timeline)),
        ),
    };
    html::page(&[view], &[])
}

/// The text of `report.json`, and of `report.html` where it is wanted.
fn texts_of(input: &ReportInput<'_>) -> (String, Option<String>) {
    let report = json::report_json(
        input.workload,
        input.summary,
        input.provenance,
        input.warnings,
    );
    let is_wanted = input.with_own && input.workload.output.html;
    let html = is_wanted.then(|| html_of(input, &report));
    (python::to_string(&report), html)
}

/// Writes every file but `dlio.log` and those of ranks into `out`; rank 0 only. `summary.json` is written last. A run
/// that neither trains nor evaluates leaves no DLIO files, as DLIO. The largest resident set of rank 0 is taken from `peak`
/// when nothing is left to be made that takes memory, and put into the summary.
///
/// Errors: the first file that cannot be written.
pub fn write_all(
    out: &Path,
    input: &mut ReportInput<'_>,
    peak: impl FnOnce() -> u64,
) -> Result<(), ReportError> {
    if let Some(facts) = input.hydra {
        hydra::write(out, facts)?;
    }
    if input.with_own {
        let stamp = provenance::run_provenance(input.provenance);
        let text = python::to_string(&stamp) + "\n";
        write_file(&out.join("provenance.json"), &text)?;
    }
    write_file(
        &out.join("histograms.hgrm"),
        input.summary.histograms.to_hgrm(),
    )?;
    if let Some(timeline) = input.timeline {
        let path = out.join(timeline::FILE);
        let bytes = timeline.to_bytes().map_err(ReportError::writing(&path))?;
        write_file(&path, bytes)?;
    }
    // Made twice: the peak that these files name holds what it takes to make them.
    drop(texts_of(input));
    input.summary.take_last_peak(peak());
    let (report, html) = texts_of(input);
    write_file(&out.join("report.json"), &report)?;
    if let Some(html) = html {
        write_file(&out.join(html::FILE), &html)?;
    }
    let w = &input.workload.workflow;
    if !(w.train || w.evaluation || w.checkpoint) {
        return Ok(());
    }
    let p = input.provenance;
    let text = dlio::summary_json(input.workload, input.summary, &p.start, &p.end);
    write_file(&out.join("summary.json"), &text)
}
