//! Metadata of a data file, read through the storage system.

use std::path::Path;

use crate::clock::now_ns;
use crate::format::{Companion, FormatError, Source};
use crate::loader::Metadata;
use crate::storage::{Answer, Extent, Lane, Request, Sink, Storage, StorageError};

/// Bytes of one read call of a companion file.
const TRANSFER: usize = 64 << 10;

/// A file on a storage system, read through a reader's lane: samples that follow go over the same descriptor.
pub struct StorageSource<'a> {
    storage: &'a dyn Storage,
    path: &'a Path,
    lane: &'a mut Lane,
    len: Option<u64>,
    spent: Metadata,
}

impl<'a> StorageSource<'a> {
    pub fn new(storage: &'a dyn Storage, path: &'a Path, lane: &'a mut Lane) -> Self {
        StorageSource {
            storage,
            path,
            lane,
            len: None,
            spent: Metadata::default(),
        }
    }

    /// What was read so far, and the time for which the storage system was waited for.
    pub fn spent(self) -> Metadata {
        self.spent
    }

    fn read(
        storage: &dyn Storage,
        lane: &mut Lane,
        spent: &mut Metadata,
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
            exact_len: None,
            tag: offset,
        };
        let mut copy = Copy {
            into: buf,
            used: 0,
            calls_ns: &mut spent.calls_ns,
        };
        let before = now_ns();
        let read = storage.read(&request, lane, &mut copy);
        spent.storage_ns += now_ns() - before;
        match read {
            Ok(answer) if copy.used as u64 == len => {
                spent.answer += answer;
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

/// Copies what is read, and notes how long each call took.
struct Copy<'a> {
    into: &'a mut [u8],
    used: usize,
    calls_ns: &'a mut Vec<u64>,
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
    fn called(&mut self, ns: u64) {
        self.calls_ns.push(ns);
    }
}

impl Source for StorageSource<'_> {
    fn file_len(&mut self) -> Result<u64, FormatError> {
        if let Some(len) = self.len {
            return Ok(len);
        }
        let before = now_ns();
        let (len, answer) = (self.storage.open(self.path, self.lane)).map_err(Box::new)?;
        self.spent.storage_ns += now_ns() - before;
        self.spent.answer.opens += answer.opens;
        self.spent.answer.open_ns += answer.open_ns;
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
        let before = now_ns();
        let len = self.storage.len(&path).map_err(Box::new)?;
        self.spent.storage_ns += now_ns() - before;
        let Some(len) = len else {
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
        let Answer { opens, open_ns, .. } = self.spent.answer;
        let mut lane = Lane::new(TRANSFER);
        let (storage, spent) = (self.storage, &mut self.spent);
        Self::read(storage, &mut lane, spent, (&path, 0), &mut bytes)?;
        spent.answer.opens = opens;
        spent.answer.open_ns = open_ns;
        Ok(Some(bytes))
    }

    fn companion_name(&self, companion: &Companion) -> String {
        companion.path(self.path).display().to_string()
    }
}
