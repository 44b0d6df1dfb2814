//! `dlio-rs info`: what this binary and these hosts are.

use super::Stop;
use crate::cluster::Cluster;
use crate::format;
use crate::host;
use crate::host::facts::HostFacts;
use crate::report::provenance::Build;

/// Prints the facts of the job, one line per rank. A collective.
pub(super) fn print(cluster: &dyn Cluster) -> Result<(), Stop> {
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
    if let Some(lines) = cluster.gather(line.as_bytes()) {
        let formats = format::built();
        println!(
            "dlio-rs {} (commit {}, {})",
            env!("CARGO_PKG_VERSION"),
            env!("DLIO_RS_COMMIT"),
            env!("DLIO_RS_PROFILE")
        );
        println!("MPI library: {}", cluster.library());
        let build = Build::here();
        let libraries: Vec<String> = build
            .libraries
            .iter()
            .map(|(name, version)| format!("{name} {version}"))
            .collect();
        println!("features: {}", build.features.join(", "));
        println!("libraries: {}", libraries.join(", "));
        println!("formats: {}", formats.join(", "));
        println!("storage: local_fs, direct_fs, mmap, null, model");
        println!(
            "ranks: {}, hosts: {}",
            cluster.size(),
            cluster.host_names().len()
        );
        for line in lines {
            println!("{}", String::from_utf8_lossy(&line));
        }
    }
    Ok(())
}
