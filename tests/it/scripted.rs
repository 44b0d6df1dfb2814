//! An S3 server of the tests' own, in memory, which answers as a test wants it to, and counts what came over the wire.

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A request, its body not read yet.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    /// Path and query as they came.
    pub target: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
}

impl Asked {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    fn query(&self, name: &str) -> Option<&str> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (key == name).then_some(value)
        })
    }
}

/// What a test wants in place of the server's own answer.
pub enum Reply {
    /// These bytes; then the connection goes on.
    Raw(Vec<u8>),
    /// These bytes; then the connection ends.
    Last(Vec<u8>),
    /// These bytes before the body of the request is read; the connection stays open and nothing more is read.
    Early(Vec<u8>),
    /// The server's own answer after so long.
    Late(Duration),
    /// The request is carried out, its answer is lost with the connection.
    Lost,
}

impl Reply {
    /// A whole answer with a body.
    pub fn of(status: u16, headers: &str, body: &[u8]) -> Vec<u8> {
        let head = format!(
            "HTTP/1.1 {status} scripted\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        );
        [head.as_bytes(), body].concat()
    }

    /// An error as S3 writes it.
    pub fn error(status: u16, code: &str) -> Vec<u8> {
        let body = format!(
            "<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>scripted</Message></Error>"
        );
        Reply::of(status, "content-type: application/xml\r\n", body.as_bytes())
    }
}

/// A connection, with or without TLS.
trait Pipe: Read + Write + Send {}
impl<T: Read + Write + Send> Pipe for T {}

/// The TLS of a server with the certificate `server.pem` and its key `server.key` in a folder.
pub fn tls_of(folder: &Path) -> Arc<rustls::ServerConfig> {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};

    let certificates = CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(certificates.map(Result::unwrap).collect(), key);
    Arc::new(config.unwrap())
}

type Rule = Box<dyn Fn(&Asked, &Scripted) -> Option<Reply> + Send + Sync>;

/// What the server holds and has seen.
pub struct Scripted {
    port: u16,
    rule: Rule,
    tls: Option<Arc<rustls::ServerConfig>>,
    pub objects: Mutex<BTreeMap<String, Vec<u8>>>,
    /// Parts by upload and number; the object's name is that of the upload before its last dash.
    pub uploads: Mutex<BTreeMap<String, BTreeMap<u32, Vec<u8>>>>,
    pub seen: Mutex<Vec<Asked>>,
    pub connections: AtomicU64,
    open_puts: AtomicU64,
    pub peak_puts: AtomicU64,
    next: AtomicU64,
    stop: AtomicBool,
}

/// Ends the server when dropped.
pub struct Running(Arc<Scripted>);

impl std::ops::Deref for Running {
    type Target = Scripted;
    fn deref(&self) -> &Scripted {
        &self.0
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.stop.store(true, SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.0.port));
    }
}

impl Scripted {
    /// A server whose answers are its own unless `rule` gives another.
    pub fn start(
        rule: impl Fn(&Asked, &Scripted) -> Option<Reply> + Send + Sync + 'static,
    ) -> Running {
        Scripted::start_with(None, rule)
    }

    /// The same with TLS.
    pub fn start_with(
        tls: Option<Arc<rustls::ServerConfig>>,
        rule: impl Fn(&Asked, &Scripted) -> Option<Reply> + Send + Sync + 'static,
    ) -> Running {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let this = Arc::new(Scripted {
            port: listener.local_addr().unwrap().port(),
            rule: Box::new(rule),
            tls,
            objects: Mutex::default(),
            uploads: Mutex::default(),
            seen: Mutex::default(),
            connections: AtomicU64::new(0),
            open_puts: AtomicU64::new(0),
            peak_puts: AtomicU64::new(0),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
        });
        let own = this.clone();
        std::thread::spawn(move || {
            for client in listener.incoming() {
                if own.stop.load(SeqCst) {
                    return;
                }
                own.connections.fetch_add(1, SeqCst);
                let own = own.clone();
                // A client that goes away ends its connection.
                std::thread::spawn(move || client.and_then(|client| own.serve(client)));
            }
        });
        Running(this)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}", self.port)
    }

    /// Words that lead to it, with keys that it does not look at.
    pub fn words(&self) -> Vec<String> {
        crate::servers::s3_words(&self.url())
    }

    /// Requests so far for which this holds.
    pub fn count(&self, matches: impl Fn(&Asked) -> bool) -> u64 {
        self.seen
            .lock()
            .unwrap()
            .iter()
            .filter(|a| matches(a))
            .count() as u64
    }

    fn serve(&self, client: TcpStream) -> std::io::Result<()> {
        let pipe: Box<dyn Pipe> = match &self.tls {
            Some(tls) => {
                let session = rustls::ServerConnection::new(tls.clone()).unwrap();
                Box::new(rustls::StreamOwned::new(session, client))
            }
            None => Box::new(client),
        };
        let mut pipe = BufReader::new(pipe);
        while let Some(asked) = read_head(&mut pipe)? {
            self.seen.lock().unwrap().push(asked.clone());
            let is_put = asked.method == "PUT";
            if is_put {
                let now = self.open_puts.fetch_add(1, SeqCst) + 1;
                self.peak_puts.fetch_max(now, SeqCst);
            }
            let goes_on = self.answer(&asked, &mut pipe);
            if is_put {
                self.open_puts.fetch_sub(1, SeqCst);
            }
            if !goes_on? || asked.header("connection").eq_ignore_ascii_case("close") {
                return Ok(());
            }
        }
        Ok(())
    }

    fn answer(&self, asked: &Asked, pipe: &mut BufReader<Box<dyn Pipe>>) -> std::io::Result<bool> {
        let reply = (self.rule)(asked, self);
        if let Some(Reply::Early(bytes)) = &reply {
            pipe.get_mut().write_all(bytes)?;
            pipe.get_mut().flush()?;
            std::thread::sleep(Duration::from_secs(600));
            return Ok(false);
        }
        let mut body = vec![0; asked.header("content-length").parse().unwrap_or(0)];
        pipe.read_exact(&mut body)?;
        let (bytes, goes_on) = match reply {
            Some(Reply::Raw(bytes)) => (bytes, true),
            Some(Reply::Last(bytes)) => (bytes, false),
            Some(Reply::Lost) => {
                self.own(asked, body);
                return Ok(false);
            }
            Some(Reply::Late(time)) => {
                std::thread::sleep(time);
                (self.own(asked, body), true)
            }
            Some(Reply::Early(_)) => unreachable!("answered above"),
            None => (self.own(asked, body), true),
        };
        pipe.get_mut().write_all(&bytes)?;
        pipe.get_mut().flush()?;
        Ok(goes_on)
    }

    /// What S3 answers.
    pub fn own(&self, asked: &Asked, body: Vec<u8>) -> Vec<u8> {
        let name = asked.path().to_string();
        let mut objects = self.objects.lock().unwrap();
        let mut uploads = self.uploads.lock().unwrap();
        match (asked.method.as_str(), asked.query("uploadId")) {
            ("PUT", None) => {
                objects.insert(name, body);
                Reply::of(200, "etag: \"whole\"\r\n", b"")
            }
            ("PUT", Some(upload)) => {
                let number = asked.query("partNumber").unwrap().parse().unwrap();
                match uploads.get_mut(upload) {
                    Some(parts) => {
                        parts.insert(number, body);
                        Reply::of(200, &format!("etag: \"{number}\"\r\n"), b"")
                    }
                    None => Reply::error(404, "NoSuchUpload"),
                }
            }
            ("POST", None) if asked.query("uploads").is_some() => {
                let upload = format!("u{}", self.next.fetch_add(1, SeqCst));
                uploads.insert(upload.clone(), BTreeMap::new());
                xml(&format!(
                    "<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>"
                ))
            }
            ("POST", Some(upload)) => match uploads.remove(upload) {
                Some(parts) => {
                    objects.insert(name, parts.into_values().flatten().collect());
                    xml(
                        "<CompleteMultipartUploadResult><ETag>\"parts-2\"</ETag></CompleteMultipartUploadResult>",
                    )
                }
                None => Reply::error(404, "NoSuchUpload"),
            },
            ("POST", None) => {
                let text = String::from_utf8(body).unwrap();
                for key in text.split("<Key>").skip(1) {
                    let key = key.split("</Key>").next().unwrap();
                    objects.remove(&format!("{}/{key}", name.trim_end_matches('/')));
                }
                xml("<DeleteResult></DeleteResult>")
            }
            ("DELETE", Some(upload)) => match uploads.remove(upload) {
                Some(_) => Reply::of(204, "", b""),
                None => Reply::error(404, "NoSuchUpload"),
            },
            ("DELETE", None) => {
                objects.remove(&name);
                Reply::of(204, "", b"")
            }
            ("GET", None) if asked.query("uploads").is_some() => {
                let prefix = asked
                    .query("prefix")
                    .unwrap_or_default()
                    .replace("%2F", "/");
                let listed: String = uploads
                    .keys()
                    .map(|u| {
                        format!("<Upload><Key>{prefix}</Key><UploadId>{u}</UploadId></Upload>")
                    })
                    .collect();
                xml(&format!(
                    "<ListMultipartUploadsResult>{listed}</ListMultipartUploadsResult>"
                ))
            }
            ("GET" | "HEAD", _) => match objects.get(&name) {
                None => Reply::error(404, "NoSuchKey"),
                Some(object) => found(object, asked),
            },
            other => panic!("{other:?}"),
        }
    }
}

fn xml(text: &str) -> Vec<u8> {
    Reply::of(200, "content-type: application/xml\r\n", text.as_bytes())
}

/// First and last byte that a request asks for, of an object of `len` bytes.
pub fn range_of(asked: &Asked, len: usize) -> Option<(usize, usize)> {
    let (from, last) = asked
        .header("range")
        .strip_prefix("bytes=")?
        .split_once('-')?;
    let last: usize = last.parse().unwrap_or(usize::MAX);
    Some((from.parse().unwrap(), last.min(len.saturating_sub(1))))
}

fn found(object: &[u8], asked: &Asked) -> Vec<u8> {
    let len = object.len();
    let mut answer = match range_of(asked, len) {
        Some((from, _)) if from >= len => {
            Reply::of(416, &format!("content-range: bytes */{len}\r\n"), b"")
        }
        Some((from, last)) => Reply::of(
            206,
            &format!("etag: \"e\"\r\ncontent-range: bytes {from}-{last}/{len}\r\n"),
            &object[from..=last],
        ),
        None => Reply::of(200, "etag: \"e\"\r\n", object),
    };
    if asked.method == "HEAD" {
        answer.truncate(answer.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4);
    }
    answer
}

fn read_head(input: &mut impl BufRead) -> std::io::Result<Option<Asked>> {
    let mut line = String::new();
    if input.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split(' ');
    let mut asked = Asked {
        method: words.next().unwrap_or_default().into(),
        target: words.next().unwrap_or_default().into(),
        headers: HashMap::new(),
    };
    loop {
        let mut line = String::new();
        input.read_line(&mut line)?;
        match line.trim_end().split_once(':') {
            Some((name, value)) => {
                asked
                    .headers
                    .insert(name.to_ascii_lowercase(), value.trim().into());
            }
            None => return Ok(Some(asked)),
        }
    }
}
