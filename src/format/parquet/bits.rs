//! Packed integers: runs and bit-packed groups (levels, dictionary indices, truth values), and delta blocks.
//!
//! Whatever the bytes announce, memory is that of the caller's slice. Source: `Encodings.md` of Apache Parquet.

use crate::format::{FormatError, Result};
use crate::util::{self, bytes::le32};

fn damaged(cause: &str) -> FormatError {
    FormatError::damaged(format!("a page cannot be decoded: {cause}"))
}

/// The first `n` bytes, which are taken off.
pub(super) fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Result<&'a [u8]> {
    let (head, rest) = bytes
        .split_at_checked(n)
        .ok_or_else(|| damaged(&format!("{n} bytes are needed and {} left", bytes.len())))?;
    *bytes = rest;
    Ok(head)
}

/// A little-endian length, which is taken off.
pub(super) fn take_len(bytes: &mut &[u8]) -> Result<usize> {
    Ok(le32(take(bytes, 4)?, 0).unwrap_or(0) as usize)
}

fn varint(bytes: &mut &[u8]) -> Result<u64> {
    util::varint::take(bytes).map_err(|error| damaged(error.into()))
}

fn zigzag(bytes: &mut &[u8]) -> Result<i64> {
    Ok(util::varint::unzigzag(varint(bytes)?))
}

/// `width` bits from bit `at` on, the lowest first; bits beyond the end are 0. `width` is at most 64.
fn bits(bytes: &[u8], at: usize, width: u32) -> u64 {
    if width == 0 {
        return 0;
    }
    let (first, shift) = (at / 8, (at % 8) as u32);
    let mask = u64::MAX >> (64 - width);
    if let Some(word) = bytes.get(first..first + 8).and_then(|b| b.try_into().ok())
        && shift + width <= 64
    {
        return u64::from_le_bytes(word) >> shift & mask;
    }
    let end = (first + 9).min(bytes.len());
    let word = bytes
        .get(first..end)
        .unwrap_or(&[])
        .iter()
        .rev()
        .fold(0u128, |word, &byte| word << 8 | u128::from(byte));
    (word >> shift) as u64 & mask
}

/// Runs of one value and groups of packed values, in turns.
pub(super) struct Hybrid<'a> {
    rest: &'a [u8],
    width: u32,
    value: u32,
    repeats: u64,
    packed: &'a [u8],
    at: usize,
    packed_left: u64,
}

impl<'a> Hybrid<'a> {
    /// Errors: `width`, in bits, is more than 32.
    pub(super) fn new(bytes: &'a [u8], width: u32) -> Result<Self> {
        if width > 32 {
            return Err(damaged(&format!("values of {width} bits")));
        }
        Ok(Hybrid {
            rest: bytes,
            width,
            value: 0,
            repeats: 0,
            packed: &[],
            at: 0,
            packed_left: 0,
        })
    }

    /// The next values, as many as fit.
    ///
    /// Errors: there are fewer.
    pub(super) fn read(&mut self, out: &mut [u32]) -> Result<()> {
        let mut done = 0;
        while done < out.len() {
            let room = (out.len() - done) as u64;
            if self.repeats > 0 {
                let n = room.min(self.repeats);
                out[done..done + n as usize].fill(self.value);
                self.repeats -= n;
                done += n as usize;
            } else if self.packed_left > 0 {
                let n = room.min(self.packed_left);
                for to in &mut out[done..done + n as usize] {
                    *to = bits(self.packed, self.at, self.width) as u32;
                    self.at += self.width as usize;
                }
                self.packed_left -= n;
                done += n as usize;
            } else {
                self.next_run()?;
            }
        }
        Ok(())
    }

    fn next_run(&mut self) -> Result<()> {
        let head = varint(&mut self.rest)?;
        if head & 1 == 0 {
            self.repeats = head >> 1;
            let value = take(&mut self.rest, self.width.div_ceil(8) as usize)?;
            self.value = bits(value, 0, self.width) as u32;
            return Ok(());
        }
        let values = (head >> 1).saturating_mul(8);
        self.at = 0;
        if self.width == 0 {
            self.packed_left = values;
            return Ok(());
        }
        // Some writers leave out the end of the last group.
        let bytes = (head >> 1)
            .saturating_mul(self.width.into())
            .min(self.rest.len() as u64);
        self.packed = take(&mut self.rest, bytes as usize)?;
        self.packed_left = values.min(bytes * 8 / u64::from(self.width));
        Ok(())
    }
}

/// Integers as differences, in blocks of miniblocks.
#[derive(Clone)]
pub(super) struct Delta<'a> {
    rest: &'a [u8],
    /// Values in a miniblock, and miniblocks in a block.
    in_mini: usize,
    minis: usize,
    /// Values that are still to come.
    left: u64,
    is_first: bool,
    value: i64,
    smallest: i64,
    widths: &'a [u8],
    packed: &'a [u8],
    width: u32,
    at: usize,
    mini_left: usize,
}

impl<'a> Delta<'a> {
    /// Errors: the header is no such header.
    pub(super) fn new(mut bytes: &'a [u8]) -> Result<Self> {
        let block = varint(&mut bytes)?;
        let minis = varint(&mut bytes)?;
        let left = varint(&mut bytes)?;
        let value = zigzag(&mut bytes)?;
        let in_mini = block.checked_div(minis).unwrap_or(0);
        if in_mini == 0 || block % minis != 0 || in_mini % 8 != 0 || block > 1 << 24 {
            return Err(damaged(&format!(
                "blocks of {block} values in {minis} parts"
            )));
        }
        Ok(Delta {
            rest: bytes,
            in_mini: in_mini as usize,
            minis: minis as usize,
            left,
            is_first: true,
            value,
            smallest: 0,
            widths: &[],
            packed: &[],
            width: 0,
            at: 0,
            mini_left: 0,
        })
    }

    /// Values that are still to come.
    pub(super) fn left(&self) -> u64 {
        self.left
    }

    /// The next values, as many as fit.
    ///
    /// Errors: there are fewer.
    pub(super) fn read(&mut self, out: &mut [i64]) -> Result<()> {
        if out.len() as u64 > self.left {
            return Err(damaged(&format!(
                "{} values are needed and {} left",
                out.len(),
                self.left
            )));
        }
        for to in out.iter_mut() {
            if self.is_first {
                self.is_first = false;
            } else {
                if self.mini_left == 0 {
                    self.next_mini()?;
                }
                if self.at + self.width as usize > self.packed.len() * 8 {
                    return Err(damaged("a block of differences ends too early"));
                }
                let delta = bits(self.packed, self.at, self.width) as i64;
                self.at += self.width as usize;
                self.mini_left -= 1;
                self.value = self.value.wrapping_add(self.smallest).wrapping_add(delta);
            }
            *to = self.value;
        }
        self.left -= out.len() as u64;
        Ok(())
    }

    fn next_mini(&mut self) -> Result<()> {
        if self.widths.is_empty() {
            self.smallest = zigzag(&mut self.rest)?;
            self.widths = take(&mut self.rest, self.minis)?;
        }
        self.width = take(&mut self.widths, 1)?[0].into();
        if self.width > 64 {
            return Err(damaged(&format!("differences of {} bits", self.width)));
        }
        let bytes = (self.in_mini / 8 * self.width as usize).min(self.rest.len());
        self.packed = take(&mut self.rest, bytes)?;
        self.at = 0;
        self.mini_left = self.in_mini;
        Ok(())
    }

    /// What follows the values: all of them are read, and dropped.
    pub(super) fn after(mut self) -> Result<&'a [u8]> {
        let mut scratch = [0; 1024];
        while self.left > 0 {
            let n = self.left.min(scratch.len() as u64) as usize;
            self.read(&mut scratch[..n])?;
        }
        Ok(self.rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The examples of the specification: 0 to 7 in 3 bits, and a run.
    #[test]
    fn groups_and_runs_read_as_specified() {
        let bytes = [0x03, 0x88, 0xc6, 0xfa, 10 << 1, 4];
        let mut hybrid = Hybrid::new(&bytes, 3).unwrap();
        let mut out = [0; 18];
        hybrid.read(&mut out).unwrap();
        assert_eq!(out[..8], [0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(out[8..], [4; 10]);
        assert!(hybrid.read(&mut [0]).is_err());
    }

    // The second example of the specification: 7, 5, 3, 1, 2, 3, 4, 5 with differences -2, -2, -2, 1, 1, 1, 1.
    #[test]
    fn differences_read_as_specified() {
        let mut bytes = vec![128, 1, 4, 8, 14, 3, 2, 0, 0, 0];
        // Differences above -2, two bits each: 0 0 0 3 3 3 3, and padding to 32 values.
        bytes.extend([0xc0, 0x3f, 0, 0, 0, 0, 0, 0]);
        let delta = Delta::new(&bytes).unwrap();
        let mut out = [0; 8];
        delta.clone().read(&mut out).unwrap();
        assert_eq!(out, [7, 5, 3, 1, 2, 3, 4, 5]);
        bytes.push(99);
        assert_eq!(Delta::new(&bytes).unwrap().after().unwrap(), [99]);
    }

    #[test]
    fn bits_are_taken_from_anywhere() {
        let bytes: Vec<u8> = (1u8..=20).map(|i| i.wrapping_mul(37)).collect();
        let all = |at: usize| bytes[at / 8] >> (at % 8) & 1;
        for width in 0..=64 {
            for at in 0..90 {
                let slow = (0..width).fold(0u64, |v, i| v | u64::from(all(at + i as usize)) << i);
                assert_eq!(bits(&bytes, at, width), slow, "{width} bits at {at}");
            }
        }
    }
}
