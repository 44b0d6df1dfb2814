//! Many reads by one thread: tasks that ask io_uring, and give way while the kernel works.
//!
//! A task is a closure on a stack of its own. It runs ordinary code, like a thread, until it waits: for a [`call`], for a
//! time ([`pause_until`]) or for a [`Bell`]. Then another task of the same thread runs, and what all of them asked for goes to
//! the kernel in one system call. So decoding and checking stay where they are, and 64 reads in flight need one thread and one
//! ring, not 64 threads that wake each other.
//!
//! Each thread that runs tasks has a ring of its own ([`Ring::run`]): no lock, and completions are taken by the thread that asked.
//! Whatever else blocks a task (a lock, a plain system call) stops all tasks of its thread. A task must therefore hold no lock
//! that another task of its thread may want while it waits.

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
use io_uring::{IoUring, Probe, opcode, squeue};
use nix::sys::resource::{Resource, getrlimit};

use super::StorageError;
use crate::clock::now_ns;

/// Bytes of a task's stack: what a thread has. The kernel gives memory only to the part that is used.
const STACK: usize = 2 << 20;

/// What was asked for goes to the kernel after this many nanoseconds at the latest, though other tasks could run.
const HELD_BACK_NS: u64 = 100_000;

/// The number by which the read of the bell is known in the ring; tasks have theirs from 0.
const BELL: u64 = u64::MAX;

/// What a task waits for.
enum Wish {
    Call(squeue::Entry),
    Until(u64),
    Bell,
}

/// How a call ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Woken {
    /// As the system call would return it, or a negative error number.
    result: i32,
    /// When the thread learnt of it, [`now_ns`].
    pub(super) at_ns: u64,
}

impl Woken {
    /// The number that a system call would return.
    pub(super) fn value(self) -> io::Result<i32> {
        match self.result {
            code if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            value => Ok(value),
        }
    }
}

type Task = Coroutine<Woken, Wish, (), DefaultStack>;

/// The task that runs on a thread: the way out of it, and the bell of its ring. It lies on the task's stack.
struct Here {
    yielder: *const Yielder<Woken, Wish>,
    bell: Arc<Bell>,
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
    let woken = unsafe { &*(*here).yielder }.suspend(wish);
    CURRENT.set(here);
    woken
}

/// Asks the ring of this thread, and lets other tasks run until the answer is there.
///
/// # Safety
/// The memory that the entry names stays valid and unshared until this returns. (A task that is in here is not dropped:
/// see [`Ring`]'s `drop`.)
pub(super) unsafe fn call(entry: squeue::Entry) -> Woken {
    suspend(Wish::Call(entry))
}

/// Lets other tasks run until this time. Units: nanoseconds of [`now_ns`].
pub(crate) fn pause_until(at_ns: u64) {
    suspend(Wish::Until(at_ns));
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
    at_bell: Vec<usize>,
}

impl Ring {
    /// A ring for up to `tasks` tasks; it must be made by the thread that runs them.
    ///
    /// Errors: the kernel has no io_uring, or refuses it.
    pub(crate) fn new(tasks: usize, bell: Arc<Bell>) -> io::Result<Self> {
        Ok(Ring {
            uring: build(tasks as u32 + 1)?,
            bell,
            rung: Box::new(0),
            is_listening: false,
            tasks: Vec::new(),
            ready: VecDeque::new(),
            in_flight: 0,
            asked_ns: None,
            timers: BinaryHeap::new(),
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
        for (number, body) in bodies.into_iter().enumerate() {
            let bell = self.bell.clone();
            let task = Coroutine::with_stack(DefaultStack::new(STACK)?, move |yielder, _| {
                let here = Here { yielder, bell };
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
                    self.take();
                }
            }
            if left == 0 {
                return self.stop_listening();
            }
            if !self.at_bell.is_empty() {
                self.listen();
            }
            self.enter(1)?;
            self.take();
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
            CoroutineResult::Yield(Wish::Call(entry)) => {
                self.push(entry.user_data(number as u64));
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
            self.take();
        }
        Ok(())
    }

    /// Hands over what was asked for, and waits for `want` answers or the next timer.
    fn enter(&mut self, want: usize) -> io::Result<()> {
        self.asked_ns = None;
        let submitter = self.uring.submitter();
        let entered = match self.timers.peek() {
            Some(&Reverse((at, _))) if want > 0 => {
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

    /// Takes the answers that are there, and looks which timers are over.
    fn take(&mut self) {
        let at_ns = now_ns();
        for answer in self.uring.completion() {
            if answer.user_data() == BELL {
                self.is_listening = false;
                let waiting = self.at_bell.drain(..);
                self.ready
                    .extend(waiting.map(|number| (number, Woken::default())));
            } else {
                self.in_flight -= 1;
                let result = answer.result();
                let woken = Woken { result, at_ns };
                self.ready.push_back((answer.user_data() as usize, woken));
            }
        }
        while let Some(&Reverse((at, number))) = self.timers.peek()
            && at <= at_ns
        {
            self.timers.pop();
            self.ready.push_back((number, Woken { result: 0, at_ns }));
        }
    }
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

/// The ring of one thread, for the kernels that know the flags (Linux 6.1), and for those that do not.
fn build(entries: u32) -> io::Result<IoUring> {
    let entries = entries.next_power_of_two();
    IoUring::builder()
        .dontfork()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .build(entries)
        .or_else(|e| match e.raw_os_error() {
            Some(libc::EINVAL) => IoUring::builder().dontfork().build(entries),
            _ => Err(e),
        })
}

/// Whether this kernel, and whoever filters its system calls, lets this process read through a ring.
///
/// Errors: the cause, with its error number.
pub(crate) fn probe() -> Result<(), String> {
    let uring = build(2).map_err(|e| explained(&e))?;
    let mut probe = Probe::new();
    uring
        .submitter()
        .register_probe(&mut probe)
        .map_err(|e| explained(&e))?;
    let needed = [opcode::OpenAt::CODE, opcode::Read::CODE];
    match uring.params().is_feature_ext_arg() && needed.iter().all(|&op| probe.is_supported(op)) {
        true => Ok(()),
        false => {
            Err("the io_uring of this kernel is too old (Linux 5.11 has what is needed)".into())
        }
    }
}

/// CAP_IPC_LOCK, by which a process may lock memory without limit. Source: linux/capability.h.
const CAP_IPC_LOCK: u64 = 1 << 14;

/// Whether this process may have the kernel pin this many bytes of buffers.
pub(crate) fn may_pin(bytes: u64) -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let capabilities = status.lines().find_map(|line| {
        let hex = line.strip_prefix("CapEff:")?;
        u64::from_str_radix(hex.trim(), 16).ok()
    });
    capabilities.is_some_and(|all| all & CAP_IPC_LOCK != 0)
        || getrlimit(Resource::RLIMIT_MEMLOCK).is_ok_and(|(limit, _)| limit >= bytes)
}

/// What the error of a ring means.
pub(crate) fn explained(error: &io::Error) -> String {
    let cause = match error.raw_os_error() {
        Some(libc::ENOSYS) => {
            "this kernel has no io_uring, or a filter of system calls (seccomp) hides it (ENOSYS)"
        }
        Some(libc::EPERM | libc::EACCES) => {
            "this process may not use io_uring (EPERM): a filter of system calls (seccomp), or kernel.io_uring_disabled"
        }
        Some(libc::ENOMEM) => "the limit of locked memory is too low (ENOMEM, ulimit -l)",
        Some(libc::EMFILE) => "the limit of open files is reached (EMFILE, ulimit -n)",
        _ => return format!("io_uring: {error}"),
    };
    cause.into()
}

/// The error of a job that asked for a ring and cannot have it.
pub(crate) fn refused(cause: &str) -> StorageError {
    StorageError::Setup(format!(
        "read with reader.engine=uring: {cause}\n  remedy: set reader.engine=threads, or allow io_uring to this process"
    ))
}

#[cfg(test)]
mod tests;
