//! synthetic: a file holds its own number in decimal, and nothing reads it.
//!
//! Source: DLIO `data_generator/synthetic_generator.py` and `reader/synthetic_reader.py`.

use std::sync::Arc;

use super::spans::SpanIndex;
use super::{
    Checker, Chunks, FileSpec, Format, FormatError, FormatOptions, Index, LengthChecker, Out,
    Result, Source,
};

pub struct Synthetic;

/// Digits of the largest file number.
const MAX_LEN: u64 = 20;

impl Format for Synthetic {
    fn encoded_len(&self, spec: &FileSpec) -> Option<u64> {
        Some(spec.file.to_string().len() as u64)
    }
    fn min_len(&self, _: &FileSpec) -> u64 {
        1
    }
    fn nominal_len(&self, _: &FileSpec) -> u64 {
        0
    }
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()> {
        let mut chunks = Chunks::new(chunk, out);
        chunks.bytes(spec.file.to_string().as_bytes())?;
        Ok(chunks.end()?)
    }
    fn has_reads(&self) -> bool {
        false
    }
    fn index(&self, source: &mut dyn Source, _: &FormatOptions) -> Result<Arc<dyn Index>> {
        let len = source.file_len()?;
        let mut text = vec![0; len.min(MAX_LEN + 1) as usize];
        source.read_at(0, &mut text)?;
        if text.is_empty() || len > MAX_LEN || !text.iter().all(u8::is_ascii_digit) {
            return Err(FormatError::content(format!(
                "a synthetic file holds its number in decimal; this one of {len} bytes does not"
            )));
        }
        let number = String::from_utf8_lossy(&text);
        Ok(SpanIndex::whole(1, vec![format!("file number {number}")]))
    }
    /// Nothing reads these files.
    fn content_checker(&self, _: bool, _: &FormatOptions) -> Box<dyn Checker> {
        Box::new(LengthChecker::default())
    }
}
