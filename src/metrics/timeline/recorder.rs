//! What the train loop of one rank records over time. Nothing is locked, and nothing is allocated from step to step.

use std::cmp::Reverse;

use super::bins::{Bins, Row};
use super::gauges::{Gauges, Sampled};
use super::heat::Heat;
use super::longest::{Longest, Wait, key_of};
use super::series::Column;
use super::{BIN_NS, SERIES_BINS};
use crate::config::MetricFormula;
use crate::metrics::au::{Window, epoch_au};
use crate::metrics::histogram::{Sparse, StageHistograms};
use crate::metrics::record::EpochRecord;
use crate::stage::{Part, Parts, Stage};

pub(super) const STEP_BINS: usize = 4_096;
/// Steps that have a bin of their own.
pub(super) const FIRST_STEPS: usize = 64;
/// Columns of the tables by epoch.
pub(super) const EPOCH_COLUMNS: usize = 64;
/// Entries of histograms by epoch.
pub(super) const EPOCH_HISTOGRAMS: usize = 16;
/// Bytes of them beyond which there are fewer entries.
const HISTOGRAM_BYTES: usize = 320 << 10;

/// The columns that the train loop fills, in the order of its bins: the parts of waits come first.
pub(super) const LOOPED: [Column; Parts::LEN + 4] = [
    Column::WaitIo,
    Column::WaitMetadata,
    Column::WaitDecode,
    Column::WaitPreprocess,
    Column::WaitCpu,
    Column::WaitIdle,
    Column::Compute,
    Column::Barrier,
    Column::ClosingFetch,
    Column::Harness,
];
const COMPUTE: usize = Parts::LEN;
const BARRIER: usize = COMPUTE + 1;
const CLOSING: usize = COMPUTE + 2;
const HARNESS: usize = COMPUTE + 3;

/// A step that has been taken. Times of the loop's clock, ns.
#[derive(Debug, Clone, Copy)]
pub struct StepSpan {
    /// From 1.
    pub epoch: u64,
    /// Within the epoch, from 1.
    pub step: u64,
    /// Number in the job from 0; None for a step of an evaluation.
    pub number: Option<u64>,
    /// When the batch was asked for.
    pub asked: u64,
    /// When it was there.
    pub loaded: u64,
    /// When the computation had ended.
    pub computed: u64,
    /// When all ranks had met; `computed` without a barrier.
    pub met: u64,
    /// What the wait went to.
    pub parts: Parts,
    /// The file that the batch waited for.
    pub file: Option<u64>,
}

/// Durations of the steps of one bin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Extent {
    pub(super) min: u64,
    pub(super) sum: u64,
    pub(super) max: u64,
}

/// Steps of one bin: wait, step, barrier.
#[derive(Debug, Clone)]
pub(super) struct StepRow {
    pub(super) count: u64,
    pub(super) of: [Extent; 3],
}

impl Default for StepRow {
    fn default() -> Self {
        StepRow {
            count: 0,
            of: [Extent {
                min: u64::MAX,
                sum: 0,
                max: 0,
            }; 3],
        }
    }
}

impl Row for StepRow {
    fn absorb(&mut self, next: &Self) {
        self.count += next.count;
        for (mine, theirs) in self.of.iter_mut().zip(&next.of) {
            mine.min = mine.min.min(theirs.min);
            mine.sum += theirs.sum;
            mine.max = mine.max.max(theirs.max);
        }
    }
}

impl StepRow {
    fn add(&mut self, durations: [u64; 3]) {
        self.count += 1;
        for (extent, ns) in self.of.iter_mut().zip(durations) {
            extent.min = extent.min.min(ns);
            extent.sum += ns;
            extent.max = extent.max.max(ns);
        }
    }

    /// For a reduction by maximum over ranks: each largest with its rank, and each smallest as its complement.
    pub(super) fn maxima(&self, rank: usize) -> [u64; 6] {
        let [a, b, c] = self.of;
        let max = |e: Extent| match self.count {
            0 => 0,
            _ => key_of(e.max, rank),
        };
        [max(a), max(b), max(c), !a.min, !b.min, !c.min]
    }
}

/// One column of the tables by epoch.
#[derive(Debug, Clone, Default)]
pub(super) struct EpochCell {
    pub(super) epochs: u64,
    /// Sum over epochs, percent.
    pub(super) au_percent: f64,
    pub(super) wait_ns: u64,
    pub(super) barrier_ns: u64,
    pub(super) p99_ns: u64,
    pub(super) bytes: u64,
}

impl Row for EpochCell {
    fn absorb(&mut self, next: &Self) {
        self.epochs += next.epochs;
        self.au_percent += next.au_percent;
        self.wait_ns += next.wait_ns;
        self.barrier_ns += next.barrier_ns;
        self.p99_ns = self.p99_ns.max(next.p99_ns);
        self.bytes += next.bytes;
    }
}

/// Histograms of some epochs, by stage.
#[derive(Debug, Clone, Default)]
pub(super) struct EpochStages(pub(super) [Sparse; Stage::ALL.len()]);

impl Row for EpochStages {
    fn absorb(&mut self, next: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&next.0) {
            mine.add(theirs);
        }
    }
}

/// The recording of the train loop of one rank.
#[derive(Debug, Clone)]
pub struct Recorder {
    zero_ns: u64,
    /// Up to where the loop's time is accounted for.
    until: u64,
    pub(super) bins: Bins<[u64; LOOPED.len()]>,
    pub(super) heat: Heat,
    pub(super) steps: Bins<StepRow>,
    pub(super) first: Bins<StepRow>,
    pub(super) total: u64,
    pub(super) longest: Longest,
    pub(super) epochs: Bins<EpochCell>,
    pub(super) histograms: Bins<EpochStages>,
    pub(super) epochs_done: u64,
}

impl Recorder {
    /// `zero_ns`: the common start on the loop's clock.
    pub fn new(zero_ns: u64) -> Self {
        Recorder {
            zero_ns,
            until: zero_ns,
            bins: Bins::new(BIN_NS, SERIES_BINS),
            heat: Heat::default(),
            steps: Bins::new(1, STEP_BINS),
            first: Bins::new(1, FIRST_STEPS),
            total: 0,
            longest: Longest::default(),
            epochs: Bins::new(1, EPOCH_COLUMNS),
            histograms: Bins::new(1, EPOCH_HISTOGRAMS),
            epochs_done: 0,
        }
    }

    fn offset(&self, at: u64) -> u64 {
        at.saturating_sub(self.zero_ns)
    }

    fn spread(&mut self, column: usize, from: u64, to: u64) {
        let (from, to) = (self.offset(from), self.offset(to));
        self.bins.spread(column, from, to, to - from);
    }

    fn histogram_bytes(&self) -> usize {
        (self.histograms.rows().iter())
            .flat_map(|row| &row.0)
            .map(Sparse::bytes)
            .sum()
    }

    pub fn block_begins(&mut self, at: u64) {
        self.until = at;
    }

    pub fn step(&mut self, s: &StepSpan) {
        // Between steps the loop is its own.
        self.spread(HARNESS, self.until, s.asked);
        let (from, to) = (self.offset(s.asked), self.offset(s.loaded));
        for &part in Part::ALL {
            self.bins.spread(part as usize, from, to, s.parts[part]);
        }
        self.spread(COMPUTE, s.loaded, s.computed);
        self.spread(BARRIER, s.computed, s.met);
        self.until = s.met;
        let wait = s.loaded - s.asked;
        self.heat.record(Stage::BatchWait, wait, to);
        let computed = self.offset(s.computed);
        self.heat
            .record(Stage::Compute, s.computed - s.loaded, computed);
        self.longest.offer(Wait {
            wait_ns: wait,
            at_ns: Reverse(from),
            epoch: s.epoch,
            step: s.step,
            file: s.file,
        });
        let Some(number) = s.number else {
            return;
        };
        let barrier = s.met - s.computed;
        let met = self.offset(s.met);
        self.heat.record(Stage::Barrier, barrier, met);
        let durations = [wait, s.computed - s.asked, barrier];
        self.steps.row(number).add(durations);
        if number < FIRST_STEPS as u64 {
            self.first.row(number).add(durations);
        }
        self.total = self.total.max(number + 1);
    }

    /// One more batch was asked for after the last step.
    pub fn closing(&mut self, asked: u64, ended: u64) {
        self.spread(HARNESS, self.until, asked);
        self.spread(CLOSING, asked, ended);
        self.until = ended;
    }

    pub fn block_ends(&mut self, at: u64) {
        self.spread(HARNESS, self.until, at);
        self.until = at;
    }

    /// An epoch and its evaluation have ended. `readers`: what reader threads recorded in it.
    pub fn epoch_ended(
        &mut self,
        row: &EpochRecord,
        formula: MetricFormula,
        window: Window,
        readers: &StageHistograms,
    ) {
        let position = row.epoch.saturating_sub(1);
        let mut all = StageHistograms::new();
        let cell = self.epochs.row(position);
        cell.epochs += 1;
        cell.au_percent += epoch_au(formula, &row.blocks, window);
        cell.bytes += row.counts.delivered;
        for step in row.blocks.iter().flat_map(|block| &block.steps) {
            cell.wait_ns += step.load_ns;
            cell.barrier_ns += step.barrier_ns;
            all.record(Stage::BatchWait, step.load_ns);
            all.record(Stage::Compute, step.compute_ns);
            all.record(Stage::Barrier, step.barrier_ns);
        }
        cell.p99_ns = cell.p99_ns.max(all.quantile(Stage::BatchWait, 0.99));
        for step in row.eval.iter().flat_map(|block| &block.steps) {
            all.record(Stage::BatchWait, step.load_ns);
            all.record(Stage::Compute, step.compute_ns);
        }
        let stages = self.histograms.row(position);
        for histograms in [&all, readers] {
            for (stage, counts) in histograms.sparse() {
                stages.0[stage as usize].add(&counts);
            }
        }
        while self.histogram_bytes() > HISTOGRAM_BYTES && self.histograms.rows().len() > 1 {
            self.histograms.widen(2 * self.histograms.width());
        }
        self.epochs_done = self.epochs_done.max(row.epoch);
    }
}

/// The recording of one rank, before it is merged with the others'.
#[derive(Clone)]
pub struct Recorded {
    pub(super) rank: usize,
    pub(super) looped: Recorder,
    pub(super) sampled: Sampled,
    pub(super) is_virtual: bool,
    /// Names of the files of the longest waits.
    pub(super) names: Vec<(u64, String)>,
}

impl Recorded {
    /// Ends the recording of a rank. `name` gives the name of a file by its number.
    pub fn new(
        rank: usize,
        looped: Recorder,
        gauges: &Gauges,
        name: impl Fn(u64) -> Option<String>,
    ) -> Self {
        let mut files: Vec<u64> = looped.longest.iter().filter_map(|w| w.file).collect();
        files.sort_unstable();
        files.dedup();
        let names = (files.into_iter())
            .filter_map(|file| Some((file, name(file)?)))
            .collect();
        Recorded {
            rank,
            looped,
            sampled: gauges.finish(),
            is_virtual: gauges.is_virtual(),
            names,
        }
    }

    /// Bytes that the recording of a rank takes at most, once every table is full.
    #[cfg(test)]
    pub fn most_bytes(&self) -> usize {
        let l = &self.looped;
        l.bins.most_bytes()
            + self.sampled.bins.most_bytes()
            + l.heat.most_bytes()
            + self.sampled.heat.most_bytes()
            + self.sampled.devices.most_bytes()
            + l.steps.most_bytes()
            + l.first.most_bytes()
            + l.epochs.most_bytes()
            + super::longest::KEPT * size_of::<Wait>()
            + l.histogram_bytes()
    }
}
