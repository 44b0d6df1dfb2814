//! Running the binary, under mpirun or alone, with a deadline.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

/// What a process left.
pub struct Outcome {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Outcome {
    /// Everything it printed.
    pub fn text(&self) -> String {
        format!("{}\n{}", self.stdout, self.stderr)
    }

    /// Fails the test unless the process ended well.
    pub fn ok(self) -> Self {
        assert_eq!(self.status, Some(0), "{}", self.text());
        self
    }

    /// Fails the test unless the process ended with `status` and said all of `words`.
    pub fn fails(self, status: i32, words: &[&str]) -> Self {
        let text = self.text();
        assert_eq!(self.status, Some(status), "{text}");
        for word in words {
            assert!(text.contains(word), "'{word}' is missing in:\n{text}");
        }
        self
    }
}

/// The binary that is tested: `DLIO_RS_TEST_BIN` of the environment, else the one that cargo built with the tests.
pub fn bin() -> &'static str {
    static BIN: LazyLock<String> = LazyLock::new(|| {
        std::env::var("DLIO_RS_TEST_BIN").unwrap_or_else(|_| env!("CARGO_BIN_EXE_dlio-rs").into())
    });
    &BIN
}

/// The Python that has the libraries of tests/python/requirements.txt.
pub fn python() -> String {
    std::env::var("DLIO_RS_PYTHON").unwrap_or_else(|_| "python3".into())
}

pub fn repo() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A launcher for this many ranks; Open MPI's flags, as the tests build against it.
pub fn mpirun(ranks: usize) -> Command {
    mpirun_of(ranks, Path::new(bin()))
}

/// The same for the binary under another name.
pub fn mpirun_of(ranks: usize, program: &Path) -> Command {
    let launcher = std::env::var("MPIRUN").unwrap_or_else(|_| "mpirun".into());
    let mut command = Command::new(launcher);
    command.args([
        "--allow-run-as-root",
        "--bind-to",
        "none",
        "--oversubscribe",
        "-np",
        &ranks.to_string(),
    ]);
    command.arg(program);
    command
}

/// A command that hears SIGHUP: these tests may run under nohup, which has it ignored in all that it starts.
pub fn hears_hangup(command: &mut Command) {
    let to_default = || {
        use nix::sys::signal::{SigHandler, Signal, signal};
        // SAFETY: the default action; no handler of ours runs.
        unsafe { signal(Signal::SIGHUP, SigHandler::SigDfl) }?;
        Ok(())
    };
    // SAFETY: sigaction(2) is async-signal-safe.
    unsafe { std::os::unix::process::CommandExt::pre_exec(command, to_default) };
}

/// Signals by which launchers, batch systems, shells and the kernel ask a process to end.
pub const SIGNALS: [nix::sys::signal::Signal; 7] = {
    use nix::sys::signal::Signal::*;
    [SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU, SIGXFSZ]
};

/// The binary alone.
pub fn solo() -> Command {
    Command::new(bin())
}

pub fn start(mut command: Command) -> Child {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

fn drain(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = from.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// Limits are given in the seconds of a machine that does nothing else. A busy one gets this many times as long: only what
/// hangs exceeds a limit.
const PATIENCE: u64 = 10;

/// The most that anything waits for, in seconds.
const LONGEST: u64 = 600;

/// A limit, from the seconds of a machine that does nothing else.
pub fn patient(seconds: u64) -> Duration {
    Duration::from_secs((seconds * PATIENCE).min(LONGEST))
}

/// Waits for a child; kills it and fails the test after `seconds`, see [`PATIENCE`].
pub fn finish(mut child: Child, seconds: u64) -> Outcome {
    let (out, err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let (out, err) = (drain(out), drain(err));
    let (begun, limit) = (Instant::now(), patient(seconds));
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return Outcome {
                status: status.code(),
                stdout: out.join().unwrap(),
                stderr: err.join().unwrap(),
            };
        }
        if begun.elapsed() > limit {
            child.kill().unwrap();
            panic!("still running after {limit:?}");
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a command to its end.
pub fn run(command: Command) -> Outcome {
    finish(start(command), 60)
}

/// A folder that goes away with the test.
pub struct Scratch(pub tempfile::TempDir);

impl Scratch {
    pub fn new() -> Self {
        Scratch(tempfile::tempdir().unwrap())
    }

    /// On the disk of the build: a memory file system has no O_DIRECT, and its files are the page cache.
    pub fn on_disk() -> Self {
        Scratch(tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// The kernel's figure of a process, by the name that `/usr/bin/time -v` gives it.
pub fn by_time(text: &str, name: &str) -> f64 {
    let line = text.lines().find(|l| l.contains(name));
    let line = line.unwrap_or_else(|| panic!("no {name} of GNU time in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

/// A small npz workload as override words over the built-in quickstart: `files` files of 64 KiB.
pub fn small(scratch: &Scratch, files: u64) -> Vec<String> {
    vec![
        "workload=quickstart".into(),
        format!("dataset.data_folder={}", scratch.text("data")),
        format!("dataset.num_files_train={files}"),
        "dataset.record_length_bytes=65536".into(),
        "reader.batch_size=2".into(),
        "train.epochs=2".into(),
        "train.computation_time=0.002".into(),
        format!("output.folder={}", scratch.text("out")),
    ]
}

/// A [`small`] workload on a server, of which everything that is read is compared with what was generated: with `more`, and
/// the words that name the server.
pub fn compared(
    scratch: &Scratch,
    files: u64,
    folder: &str,
    more: &[&str],
    server: Vec<String>,
) -> Vec<String> {
    let mut words = small(scratch, files);
    words.push(format!("dataset.data_folder={folder}"));
    words.extend(["reader.verify_content=full", "--quiet"].map(Into::into));
    words.extend(more.iter().map(|word| (*word).into()));
    words.extend(server);
    words
}

pub fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(
        &std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display())),
    )
    .unwrap()
}

/// True once a run whose results will be in a folder of `place` trains: its log grows in a hidden folder there.
pub fn trains_in(place: &Path) -> bool {
    let parts = std::fs::read_dir(place).into_iter().flatten().flatten();
    let mut logs = parts.map(|part| part.path().join("dlio.log"));
    logs.any(|log| std::fs::read_to_string(log).is_ok_and(|log| log.contains("Starting block 1")))
}

/// Waits until something is so; fails the test after `seconds`, see [`PATIENCE`].
pub fn wait_for(seconds: u64, mut is_so: impl FnMut() -> bool) {
    let (begun, limit) = (Instant::now(), patient(seconds));
    while !is_so() {
        assert!(begun.elapsed() < limit, "not so after {limit:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}
