//! What a job leaves: figures reduced over all ranks, files, the report on the console.

use super::Events;
use super::context::{JobContext, label};
use super::failure::{JobError, RankError, agree};
use super::job::JobRequest;
use super::phase::Measured;
use crate::cluster::Cluster;
use crate::config::{self, StorageType, Workload};
use crate::host;
use crate::host::facts::HostFacts;
use crate::metrics::reduce::{JobSummary, ReduceInput, ServedByStorage, reduce};
use crate::metrics::spec::MetricSpec;
use crate::plan;
use crate::report::console::final_report;
use crate::report::hydra::HydraFacts;
use crate::report::json::Provenance;
use crate::report::provenance::{self, Build};
use crate::report::{self, Event, OutputDir, ReportInput, gather_rank_files, write_all};

/// Reduces, writes and publishes. A collective; the summary is on rank 0.
pub(super) fn report(
    request: &JobRequest,
    job: &JobContext,
    measured: &Measured,
    events: &mut Events,
    output: Option<OutputDir>,
    start: &str,
) -> Result<Option<JobSummary>, JobError> {
    let (cluster, w) = (job.cluster, job.workload);
    let name = &cluster.host_names()[cluster.node_of_rank()[cluster.rank()]];
    let facts = HostFacts::read(name);
    let has_device = |folder| is_real(w) && host::mounts::has_block_device(folder);
    let spec = MetricSpec::of(w, cluster.size());
    let input = ReduceInput {
        record: &measured.record,
        histograms: &measured.histograms,
        spec: &spec,
        host: &facts,
        device_counter_valid: has_device(&w.data_root()),
        checkpoint_device_counter_valid: has_device(&w.checkpoint_root()),
        combine_digests: plan::digest::combine,
    };
    let summary = reduce(cluster, &input).map_err(|e| RankError::Dataset(e.to_string()));
    let summary = agree(cluster, summary)?;
    let files =
        gather_rank_files(cluster, &measured.record, &spec, &facts).map_err(RankError::from);
    let files = agree(cluster, files)?;
    let written = match (&summary, &files, output) {
        (Some(summary), Some(files), Some(output)) => {
            let provenance = provenance_of(request, cluster, &facts, start);
            write(request, summary, &provenance, files, events, output)
        }
        _ => Ok(()),
    };
    agree(cluster, written)?;
    Ok(summary)
}

fn write(
    request: &JobRequest,
    summary: &JobSummary,
    provenance: &Provenance,
    files: &[report::RankFiles],
    events: &mut Events,
    output: OutputDir,
) -> Result<(), RankError> {
    let voice = request.voice;
    let load = summary.checkpoint.as_ref().and_then(|c| c.load.as_ref());
    if load.is_some_and(|l| l.served_by_storage == ServedByStorage::Cached) {
        events.emit(Event::Warning(
            "checkpoint loads were answered by the page cache, not by the storage: their throughput is that of memory; use reader.drop_cache=system, checkpoint.between_phases or O_DIRECT".into(),
        ));
    }
    for note in summary.object_store.iter().flat_map(|store| &store.notes) {
        events.emit(Event::Warning(note.clone()));
    }
    let hydra = hydra_facts(request);
    let run_dir = request.folder.display().to_string();
    let input = ReportInput {
        workload: request.workload(),
        summary,
        provenance,
        rank_files: files,
        warnings: &events.warnings.clone(),
        hydra: hydra.as_ref(),
        // mlpstorage, which calls by that name, writes its own.
        with_provenance: !voice.as_dlio,
    };
    write_all(output.path(), &input)?;
    events.emit(Event::RunMeasured {
        summary: Box::new(summary.clone()),
        folder: run_dir.clone(),
    });
    output.publish().map_err(report::ReportError::from)?;
    events.emit(Event::OutputsSaved { folder: run_dir });
    if !voice.json && !voice.as_dlio {
        print!("{}", final_report(summary, provenance));
        println!("Results: {}", request.folder.display());
    }
    Ok(())
}

/// What a run without measurements leaves: hydra's folder and the log.
pub(super) fn write_unmeasured(
    request: &JobRequest,
    output: OutputDir,
    events: &mut Events,
) -> Result<(), RankError> {
    if let Some(hydra) = hydra_facts(request) {
        report::hydra::write(output.path(), &hydra)?;
    }
    output.publish().map_err(report::ReportError::from)?;
    let folder = request.folder.display().to_string();
    events.emit(Event::OutputsSaved { folder });
    Ok(())
}

/// What hydra's folder says; None where hydra was told to write none.
fn hydra_facts<'a>(request: &JobRequest<'a>) -> Option<HydraFacts<'a>> {
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
        run_dir: request.folder.display().to_string(),
        output_subdir,
        cwd: cwd.display().to_string(),
        config_dir: config_dir.map(|d| d.display().to_string()),
    })
}

fn provenance_of(
    request: &JobRequest,
    cluster: &dyn Cluster,
    facts: &HostFacts,
    start: &str,
) -> Provenance {
    let bound = host::cpus::affinity_count();
    let cpus = host::cpus::node_cpus();
    let build = Build::here();
    let workload = request.workload();
    Provenance {
        version: env!("CARGO_PKG_VERSION").into(),
        git_commit: env!("DLIO_RS_COMMIT").into(),
        build_profile: env!("DLIO_RS_PROFILE").into(),
        mpi_library: cluster.library().into(),
        kernel: host::kernel(),
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
        command_line: request
            .typed
            .iter()
            .map(|word| config::redact_word(word))
            .collect(),
        config: serde_json::to_value(workload).unwrap_or_default(),
        rules: request.rules.clone(),
        mpi_environment: provenance::mpi_environment(),
        storage_library: build.storage_library(workload.storage_type_effective()),
        build,
        core_config: request.core_config.clone(),
    }
}

/// True for a storage system that holds bytes.
fn is_real(w: &Workload) -> bool {
    !matches!(
        w.storage_type_effective(),
        StorageType::Null | StorageType::Model
    )
}
