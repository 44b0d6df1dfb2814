//! O_DIRECT: the page cache is out of the way, and where it cannot be, that is an error.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::buffer::ALIGNMENT;
use super::{Answer, Buffer, Request, Sink, Storage, StorageError, Writer, files, posix};
use crate::clock::now_ns;
use crate::interrupt::{self, Unfinished};

/// A local or mounted file system without the page cache.
pub(super) struct Direct;

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

fn open(path: &Path, options: &mut OpenOptions) -> Result<File, StorageError> {
    match options.custom_flags(libc::O_DIRECT).open(path) {
        Ok(file) => Ok(file),
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
            Err(refused(path, "the file system refuses it (EINVAL)"))
        }
        Err(e) => Err(StorageError::io("open", path, e)),
    }
}

/// Length of the file and the offset alignment that direct I/O needs on it.
///
/// Source: statx(2), STATX_DIOALIGN; file systems that do not report it (NFS, Lustre) get [`ALIGNMENT`].
fn inspect(file: &File, path: &Path) -> Result<(u64, u64), StorageError> {
    // SAFETY: all-zero bytes are a valid `statx` and `statfs`; both are out-parameters that live through the calls.
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
        let mut fs: libc::statfs = std::mem::zeroed();
        if libc::fstatfs(file.as_raw_fd(), &mut fs) == 0
            && let Some((_, name)) = MEMORY_FILE_SYSTEMS
                .iter()
                .find(|(magic, _)| *magic == fs.f_type as i64)
        {
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

impl Storage for Direct {
    fn name(&self) -> &'static str {
        "direct_fs"
    }
    // The block layer splits one large request into many in flight; smaller calls would cap the depth at one.
    fn opens_by_path(&self) -> bool {
        true
    }
    fn default_transfer(&self) -> usize {
        8 << 20
    }
    fn transfer(&self, wanted: Option<u64>) -> usize {
        let wanted = wanted.map_or(self.default_transfer(), |n| n as usize);
        wanted.max(1).next_multiple_of(ALIGNMENT)
    }
    fn read(
        &self,
        request: &Request,
        buffer: &mut Buffer,
        sink: &mut dyn Sink,
    ) -> Result<Answer, StorageError> {
        let path = request.path;
        let start = now_ns();
        sink.position(0);
        let file = open(path, OpenOptions::new().read(true))?;
        let (file_len, align) = inspect(&file, path)?;
        let opened = now_ns();
        sink.begin(file_len);
        let (from, to) = posix::span(request, file_len)?;
        let mut answer = Answer {
            open_ns: opened - start,
            ..Answer::default()
        };
        let mut at = from;
        while at < to {
            // The call starts at or before `at` and ends at or after what is wanted; the surplus is not counted.
            let low = at - at % align;
            let skip = (at - low) as usize;
            let want = ((to - low).next_multiple_of(align)).min(buffer.len() as u64) as usize;
            sink.position(low);
            let before = now_ns();
            let got = match file.read_at(&mut buffer[..want], low) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                    answer.retries += 1;
                    continue;
                }
                Err(e) if e.raw_os_error() == Some(libc::EINVAL) => {
                    return Err(refused(
                        path,
                        format!("read of {want} bytes at {low} was refused (EINVAL)"),
                    ));
                }
                Err(e) => return Err(StorageError::io("read", path, e)),
            };
            let after = now_ns();
            if got <= skip {
                return Err(StorageError::Short {
                    path: path.into(),
                    expected: to,
                    got: low + got as u64,
                });
            }
            let useful = (got - skip).min((to - at) as usize);
            answer.called(after - before, sink);
            answer.bytes += useful as u64;
            at += useful as u64;
            if !sink.chunk(&buffer[skip..skip + useful]) {
                break;
            }
        }
        Ok(answer)
    }
    fn len(&self, path: &Path) -> Result<Option<u64>, StorageError> {
        files::len(path)
    }
    fn head(&self, path: &Path, into: &mut [u8]) -> Result<usize, StorageError> {
        files::head(path, into)
    }
    fn create(&self, path: &Path) -> Result<Box<dyn Writer>, StorageError> {
        let part = files::part_path(path);
        let unfinished = interrupt::unfinished(&part);
        let file = open(
            &part,
            OpenOptions::new().write(true).create(true).truncate(true),
        )
        .map_err(|e| match e {
            StorageError::Io { source, .. } => files::write_error(path, 0, source),
            other => other,
        })?;
        let writer = DirectFile {
            file: Some(file),
            path: path.into(),
            part,
            stage: Buffer::new(STAGE),
            used: 0,
            written: 0,
            is_complete: false,
            _unfinished: unfinished,
        };
        inspect(writer.file.as_ref().expect("just opened"), path)?;
        Ok(Box::new(writer))
    }
    fn create_folder(&self, path: &Path) -> Result<(), StorageError> {
        files::create_folder(path)
    }
    fn sync_folder(&self, path: &Path) -> Result<(), StorageError> {
        files::sync_folder(path)
    }
    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        files::remove(path)
    }
    fn remove_folder(&self, path: &Path) -> Result<(), StorageError> {
        files::remove_folder(path)
    }
    fn evict(&self, path: &Path) -> Result<(), StorageError> {
        files::evict(path)
    }
}

/// Stages bytes into aligned blocks; the last block is padded and the file cut to its true length.
struct DirectFile {
    file: Option<File>,
    path: PathBuf,
    part: PathBuf,
    stage: Buffer,
    used: usize,
    written: u64,
    is_complete: bool,
    _unfinished: Unfinished,
}

impl DirectFile {
    fn file(&self) -> &File {
        self.file.as_ref().expect("open until finished")
    }

    fn flush(&mut self, len: usize) -> io::Result<()> {
        self.file().write_all_at(&self.stage[..len], self.written)?;
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
        self.file().set_len(self.written)?;
        self.is_complete = true;
        Ok(())
    }
}

impl Writer for DirectFile {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        // Aligned blocks at an aligned place need no copy.
        if self.used == 0 && (bytes.as_ptr() as usize).is_multiple_of(ALIGNMENT) {
            let (whole, rest) = bytes.split_at(bytes.len() - bytes.len() % ALIGNMENT);
            self.file().write_all_at(whole, self.written)?;
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
        self.file().sync_all()
    }
    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        let (path, written) = (self.path.clone(), self.written);
        self.complete()
            .and_then(|()| interrupt::uninterrupted(|| std::fs::rename(&self.part, &path)))
            .map_err(|e| files::write_error(&path, written, e))?;
        self.file = None;
        Ok(())
    }
}

impl Drop for DirectFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.part);
        }
    }
}
