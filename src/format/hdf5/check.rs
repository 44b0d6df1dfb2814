//! Checking the chunks of samples as their bytes come. Metadata was checked by libhdf5 when the index was read.

use super::filters::{Undo, undo};
use super::index::Hdf5Index;
use crate::format::{Checker, FormatError, LengthChecker, Opened, unpacked_limit};

/// A chunk that is to come.
struct Coming {
    len: u64,
    skipped: u32,
    chunk_len: u64,
    element_bytes: usize,
    filters: Result<Vec<Undo>, String>,
}

/// Checks lengths and, where it unpacks, every chunk.
pub(super) struct ChunkChecker {
    unpacks: bool,
    length: LengthChecker,
    coming: Vec<Coming>,
    next: usize,
    bytes: Vec<u8>,
    limit: u64,
}

impl ChunkChecker {
    pub(super) fn new(unpacks: bool) -> Self {
        ChunkChecker {
            unpacks,
            length: LengthChecker::default(),
            coming: Vec::new(),
            next: 0,
            bytes: Vec::new(),
            limit: 0,
        }
    }

    fn chunk(&mut self) -> Result<(), FormatError> {
        let coming = &self.coming[self.next];
        let filters = coming
            .filters
            .as_ref()
            .map_err(|e| FormatError::content(e.clone()))?;
        if coming.chunk_len > self.limit {
            return Err(FormatError::Content(format!(
                "a chunk announces {} bytes, which no chunk of a file of this size has",
                coming.chunk_len
            )));
        }
        let limit = coming.chunk_len as usize + 4;
        let mut bytes = std::mem::take(&mut self.bytes);
        for (number, &filter) in filters.iter().enumerate().rev() {
            if coming.skipped >> number & 1 == 0 {
                bytes = undo(filter, &bytes, coming.element_bytes, limit)?;
            }
        }
        if bytes.len() as u64 != coming.chunk_len {
            return Err(FormatError::Content(format!(
                "a chunk unpacks to {} bytes instead of {}",
                bytes.len(),
                coming.chunk_len
            )));
        }
        bytes.clear();
        self.bytes = bytes;
        self.next += 1;
        Ok(())
    }
}

impl Checker for ChunkChecker {
    fn begin(&mut self, opened: &Opened) {
        self.length.begin(opened);
        self.coming.clear();
        self.bytes.clear();
        self.next = 0;
        self.limit = unpacked_limit(opened.file_len);
        let index = opened
            .index
            .and_then(|index| index.as_any().downcast_ref::<Hdf5Index>());
        if let (true, Some(index)) = (self.unpacks, index) {
            let (first, count) = (opened.expect.sample, opened.expect.count);
            // Contiguous datasets need no unpacking; a file has the one or the other.
            if index.contiguous(count) == 0 {
                let wanted = index.chunks(first, count);
                self.coming.extend(wanted.iter().map(|w| Coming {
                    len: w.stored.len,
                    skipped: w.stored.skipped,
                    chunk_len: w.chunk_len,
                    element_bytes: w.element_bytes,
                    filters: w.filters.clone(),
                }));
            }
        }
    }

    fn push(&mut self, mut chunk: &[u8]) -> Result<(), FormatError> {
        self.length.push(chunk)?;
        while let Some(coming) = self.coming.get(self.next)
            && !chunk.is_empty()
        {
            let left = coming.len - self.bytes.len() as u64;
            let n = left.min(chunk.len() as u64) as usize;
            self.bytes.extend_from_slice(&chunk[..n]);
            chunk = &chunk[n..];
            if n as u64 == left {
                self.chunk()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), FormatError> {
        self.length.finish()
    }
}
