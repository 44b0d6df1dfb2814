//! One HTTP/1.1 connection, used by the thread that waits for it.
//!
//! Bodies go from the socket into the caller's memory: there is no task, no channel and no buffer between them.
//! Source: RFC 9112.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::addresses::Addresses;
use super::body::{Body, Input, LONGEST_LINE};
use super::failure::{Class, Failure};
use super::head::{self, Head};
use super::proxy::{Proxy, absolute};
use super::stream::{Limit, Sent, Stream};
use super::url::Url;

/// What is read to the end of an answer for the sake of its connection. Units: bytes.
const WORTH_READING: u64 = 64 << 10;

/// A server by scheme, name and port, with its idle connections.
pub struct Host {
    /// Scheme, name, port.
    pub url: Url,
    /// The Host header.
    pub authority: String,
    pub(super) addresses: Arc<Addresses>,
    pub(super) idle: Mutex<Vec<Connection>>,
}

/// A connection with at most one request under way.
pub(crate) struct Connection {
    host: Arc<Host>,
    /// Those of the host, or of its proxy.
    addresses: Arc<Addresses>,
    address: SocketAddr,
    /// Requests go to it as to a proxy, not to the host itself.
    pub(super) proxy: Option<Proxy>,
    wire: Wire,
    body: Body,
    keeps_alive: bool,
    /// It has carried a request before: the server may close it at any moment.
    was_used: bool,
    idle_since: Instant,
}

/// The stream and what was read from it ahead of the body.
struct Wire {
    stream: Stream,
    /// What was read lies in `at..end`.
    buffer: Box<[u8]>,
    at: usize,
    end: usize,
    limit: Limit,
}

impl Wire {
    /// What was read and not taken yet.
    fn ahead(&self) -> &[u8] {
        &self.buffer[self.at..self.end]
    }

    /// Reads more into the buffer; 0: the peer closed.
    fn fill(&mut self) -> Result<usize, Failure> {
        self.buffer.copy_within(self.at..self.end, 0);
        self.end -= self.at;
        self.at = 0;
        let free = &mut self.buffer[self.end..];
        let got = self.stream.read_some(free, &self.limit)?;
        self.end += got;
        Ok(got)
    }
}

impl Input for Wire {
    /// What was received behind the head first, then from the stream.
    fn take(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let kept = self.ahead().len().min(into.len());
        into[..kept].copy_from_slice(&self.ahead()[..kept]);
        self.at += kept;
        Ok(kept + self.stream.read_full(&mut into[kept..], &self.limit)?)
    }

    fn line(&mut self) -> Result<String, Failure> {
        loop {
            let rest = self.ahead();
            if let Some(end) = rest.iter().position(|b| *b == b'\n') {
                let line = String::from_utf8_lossy(&rest[..end]).trim_end().to_string();
                self.at += end + 1;
                return Ok(line);
            }
            if rest.len() > LONGEST_LINE || self.fill()? == 0 {
                return Err(Failure::new(
                    Class::Truncated,
                    "the connection ended inside the body",
                ));
            }
        }
    }
}

impl Connection {
    pub(super) fn new(
        host: Arc<Host>,
        addresses: Arc<Addresses>,
        address: SocketAddr,
        stream: Stream,
        read: Duration,
    ) -> Self {
        Connection {
            host,
            addresses,
            address,
            proxy: None,
            wire: Wire {
                stream,
                buffer: vec![0; head::LONGEST].into(),
                at: 0,
                end: 0,
                limit: Limit {
                    read,
                    deadline: None,
                },
            },
            body: Body::Done,
            keeps_alive: true,
            was_used: false,
            idle_since: Instant::now(),
        }
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// False when it has been idle too long, or the peer closed it, or sent something nobody asked for.
    pub(super) fn is_fresh(&self, oldest: Duration) -> bool {
        if self.idle_since.elapsed() > oldest {
            return false;
        }
        let mut byte = 0_u8;
        // SAFETY: one byte of our own; MSG_PEEK and MSG_DONTWAIT change nothing and never wait.
        let got = unsafe {
            libc::recv(
                self.wire.stream.socket().as_raw_fd(),
                (&raw mut byte).cast(),
                1,
                libc::MSG_PEEK | libc::MSG_DONTWAIT,
            )
        };
        got < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
    }

    /// False: its address is left out for the time being.
    pub(super) fn is_address_up(&self) -> bool {
        self.addresses.is_up(self.address)
    }

    /// A request over it was answered.
    pub(super) fn succeeded(&self) {
        self.addresses.succeeded(self.address);
    }

    /// A request over it failed: its address is remembered.
    pub(super) fn failed(&self, failure: Failure) -> Failure {
        if failure.is_stale {
            return failure;
        }
        let has_other_address = self.addresses.failed(self.address, failure.class);
        Failure {
            has_other_address,
            ..failure
        }
    }

    /// True when the next request may go over it; `self` becomes idle.
    pub(super) fn rest(&mut self) -> bool {
        self.was_used = true;
        self.idle_since = Instant::now();
        self.keeps_alive && self.body == Body::Done && self.wire.ahead().is_empty()
    }

    /// Sends a request; `deadline`: when the whole exchange must be over.
    ///
    /// A server that refuses an upload answers before it has read everything: then the rest is not sent, the answer can
    /// be received, and the connection is not used again.
    pub(crate) fn send(
        &mut self,
        head: &[u8],
        body: &[&[u8]],
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        self.wire.limit.deadline = deadline;
        let for_proxy;
        let head = match &self.proxy {
            Some(proxy) => {
                for_proxy = absolute(head, &self.host.url.origin(), proxy);
                &for_proxy
            }
            None => head,
        };
        match self.wire.stream.send(head, body, &self.wire.limit) {
            Ok(Sent::Whole) => Ok(()),
            Ok(Sent::Cut) => {
                self.keeps_alive = false;
                Ok(())
            }
            Err(failure) => {
                self.keeps_alive = false;
                Err(self.stale(failure))
            }
        }
    }

    /// Receives the head of the answer. `has_body`: false after HEAD.
    pub(crate) fn receive_head(&mut self, has_body: bool) -> Result<Head, Failure> {
        loop {
            let head = self.receive_one_head().inspect_err(|_| {
                self.keeps_alive = false;
            })?;
            if head.status >= 200 {
                let framing = head
                    .framing(has_body)
                    .map_err(|what| self.not_http(&what))?;
                self.body = Body::from(framing);
                self.keeps_alive &= self.body != Body::UntilClose;
                return Ok(head);
            }
        }
    }

    fn receive_one_head(&mut self) -> Result<Head, Failure> {
        loop {
            let rest = self.wire.ahead();
            match head::parse(rest) {
                Ok(Some(parsed)) => {
                    self.keeps_alive &= parsed.keeps_alive;
                    self.wire.at += parsed.len;
                    return Ok(parsed.head);
                }
                Ok(None) => {}
                Err(what) => return Err(self.not_http(&what)),
            }
            let is_first = rest.is_empty();
            let got = self.wire.fill();
            if is_first && matches!(&got, Ok(0)) {
                return Err(self.stale(Failure::new(
                    Class::Reset,
                    "the server closed the connection instead of answering",
                )));
            }
            match got {
                Ok(0) => {
                    return Err(Failure::new(
                        Class::Reset,
                        "the server closed the connection inside the head of its answer",
                    ));
                }
                Ok(_) => {}
                Err(failure) if is_first => return Err(self.stale(failure)),
                Err(failure) => return Err(failure),
            }
        }
    }

    /// A connection that was idle and breaks before a byte of the answer was most likely closed by the server before
    /// it saw the request.
    fn stale(&self, failure: Failure) -> Failure {
        Failure {
            is_stale: self.was_used && failure.class == Class::Reset,
            ..failure
        }
    }

    fn not_http(&mut self, what: &str) -> Failure {
        self.keeps_alive = false;
        Failure::new(
            Class::Permanent,
            format!(
                "the answer is no HTTP/1.1: {what}; is the port right, and is it http or https?"
            ),
        )
    }

    /// Bytes of the body left, where that is known.
    pub(crate) fn body_left(&self) -> Option<u64> {
        self.body.left()
    }

    /// Reads the next bytes of the body: `into` is filled unless the body, or a chunk of it, ends first. 0: the end.
    ///
    /// Errors: [`Class::Truncated`] when the connection ends before the body.
    pub(crate) fn read_body(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let got = self.body.read(&mut self.wire, into);
        self.keeps_alive &= got.is_ok();
        got
    }

    /// Reads what is left of the body, where that costs less than a new connection.
    pub(crate) fn read_out(&mut self) {
        if !self.keeps_alive || self.body_left().is_some_and(|left| left > WORTH_READING) {
            return;
        }
        let mut rest = [0; 4096];
        let mut read = 0;
        while self.body != Body::Done && read <= WORTH_READING {
            match self.read_body(&mut rest) {
                Ok(0) | Err(_) => return,
                Ok(got) => read += got as u64,
            }
        }
    }

    /// Reads the rest of the body; an answer beyond `limit` bytes is an error.
    pub(crate) fn read_rest(&mut self, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        let mut filled = 0;
        loop {
            let step = match self.body_left() {
                Some(left) => usize::try_from(left).unwrap_or(usize::MAX),
                None => head::LONGEST,
            };
            if step == 0 {
                break;
            }
            if step > limit - filled.min(limit) {
                self.keeps_alive = false;
                return Err(Failure::new(
                    Class::Permanent,
                    format!("the answer is longer than {limit} bytes"),
                ));
            }
            all.resize(filled + step, 0);
            let got = self.read_body(&mut all[filled..])?;
            filled += got;
            if got == 0 {
                break;
            }
        }
        all.truncate(filled);
        Ok(all)
    }
}
