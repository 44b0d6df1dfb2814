//! A proxy in front of an HTTP server that breaks chosen answers. One connection to the server per request.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What is done to one request.
#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Half of the body, then a TCP reset.
    Reset,
    /// Half of the body, then the end of the connection.
    Truncate,
    /// This status with this code in S3's XML, without asking the server.
    Status(u16, &'static str),
    /// Nothing for so long.
    Stall(Duration),
    /// The body in pieces of 8 KiB, this long apart.
    Slow(Duration),
    /// The same, 3 ms apart, but not before this many matching requests were under way at one time.
    Gather(u64),
}

struct Shared {
    upstream: AtomicU16,
    /// Faults for the next requests that match.
    faults: Mutex<Vec<Fault>>,
    /// Every matching request gets this one.
    always: Mutex<Option<Fault>>,
    /// Only requests whose line contains this are broken.
    matching: String,
    broken: AtomicU64,
    matched: AtomicU64,
    /// Matching requests under way, and the most that there were.
    under_way: AtomicU64,
    peak: AtomicU64,
    stop: AtomicBool,
}

/// The proxy; it ends when dropped.
pub struct FaultProxy {
    port: u16,
    shared: Arc<Shared>,
}

impl FaultProxy {
    /// Breaks requests whose request line contains `matching`: first `faults`, one each, then `always`.
    pub fn start(upstream: u16, matching: &str, faults: Vec<Fault>, always: Option<Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream: AtomicU16::new(upstream),
            faults: Mutex::new(faults),
            always: Mutex::new(always),
            matching: matching.into(),
            broken: AtomicU64::new(0),
            matched: AtomicU64::new(0),
            under_way: AtomicU64::new(0),
            peak: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let own = shared.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if own.stop.load(SeqCst) {
                    return;
                }
                let own = own.clone();
                std::thread::spawn(move || {
                    // A client that goes away ends its connection: nothing to tell.
                    let _ = client.and_then(|client| serve(&own, client));
                });
            }
        });
        FaultProxy { port, shared }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The most matching requests that were under way at one time.
    pub fn peak(&self) -> u64 {
        self.shared.peak.load(SeqCst)
    }

    /// Matching requests so far.
    pub fn matched(&self) -> u64 {
        self.shared.matched.load(SeqCst)
    }

    /// Requests that were broken so far.
    pub fn broken(&self) -> u64 {
        self.shared.broken.load(SeqCst)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// Reads a head and the body that its Content-Length announces.
fn read_request(client: &mut TcpStream) -> std::io::Result<Option<(Vec<u8>, Vec<u8>)>> {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        if client.read(&mut byte)? == 0 {
            return Ok(None);
        }
        head.push(byte[0]);
    }
    let text = String::from_utf8_lossy(&head).to_ascii_lowercase();
    let len = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok())
        .unwrap_or(0_usize);
    let mut body = vec![0; len];
    client.read_exact(&mut body)?;
    Ok(Some((head, body)))
}

fn serve(shared: &Shared, mut client: TcpStream) -> std::io::Result<()> {
    let Some((head, body)) = read_request(&mut client)? else {
        return Ok(());
    };
    let line = String::from_utf8_lossy(&head)
        .lines()
        .next()
        .unwrap_or_default()
        .to_string();
    let matches = line.contains(&shared.matching);
    let under_way = matches.then(|| UnderWay::new(shared));
    answer_with_fault(shared, &mut client, under_way, &head, &body)
}

/// Counts a request until its answer is about to be complete.
struct UnderWay<'a>(&'a Shared);

impl<'a> UnderWay<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.matched.fetch_add(1, SeqCst);
        let now = shared.under_way.fetch_add(1, SeqCst) + 1;
        shared.peak.fetch_max(now, SeqCst);
        UnderWay(shared)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, SeqCst);
    }
}

fn answer_with_fault(
    shared: &Shared,
    client: &mut TcpStream,
    mut under_way: Option<UnderWay>,
    head: &[u8],
    body: &[u8],
) -> std::io::Result<()> {
    let fault = if under_way.is_some() {
        let mut faults = shared.faults.lock().unwrap();
        if faults.is_empty() {
            shared.always.lock().unwrap().clone()
        } else {
            Some(faults.remove(0))
        }
    } else {
        None
    };
    if fault.is_some() {
        shared.broken.fetch_add(1, SeqCst);
    }
    if let Some(Fault::Status(status, code)) = &fault {
        let xml = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>injected</Message><RequestId>REQ-42</RequestId></Error>"
        );
        return write!(
            client,
            "HTTP/1.1 {status} injected\r\nx-ms-error-code: {code}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{xml}",
            xml.len()
        );
    }
    if let Some(Fault::Stall(time)) = &fault {
        std::thread::sleep(*time);
        return Ok(());
    }
    let answer = ask(shared.upstream.load(SeqCst), head, body)?;
    if let Some(Fault::Gather(count)) = &fault {
        crate::support::wait_for(60, || shared.peak.load(SeqCst) >= *count);
    }
    let body_at = answer
        .windows(4)
        .position(|w| w == b"\r\n\r\n")
        .map_or(answer.len(), |at| at + 4);
    let half = body_at + (answer.len() - body_at) / 2;
    match fault {
        Some(Fault::Reset) => {
            client.write_all(&answer[..half])?;
            // Let the first half arrive: a reset throws away what the receiver has not read.
            std::thread::sleep(Duration::from_millis(20));
            let linger = libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            // SAFETY: the descriptor is open and the option's value is a `linger` of that size.
            unsafe {
                libc::setsockopt(
                    client.as_raw_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_LINGER,
                    (&raw const linger).cast(),
                    size_of::<libc::linger>() as libc::socklen_t,
                );
            }
            Ok(())
        }
        Some(Fault::Truncate) => client.write_all(&answer[..half]),
        Some(Fault::Slow(_) | Fault::Gather(_)) => {
            let pause = match fault {
                Some(Fault::Slow(pause)) => pause,
                _ => Duration::from_millis(3),
            };
            let pieces = answer.chunks(8192);
            let count = pieces.len();
            for (i, piece) in pieces.enumerate() {
                std::thread::sleep(pause);
                if i + 1 == count {
                    // The client may ask for the next one before this thread runs again.
                    under_way = None;
                }
                client.write_all(piece)?;
            }
            drop(under_way);
            Ok(())
        }
        _ => client.write_all(&answer),
    }
}

fn ask(port: u16, head: &[u8], body: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut server = TcpStream::connect(("127.0.0.1", port))?;
    server.write_all(&head[..head.len() - 2])?;
    server.write_all(b"Connection: close\r\n\r\n")?;
    server.write_all(body)?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    let _ = server.shutdown(Shutdown::Both);
    Ok(answer)
}
