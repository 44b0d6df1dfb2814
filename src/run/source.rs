//! Metadata of a data file, read through the storage system.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::format::{Companion, FormatError, Source};
use crate::storage::{Answer, Extent, Lane, Request, Sink, Storage, StorageError};

/// Bytes of one metadata read call.
const TRANSFER: usize = 64 << 10;

/// A file on a storage system.
pub struct StorageSource {
    storage: Arc<dyn Storage>,
    path: PathBuf,
    buffer: Lane,
    len: Option<u64>,
    spent: Answer,
}

impl StorageSource {
    /// The file at `path`.
    pub fn new(storage: Arc<dyn Storage>, path: &Path) -> Self {
        StorageSource {
            storage,
            path: path.into(),
            buffer: Lane::keeping(TRANSFER),
            len: None,
            spent: Answer::default(),
        }
    }

    /// What was read so far: bytes, calls and retries.
    pub fn spent(&self) -> Answer {
        self.spent
    }

    fn read(&mut self, path: &Path, offset: u64, buf: &mut [u8]) -> Result<(), FormatError> {
        if buf.is_empty() {
            return Ok(());
        }
        let len = buf.len() as u64;
        let request = Request {
            path,
            extent: Extent::Range { offset, len },
            planned_len: len,
            tag: offset,
        };
        let mut copy = Copy { into: buf, used: 0 };
        match self.storage.read(&request, &mut self.buffer, &mut copy) {
            Ok(answer) if copy.used as u64 == len => {
                self.spent.bytes += answer.bytes;
                self.spent.calls += answer.calls;
                self.spent.retries += answer.retries;
                Ok(())
            }
            Ok(_) => Err(FormatError::Truncated {
                expected: offset + len,
                got: offset + copy.used as u64,
            }),
            Err(StorageError::Short { expected, got, .. }) => {
                Err(FormatError::Truncated { expected, got })
            }
            Err(other) => Err(Box::new(other).into()),
        }
    }
}

/// Copies what is read.
struct Copy<'a> {
    into: &'a mut [u8],
    used: usize,
}

impl Sink for Copy<'_> {
    fn begin(&mut self, _: u64) {}
    fn chunk(&mut self, bytes: &[u8]) -> bool {
        let n = bytes.len().min(self.into.len() - self.used);
        self.into[self.used..self.used + n].copy_from_slice(&bytes[..n]);
        self.used += n;
        true
    }
    fn position(&mut self, _: u64) {}
}

impl Source for StorageSource {
    fn file_len(&mut self) -> Result<u64, FormatError> {
        if let Some(len) = self.len {
            return Ok(len);
        }
        let len = self.storage.len(&self.path).map_err(Box::new)?;
        let len = len.ok_or_else(|| {
            Box::new(StorageError::Missing {
                path: self.path.clone(),
            })
        })?;
        self.len = Some(len);
        Ok(len)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), FormatError> {
        let path = self.path.clone();
        self.read(&path, offset, buf)
    }

    fn companion(
        &mut self,
        companion: &Companion,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, FormatError> {
        let path = companion.path(&self.path);
        let Some(len) = self.storage.len(&path).map_err(Box::new)? else {
            return Ok(None);
        };
        if len > limit {
            return Err(FormatError::Content(format!(
                "its index {} has {len} bytes, more than the {limit} that its samples need",
                path.display()
            )));
        }
        let mut bytes = vec![0; len as usize];
        self.read(&path, 0, &mut bytes)?;
        Ok(Some(bytes))
    }

    fn companion_name(&self, companion: &Companion) -> String {
        companion.path(&self.path).display().to_string()
    }
}
