//! `reader.verify_content`: what was read, compared with what was generated.
//!
//! The bytes read are reduced to one CRC-32 per block as they come; at the end of the run the format streams what the
//! extents should hold, and the blocks are compared. A CRC-32 finds every burst of up to 32 bits with certainty and any other
//! difference in a block with probability 1 - 2^-32.

use std::sync::Arc;

use super::length::file_offset;
use super::{
    Checker, Expect, Extent, FileSpec, Format, FormatError, FormatOptions, Index, Opened, Result,
};
use crate::config::Element;
use crate::plan::fill::Fill;

/// Bytes that one checksum covers: how exactly a difference is located.
const BLOCK: usize = 4096;

/// CRC-32 of each block of a stream.
#[derive(Default)]
struct Blocks {
    done: Vec<u32>,
    open: crc32fast::Hasher,
    used: usize,
}

impl Blocks {
    fn clear(&mut self) {
        self.done.clear();
        self.open.reset();
        self.used = 0;
    }

    fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n = bytes.len().min(BLOCK - self.used);
            self.open.update(&bytes[..n]);
            self.used += n;
            bytes = &bytes[n..];
            if self.used == BLOCK {
                self.close();
            }
        }
    }

    fn close(&mut self) {
        let full = std::mem::take(&mut self.open);
        self.done.push(full.finalize());
        self.used = 0;
    }

    fn end(&mut self) {
        if self.used > 0 {
            self.close();
        }
    }
}

/// A run whose contents are to be compared.
struct Wanted {
    dims: Vec<u64>,
    samples: u64,
    element: Element,
    fill: Fill,
    file: u64,
    file_len: u64,
    expect: Expect,
    extents: Vec<Extent>,
    index: Option<Arc<dyn Index>>,
}

/// A checker that also compares contents, for the runs whose [`Opened::spec`] is given.
pub struct ContentChecker {
    inner: Box<dyn Checker>,
    format: &'static dyn Format,
    options: Arc<FormatOptions>,
    wanted: Option<Wanted>,
    read: Blocks,
    made: Blocks,
    bytes: u64,
}

impl ContentChecker {
    /// Around the checker of a `decode` level.
    pub fn new(
        inner: Box<dyn Checker>,
        format: &'static dyn Format,
        options: Arc<FormatOptions>,
    ) -> Self {
        ContentChecker {
            inner,
            format,
            options,
            wanted: None,
            read: Blocks::default(),
            made: Blocks::default(),
            bytes: 0,
        }
    }

    fn compare(&mut self) -> Result<()> {
        let Some(wanted) = &self.wanted else {
            return Ok(());
        };
        self.read.end();
        self.made.clear();
        let spec = FileSpec {
            sample_dims: &wanted.dims,
            samples: wanted.samples,
            element: wanted.element,
            fill: wanted.fill.clone(),
            file: wanted.file,
            options: &self.options,
        };
        let opened = Opened {
            file_len: wanted.file_len,
            expect: wanted.expect,
            extents: &wanted.extents,
            index: wanted.index.as_ref(),
            spec: Some(&spec),
        };
        let mut expected = 0;
        let made = &mut self.made;
        self.format.expected(&opened, &spec, &mut |bytes| {
            made.push(bytes);
            expected += bytes.len() as u64;
            Ok(())
        })?;
        self.made.end();
        if let Some(block) = (0..self.read.done.len().max(self.made.done.len()))
            .find(|&i| self.read.done.get(i) != self.made.done.get(i))
        {
            let from = (block * BLOCK) as u64;
            let to = (from + BLOCK as u64).min(self.bytes.max(expected));
            return Err(FormatError::Altered {
                samples: match (wanted.expect.sample, wanted.expect.count) {
                    (first, 1) => format!("sample {first}"),
                    (first, count) => format!("samples {first} to {}", first + count - 1),
                },
                from: file_offset(&wanted.extents, from),
                to: file_offset(&wanted.extents, to.saturating_sub(1)) + 1,
            });
        }
        Ok(())
    }
}

impl Checker for ContentChecker {
    fn begin(&mut self, opened: &Opened) {
        self.inner.begin(opened);
        self.read.clear();
        self.bytes = 0;
        self.wanted = opened.spec.map(|spec| Wanted {
            dims: spec.sample_dims.to_vec(),
            samples: spec.samples,
            element: spec.element,
            fill: spec.fill.clone(),
            file: spec.file,
            file_len: opened.file_len,
            expect: opened.expect,
            extents: opened.extents.to_vec(),
            index: opened.index.cloned(),
        });
    }

    fn push(&mut self, chunk: &[u8]) -> Result<()> {
        if self.wanted.is_some() {
            self.read.push(chunk);
            self.bytes += chunk.len() as u64;
        }
        self.inner.push(chunk)
    }

    fn finish(&mut self) -> Result<()> {
        // The format's own verdict comes first: it says more.
        self.inner.finish()?;
        self.compare()
    }
}
