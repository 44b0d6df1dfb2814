//! Reading an extent of an object: pieces in flight, in order, resumed where they broke off.

use std::collections::VecDeque;
use std::path::Path;

use super::ObjectName;
use super::Span;
use super::checksum::Running;
use super::endpoint::{Aim, Operation};
use super::failure::{Failure, Result};
use super::fetch::Way;
use super::inner::{About, Inner};
use super::retry::Trial;
use crate::clock::look_ns;
use crate::storage::ring::own_ns;
use crate::storage::{Answer, Extent, Request, Sink, StorageError};

/// One GET under way.
pub(super) struct Flight<'a> {
    pub(super) aim: Aim<'a>,
    pub(super) way: Way,
    /// Bytes asked for: first, end. None: the whole object.
    pub(super) range: Span,
    pub(super) sent_ns: u64,
}

impl Flight<'_> {
    /// The first byte that it was asked for.
    pub(super) fn start(&self) -> u64 {
        self.range.map_or(0, |(from, _)| from)
    }
}

/// What is known of the object and of the extent so far.
pub(super) struct Progress<'a> {
    pub(super) inner: &'a Inner,
    pub(super) path: &'a Path,
    pub(super) object: ObjectName,
    pub(super) start_ns: u64,
    pub(super) extent: Extent,
    /// Length of one GET; `u64::MAX`: all in one.
    piece: u64,
    /// The first GET asks for the whole object.
    is_single: bool,
    /// Next byte to be delivered.
    pub(super) at: u64,
    /// Next byte to be asked for.
    asked: u64,
    /// End of the extent, where it is known.
    pub(super) end: Option<u64>,
    pub(super) file_len: Option<u64>,
    pub(super) etag: Option<String>,
    pub(super) checksum: Option<Running>,
    pub(super) answer: Answer,
    /// What the GET that is being received has taken so far; None before its answer has begun.
    pub(super) call_ns: Option<u64>,
}

/// What one answer came to.
pub(super) enum Step {
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
    let mut progress = Progress::new(inner, request)?;
    let uri = progress.object.uri.clone();
    let mut trial = Trial::new("read", &uri);
    let mut flights: VecDeque<Flight> = VecDeque::new();
    look_ns();
    sink.position(progress.at);
    loop {
        while flights.len() < inner.options.ranges_in_flight && progress.has_next(&flights) {
            let aim = inner.endpoints.choose(Operation::Get);
            match progress.send(&aim) {
                Ok((way, range)) => {
                    progress.asked = range.map_or(u64::MAX, |(_, end)| end);
                    flights.push_back(Flight {
                        aim,
                        way,
                        range,
                        sent_ns: own_ns(),
                    });
                }
                Err(failure) => progress.retry(&mut trial, &aim, failure)?,
            }
            look_ns();
            sink.position(progress.at);
        }
        let Some(mut flight) = flights.pop_front() else {
            break;
        };
        let before = progress.at;
        let step = progress.receive(&mut flight, buffer, sink);
        progress.end_call(sink);
        if progress.at > before {
            trial.progressed();
        }
        match step {
            Ok(Step::Done) => {
                flight.aim.endpoint.succeeded();
                flight.way.succeeded();
                flight.way.put_back(&inner.http);
                trial.progressed();
                // An answer may hold less than it was asked for, or more: what follows goes on from there.
                if flights.front().map_or(progress.asked, Flight::start) != progress.at {
                    progress.restart(&mut flights);
                }
            }
            Ok(Step::Stop) => break,
            Ok(Step::Fatal(error)) => return Err(error),
            Err(failure) => {
                let failure = flight.way.failed(failure);
                flight.way.put_back(&inner.http);
                progress.restart(&mut flights);
                progress.retry(&mut trial, &flight.aim, failure)?;
            }
        }
    }
    progress.answer.retries = trial.retries;
    Ok(progress.answer)
}

impl<'a> Progress<'a> {
    fn new(inner: &'a Inner, request: &Request<'a>) -> Result<Self, StorageError> {
        let range_size = inner.options.range_size;
        let (from, end) = match request.extent {
            Extent::Whole => (0, None),
            Extent::Range { offset, len } => (offset, Some(offset + len)),
        };
        let planned = end.map_or(request.planned_len, |end| end - from);
        let is_split = range_size > 0 && planned > range_size;
        Ok(Progress {
            inner,
            path: request.path,
            object: inner.object(request.path)?,
            start_ns: own_ns(),
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
        })
    }

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

    /// Gives up what is in flight and goes on from the next byte to be delivered.
    fn restart(&mut self, flights: &mut VecDeque<Flight>) {
        flights.clear();
        self.asked = self.at;
        self.is_single &= self.at == 0;
    }

    fn retry(&self, trial: &mut Trial, aim: &Aim, failure: Failure) -> Result<(), StorageError> {
        if failure.is_not_found() && self.inner.is_object_missing(&failure) {
            return Err(StorageError::Missing {
                path: self.path.into(),
            });
        }
        let about = About {
            service: &*self.inner.service,
            object: &self.object,
        };
        let inner = self.inner;
        trial
            .failed(
                &inner.policy,
                &inner.endpoints,
                aim.endpoint,
                failure,
                &about,
            )
            .map_err(StorageError::Object)
    }

    fn send(&self, aim: &Aim) -> Result<(Way, Option<(u64, u64)>)> {
        let range = if self.is_single {
            None
        } else {
            let end = self.end.unwrap_or(u64::MAX);
            Some((self.asked, self.asked.saturating_add(self.piece).min(end)))
        };
        let service = &self.inner.service;
        if let Some(fetch) = service.fetch(aim.endpoint, &self.object, range) {
            return Ok((Way::Sdk(fetch), range));
        }
        let prepared = service.get(aim.endpoint, &self.object, range)?;
        let http = &self.inner.http;
        let mut connection = http.open(&prepared.host)?;
        connection
            .send(&prepared.head, &[], http.deadline())
            .map_err(|failure| connection.failed(failure))?;
        Ok((Way::Own(connection), range))
    }
}
