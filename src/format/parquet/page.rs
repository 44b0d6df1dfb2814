//! Pages as they are written: header, levels, values.
//!
//! Every page is a data page of version 1 with a CRC-32 and without nulls. Its values are indices into the dictionary of
//! the chunk, or plain. DLIO's readers take the start of a chunk from `dictionary_page_offset`.

use std::ops::Range;

use super::codec::Codec;
use super::dictionary::{Dictionary, Presence, each, narrow_bytes, put_narrow};
use super::levels::{Bits, packed_len, put_packed, put_packed_head, width_below};
use super::schema::{Column, Values};
use super::thrift::Writer;
use crate::plan::fill::Fill;
use crate::util::varint;

/// Bytes of values in a page, about: a page stays in the CPU's second-level cache while it is made.
const PAGE: u64 = 256 << 10;

pub(super) const PLAIN: i32 = 0;
pub(super) const RLE: i32 = 3;
pub(super) const RLE_DICTIONARY: i32 = 8;

/// What a page holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holds {
    Dictionary,
    Indices,
    Plain,
}

/// Bytes of a column chunk.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct ChunkSize {
    /// In the file.
    pub stored: u64,
    /// Without compression.
    pub plain: u64,
    /// Of the dictionary page, in the file.
    pub dictionary: u64,
}

/// Makes the pages of one column chunk after another; its memory is that of a page.
pub(super) struct Pages {
    codec: Codec,
    level: u32,
    raw: Vec<u8>,
    body: Vec<u8>,
    packed: Vec<u8>,
    /// The index of each value of 1 or 2 bytes.
    ranks: Vec<u16>,
}

/// Values in a page; whole lists where they fit.
fn page_values(column: &Column) -> u64 {
    let per_page = match column.values {
        Values::Plain(bytes) => PAGE / bytes,
        // Of one or two bytes each, so that a page is no larger than others.
        Values::Widened { .. } => PAGE / 4,
        Values::Text => PAGE / 16,
        Values::Bytes(len) => PAGE / (len + 4),
        Values::Bits => PAGE * 8,
    };
    let beyond = column.list.map_or(0, |size| per_page % size);
    if beyond < per_page {
        per_page - beyond
    } else {
        per_page
    }
    .max(1)
}

/// The data pages of a chunk of `n` values, of which the first `indexed` are indices.
fn data_pages(column: &Column, n: u64, indexed: u64) -> impl Iterator<Item = (Range<u64>, Holds)> {
    let per_page = page_values(column);
    let mut at = 0;
    std::iter::from_fn(move || {
        let (end, holds) = if at < indexed {
            (indexed, Holds::Indices)
        } else {
            (n, Holds::Plain)
        };
        let page = at..(at + per_page).min(end);
        at = page.end;
        (!page.is_empty()).then_some((page, holds))
    })
}

/// A page's header. Its length does not depend on `crc`.
pub(super) fn header(holds: Holds, plain: usize, stored: usize, crc: u32, values: u64) -> Vec<u8> {
    let is_dictionary = holds == Holds::Dictionary;
    let mut w = Writer::default();
    w.begin();
    w.i32(1, if is_dictionary { 2 } else { 0 });
    w.i32(2, plain as i32);
    w.i32(3, stored as i32);
    w.i32_wide(4, crc as i32);
    w.structure(if is_dictionary { 7 } else { 5 });
    w.i32(1, values as i32);
    w.i32(
        2,
        if holds == Holds::Indices {
            RLE_DICTIONARY
        } else {
            PLAIN
        },
    );
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

/// Appends the levels of values `first..first + n` of a row group.
fn put_levels(column: &Column, first: u64, n: u64, out: &mut Vec<u8>) {
    let with_length = |out: &mut Vec<u8>, put: &dyn Fn(&mut Vec<u8>)| {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        put(out);
        let len = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&len.to_le_bytes());
    };
    if let Some(size) = column.list {
        with_length(out, &|out| {
            // A 1 for a value that continues a list, a 0 for one that begins it.
            let mut bits = Bits::new(out);
            let mut begin = (first.next_multiple_of(size) - first).min(n);
            bits.push(true, begin);
            while begin < n {
                bits.push(false, 1);
                let rest = (size - 1).min(n - begin - 1);
                bits.push(true, rest);
                begin += 1 + rest;
            }
            bits.end();
        });
    }
    with_length(out, &|out| {
        varint::put(out, n << 1);
        out.push(column.max_definition());
    });
}

fn text_number(word: [u8; 4]) -> u32 {
    u32::from_le_bytes(word) & 0x7fff_ffff
}

/// Bytes of `s_<number>`.
fn text_len(number: u32) -> u64 {
    3 + u64::from(number.checked_ilog10().unwrap_or(0))
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
            ranks: Vec::new(),
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
            Values::Widened { .. } => unreachable!("values of 1 or 2 bytes are indices"),
            Values::Text => {
                raw(n * 4, values.start * 4);
                for &word in self.raw.as_chunks::<4>().0 {
                    put_text(text_number(word), &mut self.body);
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

    /// The dictionary of a chunk of `n` values from `first` of the file on.
    fn dictionary_of(&mut self, column: &Column, first: u64, n: u64, fill: &Fill) -> Dictionary {
        if let Some(known) = Dictionary::known(column, n) {
            return known;
        }
        if let Some(bytes) = narrow_bytes(column) {
            let mut presence = Presence::new(bytes);
            self.raw.resize((n * bytes) as usize, 0);
            fill.fill(column.fill_start + first * bytes, &mut self.raw);
            presence.see(&self.raw);
            return presence.end();
        }
        let mut word = [0; 4];
        Dictionary::of_texts((first..first + n).map(|value| {
            fill.fill(column.fill_start + value * 4, &mut word);
            text_len(text_number(word))
        }))
    }

    /// Writes the dictionary page of a chunk; returns its size, 0 where there is none.
    fn put_dictionary(
        &mut self,
        column: &Column,
        dictionary: &Dictionary,
        first: u64,
        fill: &Fill,
        out: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<ChunkSize> {
        self.body.clear();
        match dictionary {
            Dictionary::None => return Ok(ChunkSize::default()),
            Dictionary::First(values) => self.put_values(column, first..first + values, fill),
            Dictionary::All => (0..dictionary.len(column))
                .for_each(|value| put_narrow(column, value as u16, &mut self.body)),
            Dictionary::Present(values) => {
                self.ranks.resize(1 << 16, 0);
                for (rank, &value) in values.iter().enumerate() {
                    self.ranks[usize::from(value)] = rank as u16;
                    put_narrow(column, value, &mut self.body);
                }
            }
        }
        let size = self.put_page(Holds::Dictionary, dictionary.len(column), out)?;
        Ok(ChunkSize {
            dictionary: size.stored,
            ..size
        })
    }

    /// Appends the indices of values `values` of the chunk, whose first is value `first` of the file.
    fn put_indices(
        &mut self,
        column: &Column,
        dictionary: &Dictionary,
        first: u64,
        values: &Range<u64>,
        fill: &Fill,
    ) {
        let n = values.end - values.start;
        let width = width_below(dictionary.len(column));
        self.body.push(width as u8);
        let bytes = narrow_bytes(column).unwrap_or(0);
        let from = column.fill_start + (first + values.start) * bytes;
        match dictionary {
            Dictionary::None => {}
            Dictionary::First(_) => {
                put_packed(
                    values.start as u32..values.end as u32,
                    width,
                    &mut self.body,
                );
            }
            Dictionary::All => {
                put_packed_head(n, &mut self.body);
                let start = self.body.len();
                self.body.resize(start + (n * bytes) as usize, 0);
                fill.fill(from, &mut self.body[start..]);
                let whole = n.next_multiple_of(8) * bytes;
                self.body.resize(start + whole as usize, 0);
            }
            Dictionary::Present(_) => {
                self.raw.resize((n * bytes) as usize, 0);
                fill.fill(from, &mut self.raw);
                let mut indices = Vec::with_capacity(n as usize);
                each(&self.raw, bytes, |value| {
                    indices.push(u32::from(self.ranks[usize::from(value)]));
                });
                put_packed(indices.into_iter(), width, &mut self.body);
            }
        }
    }

    /// Writes the page in `self.body`; returns its size with its header.
    fn put_page(
        &mut self,
        holds: Holds,
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
        let head = header(holds, self.body.len(), stored.len(), crc, values);
        out(&head)?;
        out(stored)?;
        Ok(ChunkSize {
            stored: (head.len() + stored.len()) as u64,
            plain: (head.len() + self.body.len()) as u64,
            dictionary: 0,
        })
    }

    /// Writes the column's chunk of rows `rows`; returns its size.
    pub(super) fn chunk(
        &mut self,
        column: &Column,
        rows: &Range<u64>,
        fill: &Fill,
        out: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<ChunkSize> {
        let first = column.values_in(rows.start);
        let n = column.values_in(rows.end) - first;
        let dictionary = self.dictionary_of(column, first, n, fill);
        let mut size = self.put_dictionary(column, &dictionary, first, fill, out)?;
        for (values, holds) in data_pages(column, n, dictionary.indexed(n)) {
            self.body.clear();
            let len = values.end - values.start;
            put_levels(column, values.start, len, &mut self.body);
            if holds == Holds::Indices {
                self.put_indices(column, &dictionary, first, &values, fill);
            } else {
                self.put_values(column, first + values.start..first + values.end, fill);
            }
            let page = self.put_page(holds, len, out)?;
            size.stored += page.stored;
            size.plain += page.plain;
        }
        Ok(size)
    }
}

/// The size of an uncompressed chunk of so many rows, without its bytes; None when it depends on them.
pub(super) fn plain_chunk_len(column: &Column, rows: u64) -> Option<ChunkSize> {
    let n = column.values_in(rows);
    let dictionary = Dictionary::known(column, n)?;
    let page = |holds, body: u64, values| {
        header(holds, body as usize, body as usize, 0, values).len() as u64 + body
    };
    let in_dictionary = dictionary.len(column);
    let dictionary_len = match dictionary {
        Dictionary::None => 0,
        _ => page(
            Holds::Dictionary,
            column.stored_len(in_dictionary)?,
            in_dictionary,
        ),
    };
    let width = width_below(in_dictionary);
    let (mut scratch, mut last) = (Vec::new(), None);
    let mut len = dictionary_len;
    for (values, holds) in data_pages(column, n, dictionary.indexed(n)) {
        let count = values.end - values.start;
        // Pages that begin at the same place of a list have the same levels.
        let place = (column.list.map_or(0, |size| values.start % size), count);
        if last != Some(place) {
            scratch.clear();
            put_levels(column, values.start, count, &mut scratch);
            last = Some(place);
        }
        let stored = match holds {
            Holds::Indices => 1 + packed_len(count, width),
            _ => column.stored_len(count)?,
        };
        len += page(holds, scratch.len() as u64 + stored, count);
    }
    Some(ChunkSize {
        stored: len,
        plain: len,
        dictionary: dictionary_len,
    })
}
