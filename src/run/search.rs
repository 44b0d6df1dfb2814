//! Which number to try next: doubling until the answer changes, then bisection.
//!
//! A search holds nothing: what is next follows from what is known, so that one that was broken off goes on where it was.

use std::collections::BTreeMap;

/// What is looked for among `1..=largest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// The largest number that passes, where small ones do.
    Largest,
    /// The smallest number that passes, where large ones do.
    Smallest,
}

/// A search over `1..=largest`.
#[derive(Debug, Clone, Copy)]
pub struct Search {
    pub wanted: Wanted,
    /// The largest that can be tried.
    pub largest: u64,
}

/// Numbers that were tried, and whether they passed.
pub type Known = BTreeMap<u64, bool>;

impl Search {
    /// The number to try next; None when the answer is known.
    pub fn next(&self, known: &Known) -> Option<u64> {
        let (low, high) = self.bracket(known);
        match high {
            Some(high) if high - low > 1 => Some(low + (high - low) / 2),
            Some(_) => None,
            None if low >= self.largest => None,
            None => Some((2 * low).clamp(1, self.largest)),
        }
    }

    /// The number looked for, as far as it is known.
    pub fn best(&self, known: &Known) -> Option<u64> {
        let (low, high) = self.bracket(known);
        match self.wanted {
            Wanted::Largest => (low > 0).then_some(low),
            Wanted::Smallest => high,
        }
    }

    /// The numbers that turned out against the rule that the search goes by: that all up to one number pass, or fail, and
    /// those above it do not.
    pub fn odd(&self, known: &Known) -> Vec<u64> {
        let (_, high) = self.bracket(known);
        let Some(high) = high else {
            return Vec::new();
        };
        let same = known
            .range(high..)
            .filter(|(_, passes)| self.is_low(**passes));
        same.map(|(number, _)| *number).collect()
    }

    /// Trials that may end with the wrong answer on the way: those of doubling and of bisection on one side of it.
    pub fn trials(&self) -> u32 {
        self.largest.max(1).ilog2() + 2
    }

    /// True for the answer that small numbers give.
    fn is_low(&self, passes: bool) -> bool {
        passes == (self.wanted == Wanted::Largest)
    }

    /// The smallest number with the answer of large ones, and below it the largest with that of small ones, or 0.
    fn bracket(&self, known: &Known) -> (u64, Option<u64>) {
        let high = known.iter().find(|(_, passes)| !self.is_low(**passes));
        let high = high.map(|(number, _)| *number);
        let below = known.range(..high.unwrap_or(u64::MAX)).next_back();
        (below.map_or(0, |(number, _)| *number), high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::sequential::{AuTest, FEWEST, Outcome};
    use crate::util::hash::splitmix64;

    fn search(wanted: Wanted, largest: u64, passes: impl Fn(u64) -> bool) -> (Option<u64>, Known) {
        let search = Search { wanted, largest };
        let mut known = Known::new();
        while let Some(number) = search.next(&known) {
            assert!((1..=largest).contains(&number));
            assert!(known.insert(number, passes(number)).is_none());
        }
        (search.best(&known), known)
    }

    #[test]
    fn every_knee_is_found_with_few_trials() {
        for largest in 1..=70 {
            for knee in 0..=largest {
                let (best, known) = search(Wanted::Largest, largest, |k| k <= knee);
                assert_eq!(best, (knee > 0).then_some(knee));
                assert!(known.len() as u32 <= 2 * largest.ilog2() + 2);
                let (best, _) = search(Wanted::Smallest, largest, |k| k > knee);
                assert_eq!(best, (knee < largest).then_some(knee + 1));
            }
        }
    }

    #[test]
    fn a_search_that_was_broken_off_goes_on_where_it_was() {
        let of = Search {
            wanted: Wanted::Largest,
            largest: 64,
        };
        let (_, whole) = search(Wanted::Largest, 64, |k| k <= 37);
        let mut known = Known::new();
        let mut order = Vec::new();
        while let Some(number) = of.next(&known) {
            order.push(number);
            known.insert(number, whole[&number]);
        }
        for cut in 0..order.len() {
            let known: Known = order[..cut].iter().map(|k| (*k, whole[k])).collect();
            assert_eq!(of.next(&known), Some(order[cut]));
        }
    }

    #[test]
    fn answers_against_the_rule_are_listed() {
        let of = Search {
            wanted: Wanted::Largest,
            largest: 64,
        };
        let known = Known::from([(1, true), (2, true), (4, false), (8, true), (16, false)]);
        assert_eq!(of.odd(&known), [8]);
        assert_eq!(of.next(&known), Some(3));
        assert!(of.odd(&Known::from([(1, true), (2, false)])).is_empty());
    }

    /// Steps of 1 s of computation behind a link of which AU is 90 % at `knee` accelerators, with noise.
    fn passes(seed: u64, k: u64, knee: f64, error: f64) -> bool {
        let mut state = seed ^ (k << 32);
        let mut uniform = || (splitmix64(&mut state) >> 11) as f64 / (1u64 << 53) as f64;
        let mut test = AuTest::new(90.0, error);
        let mut next = FEWEST;
        while next < 4_000 {
            while test.steps() < next {
                let step = (k as f64 / knee / 0.9).max(1.0);
                test.add(1.0, step + 0.1 * (uniform() - 0.5));
            }
            match test.look().outcome {
                Outcome::Undecided => next += next / 4,
                outcome => return outcome == Outcome::Pass,
            }
        }
        false
    }

    #[test]
    fn noisy_trials_find_the_knee_within_one() {
        let mut state = 5;
        for seed in 0..100 {
            let largest = 64;
            let knee = 1.0 + 62.0 * (splitmix64(&mut state) >> 11) as f64 / (1u64 << 53) as f64;
            let of = Search {
                wanted: Wanted::Largest,
                largest,
            };
            let error = 0.01 / f64::from(of.trials());
            let (best, _) = search(Wanted::Largest, largest, |k| passes(seed, k, knee, error));
            let (best, exact) = (best.unwrap_or(0), knee as u64);
            assert!(
                best == exact || best + 1 == exact,
                "seed {seed}: {best} of {knee}"
            );
        }
    }
}
