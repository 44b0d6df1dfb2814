//! A file as it is written: magic, row groups, footer.
//!
//! Column chunks are streamed page by page, so memory is that of a page, and 24 bytes per column chunk for the footer.

use std::ops::Range;

use super::arrow;
use super::codec::Codec;
use super::page::{ChunkSize, PLAIN, Pages, RLE, RLE_DICTIONARY, plain_chunk_len};
use super::schema::{Column, Logical};
use super::thrift::{BINARY, I32, STRUCT, Writer};
use crate::format::{Chunks, FileSpec, FormatError, Out, Result};

pub(super) const MAGIC: &[u8; 4] = b"PAR1";

/// Names the layout, not the version of the program: the same dataset stays the same files.
const CREATED_BY: &str = "dlio-rs version 1";

const REQUIRED: i32 = 0;
const OPTIONAL: i32 = 1;
const REPEATED: i32 = 2;

/// A file to be written.
pub(super) struct Plan<'a> {
    spec: &'a FileSpec<'a>,
    columns: Vec<Column>,
    codec: Codec,
    row_group: u64,
}

impl<'a> Plan<'a> {
    /// Errors: the YAML asks for something that is not possible.
    pub(super) fn new(spec: &'a FileSpec<'a>) -> Result<Self> {
        let row_group = spec.options.parquet.row_group_size;
        if row_group == 0 {
            return Err(FormatError::content(
                "dataset.parquet.row_group_size=0 is not possible: use 1 or more",
            ));
        }
        Ok(Plan {
            spec,
            columns: Column::all(spec)?,
            codec: Codec::of(spec.options)?,
            row_group,
        })
    }

    fn pages(&self) -> Pages {
        Pages::new(self.codec, self.spec.options.compression_level)
    }

    fn row_groups(&self) -> u64 {
        self.spec.samples.div_ceil(self.row_group)
    }

    fn rows(&self, group: u64) -> Range<u64> {
        let start = group * self.row_group;
        start..(start + self.row_group).min(self.spec.samples)
    }

    /// Streams the file.
    pub(super) fn write(&self, chunk: &mut [u8], out: Out) -> Result<()> {
        let mut chunks = Chunks::new(chunk, out);
        chunks.bytes(MAGIC)?;
        let mut pages = self.pages();
        let mut sizes = Vec::new();
        for group in 0..self.row_groups() {
            let rows = self.rows(group);
            for column in &self.columns {
                let mut put = |bytes: &[u8]| chunks.bytes(bytes);
                sizes.push(pages.chunk(column, &rows, &self.spec.fill, &mut put)?);
            }
        }
        let len = self.footer(&mut |i| sizes[i], &mut |bytes| chunks.bytes(bytes))?;
        let len = u32::try_from(len).map_err(|_| {
            FormatError::content(format!(
                "the footer of {} row groups would have {len} bytes: raise dataset.parquet.row_group_size",
                self.row_groups()
            ))
        })?;
        chunks.bytes(&len.to_le_bytes())?;
        chunks.bytes(MAGIC)?;
        Ok(chunks.end()?)
    }

    /// Streams the chunks of the columns of these numbers over rows `rows`.
    pub(super) fn write_chunks(&self, rows: Range<u64>, columns: &[usize], out: Out) -> Result<()> {
        let mut pages = self.pages();
        for column in columns.iter().filter_map(|&i| self.columns.get(i)) {
            pages.chunk(column, &rows, &self.spec.fill, out)?;
        }
        Ok(())
    }

    /// Bytes of the file; None when only encoding tells.
    pub(super) fn len(&self) -> Option<u64> {
        if self.codec != Codec::None {
            return None;
        }
        let sizes_of = |rows: u64| {
            self.columns
                .iter()
                .map(|column| plain_chunk_len(column, rows))
                .collect::<Option<Vec<_>>>()
        };
        let whole = sizes_of(self.row_group.min(self.spec.samples))?;
        let last = sizes_of(
            self.row_groups()
                .checked_sub(1)
                .map_or(0, |g| self.rows(g).end - self.rows(g).start),
        )?;
        let groups = self.row_groups() as usize;
        let mut chunks_len = 0;
        let mut size = |i: usize| {
            let (group, column) = (i / self.columns.len(), i % self.columns.len());
            let size = if group + 1 == groups {
                last[column]
            } else {
                whole[column]
            };
            chunks_len += size.stored;
            size
        };
        let footer = self.footer(&mut size, &mut |_| Ok(())).ok()?;
        Some(chunks_len + footer + 12)
    }

    /// Streams the footer row group by row group; returns its length. `size` is asked once for every chunk, in order.
    pub(super) fn footer(
        &self,
        size: &mut dyn FnMut(usize) -> ChunkSize,
        put: &mut dyn FnMut(&[u8]) -> std::io::Result<()>,
    ) -> std::io::Result<u64> {
        let mut len = 0;
        let mut flush = |w: &mut Writer| {
            len += w.out.len() as u64;
            put(&w.out)?;
            w.out.clear();
            std::io::Result::Ok(())
        };
        let mut w = Writer::default();
        w.begin();
        w.i32(1, 2);
        self.schema(&mut w);
        w.i64(3, self.spec.samples as i64);
        w.list(4, STRUCT, self.row_groups());
        let mut offset = MAGIC.len() as u64;
        for group in 0..self.row_groups() {
            let rows = self.rows(group);
            let first = group as usize * self.columns.len();
            self.row_group(&mut w, rows, &mut offset, &mut |i| size(first + i));
            flush(&mut w)?;
        }
        w.list(5, STRUCT, 1);
        w.begin();
        w.binary(1, "ARROW:schema");
        w.binary(2, &arrow::schema(&self.columns));
        w.end();
        w.binary(6, CREATED_BY);
        w.end();
        flush(&mut w)?;
        Ok(len)
    }

    fn row_group(
        &self,
        w: &mut Writer,
        rows: Range<u64>,
        offset: &mut u64,
        size: &mut dyn FnMut(usize) -> ChunkSize,
    ) {
        let start = *offset;
        let rows = rows.end - rows.start;
        let mut plain = 0;
        w.begin();
        w.list(1, STRUCT, self.columns.len() as u64);
        for (i, column) in self.columns.iter().enumerate() {
            let size = size(i);
            let has_dictionary = size.dictionary > 0;
            plain += size.plain;
            w.begin();
            // The offset of metadata outside the footer, of which there is none.
            w.i64(2, 0);
            w.structure(3);
            w.i32(1, column.physical);
            let encodings = [PLAIN, RLE, RLE_DICTIONARY];
            let encodings = &encodings[..if has_dictionary { 3 } else { 2 }];
            w.list(2, I32, encodings.len() as u64);
            encodings.iter().for_each(|&n| w.number(n.into()));
            let path = column.path();
            w.list(3, BINARY, path.len() as u64);
            path.iter().for_each(|name| w.text(name));
            w.i32(4, self.codec.id());
            w.i64(5, column.values_in(rows) as i64);
            w.i64(6, size.plain as i64);
            w.i64(7, size.stored as i64);
            w.i64(9, (*offset + size.dictionary) as i64);
            if has_dictionary {
                w.i64(11, *offset as i64);
            }
            w.end();
            w.end();
            *offset += size.stored;
        }
        w.i64(2, plain as i64);
        w.i64(3, rows as i64);
        w.i64(5, start as i64);
        w.i64(6, (*offset - start) as i64);
        w.end();
    }

    fn schema(&self, w: &mut Writer) {
        let elements: u64 = self
            .columns
            .iter()
            .map(|column| column.path().len() as u64)
            .sum();
        w.list(2, STRUCT, 1 + elements);
        w.begin();
        w.i32(3, REQUIRED);
        w.binary(4, "schema");
        w.i32(5, self.columns.len() as i32);
        w.end();
        for column in &self.columns {
            let mut name = column.name.as_str();
            if column.list.is_some() {
                w.begin();
                w.i32(3, OPTIONAL);
                w.binary(4, name);
                w.i32(5, 1);
                w.i32(6, 3);
                w.structure(10);
                w.structure(3);
                w.end();
                w.end();
                w.end();
                w.begin();
                w.i32(3, REPEATED);
                w.binary(4, "list");
                w.i32(5, 1);
                w.end();
                name = "element";
            }
            leaf(w, column, name);
        }
    }
}

/// The schema element of a column's values.
fn leaf(w: &mut Writer, column: &Column, name: &str) {
    w.begin();
    w.i32(1, column.physical);
    if let Some(len) = column.type_length() {
        w.i32(2, len);
    }
    w.i32(3, OPTIONAL);
    w.binary(4, name);
    // Numbers of `ConvertedType` and `LogicalType`.
    match column.logical {
        Logical::None => {}
        Logical::Text => {
            w.i32(6, 0);
            w.structure(10);
            w.structure(1);
            w.end();
            w.end();
        }
        Logical::Float16 => {
            w.structure(10);
            w.structure(15);
            w.end();
            w.end();
        }
        Logical::Integer { bits, is_signed } => {
            let width = match bits {
                8 => 0,
                16 => 1,
                32 => 2,
                _ => 3,
            };
            w.i32(6, if is_signed { 15 } else { 11 } + width);
            w.structure(10);
            w.structure(10);
            w.i8(1, bits);
            w.bool(2, is_signed);
            w.end();
            w.end();
        }
    }
    w.end();
}
