//! indexed_binary and mmap_indexed_binary: samples back to back, and two files of little-endian u64 words beside them,
//! the offset (`.off.idx`) and the size (`.sz.idx`) of each sample.
//!
//! The two formats differ in name only. DLIO's own offsets start again at 0 in every buffer-sized part of a large file;
//! ours count from the start of the file, as its reader takes them.
//!
//! Source: DLIO `data_generator/indexed_binary_generator.py`, `reader/indexed_binary_reader.py`.

use std::sync::Arc;

use super::spans::{SpanIndex, Spans};
use super::{
    Checker, Chunks, Companion, Expect, FileSpec, Format, FormatError, FormatOptions, Index,
    LengthChecker, Opened, Out, Result, Source,
};
use crate::storage::Extent;

pub struct IndexedBinary;

const OFFSETS: Companion = Companion::Suffix(".off.idx");
const SIZES: Companion = Companion::Suffix(".sz.idx");

/// Which of the companions holds sizes.
const SIZES_NUMBER: usize = 1;

/// Index entries of the largest index that is read: 128 MiB of them.
const MAX_ENTRIES: u64 = 1 << 24;

fn words(source: &mut dyn Source, companion: &Companion, file_len: u64) -> Result<Vec<u64>> {
    // A sample has at least one byte.
    let limit = 8 * file_len.clamp(1, MAX_ENTRIES);
    let bytes = source.companion(companion, limit)?.ok_or_else(|| {
        FormatError::content(format!(
            "its index, the file of the same name with {} appended, does not exist; generate the dataset again",
            companion.suffix()
        ))
    })?;
    let (words, rest) = bytes.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(FormatError::content(format!(
            "its index {} has {} bytes, no multiple of 8",
            companion.suffix(),
            bytes.len()
        )));
    }
    Ok(words.iter().map(|w| u64::from_le_bytes(*w)).collect())
}

impl Format for IndexedBinary {
    fn encoded_len(&self, spec: &FileSpec) -> Option<u64> {
        Some(spec.payload_len())
    }
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()> {
        let mut chunks = Chunks::new(chunk, out);
        chunks.fill(&spec.fill, 0, spec.payload_len())?;
        Ok(chunks.end()?)
    }
    fn companions(&self) -> &'static [Companion] {
        &[OFFSETS, SIZES]
    }
    fn encode_companion(
        &self,
        which: usize,
        spec: &FileSpec,
        chunk: &mut [u8],
        out: Out,
    ) -> Result<()> {
        let mut chunks = Chunks::new(chunk, out);
        let len = spec.sample_len();
        for k in 0..spec.samples {
            let word = if which == SIZES_NUMBER { len } else { k * len };
            chunks.bytes(&word.to_le_bytes())?;
        }
        Ok(chunks.end()?)
    }
    fn companion_len(&self, _: usize, spec: &FileSpec) -> u64 {
        8 * spec.samples
    }
    fn needs_index(&self, _: &Expect, _: &FormatOptions) -> bool {
        true
    }
    fn index(&self, source: &mut dyn Source, _: &FormatOptions) -> Result<Arc<dyn Index>> {
        let file_len = source.file_len()?;
        let offsets = words(source, &OFFSETS, file_len)?;
        let sizes = words(source, &SIZES, file_len)?;
        if offsets.len() != sizes.len() {
            return Err(FormatError::content(format!(
                "its indexes disagree: {} offsets and {} sizes",
                offsets.len(),
                sizes.len()
            )));
        }
        let samples = offsets.len() as u64;
        let list = offsets.into_iter().zip(sizes).map(|(o, s)| [o, s]);
        let spans = Spans::listed(list.collect(), file_len)?;
        let line = match &spans {
            Spans::Stride { len, .. } => format!("{samples} samples of {len} bytes"),
            _ => format!("{samples} samples of different sizes"),
        };
        Ok(Arc::new(SpanIndex {
            samples,
            spans,
            lines: vec![line],
        }))
    }
    /// Samples are bare bytes: their index tells how many.
    fn content_checker(&self, _: bool, _: &FormatOptions) -> Box<dyn Checker> {
        Box::new(LengthChecker::default())
    }
    fn expected(&self, opened: &Opened, spec: &FileSpec, out: Out) -> Result<()> {
        let mut chunk = vec![0; 1 << 18];
        let mut chunks = Chunks::new(&mut chunk, out);
        for extent in opened.extents {
            match *extent {
                Extent::Whole => chunks.fill(&spec.fill, 0, spec.payload_len())?,
                Extent::Range { offset, len } => chunks.fill(&spec.fill, offset, len)?,
            }
        }
        Ok(chunks.end()?)
    }
}
