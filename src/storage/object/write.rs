//! Writing an object as it is produced: one PUT when it fits into a part, an upload in parts otherwise.
//!
//! Parts go in parallel while the next ones are collected: see [`senders`](super::senders).

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use parking_lot::{Condvar, Mutex};

use super::collected::Collected;
use super::endpoint::{Endpoint, Operation};
use super::failure::{Class, Failure, ObjectError, Result};
use super::inner::{About, Inner};
use super::retry::{Trial, persist};
use super::spare::Spare;
use super::{ObjectName, Part, len_of};
use crate::clock::now_ns;
use crate::interrupt::{self, Unfinished};
use crate::storage::{Buffer, StorageError, Writer};

/// The longest part that is made of its own accord.
const LONGEST_PART: usize = 64 << 20;
/// Parts of one size before the next ones are twice as long.
const PARTS_PER_SIZE: u32 = 128;
/// S3's limit of an upload; Azure's is above it.
const MAX_PARTS: u32 = 10_000;

/// An object being written. Its memory is one part, and those that are on their way.
pub(super) struct Upload {
    target: Arc<Target>,
    part: Collected,
    /// Parts handed over so far.
    parts: u32,
    /// Its name, once parts were sent.
    upload: Option<Begun>,
    written: u64,
    /// Writing calls in which nothing was waited for.
    client_ns: u64,
}

/// An upload that the server knows.
struct Begun {
    name: Arc<str>,
    /// A signal aborts it.
    _unfinished: Unfinished,
}

/// What an upload and the threads that send its parts share.
struct Target {
    inner: Arc<Inner>,
    object: ObjectName,
    sent: Mutex<Sent>,
    arrived: Condvar,
    /// A signal has come.
    is_stopped: AtomicBool,
}

#[derive(Default)]
struct Sent {
    /// Parts that are on their way.
    out: usize,
    parts: Vec<Part>,
    failure: Option<Box<ObjectError>>,
}

/// Length of part `number` (from 1): longer ones later, so that short objects cost little memory and long ones fit.
fn part_len(first: usize, number: u32) -> usize {
    let doublings = (number - 1) / PARTS_PER_SIZE;
    let longest = first.max(LONGEST_PART);
    first
        .checked_shl(doublings.min(16))
        .map_or(longest, |len| len.min(longest))
}

/// Bytes of the longest part of an object of `len` bytes.
pub(super) fn longest_part(first: usize, len: u64) -> usize {
    let mut left = len;
    for number in 1..=MAX_PARTS {
        let part = part_len(first, number);
        if left <= part as u64 {
            return if number == 1 { left as usize } else { part };
        }
        left -= part as u64;
    }
    first.max(LONGEST_PART)
}

impl Target {
    fn try_hard<T>(
        &self,
        what: &'static str,
        kind: Operation,
        attempt: impl FnMut(&Endpoint) -> Result<T>,
    ) -> Result<T, Box<ObjectError>> {
        let inner = &*self.inner;
        persist(
            &inner.policy,
            &inner.endpoints,
            kind,
            Trial::new(what, &self.object.uri),
            &About {
                service: &*inner.service,
                object: &self.object,
            },
            attempt,
        )
    }

    /// Begins an upload. An attempt whose outcome is unknown may have begun one: it is looked for and aborted before
    /// another is begun, so that nothing is begun twice.
    fn begin(&self) -> Result<Arc<str>, Box<ObjectError>> {
        let service = &*self.inner.service;
        if let Some(name) = service.name_upload() {
            return Ok(name.into());
        }
        let mut is_unsure = false;
        let upload = self.try_hard("begin the upload of", Operation::Control, |endpoint| {
            if is_unsure {
                // One writer has this object: its uploads fit into a page.
                let page = service.uploads(endpoint, &self.object, None)?;
                for (_, stray) in page
                    .uploads
                    .iter()
                    .filter(|(key, _)| *key == self.object.key)
                {
                    endpoint.count_request(Operation::Control);
                    service.abort(endpoint, &self.object, stray)?;
                }
                endpoint.count_request(Operation::Control);
                is_unsure = false;
            }
            service
                .begin_upload(endpoint, &self.object)
                .inspect_err(|failure| is_unsure = failure.is_unsure())
        })?;
        Ok(upload.into())
    }

    /// From here on a signal aborts the upload: with one attempt, and no part is begun any more.
    fn announce(self: &Arc<Self>, upload: &Arc<str>) -> Unfinished {
        let (target, upload) = (self.clone(), upload.clone());
        let abort = move || {
            target.is_stopped.store(true, Relaxed);
            let aim = target.inner.endpoints.choose(Operation::Control);
            let service = &*target.inner.service;
            service.abort(aim.endpoint, &target.object, &upload).is_ok()
        };
        interrupt::unfinished_upload(&self.object.uri, Arc::new(abort))
    }

    fn send_part(&self, upload: &str, number: u32, bytes: &[&[u8]]) {
        let is_given_up = self.is_stopped.load(Relaxed) || self.sent.lock().failure.is_some();
        let outcome = if is_given_up {
            None
        } else {
            Some(
                self.try_hard("write a part of", Operation::Put, |endpoint| {
                    let service = &*self.inner.service;
                    let part = service.put_part(endpoint, &self.object, upload, number, bytes)?;
                    endpoint.count_written(len_of(bytes) as u64);
                    Ok(part)
                }),
            )
        };
        let mut sent = self.sent.lock();
        match outcome {
            Some(Ok(part)) => sent.parts.push(part),
            Some(Err(error)) => {
                sent.failure.get_or_insert(error);
            }
            None => {}
        }
        sent.out -= 1;
        drop(sent);
        self.arrived.notify_all();
    }

    /// Waits until no part is on its way; the parts in order.
    fn arrive(&self) -> Result<Vec<Part>, Box<ObjectError>> {
        let mut sent = self.sent.lock();
        while sent.out > 0 {
            self.arrived.wait(&mut sent);
        }
        if let Some(failure) = sent.failure.take() {
            return Err(failure);
        }
        let mut parts = std::mem::take(&mut sent.parts);
        parts.sort_by_key(|part| part.number);
        Ok(parts)
    }

    fn complete(&self, upload: &str, parts: &[Part], written: u64) -> Result<(), Box<ObjectError>> {
        let service = &*self.inner.service;
        self.try_hard("complete the upload of", Operation::Control, |endpoint| {
            match service.complete(endpoint, &self.object, upload, parts) {
                // An attempt whose answer was lost may have completed it: then the upload is gone and the object is there.
                Err(failure) if failure.is_not_found() => {
                    endpoint.count_request(Operation::Control);
                    match service.len(endpoint, &self.object)? {
                        Some(len) if len == written => Ok(()),
                        _ => Err(failure),
                    }
                }
                other => other,
            }
        })
    }

    /// Parts have been lost by servers before: the object must be as long as what was sent. If not, it goes away: a wrong
    /// object must not be taken for a right one.
    fn check_len(&self, written: u64) -> Result<(), Box<ObjectError>> {
        let service = &*self.inner.service;
        let len = self.try_hard("check the length of", Operation::Control, |endpoint| {
            let len = service.len(endpoint, &self.object)?;
            if len == Some(written) {
                return Ok(());
            }
            Err(Failure::new(
                Class::Permanent,
                match len {
                    Some(len) => format!("it has {len} bytes where {written} were written"),
                    None => "it is not there after its upload was completed".into(),
                },
            ))
        });
        if len.is_err() {
            let _ = self.try_hard("delete", Operation::Control, |endpoint| {
                service.delete(endpoint, &self.object)
            });
        }
        len
    }
}

impl Upload {
    pub(super) fn new(inner: Arc<Inner>, path: &Path) -> Result<Self, StorageError> {
        Ok(Upload {
            target: Arc::new(Target {
                object: inner.object(path)?,
                inner: inner.clone(),
                sent: Mutex::default(),
                arrived: Condvar::new(),
                is_stopped: AtomicBool::new(false),
            }),
            part: Collected::default(),
            parts: 0,
            upload: None,
            written: 0,
            client_ns: 0,
        })
    }

    /// Hands the part over to be sent; waits only while all places are taken.
    fn send_part(&mut self) -> Result<(), Box<ObjectError>> {
        let target = &self.target;
        if let Some(failure) = target.sent.lock().failure.take() {
            return Err(failure);
        }
        let number = self.parts + 1;
        if number > MAX_PARTS {
            return Err(Box::new(ObjectError {
                operation: "write",
                object: target.object.uri.clone(),
                endpoint: target.inner.endpoints.all()[0].url.to_string(),
                attempts: 0,
                elapsed_s: 0.0,
                failure: Failure::new(
                    Class::Permanent,
                    format!("it needs more than {MAX_PARTS} parts"),
                ),
                remedy: "raise storage.storage_options.part_size".into(),
            }));
        }
        let upload = match &self.upload {
            Some(begun) => begun.name.clone(),
            None => {
                let name = target.begin()?;
                let begun = Begun {
                    _unfinished: target.announce(&name),
                    name: name.clone(),
                };
                self.upload = Some(begun);
                name
            }
        };
        let senders = &target.inner.senders;
        senders.enter();
        let part = std::mem::take(&mut self.part);
        self.parts = number;
        target.sent.lock().out += 1;
        let target = target.clone();
        senders.start(Box::new(move || {
            target.send_part(&upload, number, &part.pieces());
            part
        }));
        Ok(())
    }

    fn end(&mut self) -> Result<(), Box<ObjectError>> {
        let Some(upload) = self.upload.as_ref().map(|begun| begun.name.clone()) else {
            let target = &self.target;
            let pieces = self.part.pieces();
            return target.try_hard("write", Operation::Put, |endpoint| {
                target
                    .inner
                    .service
                    .put(endpoint, &target.object, &pieces)?;
                endpoint.count_written(self.part.len() as u64);
                Ok(())
            });
        };
        if self.part.len() > 0 {
            self.send_part()?;
        }
        let parts = self.target.arrive()?;
        // After a signal parts may be missing: then this never returns.
        interrupt::uninterrupted(|| ());
        self.target.complete(&upload, &parts, self.written)?;
        self.upload = None;
        self.target.check_len(self.written)
    }

    /// What the part still takes, at least a byte: a full one is sent.
    fn room(&mut self) -> io::Result<usize> {
        let first = self.target.inner.options.part_size;
        if self.part.len() == part_len(first, self.parts + 1) {
            self.send_part().map_err(io::Error::other)?;
        }
        Ok(part_len(first, self.parts + 1) - self.part.len())
    }

    /// Collects by `collect`, which has the room of the part and returns the bytes that it took; what it takes is the client's
    /// own time.
    fn collect<T>(
        &mut self,
        collect: impl FnOnce(&mut Self, usize) -> (usize, T),
    ) -> io::Result<T> {
        let room = self.room()?;
        let start = now_ns();
        let (taken, rest) = collect(self, room);
        self.written += taken as u64;
        self.client_ns += now_ns() - start;
        Ok(rest)
    }
}

impl Writer for Upload {
    fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            bytes = self.collect(|upload, room| {
                let (now, later) = bytes.split_at(room.min(bytes.len()));
                let senders = &upload.target.inner.senders;
                let part = &mut upload.part;
                part.copy(now, || senders.spare(Spare::memory));
                (now.len(), later)
            })?;
        }
        Ok(())
    }

    /// The part is sent from where its bytes are: a buffer that fits into it as a whole is not copied.
    fn give(&mut self, buffer: Buffer, used: usize) -> io::Result<Buffer> {
        let len = buffer.len();
        if used < len || self.room()? < len {
            self.write(&buffer[..used])?;
            return Ok(buffer);
        }
        self.collect(|upload, _| {
            let spare = upload.target.inner.senders.spare(|spare| spare.buffer(len));
            upload.part.give(buffer);
            (len, spare.unwrap_or_else(|| Buffer::new(len)))
        })
    }

    fn client_ns(&self) -> u64 {
        self.client_ns
    }

    fn finish(mut self: Box<Self>) -> Result<(), StorageError> {
        self.end().map_err(StorageError::Object)
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        let part = std::mem::take(&mut self.part);
        let senders = &self.target.inner.senders;
        senders.spare(|spare| part.into_spare(spare));
        let Some(upload) = self.upload.take() else {
            return;
        };
        let target = &self.target;
        // A part that arrived after the abort would stay.
        let _ = target.arrive();
        // The caller reports the failure that led here; parts of a server that is gone cannot be removed.
        let _ = target.try_hard("abort the upload of", Operation::Control, |endpoint| {
            target
                .inner
                .service
                .abort(endpoint, &target.object, &upload.name)
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
        assert_eq!(part_len(first, 128), first);
        assert_eq!(part_len(first, 129), 16 << 20);
        assert_eq!(part_len(first, 385), 64 << 20);
        assert_eq!(part_len(first, MAX_PARTS), 64 << 20);
        let total: u64 = (1..=MAX_PARTS).map(|n| part_len(first, n) as u64).sum();
        assert!(total > 600 << 30);
        assert_eq!(part_len(100 << 20, 9_999), 100 << 20);
        assert_eq!(longest_part(first, 100), 100);
        assert_eq!(longest_part(first, 1 << 30), first);
        assert_eq!(longest_part(first, (1 << 30) + 1), 16 << 20);
        assert_eq!(longest_part(first, u64::MAX), 64 << 20);
    }

    /// No request is made: nothing is written to its end.
    #[cfg(feature = "s3")]
    #[test]
    fn a_whole_buffer_is_kept_until_it_is_sent_and_serves_again() {
        use crate::storage::{Secret, StoreSpec, System, open};

        let system = System::of_word("s3").unwrap();
        let mut spec = StoreSpec::new(system, "s3://bucket/x".into());
        spec.options.endpoint_url.0 = vec!["http://127.0.0.1:9".into()];
        spec.options.region = Some("us-east-1".into());
        spec.options.access_key_id = Some(Secret::new("id"));
        spec.options.secret_access_key = Some(Secret::new("secret"));
        spec.options.part_size = Some(5 << 20);
        let storage = open(&spec, &[]).unwrap();
        let create = || storage.create(Path::new("s3://bucket/x/object")).unwrap();
        const LEN: usize = 2 << 20;

        let mut writer = create();
        let first = Buffer::new(LEN);
        let at = first.as_ptr();
        let second = writer.give(first, LEN).unwrap();
        let second_at = second.as_ptr();
        assert_ne!(second_at, at, "the first is sent from where it is");
        let same = writer.give(second, 100).unwrap();
        assert_eq!(same.as_ptr(), second_at, "few bytes are copied");
        let third = writer.give(same, LEN).unwrap();
        assert_ne!(third.as_ptr(), second_at);
        drop(writer);

        let mut writer = create();
        let known = writer.give(third, LEN).unwrap().as_ptr();
        assert!(known == at || known == second_at);
    }
}
