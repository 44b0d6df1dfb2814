//! npy: one array of shape `(*sample, samples)`, sample axis last, C order.
//!
//! Source: the NPY format description of numpy (`numpy.lib.format`), and DLIO's generator for the shape.

use std::sync::Arc;

use super::spans::SpanIndex;
use super::{
    Checker, Chunks, Expect, FileSpec, Format, FormatError, FormatOptions, Index, LengthChecker,
    Opened, Out, Source, check_len,
};
use crate::config::Decode;

/// The npy format.
pub struct Npy;

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Headers are padded so that data starts at a multiple of this.
const ALIGN: usize = 64;

/// numpy leaves room for the first axis to grow to this many digits.
const GROWTH_DIGITS: usize = 21;

/// No header that numpy writes for a plain array comes near this.
const MAX_HEADER: usize = 1 << 16;

/// An NPY 1.0 header for a C-ordered array.
pub fn header(descr: &str, shape: &[u64]) -> Vec<u8> {
    let mut text = shape
        .iter()
        .map(u64::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if shape.len() == 1 {
        text.push(',');
    }
    let mut dict = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': ({text}), }}");
    if let Some(first) = shape.first() {
        dict.push_str(&" ".repeat(GROWTH_DIGITS.saturating_sub(first.to_string().len())));
    }
    let before = MAGIC.len() + 4 + dict.len() + 1;
    dict.push_str(&" ".repeat(ALIGN - before % ALIGN));
    dict.push('\n');
    let mut out = MAGIC.to_vec();
    out.extend_from_slice(&[1, 0]);
    out.extend_from_slice(&(dict.len() as u16).to_le_bytes());
    out.extend_from_slice(dict.as_bytes());
    out
}

/// Shape of a file's array: the sample axis comes last.
pub fn array_shape(spec: &FileSpec) -> Vec<u64> {
    spec.sample_dims
        .iter()
        .copied()
        .chain([spec.samples])
        .collect()
}

/// What an NPY header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Bytes of the header.
    pub len: u64,
    /// Type of an element as numpy writes it, such as `<f4`.
    pub descr: String,
    /// Bytes of the whole array file: header and data.
    pub file_len: u64,
    /// Whether the first axis varies fastest.
    pub fortran_order: bool,
    /// Axes.
    pub shape: Vec<u64>,
}

impl Header {
    /// Reads a header from the start of `bytes`; None when more bytes are needed.
    pub fn parse(bytes: &[u8]) -> Result<Option<Header>, FormatError> {
        let n = bytes.len().min(MAGIC.len());
        if bytes[..n] != MAGIC[..n] {
            return Err(FormatError::Magic {
                what: "an npy array",
                found: bytes[..n].to_vec(),
            });
        }
        if bytes.len() < 12 {
            return Ok(None);
        }
        let (start, dict_len) = match bytes[6] {
            1 => (10, u16::from_le_bytes([bytes[8], bytes[9]]) as usize),
            2 | 3 => (
                12,
                u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize,
            ),
            other => {
                return Err(FormatError::Content(format!(
                    "npy version {other} is unknown"
                )));
            }
        };
        if dict_len > MAX_HEADER {
            return Err(FormatError::Content(format!(
                "an npy header of {dict_len} bytes is damaged"
            )));
        }
        let Some(dict) = bytes.get(start..start + dict_len) else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(dict);
        let bad = || FormatError::Content(format!("npy header cannot be read: {}", text.trim()));
        let value = |key: &str| {
            text.split_once(key)
                .map(|(_, rest)| rest.trim_start_matches([':', ' ']))
        };
        let descr = value("'descr'")
            .and_then(|v| v.strip_prefix('\'')?.split('\'').next())
            .ok_or_else(bad)?;
        let digits = descr.find(|c: char| c.is_ascii_digit());
        let (kind, size) = descr.split_at(digits.unwrap_or(descr.len()));
        let size: u64 = match size {
            "" => 0,
            size => size.parse().map_err(|_| bad())?,
        };
        let element_bytes = match kind.trim_start_matches(['<', '>', '|', '=']) {
            "b" | "i" | "u" | "f" | "c" | "S" | "V" => size,
            // UCS-4.
            "U" => size.saturating_mul(4),
            _ => {
                return Err(FormatError::Content(format!(
                    "its array has elements of type {descr}; numbers and strings are read"
                )));
            }
        };
        let shape = value("'shape'")
            .and_then(|v| v.strip_prefix('(')?.split(')').next())
            .ok_or_else(bad)?;
        let shape = shape
            .split(',')
            .map(str::trim)
            .filter(|axis| !axis.is_empty())
            .map(|axis| axis.parse().map_err(|_| bad()))
            .collect::<Result<Vec<u64>, _>>()?;
        let len = (start + dict_len) as u64;
        let file_len = shape
            .iter()
            .try_fold(element_bytes, |bytes, &axis| bytes.checked_mul(axis))
            .and_then(|bytes| bytes.checked_add(len));
        let Some(file_len) = file_len else {
            return Err(FormatError::Content(format!(
                "its array announces shape {shape:?}, more than any file holds"
            )));
        };
        Ok(Some(Header {
            len,
            descr: descr.into(),
            file_len,
            fortran_order: value("'fortran_order'").is_some_and(|v| v.starts_with("True")),
            shape,
        }))
    }

    /// One line for people.
    pub fn describe(&self) -> String {
        let order = if self.fortran_order {
            ", Fortran order"
        } else {
            ""
        };
        format!("shape {:?}, dtype {}{order}", self.shape, self.descr)
    }

    /// The last axis must be the file's samples.
    pub fn check_samples(&self, samples: u64) -> Result<(), FormatError> {
        match self.shape.last() {
            Some(&n) if n == samples => Ok(()),
            _ => Err(FormatError::Content(format!(
                "the array has shape {:?}: its last axis should be dataset.num_samples_per_file={samples}",
                self.shape
            ))),
        }
    }
}

impl Format for Npy {
    fn encoded_len(&self, spec: &FileSpec) -> Option<u64> {
        Some(header(spec.element.descr, &array_shape(spec)).len() as u64 + spec.payload_len())
    }
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<(), FormatError> {
        let mut chunks = Chunks::new(chunk, out);
        chunks.bytes(&header(spec.element.descr, &array_shape(spec)))?;
        chunks.fill(&spec.fill, 0, spec.payload_len())?;
        Ok(chunks.end()?)
    }
    fn checker(&self, decode: Decode, _: &FormatOptions) -> Box<dyn Checker> {
        match decode {
            Decode::None => Box::new(LengthChecker::default()),
            _ => Box::new(NpyChecker::default()),
        }
    }
    fn index(
        &self,
        source: &mut dyn Source,
        _: &FormatOptions,
    ) -> Result<Arc<dyn Index>, FormatError> {
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
    expect: Option<Expect>,
    got: u64,
}

impl Checker for NpyChecker {
    fn begin(&mut self, opened: &Opened) {
        self.start.clear();
        self.header = None;
        self.file_len = opened.file_len;
        self.expect = Some(opened.expect);
        self.got = 0;
    }
    fn push(&mut self, chunk: &[u8]) -> Result<(), FormatError> {
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
    fn finish(&mut self) -> Result<(), FormatError> {
        let expect = self.expect.expect("begin is called before finish");
        let Some(header) = &self.header else {
            return Err(FormatError::Truncated {
                expected: self.file_len.max(expect.min_len).max(128),
                got: self.got,
            });
        };
        header.check_samples(expect.samples)?;
        check_len(self.got, self.file_len.max(header.file_len), 0)?;
        if self.got > header.file_len {
            return Err(FormatError::Content(format!(
                "{} bytes follow the array of {} bytes",
                self.got - header.file_len,
                header.file_len
            )));
        }
        Ok(())
    }
}
