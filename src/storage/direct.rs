//! O_DIRECT: the page cache is out of the way, and where it cannot be, that is an error.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use nix::sys::resource::{Resource, getrlimit};

use super::buffer::ALIGNMENT;
use super::calls::Calls;
use super::files::{Files, Way};
use super::kept::Open;
use super::part::{Part, Root, write_error};
use super::row::FILES;
use super::{Buffer, Pages, Result, Storage, StorageError, StoreSpec, System, Writer};

pub(super) const SYSTEM: System = System {
    word: "direct_fs",
    about: "Local or mounted file system, O_DIRECT.",
    schemes: &["direct"],
    form: "direct:///folder",
    page_cache: false,
    // The block layer splits one large request into many in flight; smaller calls would cap the depth at one.
    default_transfer: 8 << 20,
    transfer_unit: ALIGNMENT,
    open: Ok(open),
    ..FILES
};

/// A local or mounted file system without the page cache.
struct Direct;

fn open(spec: &StoreSpec, _: &'static [AtomicU64]) -> Result<Box<dyn Storage>> {
    Ok(Files::open(spec, &Direct))
}

/// File systems that keep their files in memory: since Linux 6.6 tmpfs accepts O_DIRECT and still serves from the
/// page cache, which is the silent fallback that this storage type exists to prevent.
const MEMORY_FILE_SYSTEMS: [(i64, &str); 2] = [(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs")];

/// Writes are staged in a block of this size.
const STAGE: usize = 4 << 20;

fn refused(path: &Path, cause: impl Into<String>) -> StorageError {
    StorageError::DirectRefused {
        path: path.into(),
        cause: cause.into(),
    }
}

/// The name of the file's file system, if it keeps its files in memory. It is asked once for many files of one: over a network
/// that is a round trip.
fn memory_file_system(file: &File, st: &libc::statx) -> Option<&'static str> {
    /// Device numbers of the file system that was asked last and is no such one; those of no file system before that.
    static LAST: AtomicU64 = AtomicU64::new(u64::MAX);
    let device = u64::from(st.stx_dev_major) << 32 | u64::from(st.stx_dev_minor);
    if LAST.load(Relaxed) == device {
        return None;
    }
    // SAFETY: all-zero bytes are a valid `statfs`, an out-parameter that lives through the call.
    let kind = unsafe {
        let mut fs: libc::statfs = std::mem::zeroed();
        (libc::fstatfs(file.as_raw_fd(), &mut fs) == 0).then_some(fs.f_type as i64)
    }?;
    let found = (MEMORY_FILE_SYSTEMS.iter()).find(|(magic, _)| *magic == kind);
    if found.is_none() {
        LAST.store(device, Relaxed);
    }
    found.map(|(_, name)| *name)
}

/// Length of the file and the offset alignment that direct I/O needs on it.
///
/// Source: statx(2), STATX_DIOALIGN; file systems that do not report it (NFS, Lustre) get [`ALIGNMENT`].
fn inspect(file: &File, path: &Path) -> Result<(u64, u64)> {
    // SAFETY: all-zero bytes are a valid `statx`, an out-parameter that lives through the call.
    unsafe {
        let mut st: libc::statx = std::mem::zeroed();
        let mask = libc::STATX_SIZE | libc::STATX_DIOALIGN;
        if libc::statx(
            file.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            mask,
            &mut st,
        ) != 0
        {
            return Err(StorageError::io("stat", path, io::Error::last_os_error()));
        }
        if let Some(name) = memory_file_system(file, &st) {
            return Err(refused(
                path,
                format!("{name} keeps its files in memory, so there is no direct I/O"),
            ));
        }
        if st.stx_mask & libc::STATX_DIOALIGN != 0 {
            if st.stx_dio_offset_align == 0 {
                return Err(refused(
                    path,
                    "the file system has no direct I/O for this file (statx says so)",
                ));
            }
            let align = u64::from(st.stx_dio_offset_align.max(st.stx_dio_mem_align));
            if align > ALIGNMENT as u64 {
                return Err(refused(
                    path,
                    format!("it needs {align}-byte alignment; buffers here have {ALIGNMENT}"),
                ));
            }
            return Ok((st.stx_size, u64::from(st.stx_dio_offset_align)));
        }
        Ok((st.stx_size, ALIGNMENT as u64))
    }
}

impl Way for Direct {
    fn flags(&self) -> libc::c_int {
        libc::O_DIRECT
    }

    fn inspect(&self, file: &File, path: &Path) -> Result<(u64, u64)> {
        inspect(file, path)
    }

    /// The call starts at or before `at` and ends at or after what is wanted; the surplus is not counted.
    fn next<'a>(
        &self,
        open: &'a mut Open,
        at: u64,
        to: u64,
        buffer: &'a mut [u8],
        calls: &mut Calls,
    ) -> io::Result<&'a [u8]> {
        let low = at - at % open.align;
        let skip = (at - low) as usize;
        let want = (to - low)
            .next_multiple_of(open.align)
            .min(buffer.len() as u64) as usize;
        let got = calls.read(&open.file, &mut buffer[..want], low, 0)?;
        let useful = got.saturating_sub(skip).min((to - at) as usize);
        Ok(&buffer[skip..skip + useful])
    }

    fn failed(&self, path: &Path, at: u64, source: io::Error) -> StorageError {
        if source.raw_os_error() == Some(libc::EINVAL) {
            let cause = format!("the file system refuses it at byte {at} (EINVAL)");
            return refused(path, cause);
        }
        StorageError::reading(path, at, source)
    }

    fn writer_memory(&self) -> u64 {
        STAGE as u64
    }

    fn create(&self, root: &Root, path: &Path, _: Pages) -> Result<Box<dyn Writer>> {
        let part = Part::create(root, path, Pages::Keep, libc::O_DIRECT).map_err(|e| {
            match e.raw_os_error() {
                Some(libc::EINVAL) => refused(path, "the file system refuses it (EINVAL)"),
                _ => write_error(path, 0, e),
            }
        })?;
        // Also for the error: a file system that keeps its files in memory has no direct I/O.
        inspect(part.file(), path)?;
        Ok(Box::new(DirectFile {
            part,
            stage: Buffer::new(STAGE),
            used: 0,
            written: 0,
            is_complete: false,
        }))
    }
}

/// Stages bytes into aligned blocks; the last block is padded and the file cut to its true length.
struct DirectFile {
    part: Part,
    stage: Buffer,
    used: usize,
    written: u64,
    is_complete: bool,
}

/// Writes all of an aligned block.
///
/// Errors: also where the call was cut short in the middle of a block, which is how a full device answers, or a limit of the
/// file's size; a second call from there could only be refused for its alignment.
fn write_blocks(file: &File, mut bytes: &[u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, at) {
            Ok(n) if n > 0 && n.is_multiple_of(ALIGNMENT) => {
                bytes = &bytes[n..];
                at += n as u64;
            }
            Ok(_) => {
                let limit = getrlimit(Resource::RLIMIT_FSIZE).map_or(u64::MAX, |(soft, _)| soft);
                let is_beyond = at.saturating_add(bytes.len() as u64) > limit;
                let code = if is_beyond { libc::EFBIG } else { libc::ENOSPC };
                return Err(io::Error::from_raw_os_error(code));
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

impl DirectFile {
    fn flush(&mut self, len: usize) -> io::Result<()> {
        write_blocks(self.part.file(), &self.stage[..len], self.written)?;
        self.written += self.used as u64;
        self.used = 0;
        Ok(())
    }

    /// Writes the padded last block and cuts the file to its length; nothing to do the second time.
    fn complete(&mut self) -> io::Result<()> {
        if self.is_complete {
            return Ok(());
        }
        let (used, padded) = (self.used, self.used.next_multiple_of(ALIGNMENT));
        self.stage[used..padded].fill(0);
        self.flush(padded)?;
        self.part.file().set_len(self.written)?;
        self.is_complete = true;
        Ok(())
    }
}

impl Writer for DirectFile {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        // Aligned blocks at an aligned place need no copy.
        if self.used == 0 && (bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
            let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % ALIGNMENT);
            write_blocks(self.part.file(), whole, self.written)?;
            self.written += whole.len() as u64;
            bytes = rest;
        }
        while !bytes.is_empty() {
            let n = bytes.len().min(STAGE - self.used);
            self.stage[self.used..self.used + n].copy_from_slice(&bytes[..n]);
            self.used += n;
            bytes = &bytes[n..];
            if self.used == STAGE {
                self.flush(STAGE)?;
            }
        }
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        self.complete()?;
        self.part.file().sync_all()
    }
    fn finish(mut self: Box<Self>) -> Result<()> {
        self.complete()
            .and_then(|()| self.part.finish())
            .map_err(|e| write_error(self.part.path(), self.written, e))
    }
}
