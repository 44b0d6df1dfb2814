//! Reading an extent of an object: pieces in flight, in order, resumed where they broke off.

use std::collections::VecDeque;
use std::path::Path;

use super::checksum::Running;
use super::connection::Connection;
use super::endpoint::{Aim, Operation};
use super::failure::{Class, Failure};
use super::retry::Trial;
use super::store::Inner;
use super::{ObjectName, Prepared};
use crate::clock::now_ns;
use crate::storage::{Answer, Extent, Request, Sink, StorageError};

/// One GET under way.
struct Flight<'a> {
    aim: Aim<'a>,
    connection: Connection,
    prepared: Prepared,
    was_reused: bool,
    /// Bytes asked for: first, end. None: the whole object.
    range: Option<(u64, u64)>,
    sent_ns: u64,
}

/// What is known of the object and of the extent so far.
struct Progress<'a> {
    inner: &'a Inner,
    path: &'a Path,
    object: ObjectName,
    start_ns: u64,
    extent: Extent,
    /// Length of one GET; `u64::MAX`: all in one.
    piece: u64,
    /// The first GET asks for the whole object.
    is_single: bool,
    /// Next byte to be delivered.
    at: u64,
    /// Next byte to be asked for.
    asked: u64,
    /// End of the extent, where it is known.
    end: Option<u64>,
    file_len: Option<u64>,
    etag: Option<String>,
    checksum: Option<Running>,
    answer: Answer,
    /// What the GET that is being received has taken so far; None before its answer has begun.
    call_ns: Option<u64>,
}

/// What one answer came to.
enum Step {
    Done,
    /// The sink wants no more.
    Stop,
    /// The request cannot be met, whatever is done.
    Fatal(StorageError),
}

/// Reads `request` into `buffer`, showing each chunk to `sink`.
pub(super) fn read(
    inner: &Inner,
    request: &Request,
    buffer: &mut [u8],
    sink: &mut dyn Sink,
) -> Result<Answer, StorageError> {
    let object = inner.object(request.path)?;
    let uri = object.uri.clone();
    let range_size = inner.options.range_size;
    let (from, end) = match request.extent {
        Extent::Whole => (0, None),
        Extent::Range { offset, len } => (offset, Some(offset + len)),
    };
    let planned = end.map_or(request.planned_len, |end| end - from);
    let is_split = range_size > 0 && planned > range_size;
    let mut progress = Progress {
        inner,
        path: request.path,
        object,
        start_ns: now_ns(),
        extent: request.extent,
        piece: if is_split { range_size } else { u64::MAX },
        is_single: end.is_none() && !is_split,
        at: from,
        asked: from,
        end,
        file_len: None,
        etag: None,
        checksum: None,
        answer: Answer::default(),
        call_ns: None,
    };
    let mut trial = Trial::new("read", &uri);
    let mut flights: VecDeque<Flight> = VecDeque::new();
    sink.position(from);
    loop {
        while flights.len() < inner.options.ranges_in_flight && progress.has_next(&flights) {
            let aim = inner.endpoints.choose(Operation::Get);
            match progress.send(&aim) {
                Ok((connection, prepared, was_reused, range)) => {
                    progress.asked = range.map_or(u64::MAX, |(_, end)| end);
                    flights.push_back(Flight {
                        aim,
                        connection,
                        prepared,
                        was_reused,
                        range,
                        sent_ns: now_ns(),
                    });
                }
                Err(failure) => progress.retry(&mut trial, &aim, failure)?,
            }
            sink.position(progress.at);
        }
        let Some(mut flight) = flights.pop_front() else {
            break;
        };
        let before = progress.at;
        let received = progress.receive(&mut flight, buffer, sink);
        progress.end_call(sink);
        match received {
            Ok(Step::Done) => {
                flight.aim.endpoint.succeeded();
                inner.http.put_back(flight.connection);
                trial.progressed();
            }
            Ok(Step::Stop) => break,
            Ok(Step::Fatal(error)) => return Err(error),
            Err(failure) => {
                if progress.at > before {
                    trial.progressed();
                }
                flights.clear();
                progress.asked = progress.at;
                progress.is_single &= progress.at == 0;
                progress.retry(&mut trial, &flight.aim, failure)?;
            }
        }
    }
    progress.answer.retries = trial.retries;
    Ok(progress.answer)
}

impl Progress<'_> {
    fn has_next(&self, flights: &VecDeque<Flight>) -> bool {
        match self.end {
            Some(end) => self.asked < end || (self.file_len.is_none() && flights.is_empty()),
            // The first answer says where the object ends.
            None => flights.is_empty(),
        }
    }

    /// Counts the GET that was received, whole or in part.
    fn end_call(&mut self, sink: &mut dyn Sink) {
        if let Some(ns) = self.call_ns.take() {
            self.answer.called(ns, sink);
        }
    }

    fn retry(&self, trial: &mut Trial, aim: &Aim, failure: Failure) -> Result<(), StorageError> {
        if failure.is_not_found() && self.inner.is_object_missing(&failure) {
            return Err(StorageError::Missing {
                path: self.path.into(),
            });
        }
        let inner = self.inner;
        trial
            .failed(
                &inner.policy,
                &inner.endpoints,
                aim.endpoint,
                failure,
                |failure| inner.service.remedy(failure, &self.object),
            )
            .map_err(StorageError::Object)
    }

    #[allow(clippy::type_complexity)]
    fn send(&self, aim: &Aim) -> Result<(Connection, Prepared, bool, Option<(u64, u64)>), Failure> {
        let range = if self.is_single {
            None
        } else {
            let end = self.end.unwrap_or(u64::MAX);
            Some((self.asked, self.asked.saturating_add(self.piece).min(end)))
        };
        let prepared = self.inner.service.get(aim.endpoint, &self.object, range)?;
        let http = &self.inner.http;
        let (mut connection, was_reused) = http.open(&prepared.host)?;
        match connection.send(&prepared.head, &[], http.deadline()) {
            // The server closed an idle connection at this very moment: no failure of the request.
            Err(failure) if was_reused && failure.class == Class::Reset => {
                connection = http.open_new(&prepared.host)?;
                connection.send(&prepared.head, &[], http.deadline())?;
            }
            other => other?,
        }
        Ok((connection, prepared, was_reused, range))
    }

    fn receive(
        &mut self,
        flight: &mut Flight,
        buffer: &mut [u8],
        sink: &mut dyn Sink,
    ) -> Result<Step, Failure> {
        let waiting = now_ns();
        let http = &self.inner.http;
        let head = match flight.connection.receive_head(true) {
            Err(failure) if flight.was_reused && failure.class == Class::Reset => {
                flight.connection = http.open_new(&flight.prepared.host)?;
                flight
                    .connection
                    .send(&flight.prepared.head, &[], http.deadline())?;
                flight.connection.receive_head(true)?
            }
            other => other?,
        };
        let answered = now_ns();
        let endpoint = flight.aim.endpoint;
        endpoint.count_first_byte(answered - flight.sent_ns);
        if self.answer.calls == 0 {
            self.answer.open_ns = flight.sent_ns - self.start_ns;
            self.answer.first_byte_ns = Some(answered - self.start_ns);
        }
        self.call_ns = Some(answered - waiting);
        let (from, total) = match head.status {
            200 => (0, flight.connection.body_left()),
            206 => match content_range(head.get("content-range")) {
                Some((from, total)) => (from, Some(total)),
                None => {
                    return Err(Failure::new(
                        Class::Permanent,
                        "a partial answer has no Content-Range that can be read",
                    ));
                }
            },
            416 => {
                let total = head
                    .get("content-range")
                    .and_then(|text| text.rsplit_once('/')?.1.trim().parse().ok());
                let _ = flight.connection.read_rest(1 << 20);
                return Ok(self.beyond_the_end(total, sink));
            }
            _ => {
                let body = flight.connection.read_rest(1 << 20)?;
                let failure = self.inner.service.failure(&head, &body);
                if flight.connection.is_reusable() {
                    endpoint.succeeded();
                }
                return Err(failure);
            }
        };
        let Some(total) = total else {
            return Err(Failure::new(
                Class::Permanent,
                "the answer does not say how long the object is",
            ));
        };
        if from != flight.range.map_or(0, |(from, _)| from) {
            return Err(Failure::new(
                Class::Permanent,
                format!(
                    "the server answered from byte {from} where byte {} was asked for; does it know Range?",
                    self.at
                ),
            ));
        }
        if let Some(error) = self.learn(total, head.get("etag"), sink) {
            return Ok(Step::Fatal(error));
        }
        if head.status == 200 && self.at == 0 && self.inner.options.verify_checksums {
            self.checksum = self.inner.service.checksum(&head).map(Running::new);
        }
        let end = flight
            .range
            .map_or(total, |(_, end)| end)
            .min(self.end.unwrap_or(total));
        if let Some(left) = flight.connection.body_left()
            && left != end - from
        {
            return Err(Failure::new(
                Class::Truncated,
                format!(
                    "the body has {left} bytes where {} were asked for",
                    end - from
                ),
            ));
        }
        self.deliver(flight, end, buffer, sink)
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

    fn deliver(
        &mut self,
        flight: &mut Flight,
        end: u64,
        buffer: &mut [u8],
        sink: &mut dyn Sink,
    ) -> Result<Step, Failure> {
        let endpoint = flight.aim.endpoint;
        while self.at < end {
            let want = (end - self.at).min(buffer.len() as u64) as usize;
            sink.position(self.at);
            let before = now_ns();
            let got = flight.connection.read_body(&mut buffer[..want]);
            let body_ns = now_ns() - before;
            if let Some(ns) = &mut self.call_ns {
                *ns += body_ns;
            }
            let got = match got {
                Ok(0) => {
                    return Err(Failure::new(
                        Class::Truncated,
                        format!("the body ended at byte {} of {end}", self.at),
                    ));
                }
                Ok(got) => got,
                Err(failure) => {
                    endpoint.count_read(0, body_ns);
                    return Err(failure);
                }
            };
            endpoint.count_read(got as u64, body_ns);
            self.answer.bytes += got as u64;
            self.at += got as u64;
            if let Some(checksum) = &mut self.checksum {
                checksum.push(&buffer[..got]);
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
                source: std::io::Error::other(wrong),
            }));
        }
        Ok(Step::Done)
    }
}

/// `bytes 0-9/100`: first byte and total.
fn content_range(value: Option<&str>) -> Option<(u64, u64)> {
    let (range, total) = value?.trim().strip_prefix("bytes ")?.split_once('/')?;
    let (from, _) = range.split_once('-')?;
    Some((from.trim().parse().ok()?, total.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges_are_read() {
        assert_eq!(content_range(Some("bytes 5-9/100")), Some((5, 100)));
        for bad in [
            None,
            Some("bytes */100"),
            Some("bytes 0-9/*"),
            Some("0-9/1"),
        ] {
            assert_eq!(content_range(bad), None);
        }
    }
}
