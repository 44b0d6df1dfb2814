//! npz: a zip of `x.npy` (the samples) and `y.npy` (labels, int64 zeros), byte for byte as numpy's `savez` writes it.
//!
//! The checksum of `x.npy` stands before its data. [`Fill`](crate::plan::fill::Fill) computes it without the data, so a
//! file is streamed in one pass.
//!
//! With `dataset.compression: zip` both members are deflated, as `savez_compressed` does (DLIO's key has no effect); their
//! lengths and checksums follow them in data descriptors, and the file's length is known when it is written.
//!
//! The archive's headers are those of [`container::zip`](super::container::zip).

use std::io::Write;
use std::sync::Arc;

use super::container::npy::header;
use super::container::zip::{Entry, NUMPY};
use super::npy::{array_shape, stamp_matches};
use super::npz_check::VerifyChecker;
use super::npz_full::{FullChecker, describe};
use super::{
    Checker, Chunks, FileSpec, Format, FormatError, FormatOptions, Index, Out, Result, Source,
    begins_with,
};
use crate::config::Compression;

pub struct Npz;

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
        let x = Entry::stored("x.npy", x_header.len() as u64 + payload, 0, crc);
        let x_local = NUMPY.local_header(&x);
        let mut y_array = header("<i8", &[spec.samples]);
        y_array.resize(y_array.len() + 8 * spec.samples as usize, 0);
        let y = Entry::stored(
            "y.npy",
            y_array.len() as u64,
            x_local.len() as u64 + x.len,
            crc32fast::hash(&y_array),
        );
        let y_local = NUMPY.local_header(&y);
        let end = y.offset + y_local.len() as u64 + y.len;
        Layout {
            x_start: [x_local, x_header].concat(),
            y: [y_local, y_array].concat(),
            tail: NUMPY.directory(&[x, y], end),
        }
    }
}

/// Streams the archive with deflated members.
fn encode_deflated(spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()> {
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
    fn holds_whole_file(&self) -> bool {
        true
    }
    fn supports(&self, spec: &FileSpec) -> Result<()> {
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
    fn least_len(&self, spec: &FileSpec) -> u64 {
        let payload = || spec.fill.incompressible(spec.payload_len());
        self.encoded_len(spec).unwrap_or_else(payload)
    }
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()> {
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
    fn content_checker(&self, is_full: bool, _: &FormatOptions) -> Box<dyn Checker> {
        if is_full {
            Box::new(FullChecker::default())
        } else {
            Box::new(VerifyChecker::default())
        }
    }
    fn index(&self, source: &mut dyn Source, _: &FormatOptions) -> Result<Arc<dyn Index>> {
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
