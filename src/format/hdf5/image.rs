//! A file that libhdf5 makes in memory: only what it writes takes room, not the storage that it allocates.

use std::collections::BTreeMap;
use std::ffi::c_ulong;

use super::driver::Backing;

/// Bytes that are kept together.
const PAGE: usize = 4096;

/// Metadata is aggregated and accumulated, and small data aggregated, as by libhdf5's own driver of files: what is made
/// has the same layout. `H5FD_FEAT_AGGREGATE_METADATA`, `_ACCUMULATE_METADATA_WRITE`, `_ACCUMULATE_METADATA_READ`,
/// `_DATA_SIEVE`, `_AGGREGATE_SMALLDATA`, `_DEFAULT_VFD_COMPATIBLE`.
const FEATURES: c_ulong = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x8000;

/// The file.
#[derive(Default)]
pub(super) struct Image {
    pages: BTreeMap<u64, Box<[u8; PAGE]>>,
    written: u64,
    allocated: u64,
}

impl Image {
    /// Bytes of the finished file.
    pub(super) fn file_len(&self) -> u64 {
        self.allocated
    }

    /// Calls `piece` with each page's number, the range within it, and the range of `len` bytes at `at` that it holds.
    fn pieces(at: u64, len: usize, mut piece: impl FnMut(u64, usize, std::ops::Range<usize>)) {
        let mut done = 0;
        while done < len {
            let here = at + done as u64;
            let within = (here % PAGE as u64) as usize;
            let n = (PAGE - within).min(len - done);
            piece(here / PAGE as u64, within, done..done + n);
            done += n;
        }
    }

    /// Bytes of the file; zeros where nothing was written.
    pub(super) fn copy(&self, at: u64, into: &mut [u8]) {
        Self::pieces(at, into.len(), |page, within, part| {
            let part = &mut into[part];
            match self.pages.get(&page) {
                Some(bytes) => part.copy_from_slice(&bytes[within..within + part.len()]),
                None => part.fill(0),
            }
        });
    }
}

impl Backing for Image {
    fn len(&self) -> u64 {
        self.written
    }
    fn read(&mut self, at: u64, into: &mut [u8]) -> bool {
        self.copy(at, into);
        true
    }
    fn write(&mut self, at: u64, bytes: &[u8]) -> bool {
        Self::pieces(at, bytes.len(), |page, within, part| {
            let into = self
                .pages
                .entry(page)
                .or_insert_with(|| Box::new([0; PAGE]));
            into[within..within + part.len()].copy_from_slice(&bytes[part]);
        });
        self.written = self.written.max(at + bytes.len() as u64);
        true
    }
    fn allocated(&mut self, end: u64) {
        self.allocated = end;
    }
    fn features(&self) -> c_ulong {
        FEATURES
    }
}
