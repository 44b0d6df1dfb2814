//! The early end of a process, by a signal or by the watchdog: what is half written is removed, then the process ends.
//!
//! Launchers, batch systems and `mlpstorage` send a signal and kill seconds later, and a rank may be inside of an MPI call
//! or a read that takes longer. So nobody is asked to stop: one thread waits for signals, which are blocked in all others,
//! removes what was announced here and ends the process. It does so within [`LONGEST_CLEANUP`], whatever else is stuck.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal};
use parking_lot::{Mutex, RwLock};

use crate::util::text::plain;

/// Signals by which launchers, batch systems, shells and the kernel ask a process to end.
const SIGNALS: [Signal; 7] = [
    Signal::SIGTERM,
    Signal::SIGINT,
    Signal::SIGHUP,
    Signal::SIGUSR1,
    Signal::SIGUSR2,
    Signal::SIGXCPU,
    Signal::SIGXFSZ,
];

/// From the signal to the end of the process, in [`SLICE`]s of time.
pub const LONGEST_CLEANUP: Duration = Duration::from_millis(1500);

/// A machine that stands still uses up one of these, however long it does.
const SLICE: Duration = Duration::from_millis(50);

/// How long the cleanup waits for a lock whose holder may be stuck.
const LOCK_WAIT: Duration = Duration::from_millis(300);

#[derive(Default)]
struct Pending {
    next: u64,
    paths: Option<HashMap<u64, PathBuf>>,
    /// Removed when nothing of `paths` is left.
    locks: Option<HashMap<u64, PathBuf>>,
    uploads: Option<HashMap<u64, Upload>>,
}

/// Gives up an upload; true: nothing of it is left.
type Abort = Arc<dyn Fn() -> bool + Send + Sync>;

struct Upload {
    /// As messages name it.
    name: String,
    abort: Abort,
}

static PENDING: Mutex<Pending> = Mutex::new(Pending {
    next: 0,
    paths: None,
    locks: None,
    uploads: None,
});

/// Read while a file gets its final name, written for good by an early end.
static GATE: RwLock<()> = RwLock::new(());

/// The word by which one rank of a host takes the task of speaking.
static SPOKEN: Mutex<Option<&'static AtomicU64>> = Mutex::new(None);

/// The job's log, where this process writes it and errors belong in it.
static LOG: Mutex<Option<File>> = Mutex::new(None);

/// Threads that remove what is half written.
const CLEANERS: usize = 16;

/// Tries to remove a folder in which others write.
const REMOVALS: usize = 1000;

static IS_ANNOUNCED: AtomicBool = AtomicBool::new(false);

/// A file or folder that an early end removes, until this is dropped.
#[derive(Debug)]
pub struct Unfinished(u64);

/// Announces a file or folder that is about to be made. Waits for ever once an early end has begun.
pub fn unfinished(path: &Path) -> Unfinished {
    let _gate = GATE.read();
    let mut pending = PENDING.lock();
    pending.next += 1;
    let number = pending.next;
    pending
        .paths
        .get_or_insert_default()
        .insert(number, path.to_owned());
    Unfinished(number)
}

/// Announces a lock file that is about to be made: an early end removes it when nothing else is left in its folder and below.
/// Where something is, the next job finds the lock of one that is gone, and removes what that one left.
pub fn unfinished_lock(path: &Path) -> Unfinished {
    let _gate = GATE.read();
    let mut pending = PENDING.lock();
    pending.next += 1;
    let number = pending.next;
    let locks = pending.locks.get_or_insert_default();
    locks.insert(number, path.to_owned());
    Unfinished(number)
}

/// Announces an upload that has begun; an early end calls `abort`, which must not wait for long.
pub fn unfinished_upload(name: &str, abort: Abort) -> Unfinished {
    let mut pending = PENDING.lock();
    pending.next += 1;
    let number = pending.next;
    let name = name.to_string();
    let uploads = pending.uploads.get_or_insert_default();
    uploads.insert(number, Upload { name, abort });
    Unfinished(number)
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        let mut pending = PENDING.lock();
        let pending = &mut *pending;
        for paths in [&mut pending.paths, &mut pending.locks]
            .into_iter()
            .flatten()
        {
            paths.remove(&self.0);
        }
        if let Some(uploads) = &mut pending.uploads {
            uploads.remove(&self.0);
        }
    }
}

/// Does what an early end has to come before or after: giving something its final name, or making folders within what is
/// announced, which would stand there anew. Waits for ever once an early end has begun.
pub fn uninterrupted<T>(action: impl FnOnce() -> T) -> T {
    let _gate = GATE.read();
    action()
}

/// Removes what is announced, for an end that is no signal's. What another thread holds right now stays.
pub fn remove_unfinished() {
    if let Some(pending) = PENDING.try_lock() {
        let all = [&pending.paths, &pending.locks].into_iter().flatten();
        all.flat_map(HashMap::values).for_each(|path| {
            remove(path);
        });
    }
}

/// True when nothing is there any more.
fn remove(path: &Path) -> bool {
    // One of them fits; the process ends whatever comes of it.
    let _ = std::fs::remove_file(path);
    // Threads still write into a folder while it is emptied, until what they write into is gone.
    for _ in 0..REMOVALS {
        if std::fs::remove_dir_all(path).is_ok() || !path.exists() {
            break;
        }
    }
    path.symlink_metadata().is_err()
}

/// One word of the memory that the ranks of a host share, 0 until one of them speaks.
pub fn speak_once(word: &'static AtomicU64) {
    *SPOKEN.lock() = Some(word);
}

/// Why the job ends early is a line of this file, too: launchers lose what their ranks print while they end them.
pub fn log_in(file: File) {
    *LOG.lock() = Some(file);
}

/// Nothing is left to say: a launcher that sees one rank end with an error may send SIGTERM to the others, whose outcome is
/// known already. The word of [`speak_once`] is not used any more, so its memory may go.
pub fn finished() {
    IS_ANNOUNCED.store(true, Ordering::SeqCst);
    *SPOKEN.lock() = None;
    *LOG.lock() = None;
}

/// Blocks the signals in this thread and those that it will start, and starts the thread that waits for them. Called before
/// any other thread begins, those of MPI included. `speaks`: whether this process tells of a signal that comes before
/// [`speak_once`].
///
/// Errors: the signals cannot be blocked, or the thread cannot be started.
pub fn listen(speaks: bool) -> io::Result<()> {
    let mut set = SigSet::empty();
    for signal in SIGNALS {
        // nohup(1) has asked that a closed terminal be survived.
        if signal != Signal::SIGHUP || !is_ignored(signal)? {
            set.add(signal);
        }
    }
    set.thread_block()?;
    let wait = move || {
        if let Ok(signal) = set.wait() {
            end_by(signal, speaks);
        }
    };
    std::thread::Builder::new()
        .name("signals".into())
        .spawn(wait)
        .map(drop)
}

/// True where the process was started with this signal ignored.
fn is_ignored(signal: Signal) -> io::Result<bool> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: asks for the present action by setting the default one, and puts it back; no handler of ours runs.
    let before = unsafe {
        let before = nix::sys::signal::sigaction(signal, &default)?;
        nix::sys::signal::sigaction(signal, &before)?;
        before
    };
    Ok(matches!(before.handler(), SigHandler::SigIgn))
}

fn end_by(signal: Signal, speaks: bool) -> ! {
    let status = 128 + signal as i32;
    let speaks = SPOKEN
        .lock()
        .map_or(speaks, |word| word.swap(1, Ordering::SeqCst) == 0);
    let message = (!IS_ANNOUNCED.load(Ordering::SeqCst)).then(|| {
        format!(
            "stopped by {signal}: half-written files are removed, no results are written; the job ends with status {status}"
        )
    });
    end(status, message, speaks)
}

/// Writes a line to the standard error output. A closed or full one is no reason to fail.
pub fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", plain(text));
}

/// Removes what is half written, gives up uploads, says why and ends the process with this status, within
/// [`LONGEST_CLEANUP`] also where a file system, a server or the standard error output does not take anything. Nothing new is
/// begun and nothing gets its final name from here on. The rank that has the log writes `message` into it; where this
/// process `speaks`, the standard error output has it too.
pub fn end(status: i32, message: Option<String>, speaks: bool) -> ! {
    // Never released. Where a rename is stuck, it does not come to an end before the process.
    let gate = GATE.try_write_for(LOCK_WAIT);
    let pending = PENDING.try_lock_for(LOCK_WAIT);
    let mut paths: Vec<PathBuf> = Vec::new();
    let mut locks: Vec<PathBuf> = Vec::new();
    let mut uploads: Vec<(String, Abort)> = Vec::new();
    if let Some(pending) = &pending {
        paths.extend(pending.paths.iter().flat_map(HashMap::values).cloned());
        locks.extend(pending.locks.iter().flat_map(HashMap::values).cloned());
        let all = pending.uploads.iter().flat_map(HashMap::values);
        uploads.extend(all.map(|upload| (upload.name.clone(), upload.abort.clone())));
    }
    std::mem::forget((gate, pending));
    let mut work = Work::new();
    let in_each = paths.len().div_ceil(CLEANERS).max(1);
    let there: Arc<Mutex<HashSet<PathBuf>>> = Arc::new(Mutex::new(paths.iter().cloned().collect()));
    for some in paths.chunks(in_each) {
        let (some, there) = (some.to_vec(), there.clone());
        work.begin(None, move || {
            for path in some {
                if remove(&path) {
                    there.lock().remove(&path);
                }
            }
            true
        });
    }
    for (name, abort) in uploads {
        work.begin(Some(name), move || abort());
    }
    if let Some(message) = message {
        if speaks {
            let line = format!("dlio-rs: {message}");
            work.begin(None, move || {
                say(&line);
                true
            });
        }
        if let Some(mut log) = LOG.try_lock_for(LOCK_WAIT).and_then(|mut log| log.take()) {
            let line = format!("[ERROR] {message}\n");
            work.begin(None, move || log.write_all(line.as_bytes()).is_ok());
        }
    }
    let left = work.wait(LONGEST_CLEANUP);
    let there = there.lock();
    locks.retain(|lock| {
        lock.parent()
            .is_none_or(|of| !there.iter().any(|path| path.starts_with(of)))
    });
    drop(there);
    if !locks.is_empty() {
        let mut last = Work::new();
        last.begin(None, move || locks.iter().all(|path| remove(path)));
        last.wait(LOCK_WAIT);
    }
    if !left.is_empty() {
        let mut last = Work::new();
        last.begin(None, move || {
            for name in left {
                say(&format!(
                    "dlio-rs: the upload of {name} could not be aborted: its parts stay on the server\n  remedy: dlio-rs clean {name} removes them"
                ));
            }
            true
        });
        last.wait(LOCK_WAIT);
    }
    // SAFETY: ends the process at once; MPI may be what hangs, and nothing of the process is needed any more.
    unsafe { libc::_exit(status) }
}

/// Things that are done at once, each in a thread of its own, since each of them may take for ever: what lies on one file
/// system or server does not wait for another.
struct Work {
    /// What each is about, where that is to be known if it fails.
    names: Vec<Option<String>>,
    done: Sender<(usize, bool)>,
    outcomes: Receiver<(usize, bool)>,
}

impl Work {
    fn new() -> Self {
        let (done, outcomes) = channel();
        Work {
            names: Vec::new(),
            done,
            outcomes,
        }
    }

    fn begin(&mut self, name: Option<String>, action: impl FnOnce() -> bool + Send + 'static) {
        let number = self.names.len();
        self.names.push(name);
        let done = self.done.clone();
        // Without a thread it counts as not done.
        let _ = std::thread::Builder::new().spawn(move || done.send((number, action())));
    }

    /// Waits until all have ended or the time is up; the names of what was not done, sorted. A pause of the whole machine
    /// does not use the time up: what it paused goes on first.
    fn wait(self, time: Duration) -> Vec<String> {
        let mut left: HashMap<usize, String> = (self.names.into_iter().enumerate())
            .filter_map(|(number, name)| Some((number, name?)))
            .collect();
        // Then the last thread that ends closes it.
        drop(self.done);
        let mut time_left = time;
        while !time_left.is_zero() {
            let slice = SLICE.min(time_left);
            let begun = Instant::now();
            match self.outcomes.recv_timeout(slice) {
                Ok((number, true)) => drop(left.remove(&number)),
                Ok((_, false)) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            time_left = time_left.saturating_sub(begun.elapsed().min(slice));
        }
        let mut names: Vec<_> = left.into_values().collect();
        names.sort();
        names
    }
}
