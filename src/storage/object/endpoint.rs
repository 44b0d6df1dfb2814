//! The endpoints of a store: which one a request goes to, and what each of them did.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::failure::{Class, Failure, RETRIED};
use super::url::Url;
use crate::clock::now_ns;
use crate::storage::telemetry::EndpointTelemetry;

/// The first pause of an endpoint that is down; doubled at each probe that fails.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause.
const LAST_PAUSE: Duration = Duration::from_secs(30);
/// Broken or silent connections in a row that take an endpoint out. A refused connection does so at once.
const STRIKES: u64 = 3;

/// What a request is for; the report counts by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Reading an object or a part of it.
    Get,
    /// Writing an object or a part of it.
    Put,
    /// Everything else: sizes, lists, deletions, the frame of an upload.
    Control,
}

pub struct Endpoint {
    /// Where it is.
    pub url: Url,
    in_flight: AtomicU64,
    strikes: AtomicU64,
    /// Not to be used before this moment of [`now_ns`], while others are up.
    down_until_ns: AtomicU64,
    requests: [AtomicU64; 3],
    retries: [AtomicU64; RETRIED],
    failures: AtomicU64,
    times_down: AtomicU64,
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
    first_byte_ns: AtomicU64,
    body_ns: AtomicU64,
}

impl Endpoint {
    fn new(url: Url) -> Self {
        Endpoint {
            url,
            in_flight: AtomicU64::new(0),
            strikes: AtomicU64::new(0),
            down_until_ns: AtomicU64::new(0),
            requests: Default::default(),
            retries: Default::default(),
            failures: AtomicU64::new(0),
            times_down: AtomicU64::new(0),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
            first_byte_ns: AtomicU64::new(0),
            body_ns: AtomicU64::new(0),
        }
    }

    /// Counts an answer to a GET: its bytes, the wait for its first byte, the time of its body.
    pub fn count_read(&self, bytes: u64, body_ns: u64) {
        self.bytes_read.fetch_add(bytes, Relaxed);
        self.body_ns.fetch_add(body_ns, Relaxed);
    }

    /// Counts the wait for an answer to a GET.
    pub fn count_first_byte(&self, ns: u64) {
        self.first_byte_ns.fetch_add(ns, Relaxed);
    }

    /// Counts bytes that the server has acknowledged.
    pub fn count_written(&self, bytes: u64) {
        self.bytes_written.fetch_add(bytes, Relaxed);
    }

    /// An attempt succeeded: the endpoint is up.
    pub fn succeeded(&self) {
        if self.strikes.load(Relaxed) != 0 {
            self.strikes.store(0, Relaxed);
            self.down_until_ns.store(0, Relaxed);
        }
    }

    /// An attempt failed. Takes the endpoint out when it seems to be down.
    pub fn failed(&self, failure: &Failure) {
        self.failures.fetch_add(1, Relaxed);
        if failure.has_other_address {
            // Only one of its addresses is.
            return;
        }
        let weight = match failure.class {
            Class::Connect => STRIKES,
            Class::Timeout | Class::Reset | Class::Truncated => 1,
            // It answered.
            Class::ServerError | Class::SlowDown | Class::Expired | Class::Permanent => return,
        };
        let strikes = self.strikes.fetch_add(weight, Relaxed) + weight;
        if strikes >= STRIKES {
            let doublings = ((strikes / STRIKES) - 1).min(16) as u32;
            let pause = (FIRST_PAUSE * 2_u32.pow(doublings)).min(LAST_PAUSE);
            let until = now_ns() + pause.as_nanos() as u64;
            if self.down_until_ns.swap(until, Relaxed) < now_ns() {
                self.times_down.fetch_add(1, Relaxed);
            }
        }
    }

    /// A connection that was idle turned out to be closed; the request is made again.
    pub fn stale(&self) {
        self.failures.fetch_add(1, Relaxed);
        self.retried(Class::Reset);
    }

    /// A further request belongs to an operation that was counted.
    pub fn count_request(&self, operation: Operation) {
        self.requests[operation as usize].fetch_add(1, Relaxed);
    }

    /// An attempt that failed for `class` is made again.
    pub fn retried(&self, class: Class) {
        if let Some(index) = super::failure::RETRIED_CLASSES
            .iter()
            .position(|c| *c == class)
        {
            self.retries[index].fetch_add(1, Relaxed);
        }
    }

    fn is_up(&self) -> bool {
        now_ns() >= self.down_until_ns.load(Relaxed)
    }

    fn telemetry(&self) -> EndpointTelemetry {
        let get = |a: &AtomicU64| a.load(Relaxed);
        EndpointTelemetry {
            url: self.url.to_string(),
            gets: get(&self.requests[0]),
            puts: get(&self.requests[1]),
            control_requests: get(&self.requests[2]),
            bytes_read: get(&self.bytes_read),
            bytes_written: get(&self.bytes_written),
            failures: get(&self.failures),
            retries: super::failure::RETRIED_CLASSES
                .iter()
                .zip(&self.retries)
                .map(|(class, n)| (class.word().to_string(), get(n)))
                .collect(),
            times_down: get(&self.times_down),
            first_byte_s: get(&self.first_byte_ns) as f64 / 1e9,
            body_s: get(&self.body_ns) as f64 / 1e9,
        }
    }
}

/// A request on its way to an endpoint.
pub struct Aim<'a> {
    /// Where it goes.
    pub endpoint: &'a Endpoint,
}

impl Drop for Aim<'_> {
    fn drop(&mut self) {
        self.endpoint.in_flight.fetch_sub(1, Relaxed);
    }
}

/// All endpoints of a store.
pub struct Endpoints {
    all: Vec<Endpoint>,
    turn: AtomicU64,
}

impl Endpoints {
    /// At least one URL. `first`: where the turn begins, so that ranks do not begin at the same one.
    pub fn new(urls: Vec<Url>, first: u64) -> Self {
        Endpoints {
            all: urls.into_iter().map(Endpoint::new).collect(),
            turn: AtomicU64::new(first),
        }
    }

    /// All of them.
    pub fn all(&self) -> &[Endpoint] {
        &self.all
    }

    /// The endpoint that is up and has the fewest requests in flight; in turn among equals.
    ///
    /// When none is up, the one whose pause ends first.
    pub fn choose(&self, operation: Operation) -> Aim<'_> {
        let start = self.turn.fetch_add(1, Relaxed) as usize;
        let turn = (0..self.all.len()).map(|step| &self.all[(start + step) % self.all.len()]);
        let best = turn
            .clone()
            .filter(|e| e.is_up())
            .min_by_key(|e| e.in_flight.load(Relaxed))
            .or_else(|| turn.min_by_key(|e| e.down_until_ns.load(Relaxed)))
            .expect("a store has an endpoint");
        if self.all.len() > 1 && best.strikes.load(Relaxed) >= STRIKES {
            // A probe: the others stay away until it is over.
            let until = now_ns() + FIRST_PAUSE.as_nanos() as u64;
            best.down_until_ns.store(until, Relaxed);
        }
        best.in_flight.fetch_add(1, Relaxed);
        best.requests[operation as usize].fetch_add(1, Relaxed);
        Aim { endpoint: best }
    }

    /// True when a request need not go to `endpoint`.
    pub fn has_other_up(&self, endpoint: &Endpoint) -> bool {
        self.all
            .iter()
            .any(|e| !std::ptr::eq(e, endpoint) && e.is_up())
    }

    /// What each did.
    pub fn telemetry(&self) -> Vec<EndpointTelemetry> {
        self.all.iter().map(Endpoint::telemetry).collect()
    }

    /// Requests repeated so far, by class of failure.
    pub fn repeated(&self) -> Vec<(&'static str, u64)> {
        let sum = |i: usize| self.all.iter().map(|e| e.retries[i].load(Relaxed)).sum();
        (super::failure::RETRIED_CLASSES.iter().enumerate())
            .map(|(i, class)| (class.word(), sum(i)))
            .collect()
    }

    /// URLs of those that were taken out so far, and how often.
    pub fn taken_out(&self) -> Vec<(String, u64)> {
        let times = |e: &Endpoint| (e.url.to_string(), e.times_down.load(Relaxed));
        let was_out = |e: &&Endpoint| e.times_down.load(Relaxed) > 0;
        self.all.iter().filter(was_out).map(times).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn three() -> Endpoints {
        let urls = ["http://a", "http://b", "http://c"];
        Endpoints::new(
            urls.iter().map(|u| Url::parse(u, false).unwrap()).collect(),
            0,
        )
    }

    fn requests(endpoints: &Endpoints) -> Vec<u64> {
        endpoints.telemetry().iter().map(|e| e.gets).collect()
    }

    #[test]
    fn every_class_that_is_counted_has_a_column_over_time() {
        use crate::metrics::timeline::Column;
        let columns: BTreeSet<_> = Column::retried().map(|(_, class)| class).collect();
        let counted: BTreeSet<_> = three().repeated().iter().map(|(class, _)| *class).collect();
        assert_eq!(columns, counted);
    }

    #[test]
    fn requests_are_spread_equally() {
        let endpoints = three();
        for _ in 0..300 {
            endpoints.choose(Operation::Get);
        }
        assert_eq!(requests(&endpoints), [100, 100, 100]);
    }

    #[test]
    fn the_least_busy_is_taken() {
        let endpoints = three();
        let held: Vec<_> = (0..2).map(|_| endpoints.choose(Operation::Get)).collect();
        let free = endpoints.choose(Operation::Get);
        assert!(
            held.iter()
                .all(|h| !std::ptr::eq(h.endpoint, free.endpoint))
        );
        drop(free);
        for _ in 0..7 {
            endpoints.choose(Operation::Get);
        }
        assert_eq!(requests(&endpoints), [1, 1, 8]);
    }

    #[test]
    fn errors_that_are_answers_take_nothing_out() {
        let endpoints = three();
        for _ in 0..10 {
            endpoints.all()[0].failed(&Failure::new(Class::SlowDown, ""));
            endpoints.all()[0].failed(&Failure::new(Class::Permanent, ""));
        }
        assert!(endpoints.all()[0].is_up());
        for _ in 0..3 {
            endpoints.all()[0].failed(&Failure::new(Class::Reset, ""));
        }
        assert!(!endpoints.all()[0].is_up());
    }
}
