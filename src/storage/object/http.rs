//! Hosts, their idle connections, and whole exchanges with small answers.

use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use super::connection::{Bundled, Connection, Head, Stream};
use super::failure::{Class, Failure};
use super::url::Url;

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
const MAX_ANSWER: usize = 16 << 20;

/// What making connections cost. Units: counts and nanoseconds.
#[derive(Debug, Default)]
pub struct ConnectionCounters {
    /// Connections made.
    pub made: AtomicU64,
    /// Requests that went over a connection that was there.
    pub reused: AtomicU64,
    /// Looking names up.
    pub dns_ns: AtomicU64,
    /// TCP handshakes.
    pub connect_ns: AtomicU64,
    /// TLS handshakes made.
    pub tls_made: AtomicU64,
    /// TLS handshakes.
    pub tls_ns: AtomicU64,
}

/// A server by scheme, name and port, with its idle connections.
pub struct Host {
    /// Scheme, name, port.
    pub url: Url,
    /// The Host header.
    pub authority: String,
    idle: Mutex<Vec<Connection>>,
    turn: AtomicUsize,
}

/// An answer with its whole body.
#[derive(Debug, Clone)]
pub struct Answered {
    /// Status and headers.
    pub head: Head,
    /// Body.
    pub body: Vec<u8>,
}

/// All connections of this rank.
pub struct Http {
    tls: Arc<ClientConfig>,
    limits: Limits,
    hosts: Mutex<HashMap<Url, Arc<Host>>>,
    /// Counters.
    pub counters: ConnectionCounters,
    ramp: Ramp,
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

impl Http {
    /// No connection is made yet. `ramp`: connections made at the same time.
    pub fn new(tls: Arc<ClientConfig>, limits: Limits, ramp: usize) -> Self {
        Http {
            tls,
            limits,
            hosts: Mutex::default(),
            counters: ConnectionCounters::default(),
            ramp: Ramp {
                free: Mutex::new(ramp.max(1)),
                bell: Condvar::new(),
            },
        }
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
                    idle: Mutex::default(),
                    turn: AtomicUsize::new(0),
                })
            })
            .clone()
    }

    /// When an attempt that begins now must be over.
    pub fn deadline(&self) -> Option<Instant> {
        self.limits.request.map(|limit| Instant::now() + limit)
    }

    /// A connection: one that is idle, or a new one.
    ///
    /// True: it was idle, and the server may have closed it at this very moment.
    pub fn open(&self, host: &Arc<Host>) -> Result<(Connection, bool), Failure> {
        loop {
            let idle = host.idle.lock().pop();
            match idle {
                Some(connection) if connection.is_quiet() => {
                    self.counters.reused.fetch_add(1, Relaxed);
                    return Ok((connection, true));
                }
                Some(_) => {}
                None => return Ok((self.open_new(host)?, false)),
            }
        }
    }

    /// Keeps a connection whose answer was read to its end; drops any other.
    pub fn put_back(&self, connection: Connection) {
        if connection.is_reusable() {
            let host = connection.host().clone();
            host.idle.lock().push(connection);
        }
    }

    /// One request with its whole answer, over one connection. No retries.
    pub fn exchange(
        &self,
        host: &Arc<Host>,
        head: &[u8],
        body: &[u8],
        has_body: bool,
    ) -> Result<Answered, Failure> {
        let (mut connection, was_reused) = self.open(host)?;
        let mut received = self.send_and_wait(&mut connection, head, body, has_body);
        if was_reused && matches!(&received, Err(failure) if failure.class == Class::Reset) {
            // The server closed an idle connection at this very moment: no failure of the request.
            connection = self.open_new(host)?;
            received = self.send_and_wait(&mut connection, head, body, has_body);
        }
        let head = received?;
        let body = connection.read_rest(MAX_ANSWER)?;
        self.put_back(connection);
        Ok(Answered { head, body })
    }

    fn send_and_wait(
        &self,
        connection: &mut Connection,
        head: &[u8],
        body: &[u8],
        has_body: bool,
    ) -> Result<Head, Failure> {
        let sent = connection.send(head, body, self.deadline());
        // A server that refuses an upload answers and closes before it has read everything: the answer says why.
        match (sent, connection.receive_head(has_body)) {
            (_, Ok(head)) => Ok(head),
            (Err(failure), Err(_)) | (Ok(()), Err(failure)) => Err(failure),
        }
    }

    /// A new connection.
    pub fn open_new(&self, host: &Arc<Host>) -> Result<Connection, Failure> {
        let _place = self.ramp.enter();
        let url = &host.url;
        let refuse = |what: String| {
            Failure::new(
                Class::Connect,
                format!("connect to {}: {what}", host.authority),
            )
        };
        let start = Instant::now();
        let addresses: Vec<SocketAddr> = (url.host.as_str(), url.port)
            .to_socket_addrs()
            .map_err(|e| refuse(format!("the name cannot be resolved: {e}")))?
            .collect();
        let resolved = Instant::now();
        add(&self.counters.dns_ns, resolved - start);
        let mut failure = refuse("the name has no address".into());
        // Connections are spread over all addresses of the name.
        let first = host.turn.fetch_add(1, Relaxed);
        for step in 0..addresses.len() {
            let address = addresses[(first + step) % addresses.len()];
            match TcpStream::connect_timeout(&address, self.limits.connect) {
                Ok(socket) => {
                    let connected = Instant::now();
                    add(&self.counters.connect_ns, connected - resolved);
                    self.counters.made.fetch_add(1, Relaxed);
                    let stream = self
                        .set_up(socket, url)
                        .map_err(|e| tls_failure(host, &e))?;
                    if url.is_tls {
                        add(&self.counters.tls_ns, connected.elapsed());
                        self.counters.tls_made.fetch_add(1, Relaxed);
                    }
                    return Ok(Connection::new(host.clone(), stream, self.limits.read));
                }
                Err(e) if e.kind() == io::ErrorKind::TimedOut => {
                    failure = refuse(format!(
                        "no answer within connect_timeout ({} s)",
                        self.limits.connect.as_secs_f64()
                    ));
                }
                Err(e) => failure = refuse(e.to_string()),
            }
        }
        Err(failure)
    }

    fn set_up(&self, socket: TcpStream, url: &Url) -> io::Result<Stream> {
        socket.set_nodelay(true)?;
        socket.set_write_timeout(Some(self.limits.read))?;
        if !url.is_tls {
            socket.set_read_timeout(Some(self.limits.read))?;
            return Ok(Stream::Plain(socket));
        }
        socket.set_read_timeout(Some(self.limits.connect))?;
        let name = ServerName::try_from(url.host.clone()).map_err(io::Error::other)?;
        let session =
            rustls::ClientConnection::new(self.tls.clone(), name).map_err(io::Error::other)?;
        let mut stream = rustls::StreamOwned::new(session, Bundled::new(socket));
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        stream
            .sock
            .socket()
            .set_read_timeout(Some(self.limits.read))?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

fn tls_failure(host: &Host, error: &io::Error) -> Failure {
    let inner = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<rustls::Error>());
    let (class, cause) = match inner {
        Some(rustls::Error::InvalidCertificate(why)) => (
            Class::Permanent,
            format!("its certificate is not trusted: {why:?}"),
        ),
        Some(other) => (Class::Permanent, other.to_string()),
        None if error.kind() == io::ErrorKind::WouldBlock => (
            Class::Connect,
            "no TLS handshake within connect_timeout".into(),
        ),
        None => (Class::Connect, error.to_string()),
    };
    Failure::new(
        class,
        format!("make a TLS connection to {}: {cause}", host.authority),
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
            self.bell.wait(&mut free);
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
