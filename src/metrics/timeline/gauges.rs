//! What grows while a job runs, sampled by a thread of its own: nothing is added to the work of readers and of the train loop.
//!
//! The thread wakes at the end of every bin, so that a difference belongs to one bin; where it wakes late, the difference is
//! spread evenly over the time since the last look. In virtual time there is no thread, and the train loop reports instead.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::bins::Bins;
use super::devices::Devices;
use super::heat::{Heat, ThreadStages};
use super::incidents::Incidents;
use super::latency::BUCKETS;
use super::series::Column;
use super::{BIN_NS, SERIES_BINS};
use crate::clock::{now_ns, process_cpu_ns};
use crate::host::cgroup::Throttling;
use crate::host::process::device_bytes;
use crate::host::witness::nic_bytes;
use crate::loader::{Delivery, Tally};
use crate::stage::Stage;
use crate::storage::Storage;

/// The columns that are sampled, in the order of their bins.
pub(super) const SAMPLED: [Column; 17] = [
    Column::Bytes,
    Column::Samples,
    Column::Requests,
    Column::Retries,
    Column::Cpu,
    Column::DeviceBytes,
    Column::NicBytes,
    Column::BytesWritten,
    Column::CheckpointBytesWritten,
    Column::CheckpointBytesRead,
    Column::RetriesConnect,
    Column::RetriesTimeout,
    Column::RetriesReset,
    Column::RetriesTruncated,
    Column::RetriesServerError,
    Column::RetriesSlowDown,
    Column::RetriesExpired,
];

fn place(column: Column) -> usize {
    (SAMPLED.iter().position(|c| *c == column)).expect("only sampled columns are named here")
}

/// The counters of one process over time.
pub struct Gauges {
    zero_ns: u64,
    is_virtual: bool,
    /// Bytes that dataset generation wrote so far.
    pub generated: AtomicU64,
    /// Virtual time that has passed.
    virtual_ns: AtomicU64,
    is_over: AtomicBool,
    state: Mutex<State>,
    bell: Condvar,
}

/// What was sampled.
#[derive(Clone)]
pub(super) struct Sampled {
    pub(super) bins: Bins<[u64; SAMPLED.len()]>,
    pub(super) heat: Heat,
    pub(super) devices: Devices,
    pub(super) incidents: Incidents,
    /// Columns that could not be counted here.
    pub(super) missing: [bool; SAMPLED.len()],
    /// Offset of the end.
    pub(super) length_ns: u64,
}

struct State {
    out: Sampled,
    tallies: Vec<Arc<dyn Tally>>,
    stores: Vec<Arc<dyn Storage>>,
    /// How often endpoints were taken out at the last look, by URL.
    downs: BTreeMap<String, u64>,
    /// Counts for how long the CPU limit held this host back, and its value at the last look.
    throttling: Option<(Throttling, u64)>,
    threads: Vec<Arc<ThreadStages>>,
    /// Values at the last look; None: not counted at this time.
    last: [Option<u64>; SAMPLED.len()],
    last_ns: u64,
    /// Durations of all threads at the last look, by stage and bucket.
    counts: Vec<u32>,
}

impl Gauges {
    /// Starts to count at the common start `zero_ns` of [`now_ns`]; in virtual time at 0.
    pub fn new(zero_ns: u64, is_virtual: bool) -> Self {
        let mut last = [None; SAMPLED.len()];
        for column in [
            Column::Bytes,
            Column::Samples,
            Column::Requests,
            Column::Retries,
            Column::BytesWritten,
        ] {
            last[place(column)] = Some(0);
        }
        let mut missing = [false; SAMPLED.len()];
        Column::retried().for_each(|(column, _)| missing[place(column)] = true);
        let out = Sampled {
            bins: Bins::new(BIN_NS, SERIES_BINS),
            heat: Heat::default(),
            devices: Devices::default(),
            incidents: Incidents::default(),
            missing,
            length_ns: 0,
        };
        Gauges {
            zero_ns,
            is_virtual,
            generated: AtomicU64::new(0),
            virtual_ns: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
            state: Mutex::new(State {
                out,
                tallies: Vec::new(),
                stores: Vec::new(),
                downs: BTreeMap::new(),
                throttling: None,
                threads: Vec::new(),
                last,
                last_ns: 0,
                counts: vec![0; Stage::ALL.len() * BUCKETS],
            }),
            bell: Condvar::new(),
        }
    }

    /// The common start, [`now_ns`]; 0 in virtual time.
    pub fn zero_ns(&self) -> u64 {
        self.zero_ns
    }

    /// Whether offsets are of virtual time.
    pub fn is_virtual(&self) -> bool {
        self.is_virtual
    }

    /// Offset of now.
    pub fn offset_ns(&self) -> u64 {
        match self.is_virtual {
            true => self.virtual_ns.load(Relaxed),
            false => now_ns().saturating_sub(self.zero_ns),
        }
    }

    /// Virtual time has come to this.
    pub fn virtual_now(&self, at_ns: u64) {
        self.virtual_ns.store(at_ns, Relaxed);
    }

    /// Samples from now on, until [`finish`](Self::finish) or until the guard is dropped.
    ///
    /// Errors: the thread cannot be had.
    pub fn start(self: &Arc<Self>) -> std::io::Result<Sampler> {
        let gauges = self.clone();
        let thread = match self.is_virtual {
            true => None,
            false => Some(
                std::thread::Builder::new()
                    .name("sampler".into())
                    .spawn(move || gauges.run())?,
            ),
        };
        Ok(Sampler {
            gauges: self.clone(),
            thread,
        })
    }

    fn run(&self) {
        crate::host::cpus::take_place();
        let mut state = self.state.lock();
        while !self.is_over.load(Relaxed) {
            let now = self.offset_ns();
            let width = state.out.bins.width();
            let left = width - now % width;
            self.bell.wait_for(&mut state, Duration::from_nanos(left));
            state.sample(self, self.offset_ns());
        }
    }

    /// Reads a loader's totals and its threads' durations from now on.
    pub fn watch(&self, tally: Option<Arc<dyn Tally>>, threads: &[Arc<ThreadStages>]) {
        let mut state = self.state.lock();
        state.tallies.extend(tally);
        state.threads.extend(threads.iter().cloned());
    }

    /// Counts the requests of a new store that are repeated, by class, where it has requests.
    pub fn watch_store(&self, store: &Arc<dyn Storage>) {
        if store.repeated().is_empty() {
            return;
        }
        let mut state = self.state.lock();
        for (column, _) in Column::retried() {
            state.last[place(column)].get_or_insert(0);
            state.out.missing[place(column)] = false;
        }
        state.stores.push(store.clone());
    }

    /// Sees from now on when the CPU limit holds this host back; for one rank of each host.
    pub fn watch_cpu_limit(&self) {
        let throttling = Throttling::find();
        let now = throttling.ns();
        self.state.lock().throttling = now.map(|now| (throttling, now));
    }

    /// Block devices of this host count from now on.
    pub fn watch_devices(&self, names: &[String]) {
        let mut state = self.state.lock();
        state.sample(self, self.offset_ns());
        state.out.devices = Devices::start(names);
    }

    /// A counter counts from `value` on, which it has now; None: nobody counts it here.
    pub fn begin(&self, column: Column, value: Option<u64>) {
        if self.is_virtual {
            return;
        }
        let mut state = self.state.lock();
        state.sample(self, self.offset_ns());
        state.last[place(column)] = value;
        state.out.missing[place(column)] |= value.is_none();
    }

    /// A counter has counted up to `value`.
    pub fn end(&self, column: Column, value: Option<u64>) {
        if self.is_virtual {
            return;
        }
        let mut state = self.state.lock();
        let at = place(column);
        let (last, from) = (state.last[at].take(), state.last_ns);
        state.sample(self, self.offset_ns());
        let until = state.last_ns;
        match last.zip(value) {
            Some((last, value)) if value >= last => {
                state.out.bins.spread(at, from, until, value - last);
            }
            // The sampler has looked since `value` was read.
            Some((last, value)) => state.out.bins.take_back(at, until, last - value),
            None => state.out.missing[at] = true,
        }
    }

    /// Adds what was done between two times of [`now_ns`]; in virtual time all of it now.
    pub fn add(&self, column: Column, from_ns: u64, to_ns: u64, value: u64) {
        let now = self.offset_ns();
        let (from, to) = match self.is_virtual {
            true => (now, now),
            false => (
                from_ns.saturating_sub(self.zero_ns),
                to_ns.saturating_sub(self.zero_ns),
            ),
        };
        let mut state = self.state.lock();
        state.out.bins.spread(place(column), from, to, value);
    }

    /// What a loader in virtual time has read.
    pub fn delivered(&self, deliveries: impl Iterator<Item = Delivery>) {
        let mut state = self.state.lock();
        let bins = &mut state.out.bins;
        for d in deliveries {
            for (column, value) in [
                (Column::Bytes, d.bytes),
                (Column::Samples, d.samples),
                (Column::Requests, 1),
            ] {
                bins.spread(place(column), d.from_ns, d.to_ns, value);
            }
        }
    }

    /// Ends the sampling with a last look. What is counted later is not in the recording.
    pub(super) fn finish(&self) -> Sampled {
        self.stop();
        let mut state = self.state.lock();
        let now = self.offset_ns();
        state.sample(self, now);
        if self.is_virtual {
            state.out.missing[place(Column::Cpu)] = true;
            state.out.missing[place(Column::DeviceBytes)] = true;
            state.out.missing[place(Column::NicBytes)] = true;
        }
        state.out.length_ns = now;
        state.tallies.clear();
        state.stores.clear();
        state.threads.clear();
        state.out.clone()
    }

    fn stop(&self) {
        self.is_over.store(true, Relaxed);
        // The thread looks at the flag and begins to wait under this lock.
        drop(self.state.lock());
        self.bell.notify_all();
    }
}

/// Ends the thread that samples when it is dropped.
pub struct Sampler {
    gauges: Arc<Gauges>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.gauges.stop();
        if let Some(thread) = self.thread.take() {
            // A sampler that panicked has said so.
            let _ = thread.join();
        }
    }
}

impl State {
    fn sample(&mut self, gauges: &Gauges, at_ns: u64) {
        let from = std::mem::replace(&mut self.last_ns, at_ns);
        if !gauges.is_virtual {
            let mut now = [None; SAMPLED.len()];
            for totals in self.tallies.iter().map(|tally| tally.totals()) {
                for (column, value) in [
                    (Column::Bytes, totals.bytes),
                    (Column::Samples, totals.samples),
                    (Column::Requests, totals.calls),
                    (Column::Retries, totals.retries),
                ] {
                    *now[place(column)].get_or_insert(0) += value;
                }
            }
            for (class, repeated) in self.stores.iter().flat_map(|store| store.repeated()) {
                let column = Column::retried().find(|(_, of)| *of == class);
                let (column, _) = column.expect("every class has a column");
                *now[place(column)].get_or_insert(0) += repeated;
            }
            for (column, read) in [
                (
                    Column::Cpu,
                    (|| Some(process_cpu_ns())) as fn() -> Option<u64>,
                ),
                (Column::DeviceBytes, device_bytes),
                (Column::NicBytes, nic_bytes),
            ] {
                if self.last[place(column)].is_some() {
                    now[place(column)] = read();
                }
            }
            now[place(Column::BytesWritten)] = Some(gauges.generated.load(Relaxed));
            for (at, (last, now)) in self.last.iter_mut().zip(now).enumerate() {
                let (Some(last), Some(now)) = (last, now) else {
                    continue;
                };
                self.out
                    .bins
                    .spread(at, from, at_ns, now.saturating_sub(*last));
                // A counter that goes back is not followed.
                *last = now.max(*last);
            }
            self.out.devices.sample(from, at_ns);
            self.sample_incidents(from, at_ns);
        }
        self.sample_threads(at_ns);
    }

    fn sample_incidents(&mut self, from: u64, at_ns: u64) {
        let mut downs = BTreeMap::new();
        for (url, times) in self.stores.iter().flat_map(|store| store.taken_out()) {
            *downs.entry(url).or_insert(0) += times;
        }
        for (url, times) in downs {
            let last = self.downs.entry(url.clone()).or_insert(0);
            let new = times.saturating_sub(std::mem::replace(last, times));
            if new > 0 {
                self.out.incidents.add(Some(&url), from, at_ns, new);
            }
        }
        if let Some((throttling, last)) = &mut self.throttling
            && let Some(now) = throttling.ns()
        {
            let held = now.saturating_sub(std::mem::replace(last, now));
            if held > 0 {
                self.out.incidents.add(None, from, at_ns, held);
            }
        }
    }

    fn sample_threads(&mut self, at_ns: u64) {
        if self.threads.is_empty() {
            return;
        }
        let mut sums = vec![0; self.counts.len()];
        for thread in &self.threads {
            thread.add_counts(&mut sums);
        }
        for (at, (last, now)) in self.counts.iter().zip(&sums).enumerate() {
            let delta = now.wrapping_sub(*last);
            if delta > 0 {
                let stage = Stage::ALL[at / BUCKETS];
                // Ends of durations lie before the look.
                let heat = &mut self.out.heat;
                heat.add(stage, at % BUCKETS, at_ns.saturating_sub(1), delta);
            }
        }
        self.counts = sums;
    }
}
