//! A file's metadata in memory: 24 bytes per wanted column chunk and 16 per row group.

use std::any::Any;
use std::ops::Range;

use super::codec;
use super::footer::{Chunk, Leaf, Visitor, read};
use super::schema::physical;
use super::thrift::Broken;
use crate::format::{Access, FormatError, FormatOptions, Index, Result, Source};
use crate::storage::Extent;

/// Bytes of memory of one column, with short names.
pub(super) const PER_COLUMN: u64 = size_of::<Leaf>() as u64 + 128;

/// Bytes of memory of one column's chunk in one row group.
pub(super) const PER_CHUNK: u64 = size_of::<Chunk>() as u64;

/// Where the row groups of a file lie.
pub(super) struct RowGroups {
    /// The columns of the file.
    pub leaves: Vec<Leaf>,
    /// The first row of each row group, and the number of rows of the file.
    starts: Vec<u64>,
    /// The wanted chunks, by offset within a row group.
    chunks: Vec<Chunk>,
    /// Where the chunks of each row group begin in `chunks`, and their number.
    firsts: Vec<usize>,
}

/// Collects what a footer says.
struct Collector<'a> {
    columns: &'a [String],
    wanted: Vec<bool>,
    index: RowGroups,
}

impl Visitor for Collector<'_> {
    fn schema(&mut self, leaves: Vec<Leaf>) -> Result<(), Broken> {
        let names =
            |leaf: &Leaf, name: &String| leaf.path[0] == *name || leaf.path.join(".") == *name;
        if let Some(missing) = self
            .columns
            .iter()
            .find(|name| !leaves.iter().any(|leaf| names(leaf, name)))
        {
            let mut has: Vec<&str> = leaves.iter().map(|leaf| leaf.path[0].as_str()).collect();
            has.dedup();
            has.truncate(20);
            return Err(Broken::reading(FormatError::content(format!(
                "storage_options.columns names {missing}, which it has not; its columns are {}",
                has.join(", ")
            ))));
        }
        self.wanted = leaves
            .iter()
            .map(|leaf| self.columns.is_empty() || self.columns.iter().any(|n| names(leaf, n)))
            .collect();
        self.index.leaves = leaves;
        Ok(())
    }

    fn wants(&self, leaf: usize) -> bool {
        self.wanted.get(leaf).copied().unwrap_or(false)
    }

    fn row_group(&mut self, rows: u64, chunks: &mut Vec<Chunk>) -> Result<(), Broken> {
        let index = &mut self.index;
        let start = *index.starts.last().expect("it begins with row 0");
        let end = start
            .checked_add(rows)
            .ok_or_else(|| Broken::because("its rows exceed 64 bits"))?;
        chunks.sort_by_key(|chunk| chunk.offset);
        let overlap = chunks
            .windows(2)
            .any(|pair| pair[0].offset + pair[0].len > pair[1].offset);
        if overlap {
            return Err(Broken::because(format!(
                "column chunks of the row group of row {start} overlap"
            )));
        }
        index.chunks.append(chunks);
        index.firsts.push(index.chunks.len());
        index.starts.push(end);
        Ok(())
    }
}

impl RowGroups {
    /// Reads a file's footer.
    pub(super) fn read(source: &mut dyn Source, options: &FormatOptions) -> Result<Self> {
        let mut collector = Collector {
            columns: &options.read_columns,
            wanted: Vec::new(),
            index: RowGroups {
                leaves: Vec::new(),
                starts: vec![0],
                chunks: Vec::new(),
                firsts: vec![0],
            },
        };
        read(source, &mut collector)?;
        let mut index = collector.index;
        index.starts.shrink_to_fit();
        index.chunks.shrink_to_fit();
        index.firsts.shrink_to_fit();
        Ok(index)
    }

    /// The row groups that are read for samples `first..first + count`.
    pub(super) fn groups(&self, first: u64, count: u64, access: Access) -> Range<usize> {
        let starts = &self.starts[..self.starts.len() - 1];
        let from = starts.partition_point(|&start| start < first);
        let to = starts.partition_point(|&start| start < first + count);
        match access {
            Access::Stream => from..to,
            // Also the one in which the first sample lies.
            Access::Random if count == 0 => from..from,
            Access::Random => self.starts[1..].partition_point(|&end| end <= first)..to,
        }
    }

    pub(super) fn rows(&self, group: usize) -> Range<u64> {
        self.starts[group]..self.starts[group + 1]
    }

    /// The wanted chunks of a row group, by offset.
    pub(super) fn chunks(&self, group: usize) -> &[Chunk] {
        &self.chunks[self.firsts[group]..self.firsts[group + 1]]
    }

    /// The row groups of which `extents` are the bytes; None when they are no row groups of samples `first..first + count`.
    pub(super) fn groups_of(
        &self,
        first: u64,
        count: u64,
        extents: &[Extent],
        scratch: &mut Vec<Extent>,
    ) -> Option<Range<usize>> {
        [Access::Stream, Access::Random]
            .into_iter()
            .find_map(|access| {
                scratch.clear();
                self.extents(first, count, access, scratch);
                (scratch == extents).then(|| self.groups(first, count, access))
            })
    }
}

impl Index for RowGroups {
    fn samples(&self) -> u64 {
        *self.starts.last().expect("it begins with row 0")
    }

    fn extents(&self, first: u64, count: u64, access: Access, out: &mut Vec<Extent>) {
        for group in self.groups(first, count, access) {
            // Neighbours become one range, but never across row groups.
            let mut open: Option<(u64, u64)> = None;
            for chunk in self.chunks(group).iter().filter(|chunk| chunk.len > 0) {
                open = match open {
                    Some((offset, len)) if offset + len == chunk.offset => {
                        Some((offset, len + chunk.len))
                    }
                    other => {
                        out.extend(other.map(|(offset, len)| Extent::Range { offset, len }));
                        Some((chunk.offset, chunk.len))
                    }
                };
            }
            out.extend(open.map(|(offset, len)| Extent::Range { offset, len }));
        }
    }

    fn memory(&self) -> usize {
        let leaves: usize = self
            .leaves
            .iter()
            .map(|leaf| {
                size_of::<Leaf>()
                    + leaf
                        .path
                        .iter()
                        .map(|n| n.len() + size_of::<String>())
                        .sum::<usize>()
            })
            .sum();
        leaves
            + self.chunks.len() * size_of::<Chunk>()
            + self.firsts.len() * size_of::<usize>()
            + self.starts.len() * size_of::<u64>()
    }

    fn describe(&self) -> Vec<String> {
        let groups = self.starts.len() - 1;
        let mut lines: Vec<String> = self
            .leaves
            .iter()
            .enumerate()
            .map(|(i, leaf)| {
                let codec = self
                    .chunks
                    .iter()
                    .find(|chunk| chunk.leaf as usize == i)
                    .map_or("not read", |chunk| codec::name(chunk.codec));
                format!(
                    "{}: {}, codec {codec}",
                    leaf.path.join("."),
                    type_name(leaf)
                )
            })
            .collect();
        let largest = (0..groups)
            .map(|g| self.rows(g).end - self.rows(g).start)
            .max();
        lines.push(format!(
            "{groups} row groups of up to {} rows",
            largest.unwrap_or(0)
        ));
        lines
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

fn type_name(leaf: &Leaf) -> String {
    let name = match leaf.physical {
        physical::BOOLEAN => "boolean".into(),
        physical::INT32 => "int32".into(),
        physical::INT64 => "int64".into(),
        physical::INT96 => "int96".into(),
        physical::FLOAT => "float".into(),
        physical::DOUBLE => "double".into(),
        physical::BYTE_ARRAY => "byte_array".into(),
        physical::FIXED_LEN_BYTE_ARRAY => format!("fixed_len_byte_array({})", leaf.type_length),
        other => format!("type {other}"),
    };
    let repeated = if leaf.max_repetition > 0 {
        ", repeated"
    } else {
        ""
    };
    let optional = if leaf.max_definition > 0 {
        ", optional"
    } else {
        ""
    };
    format!("{name}{optional}{repeated}")
}
