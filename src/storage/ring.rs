//! Many reads by one thread: tasks that ask io_uring, and give way while the kernel works.
//!
//! A task is a closure on a stack of its own. It runs ordinary code, like a thread, until it waits: for a [`call`], for a
//! time ([`pause_until`]) or for a [`Bell`]. Then another task of the same thread runs, and what all of them asked for goes to
//! the kernel in one system call. So decoding and checking stay where they are, and 64 reads in flight need one thread and one
//! ring, not 64 threads that wake each other.
//!
//! Each thread that runs tasks has a ring of its own ([`Ring::run`]): no lock, and completions are taken by the thread that asked.
//! Whatever else blocks a task (a lock, a plain system call) stops all tasks of its thread. A task must therefore hold no lock
//! that another task of its thread may want while it waits, unless all take it by [`lock`]; what has to block is done
//! [`aside`].

use std::cell::Cell;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult, Yielder};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};
use parking_lot::{Mutex, MutexGuard};

use crate::clock::now_ns;

mod access;

pub(crate) use access::{explained, may_pin, probe, refused};

/// Bytes of a task's stack: what a thread has. The kernel gives memory only to the part that is used.
const STACK: usize = 2 << 20;

/// What was asked for goes to the kernel after this many nanoseconds at the latest, though other tasks could run.
const HELD_BACK_NS: u64 = 100_000;

/// A task that need not wait lets the others run after this many nanoseconds.
const TURN_NS: u64 = 500_000;

/// How long a task waits before it looks again for what rings no bell: at first, and at most.
const LOOKS_NS: [u64; 2] = [20_000, 1_000_000];

/// The number by which the read of the bell is known in the ring; tasks have theirs from 0.
const BELL: u64 = u64::MAX;

/// That of calls that end other calls.
const CANCEL: u64 = u64::MAX - 1;

/// What a task waits for.
enum Wish {
    /// A call, and when it is given up.
    Call(squeue::Entry, u64),
    Until(u64),
    Bell,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, Default)]
struct Woken {
    /// As the system call would return it, or a negative error number.
    result: i32,
    /// When the thread learnt of it, [`now_ns`].
    at_ns: u64,
}

type Task = Coroutine<Woken, Wish, (), DefaultStack>;

/// The task that runs on a thread: the way out of it, and the bell of its ring. It lies on the task's stack.
struct Here {
    yielder: *const Yielder<Woken, Wish>,
    bell: Arc<Bell>,
    /// When it was run again after it had waited, [`now_ns`].
    since_ns: Cell<u64>,
    /// Time in which it could run and did not, because others of its thread were run.
    held_up_ns: Cell<u64>,
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
    let now = now_ns();
    task.since_ns.set(now);
    // A bell does not say when it was rung.
    if woken.at_ns > 0 {
        let held_up_ns = now.saturating_sub(woken.at_ns);
        task.held_up_ns.set(task.held_up_ns.get() + held_up_ns);
    }
    woken
}

/// Asks the ring of this thread, and lets other tasks run until the answer is there: the number that a system call would
/// return. At `until_ns` of [`now_ns`] the call is given up: ECANCELED, or what it has done by then; `u64::MAX`: never.
///
/// # Safety
/// The memory that the entry names stays valid and unshared until this returns. (A task that is in here is not dropped:
/// see [`Ring`]'s `drop`.)
///
/// Errors: the call's own.
pub(super) unsafe fn call(entry: squeue::Entry, until_ns: u64) -> io::Result<i32> {
    match suspend(Wish::Call(entry, until_ns)).result {
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

/// [`now_ns`] without the time in which this task was held up: what took how long is the difference of two.
pub(crate) fn own_ns() -> u64 {
    now_ns() - held_up_ns()
}

/// Lets other tasks run until this time. Units: nanoseconds of [`now_ns`].
pub(crate) fn pause_until(at_ns: u64) {
    suspend(Wish::Until(at_ns));
}

/// Lets other tasks run once, where this one has run for long without having to wait.
pub(super) fn give_way() {
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
pub(super) fn look_until<T>(mut look: impl FnMut() -> Option<T>) -> T {
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
pub(super) fn aside<T: Send>(job: impl FnOnce() -> T + Send) -> T {
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
    bell.waiting.fetch_add(1, SeqCst);
    // Looked at after the announcement: who makes it ready sees the announcement, or did so before this look.
    if !is_ready() {
        suspend(Wish::Bell);
    }
    bell.waiting.fetch_sub(1, SeqCst);
}

/// Wakes the tasks of one thread that wait for something that other threads do.
pub(crate) struct Bell {
    /// An eventfd, which the ring reads.
    fd: OwnedFd,
    /// Tasks that wait.
    waiting: AtomicUsize,
}

impl Bell {
    /// Errors: the limit of open files.
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: the call touches no memory of ours; the descriptor is new and nobody else's.
        let fd = unsafe {
            match libc::eventfd(0, libc::EFD_CLOEXEC) {
                -1 => return Err(io::Error::last_os_error()),
                fd => OwnedFd::from_raw_fd(fd),
            }
        };
        Ok(Bell {
            fd,
            waiting: AtomicUsize::new(0),
        })
    }

    /// Wakes the waiting tasks, if there are any. Called after the change that they wait for.
    pub(crate) fn ring(&self) {
        if self.waiting.load(SeqCst) > 0 {
            self.write();
        }
    }

    fn write(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes that live through the call. It fails only where the counter is full, and then the bell rings.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

/// A thread's ring, and the tasks that it runs.
pub(crate) struct Ring {
    uring: IoUring,
    bell: Arc<Bell>,
    /// Where the kernel puts the bell's count.
    rung: Box<u64>,
    /// The bell is being read.
    is_listening: bool,
    tasks: Vec<Option<Task>>,
    ready: VecDeque<(usize, Woken)>,
    /// Calls of tasks that have not ended.
    in_flight: usize,
    /// When the oldest call that the kernel does not have yet was asked for.
    asked_ns: Option<u64>,
    timers: BinaryHeap<Reverse<(u64, usize)>>,
    /// When the call of each task is given up.
    limits: Vec<u64>,
    /// Not before the first of them, or before one that was not needed.
    first_limit: u64,
    at_bell: Vec<usize>,
}

impl Ring {
    /// A ring for up to `tasks` tasks; it must be made by the thread that runs them.
    ///
    /// Errors: the kernel has no io_uring, or refuses it.
    pub(crate) fn new(tasks: usize, bell: Arc<Bell>) -> io::Result<Self> {
        Ok(Ring {
            uring: access::build(tasks as u32 + 1)?,
            bell,
            rung: Box::new(0),
            is_listening: false,
            tasks: Vec::new(),
            ready: VecDeque::new(),
            in_flight: 0,
            asked_ns: None,
            timers: BinaryHeap::new(),
            limits: Vec::new(),
            first_limit: u64::MAX,
            at_bell: Vec::new(),
        })
    }

    /// Has the kernel pin these buffers once, in place of at each read; a buffer's number is its place in the list.
    ///
    /// # Safety
    /// The buffers outlive the ring.
    ///
    /// Errors: the limit of locked memory (ENOMEM).
    pub(crate) unsafe fn register(&mut self, buffers: &[libc::iovec]) -> io::Result<()> {
        // SAFETY: the caller's promise.
        unsafe { self.uring.submitter().register_buffers(buffers) }
    }

    /// Runs tasks, at most as many as the ring is for, until all have ended.
    ///
    /// Errors: no memory for the tasks' stacks; the kernel refuses to go on, which ends the process where reads are in flight.
    pub(crate) fn run(&mut self, bodies: Vec<Box<dyn FnOnce()>>) -> io::Result<()> {
        self.tasks.clear();
        self.limits = vec![u64::MAX; bodies.len()];
        for (number, body) in bodies.into_iter().enumerate() {
            let bell = self.bell.clone();
            let task = Coroutine::with_stack(DefaultStack::new(STACK)?, move |yielder, _| {
                let here = Here {
                    yielder,
                    bell,
                    since_ns: Cell::new(now_ns()),
                    held_up_ns: Cell::new(0),
                };
                CURRENT.set(&here);
                body();
                CURRENT.set(ptr::null());
            });
            self.tasks.push(Some(task));
            self.ready.push_back((number, Woken::default()));
        }
        let mut left = self.tasks.len();
        loop {
            while let Some((number, woken)) = self.ready.pop_front() {
                left -= usize::from(self.resume(number, woken));
                if self.asked_ns.is_some_and(|at| now_ns() - at > HELD_BACK_NS) {
                    self.enter(0)?;
                    self.take()?;
                }
            }
            if left == 0 {
                return self.stop_listening();
            }
            if !self.at_bell.is_empty() {
                self.listen();
            }
            self.enter(1)?;
            self.take()?;
        }
    }

    /// Runs a task until it waits or ends; true when it has ended.
    fn resume(&mut self, number: usize, woken: Woken) -> bool {
        let Some(task) = &mut self.tasks[number] else {
            return false;
        };
        match task.resume(woken) {
            CoroutineResult::Return(()) => {
                self.tasks[number] = None;
                return true;
            }
            CoroutineResult::Yield(Wish::Call(entry, until)) => {
                self.push(entry.user_data(number as u64));
                self.limits[number] = until;
                self.first_limit = self.first_limit.min(until);
                self.in_flight += 1;
                self.asked_ns.get_or_insert_with(now_ns);
            }
            CoroutineResult::Yield(Wish::Until(at)) => self.timers.push(Reverse((at, number))),
            CoroutineResult::Yield(Wish::Bell) => self.at_bell.push(number),
        }
        false
    }

    fn push(&mut self, entry: squeue::Entry) {
        // SAFETY: what the entry names stays valid until its completion is taken: a task's stays in `call`, and the bell's is
        // the ring's own.
        let pushed = unsafe { self.uring.submission().push(&entry) };
        pushed.expect("the ring has room for one call of each task and the bell");
    }

    /// Reads the bell, so that it ends a wait in the kernel.
    fn listen(&mut self) {
        if !self.is_listening {
            self.is_listening = true;
            let into: *mut u64 = &mut *self.rung;
            let fd = Fd(self.bell.fd.as_raw_fd());
            self.push(
                opcode::Read::new(fd, into.cast(), 8)
                    .build()
                    .user_data(BELL),
            );
        }
    }

    fn stop_listening(&mut self) -> io::Result<()> {
        while self.is_listening {
            self.bell.write();
            self.enter(1)?;
            self.take()?;
        }
        Ok(())
    }

    /// Ends the calls whose time is over.
    fn give_up(&mut self, at_ns: u64) -> io::Result<()> {
        self.first_limit = u64::MAX;
        for number in 0..self.limits.len() {
            if self.limits[number] > at_ns {
                self.first_limit = self.first_limit.min(self.limits[number]);
                continue;
            }
            self.limits[number] = u64::MAX;
            if self.uring.submission().is_full() {
                self.enter(0)?;
            }
            let cancel = opcode::AsyncCancel::new(number as u64).build();
            self.push(cancel.user_data(CANCEL));
        }
        // At once: a task's next call has the same number. And tasks find the room that they count on.
        self.enter(0)
    }

    /// Hands over what was asked for, and waits for `want` answers, the next timer, or the end of a call's time.
    fn enter(&mut self, want: usize) -> io::Result<()> {
        self.asked_ns = None;
        let submitter = self.uring.submitter();
        let timer = self.timers.peek().map_or(u64::MAX, |Reverse((at, _))| *at);
        let entered = match timer.min(self.first_limit) {
            at if want > 0 && at < u64::MAX => {
                let left = at.saturating_sub(now_ns());
                let time = Timespec::new()
                    .sec(left / 1_000_000_000)
                    .nsec((left % 1_000_000_000) as u32);
                submitter.submit_with_args(want, &SubmitArgs::new().timespec(&time))
            }
            _ => submitter.submit_and_wait(want),
        };
        match entered {
            Ok(_) => Ok(()),
            // Time is up; a signal; answers have to be taken first.
            Err(e)
                if matches!(
                    e.raw_os_error(),
                    Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN)
                ) =>
            {
                Ok(())
            }
            Err(e) => Err(e),
        }
    }

    /// Takes the answers that are there, and looks which times are over.
    fn take(&mut self) -> io::Result<()> {
        let at_ns = now_ns();
        for answer in self.uring.completion() {
            match answer.user_data() {
                BELL => {
                    self.is_listening = false;
                    let waiting = self.at_bell.drain(..);
                    self.ready
                        .extend(waiting.map(|number| (number, Woken::default())));
                }
                // The call that it ends has an answer of its own.
                CANCEL => {}
                number => {
                    let result = answer.result();
                    self.in_flight -= 1;
                    self.limits[number as usize] = u64::MAX;
                    self.ready
                        .push_back((number as usize, Woken { result, at_ns }));
                }
            }
        }
        while let Some(&Reverse((at, number))) = self.timers.peek()
            && at <= at_ns
        {
            self.timers.pop();
            self.ready.push_back((number, Woken { result: 0, at_ns }));
        }
        if self.first_limit <= at_ns {
            self.give_up(at_ns)?;
        }
        Ok(())
    }
}

/// Runs these on this thread, each as a task of one ring; for the bench of the object client.
///
/// Errors: as [`Ring::new`] and [`Ring::run`].
#[doc(hidden)]
pub fn run_tasks(bodies: Vec<Box<dyn FnOnce()>>) -> io::Result<()> {
    let bell = Arc::new(Bell::new()?);
    Ring::new(bodies.len(), bell)?.run(bodies)
}

impl Drop for Ring {
    fn drop(&mut self) {
        // The kernel still writes into memory of tasks, which a panic or a refused call is about to free.
        if self.in_flight > 0 {
            crate::interrupt::say(&format!(
                "dlio-rs: {} reads are in flight in a ring that ends",
                self.in_flight
            ));
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests;
