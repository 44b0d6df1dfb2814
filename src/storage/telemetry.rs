//! What the report says about object stores, summed over ranks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One endpoint. Times are summed over requests that ran side by side.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EndpointTelemetry {
    pub url: String,
    /// Attempts of GET.
    pub gets: u64,
    /// Attempts of PUT (objects and parts).
    pub puts: u64,
    /// Attempts of everything else.
    pub control_requests: u64,
    /// Bytes of objects received.
    pub bytes_read: u64,
    /// Bytes of objects that were sent and acknowledged.
    pub bytes_written: u64,
    /// Attempts that failed, retried or not.
    pub failures: u64,
    /// Retries by class of failure.
    pub retries: BTreeMap<String, u64>,
    /// Times it was taken out.
    pub times_down: u64,
    /// Seconds from GET to the head of its answer.
    pub first_byte_s: f64,
    /// Seconds of receiving bodies, what the reader did with them in between not counted.
    pub body_s: f64,
}

/// One address of a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct AddressTelemetry {
    /// Name and port.
    pub host: String,
    /// Address and port.
    pub address: String,
    /// Connections made.
    pub connections: u64,
    /// Seconds of their TCP handshakes.
    pub connect_s: f64,
    /// Connections and requests that failed.
    pub failures: u64,
    /// Times it was left out.
    pub times_down: u64,
}

/// What connections cost.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ConnectionTelemetry {
    pub made: u64,
    /// Requests over a connection that was there.
    pub reused: u64,
    pub tls_handshakes: u64,
    /// Seconds of looking names up.
    pub dns_s: f64,
    /// Seconds of TCP handshakes.
    pub connect_s: f64,
    /// Seconds of TLS handshakes.
    pub tls_s: f64,
}

/// Generation and reading together.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Telemetry {
    /// In the order of the configuration.
    pub endpoints: Vec<EndpointTelemetry>,
    /// By host and address.
    #[serde(default)]
    pub addresses: Vec<AddressTelemetry>,
    /// All endpoints together; None where an SDK makes them, and does not say.
    #[serde(default)]
    pub connections: Option<ConnectionTelemetry>,
    /// What is odd about the server, or was in this run, and may mislead.
    #[serde(default)]
    pub notes: Vec<String>,
    /// False: any certificate was accepted.
    pub verifies_certificates: bool,
    /// Limits in force.
    pub limits: LimitsTelemetry,
}

/// The limits in force, as the YAML names them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LimitsTelemetry {
    /// Seconds.
    pub connect_timeout: f64,
    /// Seconds.
    pub read_timeout: f64,
    /// Seconds; 0: none.
    pub request_timeout: f64,
    /// Attempts of one request.
    pub s3_max_attempts: u64,
    /// Seconds before the first retry.
    pub retry_delay: f64,
    /// Retries per rank.
    pub retry_budget: u64,
    /// Bytes of one GET; 0: the whole extent.
    pub range_size: u64,
    /// GETs of one extent in flight.
    pub ranges_in_flight: u64,
    /// Bytes of an upload's first parts.
    pub part_size: u64,
    /// Parts of a rank's uploads in flight.
    pub parts_in_flight: u64,
    /// Checksum sent with uploads.
    pub checksum: String,
}

impl Telemetry {
    /// Two stores together, where there are any.
    pub fn both(one: Option<Telemetry>, other: Option<Telemetry>) -> Option<Telemetry> {
        match (one, other) {
            (Some(mut one), Some(other)) => {
                one.add(&other);
                Some(one)
            }
            (one, other) => one.or(other),
        }
    }

    /// Adds another rank's, or another store's of this rank.
    pub fn add(&mut self, other: &Telemetry) {
        for theirs in &other.endpoints {
            let Some(mine) = self.endpoints.iter_mut().find(|e| e.url == theirs.url) else {
                self.endpoints.push(theirs.clone());
                continue;
            };
            mine.gets += theirs.gets;
            mine.puts += theirs.puts;
            mine.control_requests += theirs.control_requests;
            mine.bytes_read += theirs.bytes_read;
            mine.bytes_written += theirs.bytes_written;
            mine.failures += theirs.failures;
            for (class, n) in &theirs.retries {
                *mine.retries.entry(class.clone()).or_default() += n;
            }
            mine.times_down += theirs.times_down;
            mine.first_byte_s += theirs.first_byte_s;
            mine.body_s += theirs.body_s;
        }
        for theirs in &other.addresses {
            let same =
                |a: &&mut AddressTelemetry| a.host == theirs.host && a.address == theirs.address;
            let Some(mine) = self.addresses.iter_mut().find(same) else {
                self.addresses.push(theirs.clone());
                continue;
            };
            mine.connections += theirs.connections;
            mine.connect_s += theirs.connect_s;
            mine.failures += theirs.failures;
            mine.times_down += theirs.times_down;
        }
        for note in &other.notes {
            if !self.notes.contains(note) {
                self.notes.push(note.clone());
            }
        }
        let (Some(c), Some(o)) = (&mut self.connections, &other.connections) else {
            self.connections = self.connections.take().or(other.connections.clone());
            return;
        };
        c.made += o.made;
        c.reused += o.reused;
        c.tls_handshakes += o.tls_handshakes;
        c.dns_s += o.dns_s;
        c.connect_s += o.connect_s;
        c.tls_s += o.tls_s;
    }
}
