//! The frame of a tfrecord's record: a length, its checksum, a payload, its checksum.
//!
//! Source: TensorFlow's record format (`tensorflow/core/lib/io/record_writer.h`).

use super::{FormatError, Result};
use crate::util::bytes::{le32, le64};
use crate::util::crc32c;

/// Length and its checksum before a payload.
pub(super) const HEADER: u64 = 12;
/// Checksum after it.
pub(super) const FOOTER: u64 = 4;

/// TensorFlow's mask: a checksum of data that holds checksums would otherwise be weak.
pub(super) fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Bytes of the record that begins with `header` at `offset` of the file, of which `left` bytes are left.
///
/// Errors: no record begins there, or it ends beyond what is left.
pub(super) fn record_len(header: &[u8; HEADER as usize], offset: u64, left: u64) -> Result<u64> {
    let (len, crc) = header.split_at(8);
    let stored = le32(crc, 0).unwrap_or(0);
    let computed = masked(crc32c::of(len));
    if stored != computed {
        if offset == 0 {
            return Err(FormatError::magic(
                "a tfrecord file (a length and its checksum)",
                header,
            ));
        }
        return Err(FormatError::Checksum {
            member: format!("the length of the record at byte {offset}"),
            stored,
            computed,
        });
    }
    let len = le64(len, 0).unwrap_or(0);
    let whole = len.saturating_add(HEADER + FOOTER);
    if whole > left {
        return Err(FormatError::Truncated {
            expected: offset.saturating_add(whole),
            got: offset + left,
        });
    }
    Ok(whole)
}
