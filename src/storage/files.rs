//! What every storage system on a mounted file system does in the same way.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use super::{StorageError, Writer};
use crate::interrupt::{self, Unfinished};

pub(super) fn len(path: &Path) -> Result<Option<u64>, StorageError> {
    match fs::metadata(path) {
        Ok(meta) => Ok(Some(meta.len())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StorageError::io("stat", path, e)),
    }
}

pub(super) fn head(path: &Path, into: &mut [u8]) -> Result<usize, StorageError> {
    let mut file = File::open(path).map_err(|e| StorageError::io("open", path, e))?;
    let mut got = 0;
    while got < into.len() {
        match file.read(&mut into[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(StorageError::io("read", path, e)),
        }
    }
    Ok(got)
}

pub(super) fn create_folder(path: &Path) -> Result<(), StorageError> {
    fs::create_dir_all(path).map_err(|e| StorageError::Io {
        operation: "make folder",
        path: path.into(),
        source: e,
    })
}

pub(super) fn sync_folder(path: &Path) -> Result<(), StorageError> {
    File::open(path)
        .and_then(|folder| folder.sync_all())
        .map_err(|e| StorageError::Io {
            operation: "fsync folder",
            path: path.into(),
            source: e,
        })
}

pub(super) fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StorageError::io("delete", path, e)),
        _ => Ok(()),
    }
}

pub(super) fn remove_folder(path: &Path) -> Result<(), StorageError> {
    match fs::remove_dir(path) {
        Err(e)
            if !matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::DirectoryNotEmpty
            ) =>
        {
            Err(StorageError::io("delete folder", path, e))
        }
        _ => Ok(()),
    }
}

/// Dirty pages are not dropped by the kernel, so they are written back first; clean files cost one call.
pub(super) fn evict(path: &Path) -> Result<(), StorageError> {
    let file = File::open(path).map_err(|e| StorageError::io("open", path, e))?;
    file.sync_data()
        .map_err(|e| StorageError::io("write back", path, e))?;
    // SAFETY: the descriptor is open; the call touches no memory of ours.
    let status = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    if status == 0 {
        Ok(())
    } else {
        Err(StorageError::io(
            "evict",
            path,
            io::Error::from_raw_os_error(status),
        ))
    }
}

/// The name of a file while it is being written: hidden, and not ending in a format's name.
pub(super) fn part_path(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.part"))
}

pub(super) fn write_error(path: &Path, written: u64, error: io::Error) -> StorageError {
    match error.raw_os_error() {
        Some(libc::ENOSPC | libc::EDQUOT) => StorageError::Full {
            path: path.into(),
            written,
        },
        _ => StorageError::Io {
            operation: "write",
            path: path.into(),
            source: error,
        },
    }
}

/// A buffered file that is renamed to its name when finished.
pub(super) struct PartFile {
    file: Option<File>,
    path: PathBuf,
    part: PathBuf,
    written: u64,
    _unfinished: Unfinished,
}

impl PartFile {
    pub(super) fn create(path: &Path) -> Result<Self, StorageError> {
        let part = part_path(path);
        let unfinished = interrupt::unfinished(&part);
        let file = File::create(&part).map_err(|e| write_error(path, 0, e))?;
        Ok(PartFile {
            _unfinished: unfinished,
            file: Some(file),
            path: path.into(),
            part,
            written: 0,
        })
    }
}

impl Writer for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file
            .as_mut()
            .expect("open until finished")
            .write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        self.file.as_ref().expect("open until finished").sync_all()
    }
    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        drop(self.file.take());
        interrupt::uninterrupted(|| fs::rename(&self.part, &self.path))
            .map_err(|e| write_error(&self.path, self.written, e))
    }
}

impl Drop for PartFile {
    fn drop(&mut self) {
        // After `finish` the part is gone under this name and there is nothing to remove.
        if self.file.is_some() {
            let _ = fs::remove_file(&self.part);
        }
    }
}
