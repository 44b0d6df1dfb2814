//! parquet: row groups of column chunks of pages, and a footer that says where they lie.
//!
//! Files are written by an encoder of our own: pages with checksums, streamed in the memory of a page, without statistics,
//! with the dictionaries of pyarrow and so of its size.
//! A run reads the wanted column chunks of whole row groups: the footer is read once per file, then byte ranges.
//! `schema` says which bytes of the fill are which value.
//!
//! Source: the format description of Apache Parquet (`parquet-format`, `parquet.thrift`), and DLIO's
//! `data_generator/parquet_generator.py` for the schema.

mod arrow;
mod bits;
mod check;
mod codec;
mod decode;
mod dictionary;
mod encode;
mod footer;
mod header;
mod index;
mod levels;
mod page;
mod schema;
#[cfg(test)]
mod tests;
mod thrift;

use std::sync::Arc;

use super::{
    Checker, Expect, FileSpec, Format, FormatError, FormatOptions, Index, Key, Opened, Out, Result,
    Source,
};

pub struct Parquet;

/// Magic, a footer's length, magic.
const MIN_LEN: u64 = 12;

impl Format for Parquet {
    fn supports(&self, spec: &FileSpec) -> Result<()> {
        if let Some(column) = &spec.options.parquet.partition_by {
            return Err(FormatError::content(format!(
                "dataset.parquet.partition_by={column} is not possible: it would spread each file over folders under names that no reader of a run looks for; leave it out"
            )));
        }
        encode::Plan::new(spec).map(|_| ())
    }

    fn encoded_len(&self, spec: &FileSpec) -> Option<u64> {
        encode::Plan::new(spec).ok()?.len()
    }

    fn keys(&self, options: &FormatOptions) -> Vec<Key> {
        vec![Key::new("parquet", &options.parquet)]
    }

    fn min_len(&self, _: &FileSpec) -> u64 {
        // Other writers compress the same samples to any size.
        MIN_LEN
    }

    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()> {
        encode::Plan::new(spec)?.write(chunk, out)
    }

    fn needs_index(&self, _: &Expect, _: &FormatOptions) -> bool {
        true
    }

    fn index_memory(&self, spec: &FileSpec) -> u64 {
        let options = &spec.options.parquet;
        let groups = spec.samples.div_ceil(options.row_group_size.max(1));
        let columns = options.columns.len().max(1) as u64;
        columns * (index::PER_COLUMN + groups * index::PER_CHUNK) + groups * 16 + super::INDEX
    }

    fn index(&self, source: &mut dyn Source, options: &FormatOptions) -> Result<Arc<dyn Index>> {
        Ok(Arc::new(index::RowGroups::read(source, options)?))
    }

    fn content_checker(&self, is_full: bool, _: &FormatOptions) -> Box<dyn Checker> {
        Box::new(check::PageChecker::new(is_full))
    }

    fn expected(&self, opened: &Opened, spec: &FileSpec, out: Out) -> Result<()> {
        let index = opened
            .index
            .and_then(|index| index.as_any().downcast_ref::<index::RowGroups>());
        let expect = &opened.expect;
        let groups = index.and_then(|index| {
            let groups =
                index.groups_of(expect.sample, expect.count, opened.extents, &mut Vec::new())?;
            Some((index, groups))
        });
        let Some((index, groups)) = groups else {
            return Err(FormatError::content(
                "what was read are no row groups of its footer",
            ));
        };
        let plan = encode::Plan::new(spec)?;
        for group in groups {
            let columns: Vec<usize> = index
                .chunks(group)
                .iter()
                .filter(|chunk| chunk.len > 0)
                .map(|chunk| chunk.leaf as usize)
                .collect();
            plan.write_chunks(index.rows(group), &columns, out)?;
        }
        Ok(())
    }
}
