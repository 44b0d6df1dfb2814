//! Writing an object as it is produced: one PUT when it fits into a part, an upload in parts otherwise.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::endpoint::{Endpoint, Operation};
use super::failure::{Class, Failure, ObjectError};
use super::retry::{Trial, persist};
use super::store::Inner;
use super::{ObjectName, Part};
use crate::storage::{StorageError, Writer};

/// The longest part that is made of its own accord.
const LONGEST_PART: usize = 64 << 20;
/// Parts of one size before the next ones are twice as long.
const PARTS_PER_SIZE: u32 = 16;
/// S3's limit of an upload; Azure's is above it.
const MAX_PARTS: u32 = 10_000;

/// An object being written. Its memory is one part.
pub(super) struct Upload {
    inner: Arc<Inner>,
    object: ObjectName,
    part: Vec<u8>,
    parts: Vec<Part>,
    /// Its name, once parts were sent.
    upload: Option<String>,
    written: u64,
}

/// Length of part `number` (from 1): longer ones later, so that short objects cost little memory and long ones fit.
fn part_len(first: usize, number: u32) -> usize {
    let doublings = (number - 1) / PARTS_PER_SIZE;
    let longest = first.max(LONGEST_PART);
    first
        .checked_shl(doublings.min(16))
        .map_or(longest, |len| len.min(longest))
}

impl Upload {
    pub(super) fn new(inner: Arc<Inner>, path: &Path) -> Result<Self, StorageError> {
        Ok(Upload {
            object: inner.object(path)?,
            inner,
            part: Vec::new(),
            parts: Vec::new(),
            upload: None,
            written: 0,
        })
    }

    fn try_hard<T>(
        &self,
        what: &'static str,
        kind: Operation,
        attempt: impl FnMut(&Endpoint) -> Result<T, Failure>,
    ) -> Result<T, Box<ObjectError>> {
        let inner = &*self.inner;
        persist(
            &inner.policy,
            &inner.endpoints,
            kind,
            Trial::new(what, &self.object.uri),
            |failure| inner.service.remedy(failure, &self.object),
            attempt,
        )
    }

    fn send_part(&mut self) -> Result<(), Box<ObjectError>> {
        let number = self.parts.len() as u32 + 1;
        if number > MAX_PARTS {
            return Err(Box::new(ObjectError {
                operation: "write",
                object: self.object.uri.clone(),
                endpoint: self.inner.endpoints.all()[0].url.to_string(),
                attempts: 0,
                elapsed_s: 0.0,
                failure: Failure::new(
                    Class::Permanent,
                    format!("it needs more than {MAX_PARTS} parts"),
                ),
                remedy: "raise storage.storage_options.part_size".into(),
            }));
        }
        let service = &*self.inner.service;
        if self.upload.is_none() {
            let upload = self.try_hard("begin the upload of", Operation::Control, |endpoint| {
                service.begin_upload(endpoint, &self.object)
            })?;
            self.upload = Some(upload);
        }
        let upload = self.upload.as_deref().unwrap_or_default();
        let part = self.try_hard("write a part of", Operation::Put, |endpoint| {
            let part = service.put_part(endpoint, &self.object, upload, number, &self.part)?;
            endpoint.count_written(self.part.len() as u64);
            Ok(part)
        })?;
        self.parts.push(part);
        self.part.clear();
        Ok(())
    }

    fn end(&mut self) -> Result<(), Box<ObjectError>> {
        if self.upload.is_none() {
            return self.try_hard("write", Operation::Put, |endpoint| {
                self.inner.service.put(endpoint, &self.object, &self.part)?;
                endpoint.count_written(self.part.len() as u64);
                Ok(())
            });
        }
        if !self.part.is_empty() {
            self.send_part()?;
        }
        let service = &*self.inner.service;
        let upload = self.upload.clone().unwrap_or_default();
        self.try_hard("complete the upload of", Operation::Control, |endpoint| {
            match service.complete(endpoint, &self.object, &upload, &self.parts) {
                // An attempt whose answer was lost may have completed it: then the upload is gone and the object is there.
                Err(failure) if failure.is_not_found() => {
                    match service.len(endpoint, &self.object)? {
                        Some(len) if len == self.written => Ok(()),
                        _ => Err(failure),
                    }
                }
                other => other,
            }
        })?;
        self.upload = None;
        // Parts have been lost by servers before: the object must be as long as what was sent.
        let len = self.try_hard("check the length of", Operation::Control, |endpoint| {
            let len = service.len(endpoint, &self.object)?;
            if len == Some(self.written) {
                return Ok(());
            }
            Err(Failure::new(
                Class::Permanent,
                match len {
                    Some(len) => format!("it has {len} bytes where {} were written", self.written),
                    None => "it is not there after its upload was completed".into(),
                },
            ))
        });
        if len.is_err() {
            // A wrong object must not be taken for a right one.
            let keys = [self.object.key.clone()];
            let _ = self.try_hard("delete", Operation::Control, |endpoint| {
                service.delete(endpoint, &self.object.bucket, &keys)
            });
        }
        len
    }
}

impl Writer for Upload {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let want = part_len(self.inner.options.part_size, self.parts.len() as u32 + 1);
            if self.part.len() == want {
                self.send_part().map_err(io::Error::other)?;
                continue;
            }
            let room = want - self.part.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.part.extend_from_slice(now);
            self.written += now.len() as u64;
            bytes = later;
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        self.end().map_err(StorageError::Object)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else {
            return;
        };
        // The failure that led here is told by the caller; parts of a server that is gone cannot be removed.
        let _ = self.try_hard("abort the upload of", Operation::Control, |endpoint| {
            self.inner.service.abort(endpoint, &self.object, &upload)
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_grow_and_hold_large_objects() {
        let first = 8 << 20;
        assert_eq!(part_len(first, 1), first);
        assert_eq!(part_len(first, 16), first);
        assert_eq!(part_len(first, 17), 16 << 20);
        assert_eq!(part_len(first, 49), 64 << 20);
        assert_eq!(part_len(first, MAX_PARTS), 64 << 20);
        let total: u64 = (1..=MAX_PARTS).map(|n| part_len(first, n) as u64).sum();
        assert!(total > 600 << 30);
        assert_eq!(part_len(100 << 20, 9_999), 100 << 20);
    }
}
