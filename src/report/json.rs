//! `report.json`: every figure of the run with its unit and the identifier of its formula.
//!
//! The formulas behind the identifiers are in `docs/metrics.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::Workload;
use crate::metrics::record::Counters;
use crate::metrics::reduce::JobSummary;
use crate::storage::Telemetry;
use crate::storage::telemetry::{AddressTelemetry, EndpointTelemetry};

use super::figures;
use super::provenance::{Build, Library};
use super::shown::Shown;

/// Version of the layout of `report.json`; a change of meaning raises it.
pub const SCHEMA_VERSION: u32 = 2;

/// Where a folder of the job lies on one host.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostFolder {
    /// Host name.
    pub host: String,
    /// What the job uses it for: `data` or `checkpoint`.
    pub folder: String,
    /// The folder.
    pub path: String,
    /// What is mounted there: a device or a server.
    pub source: String,
    /// Type of the file system.
    pub fs_type: String,
    /// All hosts see the same folder.
    pub shared: bool,
}

/// Where the figures come from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Version of dlio-rs.
    pub version: String,
    /// Commit of the source tree, where known.
    pub git_commit: String,
    /// `release` or `debug`.
    pub build_profile: String,
    /// The MPI library, as it names itself.
    pub mpi_library: String,
    /// `uname -srm` of rank 0's host.
    pub kernel: String,
    /// Host names in order of nodes.
    pub hosts: Vec<String>,
    /// Ranks.
    pub ranks: usize,
    /// How ranks waited for each other after each step: `shared` or `mpi`.
    pub barrier: String,
    /// Who read: `threads` or `uring`.
    pub reader_engine: String,
    /// Why this engine.
    pub reader_engine_reason: String,
    /// CPUs that rank 0 may use.
    pub cpus_allowed: usize,
    /// How the launcher bound the ranks and what was done about it.
    pub affinity: String,
    /// CPUs on which rank 0's reader and writer threads run, as a list such as `0-3,8`.
    pub thread_cpus: String,
    /// Where the folders of the job lie, by host.
    pub folders: Vec<HostFolder>,
    /// Memory of rank 0's host, bytes.
    pub memory_bytes: u64,
    /// Wall-clock label.
    pub start: String,
    /// Wall-clock label.
    pub end: String,
    /// Command line, secrets removed.
    pub command_line: Vec<String>,
    /// Effective configuration, secrets removed.
    pub config: Value,
    /// What `--rules` found: `not_closed`, `edition`, `findings`; null without it. Stands beside the provenance in the
    /// report.
    #[serde(skip)]
    pub rules: Value,
    /// What the binary was built of.
    pub build: Build,
    /// Settings of the MPI library in the environment of rank 0.
    pub mpi_environment: BTreeMap<String, String>,
    /// What moves the dataset's bytes.
    pub storage_library: Library,
    /// The comparability hash of the workload: algorithm, allowlist, hash, keys; or the word `unknown`.
    pub core_config: Value,
    /// Keys that have another value than the workload's file gave them, with what set them.
    pub changed: BTreeMap<String, String>,
    /// Which run, as in its events.
    pub run: String,
}

pub(super) fn metric(value: impl Serialize, unit: &str, formula: &str) -> Value {
    json!({"value": value, "unit": unit, "formula": formula})
}

/// Requests and connections of an object store. Times are summed over requests that ran side by side.
pub(super) fn object_store(t: &Telemetry, c: &Counters) -> Value {
    let mean = |sum: f64, n: u64| (n > 0).then(|| sum / n as f64);
    let endpoint = |e: &EndpointTelemetry| {
        json!({
            "url": e.url,
            "get_requests": metric(e.gets, "requests", "sum"),
            "put_requests": metric(e.puts, "requests", "sum"),
            "control_requests": metric(e.control_requests, "requests", "sum"),
            "bytes_read": metric(e.bytes_read, "B", "sum"),
            "bytes_written": metric(e.bytes_written, "B", "sum"),
            "failures": metric(e.failures, "requests", "sum"),
            "retries": e.retries.iter().map(|(class, n)| {
                (class.clone(), metric(n, "requests", "sum"))
            }).collect::<serde_json::Map<_, _>>(),
            "times_down": metric(e.times_down, "times", "sum"),
            "first_byte_time_mean": metric(mean(e.first_byte_s, e.gets), "s", "per_get"),
            "body_time_mean": metric(mean(e.body_s, e.gets), "s", "per_get"),
        })
    };
    let address = |a: &AddressTelemetry| {
        json!({
            "host": a.host,
            "address": a.address,
            "connections": metric(a.connections, "connections", "sum"),
            "connect_time": metric(a.connect_s, "s", "sum"),
            "failures": metric(a.failures, "requests", "sum"),
            "times_down": metric(a.times_down, "times", "sum"),
        })
    };
    let connections = t.connections.as_ref().map(|n| {
        json!({
            "made": metric(n.made, "connections", "sum"),
            "reused": metric(n.reused, "requests", "sum"),
            "tls_handshakes": metric(n.tls_handshakes, "handshakes", "sum"),
            "dns_time": metric(n.dns_s, "s", "sum"),
            "connect_time": metric(n.connect_s, "s", "sum"),
            "tls_time": metric(n.tls_s, "s", "sum"),
        })
    });
    let gets = t.endpoints.iter().map(|e| e.gets).sum::<u64>();
    let mut all = json!({
        "endpoints": t.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "addresses": t.addresses.iter().map(address).collect::<Vec<_>>(),
        "get_requests_per_sample": metric(mean(gets as f64, c.samples), "requests", "gets_per_sample"),
        "connections": connections,
        "verifies_certificates": t.verifies_certificates,
        "limits": t.limits,
    });
    // What an SDK does not count is absent.
    if let Some(all) = all.as_object_mut() {
        all.retain(|_, value| !value.is_null());
    }
    all
}

/// The whole report as a JSON value; what people read of it stands under `shown`.
pub fn report_json(
    workload: &Workload,
    s: &JobSummary,
    provenance: &Provenance,
    warnings: &[String],
) -> Value {
    let report = figures::report(Some(workload), s, provenance, warnings);
    let mut file = report.to_json();
    file["shown"] = json!(Shown::of(&report));
    file
}

#[cfg(test)]
mod tests {
    use super::super::dlio::tests::{job, workload};
    use super::*;

    /// Every object with a `value` has a unit and a formula that docs/metrics.md explains.
    fn check(v: &Value, docs: &str, seen: &mut usize) {
        match v {
            Value::Object(o) => {
                if o.contains_key("value") {
                    assert!(o["unit"].is_string(), "{v}");
                    let id = o["formula"].as_str().unwrap();
                    assert!(
                        docs.contains(&format!("`{id}`")),
                        "docs/metrics.md lacks {id}"
                    );
                    *seen += 1;
                }
                o.values().for_each(|x| check(x, docs, seen));
            }
            Value::Array(a) => a.iter().for_each(|x| check(x, docs, seen)),
            _ => {}
        }
    }

    #[test]
    fn every_metric_has_unit_and_documented_formula() {
        let mut job = job();
        job.checkpoint = Some(super::super::checkpoint::tests::summary());
        let v = report_json(&workload(), &job, &Provenance::default(), &["w".into()]);
        let mut seen = 0;
        check(&v, include_str!("../../docs/metrics.md"), &mut seen);
        assert!(seen > 40, "{seen}");
        assert_eq!(v["train"]["au_mean"]["value"], 40.0);
        // 16 samples of 1 MiB per second.
        assert_eq!(v["train"]["throughput_mean_gib"]["value"], 16.0 / 1024.0);
        assert_eq!(v["train"]["throughput_mean_gb"]["value"], 0.016777216);
        assert_eq!(v["order_digest"], "0000000000000000");
        // Two steps of (20 wait, 100 compute) in the window of each epoch.
        assert_eq!(v["au_storage"]["value"], 100.0 * 400.0 / 480.0);
        assert_eq!(v["stages"][0]["max"], 20_000_000);
        assert!(v["rules"].is_null());
        let checked = Provenance {
            rules: json!({"findings": [{"rule": "R3"}]}),
            ..Provenance::default()
        };
        let v = report_json(&workload(), &job, &checked, &[]);
        assert_eq!(v["rules"]["findings"][0]["rule"], "R3");
        assert_eq!(v["epochs"][0]["served_by_storage"], "UNKNOWN");
    }
}
