//! The header of a numpy array file.
//!
//! Source: the NPY format description of numpy (`numpy.lib.format`).

use std::ops::Range;

use crate::format::{FormatError, Result};

const MAGIC: &[u8; 6] = b"\x93NUMPY";

/// Headers are padded so that data starts at a multiple of this.
const ALIGN: usize = 64;

/// numpy leaves room for the first axis to grow to this many digits.
const GROWTH_DIGITS: usize = 21;

/// No header that numpy writes for a plain array comes near this.
pub(crate) const MAX_HEADER: usize = 1 << 16;

/// An NPY 1.0 header for a C-ordered array.
pub(crate) fn header(descr: &str, shape: &[u64]) -> Vec<u8> {
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

/// What an NPY header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Header {
    pub len: u64,
    /// Type of an element as numpy writes it, such as `<f4`.
    pub descr: String,
    /// Bytes of the whole array file: header and data.
    pub file_len: u64,
    /// Whether the first axis varies fastest.
    pub fortran_order: bool,
    pub shape: Vec<u64>,
}

impl Header {
    /// Reads a header from the start of `bytes`; None when more bytes are needed.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Option<Header>> {
        let Some(place) = dictionary(bytes)? else {
            return Ok(None);
        };
        let Some(dict) = bytes.get(place.clone()) else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(dict);
        let bad = || FormatError::Damaged(format!("npy header cannot be read: {}", text.trim()));
        let value = |key: &str| {
            text.split_once(key)
                .map(|(_, rest)| rest.trim_start_matches([':', ' ']))
        };
        let descr = value("'descr'").ok_or_else(bad)?;

        if descr.starts_with('[') {
            return Err(unsupported("record"));
        }
        let descr = (descr.strip_prefix('\''))
            .and_then(|v| v.split('\'').next())
            .ok_or_else(bad)?;
        let element_bytes = element_bytes(descr, bad)?;
        let shape = value("'shape'")
            .and_then(|v| v.strip_prefix('(')?.split(')').next())
            .ok_or_else(bad)?;
        let shape = shape
            .split(',')
            .map(str::trim)
            .filter(|axis| !axis.is_empty())
            .map(|axis| axis.parse().map_err(|_| bad()))
            .collect::<Result<Vec<u64>, _>>()?;
        let len = place.end as u64;
        let file_len = shape
            .iter()
            .try_fold(element_bytes, |bytes, &axis| bytes.checked_mul(axis))
            .and_then(|bytes| bytes.checked_add(len));
        let Some(file_len) = file_len else {
            return Err(FormatError::Damaged(format!(
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

    pub(crate) fn describe(&self) -> String {
        let order = if self.fortran_order {
            ", Fortran order"
        } else {
            ""
        };
        format!("shape {:?}, dtype {}{order}", self.shape, self.descr)
    }
}

/// Where the dictionary of a header lies; None when more bytes are needed to tell.
fn dictionary(bytes: &[u8]) -> Result<Option<Range<usize>>> {
    let n = bytes.len().min(MAGIC.len());
    if bytes[..n] != MAGIC[..n] {
        return Err(FormatError::magic("an npy array", &bytes[..n]));
    }
    if bytes.len() < 12 {
        return Ok(None);
    }
    let (start, len) = match bytes[6] {
        1 => (10, u16::from_le_bytes([bytes[8], bytes[9]]) as usize),
        2 | 3 => (
            12,
            u32::from_le_bytes([bytes[8], bytes[9], bytes[10], bytes[11]]) as usize,
        ),
        other => {
            return Err(FormatError::Unsupported(format!(
                "its npy header has version {other}, which is not supported"
            )));
        }
    };
    if len > MAX_HEADER {
        return Err(FormatError::Unsupported(format!(
            "its npy header has {len} bytes; more than {MAX_HEADER} are not supported"
        )));
    }
    Ok(Some(start..start + len))
}

/// Bytes of an element of a type such as `<f4`.
fn element_bytes(descr: &str, bad: impl Fn() -> FormatError) -> Result<u64> {
    let kind = descr.trim_start_matches(['<', '>', '|', '=']);
    let (kind, size) = kind.split_at(kind.chars().next().map_or(0, char::len_utf8));
    // Times end with their unit: `<M8[ns]`.
    let size = size.split('[').next().unwrap_or("");
    let size: u64 = match size {
        "" => 0,
        size => size.parse().map_err(|_| bad())?,
    };
    match kind {
        "b" | "i" | "u" | "f" | "c" | "S" | "V" | "m" | "M" => Ok(size),
        // UCS-4.
        "U" => Ok(size.saturating_mul(4)),
        _ => Err(unsupported(descr)),
    }
}

fn unsupported(descr: &str) -> FormatError {
    FormatError::Unsupported(format!(
        "its array has elements of type {descr}, which is not supported; numbers, times and strings are read"
    ))
}
