//! Hosts, their idle connections, and whole exchanges with small answers.

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::connection::{Connection, Host};
use super::failure::{Class, Failure, Result};
use super::head::{self, Head, LONGEST};
use super::proxy::{Proxies, Proxy, connect_head};
use super::stream::{Bundled, Stream, TLS_BUFFER};
use super::tls;
use super::url::Url;
use super::wait::{self, Socket};
use crate::storage::telemetry::AddressTelemetry;

/// Time limits of a request.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a connection, TLS included.
    pub connect: Duration,
    /// Without a byte.
    pub read: Duration,
    /// For one attempt as a whole; None: no limit.
    pub request: Option<Duration>,
}

/// Answers of lists and errors are small; this is far above S3's largest (a list of 1,000 keys of 1,024 bytes).
pub(super) const MAX_ANSWER: usize = 16 << 20;

/// A connection that was idle for so long is not used again: firewalls and servers forget it, some without a word.
pub(super) const IDLE: Duration = Duration::from_secs(60);

/// What connections cost, beside making them. Units: counts and nanoseconds.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    /// Requests that went over a connection that was there.
    pub reused: AtomicU64,
    /// Looking names up.
    pub dns_ns: AtomicU64,
    /// TLS handshakes made.
    pub tls_made: AtomicU64,
    /// TLS handshakes.
    pub tls_ns: AtomicU64,
}

/// An answer with its whole body.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Status and headers.
    pub head: Head,
    pub body: Vec<u8>,
}

impl Answered {
    /// The length that the answer to a HEAD announces.
    pub fn announced_len(&self) -> Result<u64> {
        let len = self.head.content_length();
        let len = len
            .map_err(|what| Failure::new(Class::Permanent, format!("the answer is odd: {what}")))?;
        len.ok_or_else(|| {
            Failure::new(
                Class::Permanent,
                "the answer does not say how long the object is",
            )
        })
    }
}

/// All connections of this rank.
pub struct Http {
    tls: Arc<ClientConfig>,
    proxies: Proxies,
    limits: Limits,
    hosts: Mutex<HashMap<Url, Arc<Host>>>,
    pub counters: ConnectionCounters,
    ramp: Ramp,
    notes: Mutex<BTreeSet<&'static str>>,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// No connection is made yet. `ramp`: connections made at the same time.
    pub(super) fn new(
        tls: Arc<ClientConfig>,
        proxies: Proxies,
        limits: Limits,
        ramp: usize,
    ) -> Self {
        Http {
            tls,
            proxies,
            limits,
            hosts: Mutex::default(),
            counters: ConnectionCounters::default(),
            ramp: Ramp {
                free: Mutex::new(ramp.max(1)),
                bell: Condvar::new(),
            },
            notes: Mutex::default(),
        }
    }

    /// Time limits of a request.
    #[cfg(feature = "sdk")]
    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whom to trust.
    #[cfg(feature = "sdk")]
    pub(super) fn tls(&self) -> &Arc<ClientConfig> {
        &self.tls
    }

    /// True when a proxy stands before this address.
    pub(super) fn has_proxy(&self, url: &Url) -> bool {
        self.proxies.of(url).is_some()
    }

    /// Keeps what the report is to warn of; each text once.
    pub fn note(&self, what: &'static str) {
        self.notes.lock().insert(what);
    }

    /// What was kept.
    pub fn notes(&self) -> Vec<String> {
        self.notes.lock().iter().map(ToString::to_string).collect()
    }

    /// The host of a URL; its path does not matter.
    pub fn host(&self, url: &Url) -> Arc<Host> {
        let url = Url {
            path: String::new(),
            ..url.clone()
        };
        let mut hosts = self.hosts.lock();
        hosts
            .entry(url.clone())
            .or_insert_with(|| {
                Arc::new(Host {
                    authority: url.authority(),
                    url,
                    addresses: Arc::default(),
                    idle: Mutex::default(),
                })
            })
            .clone()
    }

    /// Connections made, and the seconds of their handshakes.
    pub fn made(&self) -> (u64, f64) {
        let hosts = self.hosts.lock();
        hosts.values().fold((0, 0.0), |(n, s), host| {
            let (made, time) = host.addresses.totals();
            (n + made, s + time.as_secs_f64())
        })
    }

    /// How each address of each host fared.
    pub fn addresses(&self) -> Vec<AddressTelemetry> {
        let hosts = self.hosts.lock();
        let mut all: Vec<_> = hosts
            .values()
            .flat_map(|host| host.addresses.telemetry(&host.authority))
            .collect();
        all.sort_by(|a, b| (&a.host, &a.address).cmp(&(&b.host, &b.address)));
        all
    }

    /// When an attempt that begins now must be over.
    pub fn deadline(&self) -> Option<Instant> {
        self.limits.request.map(|limit| Instant::now() + limit)
    }

    /// A connection: one that is idle, or a new one.
    pub fn open(&self, host: &Arc<Host>) -> Result<Connection> {
        loop {
            let idle = host.idle.lock().pop();
            match idle {
                Some(connection) if connection.is_fresh(IDLE) && connection.is_address_up() => {
                    self.counters.reused.fetch_add(1, Relaxed);
                    return Ok(connection);
                }
                Some(_) => {}
                None => return self.open_new(host),
            }
        }
    }

    /// Keeps a connection whose answer was read to its end; drops any other.
    pub fn put_back(&self, mut connection: Connection) {
        connection.read_out();
        if connection.rest() {
            let host = connection.host().clone();
            host.idle.lock().push(connection);
        }
    }

    /// One request with its whole answer, over one connection. No retries. `body`: what it consists of, piece after piece.
    pub fn exchange(
        &self,
        host: &Arc<Host>,
        head: &[u8],
        body: &[&[u8]],
        has_body: bool,
    ) -> Result<Answered> {
        let mut connection = self.open(host)?;
        let answered = self.ask(&mut connection, head, body, has_body);
        match answered {
            Ok(answered) => {
                connection.succeeded();
                self.put_back(connection);
                Ok(answered)
            }
            Err(failure) => Err(connection.failed(failure)),
        }
    }

    fn ask(
        &self,
        connection: &mut Connection,
        head: &[u8],
        body: &[&[u8]],
        has_body: bool,
    ) -> Result<Answered> {
        let head = match connection.send(head, body, self.deadline()) {
            // What came before the connection broke says why.
            Err(failure) if failure.class == Class::Reset => {
                connection.receive_head(has_body).map_err(|_| failure)?
            }
            sent => {
                sent?;
                connection.receive_head(has_body)?
            }
        };
        let body = connection.read_rest(MAX_ANSWER)?;
        Ok(Answered { head, body })
    }

    fn open_new(&self, host: &Arc<Host>) -> Result<Connection> {
        let _place = self.ramp.enter();
        let url = &host.url;
        let proxy = self.proxies.of(url);
        let via = proxy.map_or_else(|| host.clone(), |proxy| self.host(&proxy.url));
        let refuse = |what: String| {
            let through = proxy.map_or(String::new(), |proxy| {
                format!(" through the proxy {}", proxy.url)
            });
            Failure::new(
                Class::Connect,
                format!("connect to {}{through}: {what}", host.authority),
            )
        };
        let start = Instant::now();
        let candidates = via
            .addresses
            .candidates(&via.url.host, via.url.port)
            .map_err(|e| refuse(format!("the name cannot be resolved: {e}")))?;
        add(&self.counters.dns_ns, start.elapsed());
        let (socket, address) = via
            .addresses
            .connect(&candidates, self.limits.connect)
            .map_err(|e| {
                refuse(match e.kind() {
                    io::ErrorKind::TimedOut => format!(
                        "no answer within connect_timeout ({} s)",
                        self.limits.connect.as_secs_f64()
                    ),
                    _ => e.to_string(),
                })
            })?;
        let mut socket = Socket::new(socket, self.limits.connect);
        if let Some(proxy) = proxy
            && url.is_tls
        {
            self.tunnel(&mut socket, proxy, url)
                .map_err(|failure| Failure {
                    message: refuse(failure.message.clone()).message,
                    ..failure
                })?;
        }
        let connected = Instant::now();
        let stream = self
            .set_up(socket, url)
            .map_err(|e| tls_failure(&host.authority, &e))?;
        if url.is_tls {
            add(&self.counters.tls_ns, connected.elapsed());
            self.counters.tls_made.fetch_add(1, Relaxed);
        }
        let mut connection = Connection::new(
            host.clone(),
            via.addresses.clone(),
            address,
            stream,
            self.limits.read,
        );
        connection.proxy = proxy.filter(|_| !url.is_tls).cloned();
        Ok(connection)
    }

    /// Asks a proxy for a tunnel to a host.
    fn tunnel(&self, socket: &mut Socket, proxy: &Proxy, url: &Url) -> Result<()> {
        let wrong = |e: &io::Error| Failure::io("ask for a tunnel", e);
        let head = connect_head(proxy, &url.host, url.port);
        let mut answer = Vec::new();
        socket
            .tcp()
            .set_write_timeout(Some(self.limits.connect))
            .and_then(|()| socket.write_all(head.as_bytes()))
            .map_err(|e| wrong(&e))?;
        // Byte by byte: what follows the head belongs to the server.
        while !answer.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            if answer.len() > LONGEST || socket.read(&mut byte).map_err(|e| wrong(&e))? == 0 {
                return Err(Failure::new(Class::Connect, "it closed the connection"));
            }
            answer.push(byte[0]);
        }
        let parsed = head::parse(&answer)
            .ok()
            .flatten()
            .ok_or_else(|| Failure::new(Class::Permanent, "it speaks no HTTP"))?;
        match parsed.head.status {
            200..300 => Ok(()),
            407 => Err(Failure {
                code: "ProxyAuthentication".into(),
                ..Failure::new(
                    Class::Permanent,
                    "it wants a user and a password (HTTP 407)",
                )
            }),
            status => Err(Failure {
                status: None,
                ..Failure::new(
                    if status >= 500 {
                        Class::Connect
                    } else {
                        Class::Permanent
                    },
                    format!("it refuses (HTTP {status})"),
                )
            }),
        }
    }

    fn set_up(&self, mut socket: Socket, url: &Url) -> io::Result<Stream> {
        socket.tcp().set_nodelay(true)?;
        keep_alive(&socket)?;
        socket.tcp().set_write_timeout(Some(self.limits.read))?;
        if !url.is_tls {
            socket.wait_at_most(self.limits.read);
            return Ok(Stream::Plain(socket));
        }
        let name = ServerName::try_from(url.host.clone()).map_err(io::Error::other)?;
        let mut session =
            rustls::ClientConnection::new(self.tls.clone(), name).map_err(io::Error::other)?;
        session.set_buffer_limit(Some(TLS_BUFFER));
        let mut stream = rustls::StreamOwned::new(session, Bundled::new(socket));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        stream.sock.socket_mut().wait_at_most(self.limits.read);
        Ok(Stream::Tls(Box::new(stream)))
    }
}

/// The kernel looks after a peer that has been silent for so many seconds, so often, and then gives it up.
const PROBES: [(libc::c_int, libc::c_int); 3] = [
    (libc::TCP_KEEPIDLE, 15),
    (libc::TCP_KEEPINTVL, 5),
    (libc::TCP_KEEPCNT, 3),
];

fn keep_alive(socket: &Socket) -> io::Result<()> {
    let probes = PROBES.map(|(name, value)| (libc::IPPROTO_TCP, name, value));
    for (level, name, value) in [(libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)]
        .into_iter()
        .chain(probes)
    {
        // SAFETY: the descriptor is open and the value is an int of our own.
        let status = unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                name,
                (&raw const value).cast(),
                size_of::<libc::c_int>() as libc::socklen_t,
            )
        };
        if status != 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

pub(super) fn tls_failure(authority: &str, error: &io::Error) -> Failure {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    let (class, cause) = match inner {
        Some(rustls::Error::InvalidCertificate(why)) => {
            return tls::refusal(authority, why);
        }
        Some(other) => (Class::Permanent, other.to_string()),
        None if error.kind() == io::ErrorKind::WouldBlock => (
            Class::Connect,
            "no TLS handshake within connect_timeout".into(),
        ),
        None => (Class::Connect, error.to_string()),
    };
    Failure::new(
        class,
        format!("make a TLS connection to {authority}: {cause}"),
    )
}

fn add(counter: &AtomicU64, time: Duration) {
    counter.fetch_add(time.as_nanos() as u64, Relaxed);
}

/// Lets a bounded number of threads make connections at once, so that a start is a ramp and no storm.
struct Ramp {
    free: Mutex<usize>,
    bell: Condvar,
}

impl Ramp {
    fn enter(&self) -> Place<'_> {
        let mut free = self.free.lock();
        while *free == 0 {
            wait::for_bell(&self.bell, &mut free);
        }
        *free -= 1;
        Place(self)
    }
}

struct Place<'a>(&'a Ramp);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.bell.notify_one();
    }
}

/// Connections of short limits, without a proxy.
#[cfg(test)]
pub(super) fn for_tests() -> Arc<Http> {
    let limits = Limits {
        connect: Duration::from_secs(1),
        read: Duration::from_secs(1),
        request: None,
    };
    let proxies = Proxies::new(&crate::storage::StorageOptions::default()).unwrap();
    let tls = tls::config(None, true).unwrap();
    Arc::new(Http::new(tls, proxies, limits, 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    fn option(socket: &Socket, level: libc::c_int, name: libc::c_int) -> libc::c_int {
        let (mut value, mut len) = (0, size_of::<libc::c_int>() as libc::socklen_t);
        // SAFETY: the descriptor is open; both pointers are to variables of our own.
        let status = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                level,
                name,
                (&raw mut value).cast(),
                &raw mut len,
            )
        };
        assert_eq!(status, 0);
        value
    }

    #[test]
    fn a_connection_is_probed_and_not_used_again_when_it_is_old_or_closed() {
        let server = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", server.local_addr().unwrap());
        let http = for_tests();
        let host = http.host(&Url::parse(&url, false).unwrap());
        let open = || (http.open(&host).unwrap(), server.accept().unwrap().0);
        let socket = TcpStream::connect(server.local_addr().unwrap()).unwrap();
        let socket = Socket::new(socket, Duration::from_secs(1));
        let stream = http.set_up(socket, &host.url).unwrap();
        let _other = server.accept().unwrap();
        let socket = stream.socket();
        assert_eq!(option(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
        assert_eq!(option(socket, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE), 15);

        let (mut connection, peer) = open();
        assert!(connection.rest() && connection.is_fresh(IDLE));
        std::thread::sleep(Duration::from_millis(2));
        assert!(!connection.is_fresh(Duration::from_millis(1)));
        http.put_back(connection);
        assert!(http.open(&host).unwrap().is_fresh(IDLE), "the same one");
        assert_eq!(http.counters.reused.load(Relaxed), 1);
        drop(peer);

        let (connection, peer) = open();
        drop(peer);
        http.put_back(connection);
        let (_connection, _peer) = open();
        assert_eq!(http.made().0, 3, "a closed one is not used");
        assert_eq!(http.counters.reused.load(Relaxed), 1);
    }
}
