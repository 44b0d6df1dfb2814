//! What png and jpeg have in common: the raster that a sample is, bare files, and decoding whole files.

use std::sync::Arc;

use super::spans::SpanIndex;
use super::{
    Checker, Chunks, FileSpec, Format, FormatError, FormatOptions, Index, Key, LengthChecker,
    Opened, Out, Result, Source, check_len, no_compression,
};
use crate::config::ImageEncoding;

/// A format of one image per file, as far as it differs from others of them.
pub(super) trait Picture: Sync {
    /// No side may be longer.
    const MAX_SIDE: u64;
    /// How every image begins.
    const MAGIC: &'static [u8];

    fn file_len(raster: &Raster) -> u64;
    fn write(spec: &FileSpec, raster: &Raster, chunk: &mut [u8], out: Out) -> Result<()>;
    /// What the header says, for people.
    fn describe(source: &mut dyn Source) -> Result<String>;
    /// Checks containers and checksums.
    fn verifier() -> Box<dyn Checker>;
    /// Decodes a file over what the raster held.
    fn decode(file: &[u8], raster: &mut Vec<u8>) -> Result<()>;

    fn raster(spec: &FileSpec) -> Result<Raster> {
        Raster::of(spec.sample_dims, Self::MAX_SIDE)
    }
}

impl<P: Picture> Format for P {
    fn holds_whole_file(&self) -> bool {
        true
    }
    fn supports(&self, spec: &FileSpec) -> Result<()> {
        no_compression(spec)?;
        if !is_raw(spec) {
            P::raster(spec)?;
        }
        Ok(())
    }
    fn keys(&self, options: &FormatOptions) -> Vec<Key> {
        vec![Key::new("image_encoding", &options.image_encoding)]
    }
    fn encoded_len(&self, spec: &FileSpec) -> Option<u64> {
        if is_raw(spec) {
            return Some(raw_len(spec));
        }
        Some(P::file_len(&P::raster(spec).ok()?))
    }
    fn min_len(&self, spec: &FileSpec) -> u64 {
        // Images of other writers are compressed.
        if is_raw(spec) { raw_len(spec) } else { 1 }
    }
    fn nominal_len(&self, spec: &FileSpec) -> u64 {
        // One image per file, whatever the number of samples.
        raw_len(spec)
    }
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()> {
        if is_raw(spec) {
            return encode_raw(spec, chunk, out);
        }
        P::write(spec, &P::raster(spec)?, chunk, out)
    }
    fn may_be_bare(&self, spec: &FileSpec) -> bool {
        !is_raw(spec)
    }
    fn is_bare(&self, spec: &FileSpec, file_len: u64, head: &[u8]) -> bool {
        file_len == raw_len(spec) && !head.starts_with(P::MAGIC)
    }
    fn index(&self, source: &mut dyn Source, _: &FormatOptions) -> Result<Arc<dyn Index>> {
        Ok(SpanIndex::whole(1, vec![P::describe(source)?]))
    }
    fn content_checker(&self, is_full: bool, options: &FormatOptions) -> Box<dyn Checker> {
        match options.image_encoding {
            ImageEncoding::Raw => Box::new(LengthChecker::default()),
            _ if is_full => Box::new(ImageChecker::new(P::decode)),
            _ => P::verifier(),
        }
    }
}

/// Bytes of the largest raster that is decoded: 1 GiB.
pub(super) const MAX_RASTER: u64 = 1 << 30;

/// The raster of one sample: `d1` rows of `d2` pixels, as Pillow takes an array of that shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Raster {
    pub(super) width: u64,
    pub(super) height: u64,
    /// 1: grey, 3: RGB.
    pub(super) channels: u64,
}

impl Raster {
    /// Of a sample's shape, (rows, columns) or (rows, columns, 3).
    pub(super) fn of(dims: &[u64], limit: u64) -> Result<Raster> {
        let raster = match *dims {
            [height, width] | [height, width, 1] => Raster {
                width,
                height,
                channels: 1,
            },
            [height, width, 3] => Raster {
                width,
                height,
                channels: 3,
            },
            _ => {
                return Err(FormatError::content(format!(
                    "dataset.record_dims={dims:?} is no image; it takes (rows, columns) or (rows, columns, 3), or dataset.image_encoding=raw"
                )));
            }
        };
        if raster.width.max(raster.height) > limit || raster.width.min(raster.height) == 0 {
            return Err(FormatError::content(format!(
                "an image of {} x {} pixels; the format holds 1 to {limit} each way, or set dataset.image_encoding=raw",
                raster.width, raster.height
            )));
        }
        Ok(raster)
    }

    /// Bytes of a row of pixels.
    pub(super) fn row_len(&self) -> u64 {
        self.width * self.channels
    }
}

/// Whether files hold bare bytes instead of an image.
fn is_raw(spec: &FileSpec) -> bool {
    spec.options.image_encoding == ImageEncoding::Raw
}

/// Bytes of a bare file: one per pixel, one image per file, whatever the element type and the samples.
fn raw_len(spec: &FileSpec) -> u64 {
    spec.sample_elements()
}

/// Streams a bare file.
fn encode_raw(spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()> {
    let mut chunks = Chunks::new(chunk, out);
    chunks.fill(&spec.fill, 0, raw_len(spec))?;
    Ok(chunks.end()?)
}

/// Collects a file and decodes it.
struct ImageChecker {
    bytes: Vec<u8>,
    raster: Vec<u8>,
    file_len: u64,
    decode: fn(file: &[u8], raster: &mut Vec<u8>) -> Result<()>,
}

impl ImageChecker {
    /// With a decoder that is given the file and a raster to write over.
    fn new(decode: fn(file: &[u8], raster: &mut Vec<u8>) -> Result<()>) -> Self {
        ImageChecker {
            bytes: Vec::new(),
            raster: Vec::new(),
            file_len: 0,
            decode,
        }
    }
}

impl Checker for ImageChecker {
    fn begin(&mut self, opened: &Opened) {
        self.bytes.clear();
        self.file_len = LengthChecker::expected(opened);
    }
    fn push(&mut self, chunk: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
    fn finish(&mut self) -> Result<()> {
        check_len(self.bytes.len() as u64, self.file_len, 1)?;
        (self.decode)(&self.bytes, &mut self.raster)
    }
}
