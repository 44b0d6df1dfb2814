//! A socket with or without TLS, read and written by the thread or task that waits for it.

use std::io::{self, BufReader, IoSlice, Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use super::failure::{Class, Failure};
use super::wait::Socket;

/// A TLS record is at most 16 KiB; many are fetched, and sent, with one system call.
pub(super) const TLS_BUFFER: usize = 256 << 10;

/// A socket whose reads are bundled and whose writes never wait.
pub(super) struct Bundled(BufReader<Socket>);

impl Bundled {
    pub(super) fn new(socket: Socket) -> Self {
        Bundled(BufReader::with_capacity(TLS_BUFFER, socket))
    }

    fn socket(&self) -> &Socket {
        self.0.get_ref()
    }

    pub(super) fn socket_mut(&mut self) -> &mut Socket {
        self.0.get_mut()
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
    Plain(Socket),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, Bundled>>),
}

/// How far a request got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sent {
    Whole,
    /// The peer answered, or closed, before it took all of it: the connection cannot be used again.
    Cut,
}

/// How long an exchange may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limit {
    /// Without a byte.
    pub(super) read: Duration,
    /// When the whole exchange must be over.
    pub(super) deadline: Option<Instant>,
}

impl Limit {
    fn is_over(&self) -> bool {
        self.deadline.is_some_and(|end| Instant::now() >= end)
    }

    /// What the next call may wait.
    fn wait(&self) -> Result<Duration, Failure> {
        let Some(end) = self.deadline else {
            return Ok(self.read);
        };
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(too_long());
        }
        Ok(left.min(self.read))
    }

    /// Where there is a deadline, the next read call waits no longer than until then.
    fn before_read(&self, socket: &mut Socket) -> Result<(), Failure> {
        if self.deadline.is_some() {
            socket.wait_at_most(self.wait()?);
        }
        Ok(())
    }

    fn failure(&self, doing: &str, error: &io::Error) -> Failure {
        // The call's own limit was the rest of the request's.
        if error.kind() == io::ErrorKind::WouldBlock && self.is_over() {
            return too_long();
        }
        Failure::io(doing, error)
    }
}

fn too_long() -> Failure {
    Failure::new(
        Class::Timeout,
        "the request took longer than request_timeout",
    )
}

impl Stream {
    /// Reads what there is, at most `into`; 0: the peer closed.
    pub(super) fn read_some(&mut self, into: &mut [u8], limit: &Limit) -> Result<usize, Failure> {
        loop {
            limit.before_read(self.socket_mut())?;
            let got = match self {
                Stream::Plain(socket) => socket.read(into),
                Stream::Tls(tls) => tls.read(into),
            };
            match got {
                Ok(got) => return Ok(got),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // The peer closed without TLS's farewell.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
                Err(e) => return Err(limit.failure("wait for the answer", &e)),
            }
        }
    }

    /// Reads until `into` is full, the peer closes, or a time limit passes.
    pub(super) fn read_full(&mut self, into: &mut [u8], limit: &Limit) -> Result<usize, Failure> {
        let mut filled = 0;
        while filled < into.len() {
            limit.before_read(self.socket_mut())?;
            let rest = &mut into[filled..];
            let got = match self {
                Stream::Plain(socket) => socket.receive_all(rest),
                Stream::Tls(tls) => tls.read(rest),
            };
            match got {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(limit.failure("receive the body", &e)),
            }
        }
        Ok(filled)
    }

    /// Sends all of it, unless the peer answers while it takes no more.
    pub(super) fn send(
        &mut self,
        head: &[u8],
        body: &[&[u8]],
        limit: &Limit,
    ) -> Result<Sent, Failure> {
        let all = std::iter::once(head).chain(body.iter().copied());
        let mut all: Vec<IoSlice> = all.map(IoSlice::new).collect();
        match self {
            Stream::Plain(socket) => send_plain(socket, &mut all, limit),
            Stream::Tls(tls) => send_tls(tls, &mut all, limit),
        }
    }

    pub(super) fn socket(&self) -> &Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.sock.socket(),
        }
    }

    fn socket_mut(&mut self) -> &mut Socket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(tls) => tls.sock.socket_mut(),
        }
    }
}

/// IOV_MAX: the kernel takes no more slices in one call.
const MOST_SLICES: usize = 1024;

/// sendmsg(2) of what the socket's buffer takes at once.
fn send_now(socket: &Socket, parts: &[IoSlice]) -> io::Result<usize> {
    // SAFETY: all zeros is a message without an address, control data or flags.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // IoSlice has iovec's layout (std documents it); sendmsg only reads it.
    message.msg_iov = parts.as_ptr().cast_mut().cast();
    message.msg_iovlen = parts.len() as _;
    // SAFETY: the message names live slices; the descriptor is open.
    let sent = unsafe {
        libc::sendmsg(
            socket.as_raw_fd(),
            &raw const message,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Waits until a socket takes more. False: something came from the peer meanwhile, where `watches`.
fn wait_writable(socket: &Socket, watches: bool, limit: &Limit) -> Result<bool, Failure> {
    let input = if watches { libc::POLLIN } else { 0 };
    loop {
        match socket.ready(libc::POLLOUT | input, limit.wait()?) {
            Ok(0) => break,
            Ok(found) => return Ok(found & libc::POLLOUT != 0 && found & input == 0),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(Failure::io("send the request", &e)),
        }
    }
    let error = io::Error::from(io::ErrorKind::WouldBlock);
    Err(match limit.failure("send the request", &error) {
        failure if failure.message.contains("request_timeout") => failure,
        failure => Failure {
            message: "send the request: the server took no byte within read_timeout".into(),
            ..failure
        },
    })
}

/// True when what waits to be read is an interim answer (1xx), which ends nothing.
fn is_interim(socket: &Socket) -> bool {
    let mut start = [0; 10];
    matches!(socket.tcp().peek(&mut start), Ok(10) if start.starts_with(b"HTTP/1.") && start[9] == b'1')
}

fn send_plain(socket: &Socket, mut left: &mut [IoSlice], limit: &Limit) -> Result<Sent, Failure> {
    let mut watches = true;
    // What is empty is nothing to send.
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        match send_now(socket, &left[..left.len().min(MOST_SLICES)]) {
            Ok(n) => IoSlice::advance_slices(&mut left, n),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                if !wait_writable(socket, watches, limit)? {
                    if !is_interim(socket) {
                        return Ok(Sent::Cut);
                    }
                    watches = false;
                }
            }
            Err(e) => return Err(Failure::io("send the request", &e)),
        }
    }
    Ok(Sent::Whole)
}

type Tls = rustls::StreamOwned<rustls::ClientConnection, Bundled>;

/// A socket whose writes never wait.
struct Now<'a>(&'a Socket);

impl Write for Now<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        send_now(self.0, &[IoSlice::new(bytes)])
    }
    /// All records of the session's buffer with one system call.
    fn write_vectored(&mut self, parts: &[IoSlice]) -> io::Result<usize> {
        send_now(self.0, parts)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// rustls looks at all slices for each record.
const TLS_SLICES: usize = 16;

/// What one call encrypts, one call sends.
fn send_tls(tls: &mut Tls, mut left: &mut [IoSlice], limit: &Limit) -> Result<Sent, Failure> {
    IoSlice::advance_slices(&mut left, 0);
    while !left.is_empty() {
        let some = &left[..left.len().min(TLS_SLICES)];
        let taken = tls.conn.writer().write_vectored(some);
        let taken = taken.map_err(|e| Failure::io("send the request", &e))?;
        IoSlice::advance_slices(&mut left, taken);
        // The session's buffer is full, or this was all.
        if flush_tls(tls, limit)? == Sent::Cut {
            return Ok(Sent::Cut);
        }
    }
    Ok(Sent::Whole)
}

fn flush_tls(tls: &mut Tls, limit: &Limit) -> Result<Sent, Failure> {
    let failed = |e: io::Error| Failure::io("send the request", &e);
    while tls.conn.wants_write() {
        match tls.conn.write_tls(&mut Now(tls.sock.socket())) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                if wait_writable(tls.sock.socket(), true, limit)? {
                    continue;
                }
                // An answer, or a record of TLS itself.
                let got = tls.conn.read_tls(&mut tls.sock).map_err(failed)?;
                let state = tls
                    .conn
                    .process_new_packets()
                    .map_err(|e| failed(io::Error::other(e)))?;
                if got == 0 || state.plaintext_bytes_to_read() > 0 {
                    return Ok(Sent::Cut);
                }
            }
            Err(e) => return Err(failed(e)),
        }
    }
    Ok(Sent::Whole)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn more_pieces_than_one_call_takes_arrive_in_order() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let read = Duration::from_secs(60);
        let mut stream = Stream::Plain(Socket::new(ours, read));
        let mut peer = listener.accept().unwrap().0;
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|i| (i % 251) as u8).collect();
        let mut pieces: Vec<&[u8]> = bytes.chunks(1999).collect();
        assert!(pieces.len() > 2 * MOST_SLICES);
        pieces.insert(0, &[]);
        pieces.insert(700, &[]);
        let taken = std::thread::spawn(move || {
            let mut all = Vec::new();
            peer.read_to_end(&mut all).unwrap();
            all
        });
        let limit = Limit {
            read,
            deadline: None,
        };
        let sent = stream.send(b"head", &pieces, &limit).unwrap();
        assert_eq!(sent, Sent::Whole);
        assert_eq!(stream.send(b"", &[], &limit).unwrap(), Sent::Whole);
        drop(stream);
        assert!(taken.join().unwrap() == [&b"head"[..], &bytes].concat());
    }
}
