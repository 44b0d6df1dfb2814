//! hdf5: datasets `records_0` ... `records_{k-1}` with the sample axis first, and `labels` (int64 zeros).
//!
//! libhdf5 makes and parses metadata; the bytes of samples never pass through it. A file is made once as a sparse image
//! in memory whose storage is allocated and not written; what lies outside that storage is the file's metadata, a few KiB, and a
//! file is streamed as metadata and fill in the order of their addresses. Compressed chunks have no size before they are
//! made: such a file is written into a temporary image, chunk by chunk, and streamed from there.
//!
//! Where k > 1 the first axis of a sample is divided by k (rounding down, as in DLIO). `records_i` holds bytes
//! `i * n * part` onwards of the file's fill, `part` being the bytes of a sample in one dataset; DLIO repeats one array.
//!
//! Source: DLIO `data_generator/hdf5_generator.py`, `reader/hdf5_reader.py`; the HDF5 File Format Specification for what
//! is streamed.

mod check;
mod driver;
mod filters;
mod image;
mod index;
mod layout;
mod library;
mod reader;
mod skeleton;

use std::sync::Arc;

use super::{
    Checker, Chunks, Expect, FileSpec, Format, FormatOptions, Index, Key, Opened, Out, Result,
    Source,
};
use crate::config::Compression;
use check::ChunkChecker;
use index::Hdf5Index;
use layout::Layout;
use skeleton::Skeleton;

pub struct Hdf5;

impl Format for Hdf5 {
    fn supports(&self, spec: &FileSpec) -> Result<()> {
        Layout::of(spec).map(|_| ())
    }
    fn keys(&self, options: &FormatOptions) -> Vec<Key> {
        vec![
            Key::new("hdf5", &options.hdf5),
            Key::new("enable_chunking", &options.enable_chunking),
            Key::new("chunk_size", &options.chunk_size),
        ]
    }
    fn encoded_len(&self, spec: &FileSpec) -> Option<u64> {
        let layout = Layout::of(spec).ok()?;
        if layout.compression != Compression::None {
            return None;
        }
        Skeleton::of(&layout).ok().map(|skeleton| skeleton.len)
    }
    fn min_len(&self, spec: &FileSpec) -> u64 {
        match Layout::of(spec) {
            Ok(layout) if layout.compression == Compression::None => {
                layout.datasets * layout.dataset_len()
            }
            _ => 1,
        }
    }
    fn least_len(&self, spec: &FileSpec) -> u64 {
        let payload = || spec.fill.incompressible(spec.payload_len());
        self.encoded_len(spec).unwrap_or_else(payload)
    }
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()> {
        let layout = Layout::of(spec)?;
        let mut chunks = Chunks::new(chunk, out);
        if layout.compression == Compression::None {
            Skeleton::of(&layout)?.stream(&layout, &spec.fill, &mut chunks)?;
        } else {
            skeleton::stream_compressed(&layout, spec, &mut chunks)?;
        }
        Ok(chunks.end()?)
    }
    fn needs_index(&self, _: &Expect, _: &FormatOptions) -> bool {
        true
    }
    fn index(&self, source: &mut dyn Source, _: &FormatOptions) -> Result<Arc<dyn Index>> {
        Ok(Arc::new(Hdf5Index::read(source)?))
    }
    fn index_memory(&self, spec: &FileSpec) -> u64 {
        let chunks = Layout::of(spec).map_or(0, |layout| match &layout.chunk {
            Some(chunk) => layout.datasets * layout.grid(chunk).iter().product::<u64>(),
            None => 0,
        });
        chunks.saturating_mul(size_of::<library::Stored>() as u64) + super::INDEX
    }
    fn content_checker(&self, is_full: bool, _: &FormatOptions) -> Box<dyn Checker> {
        Box::new(ChunkChecker::new(is_full))
    }
    fn expected(&self, opened: &Opened, spec: &FileSpec, out: Out) -> Result<()> {
        let layout = Layout::of(spec)?;
        let index = opened
            .index
            .and_then(|index| index.as_any().downcast_ref::<Hdf5Index>());
        let Some(index) = index else {
            return self.encode(spec, &mut vec![0; 1 << 18], out);
        };
        index.expected(
            &layout,
            spec,
            opened.expect.sample,
            opened.expect.count,
            out,
        )
    }
}

#[cfg(test)]
mod tests;
