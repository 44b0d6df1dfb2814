//! What a run leaves behind: DLIO's files, our own report, the console.
//!
//! The measuring code emits [`Event`]s; listeners print them. Nothing here measures.
//!
//! Rank 0 writes everything: the other ranks' files travel to it as text, so no shared file system is
//! needed.

use std::path::{Path, PathBuf};

mod bottleneck;
pub mod checkpoint;
pub mod console;
pub mod dlio;
pub mod dlio_log;
pub mod event;
mod figures;
pub mod find;
pub(crate) mod html;
pub mod hydra;
pub mod json;
pub mod provenance;
pub mod publish;
pub mod python;
mod rows;
pub(crate) mod shown;
pub mod yaml;

pub use event::{Event, Listener};
pub use publish::{Clash, OutputDir, PublishError};

use crate::cluster::Cluster;
use crate::config::Workload;
use crate::host::facts::HostFacts;
use crate::metrics::record::RankRecord;
use crate::metrics::reduce::JobSummary;
use crate::metrics::spec::MetricSpec;
use crate::metrics::timeline::{self, Timeline};

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A file could not be written.
    #[error(
        "write {path}: {}; check that the folder is writable and has space",
        crate::storage::errno_words(.source)
    )]
    Write {
        /// File.
        path: PathBuf,
        /// Cause.
        source: std::io::Error,
    },
    /// A rank sent something that is not its files.
    #[error("gather the files of rank {rank}: {source}; all ranks must run the same binary")]
    RankFiles {
        /// Which rank.
        rank: usize,
        /// Cause.
        source: serde_json::Error,
    },
    /// They could not be written where they were wanted.
    #[error("{cause}\n  {place}")]
    Elsewhere {
        /// Why.
        cause: Box<ReportError>,
        /// Where they are.
        place: String,
    },
    /// The standard output does not take the report.
    #[error(
        "print the report: {source}; the results are saved, and report.json holds all that it says"
    )]
    Print {
        /// Cause.
        source: std::io::Error,
    },
    /// The folder cannot be created or published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

pub(crate) fn write_file(path: &Path, text: &str) -> Result<(), ReportError> {
    crate::storage::write_file(path, text.as_bytes()).map_err(|source| ReportError::Write {
        path: path.to_owned(),
        source,
    })
}

fn write_timeline(path: &Path, timeline: &Timeline) -> Result<(), ReportError> {
    let written = (timeline.to_bytes()).and_then(|bytes| crate::storage::write_file(path, &bytes));
    written.map_err(|source| ReportError::Write {
        path: path.to_owned(),
        source,
    })
}

/// Wall-clock label of now as DLIO writes it: local time, microseconds, no zone.
pub fn timestamp() -> String {
    chrono::Local::now()
        .format("%Y-%m-%dT%H:%M:%S%.6f")
        .to_string()
}

/// The contents of one rank's two DLIO files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RankFiles {
    /// `<r>_output.json`
    pub output_json: String,
    /// `<r>_per_epoch_stats.json`
    pub per_epoch_stats_json: String,
}

/// Makes this rank's files and gathers those of all ranks, in rank order, on rank 0; collective.
///
/// Cost: rank 0 holds the text of all ranks' step lists, about 80 bytes per step and rank.
/// Errors: a rank's bytes are not readable (rank 0).
pub fn gather_rank_files(
    cluster: &dyn Cluster,
    record: &RankRecord,
    spec: &MetricSpec,
    host: &HostFacts,
) -> Result<Option<Vec<RankFiles>>, ReportError> {
    // Rank 0 knows the size of the whole job's checkpoint.
    let mut size = record.checkpoints.size_bytes.to_le_bytes().to_vec();
    cluster.broadcast(&mut size);
    let checkpoint_bytes = u64::from_le_bytes(size.try_into().unwrap_or_default());
    let own = [
        dlio::output_json(record, spec, host, cluster.size(), cluster.local_size()),
        dlio::per_epoch_stats_json(record, checkpoint_bytes),
    ];
    let bytes = serde_json::to_vec(&own).expect("two strings always serialize");
    let Some(all) = cluster.gather(&bytes) else {
        return Ok(None);
    };
    all.iter()
        .enumerate()
        .map(|(rank, b)| {
            serde_json::from_slice::<[String; 2]>(b)
                .map(|[output_json, per_epoch_stats_json]| RankFiles {
                    output_json,
                    per_epoch_stats_json,
                })
                .map_err(|source| ReportError::RankFiles { rank, source })
        })
        .collect::<Result<Vec<_>, _>>()
        .map(Some)
}

/// What [`write_all`] writes.
pub struct ReportInput<'a> {
    /// The workload.
    pub workload: &'a Workload,
    /// The job's figures.
    pub summary: &'a JobSummary,
    /// Where the figures come from.
    pub provenance: &'a json::Provenance,
    /// All ranks' files, in rank order.
    pub rank_files: &'a [RankFiles],
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
            || html::Recording::Missing("output.timeline is false".into()),
            |timeline| html::Recording::Read(std::borrow::Cow::Borrowed(timeline)),
        ),
    };
    html::page(&[view], &[])
}

/// Writes every file but `dlio.log` into `out`; rank 0 only. `summary.json` is written last. A run
/// that neither trains nor evaluates leaves no DLIO files, as DLIO.
///
/// Errors: the first file that cannot be written.
pub fn write_all(out: &Path, input: &ReportInput<'_>) -> Result<(), ReportError> {
    if let Some(facts) = input.hydra {
        hydra::write(out, facts)?;
    }
    let report = json::report_json(
        input.workload,
        input.summary,
        input.provenance,
        input.warnings,
    );
    write_file(&out.join("report.json"), &python::to_string(&report))?;
    if input.with_own {
        let stamp = provenance::run_provenance(input.provenance);
        let text = python::to_string(&stamp) + "\n";
        write_file(&out.join("provenance.json"), &text)?;
    }
    write_file(
        &out.join("histograms.hgrm"),
        &input.summary.histograms.to_hgrm(),
    )?;
    if let Some(timeline) = input.timeline {
        write_timeline(&out.join(timeline::FILE), timeline)?;
    }
    if input.with_own && input.workload.output.html {
        write_file(&out.join(html::FILE), &html_of(input, &report))?;
    }
    let w = &input.workload.workflow;
    if !(w.train || w.evaluation || w.checkpoint) {
        return Ok(());
    }
    for (rank, files) in input.rank_files.iter().enumerate() {
        write_file(&out.join(format!("{rank}_output.json")), &files.output_json)?;
        write_file(
            &out.join(format!("{rank}_per_epoch_stats.json")),
            &files.per_epoch_stats_json,
        )?;
    }
    let p = input.provenance;
    let text = dlio::summary_json(input.workload, input.summary, &p.start, &p.end);
    write_file(&out.join("summary.json"), &text)
}
