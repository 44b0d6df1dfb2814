//! The order digest: equal digests prove equal access order.
//!
//! A step's hash covers its epoch, its number and its samples in order; a rank's digest covers its steps in order,
//! the job's digest the ranks in order. Runs are expanded, so that reads that are coalesced and reads that are not
//! give the same digest.

use super::Run;
use crate::util::hash::GAMMA;

/// Folds a 128-bit product: every input bit reaches every output bit.
#[inline]
fn mix(a: u64, b: u64) -> u64 {
    let product = u128::from(a ^ GAMMA) * u128::from(b ^ 0xd6e8_feb8_6659_fd93);
    (product >> 64) as u64 ^ product as u64
}

/// Hash of one step, independent of the steps before it.
pub fn step_hash(epoch: u64, step: u64, runs: &[Run]) -> u64 {
    let mut hash = mix(epoch, step);
    for run in runs {
        for sample in run.first..run.first + run.count {
            hash = mix(hash ^ run.file.rotate_left(24), sample.wrapping_add(GAMMA));
        }
    }
    hash
}

/// A rank's running digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest(u64);

impl Default for Digest {
    fn default() -> Self {
        // Any word but a multiplier's complement, which the product would absorb; these are digits of pi.
        Digest(0x243f_6a88_85a3_08d3)
    }
}

impl Digest {
    pub fn push(&mut self, step_hash: u64) {
        self.0 = mix(self.0, step_hash);
    }

    /// The digest of all steps so far.
    pub fn finish(self) -> u64 {
        self.0
    }
}

/// The job's digest from its ranks' digests, in rank order.
pub fn combine(ranks: &[u64]) -> u64 {
    let mut digest = Digest::default();
    ranks.iter().for_each(|&rank| digest.push(rank));
    digest.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn coalesced_runs_hash_as_their_samples() {
        let one = [Run {
            file: 3,
            first: 5,
            count: 3,
        }];
        let three = [5, 6, 7].map(|first| Run {
            file: 3,
            first,
            count: 1,
        });
        assert_eq!(step_hash(1, 2, &one), step_hash(1, 2, &three));
    }

    #[test]
    fn any_difference_changes_the_digest() {
        let runs = [
            Run {
                file: 3,
                first: 5,
                count: 1,
            },
            Run {
                file: 4,
                first: 5,
                count: 1,
            },
        ];
        let swapped = [runs[1], runs[0]];
        let base = step_hash(1, 2, &runs);
        for other in [
            step_hash(2, 2, &runs),
            step_hash(1, 3, &runs),
            step_hash(1, 2, &swapped),
            step_hash(1, 2, &runs[..1]),
        ] {
            assert_ne!(base, other);
        }
        assert_ne!(combine(&[1, 2]), combine(&[2, 1]));
    }
}
