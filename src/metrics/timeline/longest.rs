//! The longest waits of a rank, and which of all ranks' are the longest of the job.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Waits that are kept.
pub(super) const KEPT: usize = 256;

/// Bits of a rank in a key. Waits beyond 2^44 ns (4.9 hours) are ordered as if they were that long.
const RANK_BITS: u32 = 20;
const LOW: u64 = (1 << RANK_BITS) - 1;

/// A duration with its rank: the longer is the larger, and of equals the lower rank.
pub(super) fn key_of(ns: u64, rank: usize) -> u64 {
    ns.min((1 << (64 - RANK_BITS)) - 1) << RANK_BITS | (LOW - (rank as u64 & LOW))
}

/// The duration and the rank of a key.
pub(super) fn of_key(key: u64) -> (u64, usize) {
    (key >> RANK_BITS, (LOW - (key & LOW)) as usize)
}

/// One wait on this rank.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wait {
    pub(super) wait_ns: u64,
    /// Of equals the earlier ones are kept.
    pub(super) at_ns: Reverse<u64>,
    pub(super) epoch: u64,
    pub(super) step: u64,
    /// Number of the file that the batch waited for.
    pub(super) file: Option<u64>,
}

/// The longest waits of this rank.
#[derive(Debug, Clone, Default)]
pub(super) struct Longest(BinaryHeap<Reverse<Wait>>);

impl Longest {
    /// Looks at a wait; one that is too short costs a comparison.
    pub(super) fn offer(&mut self, wait: Wait) {
        if self.0.len() < KEPT {
            self.0.push(Reverse(wait));
            return;
        }
        if let Some(mut shortest) = self.0.peek_mut()
            && shortest.0 < wait
        {
            *shortest = Reverse(wait);
        }
    }

    /// All of them, in no order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Wait> {
        self.0.iter().map(|wait| &wait.0)
    }
}

/// Finds the key of the [`KEPT`]-th longest wait of all ranks, digit by digit of [`Selection::DIGIT`] bits, highest first: in
/// each round every rank counts its keys by their next digit, and the counts are added over ranks.
#[derive(Debug, Default)]
pub(super) struct Selection {
    /// The digits found so far.
    prefix: u64,
    /// How many.
    round: u32,
    /// Keys that are larger than the prefix allows.
    above: u64,
}

impl Selection {
    /// Bits of a digit.
    const DIGIT: u32 = 8;
    /// Rounds until the key is known.
    pub(super) const ROUNDS: u32 = u64::BITS / Self::DIGIT;

    fn shift(&self) -> u32 {
        u64::BITS - Self::DIGIT * (self.round + 1)
    }

    /// One rank's counts for this round.
    pub(super) fn counts(&self, waits: &Longest, rank: usize) -> Vec<u64> {
        let mut counts = vec![0; 1 << Self::DIGIT];
        for wait in waits.iter() {
            let rest = key_of(wait.wait_ns, rank) >> self.shift();
            if rest >> Self::DIGIT == self.prefix {
                counts[rest as usize & 0xff] += 1;
            }
        }
        counts
    }

    /// Ends a round with the sums over ranks.
    pub(super) fn narrow(&mut self, sums: &[u64]) {
        let mut digit = sums.len() - 1;
        while digit > 0 && self.above + sums[digit] < KEPT as u64 {
            self.above += sums[digit];
            digit -= 1;
        }
        self.prefix = self.prefix << Self::DIGIT | digit as u64;
        self.round += 1;
    }

    /// The waits of a rank that are among the longest of the job: together with the other ranks' at least [`KEPT`], where there
    /// are so many, and fewer than twice that.
    pub(super) fn chosen<'a>(
        &self,
        waits: &'a Longest,
        rank: usize,
    ) -> impl Iterator<Item = &'a Wait> {
        let least = self.prefix;
        (waits.iter()).filter(move |wait| key_of(wait.wait_ns, rank) >= least)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn select(ranks: &[Longest]) -> Selection {
        let mut selection = Selection::default();
        for _ in 0..Selection::ROUNDS {
            let mut sums = vec![0; 256];
            for (rank, waits) in ranks.iter().enumerate() {
                for (sum, n) in sums.iter_mut().zip(selection.counts(waits, rank)) {
                    *sum += n;
                }
            }
            selection.narrow(&sums);
        }
        selection
    }

    fn longest(waits: &[u64]) -> Longest {
        let mut longest = Longest::default();
        for (i, wait_ns) in waits.iter().enumerate() {
            longest.offer(Wait {
                wait_ns: *wait_ns,
                at_ns: Reverse(i as u64),
                epoch: 1,
                step: i as u64,
                file: None,
            });
        }
        longest
    }

    #[test]
    fn a_key_orders_by_length_then_by_rank() {
        assert!(key_of(5, 3) > key_of(4, 0));
        assert!(key_of(5, 3) > key_of(5, 4));
        assert_eq!(of_key(key_of(123_456_789, 4_095)), (123_456_789, 4_095));
    }

    proptest! {
        #[test]
        fn the_longest_of_all_ranks_are_chosen(
            ranks in prop::collection::vec(prop::collection::vec(0..2_000_u64, 0..600), 1..6), spread in 1..1_000_000_u64,
        ) {
            let ranks: Vec<Vec<u64>> = ranks.iter().map(|w| w.iter().map(|x| x * spread).collect()).collect();
            let kept: Vec<Longest> = ranks.iter().map(|waits| longest(waits)).collect();
            let selection = select(&kept);
            let mut got: Vec<u64> = (kept.iter().enumerate())
                .flat_map(|(rank, waits)| selection.chosen(waits, rank).map(|w| w.wait_ns))
                .collect();
            got.sort_by_key(|wait| Reverse(*wait));
            prop_assert!(got.len() < 2 * KEPT);
            got.truncate(KEPT);
            let mut wanted: Vec<u64> = ranks.concat();
            wanted.sort_by_key(|wait| Reverse(*wait));
            wanted.truncate(KEPT);
            prop_assert_eq!(got, wanted);
        }
    }
}
