//! What a client of an object store costs, apart from any store: one client in a process of its own, against a server that
//! answers from memory. scripts/bench_object.py runs them in turns.
//!
//!   object-client --serve LENGTH [CERTIFICATE KEY]                 the server; prints its port
//!   object-client CLIENT get|put URL LENGTH DEPTH SECONDS [CA]     prints [seconds, CPU seconds, bytes]
//!
//! The clock starts when every request in flight has been answered once: starting a client, and its connections, are no work of a
//! request.
//!
//! A PUT sends bytes that were just made, as a checkpoint does: each client copies them from [`MADE`] bytes into the memory that it
//! sends from.
//!
//! CLIENT: `native`, `uring` (the same by reader.engine=uring) and `sdk` are dlio-rs's storage, `hyper` a bare loop that signs its
//! requests as dlio-rs does, with aws-sigv4, `unsigned` the same without signatures.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use aws_smithy_runtime_api::client::identity::Identity;
use bytes::BytesMut;
use dlio_rs::internal::{
    Buffer, Client, Extent, Lane, Request as Read, Secret, Sink, Storage, StoreSpec, System,
    run_tasks,
};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

const KEY: &str = "x/train/img_00_of_64.npz";

/// What is copied to make a body, again and again: it stays in a cache, so that making costs little beside the writing.
const MADE: usize = 1 << 20;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["--serve", length] => serve(number(length), None),
        ["--serve", length, certificate, key] => serve(number(length), Some((certificate, key))),
        [client, direction, url, length, depth, seconds, ref ca @ ..] => {
            let job = Job {
                url,
                puts: direction == "put",
                length: number(length),
                depth: number(depth),
                ca: ca.first().copied(),
            };
            let time = Duration::from_secs_f64(seconds.parse().expect("SECONDS is a number"));
            let meter = Arc::<Meter>::default();
            std::thread::scope(|scope| {
                scope.spawn(|| meter.measure(job.depth, time));
                match client {
                    "hyper" => bare_hyper(&job, &meter, true),
                    "unsigned" => bare_hyper(&job, &meter, false),
                    "native" => ours(&job, Client::Native, Engine::Threads, &meter),
                    "uring" => ours(&job, Client::Native, Engine::Uring, &meter),
                    _ => ours(&job, Client::Sdk, Engine::Threads, &meter),
                }
            });
        }
        _ => panic!("see the head of this program"),
    }
}

fn number(word: &str) -> usize {
    word.parse().expect("a number")
}

/// What a client is to do.
struct Job<'a> {
    url: &'a str,
    puts: bool,
    length: usize,
    depth: usize,
    ca: Option<&'a str>,
}

/// What all requests in flight add to.
#[derive(Default)]
struct Meter {
    /// Those that were answered at least once.
    begun: AtomicU64,
    bytes: AtomicU64,
    is_over: AtomicBool,
}

impl Meter {
    /// Prints what was done in this time, from when `depth` have begun.
    fn measure(&self, depth: usize, time: Duration) {
        while self.begun.load(Relaxed) < depth as u64 {
            std::thread::sleep(Duration::from_millis(1));
        }
        let now = || (Instant::now(), cpu_s(), self.bytes.load(Relaxed));
        let (start, cpu, bytes) = now();
        std::thread::sleep(time);
        let (end, cpu_end, bytes_end) = now();
        let seconds = (end - start).as_secs_f64();
        println!("[{seconds}, {}, {}]", cpu_end - cpu, bytes_end - bytes);
        self.is_over.store(true, Relaxed);
    }

    /// One of those in flight was answered, for the first time or again; false: it was the last.
    fn answered(&self, bytes: u64, is_first: bool) -> bool {
        self.bytes.fetch_add(bytes, Relaxed);
        self.begun.fetch_add(is_first as u64, Relaxed);
        !self.is_over.load(Relaxed)
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads for the runtime")
}

fn cpu_s() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)
        .expect("getrusage of this process");
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn certificates(path: &str) -> Vec<CertificateDer<'static>> {
    let file = CertificateDer::pem_file_iter(path).expect("a PEM file");
    file.map(|one| one.expect("a certificate")).collect()
}

/// A connection, with or without TLS.
trait Pipe: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Pipe for T {}

fn acceptor((certificate, key): (&str, &str)) -> TlsAcceptor {
    let key = PrivateKeyDer::from_pem_file(key).expect("a PEM file with a key");
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(certificates(certificate), key);
    TlsAcceptor::from(Arc::new(config.expect("the key of the certificate")))
}

/// Answers every GET and HEAD with as many bytes, or a range of them, and takes every PUT; nothing else exists.
fn serve(length: usize, tls: Option<(&str, &str)>) {
    let data = Bytes::from((0..length).map(|i| (i * 31) as u8).collect::<Vec<_>>());
    let tls = tls.map(acceptor);
    runtime().block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        println!("{}", listener.local_addr().expect("bound").port());
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            let (data, tls) = (data.clone(), tls.clone());
            tokio::spawn(async move {
                let pipe: Box<dyn Pipe> = match tls {
                    Some(tls) => match tls.accept(socket).await {
                        Ok(socket) => Box::new(socket),
                        Err(_) => return,
                    },
                    None => Box::new(socket),
                };
                let answer = service_fn(move |request| {
                    let data = data.clone();
                    async move { Ok::<_, Infallible>(answer(request, data).await) }
                });
                // A client that goes away ends its connection.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(pipe), answer)
                    .await;
            });
        }
    });
}

async fn answer(request: Request<Incoming>, data: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::builder().header("etag", "\"1\"");
    if request.method() == Method::PUT {
        let mut body = request.into_body();
        while let Some(Ok(_)) = body.frame().await {}
        return response.body(Full::default()).expect("plain headers");
    }
    if request.uri().path().contains("manifest") {
        let missing = "<Error><Code>NoSuchKey</Code></Error>";
        return response
            .status(StatusCode::NOT_FOUND)
            .body(Full::from(missing))
            .expect("plain headers");
    }
    let range = request.headers().get("range").and_then(|value| {
        let (from, to) = value
            .to_str()
            .ok()?
            .strip_prefix("bytes=")?
            .split_once('-')?;
        let to = to.parse().unwrap_or(usize::MAX).min(data.len() - 1);
        Some((from.parse::<usize>().ok()?, to))
    });
    let body = match range {
        Some((from, to)) if from <= to => {
            response = response
                .status(StatusCode::PARTIAL_CONTENT)
                .header("content-range", format!("bytes {from}-{to}/{}", data.len()));
            data.slice(from..to + 1)
        }
        _ => data,
    };
    if request.method() == Method::HEAD {
        response = response.header("content-length", body.len());
        return response.body(Full::default()).expect("plain headers");
    }
    response.body(Full::new(body)).expect("plain headers")
}

struct Nothing;

impl Sink for Nothing {
    fn begin(&mut self, _: u64) {}
    fn chunk(&mut self, bytes: &[u8]) -> bool {
        std::hint::black_box(bytes);
        true
    }
    fn position(&mut self, _: u64) {}
}

/// Who runs dlio-rs's readers.
#[derive(Clone, Copy)]
enum Engine {
    /// A thread for each.
    Threads,
    /// A thread with a ring for each CPU.
    Uring,
}

/// dlio-rs: as many readers as requests in flight, each with a buffer of the length of a read call.
fn ours(job: &Job, client: Client, engine: Engine, meter: &Arc<Meter>) {
    let system = System::of_word("s3").expect("a row of the table");
    let mut spec = StoreSpec::new(system, "s3://bench/x".into());
    spec.options.endpoint_url.0 = vec![job.url.into()];
    spec.options.access_key_id = Some(Secret::new("bench"));
    spec.options.secret_access_key = Some(Secret::new("bench"));
    spec.options.region = Some("us-east-1".into());
    spec.options.ca_bundle = job.ca.map(Into::into);
    spec.options.client = client;
    // One request an object, as the others make it.
    spec.options.part_size = Some(job.length as u64 + 1);
    spec.range_size = Some(0);
    let storage: Arc<dyn Storage> =
        Arc::from(dlio_rs::internal::open(&spec, &[]).expect("the options are right"));
    let (length, puts) = (job.length, job.puts);
    let reader = || {
        let (storage, meter) = (storage.clone(), meter.clone());
        move || {
            let path = PathBuf::from(format!("s3://bench/{KEY}"));
            let mut lane = Lane::new(system.default_transfer);
            // As far into a page as what it is copied to, as in the bare loop: else every load crosses a line of the cache.
            let data = Buffer::new(length.min(MADE));
            let mut buffer = Buffer::new(data.len());
            let request = Read {
                path: &path,
                extent: Extent::Whole,
                planned_len: length as u64,
                exact_len: None,
                tag: 0,
            };
            for number in 0.. {
                let bytes = if puts {
                    buffer = put(&*storage, &path, &data, buffer, length);
                    length as u64
                } else {
                    let answer = storage.read(&request, &mut lane, &mut Nothing);
                    answer.expect("the server answers").bytes
                };
                if !meter.answered(bytes, number == 0) {
                    break;
                }
            }
        }
    };
    let threads = match engine {
        Engine::Threads => job.depth,
        Engine::Uring => std::thread::available_parallelism().map_or(1, usize::from),
    };
    std::thread::scope(|scope| {
        for number in 0..threads {
            match engine {
                Engine::Threads => scope.spawn(reader()),
                Engine::Uring => scope.spawn(move || {
                    let readers = (number..job.depth).step_by(threads);
                    let tasks = readers.map(|_| Box::new(reader()) as Box<dyn FnOnce()>);
                    run_tasks(tasks.collect()).expect("this kernel has io_uring");
                }),
            };
        }
    });
}

/// Writes an object as a checkpoint is written, a buffer after another; the buffer that is left.
fn put(
    storage: &dyn Storage,
    path: &std::path::Path,
    data: &[u8],
    mut buffer: Buffer,
    length: usize,
) -> Buffer {
    let mut writer = storage.create(path).expect("a name that can be");
    let mut left = length;
    while left > 0 {
        let now = left.min(data.len());
        buffer[..now].copy_from_slice(&data[..now]);
        buffer = writer.give(buffer, now).expect("the server takes it");
        left -= now;
    }
    writer.finish().expect("the server takes it");
    buffer
}

async fn connect(authority: &str, tls: Option<&TlsConnector>) -> Box<dyn Pipe> {
    let socket = TcpStream::connect(authority)
        .await
        .expect("the server runs");
    let _ = socket.set_nodelay(true);
    let Some(tls) = tls else {
        return Box::new(socket);
    };
    let name = ServerName::try_from("127.0.0.1").expect("an address");
    Box::new(
        tls.connect(name, socket)
            .await
            .expect("a known certificate"),
    )
}

/// What each task of the bare loop does.
#[derive(Clone)]
struct Loop {
    authority: String,
    tls: Option<TlsConnector>,
    /// Of a PUT; 0 for a GET.
    length: usize,
    meter: Arc<Meter>,
    /// Who signs the requests.
    identity: Option<Identity>,
}

impl Loop {
    /// One connection, frames dropped.
    async fn run(self) {
        let pipe = connect(&self.authority, self.tls.as_ref()).await;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(pipe))
            .await
            .expect("plain HTTP");
        tokio::spawn(connection);
        let method = if self.length == 0 {
            Method::GET
        } else {
            Method::PUT
        };
        let data = vec![7; self.length.min(MADE)];
        let mut body = Bytes::new();
        for number in 0.. {
            let mut bytes = self.length as u64;
            body = made(body, &data, self.length);
            let mut request = Request::builder()
                .method(&method)
                .uri(format!("/bench/{KEY}"))
                .header("host", &self.authority);
            if let Some(identity) = &self.identity {
                for (name, value) in signature(identity, &method, &self.authority) {
                    request = request.header(name, value);
                }
            }
            let request = request
                .body(Full::new(body.clone()))
                .expect("plain headers");
            sender.ready().await.expect("the connection lives");
            let answer = sender.send_request(request).await;
            let mut body = answer.expect("the server answers").into_body();
            while let Some(frame) = body.frame().await {
                if let Ok(data) = frame.expect("whole bodies").into_data() {
                    bytes += std::hint::black_box(data).len() as u64;
                }
            }
            if !self.meter.answered(bytes, number == 0) {
                return;
            }
        }
    }
}

/// The headers that sign a request of which the body is not signed.
fn signature(identity: &Identity, method: &Method, authority: &str) -> Vec<(&'static str, String)> {
    let mut settings = SigningSettings::default();
    settings.percent_encoding_mode = PercentEncodingMode::Single;
    settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
    settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    let params = v4::SigningParams::builder()
        .identity(identity)
        .region("us-east-1")
        .name("s3")
        .time(SystemTime::now())
        .settings(settings)
        .build()
        .expect("all that is needed")
        .into();
    let uri = format!("http://{authority}/bench/{KEY}");
    let body = SignableBody::UnsignedPayload;
    let request = SignableRequest::new(method.as_str(), uri, std::iter::empty(), body);
    let signed = sign(request.expect("a plain URI"), &params).expect("it can be signed");
    let (headers, _) = signed.into_parts().0.into_parts();
    headers
        .iter()
        .map(|header| (header.name(), header.value().to_string()))
        .collect()
}

/// A body of `length` bytes, made of `data`, in the memory of the last one.
fn made(last: Bytes, data: &[u8], length: usize) -> Bytes {
    // hyper may hold it a little longer than until the answer.
    let mut body = last
        .try_into_mut()
        .unwrap_or_else(|_| BytesMut::with_capacity(length));
    body.clear();
    body.reserve(length);
    while body.len() < length {
        let now = data.len().min(length - body.len());
        body.extend_from_slice(&data[..now]);
    }
    body.freeze()
}

/// The least that an asynchronous client does.
fn bare_hyper(job: &Job, meter: &Arc<Meter>, signs: bool) {
    let (_, authority) = job.url.split_once("://").expect("a URL");
    let tls = job.ca.map(|ca| {
        let mut roots = rustls::RootCertStore::empty();
        roots.add_parsable_certificates(certificates(ca));
        let config = rustls::ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        TlsConnector::from(Arc::new(config))
    });
    let each = Loop {
        authority: authority.into(),
        tls,
        length: if job.puts { job.length } else { 0 },
        meter: meter.clone(),
        identity: signs.then(|| Credentials::new("bench", "bench", None, None, "bench").into()),
    };
    runtime().block_on(async {
        let tasks: Vec<_> = (0..job.depth)
            .map(|_| tokio::spawn(each.clone().run()))
            .collect();
        for task in tasks {
            task.await.expect("no task panics");
        }
    });
}
