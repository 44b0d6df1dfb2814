//! Pages as they are written: header, levels, values.
//!
//! Every page is a data page of version 1 with a CRC-32, PLAIN values, no nulls. Before the data pages of a column chunk
//! stands a dictionary page of one zero value that no page uses: DLIO's readers take the start of a chunk from
//! `dictionary_page_offset` and fail without one. Columns of truth values cannot have one.

use std::ops::Range;

use super::codec::Codec;
use super::schema::{Column, Values, physical};
use super::thrift::Writer;
use crate::plan::fill::Fill;
use crate::util::varint;

/// Bytes of values in a page, about: a page stays in the CPU's second-level cache while it is made.
const PAGE: u64 = 256 << 10;

pub(super) const PLAIN: i32 = 0;
pub(super) const RLE: i32 = 3;

/// Bytes of a column chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ChunkSize {
    /// In the file.
    pub stored: u64,
    /// Without compression.
    pub plain: u64,
}

/// Makes the pages of one column chunk after another; its memory is that of a page.
pub(super) struct Pages {
    codec: Codec,
    level: u32,
    raw: Vec<u8>,
    body: Vec<u8>,
    packed: Vec<u8>,
}

/// Values in a page.
fn page_values(column: &Column) -> u64 {
    let per_page = match column.values {
        Values::Plain(bytes) => PAGE / bytes,
        Values::Widened { .. } => PAGE / 4,
        Values::Text => PAGE / 16,
        Values::Bytes(len) => PAGE / (len + 4),
        Values::Bits => PAGE * 8,
    };
    per_page.max(1)
}

/// A page's header. Its length does not depend on `crc`.
pub(super) fn header(
    is_dictionary: bool,
    plain: usize,
    stored: usize,
    crc: u32,
    values: u64,
) -> Vec<u8> {
    let mut w = Writer::default();
    w.begin();
    w.i32(1, if is_dictionary { 2 } else { 0 });
    w.i32(2, plain as i32);
    w.i32(3, stored as i32);
    w.i32_wide(4, crc as i32);
    w.structure(if is_dictionary { 7 } else { 5 });
    w.i32(1, values as i32);
    w.i32(2, PLAIN);
    if is_dictionary {
        w.bool(3, false);
    } else {
        w.i32(3, RLE);
        w.i32(4, RLE);
    }
    w.end();
    w.end();
    w.out
}

/// Bytes of the one value of a dictionary; None for a column that has none.
fn dictionary_len(column: &Column) -> Option<usize> {
    Some(match column.physical {
        physical::BOOLEAN => return None,
        physical::INT64 | physical::DOUBLE => 8,
        physical::FIXED_LEN_BYTE_ARRAY => column.type_length().unwrap_or(0) as usize,
        // A byte array of length 0 is its length alone.
        _ => 4,
    })
}

/// Bytes of the levels of so many values.
fn levels_len(column: &Column, values: u64) -> u64 {
    let definition = 4 + varint::len(values << 1) + 1;
    match column.list {
        Some(_) => {
            let groups = values.div_ceil(8);
            definition + 4 + varint::len(groups << 1 | 1) + groups
        }
        None => definition,
    }
}

/// Appends the levels of values `first..first + n` of a row group.
fn put_levels(column: &Column, first: u64, n: u64, out: &mut Vec<u8>) {
    let mut w = Writer::default();
    if let Some(size) = column.list {
        let groups = n.div_ceil(8);
        w.varint(groups << 1 | 1);
        out.extend_from_slice(&(w.out.len() as u32 + groups as u32).to_le_bytes());
        out.extend_from_slice(&w.out);
        let start = out.len();
        // A 1 for a value that continues a list, a 0 for one that begins it.
        out.resize(start + groups as usize, 0xff);
        if !n.is_multiple_of(8) {
            *out.last_mut().expect("a page has values") = (1 << (n % 8)) - 1;
        }
        let mut at = first.next_multiple_of(size) - first;
        while at < n {
            out[start + (at / 8) as usize] &= !(1 << (at % 8));
            at += size;
        }
        w.out.clear();
    }
    w.varint(n << 1);
    w.out.push(column.max_definition());
    out.extend_from_slice(&(w.out.len() as u32).to_le_bytes());
    out.extend_from_slice(&w.out);
}

/// Writes `s_<number>` as a byte array.
fn put_text(number: u32, out: &mut Vec<u8>) {
    let mut digits = [0u8; 10];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    let digits = &digits[at..];
    out.extend_from_slice(&(2 + digits.len() as u32).to_le_bytes());
    out.extend_from_slice(b"s_");
    out.extend_from_slice(digits);
}

impl Pages {
    pub(super) fn new(codec: Codec, level: u32) -> Self {
        Pages {
            codec,
            level,
            raw: Vec::new(),
            body: Vec::new(),
            packed: Vec::new(),
        }
    }

    /// Appends values `values` of the column, counted from the first of the file, to the page.
    fn put_values(&mut self, column: &Column, values: Range<u64>, fill: &Fill) {
        let n = values.end - values.start;
        let start = self.body.len();
        let mut raw = |bytes: u64, from: u64| {
            self.raw.resize(bytes as usize, 0);
            fill.fill(column.fill_start + from, &mut self.raw);
        };
        match column.values {
            Values::Plain(bytes) => {
                self.body.resize(start + (n * bytes) as usize, 0);
                let from = column.fill_start + values.start * bytes;
                fill.fill(from, &mut self.body[start..]);
            }
            Values::Widened { bytes, is_signed } => {
                raw(n * bytes, values.start * bytes);
                self.body.resize(start + (n * 4) as usize, 0);
                let out = self.body[start..].chunks_exact_mut(4);
                match (bytes, is_signed) {
                    (1, false) => out.zip(&self.raw).for_each(|(to, &v)| {
                        to.copy_from_slice(&u32::from(v).to_le_bytes());
                    }),
                    (1, true) => out.zip(&self.raw).for_each(|(to, &v)| {
                        to.copy_from_slice(&i32::from(v as i8).to_le_bytes());
                    }),
                    (_, is_signed) => out.zip(self.raw.chunks_exact(2)).for_each(|(to, v)| {
                        let v = u16::from_le_bytes([v[0], v[1]]);
                        let wide = if is_signed {
                            i32::from(v as i16)
                        } else {
                            i32::from(v)
                        };
                        to.copy_from_slice(&wide.to_le_bytes());
                    }),
                }
            }
            Values::Text => {
                raw(n * 4, values.start * 4);
                for word in self.raw.chunks_exact(4) {
                    let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                    put_text(word & 0x7fff_ffff, &mut self.body);
                }
            }
            Values::Bytes(len) => {
                for value in values {
                    self.body.extend_from_slice(&(len as u32).to_le_bytes());
                    let at = self.body.len();
                    self.body.resize(at + len as usize, 0);
                    fill.fill(column.fill_start + value * len, &mut self.body[at..]);
                }
            }
            Values::Bits => {
                let shift = (values.start % 8) as u32;
                let bytes = values.end.div_ceil(8) - values.start / 8;
                raw(bytes, values.start / 8);
                let stored = n.div_ceil(8) as usize;
                self.body.extend((0..stored).map(|i| {
                    let low = u32::from(self.raw[i]);
                    let high = u32::from(self.raw.get(i + 1).copied().unwrap_or(0));
                    ((low | high << 8) >> shift) as u8
                }));
                if !n.is_multiple_of(8)
                    && let Some(last) = self.body.last_mut()
                {
                    *last &= (1 << (n % 8)) - 1;
                }
            }
        }
    }

    /// Writes the page in `self.body`; returns its size with its header.
    fn put_page(
        &mut self,
        is_dictionary: bool,
        values: u64,
        out: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<ChunkSize> {
        let stored = match self.codec {
            Codec::None => &self.body,
            codec => {
                codec.compress(self.level, &self.body, &mut self.packed)?;
                &self.packed
            }
        };
        let crc = crc32fast::hash(stored);
        let head = header(is_dictionary, self.body.len(), stored.len(), crc, values);
        out(&head)?;
        out(stored)?;
        Ok(ChunkSize {
            stored: (head.len() + stored.len()) as u64,
            plain: (head.len() + self.body.len()) as u64,
        })
    }

    /// Writes the column's chunk of rows `rows`; returns its size, and that of its dictionary page.
    pub(super) fn chunk(
        &mut self,
        column: &Column,
        rows: &Range<u64>,
        fill: &Fill,
        out: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<ChunkSize> {
        let mut size = self.dictionary(column, out)?;
        let first = column.values_in(rows.start);
        let end = column.values_in(rows.end);
        let mut at = first;
        while at < end {
            let to = (at + page_values(column)).min(end);
            self.body.clear();
            put_levels(column, at - first, to - at, &mut self.body);
            self.put_values(column, at..to, fill);
            let page = self.put_page(false, to - at, out)?;
            size.stored += page.stored;
            size.plain += page.plain;
            at = to;
        }
        Ok(size)
    }

    /// Writes the dictionary page of a chunk of this column; returns its size, 0 when it has none.
    pub(super) fn dictionary(
        &mut self,
        column: &Column,
        out: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<ChunkSize> {
        let Some(len) = dictionary_len(column) else {
            return Ok(ChunkSize::default());
        };
        self.body.clear();
        self.body.resize(len, 0);
        self.put_page(true, 1, out)
    }
}

/// The size of an uncompressed chunk of so many rows, without its bytes; None when it depends on them.
pub(super) fn plain_chunk_len(column: &Column, rows: u64) -> Option<u64> {
    let values = column.values_in(rows);
    let per_page = page_values(column);
    let page = |n: u64| -> Option<u64> {
        let body = (levels_len(column, n) + column.stored_len(n)?) as usize;
        Some((header(false, body, body, 0, n).len() + body) as u64)
    };
    let dictionary =
        dictionary_len(column).map_or(0, |len| (header(true, len, len, 0, 1).len() + len) as u64);
    let whole = match values / per_page {
        0 => 0,
        pages => pages * page(per_page)?,
    };
    let rest = match values % per_page {
        0 => 0,
        n => page(n)?,
    };
    Some(dictionary + whole + rest)
}
