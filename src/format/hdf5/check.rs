//! Checking the chunks of samples as their bytes come. Metadata was checked by libhdf5 when the index was read.

use std::sync::Arc;

use super::filters::undo;
use super::index::Hdf5Index;
use crate::format::{Checker, FormatError, Index, LengthChecker, Opened, Result, unpacked_limit};

/// A run of bytes that is to come.
struct Coming {
    len: u64,
    /// The dataset and the filters that were skipped, for a chunk; None for contiguous bytes.
    chunk: Option<(usize, u32)>,
}

/// Checks lengths and, where it unpacks, every chunk.
pub(super) struct ChunkChecker {
    unpacks: bool,
    length: LengthChecker,
    index: Option<Arc<dyn Index>>,
    coming: Vec<Coming>,
    next: usize,
    /// Bytes of the next run that have come.
    seen: u64,
    bytes: Vec<u8>,
    limit: u64,
}

impl ChunkChecker {
    pub(super) fn new(unpacks: bool) -> Self {
        ChunkChecker {
            unpacks,
            length: LengthChecker::default(),
            index: None,
            coming: Vec::new(),
            next: 0,
            seen: 0,
            bytes: Vec::new(),
            limit: 0,
        }
    }

    fn chunk(&mut self, dataset: usize, skipped: u32) -> Result<()> {
        let index = self.index.as_ref().and_then(downcast);
        let packing = index
            .and_then(|index| index.packing(dataset))
            .expect("only chunks of the index are to come");
        let filters = packing
            .filters
            .as_ref()
            .map_err(|e| FormatError::content(e.clone()))?;
        if packing.chunk_len > self.limit {
            return Err(FormatError::Content(format!(
                "a chunk announces {} bytes, which no chunk of a file of this size has",
                packing.chunk_len
            )));
        }
        let limit = packing.chunk_len as usize + 4;
        let mut bytes = std::mem::take(&mut self.bytes);
        for (number, &filter) in filters.iter().enumerate().rev() {
            if skipped >> number & 1 == 0 {
                bytes = undo(filter, &bytes, packing.element_bytes, limit)?;
            }
        }
        if bytes.len() as u64 != packing.chunk_len {
            return Err(FormatError::Content(format!(
                "a chunk unpacks to {} bytes instead of {}",
                bytes.len(),
                packing.chunk_len
            )));
        }
        bytes.clear();
        self.bytes = bytes;
        Ok(())
    }
}

fn downcast(index: &Arc<dyn Index>) -> Option<&Hdf5Index> {
    index.as_any().downcast_ref()
}

impl Checker for ChunkChecker {
    fn begin(&mut self, opened: &Opened) {
        self.length.begin(opened);
        self.coming.clear();
        self.bytes.clear();
        self.next = 0;
        self.limit = unpacked_limit(opened.file_len);
        self.seen = 0;
        self.index = opened.index.cloned();
        let index = self.index.as_ref().and_then(downcast);
        let (true, Some(index)) = (self.unpacks, index) else {
            return;
        };
        let (first, count) = (opened.expect.sample, opened.expect.count);
        for dataset in 0..index.datasets() {
            if let Some(len) = index.contiguous(dataset, count) {
                self.coming.push(Coming { len, chunk: None });
            }
            let chunks = index.chunks(dataset, first, count);
            self.coming.extend(chunks.map(|(_, stored)| Coming {
                len: stored.len,
                chunk: Some((dataset, stored.skipped)),
            }));
        }
    }

    fn push(&mut self, mut chunk: &[u8]) -> Result<()> {
        self.length.push(chunk)?;
        while let Some(coming) = self.coming.get(self.next)
            && !chunk.is_empty()
        {
            let left = coming.len - self.seen;
            let n = left.min(chunk.len() as u64) as usize;
            if coming.chunk.is_some() {
                self.bytes.extend_from_slice(&chunk[..n]);
            }
            self.seen += n as u64;
            chunk = &chunk[n..];
            if n as u64 == left {
                if let Some((dataset, skipped)) = coming.chunk {
                    self.chunk(dataset, skipped)?;
                }
                self.next += 1;
                self.seen = 0;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        self.length.finish()
    }
}
