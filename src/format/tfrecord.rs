//! tfrecord: framed `tf.train.Example` messages, each with the features `image` (the bytes of a sample) and `size` (their
//! number), and a text index in `index/<split>/` with one line `offset size` per record.
//!
//! Source: TensorFlow's record format (`tensorflow/core/lib/io/record_writer.h`), `tensorflow/core/example/*.proto`,
//! DLIO `data_generator/tf_generator.py`.

use std::sync::Arc;

use super::spans::{SpanIndex, Spans};
use super::tfrecord_check::TfrecordChecker;
use super::tfrecord_frame::{FOOTER, HEADER, masked, record_len};
use super::{
    Checker, Chunks, Companion, Expect, FileSpec, Format, FormatError, FormatOptions, Index,
    Opened, Out, Result, Source,
};
use crate::storage::Extent;
use crate::util::{crc32c, varint};

pub struct Tfrecord;

const INDEX: Companion = Companion::IndexFolder(".idx");

/// Bytes of the longest index line: two numbers of 20 digits, a blank, a line end.
const MAX_LINE: u64 = 42;
/// Bytes of a scan's read.
const WINDOW: u64 = 256 << 10;
/// The longest index that is read.
const MAX_INDEX: u64 = 1 << 30;

/// The bytes of an Example around its sample.
struct Frame {
    /// Header of the record and everything before the sample.
    start: Vec<u8>,
    /// Everything between the sample and the last checksum.
    end: Vec<u8>,
    /// Bytes of the Example.
    payload: u64,
}

impl Frame {
    fn new(sample_len: u64) -> Self {
        let m = sample_len;
        // From the inside: BytesList, Feature, map entry `image`; Int64List, Feature, map entry `size`; Features.
        let bytes_list = 1 + varint::len(m) + m;
        let image = 1 + varint::len(bytes_list) + bytes_list;
        let image_entry = 7 + 1 + varint::len(image) + image;
        let int_list = 2 + varint::len(m);
        let size = 2 + int_list;
        let size_entry = 6 + 2 + size;
        let features = 1 + varint::len(image_entry) + image_entry + 2 + size_entry;
        let payload = 1 + varint::len(features) + features;

        let mut start = payload.to_le_bytes().to_vec();
        let crc = masked(crc32c::of(&start));
        start.extend_from_slice(&crc.to_le_bytes());
        for (tag, len) in [(0x0a, features), (0x0a, image_entry)] {
            start.push(tag);
            varint::put(&mut start, len);
        }
        start.extend_from_slice(b"\x0a\x05image");
        for (tag, len) in [(0x12, image), (0x0a, bytes_list), (0x0a, m)] {
            start.push(tag);
            varint::put(&mut start, len);
        }

        let mut end = vec![0x0a, size_entry as u8];
        end.extend_from_slice(b"\x0a\x04size");
        end.extend_from_slice(&[0x12, size as u8, 0x1a, int_list as u8, 0x0a]);
        end.push(varint::len(m) as u8);
        varint::put(&mut end, m);
        Frame {
            start,
            end,
            payload,
        }
    }

    fn record_len(&self) -> u64 {
        HEADER + self.payload + FOOTER
    }
}

/// Streams records `first..first + count`.
fn records(
    spec: &FileSpec,
    frame: &Frame,
    first: u64,
    count: u64,
    chunks: &mut Chunks,
) -> Result<()> {
    let len = spec.sample_len();
    for k in first..first + count {
        chunks.bytes(&frame.start)?;
        let mut crc = crc32c::of(&frame.start[HEADER as usize..]);
        chunks.fill_seen(&spec.fill, k * len, len, &mut |bytes| {
            crc = crc32c::append(crc, bytes);
        })?;
        chunks.bytes(&frame.end)?;
        crc = crc32c::append(crc, &frame.end);
        chunks.bytes(&masked(crc).to_le_bytes())?;
    }
    Ok(())
}

/// Offset and length of each record as an index file says.
///
/// Errors: the index is not what this format has, or of another file; `name` is the index's.
fn parse_index(text: &[u8], file_len: u64, name: &str) -> Result<Vec<[u64; 2]>> {
    let mut spans = Vec::new();
    let mut end = 0;
    for (number, line) in text.split(|&b| b == b'\n').enumerate() {
        if line.is_empty() {
            continue;
        }
        let words: Option<[u64; 2]> = std::str::from_utf8(line)
            .ok()
            .and_then(|line| line.split_once(' '))
            .and_then(|(o, s)| Some([o.parse().ok()?, s.trim_end().parse().ok()?]));
        let Some([offset, size]) = words else {
            return Err(FormatError::content(format!(
                "line {} of its index {name} is not 'offset size': {:?}",
                number + 1,
                String::from_utf8_lossy(&line[..line.len().min(60)])
            )));
        };
        if offset != end || size < HEADER + FOOTER {
            return Err(FormatError::content(format!(
                "line {} of its index {name} disagrees with the file: a record of {size} bytes at {offset}, where the one before ends at {end}",
                number + 1
            )));
        }
        end = offset.saturating_add(size);
        spans.push([offset, size]);
    }
    if end != file_len {
        return Err(FormatError::content(format!(
            "its index {name} disagrees with it: the records of the index end at {end}, the file has {file_len} bytes; delete the index, and the file is scanned"
        )));
    }
    Ok(spans)
}

/// Finds the records by their headers, once per file.
///
/// Cost: short records are read in windows of [`WINDOW`]; of records longer than that only the headers are read.
fn scan(source: &mut dyn Source, file_len: u64) -> Result<Vec<[u64; 2]>> {
    let mut spans = Vec::new();
    let mut window = vec![0; WINDOW as usize];
    // What the window holds: first byte and end.
    let (mut from, mut to) = (0, 0);
    let (mut at, mut len) = (0, 0);
    while at < file_len {
        let end = (at + HEADER).min(file_len);
        if end > to {
            from = at;
            to = if len > WINDOW {
                end
            } else {
                (at + WINDOW).min(file_len)
            };
            source.read_at(from, &mut window[..(to - from) as usize])?;
        }
        let header = &window[(at - from) as usize..(end - from) as usize];
        let header = header.try_into().map_err(|_| FormatError::Truncated {
            expected: at + HEADER + FOOTER,
            got: file_len,
        })?;
        len = record_len(header, at, file_len - at)?;
        spans.push([at, len]);
        at += len;
    }
    Ok(spans)
}

impl Format for Tfrecord {
    fn encoded_len(&self, spec: &FileSpec) -> Option<u64> {
        Some(spec.samples * Frame::new(spec.sample_len()).record_len())
    }
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()> {
        let mut chunks = Chunks::new(chunk, out);
        let frame = Frame::new(spec.sample_len());
        records(spec, &frame, 0, spec.samples, &mut chunks)?;
        Ok(chunks.end()?)
    }
    fn companions(&self) -> &'static [Companion] {
        &[INDEX]
    }
    fn encode_companion(
        &self,
        _: usize,
        spec: &FileSpec,
        chunk: &mut [u8],
        out: Out,
    ) -> Result<()> {
        let mut chunks = Chunks::new(chunk, out);
        let len = Frame::new(spec.sample_len()).record_len();
        for k in 0..spec.samples {
            chunks.bytes(format!("{} {len}\n", k * len).as_bytes())?;
        }
        Ok(chunks.end()?)
    }
    fn companion_len(&self, _: usize, spec: &FileSpec) -> u64 {
        let len = Frame::new(spec.sample_len()).record_len();
        let digits = |n: u64| u64::from(n.checked_ilog10().unwrap_or(0)) + 1;
        (0..spec.samples)
            .map(|k| digits(k * len) + digits(len) + 2)
            .sum()
    }
    fn needs_index(&self, expect: &Expect, _: &FormatOptions) -> bool {
        expect.count < expect.samples
    }
    fn index(&self, source: &mut dyn Source, _: &FormatOptions) -> Result<Arc<dyn Index>> {
        let file_len = source.file_len()?;
        if file_len == 0 {
            let expected = HEADER + FOOTER;
            return Err(FormatError::Truncated { expected, got: 0 });
        }
        let limit = (MAX_LINE * (file_len / (HEADER + FOOTER) + 1)).min(MAX_INDEX);
        let (list, from) = match source.companion(&INDEX, limit)? {
            Some(text) => {
                let name = source.companion_name(&INDEX);
                (parse_index(&text, file_len, &name)?, "its index file")
            }
            None => (scan(source, file_len)?, "a scan of the file"),
        };
        let samples = list.len() as u64;
        let spans = Spans::listed(list, file_len)?;
        let sizes = match &spans {
            Spans::Stride { len, .. } => format!("{len} bytes each"),
            _ => "of different sizes".into(),
        };
        Ok(Arc::new(SpanIndex {
            samples,
            spans,
            lines: vec![format!(
                "{samples} records, {sizes} with framing (from {from})"
            )],
        }))
    }
    fn content_checker(&self, is_full: bool, _: &FormatOptions) -> Box<dyn Checker> {
        Box::new(TfrecordChecker::new(is_full))
    }
    fn expected(&self, opened: &Opened, spec: &FileSpec, out: Out) -> Result<()> {
        let frame = Frame::new(spec.sample_len());
        let mut chunk = vec![0; 1 << 18];
        let mut chunks = Chunks::new(&mut chunk, out);
        for extent in opened.extents {
            let (first, count) = match *extent {
                Extent::Whole => (0, spec.samples),
                Extent::Range { offset, len } => {
                    (offset / frame.record_len(), len / frame.record_len())
                }
            };
            records(spec, &frame, first, count, &mut chunks)?;
        }
        Ok(chunks.end()?)
    }
}

#[cfg(test)]
#[path = "tfrecord_tests.rs"]
mod tests;
