//! How the native client waits: in calls that block its thread, or, for a task, through the ring of its thread.
//!
//! Nothing else of the client waits for a socket, a time or a lock that is held meanwhile, so that any number of requests can be
//! in flight on one thread.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::Duration;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrLike, SockaddrStorage, socket};
use parking_lot::{Condvar, MutexGuard};

use crate::clock::now_ns;
use crate::storage::ring;

/// Does what may block otherwise: name services, and what the SDKs wait for.
pub(super) use crate::storage::ring::aside;

/// Asks the ring of this thread; None: it was given up at this time of [`now_ns`].
///
/// # Safety
/// As for [`ring::call`].
///
/// Errors: the call's own.
unsafe fn ask(entry: squeue::Entry, until_ns: u64) -> io::Result<Option<i32>> {
    // SAFETY: the caller's promise.
    match unsafe { ring::call(entry, until_ns) } {
        Ok(done) => Ok(Some(done)),
        Err(e) if e.raw_os_error() == Some(libc::ECANCELED) => Ok(None),
        Err(e) => Err(e),
    }
}

fn end_of(limit: Duration) -> u64 {
    now_ns().saturating_add(limit.as_nanos() as u64)
}

/// A connected socket, and how long a call waits for bytes.
pub(super) struct Socket {
    tcp: TcpStream,
    limit: Duration,
    /// What the kernel knows of it.
    set: Option<Duration>,
    /// What came behind bytes that were received.
    broken: Option<io::Error>,
}

impl Socket {
    /// A call for bytes waits at most so long.
    pub(super) fn new(tcp: TcpStream, limit: Duration) -> Self {
        Socket {
            tcp,
            limit,
            set: None,
            broken: None,
        }
    }

    /// From now on a call for bytes waits at most so long.
    pub(super) fn wait_at_most(&mut self, limit: Duration) {
        self.limit = limit;
    }

    pub(super) fn tcp(&self) -> &TcpStream {
        &self.tcp
    }

    /// Receives what there is, at least a byte; 0: the peer closed.
    ///
    /// Errors: the kernel's; [`io::ErrorKind::WouldBlock`]: no byte came in time.
    pub(super) fn receive(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match ring::is_task() {
            true => self.receive_as_task(into, false),
            false => self.receive_as_thread(into, 0),
        }
    }

    /// The same, and waits until `into` is full: less only where the peer closed or time is up.
    pub(super) fn receive_all(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match ring::is_task() {
            true => self.receive_as_task(into, true),
            // The kernel fills it with one call in place of one for each segment.
            false => self.receive_as_thread(into, libc::MSG_WAITALL),
        }
    }

    fn receive_as_thread(&mut self, into: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        if self.set != Some(self.limit) {
            self.tcp.set_read_timeout(Some(self.limit))?;
            self.set = Some(self.limit);
        }
        self.receive_now(into, flags)
    }

    /// Takes what is there, and only waits through the ring: IORING_OP_RECV, which waits as well, costs more
    /// (docs/decisions.md).
    fn receive_as_task(&mut self, into: &mut [u8], fills: bool) -> io::Result<usize> {
        if let Some(error) = self.broken.take() {
            return Err(error);
        }
        let (mut filled, mut until_ns) = (0, None);
        loop {
            ring::give_way();
            match self.receive_now(&mut into[filled..], libc::MSG_DONTWAIT) {
                Ok(0) => return Ok(filled),
                Ok(got) => filled += got,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    let until_ns = *until_ns.get_or_insert_with(|| end_of(self.limit));
                    if self.ready_until(libc::POLLIN, until_ns)? == 0 {
                        return if filled > 0 { Ok(filled) } else { Err(e) };
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if filled > 0 => {
                    self.broken = Some(e);
                    return Ok(filled);
                }
                Err(e) => return Err(e),
            }
            if filled == into.len() || (filled > 0 && !fills) {
                return Ok(filled);
            }
        }
    }

    /// recv(2)
    fn receive_now(&self, into: &mut [u8], flags: libc::c_int) -> io::Result<usize> {
        let (start, len) = (into.as_mut_ptr().cast(), into.len());
        // SAFETY: the pointer and the length are those of `into`, which lives through the call.
        let got = unsafe { libc::recv(self.as_raw_fd(), start, len, flags) };
        usize::try_from(got).map_err(|_| io::Error::last_os_error())
    }

    /// poll(2): which of these events there are; 0: none came in time.
    ///
    /// Errors: the kernel's.
    pub(super) fn ready(
        &self,
        events: libc::c_short,
        limit: Duration,
    ) -> io::Result<libc::c_short> {
        if ring::is_task() {
            return self.ready_until(events, end_of(limit));
        }
        let mut poll = libc::pollfd {
            fd: self.as_raw_fd(),
            events,
            revents: 0,
        };
        let wait = limit.as_millis().clamp(1, 1 << 30) as libc::c_int;
        // SAFETY: one pollfd of our own.
        match unsafe { libc::poll(&raw mut poll, 1, wait) } {
            -1 => Err(io::Error::last_os_error()),
            _ => Ok(poll.revents),
        }
    }

    fn ready_until(&self, events: libc::c_short, until_ns: u64) -> io::Result<libc::c_short> {
        let entry = opcode::PollAdd::new(Fd(self.as_raw_fd()), events as u32).build();
        // SAFETY: the entry names no memory, and the socket is open until the call has ended.
        let found = unsafe { ask(entry, until_ns) }?;
        Ok(found.unwrap_or(0) as libc::c_short)
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.tcp.as_raw_fd()
    }
}

impl Read for Socket {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.receive(into)
    }
}

/// What is written fits into the socket's buffer: heads of requests, and TLS's own words.
impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.tcp.write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection to an address.
///
/// Errors: the kernel's; [`io::ErrorKind::TimedOut`]: it was not there in time.
pub(super) fn connect(address: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    if !ring::is_task() {
        return TcpStream::connect_timeout(&address, limit);
    }
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let socket: OwnedFd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let to = SockaddrStorage::from(address);
    let entry = opcode::Connect::new(Fd(socket.as_raw_fd()), to.as_ptr().cast(), to.len()).build();
    // SAFETY: the address lives through the call, and so does the socket.
    match unsafe { ask(entry, end_of(limit)) }? {
        Some(_) => Ok(socket.into()),
        None => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// Waits until the bell rings; may return early.
pub(super) fn for_bell<T>(bell: &Condvar, guard: &mut MutexGuard<'_, T>) {
    /// Another task may have to ring it, on this very thread.
    const LOOK_AGAIN_NS: u64 = 200_000;
    match ring::is_task() {
        true => MutexGuard::unlocked(guard, || ring::pause_until(now_ns() + LOOK_AGAIN_NS)),
        false => bell.wait(guard),
    }
}

/// Pauses.
pub(super) fn pause(length: Duration) {
    match ring::is_task() {
        true => ring::pause_until(end_of(length)),
        false => std::thread::sleep(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::sync::Arc;

    use crate::storage::ring::run_tasks;

    const SHORT: Duration = Duration::from_millis(50);

    /// As a thread, and as a task.
    fn both(body: impl Fn() + Clone + 'static) {
        body();
        run_tasks(vec![Box::new(body)]).unwrap();
    }

    /// Our end of a connection, and the peer's.
    fn pair() -> (Socket, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = connect(listener.local_addr().unwrap(), Duration::from_secs(60)).unwrap();
        (Socket::new(ours, SHORT), listener.accept().unwrap().0)
    }

    /// The peer ends it with a reset.
    fn reset(peer: TcpStream) {
        let linger = libc::linger {
            l_onoff: 1,
            l_linger: 0,
        };
        // SAFETY: the descriptor is open and the value is of our own.
        unsafe {
            libc::setsockopt(
                peer.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_LINGER,
                (&raw const linger).cast(),
                size_of_val(&linger) as libc::socklen_t,
            )
        };
    }

    #[test]
    fn a_silent_peer_costs_the_limit_and_what_came_before_it_is_there() {
        both(|| {
            let (mut socket, mut peer) = pair();
            let mut into = [0; 8];
            let silent = socket.receive_all(&mut into).unwrap_err();
            assert_eq!(silent.kind(), io::ErrorKind::WouldBlock);
            peer.write_all(b"abc").unwrap();
            assert_eq!(socket.receive_all(&mut into).unwrap(), 3);
            assert_eq!(&into[..3], b"abc");
            socket.wait_at_most(Duration::from_secs(60));
            peer.write_all(b"12345678").unwrap();
            assert_eq!(socket.receive_all(&mut into).unwrap(), 8);
            drop(peer);
            assert_eq!(socket.receive(&mut into).unwrap(), 0);
        });
    }

    #[test]
    fn a_reset_is_one_also_behind_a_part_of_what_was_asked_for() {
        both(|| {
            let (mut socket, mut peer) = pair();
            socket.wait_at_most(Duration::from_secs(60));
            peer.write_all(b"abc").unwrap();
            let breaks = std::thread::spawn(move || {
                std::thread::sleep(SHORT);
                reset(peer);
            });
            let mut into = [0; 8];
            assert_eq!(socket.receive_all(&mut into).unwrap(), 3);
            breaks.join().unwrap();
            let broken = socket.receive_all(&mut into).unwrap_err();
            assert_eq!(broken.kind(), io::ErrorKind::ConnectionReset);
        });
    }

    #[test]
    fn a_full_socket_is_waited_for_and_no_longer_than_the_limit() {
        both(|| {
            let (socket, mut peer) = pair();
            assert_eq!(socket.ready(libc::POLLIN, SHORT).unwrap(), 0);
            let found = socket.ready(libc::POLLIN | libc::POLLOUT, SHORT).unwrap();
            assert_eq!(found, libc::POLLOUT);
            peer.write_all(b"x").unwrap();
            let found = socket.ready(libc::POLLIN, Duration::from_secs(60)).unwrap();
            assert_eq!(found, libc::POLLIN);
        });
    }

    #[test]
    fn connections_are_refused_and_given_up_in_words_of_the_same_kind() {
        both(|| {
            let closed = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = closed.local_addr().unwrap();
            drop(closed);
            let refused = connect(address, Duration::from_secs(60)).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            // Nobody accepts: the queue of the listener is full, and the next is not answered.
            let full = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = full.local_addr().unwrap();
            let mut kept = Vec::new();
            let late = loop {
                match connect(address, SHORT) {
                    Ok(socket) => kept.push(socket),
                    Err(e) => break e,
                }
            };
            assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        });
    }

    /// More tasks of one thread than places: who has one waits for its connection meanwhile.
    #[test]
    fn tasks_of_one_thread_wait_for_what_others_of_them_hold() {
        let free = Arc::new((parking_lot::Mutex::new(1), Condvar::new()));
        let kept = Arc::new(parking_lot::Mutex::new(0));
        let body = {
            let (free, kept) = (free.clone(), kept.clone());
            move || {
                let mut left = free.0.lock();
                while *left == 0 {
                    for_bell(&free.1, &mut left);
                }
                *left -= 1;
                drop(left);
                pause(Duration::from_millis(1));
                let mut sum = ring::lock(&kept);
                aside(|| std::thread::sleep(Duration::from_millis(1)));
                *sum += 1;
                drop(sum);
                *free.0.lock() += 1;
                free.1.notify_one();
            }
        };
        run_tasks(
            (0..9)
                .map(|_| Box::new(body.clone()) as Box<dyn FnOnce()>)
                .collect(),
        )
        .unwrap();
        assert_eq!(*kept.lock(), 9);
    }
}
