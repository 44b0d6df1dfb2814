//! Buffered reads: open, fstat, pread until the extent is done, close.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{Answer, Buffer, Extent, Request, Sink, Storage, StorageError, Writer, files};
use crate::clock::now_ns;

/// A local or mounted file system through the page cache.
pub(super) struct Posix;

impl Storage for Posix {
    fn name(&self) -> &'static str {
        "local_fs"
    }
    fn opens_by_path(&self) -> bool {
        true
    }
    // A chunk that stays in a core's second-level cache between the kernel's copy and the checksum.
    fn default_transfer(&self) -> usize {
        1 << 20
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
        let file = File::open(path).map_err(|e| StorageError::io("open", path, e))?;
        let file_len = file
            .metadata()
            .map_err(|e| StorageError::io("stat", path, e))?
            .len();
        let opened = now_ns();
        sink.begin(file_len);
        let (from, to) = span(request, file_len)?;
        let mut answer = Answer {
            open_ns: opened - start,
            ..Answer::default()
        };
        let mut at = from;
        while at < to {
            let want = (to - at).min(buffer.len() as u64) as usize;
            sink.position(at);
            let before = now_ns();
            let got = match file.read_at(&mut buffer[..want], at) {
                Ok(n) => n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                    answer.retries += 1;
                    continue;
                }
                Err(e) => return Err(StorageError::io("read", path, e)),
            };
            let after = now_ns();
            if got == 0 {
                return Err(StorageError::Short {
                    path: path.into(),
                    expected: to,
                    got: at,
                });
            }
            answer.called(after - before, sink);
            answer.bytes += got as u64;
            at += got as u64;
            if !sink.chunk(&buffer[..got]) {
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
        Ok(Box::new(files::PartFile::create(path)?))
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

/// First and end byte of a request in a file of this length.
///
/// Errors: [`StorageError::Short`] when the file ends before the extent.
pub(super) fn span(request: &Request, file_len: u64) -> Result<(u64, u64), StorageError> {
    match request.extent {
        Extent::Whole => Ok((0, file_len)),
        Extent::Range { offset, len } if offset + len <= file_len => Ok((offset, offset + len)),
        Extent::Range { offset, len } => Err(StorageError::Short {
            path: request.path.into(),
            expected: offset + len,
            got: file_len,
        }),
    }
}
