//! Buffered reads: one pread after another through the page cache.

use std::io;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use super::advice::RWF_DONTCACHE;
use super::calls::Calls;
use super::files::{Files, Way};
use super::kept::Open;
use super::{Pages, Result, Storage, StorageError, StoreSpec};

/// A local or mounted file system through the page cache, with flags of preadv2(2): reads with [`RWF_DONTCACHE`] leave no pages.
struct Posix(libc::c_int);

pub(super) fn open(spec: &StoreSpec, _: &[AtomicU64]) -> Result<Box<dyn Storage>> {
    Ok(match spec.pages {
        Pages::DontCache => Files::open(spec, &Posix(RWF_DONTCACHE)),
        Pages::Keep | Pages::Forget => Files::open(spec, &Posix(0)),
    })
}

impl Way for Posix {
    fn meets_end(&self) -> bool {
        true
    }

    fn next<'a>(
        &self,
        open: &'a mut Open,
        at: u64,
        to: u64,
        buffer: &'a mut [u8],
        calls: &mut Calls,
    ) -> io::Result<&'a [u8]> {
        let want = (to - at).min(buffer.len() as u64) as usize;
        let got = calls.read(&open.file, &mut buffer[..want], at, self.0)?;
        Ok(&buffer[..got])
    }

    fn failed(&self, path: &Path, at: u64, source: io::Error) -> StorageError {
        let cause = match source.raw_os_error().filter(|_| self.0 == RWF_DONTCACHE) {
            Some(libc::EOPNOTSUPP) => {
                "this file system, or a kernel before Linux 6.14, does not have it"
            }
            Some(libc::EINVAL | libc::ENOSYS) => "this kernel does not have it (Linux 6.14 does)",
            _ => return StorageError::reading(path, at, source),
        };
        StorageError::DontCacheRefused {
            path: path.into(),
            cause: cause.into(),
        }
    }
}
