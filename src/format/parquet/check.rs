//! What was read, checked: page headers and checksums, and under `full` the pages decoded into arrays.
//!
//! A walker follows the column chunks of an extent from page to page. Under `verify` it keeps no bytes but those of a
//! header that is cut by the end of a read call; under `full` it keeps one page.

use std::ops::Range;
use std::sync::Arc;

use super::codec::{Codec, MAX_PAGE};
use super::decode::ChunkDecoder;
use super::footer::{Chunk, Leaf};
use super::header::{MAX_HEADER, PageHeader, PageKind};
use super::index::RowGroups;
use super::thrift::Broken;
use crate::format::{Checker, FormatError, Index, LengthChecker, Opened, Result};
use crate::storage::Extent;

/// The column chunk that is being walked.
struct Current {
    chunk: Chunk,
    /// Its row group, and the rows of that.
    group: usize,
    rows: u64,
    is_flat: bool,
    /// Bytes that are still to come.
    left: u64,
    /// Values of its data pages so far.
    values: u64,
    decoder: Option<ChunkDecoder>,
}

/// The page that is being walked.
struct Page {
    header: PageHeader,
    left: u64,
    crc: crc32fast::Hasher,
}

/// The checker of `verify` and `full`.
pub(super) struct PageChecker {
    is_full: bool,
    length: LengthChecker,
    index: Option<Arc<dyn Index>>,
    /// Row groups that are to come, and the next chunk of the first of them.
    groups: Range<usize>,
    next: usize,
    scratch: Vec<Extent>,
    current: Option<Current>,
    page: Option<Page>,
    /// A header that is not complete yet.
    head: Vec<u8>,
    /// The page's bytes, under `full`.
    body: Vec<u8>,
}

impl PageChecker {
    pub(super) fn new(is_full: bool) -> Self {
        PageChecker {
            is_full,
            length: LengthChecker::default(),
            index: None,
            groups: 0..0,
            next: 0,
            scratch: Vec::new(),
            current: None,
            page: None,
            head: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The next chunk that has bytes, and its row group.
    fn peek(&mut self) -> Option<(Chunk, usize)> {
        let index = row_groups(self.index.as_ref())?;
        while !self.groups.is_empty() {
            let group = self.groups.start;
            match index.chunks(group).get(self.next) {
                Some(chunk) if chunk.len > 0 => return Some((*chunk, group)),
                Some(_) => self.next += 1,
                None => {
                    self.groups.start += 1;
                    self.next = 0;
                }
            }
        }
        None
    }

    /// Goes on to the next chunk that has bytes.
    fn next_chunk(&mut self) -> Result<bool> {
        let Some((chunk, group)) = self.peek() else {
            return Ok(false);
        };
        self.next += 1;
        let Some(index) = row_groups(self.index.as_ref()) else {
            return Ok(false);
        };
        let leaf = &index.leaves[chunk.leaf as usize];
        let rows = index.rows(group);
        self.current = Some(Current {
            chunk,
            group,
            rows: rows.end - rows.start,
            is_flat: leaf.max_repetition == 0,
            left: chunk.len,
            values: 0,
            decoder: if self.is_full {
                Some(ChunkDecoder::new(leaf)?)
            } else {
                None
            },
        });
        Ok(true)
    }

    /// Names the chunk that is being walked.
    fn place(&self, error: FormatError) -> FormatError {
        let index = row_groups(self.index.as_ref());
        let (Some(current), Some(index)) = (&self.current, index) else {
            return error;
        };
        let leaf: &Leaf = &index.leaves[current.chunk.leaf as usize];
        let place = format!(
            "column {} in row group {}",
            leaf.path.join("."),
            current.group
        );
        match error {
            FormatError::Damaged(text) => FormatError::damaged(format!("{place}: {text}")),
            FormatError::Unsupported(text) => FormatError::unsupported(format!("{place}: {text}")),
            FormatError::Content(text) => FormatError::content(format!("{place}: {text}")),
            FormatError::Checksum {
                stored, computed, ..
            } => FormatError::Checksum {
                member: format!("a page of {place}"),
                stored,
                computed,
            },
            other => other,
        }
    }

    /// Looks at some bytes; returns how many were used.
    fn step(&mut self, bytes: &[u8]) -> Result<usize> {
        if self.current.is_none() && !self.next_chunk()? {
            return Err(FormatError::damaged(format!(
                "{} bytes follow the column chunks that were asked for",
                bytes.len()
            )));
        }
        let current = self.current.as_mut().expect("just made");
        let Some(page) = &mut self.page else {
            return self.header(bytes);
        };
        let n = (bytes.len() as u64).min(page.left) as usize;
        // Most writers leave the checksum out.
        if page.header.crc.is_some() {
            page.crc.update(&bytes[..n]);
        }
        page.left -= n as u64;
        current.left -= n as u64;
        if self.is_full {
            self.body.extend_from_slice(&bytes[..n]);
        }
        if page.left == 0 {
            self.page_done()?;
        }
        Ok(n)
    }

    /// Reads a page's header, or as much of it as is there.
    fn header(&mut self, bytes: &[u8]) -> Result<usize> {
        let current = self.current.as_mut().expect("a header is part of a chunk");
        let before = self.head.len();
        let room = (current.left.min(MAX_HEADER as u64) as usize).saturating_sub(before);
        let seen = &bytes[..bytes.len().min(room)];
        let parsed = if before == 0 {
            PageHeader::parse(seen)
        } else {
            self.head.extend_from_slice(seen);
            PageHeader::parse(&self.head)
        };
        let (header, len) = match parsed {
            Ok(parsed) => parsed,
            Err(Broken::Short) if seen.len() == bytes.len() && seen.len() < room => {
                if before == 0 {
                    self.head.extend_from_slice(seen);
                }
                return Ok(bytes.len());
            }
            Err(broken) => return Err(broken.into_error("a page header")),
        };
        self.head.clear();
        current.left -= len as u64;
        if header.stored_len > current.left {
            return Err(FormatError::damaged(format!(
                "a page of {} bytes is announced where the column chunk has {} left",
                header.stored_len, current.left
            )));
        }
        if self.is_full && header.plain_len.max(header.stored_len as usize) > MAX_PAGE {
            return Err(FormatError::unsupported(format!(
                "a page of {} bytes that becomes {} is announced: pages of more than {} MiB are not supported",
                header.stored_len,
                header.plain_len,
                MAX_PAGE >> 20
            )));
        }
        let is_empty = header.stored_len == 0;
        self.body.clear();
        self.page = Some(Page {
            left: header.stored_len,
            header,
            crc: crc32fast::Hasher::new(),
        });
        if is_empty {
            self.page_done()?;
        }
        Ok(len - before)
    }

    /// The page is complete.
    fn page_done(&mut self) -> Result<()> {
        let (Some(current), Some(page)) = (self.current.as_mut(), self.page.take()) else {
            return Ok(());
        };
        let computed = page.crc.finalize();
        if let Some(stored) = page.header.crc.filter(|&stored| stored != computed) {
            return Err(FormatError::Checksum {
                member: String::new(),
                stored,
                computed,
            });
        }
        match page.header.kind {
            PageKind::Data { values, .. } | PageKind::DataV2 { values, .. } => {
                current.values += u64::from(values);
            }
            _ => {}
        }
        let differ = |rows: u64, more: &str| {
            Err(FormatError::damaged(format!(
                "its pages hold {rows}{more} rows where the footer says {}",
                current.rows
            )))
        };
        if current.is_flat && current.values > current.rows {
            return differ(current.values, " or more");
        }
        if let Some(decoder) = &mut current.decoder {
            let codec = Codec::by_id(current.chunk.codec)?;
            decoder.page(&page.header, codec, &self.body)?;
        }
        if current.left > 0 {
            return Ok(());
        }
        let rows = match &current.decoder {
            Some(decoder) => decoder.rows(),
            None if current.is_flat => current.values,
            // Only the levels tell.
            None => current.rows,
        };
        if rows != current.rows {
            return differ(rows, "");
        }
        self.current = None;
        Ok(())
    }
}

/// The metadata as this format has it.
fn row_groups(index: Option<&Arc<dyn Index>>) -> Option<&RowGroups> {
    index?.as_any().downcast_ref()
}

impl Checker for PageChecker {
    fn begin(&mut self, opened: &Opened) {
        self.length.begin(opened);
        self.current = None;
        self.page = None;
        self.head.clear();
        self.body.clear();
        self.index = opened.index.cloned();
        self.next = 0;
        let expect = &opened.expect;
        self.groups = row_groups(opened.index)
            .and_then(|index| {
                index.groups_of(
                    expect.sample,
                    expect.count,
                    opened.extents,
                    &mut self.scratch,
                )
            })
            .unwrap_or(0..0);
    }

    fn push(&mut self, chunk: &[u8]) -> Result<()> {
        self.length.push(chunk)?;
        let mut rest = chunk;
        while !rest.is_empty() {
            let used = self.step(rest).map_err(|error| self.place(error))?;
            rest = &rest[used..];
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.length.finish()?;
        if self.current.is_some() || self.peek().is_some() {
            return Err(self.place(FormatError::damaged(
                "the bytes that were read end within a column chunk",
            )));
        }
        Ok(())
    }
}
