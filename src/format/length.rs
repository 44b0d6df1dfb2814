//! `decode: none`: counting bytes.

use super::{Checker, Extent, FormatError, Opened, Result};

/// Counts bytes only: what `decode: none` does.
#[derive(Default)]
pub(crate) struct LengthChecker {
    expected: u64,
    got: u64,
}

impl LengthChecker {
    /// Bytes that the extents of an opened file hold.
    pub(crate) fn expected(opened: &Opened) -> u64 {
        opened
            .extents
            .iter()
            .map(|extent| match extent {
                Extent::Whole => opened.file_len.max(opened.expect.min_len).max(1),
                Extent::Range { len, .. } => *len,
            })
            .sum()
    }
}

impl Checker for LengthChecker {
    fn begin(&mut self, opened: &Opened) {
        *self = LengthChecker {
            expected: LengthChecker::expected(opened),
            got: 0,
        };
    }
    fn push(&mut self, chunk: &[u8]) -> Result<()> {
        self.got += chunk.len() as u64;
        Ok(())
    }
    fn finish(&mut self) -> Result<()> {
        if self.got < self.expected {
            return Err(FormatError::Truncated {
                expected: self.expected,
                got: self.got,
            });
        }
        Ok(())
    }
}

/// All of the file was seen, and it is as long as its samples need.
pub(crate) fn check_len(got: u64, file_len: u64, min_len: u64) -> Result<()> {
    let expected = file_len.max(min_len).max(1);
    if got < expected {
        Err(FormatError::Truncated { expected, got })
    } else {
        Ok(())
    }
}

/// Bytes that a compressed file of `file_len` bytes may unpack to: more is taken for a bomb.
///
/// Deflate reaches 1,032 to 1 on one repeated byte; arrays of real data stay far below 256 to 1.
pub(crate) fn unpacked_limit(file_len: u64) -> u64 {
    (64 << 20) + file_len.saturating_mul(256)
}

/// Where byte `at` of the extents, one after another, lies in the file.
pub(super) fn file_offset(extents: &[Extent], mut at: u64) -> u64 {
    for extent in extents {
        match extent {
            Extent::Whole => return at,
            Extent::Range { offset, len } if at < *len => return offset + at,
            Extent::Range { len, .. } => at -= len,
        }
    }
    at
}
