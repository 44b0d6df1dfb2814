//! npz: a zip of `x.npy` (the samples) and `y.npy` (labels, int64 zeros), byte for byte as numpy's `savez` writes it.
//!
//! The checksum of `x.npy` stands before its data. [`Fill`](crate::plan::fill::Fill) computes it without the data, so a
//! file is streamed in one pass.
//!
//! With `dataset.compression: zip` both members are deflated, as `savez_compressed` does (DLIO's key has no effect); their
//! lengths and checksums follow them in data descriptors, and the file's length is known when it is written.
//!
//! Source: the ZIP specification (APPNOTE 4.3) and what Python's `zipfile` writes for `force_zip64` members.

use std::io::Write;
use std::sync::Arc;

use super::npy::{array_shape, header, stamp_matches};
use super::npz_check::{FullChecker, VerifyChecker, describe};
use super::{
    Checker, Chunks, FileSpec, Format, FormatError, FormatOptions, Index, LengthChecker, Out,
    Source, begins_with,
};
use crate::config::{Compression, Decode};

/// The npz format.
pub struct Npz;

pub(super) const LOCAL: u32 = 0x0403_4b50;
pub(super) const CENTRAL: u32 = 0x0201_4b50;
pub(super) const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;

/// Python writes 64-bit fields in the directory beyond this, not beyond 2^32 - 1.
const PYTHON_ZIP64_LIMIT: u64 = (1 << 31) - 1;
const VERSION_ZIP64: u16 = 45;
const UNIX: u8 = 3;
/// 1980-01-01.
const DOS_DATE: u16 = 33;
const RW_FOR_OWNER: u32 = 0o600 << 16;

/// One array of the archive.
struct Member {
    name: &'static str,
    crc: u32,
    len: u64,
    offset: u64,
}

fn put(out: &mut Vec<u8>, fields: &[&[u8]]) {
    fields.iter().for_each(|field| out.extend_from_slice(field));
}

impl Member {
    fn local_header(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let all_ones = u32::MAX.to_le_bytes();
        put(
            &mut out,
            &[
                &LOCAL.to_le_bytes(),
                &VERSION_ZIP64.to_le_bytes(),
                // Flags, method (stored) and time.
                &[0; 6],
                &DOS_DATE.to_le_bytes(),
                &self.crc.to_le_bytes(),
                &all_ones,
                &all_ones,
                &(self.name.len() as u16).to_le_bytes(),
                &20u16.to_le_bytes(),
                self.name.as_bytes(),
                &1u16.to_le_bytes(),
                &16u16.to_le_bytes(),
                &self.len.to_le_bytes(),
                &self.len.to_le_bytes(),
            ],
        );
        out
    }

    fn local_len(&self) -> u64 {
        (30 + self.name.len() + 20) as u64
    }

    fn directory_entry(&self) -> Vec<u8> {
        let is_large = self.len > PYTHON_ZIP64_LIMIT;
        let is_far = self.offset > PYTHON_ZIP64_LIMIT;
        let mut wide = Vec::new();
        if is_large {
            put(
                &mut wide,
                &[&self.len.to_le_bytes(), &self.len.to_le_bytes()],
            );
        }
        if is_far {
            put(&mut wide, &[&self.offset.to_le_bytes()]);
        }
        let mut extra = Vec::new();
        if !wide.is_empty() {
            put(
                &mut extra,
                &[
                    &1u16.to_le_bytes(),
                    &(wide.len() as u16).to_le_bytes(),
                    &wide,
                ],
            );
        }
        let size = if is_large { u32::MAX } else { self.len as u32 };
        let offset = if is_far { u32::MAX } else { self.offset as u32 };
        let mut out = Vec::new();
        put(
            &mut out,
            &[
                &CENTRAL.to_le_bytes(),
                &[VERSION_ZIP64 as u8, UNIX],
                &VERSION_ZIP64.to_le_bytes(),
                &[0; 6],
                &DOS_DATE.to_le_bytes(),
                &self.crc.to_le_bytes(),
                &size.to_le_bytes(),
                &size.to_le_bytes(),
                &(self.name.len() as u16).to_le_bytes(),
                &(extra.len() as u16).to_le_bytes(),
                // Comment length, disk number, internal attributes.
                &[0; 6],
                &RW_FOR_OWNER.to_le_bytes(),
                &offset.to_le_bytes(),
                self.name.as_bytes(),
                &extra,
            ],
        );
        out
    }
}

/// The directory and the end records.
fn tail(members: &[Member], offset: u64) -> Vec<u8> {
    let mut out: Vec<u8> = members.iter().flat_map(Member::directory_entry).collect();
    let size = out.len() as u64;
    let count = members.len() as u64;
    if offset > PYTHON_ZIP64_LIMIT {
        let versions = [VERSION_ZIP64.to_le_bytes(), VERSION_ZIP64.to_le_bytes()].concat();
        put(
            &mut out,
            &[
                &END64.to_le_bytes(),
                &44u64.to_le_bytes(),
                &versions,
                &[0; 8],
            ],
        );
        put(
            &mut out,
            &[
                &count.to_le_bytes(),
                &count.to_le_bytes(),
                &size.to_le_bytes(),
                &offset.to_le_bytes(),
            ],
        );
        put(
            &mut out,
            &[
                &LOCATOR64.to_le_bytes(),
                &[0; 4],
                &(offset + size).to_le_bytes(),
                &1u32.to_le_bytes(),
            ],
        );
    }
    let count = (count as u16).to_le_bytes();
    let offset = offset.min(u64::from(u32::MAX)) as u32;
    put(
        &mut out,
        &[
            &END.to_le_bytes(),
            &[0; 4],
            &count,
            &count,
            &(size as u32).to_le_bytes(),
            &offset.to_le_bytes(),
            &[0; 2],
        ],
    );
    out
}

/// Everything of a file but its samples.
struct Layout {
    x_start: Vec<u8>,
    y: Vec<u8>,
    tail: Vec<u8>,
}

impl Layout {
    fn new(spec: &FileSpec, with_crc: bool) -> Self {
        let x_header = header(spec.element.descr, &array_shape(spec));
        let payload = spec.payload_len();
        let crc = if with_crc {
            spec.fill.crc32_after(crc32fast::hash(&x_header), payload)
        } else {
            0
        };
        let x = Member {
            name: "x.npy",
            crc,
            len: x_header.len() as u64 + payload,
            offset: 0,
        };
        let mut y_array = header("<i8", &[spec.samples]);
        y_array.resize(y_array.len() + 8 * spec.samples as usize, 0);
        let y = Member {
            name: "y.npy",
            crc: crc32fast::hash(&y_array),
            len: y_array.len() as u64,
            offset: x.local_len() + x.len,
        };
        let end = y.offset + y.local_len() + y.len;
        Layout {
            x_start: [x.local_header(), x_header].concat(),
            y: [y.local_header(), y_array].concat(),
            tail: tail(&[x, y], end),
        }
    }
}

/// Streams the archive with deflated members.
fn encode_deflated(spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<(), FormatError> {
    let packed = |e: zip::result::ZipError| FormatError::Io(e.into());
    let mut chunks = Chunks::new(chunk, out);
    let mut archive = zip::ZipWriter::new_stream(chunks.writer());
    let options = zip_options(spec.options.compression_level);
    archive.start_file("x.npy", options).map_err(packed)?;
    archive.write_all(&header(spec.element.descr, &array_shape(spec)))?;
    let mut piece = vec![0; 1 << 16];
    let mut done = 0;
    while done < spec.payload_len() {
        let n = (spec.payload_len() - done).min(piece.len() as u64) as usize;
        spec.fill.fill(done, &mut piece[..n]);
        archive.write_all(&piece[..n])?;
        done += n as u64;
    }
    archive.start_file("y.npy", options).map_err(packed)?;
    archive.write_all(&header("<i8", &[spec.samples]))?;
    for _ in 0..spec.samples {
        archive.write_all(&[0; 8])?;
    }
    archive.finish().map_err(packed)?;
    Ok(chunks.end()?)
}

/// A deflated member of fixed date, so that equal contents are equal files.
pub(super) fn zip_options(level: u32) -> zip::write::SimpleFileOptions {
    zip::write::SimpleFileOptions::default()
        .compression_method(zip::CompressionMethod::Deflated)
        .compression_level(Some(i64::from(level.clamp(1, 9))))
        .last_modified_time(zip::DateTime::default())
        .large_file(true)
}

fn is_deflated(spec: &FileSpec) -> bool {
    spec.options.compression == Compression::Zip
}

impl Format for Npz {
    fn supports(&self, spec: &FileSpec) -> Result<(), FormatError> {
        match spec.options.compression {
            Compression::None | Compression::Zip => Ok(()),
            other => Err(FormatError::Content(format!(
                "dataset.compression={other}: npz takes none and zip"
            ))),
        }
    }
    fn encoded_len(&self, spec: &FileSpec) -> Option<u64> {
        if is_deflated(spec) {
            return None;
        }
        let layout = Layout::new(spec, false);
        let frame = layout.x_start.len() + layout.y.len() + layout.tail.len();
        Some(frame as u64 + spec.payload_len())
    }
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<(), FormatError> {
        if is_deflated(spec) {
            return encode_deflated(spec, chunk, out);
        }
        let layout = Layout::new(spec, true);
        let mut chunks = Chunks::new(chunk, out);
        chunks.bytes(&layout.x_start)?;
        chunks.fill(&spec.fill, 0, spec.payload_len())?;
        chunks.bytes(&layout.y)?;
        chunks.bytes(&layout.tail)?;
        Ok(chunks.end()?)
    }
    fn checker(&self, decode: Decode, _: &FormatOptions) -> Box<dyn Checker> {
        match decode {
            Decode::None => Box::new(LengthChecker::default()),
            Decode::Verify => Box::new(VerifyChecker::default()),
            Decode::Full => Box::new(FullChecker::default()),
        }
    }
    fn index(
        &self,
        source: &mut dyn Source,
        _: &FormatOptions,
    ) -> Result<Arc<dyn Index>, FormatError> {
        describe(source)
    }
    fn stamp(&self, spec: &FileSpec, head: &[u8]) -> bool {
        if is_deflated(spec) {
            return begins_with(head, |chunk, out| self.encode(spec, chunk, out));
        }
        // The header carries the checksum of the whole file, so the first bytes vouch for all of them.
        stamp_matches(spec, &mut Layout::new(spec, true).x_start, head)
    }
}

#[cfg(test)]
#[path = "npz_tests.rs"]
mod tests;
