//! Counts of durations by bucket and time, and what reader threads leave of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use parking_lot::Mutex;

use super::bins::{Bins, Row};
use super::latency::{BUCKETS, bucket_of};
use crate::clock::now_ns;
use crate::metrics::histogram::StageHistograms;
use crate::metrics::trace::ThreadCalls;
use crate::stage::Stage;

/// Bins of time of a heat map.
pub(super) const HEAT_BINS: usize = 256;
/// Width of such a bin before anything is folded: as many bins cover as much time as those of a series.
pub(super) const HEAT_WIDTH_NS: u64 = 800_000_000;

/// Counts of one bin of time. They stop at the largest number.
#[derive(Debug, Clone)]
pub(super) struct Counts(pub(super) [u32; BUCKETS]);

impl Default for Counts {
    fn default() -> Self {
        Counts([0; BUCKETS])
    }
}

impl Row for Counts {
    fn absorb(&mut self, next: &Self) {
        for (sum, count) in self.0.iter_mut().zip(&next.0) {
            *sum = sum.saturating_add(*count);
        }
    }
}

/// One heat map per stage that occurred; positions are nanoseconds since the common start.
#[derive(Debug, Clone, Default)]
pub(super) struct Heat {
    stages: [Option<Bins<Counts>>; Stage::ALL.len()],
}

impl Heat {
    /// Counts durations that ended at `at_ns`.
    pub(super) fn add(&mut self, stage: Stage, bucket: usize, at_ns: u64, count: u32) {
        let bins =
            self.stages[stage as usize].get_or_insert_with(|| Bins::new(HEAT_WIDTH_NS, HEAT_BINS));
        let cell = &mut bins.row(at_ns).0[bucket];
        *cell = cell.saturating_add(count);
    }

    /// Counts one duration.
    pub(super) fn record(&mut self, stage: Stage, ns: u64, at_ns: u64) {
        self.add(stage, bucket_of(ns), at_ns, 1);
    }

    /// The map of a stage, where it occurred.
    pub(super) fn of(&self, stage: usize) -> Option<&Bins<Counts>> {
        self.stages[stage].as_ref()
    }

    /// Makes all bins at least this wide.
    pub(super) fn widen(&mut self, width: u64) {
        (self.stages.iter_mut().flatten()).for_each(|bins| bins.widen(width));
    }

    /// The widest bins and the largest number of them once all are that wide.
    pub(super) fn extent(&self) -> (u64, usize) {
        let used = || self.stages.iter().flatten();
        let width = used().map(Bins::width).max().unwrap_or(HEAT_WIDTH_NS);
        let bins = used().map(|b| (b.rows().len() as u64 * b.width()).div_ceil(width));
        (width, bins.max().unwrap_or(0) as usize)
    }

    /// Bytes that it may take.
    #[cfg(test)]
    pub(super) fn most_bytes(&self) -> usize {
        self.stages.iter().flatten().map(Bins::most_bytes).sum()
    }
}

/// The durations that one thread records. Only that thread writes; the sampler reads the counts meanwhile.
#[derive(Debug)]
pub struct ThreadStages {
    histograms: Mutex<StageHistograms>,
    /// Durations by stage and bucket since the start; None where nothing is recorded over time.
    counts: Option<Box<[AtomicU32]>>,
    /// Single calls, where this rank is traced.
    calls: Option<Arc<ThreadCalls>>,
}

impl ThreadStages {
    /// Without a duration. `over_time`: whether somebody will sample it; `calls`: where single calls are kept.
    pub fn new(over_time: bool, calls: Option<Arc<ThreadCalls>>) -> Self {
        let cells = Stage::ALL.len() * BUCKETS;
        ThreadStages {
            histograms: Mutex::new(StageHistograms::new()),
            counts: over_time.then(|| (0..cells).map(|_| AtomicU32::new(0)).collect()),
            calls,
        }
    }

    /// `count` durations of this length; from the thread's own side.
    pub fn record(&self, stage: Stage, ns: u64, count: u64) {
        // Uncontended: only this thread records.
        self.histograms.lock().record_n(stage, ns, count);
        if let Some(counts) = &self.counts {
            let cell = &counts[stage as usize * BUCKETS + bucket_of(ns)];
            // Nobody else writes, so that no locked instruction is needed. Differences are taken modulo 2^32.
            cell.store(cell.load(Relaxed).wrapping_add(count as u32), Relaxed);
        }
        // A sample's duration is a mean of several, and its calls are there.
        if let Some(calls) = self.calls.as_ref().filter(|_| stage != Stage::Sample) {
            let now = now_ns();
            calls.add(stage, now.saturating_sub(ns), now);
        }
    }

    /// The histograms so far, which begin anew.
    pub fn take(&self) -> StageHistograms {
        std::mem::take(&mut *self.histograms.lock())
    }

    /// Adds the counts so far to `sums`, modulo 2^32; the order is that of stages, then buckets.
    pub(super) fn add_counts(&self, sums: &mut [u32]) {
        let counts = self.counts.iter().flatten();
        for (sum, count) in sums.iter_mut().zip(counts) {
            *sum = sum.wrapping_add(count.load(Relaxed));
        }
    }
}
