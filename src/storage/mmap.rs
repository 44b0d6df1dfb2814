//! Reads through a memory map: every page is brought in, so that the bytes really come.

use std::io;
use std::sync::atomic::AtomicU64;

use memmap2::{Mmap, MmapOptions};

use super::calls::Calls;
use super::files::{Files, Way};
use super::kept::Open;
use super::row::FILES;
use super::{Result, Storage, StoreSpec, System};
use crate::clock::look_ns;

const PAGE: usize = 4096;

pub(super) const SYSTEM: System = System {
    word: "mmap",
    about: "Memory-mapped reads.",
    schemes: &[],
    form: "",
    uncached_reads: false,
    rings: false,
    in_dlio: false,
    open: Ok(open),
    ..FILES
};

/// A local or mounted file system through memory maps.
struct Mapped;

fn open(spec: &StoreSpec, _: &'static [AtomicU64]) -> Result<Box<dyn Storage>> {
    Ok(Files::open(spec, &Mapped))
}

fn map(open: &Open) -> io::Result<Mmap> {
    // SAFETY: the map is read-only, and its pages are there before they are touched: what cannot be read, or was cut off
    // meanwhile, is an error of madvise(2) in `populate`.
    unsafe { MmapOptions::new().map(&open.file) }
}

/// Has the kernel begin to read the pages of a map that come next, while those before are looked at. It is advice: errors are
/// those of [`populate`].
fn ask_for(map: &Mmap, from: u64, to: u64) {
    let (low, to) = (from - from % PAGE as u64, to.min(map.len() as u64));
    if low < to {
        let part = &map[low as usize..to as usize];
        // SAFETY: the range lies in the map, and the advice changes none of its bytes.
        unsafe {
            libc::madvise(
                part.as_ptr().cast_mut().cast(),
                part.len(),
                libc::MADV_WILLNEED,
            )
        };
    }
}

/// Brings pages of a map into memory.
///
/// Errors: they cannot be read, or the file no longer reaches so far.
/// Source: madvise(2), MADV_POPULATE_READ since Linux 5.14; before that the pages are touched one by one.
fn populate(map: &Mmap, from: usize, to: usize) -> io::Result<()> {
    let low = from - from % PAGE;
    let chunk = &map[low..to];
    // SAFETY: the range lies in the map, and the advice changes none of its bytes.
    let status = unsafe {
        libc::madvise(
            chunk.as_ptr().cast_mut().cast(),
            chunk.len(),
            libc::MADV_POPULATE_READ,
        )
    };
    if status == 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        e if e.raw_os_error() == Some(libc::EINVAL) => {
            let touched: u8 = chunk.iter().step_by(PAGE).fold(0, |sum, byte| sum ^ byte);
            std::hint::black_box(touched);
            Ok(())
        }
        // Where touching the page would have ended the process by SIGBUS.
        e if matches!(e.raw_os_error(), Some(libc::EFAULT | libc::EHWPOISON)) => {
            Err(io::Error::from_raw_os_error(libc::EIO))
        }
        e => Err(e),
    }
}

impl Way for Mapped {
    fn next<'a>(
        &self,
        open: &'a mut Open,
        at: u64,
        to: u64,
        buffer: &'a mut [u8],
        _: &mut Calls,
    ) -> io::Result<&'a [u8]> {
        let map = match open.map.take() {
            Some(map) => map,
            None => map(open)?,
        };
        let end = to.min(at + buffer.len() as u64) as usize;
        let map = open.map.insert(map);
        // As far ahead as two more of these windows.
        let ahead = to.min(end as u64 + 2 * buffer.len() as u64);
        let has_asked = open.asked > at && open.asked <= ahead;
        ask_for(map, if has_asked { open.asked } else { at }, ahead);
        open.asked = ahead;
        let populated = populate(map, at as usize, end);
        look_ns();
        if let Err(error) = populated {
            return match open.file.metadata() {
                // Cut off since it was opened.
                Ok(meta) if meta.len() < end as u64 => Ok(&[]),
                _ => Err(error),
            };
        }
        Ok(&map[at as usize..end])
    }
}
