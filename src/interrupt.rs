//! SIGTERM and SIGINT: what is half written is removed, one rank of a host says so, the process ends.
//!
//! Launchers, batch systems and `mlpstorage` send SIGTERM and kill seconds later, and a rank may be inside of an MPI call
//! or a read that takes longer. So nobody is asked to stop: a thread removes what was announced here and ends the process.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

#[derive(Default)]
struct Pending {
    next: u64,
    paths: HashMap<u64, PathBuf>,
    uploads: HashMap<u64, Upload>,
}

/// Gives up an upload; true: nothing of it is left.
type Abort = Arc<dyn Fn() -> bool + Send + Sync>;

struct Upload {
    /// As messages name it.
    name: String,
    abort: Abort,
}

/// How long a server may take to forget uploads.
const PATIENCE: Duration = Duration::from_millis(1500);

static PENDING: Mutex<Option<Pending>> = Mutex::new(None);

/// Read while a file gets its final name, written for good by a signal.
static GATE: RwLock<()> = RwLock::new(());

/// The word by which one rank of a host takes the task of speaking.
static SPOKEN: OnceLock<&'static AtomicU64> = OnceLock::new();

/// Tries to remove a folder in which others write.
const REMOVALS: usize = 1000;

static IS_TOLD: AtomicBool = AtomicBool::new(false);

fn pending() -> MutexGuard<'static, Option<Pending>> {
    PENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A file or folder that a signal removes, until this is dropped.
#[derive(Debug)]
pub struct Unfinished(u64);

/// Announces a file or folder that is about to be made. Waits for ever once a signal has come.
pub fn unfinished(path: &Path) -> Unfinished {
    let _gate = GATE.read();
    let mut pending = pending();
    let pending = pending.get_or_insert_default();
    pending.next += 1;
    pending.paths.insert(pending.next, path.to_owned());
    Unfinished(pending.next)
}

/// Announces an upload that has begun; a signal calls `abort`, which must not wait for long.
pub fn unfinished_upload(name: &str, abort: Abort) -> Unfinished {
    let mut pending = pending();
    let pending = pending.get_or_insert_default();
    pending.next += 1;
    let name = name.to_string();
    pending.uploads.insert(pending.next, Upload { name, abort });
    Unfinished(pending.next)
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Some(pending) = pending().as_mut() {
            pending.paths.remove(&self.0);
            pending.uploads.remove(&self.0);
        }
    }
}

/// Gives up all uploads at once; the names of those of which something may be left.
fn abort_uploads(pending: Option<&Pending>) -> Vec<String> {
    let uploads: HashMap<_, _> = pending
        .into_iter()
        .flat_map(|pending| pending.uploads.iter())
        .map(|(id, upload)| (*id, upload.name.clone()))
        .collect();
    let mut left = uploads;
    let (done, outcomes) = channel();
    for (id, upload) in pending.into_iter().flat_map(|pending| &pending.uploads) {
        let (id, abort, done) = (*id, upload.abort.clone(), done.clone());
        // Without a thread it stays among those that are left.
        let _ = std::thread::Builder::new().spawn(move || done.send((id, abort())));
    }
    drop(done);
    let end = Instant::now() + PATIENCE;
    while let Ok((id, is_gone)) =
        outcomes.recv_timeout(end.saturating_duration_since(Instant::now()))
    {
        if is_gone {
            left.remove(&id);
        }
    }
    let mut names: Vec<_> = left.into_values().collect();
    names.sort();
    names
}

/// Does what a signal has to come before or after: giving something its final name, or making folders within what is
/// announced, which would stand there anew. Waits for ever once a signal has come.
pub fn uninterrupted<T>(action: impl FnOnce() -> T) -> T {
    let _gate = GATE.read();
    action()
}

/// Removes what is announced, for an end that is no signal's. What another thread holds right now stays.
pub fn remove_unfinished() {
    if let Ok(pending) = PENDING.try_lock() {
        remove(pending.as_ref());
    }
}

fn remove(pending: Option<&Pending>) {
    for path in pending.into_iter().flat_map(|p| p.paths.values()) {
        // One of them fits; the process ends whatever comes of it.
        let _ = std::fs::remove_file(path);
        // Threads still write into a folder while it is emptied, until what they write into is gone.
        for _ in 0..REMOVALS {
            if std::fs::remove_dir_all(path).is_ok() || !path.exists() {
                break;
            }
        }
    }
}

/// One word of the memory that the ranks of a host share, 0 until one of them speaks.
pub fn speak_once(word: &'static AtomicU64) {
    let _ = SPOKEN.set(word);
}

/// Nothing is left to say: a launcher that sees one rank end with an error may send SIGTERM to the others, whose outcome is
/// told already.
pub fn finished() {
    IS_TOLD.store(true, Ordering::SeqCst);
}

/// Starts the thread that waits for signals. `speaks`: whether this process tells of a signal that comes before
/// [`speak_once`].
///
/// Errors: the handlers cannot be installed.
pub fn listen(speaks: bool) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT])?;
    let wait = move || {
        if let Some(signal) = signals.forever().next() {
            end(signal, speaks);
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(wait)
        .map(drop)
}

fn end(signal: i32, speaks: bool) -> ! {
    // Never released: nothing new is begun, and nothing gets its final name, from here on.
    let _gate = GATE.write();
    let held = pending();
    remove(held.as_ref());
    let left = abort_uploads(held.as_ref());
    let status = 128 + signal;
    let speaks = SPOKEN
        .get()
        .map_or(speaks, |word| word.swap(1, Ordering::SeqCst) == 0);
    if speaks && !IS_TOLD.load(Ordering::SeqCst) {
        let name = if signal == SIGTERM {
            "SIGTERM"
        } else {
            "SIGINT"
        };
        eprintln!(
            "dlio-rs: stopped by {name}: half-written files are removed, no results are written; the job ends with status {status}"
        );
    }
    for name in left {
        eprintln!(
            "dlio-rs: the upload of {name} could not be aborted: its parts stay on the server\n  remedy: dlio-rs clean {name} removes them"
        );
    }
    // SAFETY: ends the process at once; MPI may be what hangs, and nothing of the process is needed any more.
    unsafe { libc::_exit(status) }
}
