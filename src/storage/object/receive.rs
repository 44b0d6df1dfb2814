//! Receiving the answer to one GET: what it holds of the object, and its bytes into the caller's memory.

use super::checksum::Running;
use super::endpoint::Operation;
use super::failure::{Class, Failure, Result};
use super::fetch::Way;
use super::head::{ContentRange, Head};
use super::read::{Flight, Progress, Step};
use crate::clock::look_ns;
use crate::storage::ring::own_ns;
use crate::storage::{Extent, Sink, StorageError};

/// The longest error that is read. Units: bytes.
const LONGEST_ERROR: usize = 1 << 20;
/// The longest object without an announced length: it is held in memory. Units: bytes.
const LONGEST_UNSIZED: usize = 1 << 30;

/// Bytes of an object, from the connection or, where their number had to be found out first, from memory.
enum Bytes<'a> {
    Wire(&'a mut Way),
    Held(&'a [u8]),
}

impl Bytes<'_> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        match self {
            Bytes::Wire(way) => way.read_body(into),
            Bytes::Held(bytes) => {
                let (now, later) = bytes.split_at(into.len().min(bytes.len()));
                into[..now.len()].copy_from_slice(now);
                *bytes = later;
                Ok(now.len())
            }
        }
    }
}

fn refused(what: impl Into<String>) -> Failure {
    Failure::new(Class::Permanent, what)
}

impl Progress<'_> {
    pub(super) fn receive(
        &mut self,
        flight: &mut Flight,
        buffer: &mut [u8],
        sink: &mut dyn Sink,
    ) -> Result<Step> {
        let waiting = own_ns();
        let mut head = flight.way.receive_head()?;
        let (endpoint, service) = (flight.aim.endpoint, &*self.inner.service);
        if let Some(elsewhere) = service.redirect(endpoint, &head, flight.range) {
            let http = &self.inner.http;
            let elsewhere = elsewhere?;
            let mut next = http.open(&elsewhere.host)?;
            endpoint.count_request(Operation::Get);
            next.send(&elsewhere.head, &[], http.deadline())
                .map_err(|failure| next.failed(failure))?;
            std::mem::replace(&mut flight.way, Way::Own(next)).put_back(http);
            head = flight.way.receive_head()?;
        }
        self.count_head(flight, waiting);
        match head.status {
            200 => self.receive_whole(flight, &head, buffer, sink),
            206 => self.receive_part(flight, &head, buffer, sink),
            416 => Ok(self.beyond_the_end(head.unsatisfied_total(), sink)),
            _ => {
                // An error whose text is lost is still that error.
                let body = flight.way.read_rest(LONGEST_ERROR).unwrap_or_default();
                flight.aim.endpoint.succeeded();
                Err(self.inner.service.failure(&head, &body))
            }
        }
    }

    fn count_head(&mut self, flight: &Flight, waiting: u64) {
        let answered = own_ns();
        flight
            .aim
            .endpoint
            .count_first_byte(answered - flight.sent_ns);
        if self.answer.calls == 0 {
            self.answer.open_ns = flight.sent_ns - self.start_ns;
            self.answer.first_byte_ns = Some(answered - self.start_ns);
        }
        self.call_ns = Some(answered - waiting);
    }

    /// An answer with the whole object, also where a range was asked for.
    fn receive_whole(
        &mut self,
        flight: &mut Flight,
        head: &Head,
        buffer: &mut [u8],
        sink: &mut dyn Sink,
    ) -> Result<Step> {
        let mut held = None;
        // S3 names the version of every object; an XML text without one may be an error under status 200.
        let is_suspect = head.get("etag").is_none()
            && head
                .get("content-type")
                .is_some_and(|kind| kind.contains("xml"))
            && flight
                .way
                .body_left()
                .is_none_or(|left| left <= LONGEST_ERROR as u64);
        if is_suspect || flight.way.body_left().is_none() {
            let before = own_ns();
            let body = flight.way.read_rest(LONGEST_UNSIZED)?;
            self.call_ns = self.call_ns.map(|ns| ns + own_ns() - before);
            if is_suspect && body.starts_with(b"<") {
                let failure = self.inner.service.failure(head, &body);
                if !failure.code.is_empty() {
                    return Err(failure);
                }
            }
            if !is_suspect {
                self.inner.http.note(
                    "the server sends objects without their length: each is held in memory before it is looked at",
                );
            }
            held = Some(body);
        }
        let total = match &held {
            Some(body) => body.len() as u64,
            None => flight.way.body_left().unwrap_or_default(),
        };
        if flight.start() != 0 || flight.range.is_some_and(|(_, end)| end < total) {
            self.inner.http.note(
                "the server ignores Range: it sends whole objects, of which only a part is used",
            );
        }
        if let Some(error) = self.learn(total, head.get("etag"), sink) {
            return Ok(Step::Fatal(error));
        }
        if self.at == 0 && self.inner.options.verify_checksums {
            self.checksum = self.inner.service.checksum(head).map(Running::new);
        }
        let end = self.end.unwrap_or(total);
        self.deliver(flight, held.as_deref(), 0, end, buffer, sink)
    }

    fn receive_part(
        &mut self,
        flight: &mut Flight,
        head: &Head,
        buffer: &mut [u8],
        sink: &mut dyn Sink,
    ) -> Result<Step> {
        let Some(ContentRange { from, end, total }) = head.content_range() else {
            return Err(refused(
                "a partial answer has no Content-Range that can be read",
            ));
        };
        if let Some(left) = flight.way.body_left()
            && left != end - from
        {
            return Err(refused(format!(
                "the answer's two lengths differ: its body has {left} bytes, its Content-Range {}",
                end - from
            )));
        }
        if from > self.at || end <= self.at {
            return Err(refused(format!(
                "the server sent bytes {from} to {end} where those from {} were asked for",
                self.at
            )));
        }
        let total = match total.or(self.file_len) {
            Some(total) => total,
            None => {
                flight.aim.endpoint.count_request(Operation::Control);
                let len = self.inner.service.len(flight.aim.endpoint, &self.object)?;
                len.ok_or_else(|| refused("the answer does not say how long the object is"))?
            }
        };
        if let Some(error) = self.learn(total, head.get("etag"), sink) {
            return Ok(Step::Fatal(error));
        }
        let end = end.min(self.end.unwrap_or(total));
        self.deliver(flight, None, from, end, buffer, sink)
    }

    /// Takes in what the first answer says of the object; a later answer must say the same.
    fn learn(
        &mut self,
        total: u64,
        etag: Option<&str>,
        sink: &mut dyn Sink,
    ) -> Option<StorageError> {
        match self.file_len {
            None => {
                self.file_len = Some(total);
                self.etag = etag.map(str::to_string);
                look_ns();
                sink.begin(total);
                if let Extent::Range { offset, len } = self.extent
                    && offset + len > total
                {
                    return Some(self.short(total));
                }
                self.end.get_or_insert(total);
                None
            }
            Some(len) if len != total || self.etag.as_deref() != etag => Some(StorageError::Io {
                operation: "read",
                path: self.path.into(),
                offset: None,
                source: std::io::Error::other(
                    "the object was replaced while it was read\n  remedy: let nothing write to the dataset during a run",
                ),
            }),
            Some(_) => None,
        }
    }

    fn short(&self, got: u64) -> StorageError {
        let expected = match self.extent {
            Extent::Range { offset, len } => offset + len,
            Extent::Whole => self.end.unwrap_or(got),
        };
        StorageError::Short {
            path: self.path.into(),
            expected,
            got,
        }
    }

    fn beyond_the_end(&mut self, total: Option<u64>, sink: &mut dyn Sink) -> Step {
        let total = total.unwrap_or(self.at);
        if total == 0
            && matches!(
                self.extent,
                Extent::Whole | Extent::Range { offset: 0, len: 0 }
            )
        {
            self.file_len = Some(0);
            self.end = Some(0);
            sink.begin(0);
            return Step::Done;
        }
        Step::Fatal(self.short(total))
    }

    /// Shows the bytes from `self.at` to `end` of an answer that begins at byte `from`.
    fn deliver(
        &mut self,
        flight: &mut Flight,
        held: Option<&[u8]>,
        mut from: u64,
        end: u64,
        buffer: &mut [u8],
        sink: &mut dyn Sink,
    ) -> Result<Step> {
        let endpoint = flight.aim.endpoint;
        let mut bytes = match held {
            Some(held) => Bytes::Held(held),
            None => Bytes::Wire(&mut flight.way),
        };
        while from < end {
            let is_skipped = from < self.at;
            let until = if is_skipped { self.at } else { end };
            let want = (until - from).min(buffer.len() as u64) as usize;
            let before = own_ns();
            sink.position(from);
            let got = bytes.read(&mut buffer[..want]);
            let body_ns = own_ns() - before;
            if let Some(ns) = &mut self.call_ns {
                *ns += body_ns;
            }
            endpoint.count_read(*got.as_ref().unwrap_or(&0) as u64, body_ns);
            let got = got?;
            if got == 0 {
                return Err(Failure::new(
                    Class::Truncated,
                    format!("the body ended at byte {from} of {end}"),
                ));
            }
            from += got as u64;
            if is_skipped {
                continue;
            }
            self.at = from;
            self.answer.bytes += got as u64;
            if let Some(checksum) = &mut self.checksum {
                checksum.push(&buffer[..got]);
                look_ns();
            }
            if !sink.chunk(&buffer[..got]) {
                return Ok(Step::Stop);
            }
        }
        if self.file_len == Some(self.at)
            && let Some(wrong) = self.checksum.take().and_then(Running::finish)
        {
            return Ok(Step::Fatal(StorageError::Io {
                operation: "read",
                path: self.path.into(),
                offset: None,
                source: std::io::Error::other(wrong),
            }));
        }
        Ok(Step::Done)
    }
}
