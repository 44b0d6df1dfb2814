//! What a task sees: it asks its ring, and gives way.

use std::cell::Cell;
use std::io;
use std::ptr;
use std::sync::Arc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, Yielder};
use io_uring::squeue;
use parking_lot::{Mutex, MutexGuard};

use super::bell::Bell;
use crate::clock::{has_seen, look_ns, now_ns, seen_ns};

/// A task that need not wait lets the others run after this many nanoseconds.
const TURN_NS: u64 = 500_000;

/// How long a task waits before it looks again for what rings no bell: at first, and at most.
const LOOKS_NS: [u64; 2] = [20_000, 1_000_000];

/// What a task waits for.
pub(super) enum Wish {
    /// A call, when it is given up, and when it was asked for.
    Call(squeue::Entry, u64, u64),
    Until(u64),
    Bell,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Woken {
    /// As the system call would return it, or a negative error number.
    pub(super) result: i32,
    /// When the thread learnt of it, [`now_ns`].
    pub(super) at_ns: u64,
    /// When the task was run again.
    pub(super) run_ns: u64,
}

pub(super) type Task = Coroutine<Woken, Wish, (), DefaultStack>;

/// The task that runs on a thread: the way out of it, and the bell of its ring. It lies on the task's stack.
struct Here {
    yielder: *const Yielder<Woken, Wish>,
    bell: Arc<Bell>,
    /// When it was run again after it had waited, [`now_ns`].
    since_ns: Cell<u64>,
    /// Time in which it could run and did not, because others of its thread were run.
    held_up_ns: Cell<u64>,
}

/// The body of a task.
pub(super) fn begin(yielder: &Yielder<Woken, Wish>, bell: Arc<Bell>, body: Box<dyn FnOnce()>) {
    let now = now_ns();
    let here = Here {
        yielder,
        bell,
        since_ns: Cell::new(now),
        held_up_ns: Cell::new(0),
    };
    CURRENT.set(&here);
    body();
    CURRENT.set(ptr::null());
}

thread_local! {
    /// Null where no task runs.
    static CURRENT: Cell<*const Here> = const { Cell::new(ptr::null()) };
}

/// True where a task runs.
pub(crate) fn is_task() -> bool {
    !CURRENT.get().is_null()
}

fn suspend(wish: Wish) -> Woken {
    let here = CURRENT.replace(ptr::null());
    assert!(!here.is_null(), "only a task of a ring can wait here");
    // SAFETY: set by the task that runs now, on whose stack both lie until the task ends; it is taken away whenever the task
    // does not run.
    let task = unsafe { &*here };
    // SAFETY: the same.
    let woken = unsafe { &*task.yielder }.suspend(wish);
    CURRENT.set(here);
    task.since_ns.set(woken.run_ns);
    has_seen(woken.run_ns);
    // A bell does not say when it was rung.
    if woken.at_ns > 0 {
        let held_up_ns = woken.run_ns.saturating_sub(woken.at_ns);
        task.held_up_ns.set(task.held_up_ns.get() + held_up_ns);
    }
    woken
}

/// Asks the ring of this thread, and lets other tasks run until the answer is there: the number that a system call would
/// return. At `until_ns` of [`now_ns`] the call is given up: ECANCELED, or what it has done by then; `u64::MAX`: never.
///
/// # Safety
/// The memory that the entry names stays valid and unshared until this returns. (A task that is in here is not dropped:
/// see the ring's `drop`.)
///
/// Errors: the call's own.
pub(in crate::storage) unsafe fn call(entry: squeue::Entry, until_ns: u64) -> io::Result<i32> {
    answer(suspend(Wish::Call(entry, until_ns, now_ns())))
}

/// The same without a limit, right after a look at the clock ([`look_ns`]), which is not read once more.
///
/// # Safety
/// As [`call`].
///
/// Errors: the call's own.
pub(in crate::storage) unsafe fn call_timed(entry: squeue::Entry) -> io::Result<i32> {
    answer(suspend(Wish::Call(entry, u64::MAX, seen_ns())))
}

fn answer(woken: Woken) -> io::Result<i32> {
    match woken.result {
        code if code < 0 => Err(io::Error::from_raw_os_error(-code)),
        value => Ok(value),
    }
}

/// How long this task was held up so far: an answer was there, and others of its thread were run. 0 for a thread. Units:
/// nanoseconds.
pub(crate) fn held_up_ns() -> u64 {
    let here = CURRENT.get();
    // SAFETY: as in `suspend`.
    unsafe { here.as_ref() }.map_or(0, |here| here.held_up_ns.get())
}

/// [`look_ns`] without the time in which this task was held up: what took how long is the difference of two.
pub(crate) fn own_ns() -> u64 {
    look_ns() - held_up_ns()
}

/// The same without a look: [`seen_ns`]. Right after a call of a task that is when the call had ended.
pub(crate) fn own_seen_ns() -> u64 {
    seen_ns() - held_up_ns()
}

/// Lets other tasks run until this time. Units: nanoseconds of [`now_ns`].
pub(crate) fn pause_until(at_ns: u64) {
    suspend(Wish::Until(at_ns));
}

/// Lets other tasks run once, where this one has run for long without having to wait.
pub(in crate::storage) fn give_way() {
    let here = CURRENT.get();
    assert!(!here.is_null(), "only a task of a ring can give way");
    // SAFETY: as in `suspend`.
    let task = unsafe { &*here };
    let (before, held_up_ns) = (now_ns(), task.held_up_ns.get());
    if before - task.since_ns.get() > TURN_NS {
        pause_until(before);
        task.held_up_ns.set(held_up_ns + now_ns() - before);
    }
}

/// Lets other tasks run until this gives something.
fn look_until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let [mut patience, longest] = LOOKS_NS;
    loop {
        if let Some(found) = look() {
            return found;
        }
        pause_until(now_ns() + patience);
        patience = (patience * 2).min(longest);
    }
}

/// Locks what may be held while its holder waits for storage: a thread sleeps until it is free, a task lets others run.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    match is_task() {
        true => look_until(|| mutex.try_lock()),
        false => mutex.lock(),
    }
}

/// Does what may block: here, or for a task on a thread of its own, while other tasks run.
pub(in crate::storage) fn aside<T: Send>(job: impl FnOnce() -> T + Send) -> T {
    if !is_task() {
        return job();
    }
    std::thread::scope(|scope| {
        let helper = scope.spawn(job);
        look_until(|| helper.is_finished().then_some(()));
        match helper.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

/// Lets other tasks run until the bell of this ring is rung; not if `is_ready` already. May return early.
pub(crate) fn wait_unless(is_ready: impl Fn() -> bool) {
    let here = CURRENT.get();
    assert!(!here.is_null(), "only a task of a ring can wait here");
    // SAFETY: as in `suspend`.
    let bell = unsafe { &*here }.bell.clone();
    let _waiting = bell.announce();
    // Looked at after the announcement: who makes it ready sees the announcement, or did so before this look.
    if !is_ready() {
        suspend(Wish::Bell);
    }
}
