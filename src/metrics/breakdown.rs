//! Where the time of AU's own window went, on the same terms as AU: the lines add up to 100 %, and the line `compute` is AU.
//!
//! AU of a block is 100 C / T. T holds the waits for batches and the computation of the steps that count, every barrier of
//! the block, the fetch of one more batch after the last step, and what is left: the harness. A block whose AU is 0 by
//! definition, because no step of it counts, has all of its weight in `uncounted`.

use serde::{Deserialize, Serialize};

use super::au::{Window, is_counted, weighted_mean, window_sums};
use super::record::BlockRecord;
use crate::stage::{Blame, Part, Parts};

/// A line of the breakdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Line {
    /// Emulated computation as it was measured, oversleep included.
    Compute,
    /// A part of the wait for batches.
    Wait(Part),
    /// Waiting for other ranks.
    Barrier,
    /// The rest: this program.
    Harness,
    /// The fetch of one more batch after the last step.
    Closing,
    /// Blocks of which no step counts.
    Uncounted,
}

/// Number of [`Line`]s.
pub const LINES: usize = 5 + Parts::LEN;

impl Line {
    /// All, in the order of the report.
    pub fn all() -> impl Iterator<Item = Line> {
        [Line::Compute]
            .into_iter()
            .chain(Part::ALL.iter().map(|part| Line::Wait(*part)))
            .chain([Line::Barrier, Line::Harness, Line::Closing, Line::Uncounted])
    }

    fn index(self) -> usize {
        let after = match self {
            Line::Compute => return 0,
            Line::Wait(part) => return 1 + part as usize,
            Line::Barrier => 1,
            Line::Harness => 2,
            Line::Closing => 3,
            Line::Uncounted => 4,
        };
        after + Parts::LEN
    }

    /// Key in `report.json`.
    pub fn name(self) -> &'static str {
        match self {
            Line::Compute => "compute",
            Line::Wait(part) => part.name(),
            Line::Barrier => "barrier",
            Line::Harness => "harness",
            Line::Closing => "closing_fetch",
            Line::Uncounted => "uncounted",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Line::Compute => "compute (= AU)",
            Line::Wait(part) => part.label(),
            Line::Barrier => "barrier",
            Line::Harness => "harness",
            Line::Closing => "closing fetch",
            Line::Uncounted => "blocks without a counted step",
        }
    }

    /// Who has to act; None: nobody, it is what was asked for.
    pub fn blame(self) -> Option<Blame> {
        match self {
            Line::Compute => None,
            Line::Wait(part) => Some(part.blame()),
            Line::Barrier => Some(Blame::Peers),
            Line::Harness => Some(Blame::Client),
            Line::Closing => Some(Blame::Storage),
            Line::Uncounted => Some(Blame::Workload),
        }
    }

    /// What can be done when it is the largest loss.
    pub fn advice(self) -> &'static str {
        match self {
            Line::Compute => "",
            Line::Wait(part) => part.advice(),
            Line::Barrier => {
                "ranks waited for each other; compare the ranks' AU and wait in report.json"
            }
            Line::Harness => {
                "the benchmark itself took the time; give each rank more CPU or fewer ranks per host before judging the storage"
            }
            Line::Closing => {
                "one more batch is fetched after the last step, as in DLIO; with more steps per epoch it counts for less"
            }
            Line::Uncounted => {
                "no step of these blocks is inside the metric window; use more steps between checkpoints, or leave fewer steps out"
            }
        }
    }
}

/// A value per [`Line`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Slices(pub [f64; LINES]);

impl Slices {
    /// Of the waits for batches.
    pub fn wait(&self) -> f64 {
        Part::ALL.iter().map(|part| self[Line::Wait(*part)]).sum()
    }

    /// Of the waits that are the storage system's: I/O and metadata.
    pub fn storage_wait(&self) -> f64 {
        (Part::ALL.iter())
            .filter(|part| part.blame() == Blame::Storage)
            .map(|part| self[Line::Wait(*part)])
            .sum()
    }

    /// Sum of all lines.
    pub fn total(&self) -> f64 {
        self.0.iter().sum()
    }
}

impl std::ops::Index<Line> for Slices {
    type Output = f64;
    fn index(&self, line: Line) -> &f64 {
        &self.0[line.index()]
    }
}

impl std::ops::IndexMut<Line> for Slices {
    fn index_mut(&mut self, line: Line) -> &mut f64 {
        &mut self.0[line.index()]
    }
}

/// Where the time of AU's window went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Breakdown {
    /// Seconds per line, per rank. They add up to AU's window.
    pub seconds: Slices,
    /// Percent per line, weighted as AU is. They add up to 100.
    pub percent: Slices,
    /// Computation beyond the configured time, percent of AU's window; part of the line `compute`.
    pub overshoot_percent: f64,
    pub overshoot_s: f64,
    /// Seconds of the steps that the window leaves out: their waits and computation.
    pub left_out_s: f64,
    /// Steps that the window leaves out.
    pub left_out_steps: f64,
}

/// Number of values of a [`Breakdown`].
pub const VALUES: usize = 2 * LINES + 4;

impl Breakdown {
    /// Of the blocks of one epoch on one rank.
    pub fn of_epoch(blocks: &[BlockRecord], window: Window) -> Self {
        let mut out = Breakdown::default();
        let mut shares = Vec::with_capacity(blocks.len());
        for block in blocks {
            let sums = window_sums(block, window);
            let counted = window.range(block.steps.len());
            let outside = (block.steps.iter().enumerate())
                .filter(|(i, _)| !counted.contains(i))
                .map(|(_, step)| step.proc_ns);
            out.left_out_s += outside.clone().sum::<u64>() as f64 / 1e9;
            out.left_out_steps += outside.count() as f64;
            let (ns, overshoot) = slices_of(block, window);
            let percent = if is_counted(&sums) {
                let of_window = |ns: f64| 100.0 * ns / sums.wall_ns as f64;
                for (sum, ns) in out.seconds.0.iter_mut().zip(ns.0) {
                    *sum += ns / 1e9;
                }
                out.overshoot_s += overshoot / 1e9;
                (Slices(ns.0.map(of_window)), of_window(overshoot))
            } else {
                let mut all = Slices::default();
                all[Line::Uncounted] = 100.0;
                (all, 0.0)
            };
            shares.push((percent, block.steps.len() as u64));
        }
        if shares.iter().all(|(_, steps)| *steps == 0) {
            out.percent[Line::Uncounted] = 100.0;
            return out;
        }
        for (i, percent) in out.percent.0.iter_mut().enumerate() {
            *percent = weighted_mean(shares.iter().map(|((s, _), steps)| (s.0[i], *steps)));
        }
        out.overshoot_percent = weighted_mean(shares.iter().map(|((_, o), steps)| (*o, *steps)));
        out
    }

    /// Of epochs: seconds are added, percentages averaged, as AU is.
    pub fn of_epochs<'a>(epochs: impl ExactSizeIterator<Item = &'a Breakdown>) -> Self {
        let n = epochs.len().max(1) as f64;
        let mut sum = [0.0; VALUES];
        for epoch in epochs {
            for (sum, value) in sum.iter_mut().zip(epoch.to_array()) {
                *sum += value;
            }
        }
        let mut out = Self::from_array(&sum);
        out.percent.0.iter_mut().for_each(|p| *p /= n);
        out.overshoot_percent /= n;
        out
    }

    /// For a reduction by sum.
    pub fn to_array(self) -> [f64; VALUES] {
        let mut out = [0.0; VALUES];
        out[..LINES].copy_from_slice(&self.seconds.0);
        out[LINES..2 * LINES].copy_from_slice(&self.percent.0);
        out[2 * LINES..].copy_from_slice(&[
            self.overshoot_percent,
            self.overshoot_s,
            self.left_out_s,
            self.left_out_steps,
        ]);
        out
    }

    /// The inverse of [`to_array`](Self::to_array).
    pub fn from_array(values: &[f64; VALUES]) -> Self {
        let mut out = Breakdown::default();
        out.seconds.0.copy_from_slice(&values[..LINES]);
        out.percent.0.copy_from_slice(&values[LINES..2 * LINES]);
        let rest = &values[2 * LINES..];
        (out.overshoot_percent, out.overshoot_s) = (rest[0], rest[1]);
        (out.left_out_s, out.left_out_steps) = (rest[2], rest[3]);
        out
    }

    /// The mean of `n` ranks, from the sum of their values.
    pub fn mean_of(sums: &[f64; VALUES], n: usize) -> Self {
        Self::from_array(&sums.map(|x| x / n.max(1) as f64))
    }

    /// Seconds of AU's window.
    pub fn window_s(&self) -> f64 {
        self.seconds.total()
    }

    /// Percent of the configured computation by which the computation took longer; 0 where none was configured.
    pub fn overshoot_of_nominal(&self) -> f64 {
        let nominal = self.seconds[Line::Compute] - self.overshoot_s;
        if nominal > 0.0 {
            100.0 * self.overshoot_s / nominal
        } else {
            0.0
        }
    }
}

/// Nanoseconds per line of one block, and of the computation what lies beyond the configured time.
fn slices_of(block: &BlockRecord, window: Window) -> (Slices, f64) {
    let sums = window_sums(block, window);
    let mut ns = Slices::default();
    ns[Line::Compute] = sums.compute_ns as f64;
    // The parts add up to the waits by construction; a record without parts (from a file) has one wait.
    let known = block.wait_parts.total();
    for &part in Part::ALL {
        ns[Line::Wait(part)] = block.wait_parts[part] as f64;
    }
    ns[Line::Wait(Part::Idle)] += sums.wait_ns as f64 - known as f64;
    let barrier: u64 = block.steps.iter().map(|step| step.barrier_ns).sum();
    ns[Line::Barrier] = barrier as f64;
    ns[Line::Closing] = block.closing_ns as f64;
    ns[Line::Harness] = sums.wall_ns as f64 - ns.total();
    let overshoot = sums.compute_ns as f64 - block.nominal_ns as f64;
    (ns, overshoot)
}

#[cfg(test)]
mod tests {
    use super::super::au::epoch_au;
    use super::super::au::tests::block;
    use super::*;
    use crate::config::MetricFormula;
    use proptest::prelude::*;

    fn parted(mut block: BlockRecord, window: Window, parts: [u64; Parts::LEN]) -> BlockRecord {
        let counted = &block.steps[window.range(block.steps.len())];
        let wait: u64 = counted.iter().map(|s| s.load_ns).sum();
        block.nominal_ns = counted.iter().map(|s| s.compute_ns).sum();
        block.wait_parts = Parts(parts).of_wait(wait, wait);
        block
    }

    #[test]
    fn the_lines_of_a_block_are_its_window() {
        let window = Window::new(3, 1, 0);
        // T = 1000 - 500: C 200, waits 40, barriers 30, closing fetch 50, harness 180.
        let mut b = block(1000, &[(400, 100, 10), (20, 100, 10), (20, 100, 10)]);
        b.closing_ns = 50_000_000;
        let b = parted(b, window, [3, 0, 1, 0, 0, 0]);
        let got = Breakdown::of_epoch(&[b], window);
        let p = &got.percent;
        assert_eq!(p[Line::Compute], 40.0);
        assert_eq!(p[Line::Wait(Part::Io)], 6.0);
        assert_eq!(p[Line::Wait(Part::Decode)], 2.0);
        assert_eq!(p[Line::Barrier], 6.0);
        assert_eq!(p[Line::Closing], 10.0);
        assert_eq!(p[Line::Harness], 36.0);
        assert_eq!((got.left_out_steps, got.left_out_s), (1.0, 0.5));
        assert!((got.window_s() - 0.5).abs() < 1e-12);
    }

    #[test]
    fn oversleep_is_part_of_compute_and_named() {
        let window = Window::new(2, 0, 0);
        let mut b = block(250, &[(5, 110, 0), (5, 110, 0)]);
        b.nominal_ns = 200_000_000;
        let got = Breakdown::of_epoch(&[b], window);
        assert!((got.overshoot_percent - 8.0).abs() < 1e-12);
        assert!((got.overshoot_of_nominal() - 10.0).abs() < 1e-12);
    }

    #[test]
    fn a_block_without_a_counted_step_is_uncounted() {
        let got = Breakdown::of_epoch(&[block(100, &[(10, 90, 0)])], Window::new(1, 1, 0));
        assert_eq!(got.percent[Line::Uncounted], 100.0);
        let got = Breakdown::of_epoch(&[], Window::new(1, 1, 0));
        assert_eq!(got.percent.total(), 100.0);
    }

    fn blocks() -> impl Strategy<Value = Vec<BlockRecord>> {
        let step = (0..50_u64, 0..50_u64, 0..20_u64);
        let one = (prop::collection::vec(step, 0..6), 0..40_u64, 0..20_u64);
        prop::collection::vec(one, 0..5).prop_map(|list| {
            (list.iter())
                .map(|(steps, closing, slack)| {
                    let wall: u64 = steps.iter().map(|(a, b, c)| a + b + c).sum();
                    let mut b = block(wall + closing + slack, steps);
                    b.closing_ns = closing * 1_000_000;
                    b
                })
                .collect()
        })
    }

    proptest! {
        #[test]
        fn compute_is_au_and_the_lines_add_up(
            blocks in blocks(), start in 0..4_u64, end in 0..3_u64, steps in 0..8_u64,
            parts in prop::array::uniform6(0..9_u64), is_v2: bool,
        ) {
            let window = Window::new(steps, start, end);
            let formula = if is_v2 { MetricFormula::V2 } else { MetricFormula::V3 };
            let blocks: Vec<_> = blocks.into_iter().map(|b| parted(b, window, parts)).collect();
            for b in &blocks {
                let one = Breakdown::of_epoch(std::slice::from_ref(b), window);
                let au = epoch_au(formula, std::slice::from_ref(b), window);
                prop_assert_eq!(one.percent[Line::Compute], au);
                prop_assert!((one.percent.total() - 100.0).abs() < 1e-9);
                prop_assert!(one.seconds[Line::Harness] >= -1e-12);
            }
            let got = Breakdown::of_epoch(&blocks, window);
            prop_assert_eq!(got.percent[Line::Compute], epoch_au(formula, &blocks, window));
            prop_assert!((got.percent.total() - 100.0).abs() < 1e-9, "{:?}", got);
        }
    }
}
