//! `dlio-rs info`: what this binary and these hosts are.

use std::collections::BTreeMap;

use clap::Args;
use serde::{Deserialize, Serialize};

use super::Result;
use super::output::{self, Format};
use crate::cluster::Cluster;
use crate::config::ReadEngine;
use crate::format;
use crate::host;
use crate::host::facts::HostFacts;
use crate::report::provenance::Build;
use crate::storage::{SYSTEMS, ring};
use crate::util::units::gib;

/// How.
#[derive(Debug, Clone, Args)]
pub struct InfoArgs {
    /// How to print
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// What is printed.
#[derive(Serialize)]
struct Info {
    schema: &'static str,
    version: &'static str,
    commit: &'static str,
    profile: &'static str,
    mpi_library: String,
    /// Where it is from, and what a job would open where none was started.
    mpi_notes: Vec<String>,
    features: Vec<String>,
    libraries: BTreeMap<String, String>,
    formats: Vec<&'static str>,
    storage: Vec<&'static str>,
    /// How far readers give way to the main thread.
    reader_nice: i32,
    /// `usable`, or why not.
    io_uring: String,
    reader_engine: String,
    reader_engine_reason: String,
    hosts: usize,
    ranks: Vec<Rank>,
}

/// One rank's place.
#[derive(Serialize, Deserialize)]
struct Rank {
    rank: usize,
    host: String,
    local_rank: usize,
    local_ranks: usize,
    cpus_allowed: usize,
    cpus_of_host: usize,
    /// Of the host.
    memory_gib: f64,
    /// Limits of the control group; null: none. CPUs' worth of time, a list, GiB.
    cgroup_cpus: Option<f64>,
    cgroup_cpu_set: Option<String>,
    cgroup_memory_gib: Option<f64>,
}

/// Prints the facts of the job, one line per rank, and which MPI libraries others would use. A collective.
pub(super) fn print(
    cluster: &dyn Cluster,
    outlook: Option<&[String]>,
    args: &InfoArgs,
) -> Result<()> {
    let own = serde_json::to_vec(&Rank::of(cluster)).unwrap_or_default();
    let Some(ranks) = cluster.gather(&own) else {
        return Ok(());
    };
    let build = Build::here();
    let (engine, reason) = ReadEngine::Auto.chosen();
    let systems = SYSTEMS.iter().filter(|system| system.unbuilt().is_none());
    let notes = cluster.library_source().into_iter();
    let info = Info {
        schema: "dlio-rs/info/1",
        version: env!("CARGO_PKG_VERSION"),
        commit: env!("DLIO_RS_COMMIT"),
        profile: env!("DLIO_RS_PROFILE"),
        mpi_library: cluster.library().to_string(),
        mpi_notes: notes
            .map(|source| source.to_string())
            .chain(outlook.unwrap_or_default().iter().cloned())
            .collect(),
        features: build.features,
        libraries: build.libraries,
        formats: format::built(),
        storage: systems.map(|system| system.word).collect(),
        reader_nice: host::cpus::READER_NICE,
        io_uring: ring::probe().map_or_else(|cause| cause, |()| "usable".into()),
        reader_engine: engine.to_string(),
        reader_engine_reason: reason.to_string(),
        hosts: cluster.host_names().len(),
        ranks: ranks
            .iter()
            .filter_map(|rank| serde_json::from_slice(rank).ok())
            .collect(),
    };
    output::print(args.format, &info, text)
}

impl Rank {
    fn of(cluster: &dyn Cluster) -> Self {
        let host = &cluster.host_names()[cluster.node_of_rank()[cluster.rank()]];
        let limits = host::cgroup::Limits::read();
        Rank {
            rank: cluster.rank(),
            host: host.clone(),
            local_rank: cluster.local_rank(),
            local_ranks: cluster.local_size(),
            cpus_allowed: host::cpus::affinity_count(),
            cpus_of_host: host::cpus::node_cpus(),
            memory_gib: HostFacts::read(host).memory_gib(),
            cgroup_cpus: limits.cpu_quota,
            cgroup_cpu_set: limits.cpus,
            cgroup_memory_gib: limits.memory_bytes.map(|n| gib(n as f64)),
        }
    }

    fn text(&self) -> String {
        let limit = |n: Option<f64>, unit: &str| {
            n.map_or_else(|| "none".to_string(), |n| format!("{n:.2} {unit}"))
        };
        format!(
            "  rank {}: host {}, local rank {} of {}, {} of {} CPUs allowed, {:.2} GiB memory; limits of the cgroup: CPU time {}, CPU set {}, memory {}\n",
            self.rank,
            self.host,
            self.local_rank,
            self.local_ranks,
            self.cpus_allowed,
            self.cpus_of_host,
            self.memory_gib,
            limit(self.cgroup_cpus, "CPUs"),
            self.cgroup_cpu_set.as_deref().unwrap_or("none"),
            limit(self.cgroup_memory_gib, "GiB"),
        )
    }
}

fn text(info: &Info) -> String {
    let notes: String = (info.mpi_notes.iter())
        .map(|note| format!("  {note}\n"))
        .collect();
    let libraries: Vec<String> = (info.libraries.iter())
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    let ranks: String = info.ranks.iter().map(Rank::text).collect();
    format!(
        "dlio-rs {} (commit {}, {})\nMPI library: {}\n{notes}features: {}\nlibraries: {}\nformats: {}\nstorage: {}\n\
         reader threads: nice {} above the main thread\nio_uring: {}\nreader.engine: {} ({})\nranks: {}, hosts: {}\n{ranks}",
        info.version,
        info.commit,
        info.profile,
        info.mpi_library,
        info.features.join(", "),
        libraries.join(", "),
        info.formats.join(", "),
        info.storage.join(", "),
        info.reader_nice,
        info.io_uring,
        info.reader_engine,
        info.reader_engine_reason,
        info.ranks.len(),
        info.hosts,
    )
}
