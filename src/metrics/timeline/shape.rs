//! What the recordings of all ranks have in common: the widths and numbers of what is added up.

use super::gauges::SAMPLED;
use super::recorder::LOOPED;
use super::series::Column;
use crate::stage::Stage;

/// All columns in the order in which they travel.
pub(super) fn columns() -> impl Iterator<Item = Column> {
    LOOPED.into_iter().chain(SAMPLED)
}

pub(super) const COLUMNS: usize = LOOPED.len() + SAMPLED.len();
pub(super) const STAGES: usize = Stage::ALL.len();
/// The common shape of all recordings: maxima over ranks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    /// Width and number of a series' bins.
    pub(super) bin: [u64; 2],
    /// Of heat maps.
    pub(super) heat: [u64; 2],
    /// Of steps, and bins of the first ones.
    pub(super) step: [u64; 3],
    /// Steps, epochs, length.
    pub(super) totals: [u64; 3],
    /// Width and number of columns of the tables by epoch.
    pub(super) epoch: [u64; 2],
    /// Width and number of entries of histograms.
    pub(super) entry: [u64; 2],
    /// 1 for a column that a rank could not count.
    pub(super) missing: [u64; COLUMNS],
    /// Per stage the complement of the lowest bucket with counts, and the highest plus one.
    pub(super) buckets: [[u64; 2]; STAGES],
    /// The same for the buckets of histograms.
    pub(super) indices: [[u64; 2]; STAGES],
}

impl Shape {
    fn words(&mut self) -> impl Iterator<Item = &mut u64> {
        (self.bin.iter_mut())
            .chain(&mut self.heat)
            .chain(&mut self.step)
            .chain(&mut self.totals)
            .chain(&mut self.epoch)
            .chain(&mut self.entry)
            .chain(&mut self.missing)
            .chain(self.buckets.as_flattened_mut())
            .chain(self.indices.as_flattened_mut())
    }

    /// For a reduction by maximum. Widths are made equal first: the numbers of bins follow from them.
    pub(super) fn into_words(mut self) -> Vec<u64> {
        self.words().map(|word| *word).collect()
    }

    pub(super) fn set_words(&mut self, words: &[u64]) {
        self.words()
            .zip(words)
            .for_each(|(mine, word)| *mine = *word);
    }

    pub(super) fn span(range: [u64; 2]) -> std::ops::Range<usize> {
        // Without counts on any rank both are 0.
        match range {
            [0, 0] => 0..0,
            [low, end] => !low as usize..end as usize,
        }
    }

    pub(super) fn histogram_words(&self) -> usize {
        let per_entry: usize = self
            .indices
            .iter()
            .map(|range| Self::span(*range).len() + 1)
            .sum();
        per_entry * self.entry[1] as usize
    }
}
