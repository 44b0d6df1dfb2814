//! What a job leaves: figures reduced over all ranks, files, the report on the console.

use std::io::{ErrorKind, Write};
use std::path::Path;

use super::context::{JobContext, label};
use super::events::Events;
use super::failure::{RankError, Result, agree};
use super::patient::Patient;
use super::phase::Measured;
use super::profile;
use super::request::JobRequest;
use crate::cluster::Cluster;
use crate::config::{self, Workload};
use crate::host;
use crate::host::cpus::Placement;
use crate::host::facts::HostFacts;
use crate::metrics::evidence::ServedByStorage;
use crate::metrics::reduce::{ReduceInput, reduce};
use crate::metrics::spec::MetricSpec;
use crate::metrics::summary::JobSummary;
use crate::metrics::timeline::{self, Timeline};
use crate::plan;
use crate::report::console::final_report;
use crate::report::event_file::RunId;
use crate::report::find::Document;
use crate::report::hydra::HydraFacts;
use crate::report::provenance::{self, Build, HostFolder, Provenance};
use crate::report::rank_files::{self, RankFiles};
use crate::report::{self, Clash, Event, OutputDir, ReportError, ReportInput, write_all};
use crate::util::text::plain;

/// What was known before the first phase.
pub(super) struct Begun<'a> {
    /// Wall-clock label of the job's start.
    pub(super) start: &'a str,
    pub(super) placement: &'a Placement,
    /// On rank 0: the folders of the job on each host.
    pub(super) folders: Vec<HostFolder>,
    /// Which run, as in its events.
    pub(super) run: RunId,
}

/// Reduces, writes and publishes. A collective; the summary is on rank 0.
pub(super) fn report(
    request: &JobRequest,
    job: &JobContext,
    measured: &mut Measured,
    events: &mut Events,
    output: Option<OutputDir>,
    begun: &Begun,
) -> Result<Option<JobSummary>> {
    let cluster = job.cluster;
    let facts = facts_of(cluster);
    let spec = MetricSpec::of(job.workload, cluster.size());
    let summary = reduced(job, measured, &spec, &facts)?;
    let timeline = (measured.timeline.take())
        .and_then(|recorded| timeline::merge(cluster, recorded))
        .map(|timeline| complete(timeline, events, begun));
    let which = job.workload.output.per_rank_files;
    let mut own = RankFiles::of_rank(cluster, &measured.record, &spec, &facts, which);
    agree(cluster, profile::add_trace(job, request, &mut own))?;
    let saved = save_rank_files(job, &own, output.as_ref());
    // The largest of what a rank holds is behind it now; rank 0, which writes the rest, looks once more when it does.
    let peak = cluster.gather(&host::process::peak_rss_bytes().to_le_bytes());
    let summary = summary.zip(peak).map(|(mut summary, peak)| {
        let word = |bytes: &Vec<u8>| bytes.as_slice().try_into().map_or(0, u64::from_le_bytes);
        summary.take_peaks(&peak.iter().map(word).collect::<Vec<_>>());
        if let Some(caution) = summary.oversleep_caution() {
            events.emit(Event::Warning(caution));
        }
        summary
    });
    let mut made = summary.map(|summary| Made {
        summary,
        provenance: provenance_of(request, cluster, &facts, begun),
        timeline: timeline.as_ref(),
    });
    let written = match (&mut made, output) {
        (Some(made), Some(output)) => write(request, job, made, events, output, saved),
        _ => Ok(()),
    };
    // All ranks send their files once more.
    let written = if cluster.any(matches!(written, Err(Unwritten::Files(_)))) {
        second_place(request, job, made.as_mut(), &own, events, written)
    } else {
        written.map_err(Unwritten::into)
    };
    agree(cluster, written.map_err(RankError::from))?;
    Ok(made.map(|made| made.summary))
}

/// What was measured, of all ranks; on rank 0. A collective.
pub(super) fn summarize(job: &JobContext, measured: &Measured) -> Result<Option<JobSummary>> {
    let spec = MetricSpec::of(job.workload, job.cluster.size());
    reduced(job, measured, &spec, &facts_of(job.cluster))
}

fn facts_of(cluster: &dyn Cluster) -> HostFacts {
    HostFacts::read(&cluster.host_names()[cluster.node_of_rank()[cluster.rank()]])
}

fn reduced(
    job: &JobContext,
    measured: &Measured,
    spec: &MetricSpec,
    facts: &HostFacts,
) -> Result<Option<JobSummary>> {
    let (cluster, w) = (job.cluster, job.workload);
    let has_device = |folder| is_real(w) && host::mounts::has_block_device(folder);
    let input = ReduceInput {
        record: &measured.record,
        histograms: &measured.histograms,
        spec,
        host: facts,
        limits: &host::cgroup::Limits::read(),
        planned_bytes: measured.planned_bytes,
        checkpoint_device_counter_valid: has_device(&w.checkpoint_root()),
        combine_digests: plan::digest::combine,
    };
    let summary = reduce(cluster, &input).map_err(|e| RankError::Dataset(e.to_string()));
    agree(cluster, summary)
}

/// What could not be written, on rank 0.
enum Unwritten {
    Files(ReportError),
    /// The report on the standard output.
    Print(ReportError),
}

impl From<Unwritten> for ReportError {
    fn from(error: Unwritten) -> Self {
        match error {
            Unwritten::Files(error) | Unwritten::Print(error) => error,
        }
    }
}

/// Writes the files that each rank has into the folder of rank 0. A collective.
fn save_rank_files(
    job: &JobContext,
    own: &RankFiles,
    output: Option<&OutputDir>,
) -> Result<(), ReportError> {
    let _task = output.map(|output| job.doing("write step lists in", output.target()));
    let folder = output.map(OutputDir::path);
    rank_files::save(job.cluster, own, folder).map_err(|error| or_removed(error, output))
}

/// The error, or that the folder is gone.
fn or_removed(error: ReportError, output: Option<&OutputDir>) -> ReportError {
    match output.map(OutputDir::check) {
        Some(Err(removed)) => removed.into(),
        _ => error,
    }
}

/// What rank 0 has to write.
struct Made<'a> {
    summary: JobSummary,
    provenance: Provenance,
    timeline: Option<&'a Timeline>,
}

/// Adds what rank 0 alone knows.
fn complete(mut timeline: Timeline, events: &mut Events, begun: &Begun) -> Timeline {
    timeline.start = begun.start.into();
    if let Some(recorder) = events.recorder.take() {
        timeline.events.extend(recorder.finish());
    }
    timeline.note_long_waits();
    timeline.note_retries();
    timeline
}

fn write(
    request: &JobRequest,
    job: &JobContext,
    made: &mut Made,
    events: &mut Events,
    output: OutputDir,
    saved: Result<(), ReportError>,
) -> Result<(), Unwritten> {
    let voice = request.voice;
    let load = (made.summary.checkpoint.as_ref()).and_then(|c| c.load.as_ref());
    if load.is_some_and(|l| l.served_by_storage == ServedByStorage::Cached) {
        events.emit(Event::Warning(
            "checkpoint loads were answered by the page cache, not by the storage: their throughput is that of memory; use reader.drop_cache=system, checkpoint.between_phases or O_DIRECT".into(),
        ));
    }
    for note in (made.summary.object_store.iter()).flat_map(|store| &store.notes) {
        events.emit(Event::Warning(note.clone()));
    }
    let shown = output.shown().to_owned();
    let folder = shown.display().to_string();
    let task = job.doing("write results in", output.target());
    let written = saved.and_then(|()| write_files(request, made, &events.warnings, &output));
    drop(task);
    events.emit(Event::RunMeasured {
        summary: Box::new(made.summary.clone()),
        folder: folder.clone(),
    });
    let written = written.and_then(|()| {
        let _task = job.doing("publish results in", output.target());
        Ok(output.publish()?)
    });
    if written.is_ok() {
        events.emit(Event::OutputsSaved {
            folder: folder.clone(),
        });
    }
    // Also where they cannot be written: what was measured is not measured again in a minute.
    let mut printed = Ok(());
    if !voice.json && !voice.as_dlio {
        let mut text = final_report(&made.summary, &made.provenance);
        if written.is_ok() {
            text += &format!("Results: {folder}\n");
        }
        printed = print(job, &text);
    }
    written.map_err(Unwritten::Files)?;
    printed.map_err(Unwritten::Print)
}

/// Writes all files of results.
///
/// Errors: what cannot be written, or that the folder is gone.
fn write_files(
    request: &JobRequest,
    made: &mut Made,
    warnings: &[String],
    output: &OutputDir,
) -> Result<(), ReportError> {
    let hydra = hydra_facts(request, output.shown());
    let mut input = ReportInput {
        workload: request.workload(),
        summary: &mut made.summary,
        provenance: &made.provenance,
        timeline: made.timeline,
        warnings,
        hydra: hydra.as_ref(),
        // mlpstorage, which calls by that name, writes its own.
        with_own: !request.voice.as_dlio,
    };
    output.check()?;
    write_all(output.path(), &mut input, host::process::peak_rss_bytes)
        .map_err(|error| or_removed(error, Some(output)))
}

/// Writes what was measured to the folder of temporary files, since it cannot be written where it was wanted. A collective.
/// Returns, on rank 0, why the first place failed and where the results are.
fn second_place(
    request: &JobRequest,
    job: &JobContext,
    made: Option<&mut Made>,
    own: &RankFiles,
    events: &Events,
    first: Result<(), Unwritten>,
) -> Result<(), ReportError> {
    let place = std::env::temp_dir().join("dlio-rs-results");
    let _task = job.doing("write results in", &place);
    let output = made
        .is_some()
        .then(|| OutputDir::create(&place, Clash::Suffix, false));
    let saved = save_rank_files(job, own, output.as_ref().and_then(|o| o.as_ref().ok()));
    let (Some(made), Some(output), Err(cause)) = (made, output, first) else {
        return Ok(());
    };
    let written = output.map_err(ReportError::from).and_then(|output| {
        saved?;
        write_files(request, made, &events.warnings, &output)?;
        Ok(output.publish()?)
    });
    Err(ReportError::Elsewhere {
        cause: Box::new(cause.into()),
        place: match written {
            Ok(place) => format!("what was measured is in {}", place.display()),
            Err(error) => {
                format!("what was measured is in the report above only: failed to {error}")
            }
        },
    })
}

/// Prints what a search found, on rank 0. A collective.
pub(super) fn print_search(job: &JobContext, found: Option<Document>, as_json: bool) -> Result<()> {
    let printed = found.map_or(Ok(()), |document| {
        let text = match as_json {
            true => serde_json::to_string_pretty(&document).unwrap_or_default() + "\n",
            false => document.table(),
        };
        print(job, &text)
    });
    agree(job.cluster, printed.map_err(RankError::from))
}

/// Prints the report. Nobody who reads it any more is no failure.
fn print(job: &JobContext, text: &str) -> Result<(), ReportError> {
    let mut out = Patient::new(std::io::stdout(), job.activity);
    let printed = (out.write_all(plain(text).as_bytes())).and_then(|()| out.flush());
    match printed {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => Err(ReportError::Print { source }),
        _ => Ok(()),
    }
}

/// What a run without measurements leaves: hydra's folder and the log.
pub(super) fn write_unmeasured(
    request: &JobRequest,
    output: OutputDir,
    events: &mut Events,
) -> Result<(), RankError> {
    let folder = output.shown().display().to_string();
    if let Some(hydra) = hydra_facts(request, output.shown()) {
        report::hydra::write(output.path(), &hydra)?;
    }
    output.publish().map_err(ReportError::from)?;
    events.emit(Event::OutputsSaved { folder });
    Ok(())
}

/// What hydra's folder says; None where hydra was asked to write none.
fn hydra_facts<'a>(request: &JobRequest<'a>, run_dir: &Path) -> Option<HydraFacts<'a>> {
    let loaded = request.loaded;
    let output_subdir = match &loaded.hydra.output_subdir {
        Some(subdir) => subdir.clone()?,
        None if request.voice.as_dlio => ".hydra".into(),
        None => "dlio_config".into(),
    };
    let cwd = std::env::current_dir().unwrap_or_default();
    let config_dir = request.config_dir.as_ref();
    let config_dir = config_dir.and_then(|d| std::path::absolute(d).ok());
    Some(HydraFacts {
        workload_name: &loaded.name,
        tree: &loaded.tree,
        task_words: &loaded.words,
        hydra_words: &loaded.hydra.words,
        run_dir: run_dir.display().to_string(),
        output_subdir,
        cwd: cwd.display().to_string(),
        config_dir: config_dir.map(|d| d.display().to_string()),
    })
}

fn provenance_of(
    request: &JobRequest,
    cluster: &dyn Cluster,
    facts: &HostFacts,
    begun: &Begun,
) -> Provenance {
    let bound = host::cpus::affinity_count();
    let cpus = host::cpus::node_cpus();
    let threads = begun.placement.mask;
    let build = Build::here();
    let workload = request.workload();
    let (engine, reason) = workload.reader.engine.chosen();
    Provenance {
        version: env!("CARGO_PKG_VERSION").into(),
        git_commit: env!("DLIO_RS_COMMIT").into(),
        build_profile: env!("DLIO_RS_PROFILE").into(),
        mpi_library: cluster.library().into(),
        kernel: host::kernel(),
        hosts: cluster.host_names().to_vec(),
        ranks: cluster.size(),
        reader_engine: engine.word().into(),
        reader_engine_reason: reason.into(),
        barrier: workload.cluster.barrier.chosen().word().into(),
        cpus_allowed: bound,
        affinity: if bound < cpus {
            format!(
                "rank 0 bound to {bound} of {cpus} CPUs; reader and writer threads on {threads}"
            )
        } else {
            format!("unbound, {cpus} CPUs")
        },
        thread_cpus: threads.to_string(),
        folders: begun.folders.clone(),
        memory_bytes: facts.memory_bytes,
        start: begun.start.into(),
        end: label(),
        command_line: request
            .typed
            .iter()
            .map(|word| config::redact_word(word))
            .collect(),
        config: serde_json::to_value(workload).unwrap_or_default(),
        rules: request.rules.clone(),
        mpi_environment: provenance::mpi_environment(),
        storage_library: build.storage_library(
            workload.storage_system(),
            workload.storage.storage_options.client,
        ),
        build,
        core_config: request.core_config.clone(),
        changed: request.loaded.changed(),
        run: begun.run.0.clone(),
    }
}

/// True for a storage system that holds bytes.
fn is_real(w: &Workload) -> bool {
    w.storage_system().has_bytes
}
