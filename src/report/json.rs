//! `report.json`: every figure of the run with its unit and the identifier of its formula.
//!
//! The formulas behind the identifiers are in `docs/metrics.md`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::config::{MetricFormula, Workload};
use crate::metrics::au::Breakdown;
use crate::metrics::histogram::StageSummary;
use crate::metrics::record::Counters;
use crate::metrics::reduce::{JobSummary, PhaseSummary};
use crate::stage::UNIT;
use crate::storage::Telemetry;
use crate::storage::telemetry::EndpointTelemetry;

use super::provenance::{Build, Library, machine_json};

/// Version of the layout of `report.json`; a change of meaning raises it.
pub const SCHEMA_VERSION: u32 = 1;

const GIB: f64 = 1073741824.0;

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
    /// CPUs that rank 0 may use.
    pub cpus_allowed: usize,
    /// How the launcher bound the ranks and what was done about it.
    pub affinity: String,
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
}

pub(super) fn metric(value: impl Serialize, unit: &str, formula: &str) -> Value {
    json!({"value": value, "unit": unit, "formula": formula})
}

fn breakdown(b: &Breakdown) -> Value {
    let part = |s: f64| json!({"seconds": s, "percent": b.percent(s)});
    json!({
        "unit": "s, mean per rank",
        "formula": "breakdown",
        "wall_seconds": b.wall_s,
        "wait": part(b.wait_s),
        "compute": part(b.compute_s),
        "barrier": part(b.barrier_s),
        "harness": part(b.harness_s),
    })
}

fn phase(p: &PhaseSummary, s: &JobSummary, formula: &str) -> Value {
    let au = &p.au_percent;
    let t = &p.throughput;
    let bytes = t.mean * s.record_size_bytes;
    let id = |what: &str| format!("{what}_{formula}");
    json!({
        "au_mean": metric(au.mean, "%", &id("au")),
        "au_stdev": metric(au.stdev, "%", "population_stdev"),
        "au_expected": metric(s.au_expected_percent, "%", "config:metric.au"),
        "au_meets_expectation": p.meets_expectation,
        "au_values": metric(&au.values, "%", &id("au")),
        "throughput_mean": metric(t.mean, "samples/s", &id("throughput")),
        "throughput_stdev": metric(t.stdev, "samples/s", "population_stdev"),
        "throughput_values": metric(&t.values, "samples/s", &id("throughput")),
        "throughput_mean_gib": metric(bytes / GIB, "GiB/s", "throughput_times_record_size"),
        "throughput_mean_gb": metric(bytes / 1e9, "GB/s", "throughput_times_record_size"),
    })
}

pub(super) fn stage(s: &StageSummary) -> Value {
    json!({
        "stage": s.stage.name(),
        "doc": s.stage.doc(),
        "unit": UNIT,
        "blame": s.stage.blame().word(),
        "formula": "hdr_percentile",
        "count": s.count,
        "mean": s.mean_ns,
        "p50": s.p50_ns,
        "p90": s.p90_ns,
        "p99": s.p99_ns,
        "p99.9": s.p999_ns,
        "max": s.max_ns,
    })
}

/// Requests and connections of an object store. Times are summed over requests that ran side by side.
fn object_store(t: &Telemetry, c: &Counters) -> Value {
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
    let n = &t.connections;
    let gets = t.endpoints.iter().map(|e| e.gets).sum::<u64>();
    json!({
        "endpoints": t.endpoints.iter().map(endpoint).collect::<Vec<_>>(),
        "get_requests_per_sample": metric(mean(gets as f64, c.samples), "requests", "gets_per_sample"),
        "connections": {
            "made": metric(n.made, "connections", "sum"),
            "reused": metric(n.reused, "requests", "sum"),
            "tls_handshakes": metric(n.tls_handshakes, "handshakes", "sum"),
            "dns_time": metric(n.dns_s, "s", "sum"),
            "connect_time": metric(n.connect_s, "s", "sum"),
            "tls_time": metric(n.tls_s, "s", "sum"),
        },
        "verifies_certificates": t.verifies_certificates,
        "limits": t.limits,
    })
}

/// The whole report as a JSON value.
pub fn report_json(
    workload: &Workload,
    s: &JobSummary,
    provenance: &Provenance,
    warnings: &[String],
) -> Value {
    let (train_formula, eval_formula) = match s.formula {
        MetricFormula::V3 => ("v3", "eval"),
        MetricFormula::V2 => ("v2", "eval_v2"),
    };
    let c = &s.counters;
    json!({
        "schema_version": SCHEMA_VERSION,
        "provenance": provenance,
        "workload": {
            "model": workload.model.name,
            "framework": workload.framework,
            "format": workload.dataset.format,
            "storage_type": workload.storage_type_effective(),
            "record_size": metric(s.record_size_bytes, "B", "record_size"),
        },
        "warnings": warnings,
        "rules": provenance.rules,
        "train": s.train.as_ref().map(|p| phase(p, s, train_formula)),
        "eval": s.eval.as_ref().map(|p| phase(p, s, eval_formula)),
        "checkpoint": s.checkpoint.as_ref().map(|c| super::checkpoint::report_value(c, &s.rank_table)),
        "au_storage": metric(s.au_storage_percent, "%", "au_storage"),
        "breakdown": breakdown(&s.breakdown),
        "stages": s.stages.iter().map(stage).collect::<Vec<_>>(),
        "counters": {
            "bytes_read": metric(c.bytes_read, "B", "sum"),
            "reads": metric(c.reads, "requests", "sum"),
            "samples": metric(c.samples, "samples", "sum"),
            "retries": metric(c.retries, "requests", "sum"),
            "samples_dropped_per_epoch": metric(c.samples_dropped_per_epoch, "samples", "plan"),
            "bytes_written": metric(c.bytes_written, "B", "sum"),
            "files_written": metric(c.files_written, "files", "sum"),
            "files_skipped": metric(c.files_skipped, "files", "sum"),
            "generate_time": metric(c.generate_ns as f64 / 1e9, "s", "max"),
            "cpu_time": metric(c.cpu_ns as f64 / 1e9, "s", "sum"),
            "spin_time": metric(c.spin_ns as f64 / 1e9, "s", "sum"),
            "peak_rss": metric(c.peak_rss_bytes, "B", "max"),
        },
        "object_store": s.object_store.as_ref().map(|t| object_store(t, c)),
        "cpu_seconds_per_gib": metric(s.cpu_seconds_per_gib(), "s/GiB", "cpu_per_gib"),
        "order_digest": format!("{:016x}", s.order_digest),
        "data_size_per_host": metric(s.data_size_per_host_gib, "GiB", "caching_estimate"),
        "epochs": s.epochs.iter().map(|e| json!({
            "epoch": e.epoch,
            "steps": e.steps,
            "train_time": metric(e.train_s, "s", "max"),
            "au": metric(e.au_percent, "%", &format!("au_{train_formula}")),
            "au_storage": metric(e.au_storage_percent, "%", "au_storage"),
            "throughput": metric(e.throughput, "samples/s", &format!("throughput_{train_formula}")),
            "bytes_read": metric(e.bytes_read, "B", "sum"),
            "bytes_from_device": metric(e.bytes_from_device, "B", "sum"),
            "served_by_storage": e.served_by_storage,
            "breakdown": breakdown(&e.breakdown),
        })).collect::<Vec<_>>(),
        "spreads": {"unit": "%, B, s", "formula": "min_median_max", "over_ranks": s.spreads},
        "hosts": s.hosts.iter().map(|h| json!({
            "name": h.facts.name,
            "ranks": h.ranks,
            "cpu_count": h.facts.cpu_count,
            "memory": metric(h.facts.memory_bytes, "B", "proc_meminfo"),
            "machine": machine_json(&h.facts.machine),
            "spreads": h.spreads,
        })).collect::<Vec<_>>(),
        "ranks": s.rank_table.iter().map(|r| json!({
            "rank": r.rank,
            "host": s.hosts.get(r.host).map_or("", |h| h.facts.name.as_str()),
            "au": metric(r.au_percent, "%", &format!("au_{train_formula}")),
            "throughput": metric(r.throughput, "samples/s", &format!("throughput_{train_formula}")),
            "breakdown": breakdown(&r.breakdown),
            "counters": r.counters,
            "order_digest": format!("{:016x}", r.order_digest),
        })).collect::<Vec<_>>(),
    })
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
