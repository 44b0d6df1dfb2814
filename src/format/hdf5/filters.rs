//! Undoing the filters of a chunk.

use std::io::Read;

use hdf5::filters::Filter;
use hdf5_metno as hdf5;

use crate::format::{FormatError, Result};

/// A filter that chunks are read through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undo {
    Inflate,
    /// Bytes of elements stand together by their place in the element.
    Unshuffle,
    /// Checksum of four bytes at the end.
    Fletcher32,
    Unlzf,
}

impl Undo {
    /// Errors: a filter that is not read here.
    pub(super) fn of(filter: &Filter) -> Result<Undo> {
        Ok(match filter {
            Filter::Deflate(_) => Undo::Inflate,
            Filter::Shuffle => Undo::Unshuffle,
            Filter::Fletcher32 => Undo::Fletcher32,
            Filter::LZF => Undo::Unlzf,
            other => {
                return Err(FormatError::Content(format!(
                    "its chunks pass through the filter {other:?}; gzip, lzf, shuffle and fletcher32 are read (or set reader.decode to none or verify)"
                )));
            }
        })
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Undo::Inflate => "gzip",
            Undo::Unshuffle => "shuffle",
            Undo::Fletcher32 => "fletcher32",
            Undo::Unlzf => "lzf",
        }
    }
}

fn bad(what: &str) -> FormatError {
    FormatError::Content(format!("a chunk cannot be unpacked: {what}"))
}

/// Undoes one filter; a chunk never has more than `limit` bytes.
pub(super) fn undo(
    filter: Undo,
    bytes: &[u8],
    element_bytes: usize,
    limit: usize,
) -> Result<Vec<u8>> {
    match filter {
        Undo::Inflate => {
            let mut out = Vec::new();
            flate2::read::ZlibDecoder::new(bytes)
                .take(limit as u64 + 1)
                .read_to_end(&mut out)
                .map_err(|e| bad(&e.to_string()))?;
            Ok(out)
        }
        Undo::Unshuffle => {
            let elements = bytes.len() / element_bytes.max(1);
            let mut out = bytes.to_vec();
            for place in 0..element_bytes {
                for element in 0..elements {
                    out[element * element_bytes + place] = bytes[place * elements + element];
                }
            }
            Ok(out)
        }
        Undo::Fletcher32 => {
            let (data, stored) = bytes
                .split_last_chunk::<4>()
                .ok_or_else(|| bad("no room for its checksum"))?;
            let stored = u32::from_le_bytes(*stored);
            let computed = fletcher32(data);
            if stored != computed {
                return Err(FormatError::Checksum {
                    member: "a chunk".into(),
                    stored,
                    computed,
                });
            }
            Ok(data.to_vec())
        }
        Undo::Unlzf => unlzf(bytes, limit),
    }
}

/// Source: the HDF5 File Format Specification, Fletcher32 of big-endian 16-bit words.
fn fletcher32(data: &[u8]) -> u32 {
    let (mut low, mut high) = (0u32, 0u32);
    let (words, rest) = data.as_chunks::<2>();
    let last = rest.first().map(|&byte| u32::from(byte) << 8);
    let words = words.iter().map(|w| u32::from(u16::from_be_bytes(*w)));
    for word in words.chain(last) {
        low = (low + word) % 65_535;
        high = (high + low) % 65_535;
    }
    high << 16 | low
}

/// Source: the LZF stream of liblzf: literal runs (control < 32) and back references.
fn unlzf(mut bytes: &[u8], limit: usize) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    let short = || bad("lzf: it ends too early");
    while let Some((&control, rest)) = bytes.split_first() {
        bytes = rest;
        if control < 32 {
            let n = usize::from(control) + 1;
            out.extend_from_slice(bytes.get(..n).ok_or_else(short)?);
            bytes = &bytes[n..];
        } else {
            let mut take = || {
                let (&byte, rest) = bytes.split_first().ok_or_else(short)?;
                bytes = rest;
                Ok::<usize, FormatError>(usize::from(byte))
            };
            let mut len = usize::from(control >> 5);
            if len == 7 {
                len += take()?;
            }
            let back = (usize::from(control & 31) << 8) + take()? + 1;
            let from = out
                .len()
                .checked_sub(back)
                .ok_or_else(|| bad("lzf: a reference before its start"))?;
            for i in 0..len + 2 {
                out.push(out[from + i]);
            }
        }
        if out.len() > limit {
            return Err(bad("lzf: it is longer than its chunk"));
        }
    }
    Ok(out)
}
