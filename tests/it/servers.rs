//! Real servers for the tests: SeaweedFS's S3 gateway and Azurite, on free ports of the loopback interface, ended by
//! their process ids.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, SockaddrIn, bind, getsockname, socket};

use crate::support::{patient, python, repo};

use dlio_rs::internal::{self as storage, Client, Secret, Storage, StoreSpec, System};

/// Keys of SeaweedFS's one identity.
pub const ACCESS_KEY: &str = "dlio-test-id";
pub const SECRET_KEY: &str = "dlio-test-secret-7Qz";
/// Azurite's account; its key is public.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/// The bucket and the container that every server begins with.
pub const BUCKET: &str = "tests";

/// The address of a folder in that bucket of S3.
pub fn in_bucket(folder: &str) -> String {
    format!("s3://{BUCKET}/{folder}")
}

/// Free ports below those that Linux gives to outgoing connections, which could take one before its server does; no two
/// calls give the same.
pub fn free_ports<const N: usize>() -> [u16; N] {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let (lowest, count) = (12_000, 20_000);
    // Programs that run at the same time begin far from each other.
    let first = std::process::id() * 97;
    std::array::from_fn(|_| {
        for _ in 0..count {
            let number = first + NEXT.fetch_add(1, Ordering::SeqCst);
            let port = (lowest + number % count) as u16;
            if TcpListener::bind(("127.0.0.1", port)).is_ok() {
                return port;
            }
        }
        panic!("no port is free");
    })
}

/// A port that refuses connections for as long as this lives.
pub struct ClosedPort {
    pub port: u16,
    _socket: OwnedFd,
}

/// Bound, which nobody else can do meanwhile, and not listened at.
pub fn closed_port() -> ClosedPort {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = socket(AddressFamily::Inet, SockType::Stream, flags, None).unwrap();
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).unwrap();
    let address: SockaddrIn = getsockname(socket.as_raw_fd()).unwrap();
    ClosedPort {
        port: address.port(),
        _socket: socket,
    }
}

/// One plain HTTP request: status and everything that came, None where there is no answer.
pub fn http(port: u16, method: &str, path: &str) -> Option<(u16, String)> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(5))).ok()?;
    let request = format!(
        "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
    );
    socket.write_all(request.as_bytes()).ok()?;
    let mut answer = Vec::new();
    socket.read_to_end(&mut answer).ok()?;
    let text = String::from_utf8_lossy(&answer).into_owned();
    let status = text.split(' ').nth(1)?.parse().ok()?;
    Some((status, text))
}

pub fn wait_until(what: &str, log: &Path, child: &mut Child, ready: impl Fn() -> bool) {
    let deadline = Instant::now() + patient(20);
    while !ready() {
        let text = || std::fs::read_to_string(log).unwrap_or_default();
        if let Some(status) = child.try_wait().unwrap() {
            panic!("{what} ended with {status}:\n{}", text());
        }
        assert!(
            Instant::now() < deadline,
            "{what} is not ready:\n{}",
            text()
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub fn spawn(mut command: Command, log: &Path, remedy: &str) -> Child {
    let out = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)
        .unwrap();
    command
        .stdin(Stdio::null())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}; {remedy}"))
}

/// `weed` beside the tests' Python, or where DLIO_RS_WEED says.
fn weed() -> PathBuf {
    std::env::var("DLIO_RS_WEED").map_or_else(
        |_| Path::new(&python()).with_file_name("weed"),
        PathBuf::from,
    )
}

/// `azurite-blob` as scripts/setup.sh --test installs it, or where DLIO_RS_AZURITE says.
fn azurite() -> PathBuf {
    std::env::var("DLIO_RS_AZURITE").map_or_else(
        |_| {
            let target = std::env::var("CARGO_TARGET_DIR")
                .map_or_else(|_| repo().join("target"), PathBuf::from);
            target.join("npm/node_modules/.bin/azurite-blob")
        },
        PathBuf::from,
    )
}

/// SeaweedFS with its S3 gateway and authentication switched on.
pub struct Seaweed {
    dir: tempfile::TempDir,
    /// master, volume, filer, S3, and the four gRPC ports of them.
    ports: [u16; 8],
    child: Mutex<Option<Child>>,
}

impl Seaweed {
    /// A server of its own, for tests that end it.
    pub fn start() -> Self {
        let this = Seaweed {
            dir: tempfile::tempdir().unwrap(),
            ports: free_ports(),
            child: Mutex::new(None),
        };
        let identities = serde_json::json!({"identities": [{
            "name": "tests",
            "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }]});
        std::fs::write(
            this.dir.path().join("identities.json"),
            identities.to_string(),
        )
        .unwrap();
        std::fs::create_dir(this.dir.path().join("data")).unwrap();
        this.run();
        this
    }

    /// The server that tests share; it ends with the last of them.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Seaweed>> = Mutex::new(Weak::new());
        // Waited for once: a server that does not start would cost every test the same minutes.
        let mut shared = SHARED
            .lock()
            .expect("an earlier test could not start the server");
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Seaweed::start());
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// Starts it, or starts it again with what it held; returns when it answers.
    pub fn run(&self) {
        let [master, volume, filer, s3, grpc @ ..] = self.ports;
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let mut command = Command::new(weed());
        command.current_dir(self.dir.path()).args([
            "server".to_string(),
            format!("-dir={}", path("data")),
            "-ip=127.0.0.1".into(),
            "-ip.bind=127.0.0.1".into(),
            format!("-master.port={master}"),
            format!("-master.port.grpc={}", grpc[0]),
            format!("-volume.port={volume}"),
            format!("-volume.port.grpc={}", grpc[1]),
            format!("-filer.port={filer}"),
            format!("-filer.port.grpc={}", grpc[2]),
            "-s3".into(),
            format!("-s3.port={s3}"),
            format!("-s3.port.grpc={}", grpc[3]),
            "-s3.iam=false".into(),
            "-s3.port.iceberg=0".into(),
            "-s3.port.lance=0".into(),
            format!("-s3.config={}", path("identities.json")),
            "-master.volumeSizeLimitMB=64".into(),
            "-volume.max=100".into(),
            // Else it takes no object while less than 1 % of the disk is free.
            "-volume.minFreeSpace=16MiB".into(),
        ]);
        let log = self.dir.path().join("log");
        let mut child = spawn(command, &log, "run scripts/setup.sh --test");
        wait_until("SeaweedFS", &log, &mut child, || {
            let assigns =
                http(master, "GET", "/dir/assign").is_some_and(|(_, text)| text.contains("fid"));
            assigns
                && http(filer, "POST", &format!("/buckets/{BUCKET}/"))
                    .is_some_and(|(status, _)| matches!(status, 201 | 409))
                && http(s3, "GET", "/").is_some_and(|(status, _)| status < 500)
        });
        *self.child.lock().unwrap() = Some(child);
    }

    /// Ends it without warning.
    pub fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap_or_else(|e| e.into_inner()).take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Port of the S3 gateway.
    pub fn port(&self) -> u16 {
        self.ports[3]
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port())
    }

    /// Override words that reach it, with the right keys.
    pub fn words(&self) -> Vec<String> {
        s3_words(&self.url())
    }

    /// The program's own way to a folder of the bucket.
    pub fn storage(&self, folder: &str) -> Box<dyn Storage> {
        self.storage_of("s3", Client::Native, folder)
    }

    /// The same as another row of the table, by either client.
    pub fn storage_of(&self, word: &str, client: Client, folder: &str) -> Box<dyn Storage> {
        let mut spec = store_spec(word, &format!("{BUCKET}/{folder}"));
        spec.options.endpoint_url.0 = vec![self.url()];
        spec.options.access_key_id = Some(Secret::new(ACCESS_KEY));
        spec.options.secret_access_key = Some(Secret::new(SECRET_KEY));
        spec.options.client = client;
        storage::open(&spec, &[]).unwrap()
    }
}

fn store_spec(word: &str, place: &str) -> StoreSpec {
    let system = System::of_word(word).unwrap();
    StoreSpec::new(system, system.path(place, None).unwrap())
}

/// Override words for an endpoint that is SeaweedFS or leads to it.
pub fn s3_words(url: &str) -> Vec<String> {
    vec![
        format!("storage.storage_options.endpoint_url={url}"),
        format!("storage.storage_options.access_key_id={ACCESS_KEY}"),
        format!("storage.storage_options.secret_access_key={SECRET_KEY}"),
    ]
}

impl Drop for Seaweed {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Azurite, in memory.
pub struct Azurite {
    dir: tempfile::TempDir,
    port: u16,
    is_tls: bool,
    child: Child,
}

impl Azurite {
    /// With http, shared by tests; it ends with the last of them.
    pub fn shared() -> Arc<Self> {
        static SHARED: Mutex<Weak<Azurite>> = Mutex::new(Weak::new());
        // Waited for once: a server that does not start would cost every test the same minutes.
        let mut shared = SHARED
            .lock()
            .expect("an earlier test could not start the server");
        shared.upgrade().unwrap_or_else(|| {
            let server = Arc::new(Azurite::start(false));
            *shared = Arc::downgrade(&server);
            server
        })
    }

    /// With https its certificate is signed by an authority made here.
    pub fn start(is_tls: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [port] = free_ports();
        let mut command = Command::new(azurite());
        command.current_dir(dir.path()).args([
            "--blobHost",
            "127.0.0.1",
            "--blobPort",
            &port.to_string(),
            "--silent",
            "--disableTelemetry",
            "--skipApiVersionCheck",
            "--inMemoryPersistence",
        ]);
        if is_tls {
            make_certificates(dir.path());
            command.args(["--cert", "server.pem", "--key", "server.key"]);
        }
        let log = dir.path().join("log");
        let mut child = spawn(command, &log, "run scripts/setup.sh --test");
        wait_until("Azurite", &log, &mut child, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let this = Azurite {
            dir,
            port,
            is_tls,
            child,
        };
        this.check(&["create"]);
        this
    }

    /// URL of the account.
    pub fn url(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://127.0.0.1:{}/{ACCOUNT}", self.port)
    }

    /// The certificate of the authority.
    pub fn ca(&self) -> String {
        self.dir.path().join("ca.pem").display().to_string()
    }

    /// Override words that reach it by the account's key.
    pub fn words(&self) -> Vec<String> {
        vec![
            format!("storage.storage_options.blob_endpoint={}", self.url()),
            format!("storage.storage_options.account_key={ACCOUNT_KEY}"),
        ]
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The program's own way to a folder of the container, through what leads to it, by either client.
    pub fn storage_at(&self, url: &str, client: Client, folder: &str) -> Box<dyn Storage> {
        let mut spec = store_spec("azure", &format!("{ACCOUNT}/{BUCKET}/{folder}"));
        spec.options.blob_endpoint.0 = vec![url.into()];
        spec.options.account_key = Some(Secret::new(ACCOUNT_KEY));
        spec.options.client = client;
        storage::open(&spec, &[]).unwrap()
    }

    /// Runs tests/python/check_objects.py on the container; returns what it printed.
    pub fn check(&self, words: &[&str]) -> String {
        let mut command = Command::new(python());
        command
            .arg(repo().join("tests/python/check_objects.py"))
            .args(["azure", "--endpoint", &self.url(), "--bucket", BUCKET])
            .args(["--key", ACCOUNT, "--secret", ACCOUNT_KEY]);
        if self.is_tls {
            command.args(["--ca", &self.ca()]);
        }
        output(command.args(words))
    }
}

impl Drop for Azurite {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Seaweed {
    /// Runs tests/python/check_objects.py on the bucket; returns what it printed.
    pub fn check(&self, words: &[&str]) -> String {
        let mut command = Command::new(python());
        command
            .arg(repo().join("tests/python/check_objects.py"))
            .args(["s3", "--endpoint", &self.url(), "--bucket", BUCKET])
            .args(["--key", ACCESS_KEY, "--secret", SECRET_KEY]);
        output(command.args(words))
    }
}

pub fn output(command: &mut Command) -> String {
    let out = command
        .output()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    String::from_utf8(out.stdout).unwrap()
}

/// An authority (`ca.pem`) and a certificate for 127.0.0.1 that it signed (`server.pem`, `server.key`).
pub fn make_certificates(dir: &Path) {
    std::fs::write(
        dir.join("extensions"),
        "subjectAltName=IP:127.0.0.1,DNS:localhost\nbasicConstraints=CA:FALSE\n",
    )
    .unwrap();
    let key = [
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
    ];
    let openssl = |words: &[&str]| {
        output(Command::new("openssl").current_dir(dir).args(words));
    };
    openssl(
        &[
            &["req", "-x509", "-days", "2", "-subj", "/CN=dlio-rs tests"][..],
            &key,
            &["-keyout", "ca.key", "-out", "ca.pem"],
        ]
        .concat(),
    );
    openssl(
        &[
            &["req", "-subj", "/CN=127.0.0.1"][..],
            &key,
            &["-keyout", "server.key", "-out", "server.csr"],
        ]
        .concat(),
    );
    openssl(&[
        "x509",
        "-req",
        "-days",
        "2",
        "-in",
        "server.csr",
        "-CA",
        "ca.pem",
        "-CAkey",
        "ca.key",
        "-CAcreateserial",
        "-extfile",
        "extensions",
        "-out",
        "server.pem",
    ]);
}
