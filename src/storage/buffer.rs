//! What a reader or writer thread owns for its lifetime: aligned memory, and the file that it reads.

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use super::calls::Calls;
use super::kept::Kept;

/// Alignment of every buffer: what O_DIRECT needs on any file system we know (statx may ask for less).
pub const ALIGNMENT: usize = 4096;

/// A huge page of x86-64 and of arm64 with 4 KiB pages.
const HUGE: usize = 2 << 20;

/// A block of bytes aligned to [`ALIGNMENT`], touched once so that no page fault falls into a measurement.
pub struct Buffer {
    start: *mut u8,
    layout: Layout,
    /// Bytes in use: what was asked for.
    len: usize,
}

// SAFETY: the buffer owns its memory and has no interior sharing.
unsafe impl Send for Buffer {}

impl Buffer {
    /// `len` bytes, at least one. The memory is a multiple of [`ALIGNMENT`] long.
    pub fn new(len: usize) -> Self {
        let len = len.max(1);
        let size = len.next_multiple_of(ALIGNMENT);
        // O_DIRECT pins every page of a call: with huge pages there are 512 times fewer.
        let align = if size >= HUGE { HUGE } else { ALIGNMENT };
        let layout = Layout::from_size_align(size, align)
            .expect("alignment is a power of two, size is below isize::MAX");
        // SAFETY: the layout has a non-zero size.
        let start = unsafe { alloc(layout) };
        if start.is_null() {
            handle_alloc_error(layout);
        }
        if size >= HUGE {
            // SAFETY: the range is ours; the advice changes no contents, and a refusal costs speed only.
            unsafe { libc::madvise(start.cast(), size, libc::MADV_HUGEPAGE) };
        }
        // SAFETY: the block is `size` bytes long; this initialises all of it, and touches every page.
        unsafe { std::ptr::write_bytes(start, 1, size) };
        Buffer { start, layout, len }
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        // SAFETY: `start` points to `len` initialised bytes that live as long as `self`.
        unsafe { std::slice::from_raw_parts(self.start, self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and `&mut self` makes it the only reference.
        unsafe { std::slice::from_raw_parts_mut(self.start, self.len) }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this layout.
        unsafe { dealloc(self.start, self.layout) };
    }
}

/// What a reading thread owns: its buffer, and the file that it read last where that stays open.
pub struct Lane {
    /// One read call fills at most this.
    pub(super) buffer: Buffer,
    /// Open after the last read.
    pub(super) kept: Option<Kept>,
    /// The path of that file. Its memory serves again.
    pub(super) kept_path: PathBuf,
    /// How it asks the kernel.
    pub(super) calls: Calls,
    keeps: bool,
}

impl Lane {
    /// With a buffer of at least `len` bytes; a file is closed after each read.
    pub fn new(len: usize) -> Self {
        Lane {
            buffer: Buffer::new(len),
            kept: None,
            kept_path: PathBuf::new(),
            calls: Calls::default(),
            keeps: false,
        }
    }

    /// The same, where a file stays open until another one is read or [`Lane::close`]: one open for the samples of a file
    /// that follow each other.
    pub fn keeping(len: usize) -> Self {
        Lane {
            keeps: true,
            ..Lane::new(len)
        }
    }

    /// Its buffer, which a ring is about to register as number `number`.
    pub(crate) fn registered(&mut self, number: u16) -> libc::iovec {
        self.calls.use_registered(Some(number));
        libc::iovec {
            iov_base: self.buffer.start.cast(),
            iov_len: self.buffer.len,
        }
    }

    /// Bytes of its buffer.
    pub fn size(&self) -> usize {
        self.buffer.len()
    }

    /// Closes the file that is still open.
    pub fn close(&mut self) {
        self.kept = None;
    }

    /// This file, which lies at `path`, stays open.
    pub(super) fn keep(&mut self, kept: Kept, path: &Path) {
        self.kept = Some(kept);
        if self.kept_path != path {
            self.kept_path.as_mut_os_string().clear();
            self.kept_path.push(path);
        }
    }

    pub(super) fn keeps(&self) -> bool {
        self.keeps
    }
}
