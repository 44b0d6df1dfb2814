//! `dlio-rs info`: what this binary and these hosts are.

use std::fmt::Write;

use super::{Stop, out};
use crate::cluster::Cluster;
use crate::config::ReadEngine;
use crate::format;
use crate::host;
use crate::host::facts::HostFacts;
use crate::report::provenance::Build;
use crate::storage::{SYSTEMS, ring};

/// Prints the facts of the job, one line per rank, and which MPI libraries others would use. A collective.
pub(super) fn print(cluster: &dyn Cluster, outlook: Option<&[String]>) -> Result<(), Stop> {
    let facts = HostFacts::read(&cluster.host_names()[cluster.node_of_rank()[cluster.rank()]]);
    let line = format!(
        "  rank {}: host {}, local rank {} of {}, {} of {} CPUs allowed, {:.2} GiB memory",
        cluster.rank(),
        cluster.host_names()[cluster.node_of_rank()[cluster.rank()]],
        cluster.local_rank(),
        cluster.local_size(),
        host::cpus::affinity_count(),
        host::cpus::node_cpus(),
        facts.memory_gib(),
    );
    let limits = host::cgroup::Limits::read();
    let quota = limits
        .cpu_quota
        .map_or("none".into(), |n| format!("{n:.2} CPUs"));
    let memory = (limits.memory_bytes).map_or("none".into(), |n| {
        format!("{:.2} GiB", n as f64 / (1u64 << 30) as f64)
    });
    let line = format!(
        "{line}; limits of the cgroup: CPU time {quota}, CPU set {}, memory {memory}",
        limits.cpus.as_deref().unwrap_or("none")
    );
    if let Some(lines) = cluster.gather(line.as_bytes()) {
        let formats = format::built();
        let mut text = String::new();
        let _ = writeln!(
            text,
            "dlio-rs {} (commit {}, {})",
            env!("CARGO_PKG_VERSION"),
            env!("DLIO_RS_COMMIT"),
            env!("DLIO_RS_PROFILE")
        );
        let _ = writeln!(text, "MPI library: {}", cluster.library());
        if let Some(source) = cluster.library_source() {
            let _ = writeln!(text, "  {source}");
        }
        for line in outlook.unwrap_or_default() {
            let _ = writeln!(text, "  {line}");
        }
        let build = Build::here();
        let libraries: Vec<String> = build
            .libraries
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        let _ = writeln!(text, "features: {}", build.features.join(", "));
        let _ = writeln!(text, "libraries: {}", libraries.join(", "));
        let _ = writeln!(text, "formats: {}", formats.join(", "));
        let systems: Vec<_> = SYSTEMS
            .iter()
            .filter(|system| system.unbuilt().is_none())
            .map(|system| system.word)
            .collect();
        let _ = writeln!(text, "storage: {}", systems.join(", "));
        let _ = writeln!(
            text,
            "reader threads: nice {} above the main thread",
            host::cpus::READER_NICE
        );
        let (engine, reason) = ReadEngine::Auto.chosen();
        let uring = ring::probe().map_or_else(|cause| cause, |()| "usable".into());
        let _ = writeln!(text, "io_uring: {uring}");
        let _ = writeln!(text, "reader.engine: {engine} ({reason})");
        let _ = writeln!(
            text,
            "ranks: {}, hosts: {}",
            cluster.size(),
            cluster.host_names().len()
        );
        for line in lines {
            let _ = writeln!(text, "{}", String::from_utf8_lossy(&line));
        }
        out(&text)?;
    }
    Ok(())
}
