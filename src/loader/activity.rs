//! What each rank is doing right now, in memory that the ranks of a node share.
//!
//! The watchdog reads it, so that it can say what a silent rank was doing although that rank cannot speak.
//! All stores are relaxed: a reader of these words only needs values that are recent.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::clock::now_ns;
use crate::host::process::Identity;

const MOVED: usize = 0;
const PHASE: usize = 1;
const EPOCH: usize = 2;
const STEP: usize = 3;
const BUSY_UNTIL: usize = 4;
const ALIVE: usize = 5;
const PAUSE_UNTIL: usize = 6;
const WAITS: usize = 7;
const TASK_SINCE: usize = 8;
const TASK_LEN: usize = 9;
const WORK: usize = 10;
const WORK_DONE: usize = 11;
const WORK_TOTAL: usize = 12;
const WORK_SINCE: usize = 13;
const PROCESS: usize = 14;
const PROCESS_START: usize = 15;
const PROCESS_NAMESPACE: usize = 16;
const TASK: usize = 17;
/// Bytes of a task's words; longer ones are cut.
const TASK_BYTES: usize = 304;
const HEAD: usize = (TASK + TASK_BYTES / 8).next_multiple_of(PER_READER);
/// Words of a reader: since when, which file, which offset, and when it last moved; as many as a line of the CPU's cache, so that
/// readers on two CPUs do not take it from each other.
const PER_READER: usize = 8;

/// What the main thread of a rank is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Phase {
    /// Not yet in a phase.
    Start = 0,
    /// Writing the dataset.
    Generate,
    BatchWait,
    /// Emulating computation.
    Compute,
    /// Waiting for the other ranks.
    Barrier,
    /// Looking for the dataset: manifest and files.
    Find,
    /// Dropping cached pages between epochs.
    DropCache,
    /// Saving a checkpoint.
    Save,
    /// Loading a checkpoint.
    Load,
    /// Reducing and writing results.
    Report,
    /// Done; nothing more is expected of this rank.
    Done,
}

impl Phase {
    /// The phase's name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Start => "start",
            Phase::Generate => "generation",
            Phase::BatchWait => "waiting for a batch",
            Phase::Compute => "compute",
            Phase::Barrier => "waiting for other ranks",
            Phase::Find => "looking for the dataset",
            Phase::DropCache => "dropping caches",
            Phase::Save => "saving a checkpoint",
            Phase::Load => "loading a checkpoint",
            Phase::Report => "results",
            Phase::Done => "done",
        }
    }

    fn from_word(word: u64) -> Phase {
        [
            Phase::Start,
            Phase::Generate,
            Phase::BatchWait,
            Phase::Compute,
            Phase::Barrier,
            Phase::Find,
            Phase::DropCache,
            Phase::Save,
            Phase::Load,
            Phase::Report,
            Phase::Done,
        ]
        .into_iter()
        .find(|&phase| phase as u64 == word)
        .unwrap_or(Phase::Start)
    }
}

/// What a rank does in a stretch that has no steps of training.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u64)]
pub enum Stretch {
    /// Reading the split `valid`.
    Evaluation = 1,
    /// Writing a checkpoint.
    Save,
    /// Reading a checkpoint.
    Load,
    /// Looking at the files of the dataset.
    Check,
    /// Emptying the page cache.
    DropCache,
}

impl Stretch {
    const ALL: [Stretch; 5] = [
        Stretch::Evaluation,
        Stretch::Save,
        Stretch::Load,
        Stretch::Check,
        Stretch::DropCache,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Stretch::Evaluation => "evaluation",
            Stretch::Save => "save of a checkpoint",
            Stretch::Load => "load of a checkpoint",
            Stretch::Check => "check of the dataset",
            Stretch::DropCache => "drop of the page cache",
        }
    }

    /// What is counted of it.
    pub fn unit(self) -> &'static str {
        match self {
            Stretch::Evaluation => "steps",
            Stretch::Save | Stretch::Load => "B",
            Stretch::Check | Stretch::DropCache => "files",
        }
    }
}

/// Stretch that goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Working {
    pub what: Stretch,
    /// Done so far, in [`Stretch::unit`].
    pub done: u64,
    /// All of it; 0 where nobody knows.
    pub total: u64,
    /// When it began, [`now_ns`].
    pub since_ns: u64,
}

/// Ends the work when dropped.
pub struct WorkGuard(Activity);

impl Drop for WorkGuard {
    fn drop(&mut self) {
        self.0.words[WORK].store(0, Relaxed);
    }
}

/// One rank's page.
#[derive(Debug, Clone, Copy)]
pub struct Activity {
    words: &'static [AtomicU64],
}

/// An I/O call that has begun and not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outstanding {
    /// When it began, [`now_ns`].
    pub since_ns: u64,
    /// File index.
    pub file: u64,
    /// Byte offset of the call.
    pub offset: u64,
}

impl Activity {
    /// Words of one page for this many reader or writer threads.
    pub const fn words(threads: usize) -> usize {
        HEAD + PER_READER * threads
    }

    /// A page over these words (of [`Activity::words`] length).
    pub fn new(words: &'static [AtomicU64]) -> Self {
        Activity { words }
    }

    /// The page is that of this process.
    pub fn belongs_to(&self, process: Identity) {
        self.words[PROCESS_START].store(process.start, Relaxed);
        self.words[PROCESS_NAMESPACE].store(process.namespace, Relaxed);
        self.words[PROCESS].store(u64::from(process.id), Relaxed);
    }

    /// Whose page it is; the default one before [`Self::belongs_to`].
    pub fn process(&self) -> Identity {
        let of = |word: usize| self.words[word].load(Relaxed);
        Identity {
            id: of(PROCESS) as u32,
            start: of(PROCESS_START),
            namespace: of(PROCESS_NAMESPACE),
        }
    }

    /// Something was done: a read ended, a step ended, a chunk was written.
    pub fn moved(&self) {
        self.words[MOVED].store(now_ns(), Relaxed);
    }

    /// When this rank last moved, [`now_ns`]; 0: never.
    pub fn last_moved(&self) -> u64 {
        let readers = self.words[HEAD..].chunks_exact(PER_READER);
        let moved = readers.map(|words| words[3].load(Relaxed));
        moved.fold(self.words[MOVED].load(Relaxed), u64::max)
    }

    /// This process runs (said by its watchdog thread, which does nothing else).
    pub fn sign_of_life(&self) {
        self.words[ALIVE].store(now_ns(), Relaxed);
    }

    /// When the process last gave a sign of life; 0: never.
    pub fn last_sign_of_life(&self) -> u64 {
        self.words[ALIVE].load(Relaxed)
    }

    /// The main thread enters a phase.
    pub fn enter(&self, phase: Phase, epoch: u64, step: u64) {
        self.words[PHASE].store(phase as u64, Relaxed);
        self.words[EPOCH].store(epoch, Relaxed);
        self.words[STEP].store(step, Relaxed);
    }

    /// Phase, epoch and step.
    pub fn place(&self) -> (Phase, u64, u64) {
        (
            Phase::from_word(self.words[PHASE].load(Relaxed)),
            self.words[EPOCH].load(Relaxed),
            self.words[STEP].load(Relaxed),
        )
    }

    /// This rank begins work of `total` units (0: not known), until the guard is dropped.
    pub fn work(&self, what: Stretch, total: u64) -> WorkGuard {
        self.words[WORK_DONE].store(0, Relaxed);
        self.words[WORK_TOTAL].store(total, Relaxed);
        self.words[WORK_SINCE].store(now_ns(), Relaxed);
        self.words[WORK].store(what as u64, Relaxed);
        WorkGuard(*self)
    }

    /// So much more of it is done.
    pub fn worked(&self, n: u64) {
        self.words[WORK_DONE].fetch_add(n, Relaxed);
    }

    /// The work that goes on.
    pub fn working(&self) -> Option<Working> {
        let of = |word: usize| self.words[word].load(Relaxed);
        let what = Stretch::ALL.into_iter().find(|w| *w as u64 == of(WORK))?;
        Some(Working {
            what,
            done: of(WORK_DONE),
            total: of(WORK_TOTAL),
            since_ns: of(WORK_SINCE),
        })
    }

    /// The main thread will knowingly wait until this time (computation), which is no stall.
    pub fn busy_until(&self, at_ns: u64) {
        self.words[BUSY_UNTIL].store(at_ns, Relaxed);
    }

    /// Sets another end of the wait where it is `from`.
    pub fn change_busy(&self, from: u64, to: u64) {
        // Where it is another, it stays.
        let _ = self.words[BUSY_UNTIL].compare_exchange(from, to, Relaxed, Relaxed);
    }

    /// A reader thread pauses until this time, as the workload says; the latest of such times counts.
    pub fn pauses_until(&self, at_ns: u64) {
        self.words[PAUSE_UNTIL].fetch_max(at_ns, Relaxed);
    }

    /// When the last wait that is known in advance ends, of the main thread or of a reader.
    pub fn busy_end(&self) -> u64 {
        let of = |word: usize| self.words[word].load(Relaxed);
        of(BUSY_UNTIL).max(of(PAUSE_UNTIL))
    }

    /// The main thread begins or ends a collective: all that it does is wait for other ranks.
    pub fn waits(&self, is_waiting: bool) {
        self.words[WAITS].store(u64::from(is_waiting), Relaxed);
    }

    /// True while the main thread waits for other ranks.
    pub fn is_waiting(&self) -> bool {
        self.words[WAITS].load(Relaxed) != 0
    }

    /// The main thread begins something that may take long, such as `read /data/manifest`, until the guard is dropped.
    pub fn task(&self, text: &str) -> Task {
        let mut end = text.len().min(TASK_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        let bytes = &text.as_bytes()[..end];
        for (word, part) in self.words[TASK..HEAD].iter().zip(bytes.chunks(8)) {
            let mut whole = [0; 8];
            whole[..part.len()].copy_from_slice(part);
            word.store(u64::from_le_bytes(whole), Relaxed);
        }
        self.words[TASK_LEN].store(end as u64, Relaxed);
        self.words[TASK_SINCE].store(now_ns(), Relaxed);
        Task(*self)
    }

    /// What the main thread is in the middle of, and since when ([`now_ns`]).
    pub fn current_task(&self) -> Option<(String, u64)> {
        let since = self.words[TASK_SINCE].load(Relaxed);
        if since == 0 {
            return None;
        }
        let len = self.words[TASK_LEN].load(Relaxed) as usize;
        let mut bytes: Vec<u8> = (self.words[TASK..HEAD].iter())
            .flat_map(|word| word.load(Relaxed).to_le_bytes())
            .collect();
        bytes.truncate(len);
        // Another rank may be changing it at this moment.
        Some((String::from_utf8_lossy(&bytes).into_owned(), since))
    }

    /// Reader `thread` begins an I/O call.
    pub fn io_begins(&self, thread: usize, file: u64, offset: u64) {
        self.io_begins_at(now_ns(), thread, file, offset);
    }

    /// The same, where it is known that it is `now`, [`now_ns`].
    pub fn io_begins_at(&self, now: u64, thread: usize, file: u64, offset: u64) {
        let at = HEAD + PER_READER * thread;
        self.words[at + 1].store(file, Relaxed);
        self.words[at + 2].store(offset, Relaxed);
        self.words[at].store(now, Relaxed);
    }

    /// Reader `thread` has no I/O outstanding.
    pub fn io_ends(&self, thread: usize) {
        self.io_ends_at(now_ns(), thread);
    }

    /// The same, where it is known that it is `now`, [`now_ns`].
    pub fn io_ends_at(&self, now: u64, thread: usize) {
        let at = HEAD + PER_READER * thread;
        self.words[at].store(0, Relaxed);
        self.words[at + 3].store(now, Relaxed);
    }

    /// An I/O call of reader `thread`, from beginning to end.
    pub fn io<T>(&self, thread: usize, file: u64, offset: u64, call: impl FnOnce() -> T) -> T {
        self.io_begins(thread, file, offset);
        let outcome = call();
        self.io_ends(thread);
        outcome
    }

    /// The oldest I/O call that has not ended.
    pub fn oldest(&self) -> Option<Outstanding> {
        self.words[HEAD..]
            .chunks_exact(PER_READER)
            .map(|w| Outstanding {
                since_ns: w[0].load(Relaxed),
                file: w[1].load(Relaxed),
                offset: w[2].load(Relaxed),
            })
            .filter(|io| io.since_ns != 0)
            .min_by_key(|io| io.since_ns)
    }
}

/// Something that a main thread is in the middle of; it has moved when this is dropped.
#[must_use]
pub struct Task(Activity);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.words[TASK_SINCE].store(0, Relaxed);
        self.0.moved();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Activity {
        Activity::new(
            (0..Activity::words(1))
                .map(|_| AtomicU64::new(0))
                .collect::<Vec<_>>()
                .leak(),
        )
    }

    #[test]
    fn a_task_is_seen_while_it_lasts_and_long_ones_are_cut_between_characters() {
        let page = page();
        assert_eq!(page.current_task(), None);
        let task = page.task("read /data/\u{e9}");
        assert_eq!(page.current_task().unwrap().0, "read /data/\u{e9}");
        drop(task);
        assert_eq!(page.current_task(), None);
        assert!(page.last_moved() > 0);
        let long = "\u{e9}".repeat(TASK_BYTES);
        let _task = page.task(&format!("x{long}"));
        let seen = page.current_task().unwrap().0;
        assert!(
            seen.len() == TASK_BYTES - 1 && seen.ends_with('\u{e9}'),
            "{seen}"
        );
    }

    #[test]
    fn a_rank_has_moved_when_one_of_its_readers_has() {
        let words = (0..Activity::words(2)).map(|_| AtomicU64::new(0));
        let page = Activity::new(words.collect::<Vec<_>>().leak());
        page.io_begins_at(3, 1, 7, 0);
        assert_eq!(
            (page.last_moved(), page.oldest().map(|io| io.file)),
            (0, Some(7))
        );
        page.io_ends_at(5, 1);
        page.io_ends_at(4, 0);
        assert_eq!((page.last_moved(), page.oldest()), (5, None));
        page.moved();
        assert!(page.last_moved() > 5);
    }

    #[test]
    fn a_reader_that_pauses_is_busy_though_the_main_thread_is_not() {
        let page = page();
        page.pauses_until(7);
        page.pauses_until(5);
        page.busy_until(0);
        assert_eq!(page.busy_end(), 7);
        page.busy_until(9);
        assert_eq!(page.busy_end(), 9);
    }
}
