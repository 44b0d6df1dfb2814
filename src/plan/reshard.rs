//! The exchange of files between ranks before an epoch, in slices: a rank holds one list of its files, one bit per file,
//! and a slice.
//!
//! Every rank shuffles its list and deals entry i to rank (i + its own number) mod ranks. What a rank gets replaces what
//! it sent: of the entries i of all lists exactly one comes here, so it takes the place i. At the end the entries are
//! moved, in place, to where the concatenation of what each rank sent has them, and are shuffled again.
//!
//! Source: DLIO `utils/config.py::_reshard_files` of the fork.

use super::mt19937::Mt19937;

/// Entries of a slice.
const SLICE: usize = 1 << 18;

/// One rank's part in an exchange. Every rank has equally many files, and so equally many slices.
pub struct Reshard {
    files: Vec<u32>,
    rank: usize,
    size: usize,
    slice: usize,
    last_seed: u64,
}

impl Reshard {
    /// Begins with a rank's files: shuffled with `first_seed` before they are dealt, with `last_seed` after.
    pub(super) fn new(
        mut files: Vec<u32>,
        rank: usize,
        size: usize,
        first_seed: u64,
        last_seed: u64,
    ) -> Self {
        Mt19937::new(first_seed).shuffle(&mut files);
        Reshard {
            files,
            rank,
            size,
            slice: SLICE,
            last_seed,
        }
    }

    /// Slices that are exchanged, one after another.
    pub fn slices(&self) -> usize {
        self.files.len().div_ceil(self.slice)
    }

    fn bounds(&self, slice: usize) -> std::ops::Range<usize> {
        let from = slice * self.slice;
        from..self.files.len().min(from + self.slice)
    }

    /// What slice `slice` sends to each rank.
    pub fn send(&self, slice: usize) -> Vec<Vec<u32>> {
        let bounds = self.bounds(slice);
        let each = bounds.len() / self.size + 1;
        let mut parts: Vec<_> = (0..self.size).map(|_| Vec::with_capacity(each)).collect();
        for i in bounds {
            parts[(i + self.rank) % self.size].push(self.files[i]);
        }
        parts
    }

    /// Takes what every rank sent of slice `slice`, in rank order.
    pub fn take(&mut self, slice: usize, received: &[Vec<u32>]) {
        let bounds = self.bounds(slice);
        for (from, part) in received.iter().enumerate() {
            // Entry i of rank `from` comes here when (i + from) mod size is this rank.
            let residue = self.first_from(from);
            let skipped = bounds.start.saturating_sub(residue).div_ceil(self.size);
            let first = residue + skipped * self.size;
            for (k, &file) in part.iter().enumerate() {
                self.files[first + k * self.size] = file;
            }
        }
    }

    /// The first entry that comes from a rank.
    fn first_from(&self, from: usize) -> usize {
        (self.rank + self.size - from) % self.size
    }

    pub(super) fn finish(mut self) -> Vec<u32> {
        let (n, size) = (self.files.len(), self.size);
        // Where the entries of each rank begin in the concatenation.
        let mut starts = vec![0; size];
        let mut start = 0;
        for (from, at) in starts.iter_mut().enumerate() {
            *at = start;
            start += (n + size - 1).saturating_sub(self.first_from(from)) / size;
        }
        let target = |i: usize| {
            let from = (self.rank + size - i % size) % size;
            starts[from] + i / size
        };
        let mut moved = vec![0u64; n.div_ceil(64)];
        for begin in 0..n {
            if moved[begin / 64] >> (begin % 64) & 1 == 1 {
                continue;
            }
            // One cycle: each entry pushes out the one at its target.
            let (mut at, mut entry) = (begin, self.files[begin]);
            loop {
                at = target(at);
                moved[at / 64] |= 1 << (at % 64);
                std::mem::swap(&mut entry, &mut self.files[at]);
                if at == begin {
                    break;
                }
            }
        }
        drop(moved);
        Mt19937::new(self.last_seed).shuffle(&mut self.files);
        self.files
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::allocated;

    /// The exchange as it is defined: whole lists, dealt and concatenated.
    fn defined(lists: &[Vec<u32>], first_seed: u64, last_seed: u64) -> Vec<Vec<u32>> {
        let size = lists.len();
        let mut sent = vec![vec![Vec::new(); size]; size];
        for (rank, list) in lists.iter().enumerate() {
            let mut list = list.clone();
            Mt19937::new(first_seed).shuffle(&mut list);
            for (i, file) in list.into_iter().enumerate() {
                sent[rank][(i + rank) % size].push(file);
            }
        }
        (0..size)
            .map(|to| {
                let parts: Vec<_> = sent.iter().map(|parts| parts[to].clone()).collect();
                let mut list = parts.concat();
                Mt19937::new(last_seed + to as u64).shuffle(&mut list);
                list
            })
            .collect()
    }

    fn streamed(lists: &[Vec<u32>], slice: usize) -> Vec<Vec<u32>> {
        let size = lists.len();
        let mut ranks: Vec<_> = lists
            .iter()
            .enumerate()
            .map(|(rank, list)| Reshard::new(list.clone(), rank, size, 7, 99 + rank as u64))
            .collect();
        ranks.iter_mut().for_each(|rank| rank.slice = slice);
        for slice in 0..ranks[0].slices() {
            let sent: Vec<_> = ranks.iter().map(|rank| rank.send(slice)).collect();
            for (to, rank) in ranks.iter_mut().enumerate() {
                let received: Vec<_> = sent.iter().map(|parts| parts[to].clone()).collect();
                rank.take(slice, &received);
            }
        }
        ranks.into_iter().map(Reshard::finish).collect()
    }

    #[test]
    fn slices_make_what_whole_lists_make() {
        for size in [1u32, 2, 3, 5, 8] {
            for n in [0u32, 1, 2, 7, 64, 101] {
                let list = |rank| (0..n).map(|k| rank + k * size).collect();
                let lists: Vec<Vec<u32>> = (0..size).map(list).collect();
                let expected = defined(&lists, 7, 99);
                for slice in [1, 3, 10, 1000] {
                    assert_eq!(streamed(&lists, slice), expected, "{size} x {n} by {slice}");
                }
            }
        }
    }

    /// At most 5 bytes per own file at any time, slices aside, of which there are never more than a few.
    #[test]
    fn an_exchange_needs_five_bytes_per_file() {
        let n = 4_000_000u32;
        let peak = allocated::peak_of(|| {
            let files: Vec<u32> = (0..n).collect();
            let mut own = Reshard::new(files, 0, 2, 1, 2);
            for slice in 0..own.slices() {
                // The other rank sends the same numbers.
                let mut sent = own.send(slice);
                let received = [sent.remove(0), sent.remove(0)];
                own.take(slice, &received);
            }
            assert_eq!(own.finish().len(), n as usize);
        });
        let slices = 4 * 4 * SLICE as u64;
        assert!(peak <= 5 * u64::from(n) + slices, "{peak} bytes");
    }
}
