//! npy: one array of shape `(*sample, samples)`, sample axis last, C order.
//!
//! Source: the NPY format description of numpy (`numpy.lib.format`), and DLIO's generator for the shape.

use std::sync::Arc;

use super::container::npy::{Header, MAX_HEADER, header};
use super::spans::SpanIndex;
use super::{
    Checker, Chunks, Expect, FileSpec, Format, FormatError, FormatOptions, Index, Opened, Out,
    Result, Source, check_len,
};

pub struct Npy;

/// Shape of a file's array: the sample axis comes last.
pub fn array_shape(spec: &FileSpec) -> Vec<u64> {
    spec.sample_dims
        .iter()
        .copied()
        .chain([spec.samples])
        .collect()
}

impl Format for Npy {
    fn encoded_len(&self, spec: &FileSpec) -> Option<u64> {
        Some(header(spec.element.descr, &array_shape(spec)).len() as u64 + spec.payload_len())
    }
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()> {
        let mut chunks = Chunks::new(chunk, out);
        chunks.bytes(&header(spec.element.descr, &array_shape(spec)))?;
        chunks.fill(&spec.fill, 0, spec.payload_len())?;
        Ok(chunks.end()?)
    }
    fn content_checker(&self, _: bool, _: &FormatOptions) -> Box<dyn Checker> {
        Box::new(NpyChecker::default())
    }
    fn index(&self, source: &mut dyn Source, _: &FormatOptions) -> Result<Arc<dyn Index>> {
        let len = source.file_len()?;
        let mut head = vec![0; len.min(MAX_HEADER as u64 + 12) as usize];
        source.read_at(0, &mut head)?;
        let header = Header::parse(&head)?.ok_or(FormatError::Truncated {
            expected: 128,
            got: len,
        })?;
        check_len(len, header.file_len, 0)?;
        let samples = header.shape.last().copied().unwrap_or(1);
        Ok(SpanIndex::whole(samples, vec![header.describe()]))
    }
    fn stamp(&self, spec: &FileSpec, head: &[u8]) -> bool {
        let mut start = header(spec.element.descr, &array_shape(spec));
        stamp_matches(spec, &mut start, head)
    }
}

/// The last axis must hold the samples that are wanted.
pub(super) fn check_samples(header: &Header, samples: u64) -> Result<()> {
    match header.shape.last() {
        Some(&n) if n >= samples => Ok(()),
        _ => Err(FormatError::Content(format!(
            "the array has shape {:?}: its last axis should be dataset.num_samples_per_file={samples} or more",
            header.shape
        ))),
    }
}

/// Compares a file's first bytes with `start` followed by the first sample bytes.
pub(super) fn stamp_matches(spec: &FileSpec, start: &mut Vec<u8>, head: &[u8]) -> bool {
    let begin = start.len();
    let payload = spec
        .payload_len()
        .min(head.len().saturating_sub(begin) as u64) as usize;
    start.resize(begin + payload, 0);
    spec.fill.fill(0, &mut start[begin..]);
    let n = start.len().min(head.len());
    n > 0 && start[..n] == head[..n]
}

/// Checks magic, header and length. The format has no checksum.
#[derive(Default)]
struct NpyChecker {
    start: Vec<u8>,
    header: Option<Header>,
    file_len: u64,
    expect: Expect,
    got: u64,
}

impl Checker for NpyChecker {
    fn begin(&mut self, opened: &Opened) {
        self.start.clear();
        self.header = None;
        self.file_len = opened.file_len;
        self.expect = opened.expect;
        self.got = 0;
    }
    fn push(&mut self, chunk: &[u8]) -> Result<()> {
        self.got += chunk.len() as u64;
        if self.header.is_none() {
            self.header = if self.start.is_empty() {
                Header::parse(chunk)?
            } else {
                None
            };
            if self.header.is_none() {
                self.start.extend_from_slice(chunk);
                self.header = Header::parse(&self.start)?;
            }
        }
        Ok(())
    }
    fn finish(&mut self) -> Result<()> {
        let expect = self.expect;
        let Some(header) = &self.header else {
            return Err(FormatError::Truncated {
                expected: self.file_len.max(expect.min_len).max(128),
                got: self.got,
            });
        };
        check_samples(header, expect.samples)?;
        check_len(self.got, self.file_len.max(header.file_len), 0)?;
        // numpy reads the first array of a file, and appends others where it is asked to.
        if self.got > header.file_len && expect.is_own() {
            return Err(FormatError::Damaged(format!(
                "{} bytes follow the array of {} bytes",
                self.got - header.file_len,
                header.file_len
            )));
        }
        Ok(())
    }
}
