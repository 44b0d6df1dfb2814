//! What the kernel holds of a file in memory, and asking it not to.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use memmap2::MmapOptions;

use super::Resident;

/// Reads that leave no pages. Source: linux/fs.h, since 6.14.
pub(super) const RWF_DONTCACHE: libc::c_int = 0x80;

/// System call number of cachestat(2), the same on every architecture since 6.5.
const CACHESTAT: libc::c_long = 451;

/// Asks the kernel to forget the clean pages of a file.
pub(super) fn forget(file: &File) -> io::Result<()> {
    // SAFETY: the descriptor is open; the call touches no memory of ours.
    let status = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    match status {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// The same for a file that was just written: its pages are brought to the device first, as dirty ones stay.
///
/// Not a promise of durability: no metadata and no device cache is flushed.
pub(super) fn forget_written(file: &File) -> io::Result<()> {
    let all = libc::SYNC_FILE_RANGE_WAIT_BEFORE
        | libc::SYNC_FILE_RANGE_WRITE
        | libc::SYNC_FILE_RANGE_WAIT_AFTER;
    // SAFETY: the descriptor is open; the call touches no memory of ours.
    if unsafe { libc::sync_file_range(file.as_raw_fd(), 0, 0, all) } != 0 {
        return Err(io::Error::last_os_error());
    }
    forget(file)
}

/// pread(2) with flags of preadv2(2).
pub(super) fn read_with(
    file: &File,
    buffer: &mut [u8],
    offset: u64,
    flags: libc::c_int,
) -> io::Result<usize> {
    let part = libc::iovec {
        iov_base: buffer.as_mut_ptr().cast(),
        iov_len: buffer.len(),
    };
    // SAFETY: the one part is the buffer, which lives through the call.
    let got = unsafe { libc::preadv2(file.as_raw_fd(), &part, 1, offset as libc::off_t, flags) };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// What the page cache holds of a file of this length.
///
/// Source: cachestat(2); before Linux 6.5 mincore(2) over a map of the file.
pub(super) fn resident(file: &File, len: u64) -> io::Result<Resident> {
    // SAFETY: sysconf touches no memory of ours.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
    let held = held(file, len, page)?;
    Ok(Resident {
        held,
        pages: len.div_ceil(page),
        bytes: held * page,
    })
}

fn held(file: &File, len: u64, page: u64) -> io::Result<u64> {
    let range = [0_u64, 0];
    // nr_cache, nr_dirty, nr_writeback, nr_evicted, nr_recently_evicted
    let mut stat = [0_u64; 5];
    // SAFETY: both structures are arrays of 64-bit words of the length that the call has, and live through it.
    let status = unsafe {
        libc::syscall(
            CACHESTAT,
            file.as_raw_fd(),
            range.as_ptr(),
            stat.as_mut_ptr(),
            0,
        )
    };
    if status == 0 {
        return Ok(stat[0]);
    }
    match io::Error::last_os_error() {
        e if matches!(
            e.raw_os_error(),
            Some(libc::ENOSYS | libc::EPERM | libc::EOPNOTSUPP)
        ) =>
        {
            by_map(file, len, page)
        }
        e => Err(e),
    }
}

fn by_map(file: &File, len: u64, page: u64) -> io::Result<u64> {
    if len == 0 {
        return Ok(0);
    }
    // SAFETY: the map is never read: only the kernel looks which of its pages are there.
    let map = unsafe { MmapOptions::new().len(len as usize).map(file) }?;
    let mut held = vec![0_u8; len.div_ceil(page) as usize];
    // SAFETY: the map begins at a page, and there is one byte per page of it.
    if unsafe { libc::mincore(map.as_ptr().cast_mut().cast(), map.len(), held.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(held.iter().filter(|&&byte| byte & 1 == 1).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn both_ways_of_looking_agree_and_forgetting_empties() {
        let mut file = tempfile::tempfile_in(env!("CARGO_MANIFEST_DIR")).unwrap();
        file.write_all(&[7; 100_000]).unwrap();
        // SAFETY: sysconf touches no memory of ours.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as u64;
        let all = 100_000_u64.next_multiple_of(page);
        let seen = resident(&file, 100_000).unwrap();
        assert_eq!((seen.held, seen.pages), (all / page, all / page));
        assert_eq!(seen.bytes, all);
        assert_eq!(by_map(&file, 100_000, page).unwrap(), all / page);
        forget_written(&file).unwrap();
        let seen = resident(&file, 100_000).unwrap();
        assert_eq!((seen.held, seen.pages), (0, all / page));
        assert_eq!(by_map(&file, 100_000, page).unwrap(), 0);
    }
}
