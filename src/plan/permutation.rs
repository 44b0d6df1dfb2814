//! A keyed bijection on `0..n` in constant memory: a Feistel network with cycle walking.

use crate::util::hash::{mix64, splitmix64};

/// A permutation of `0..len`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Permutation {
    len: u64,
    half_bits: u32,
    keys: [u64; ROUNDS],
}

/// Six rounds of a strong mixing function are past the four that make a Feistel network a pseudo-random permutation.
const ROUNDS: usize = 6;

impl Permutation {
    /// The permutation of `0..len` that `key` names.
    pub fn new(len: u64, key: u64) -> Self {
        let bits = 64 - len.saturating_sub(1).leading_zeros();
        let half_bits = bits.div_ceil(2).max(1);
        let mut state = key;
        let keys = std::array::from_fn(|_| splitmix64(&mut state));
        Permutation {
            len,
            half_bits,
            keys,
        }
    }

    fn once(&self, value: u64) -> u64 {
        let mask = (1u64 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for key in self.keys {
            (left, right) = (right, left ^ (mix64(right ^ key) & mask));
        }
        left << self.half_bits | right
    }

    /// Where `position` goes. The network's domain is below 4 x `len`, so a few walks are enough.
    pub fn at(&self, position: u64) -> u64 {
        let mut value = self.once(position);
        while value >= self.len {
            value = self.once(value);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_appears_once() {
        for len in (1..200).chain([1000, 4095, 4096, 4097]) {
            let p = Permutation::new(len, 7);
            let mut seen = vec![false; len as usize];
            for i in 0..len {
                assert!(
                    !std::mem::replace(&mut seen[p.at(i) as usize], true),
                    "len {len}"
                );
            }
        }
    }

    #[test]
    fn keys_give_different_orders() {
        let order = |key| {
            (0..100)
                .map(|i| Permutation::new(100, key).at(i))
                .collect::<Vec<_>>()
        };
        assert_ne!(order(1), order(2));
        assert_ne!(order(1), (0..100).collect::<Vec<_>>());
    }
}
