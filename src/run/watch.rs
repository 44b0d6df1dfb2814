//! When nothing moves: says which ranks are silent, where and in what, and ends the job.
//!
//! A thread that calls no MPI and only reads the pages that the ranks of a node share, so it can speak of a rank
//! that cannot. The lowest rank of a node whose process still runs speaks; a launcher that sees one process end
//! with an error ends the others.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::JobContext;
use crate::clock::now_ns;
use crate::loader::{Activity, Phase};

/// The page of every rank of this node, and a word by which one of them takes the task of speaking.
pub struct Board {
    /// Pages in node-local rank order.
    pub pages: Vec<Activity>,
    /// World ranks in the same order.
    pub ranks: Vec<usize>,
    /// This node's name.
    pub host: String,
    /// 0 until a watchdog speaks.
    pub spoken: &'static AtomicU64,
    /// Ranks of the job beyond this node.
    pub has_other_nodes: bool,
    /// Names of files, for messages.
    pub file_name: Arc<dyn Fn(u64) -> String + Send + Sync>,
}

/// A running watchdog; stops when dropped.
pub struct Watchdog {
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

const LOOK_EVERY: Duration = Duration::from_millis(200);

impl Watchdog {
    /// Watches the ranks of this node until dropped. `file_name` names the file of an index, for messages.
    pub fn for_job(
        job: &JobContext,
        file_name: Arc<dyn Fn(u64) -> String + Send + Sync>,
    ) -> Watchdog {
        let cluster = job.cluster;
        let nodes = cluster.node_of_rank();
        let mine = nodes[cluster.rank()];
        let board = Board {
            pages: job.pages.clone(),
            ranks: (0..cluster.size()).filter(|&r| nodes[r] == mine).collect(),
            host: cluster.host_names()[mine].clone(),
            spoken: job.spoken,
            has_other_nodes: cluster.host_names().len() > 1,
            file_name,
        };
        Self::start(board, cluster.local_rank(), job.options.stall_timeout)
    }

    /// Watches `board` from the node-local rank `me`. `timeout` zero: off.
    pub fn start(board: Board, me: usize, timeout: Duration) -> Watchdog {
        let stop = Arc::new(AtomicBool::new(false));
        if timeout.is_zero() {
            return Watchdog { stop, thread: None };
        }
        let stopped = stop.clone();
        let thread = std::thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || watch(&board, me, timeout, &stopped))
            .ok();
        Watchdog { stop, thread }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn watch(board: &Board, me: usize, timeout: Duration, stopped: &AtomicBool) {
    let timeout_ns = timeout.as_nanos() as u64;
    let mut alive_since = now_ns();
    let mut looked = now_ns();
    loop {
        std::thread::park_timeout(LOOK_EVERY);
        if stopped.load(Ordering::Relaxed) {
            return;
        }
        let now = now_ns();
        // A process that was itself stopped must not judge the others by the time it slept through.
        if now - looked > 10 * LOOK_EVERY.as_nanos() as u64 {
            alive_since = now;
        }
        looked = now;
        board.pages[me].sign_of_life();
        let last = board
            .pages
            .iter()
            .map(|page| page.last_moved().max(page.busy_end().min(now)))
            .fold(alive_since, u64::max);
        // Higher ranks give lower ones a second each to speak first; a node whose ranks all wait for others
        // gives those others' watchdogs time to name the culprit.
        let all_wait = board
            .pages
            .iter()
            .all(|page| matches!(page.place().0, Phase::Barrier | Phase::Done | Phase::Report));
        let mut limit = timeout_ns + me as u64 * 1_000_000_000;
        if all_wait && board.has_other_nodes {
            limit += timeout_ns;
        }
        if now.saturating_sub(last) < limit {
            continue;
        }
        if board.spoken.swap(1, Ordering::SeqCst) == 0 {
            eprintln!("{}", verdict(board, last, now, timeout));
        }
        // `_exit` and not MPI_Abort: this is not the main thread, and MPI may be what hangs.
        // SAFETY: ends the process at once; nothing of it is needed any more.
        unsafe { libc::_exit(1) };
    }
}

/// The message. Ranks that only wait for others are counted, the rest are named.
fn verdict(board: &Board, last: u64, now: u64, timeout: Duration) -> String {
    let mut text = format!(
        "dlio-rs: nothing has moved on {} for {:.0} s (--stall-timeout {} s); the job ends with status 1.",
        board.host,
        now.saturating_sub(last) as f64 / 1e9,
        timeout.as_secs()
    );
    let mut waiting = Vec::new();
    for (page, rank) in board.pages.iter().zip(&board.ranks) {
        let (phase, epoch, step) = page.place();
        let silence = now.saturating_sub(page.last_sign_of_life());
        let is_frozen = silence > 10 * LOOK_EVERY.as_nanos() as u64;
        if matches!(phase, Phase::Barrier | Phase::Report) && !is_frozen {
            waiting.push(*rank);
            continue;
        }
        let _ = write!(
            text,
            "\n  silent: rank {rank} on {}: {}, epoch {epoch}, step {step}",
            board.host,
            phase.name()
        );
        if is_frozen {
            let _ = write!(
                text,
                "; its process has given no sign of life for {:.0} s (stopped?)",
                silence as f64 / 1e9
            );
        }
        match page.oldest() {
            Some(io) => {
                let age = now.saturating_sub(io.since_ns) as f64 / 1e9;
                let name = (board.file_name)(io.file);
                let _ = write!(
                    text,
                    "; oldest I/O: {name} at byte {}, {age:.1} s old",
                    io.offset
                );
            }
            None => text.push_str("; no I/O outstanding"),
        }
    }
    if !waiting.is_empty() {
        let _ = write!(text, "\n  waiting for them: rank(s) {waiting:?}");
    }
    text
}
