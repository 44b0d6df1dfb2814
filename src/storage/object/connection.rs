//! One HTTP/1.1 connection, used by the thread that waits for it.
//!
//! Bodies go from the socket into the caller's memory: there is no task, no channel and no buffer between them.
//! Source: RFC 9112.

use std::io::{self, BufReader, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::failure::{Class, Failure};
use super::http::Host;

/// The longest answer head that is accepted.
const HEAD: usize = 16 << 10;

/// A TLS record is at most 16 KiB; many are fetched with one system call.
const TLS_BUFFER: usize = 256 << 10;

/// Header lines of one answer; more is refused.
const MAX_HEADERS: usize = 96;

/// A socket whose reads are bundled and whose writes are not.
pub(super) struct Bundled(BufReader<TcpStream>);

impl Bundled {
    pub(super) fn new(socket: TcpStream) -> Self {
        Bundled(BufReader::with_capacity(TLS_BUFFER, socket))
    }

    pub(super) fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }
}

impl Read for Bundled {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Bundled {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

/// With or without TLS.
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, Bundled>>),
}

impl Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let got = match self {
                Stream::Plain(socket) => socket.read(into),
                Stream::Tls(tls) => tls.read(into),
            };
            match got {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => return other,
            }
        }
    }

    /// Reads until `into` is full, the peer closes, or a time limit passes.
    fn read_full(&mut self, into: &mut [u8], limit: &Limit) -> Result<usize, Failure> {
        let mut filled = 0;
        while filled < into.len() {
            limit.before_read(self.socket())?;
            let rest = &mut into[filled..];
            let got = match self {
                Stream::Plain(socket) => receive_all(socket, rest),
                Stream::Tls(tls) => tls.read(rest),
            };
            match got {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The socket's own limit was the rest of the request's.
                Err(e) if e.kind() == io::ErrorKind::WouldBlock && limit.is_over() => {
                    return Err(too_long());
                }
                Err(e) => return Err(Failure::io("receive the body", &e)),
            }
        }
        Ok(filled)
    }

    fn write_all(&mut self, head: &[u8], body: &[u8]) -> io::Result<()> {
        match self {
            Stream::Plain(socket) => {
                let mut sent = 0;
                while sent < head.len() {
                    let parts = [IoSlice::new(&head[sent..]), IoSlice::new(body)];
                    match socket.write_vectored(&parts) {
                        Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                        Ok(n) => sent += n,
                        Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                        Err(e) => return Err(e),
                    }
                }
                socket.write_all(&body[sent - head.len()..])
            }
            Stream::Tls(tls) => {
                tls.write_all(head)?;
                tls.write_all(body)?;
                tls.flush()
            }
        }
    }

    fn socket(&self) -> &TcpStream {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.sock.socket(),
        }
    }
}

/// recv(2) with MSG_WAITALL: the kernel fills the buffer with one call instead of one per arrived segment.
fn receive_all(socket: &TcpStream, into: &mut [u8]) -> io::Result<usize> {
    // SAFETY: the pointer and the length are those of `into`, which lives through the call.
    let got = unsafe {
        libc::recv(
            socket.as_raw_fd(),
            into.as_mut_ptr().cast(),
            into.len(),
            libc::MSG_WAITALL,
        )
    };
    usize::try_from(got).map_err(|_| io::Error::last_os_error())
}

/// How long an answer may take.
#[derive(Debug, Clone, Copy)]
struct Limit {
    /// Without a byte.
    read: Duration,
    /// When the whole exchange must be over.
    deadline: Option<Instant>,
}

impl Limit {
    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|end| Instant::now() >= end)
    }

    /// Where there is a deadline, the next read call waits no longer than until then.
    fn before_read(&self, socket: &TcpStream) -> Result<(), Failure> {
        let Some(end) = self.deadline else {
            return Ok(());
        };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(too_long());
        }
        socket
            .set_read_timeout(Some(left.min(self.read)))
            .map_err(|e| Failure::io("set a time limit", &e))
    }
}

fn too_long() -> Failure {
    Failure::new(
        Class::Timeout,
        "the request took longer than request_timeout",
    )
}

/// Status line and header lines of an answer.
#[derive(Debug, Clone, Default)]
pub struct Head {
    /// HTTP status.
    pub status: u16,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
}

impl Head {
    /// The first value of a header.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Body {
    Done,
    Sized(u64),
    Chunked { left: u64, is_first: bool },
    UntilClose,
}

/// A connection with at most one request under way.
pub struct Connection {
    host: Arc<Host>,
    stream: Stream,
    buffer: Vec<u8>,
    at: usize,
    body: Body,
    keeps_alive: bool,
    limit: Limit,
}

impl Connection {
    pub(super) fn new(host: Arc<Host>, stream: Stream, read: Duration) -> Self {
        Connection {
            host,
            stream,
            buffer: Vec::with_capacity(HEAD),
            at: 0,
            body: Body::Done,
            keeps_alive: true,
            limit: Limit {
                read,
                deadline: None,
            },
        }
    }

    pub(super) fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// False when the peer closed it, or sent something nobody asked for, while it was idle.
    pub(super) fn is_quiet(&self) -> bool {
        let mut byte = 0_u8;
        // SAFETY: one byte of our own; MSG_PEEK and MSG_DONTWAIT change nothing and never wait.
        let got = unsafe {
            libc::recv(
                self.stream.socket().as_raw_fd(),
                (&raw mut byte).cast(),
                1,
                libc::MSG_PEEK | libc::MSG_DONTWAIT,
            )
        };
        got < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
    }

    /// True when the next request may go over it.
    pub(super) fn is_reusable(&self) -> bool {
        self.keeps_alive && self.body == Body::Done && self.at == self.buffer.len()
    }

    /// Sends a request; `deadline`: when the whole exchange must be over.
    pub fn send(
        &mut self,
        head: &[u8],
        body: &[u8],
        deadline: Option<Instant>,
    ) -> Result<(), Failure> {
        self.limit.deadline = deadline;
        self.stream
            .write_all(head, body)
            .map_err(|e| Failure::io("send the request", &e))
    }

    /// Receives the head of the answer. `has_body`: false after HEAD.
    pub fn receive_head(&mut self, has_body: bool) -> Result<Head, Failure> {
        loop {
            let head = self.receive_one_head()?;
            if head.status >= 200 {
                self.begin_body(&head, has_body)?;
                return Ok(head);
            }
        }
    }

    fn receive_one_head(&mut self) -> Result<Head, Failure> {
        self.buffer.drain(..self.at);
        self.at = 0;
        loop {
            let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
            let mut answer = httparse::Response::new(&mut lines);
            match answer.parse(&self.buffer) {
                Ok(httparse::Status::Complete(len)) => {
                    let headers = answer.headers.iter().map(|h| {
                        let value = String::from_utf8_lossy(h.value).into_owned();
                        (h.name.to_ascii_lowercase(), value)
                    });
                    let head = Head {
                        status: answer.code.unwrap_or(0),
                        headers: headers.collect(),
                    };
                    // HTTP/1.0 closes unless it says otherwise, HTTP/1.1 the other way round.
                    let connection = head.get("connection").unwrap_or("").to_ascii_lowercase();
                    self.keeps_alive = match answer.version {
                        Some(1) => !connection.contains("close"),
                        _ => connection.contains("keep-alive"),
                    };
                    self.at = len;
                    return Ok(head);
                }
                Ok(httparse::Status::Partial) if self.buffer.len() < HEAD => {}
                Ok(httparse::Status::Partial) => {
                    return Err(self.not_http("its head is longer than 16 KiB"));
                }
                Err(e) => return Err(self.not_http(&e.to_string())),
            }
            let filled = self.buffer.len();
            self.buffer.resize(HEAD, 0);
            let limit = self.limit;
            let got = limit.before_read(self.stream.socket()).and_then(|()| {
                match self.stream.read(&mut self.buffer[filled..]) {
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock && limit.is_over() => {
                        Err(too_long())
                    }
                    other => other.map_err(|e| Failure::io("wait for the answer", &e)),
                }
            });
            self.buffer.truncate(filled + *got.as_ref().unwrap_or(&0));
            if got? == 0 {
                self.keeps_alive = false;
                return Err(Failure::new(
                    Class::Reset,
                    "the server closed the connection instead of answering",
                ));
            }
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

    fn begin_body(&mut self, head: &Head, has_body: bool) -> Result<(), Failure> {
        let is_chunked = head
            .get("transfer-encoding")
            .is_some_and(|v| v.to_ascii_lowercase().contains("chunked"));
        self.body = if !has_body || matches!(head.status, 204 | 304) {
            Body::Done
        } else if is_chunked {
            Body::Chunked {
                left: 0,
                is_first: true,
            }
        } else if let Some(len) = head.get("content-length") {
            match len.trim().parse() {
                Ok(0) => Body::Done,
                Ok(len) => Body::Sized(len),
                Err(_) => return Err(self.not_http("its Content-Length is no number")),
            }
        } else {
            self.keeps_alive = false;
            Body::UntilClose
        };
        Ok(())
    }

    /// Bytes of the body that are still to come, where it has a length.
    pub fn body_left(&self) -> Option<u64> {
        match self.body {
            Body::Done => Some(0),
            Body::Sized(left) => Some(left),
            Body::Chunked { .. } | Body::UntilClose => None,
        }
    }

    /// Reads the next bytes of the body: `into` is filled unless the body ends first. 0: the end.
    ///
    /// Errors: [`Class::Truncated`] when the connection ends before the body.
    pub fn read_body(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        match self.body {
            Body::Done => Ok(0),
            Body::Sized(left) => {
                let want = usize::try_from(left).map_or(into.len(), |l| l.min(into.len()));
                let got = self.take_bytes(&mut into[..want])?;
                if got < want {
                    self.keeps_alive = false;
                    self.body = Body::Done;
                    return Err(Failure::new(
                        Class::Truncated,
                        format!(
                            "the connection ended {} bytes before the body's announced end",
                            left - got as u64
                        ),
                    ));
                }
                self.body = match left - got as u64 {
                    0 => Body::Done,
                    left => Body::Sized(left),
                };
                Ok(got)
            }
            Body::Chunked { left, is_first } => self.read_chunked(left, is_first, into),
            Body::UntilClose => {
                let got = self.take_bytes(into)?;
                if got == 0 {
                    self.body = Body::Done;
                }
                Ok(got)
            }
        }
    }

    fn read_chunked(
        &mut self,
        mut left: u64,
        is_first: bool,
        into: &mut [u8],
    ) -> Result<usize, Failure> {
        if left == 0 {
            if !is_first {
                self.line()?;
            }
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or("").trim();
            left = u64::from_str_radix(size, 16)
                .map_err(|_| self.not_http("a chunk has no length"))?;
            if left == 0 {
                // Trailers end with an empty line.
                while !self.line()?.is_empty() {}
                self.body = Body::Done;
                return Ok(0);
            }
        }
        let want = usize::try_from(left).map_or(into.len(), |l| l.min(into.len()));
        let got = self.take_bytes(&mut into[..want])?;
        if got < want {
            self.keeps_alive = false;
            return Err(Failure::new(
                Class::Truncated,
                "the connection ended inside the body",
            ));
        }
        self.body = Body::Chunked {
            left: left - got as u64,
            is_first: false,
        };
        Ok(got)
    }

    fn line(&mut self) -> Result<String, Failure> {
        let mut line = Vec::new();
        let mut byte = [0];
        while line.last() != Some(&b'\n') {
            if line.len() > HEAD || self.take_bytes(&mut byte)? == 0 {
                self.keeps_alive = false;
                return Err(Failure::new(
                    Class::Truncated,
                    "the connection ended inside the body",
                ));
            }
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_string())
    }

    /// What was received behind the head first, then from the stream.
    fn take_bytes(&mut self, into: &mut [u8]) -> Result<usize, Failure> {
        let kept = (self.buffer.len() - self.at).min(into.len());
        into[..kept].copy_from_slice(&self.buffer[self.at..self.at + kept]);
        self.at += kept;
        let more = self.stream.read_full(&mut into[kept..], &self.limit);
        self.keeps_alive &= more.is_ok();
        Ok(kept + more?)
    }

    /// Reads the rest of the body; an answer beyond `limit` bytes is an error.
    pub fn read_rest(&mut self, limit: usize) -> Result<Vec<u8>, Failure> {
        let mut all = Vec::new();
        let mut filled = 0;
        loop {
            let step = match self.body_left() {
                Some(left) => usize::try_from(left).unwrap_or(usize::MAX),
                None => HEAD,
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
