//! What was read, checked: page headers and checksums, and under `full` the pages decoded into arrays.
//!
//! A walker follows the column chunks of an extent from page to page. Under `verify` it keeps no bytes but those of a
//! header that is cut by the end of a read call; under `full` it keeps one page.

use std::collections::VecDeque;

use super::codec::{Codec, MAX_PAGE};
use super::decode::ChunkDecoder;
use super::footer::Leaf;
use super::header::{MAX_HEADER, PageHeader, PageKind};
use super::index::RowGroups;
use super::thrift::Broken;
use crate::format::{Checker, FormatError, LengthChecker, Opened};

/// A column chunk that is to come.
struct Coming {
    len: u64,
    rows: u64,
    leaf: Leaf,
    codec: Codec,
    group: usize,
}

/// The column chunk that is being walked.
struct Current {
    coming: Coming,
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
    coming: VecDeque<Coming>,
    current: Option<Current>,
    page: Option<Page>,
    /// A header that is not complete yet.
    head: Vec<u8>,
    /// The page's bytes, under `full`.
    body: Vec<u8>,
    is_lost: bool,
}

impl PageChecker {
    pub(super) fn new(is_full: bool) -> Self {
        PageChecker {
            is_full,
            length: LengthChecker::default(),
            coming: VecDeque::new(),
            current: None,
            page: None,
            head: Vec::new(),
            body: Vec::new(),
            is_lost: false,
        }
    }

    /// Goes on to the next chunk that has bytes.
    fn next_chunk(&mut self) -> Result<bool, FormatError> {
        let Some(coming) = self.coming.pop_front() else {
            return Ok(false);
        };
        let decoder = if self.is_full {
            Some(ChunkDecoder::new(&coming.leaf)?)
        } else {
            None
        };
        self.current = Some(Current {
            left: coming.len,
            values: 0,
            decoder,
            coming,
        });
        Ok(true)
    }

    /// Looks at some bytes; returns how many were used.
    fn step(&mut self, bytes: &[u8]) -> Result<usize, FormatError> {
        if self.current.is_none() && !self.next_chunk()? {
            return Err(FormatError::content(format!(
                "{} bytes follow the column chunks that were asked for",
                bytes.len()
            )));
        }
        let current = self.current.as_mut().expect("just made");
        let Some(page) = &mut self.page else {
            return self.header(bytes);
        };
        let n = (bytes.len() as u64).min(page.left) as usize;
        page.crc.update(&bytes[..n]);
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
    fn header(&mut self, bytes: &[u8]) -> Result<usize, FormatError> {
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
            Err(broken) => {
                return Err(in_chunk(
                    &current.coming,
                    broken.into_error("a page header"),
                ));
            }
        };
        self.head.clear();
        current.left -= len as u64;
        if header.stored_len > current.left {
            return Err(in_chunk(
                &current.coming,
                FormatError::content(format!(
                    "a page of {} bytes is announced where the column chunk has {} left",
                    header.stored_len, current.left
                )),
            ));
        }
        if self.is_full && header.plain_len.max(header.stored_len as usize) > MAX_PAGE {
            return Err(in_chunk(
                &current.coming,
                FormatError::content(format!(
                    "a page of {} bytes that becomes {} is announced: pages of more than {} MiB are refused",
                    header.stored_len,
                    header.plain_len,
                    MAX_PAGE >> 20
                )),
            ));
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
    fn page_done(&mut self) -> Result<(), FormatError> {
        let (Some(current), Some(page)) = (self.current.as_mut(), self.page.take()) else {
            return Ok(());
        };
        let coming = &current.coming;
        let computed = page.crc.finalize();
        if let Some(stored) = page.header.crc.filter(|&stored| stored != computed) {
            return Err(FormatError::Checksum {
                member: format!(
                    "a page of column {} in row group {}",
                    coming.leaf.path.join("."),
                    coming.group
                ),
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
        let is_flat = coming.leaf.max_repetition == 0;
        if is_flat && current.values > coming.rows {
            return Err(rows_differ(coming, current.values, true));
        }
        if let Some(decoder) = &mut current.decoder {
            decoder
                .page(&page.header, coming.codec, &mut self.body)
                .map_err(|error| in_chunk(coming, error))?;
        }
        if current.left > 0 {
            return Ok(());
        }
        let rows = match &current.decoder {
            Some(decoder) => Some(decoder.rows()),
            None if is_flat => Some(current.values),
            None => None,
        };
        if let Some(rows) = rows.filter(|&rows| rows != coming.rows) {
            return Err(rows_differ(coming, rows, false));
        }
        self.current = None;
        Ok(())
    }
}

fn in_chunk(coming: &Coming, error: FormatError) -> FormatError {
    match error {
        FormatError::Content(text) => FormatError::content(format!(
            "column {} in row group {}: {text}",
            coming.leaf.path.join("."),
            coming.group
        )),
        other => other,
    }
}

fn rows_differ(coming: &Coming, rows: u64, is_more: bool) -> FormatError {
    in_chunk(
        coming,
        FormatError::content(format!(
            "its pages hold {rows}{} rows where the footer says {}",
            if is_more { " or more" } else { "" },
            coming.rows
        )),
    )
}

impl Checker for PageChecker {
    fn begin(&mut self, opened: &Opened) {
        self.length.begin(opened);
        self.coming.clear();
        self.current = None;
        self.page = None;
        self.head.clear();
        self.body.clear();
        let index = opened
            .index
            .and_then(|i| i.as_any().downcast_ref::<RowGroups>());
        let found = index.and_then(|index| {
            let groups =
                index.groups_of(opened.expect.sample, opened.expect.count, opened.extents)?;
            Some((index, groups))
        });
        self.is_lost = found.is_none();
        let Some((index, groups)) = found else {
            return;
        };
        for group in groups {
            let rows = index.rows(group);
            let chunks = index.chunks(group).iter().filter(|chunk| chunk.len > 0);
            self.coming.extend(chunks.map(|chunk| Coming {
                len: chunk.len,
                rows: rows.end - rows.start,
                leaf: index.leaves[chunk.leaf as usize].clone(),
                codec: chunk.codec,
                group,
            }));
        }
    }

    fn push(&mut self, chunk: &[u8]) -> Result<(), FormatError> {
        if self.is_lost {
            return Err(FormatError::content(
                "what is read are no row groups of its footer",
            ));
        }
        self.length.push(chunk)?;
        let mut rest = chunk;
        while !rest.is_empty() {
            let used = self.step(rest)?;
            rest = &rest[used..];
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FormatError> {
        self.length.finish()?;
        if self.current.is_some() || !self.coming.is_empty() {
            return Err(FormatError::content(
                "the bytes that were read end within a column chunk",
            ));
        }
        Ok(())
    }
}
