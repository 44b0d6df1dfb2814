//! What `report.json` says of an object store: its requests, addresses and connections.

use serde::Serialize;
use serde_json::{Value, json};

use crate::metrics::record::Counters;
use crate::storage::Telemetry;
use crate::storage::telemetry::{AddressTelemetry, EndpointTelemetry};

fn metric(value: impl Serialize, unit: &str, formula: &str) -> Value {
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
