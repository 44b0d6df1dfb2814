//! A file that a reading thread has open.

use std::fs::File;

use memmap2::Mmap;

use super::{Pages, advice};

/// A file that is open for reading.
pub(super) struct Open {
    /// Its bytes, once they are mapped. Before the file: mapped pages cannot be forgotten.
    pub(super) map: Option<Mmap>,
    /// End of the mapped bytes that were asked for ahead.
    pub(super) asked: u64,
    pub(super) file: File,
    pub(super) len: u64,
    /// Calls begin and end at multiples of this many bytes.
    pub(super) align: u64,
}

/// A file that a thread has open.
pub(super) struct Kept {
    pub(super) open: Open,
    pub(super) pages: Pages,
}

impl Drop for Kept {
    fn drop(&mut self) {
        if self.pages == Pages::Forget {
            self.open.map = None;
            // Advice: where a file system has none to take, the residency that is sampled tells.
            let _ = advice::forget(&self.open.file);
        }
    }
}
