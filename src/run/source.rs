//! Metadata of a data file, read through the storage system.

use std::path::Path;

use crate::format::{Companion, FormatError, Source};
use crate::storage::{Answer, Extent, Lane, Request, Sink, Storage, StorageError};

/// Bytes of one read call of a companion file.
const TRANSFER: usize = 64 << 10;

/// A file on a storage system, read through a reader's lane: samples that follow go over the same descriptor.
pub struct StorageSource<'a> {
    storage: &'a dyn Storage,
    path: &'a Path,
    lane: &'a mut Lane,
    len: Option<u64>,
    spent: Answer,
}

impl<'a> StorageSource<'a> {
    /// The file at `path`.
    pub fn new(storage: &'a dyn Storage, path: &'a Path, lane: &'a mut Lane) -> Self {
        StorageSource {
            storage,
            path,
            lane,
            len: None,
            spent: Answer::default(),
        }
    }

    /// What was read so far: bytes, calls and retries; and what opening the file took.
    pub fn spent(&self) -> Answer {
        self.spent
    }

    fn read(
        storage: &dyn Storage,
        lane: &mut Lane,
        spent: &mut Answer,
        (path, offset): (&Path, u64),
        buf: &mut [u8],
    ) -> Result<(), FormatError> {
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
        match storage.read(&request, lane, &mut copy) {
            Ok(answer) if copy.used as u64 == len => {
                spent.bytes += answer.bytes;
                spent.calls += answer.calls;
                spent.retries += answer.retries;
                spent.opens += answer.opens;
                spent.open_ns += answer.open_ns;
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

impl Source for StorageSource<'_> {
    fn file_len(&mut self) -> Result<u64, FormatError> {
        if let Some(len) = self.len {
            return Ok(len);
        }
        let (len, answer) = (self.storage.open(self.path, self.lane)).map_err(Box::new)?;
        self.spent.opens += answer.opens;
        self.spent.open_ns += answer.open_ns;
        self.len = Some(len);
        Ok(len)
    }

    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), FormatError> {
        let at = (self.path, offset);
        Self::read(self.storage, self.lane, &mut self.spent, at, buf)
    }

    fn companion(
        &mut self,
        companion: &Companion,
        limit: u64,
    ) -> Result<Option<Vec<u8>>, FormatError> {
        let path = companion.path(self.path);
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
        // Through a lane of its own: the data file stays open. Its opens are no opens of data files.
        let mut spent = Answer::default();
        let mut lane = Lane::new(TRANSFER);
        Self::read(self.storage, &mut lane, &mut spent, (&path, 0), &mut bytes)?;
        self.spent.bytes += spent.bytes;
        self.spent.calls += spent.calls;
        self.spent.retries += spent.retries;
        Ok(Some(bytes))
    }

    fn companion_name(&self, companion: &Companion) -> String {
        companion.path(self.path).display().to_string()
    }
}
