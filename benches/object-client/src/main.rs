//! What a client of an object store costs, apart from any store: a server that answers from memory, in a process of its
//! own, read by dlio-rs's storage, by a bare hyper loop and by the AWS SDK over hyper, in turns.
//!
//!   object-client                                 a table of ratios to the bare hyper loop
//!   object-client --serve LENGTH                  only the server; prints its port

use std::convert::Infallible;
use std::io::BufRead;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use aws_smithy_runtime_api::client::http::{
    HttpClient, HttpConnector, HttpConnectorFuture, HttpConnectorSettings, SharedHttpConnector,
};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::body::SdkBody;
use dlio_rs::internal::{
    Extent, Lane, Request as Read, Secret, Sink, Storage, StoreSpec, System, run_tasks,
};
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Bytes;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector as TcpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};

const GIB: f64 = (1_u64 << 30) as f64;

fn main() {
    let words: Vec<String> = std::env::args().collect();
    match words.get(1).map(String::as_str) {
        Some("--serve") => serve(words[2].parse().expect("LENGTH is a number of bytes")),
        _ => bench(),
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("threads for the runtime")
}

/// Answers every GET and HEAD with as many bytes, or a range of them; nothing else exists.
fn serve(length: usize) {
    let data = Bytes::from((0..length).map(|i| (i * 31) as u8).collect::<Vec<_>>());
    runtime().block_on(async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a free port");
        println!("{}", listener.local_addr().expect("bound").port());
        while let Ok((socket, _)) = listener.accept().await {
            let _ = socket.set_nodelay(true);
            let data = data.clone();
            tokio::spawn(async move {
                let answer = service_fn(move |request| {
                    let data = data.clone();
                    async move { Ok::<_, Infallible>(answer(&request, &data)) }
                });
                // A client that goes away ends its connection.
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(socket), answer)
                    .await;
            });
        }
    });
}

fn answer<B>(request: &Request<B>, data: &Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::builder().header("etag", "\"1\"");
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
        _ => data.clone(),
    };
    if request.method() == Method::HEAD {
        response = response.header("content-length", body.len());
        return response.body(Full::default()).expect("plain headers");
    }
    response.body(Full::new(body)).expect("plain headers")
}

/// What one client did in its time.
struct Figures {
    gib_per_s: f64,
    gets_per_s: f64,
    cpu_s_per_gib: f64,
}

fn cpu_s() -> f64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_SELF)
        .expect("getrusage of this process");
    let seconds = |t: nix::sys::time::TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    seconds(usage.user_time()) + seconds(usage.system_time())
}

fn measured(run: impl FnOnce() -> (u64, u64)) -> Figures {
    let (start, cpu) = (Instant::now(), cpu_s());
    let (gets, bytes) = run();
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cpu_s() - cpu);
    Figures {
        gib_per_s: bytes as f64 / GIB / seconds,
        gets_per_s: gets as f64 / seconds,
        cpu_s_per_gib: cpu / (bytes as f64 / GIB),
    }
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
fn ours(url: &str, length: u64, depth: usize, time: Duration, engine: Engine) -> (u64, u64) {
    let system = System::of_word("s3").expect("a row of the table");
    let mut spec = StoreSpec::new(system, "s3://bench/x".into());
    spec.object.endpoint_url = vec![url.into()];
    spec.object.access_key_id = Some(Secret::new("bench"));
    spec.object.secret_access_key = Some(Secret::new("bench"));
    let storage: Arc<dyn Storage> =
        Arc::from(dlio_rs::internal::open(&spec, &[]).expect("the options are right"));
    let sums = Arc::new((AtomicU64::new(0), AtomicU64::new(0)));
    let end = Instant::now() + time;
    let reader = || {
        let (storage, sums) = (storage.clone(), sums.clone());
        move || {
            let mut lane = Lane::new(system.default_transfer);
            let path = PathBuf::from("s3://bench/x/train/img_00_of_64.npz");
            while Instant::now() < end {
                let request = Read {
                    path: &path,
                    extent: Extent::Whole,
                    planned_len: length,
                    tag: 0,
                };
                let answer = storage
                    .read(&request, &mut lane, &mut Nothing)
                    .expect("the server answers");
                sums.0.fetch_add(1, Relaxed);
                sums.1.fetch_add(answer.bytes, Relaxed);
            }
        }
    };
    let threads = match engine {
        Engine::Threads => depth,
        Engine::Uring => std::thread::available_parallelism().map_or(1, usize::from),
    };
    std::thread::scope(|scope| {
        for number in 0..threads {
            match engine {
                Engine::Threads => scope.spawn(reader()),
                Engine::Uring => scope.spawn(move || {
                    let readers = (number..depth).step_by(threads);
                    let tasks = readers.map(|_| Box::new(reader()) as Box<dyn FnOnce()>);
                    run_tasks(tasks.collect()).expect("this kernel has io_uring");
                }),
            };
        }
    });
    (sums.0.load(Relaxed), sums.1.load(Relaxed))
}

/// The least that an asynchronous client does: one connection per task, unsigned requests, frames dropped.
fn bare_hyper(url: &str, depth: usize, time: Duration) -> (u64, u64) {
    let authority = url.strip_prefix("http://").expect("http").to_string();
    let end = Instant::now() + time;
    runtime().block_on(async {
        let tasks: Vec<_> = (0..depth)
            .map(|_| {
                let authority = authority.clone();
                tokio::spawn(async move {
                    let socket = tokio::net::TcpStream::connect(&authority)
                        .await
                        .expect("the server runs");
                    let _ = socket.set_nodelay(true);
                    let (mut sender, connection) =
                        hyper::client::conn::http1::handshake(TokioIo::new(socket))
                            .await
                            .expect("plain HTTP");
                    tokio::spawn(connection);
                    let (mut gets, mut bytes) = (0, 0);
                    while Instant::now() < end {
                        let request = Request::get("/bench/x/train/img_00_of_64.npz")
                            .header("host", &authority)
                            .body(Empty::<Bytes>::new())
                            .expect("plain headers");
                        let mut body = sender
                            .send_request(request)
                            .await
                            .expect("the server answers")
                            .into_body();
                        while let Some(frame) = body.frame().await {
                            if let Ok(data) = frame.expect("whole bodies").into_data() {
                                bytes += std::hint::black_box(data).len() as u64;
                            }
                        }
                        gets += 1;
                    }
                    (gets, bytes)
                })
            })
            .collect();
        let mut sum = (0, 0);
        for task in tasks {
            let (gets, bytes) = task.await.expect("no task panics");
            sum = (sum.0 + gets, sum.1 + bytes);
        }
        sum
    })
}

/// hyper's pooling client as the SDK's.
#[derive(Debug, Clone)]
struct Hyper(Client<TcpConnector, Full<Bytes>>);

impl HttpClient for Hyper {
    fn http_connector(
        &self,
        _: &HttpConnectorSettings,
        _: &RuntimeComponents,
    ) -> SharedHttpConnector {
        SharedHttpConnector::new(self.clone())
    }
}

impl HttpConnector for Hyper {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let client = self.0.clone();
        HttpConnectorFuture::new(async move {
            let wrong = |e: Box<dyn std::error::Error + Send + Sync>| ConnectorError::io(e);
            let request = request.try_into_http1x().map_err(|e| wrong(e.into()))?;
            let request = request
                .map(|body| Full::new(Bytes::copy_from_slice(body.bytes().unwrap_or_default())));
            let response = client.request(request).await.map_err(|e| wrong(e.into()))?;
            response
                .map(SdkBody::from_body_1_x)
                .try_into()
                .map_err(|e: aws_smithy_runtime_api::http::HttpError| wrong(e.into()))
        })
    }
}

/// `get_object` of the AWS SDK, its body read to the end.
fn sdk(url: &str, depth: usize, time: Duration) -> (u64, u64) {
    let end = Instant::now() + time;
    runtime().block_on(async {
        let mut connector = TcpConnector::new();
        connector.set_nodelay(true);
        let http = Hyper(Client::builder(TokioExecutor::new()).build(connector));
        let config = aws_sdk_s3::Config::builder()
            .behavior_version(aws_sdk_s3::config::BehaviorVersion::latest())
            .http_client(http)
            .endpoint_url(url)
            .force_path_style(true)
            .region(aws_sdk_s3::config::Region::new("us-east-1"))
            .credentials_provider(aws_sdk_s3::config::Credentials::new(
                "bench", "bench", None, None, "bench",
            ))
            .build();
        let client = Arc::new(aws_sdk_s3::Client::from_conf(config));
        let tasks: Vec<_> = (0..depth)
            .map(|_| {
                let client = client.clone();
                tokio::spawn(async move {
                    let (mut gets, mut bytes) = (0, 0);
                    while Instant::now() < end {
                        let get = client
                            .get_object()
                            .bucket("bench")
                            .key("x/train/img_00_of_64.npz");
                        let mut body = get.send().await.expect("the server answers").body;
                        while let Some(data) = body.next().await {
                            bytes += std::hint::black_box(data.expect("whole bodies")).len() as u64;
                        }
                        gets += 1;
                    }
                    (gets, bytes)
                })
            })
            .collect();
        let mut sum = (0, 0);
        for task in tasks {
            let (gets, bytes) = task.await.expect("no task panics");
            sum = (sum.0 + gets, sum.1 + bytes);
        }
        sum
    })
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

fn bench() {
    println!(
        "| object | in flight | client | GiB/s | GET/s | CPU s/GiB | rate ratio to bare hyper | CPU ratio |"
    );
    println!("| --- | --- | --- | --- | --- | --- | --- | --- |");
    for (label, length, depth) in [
        ("8 MiB", 8 << 20, 16),
        ("8 MiB", 8 << 20, 64),
        ("147 MB", 147_000_000, 8),
        ("128 KiB", 128 << 10, 64),
    ] {
        let mut server = Command::new(std::env::current_exe().expect("this program"))
            .args(["--serve", &length.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts again");
        let mut port = String::new();
        std::io::BufReader::new(server.stdout.take().expect("piped"))
            .read_line(&mut port)
            .expect("the server tells its port");
        let url = format!("http://127.0.0.1:{}", port.trim());
        let time = Duration::from_secs(2);
        type Clients<'a> = [(&'a str, Box<dyn Fn() -> (u64, u64) + 'a>); 4];
        let clients: Clients = [
            ("bare hyper", Box::new(|| bare_hyper(&url, depth, time))),
            (
                "dlio-rs, threads",
                Box::new(|| ours(&url, length, depth, time, Engine::Threads)),
            ),
            (
                "dlio-rs, uring",
                Box::new(|| ours(&url, length, depth, time, Engine::Uring)),
            ),
            ("AWS SDK", Box::new(|| sdk(&url, depth, time))),
        ];
        // A first round is thrown away; the order turns.
        let mut rounds: Vec<Vec<Figures>> = Vec::new();
        for round in 0..=clients.len() {
            let mut figures: Vec<Option<Figures>> = clients.iter().map(|_| None).collect();
            for step in 0..clients.len() {
                let which = (round + step) % clients.len();
                figures[which] = Some(measured(|| (clients[which].1)()));
            }
            if round > 0 {
                rounds.push(figures.into_iter().flatten().collect());
            }
        }
        for (which, (name, _)) in clients.iter().enumerate() {
            let of = |value: &dyn Fn(&Figures, &Figures) -> f64| {
                median(rounds.iter().map(|r| value(&r[which], &r[0])).collect())
            };
            println!(
                "| {label} | {depth} | {name} | {:.2} | {:.0} | {:.3} | {:.2} | {:.2} |",
                of(&|f, _| f.gib_per_s),
                of(&|f, _| f.gets_per_s),
                of(&|f, _| f.cpu_s_per_gib),
                of(&|f, hyper| f.gib_per_s / hyper.gib_per_s),
                of(&|f, hyper| f.cpu_s_per_gib / hyper.cpu_s_per_gib),
            );
        }
        // Only the process that was started above.
        let _ = server.kill();
        let _ = server.wait();
    }
}
