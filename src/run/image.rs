//! A temporary local copy of one file, for libraries that open nothing but paths.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::storage::{Buffer, Extent, Request, Sink, Storage, StorageError};

/// Bytes of one read call.
const TRANSFER: usize = 1 << 20;

/// Tells the images of a process apart.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// A file in the folder of temporary files (`TMPDIR`) that goes away when dropped.
pub struct Image(PathBuf);

impl Image {
    /// Copies the file at `path`.
    ///
    /// Errors: it cannot be read, or there is no room for it.
    pub fn fetch(storage: &dyn Storage, path: &Path, len: u64) -> Result<Self, StorageError> {
        let name = format!(
            "dlio-rs-{}-{}.image",
            std::process::id(),
            NUMBER.fetch_add(1, Relaxed)
        );
        let image = Image(std::env::temp_dir().join(name));
        let failed = |source| StorageError::Io {
            operation: "write temporary copy",
            path: image.0.clone(),
            source,
        };
        let file = File::options()
            .write(true)
            .create_new(true)
            .open(&image.0)
            .map_err(failed)?;
        let mut copy = Copy {
            file,
            failure: None,
        };
        let request = Request {
            path,
            extent: Extent::Whole,
            planned_len: len,
            tag: 0,
        };
        storage.read(&request, &mut Buffer::new(TRANSFER), &mut copy)?;
        match copy.failure {
            None => Ok(image),
            Some(source) => Err(failed(source)),
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // Nobody needs it any more; a folder that cannot be written to any more keeps it.
        let _ = std::fs::remove_file(&self.0);
    }
}

struct Copy {
    file: File,
    failure: Option<std::io::Error>,
}

impl Sink for Copy {
    fn begin(&mut self, _: u64) {}
    fn chunk(&mut self, bytes: &[u8]) -> bool {
        self.failure = self.file.write_all(bytes).err();
        self.failure.is_none()
    }
    fn position(&mut self, _: u64) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_holds_the_file_and_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|i| i as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let workload = crate::config::Workload::default();
        static WORDS: [AtomicU64; 1] = [AtomicU64::new(0)];
        let storage = crate::storage::open(&workload, &WORDS).unwrap();
        let image = Image::fetch(&*storage, &path, bytes.len() as u64).unwrap();
        assert_eq!(std::fs::read(image.path()).unwrap(), bytes);
        let at = image.path().to_path_buf();
        drop(image);
        assert!(!at.exists());
        assert!(Image::fetch(&*storage, &dir.path().join("none"), 1).is_err());
    }
}
