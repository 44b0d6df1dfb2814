//! Levels as they are written: runs of equal values and groups of eight packed bits, in the lengths that pyarrow makes.

use crate::util::varint;

/// Groups of eight in a packed run: the head of a run is one byte.
const MAX_GROUPS: u32 = 63;

/// Writes numbers of one bit.
///
/// Eight or more equal values become a run. Where one begins within a group of eight, the group is packed first: pyarrow
/// does the same, and files are to have its size. Source: `Encodings.md` of Apache Parquet, "RLE/Bit-Packing Hybrid".
pub(super) struct Bits<'a> {
    out: &'a mut Vec<u8>,
    group: u8,
    grouped: u8,
    value: bool,
    repeats: u64,
    /// Where the head of the open packed run is, and its groups.
    head: Option<usize>,
    groups: u32,
}

impl<'a> Bits<'a> {
    /// Appends to `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Bits {
            out,
            group: 0,
            grouped: 0,
            value: false,
            repeats: 0,
            head: None,
            groups: 0,
        }
    }

    /// The same value `n` times.
    pub(super) fn push(&mut self, value: bool, n: u64) {
        for done in 0..n {
            if value == self.value {
                self.repeats += 1;
                if self.repeats > 8 {
                    // The rest of a run needs no look at each.
                    self.repeats += n - done - 1;
                    return;
                }
            } else {
                if self.repeats >= 8 {
                    self.end_run();
                }
                self.value = value;
                self.repeats = 1;
            }
            self.group |= u8::from(value) << self.grouped;
            self.grouped += 1;
            if self.grouped == 8 {
                self.end_group();
            }
        }
    }

    fn end_group(&mut self) {
        let group = std::mem::take(&mut self.group);
        self.grouped = 0;
        if self.repeats >= 8 {
            self.end_packed();
            return;
        }
        if self.head.is_none() {
            self.head = Some(self.out.len());
            self.out.push(0);
        }
        self.out.push(group);
        self.groups += 1;
        self.repeats = 0;
        if self.groups == MAX_GROUPS {
            self.end_packed();
        }
    }

    fn end_packed(&mut self) {
        if let Some(head) = self.head.take() {
            self.out[head] = (self.groups << 1 | 1) as u8;
            self.groups = 0;
        }
    }

    fn end_run(&mut self) {
        varint::put(self.out, self.repeats << 1);
        self.out.push(u8::from(self.value));
        self.repeats = 0;
        self.group = 0;
        self.grouped = 0;
    }

    /// Ends the last run.
    pub(super) fn end(mut self) {
        let is_run = self.head.is_none() && self.repeats > 0;
        if is_run && (self.grouped == 0 || self.repeats == u64::from(self.grouped)) {
            self.end_run();
        } else {
            if self.grouped > 0 {
                self.repeats = 0;
                self.end_group();
            }
            self.end_packed();
        }
    }
}

/// Appends numbers of `width` bits, the lowest first, as one packed run.
pub(super) fn put_packed(
    numbers: impl ExactSizeIterator<Item = u32>,
    width: u32,
    out: &mut Vec<u8>,
) {
    put_packed_head(numbers.len() as u64, out);
    let end = out.len() + (numbers.len().div_ceil(8)) * width as usize;
    let (mut word, mut used) = (0u64, 0);
    for number in numbers {
        word |= u64::from(number) << used;
        used += width;
        while used >= 8 {
            out.push(word as u8);
            word >>= 8;
            used -= 8;
        }
    }
    if used > 0 {
        out.push(word as u8);
    }
    out.resize(end, 0);
}

/// Appends what stands before `n` packed numbers.
pub(super) fn put_packed_head(n: u64, out: &mut Vec<u8>) {
    varint::put(out, n.div_ceil(8) << 1 | 1);
}

/// Bytes of `n` packed numbers of `width` bits and of what stands before them.
pub(super) fn packed_len(n: u64, width: u32) -> u64 {
    let groups = n.div_ceil(8);
    varint::len(groups << 1 | 1) + groups * u64::from(width)
}

/// Bits that the numbers below `n` need; at least one is used, as pyarrow does.
pub(super) fn width_below(n: u64) -> u32 {
    (u64::BITS - n.saturating_sub(1).leading_zeros()).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_sixteen_take_four_bytes_each() {
        // As in files of pyarrow 22: a group with the beginning, and a run.
        let mut out = Vec::new();
        let mut bits = Bits::new(&mut out);
        for _ in 0..1000 {
            bits.push(false, 1);
            bits.push(true, 15);
        }
        bits.end();
        assert_eq!(out.len(), 4000);
        assert_eq!(out[..4], [3, 0xfe, 16, 1]);
    }
}
