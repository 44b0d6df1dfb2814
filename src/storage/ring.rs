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

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;

use corosensei::stack::DefaultStack;
use corosensei::{Coroutine, CoroutineResult};
use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};

use crate::clock::now_ns;

mod access;
mod bell;
mod task;

pub(crate) use access::{explained, may_pin, probe, refused};
pub(crate) use bell::Bell;
pub(super) use task::{aside, call, call_timed, give_way};
pub(crate) use task::{held_up_ns, is_task, lock, own_ns, own_seen_ns, pause_until, wait_unless};

use task::{Task, Wish, Woken};

/// Bytes of a task's stack: what a thread has. The kernel gives memory only to the part that is used.
const STACK: usize = 2 << 20;

/// What was asked for goes to the kernel after this many nanoseconds at the latest, though other tasks could run.
const HELD_BACK_NS: u64 = 100_000;

/// Other threads are shown what tasks have done after this many nanoseconds at the latest, or after the turn of a task that was
/// longer.
const UNSEEN_NS: u64 = 50_000;

/// The number by which the read of the bell is known in the ring; tasks have theirs from 0.
const BELL: u64 = u64::MAX;

/// That of calls that end other calls.
const CANCEL: u64 = u64::MAX - 1;

/// A thread's ring. It outlives the tasks of one run: what it has registered, and the memory of their stacks, serve again.
pub(crate) struct Ring {
    uring: IoUring,
    bell: Arc<Bell>,
    /// Where the kernel puts the bell's count.
    rung: Box<u64>,
    /// The bell is being read.
    is_listening: bool,
    stacks: Vec<DefaultStack>,
}

/// The tasks of one run, and what they wait for.
struct Round<'a> {
    ring: &'a mut Ring,
    show: &'a dyn Fn(),
    /// When that was called last.
    shown_ns: u64,
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
    /// About the time: the clock was read when the last task waited, or later.
    now_ns: u64,
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
            stacks: Vec::new(),
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

    /// Runs tasks, at most as many as the ring is for, until all have ended. `show` is called before this thread waits, and now
    /// and then while tasks run: it may wake other threads for what several tasks have done.
    ///
    /// Errors: no memory for the tasks' stacks; the kernel refuses to go on, which ends the process where reads are in flight.
    pub(crate) fn run(
        &mut self,
        bodies: Vec<Box<dyn FnOnce()>>,
        show: &dyn Fn(),
    ) -> io::Result<()> {
        let count = bodies.len();
        let mut round = Round {
            ring: self,
            show,
            shown_ns: 0,
            tasks: Vec::with_capacity(count),
            ready: VecDeque::with_capacity(count),
            in_flight: 0,
            asked_ns: None,
            timers: BinaryHeap::new(),
            limits: vec![u64::MAX; count],
            first_limit: u64::MAX,
            at_bell: Vec::with_capacity(count),
            now_ns: now_ns(),
        };
        bodies.into_iter().try_for_each(|body| round.add(body))?;
        round.finish()
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
            let fd = Fd(self.bell.as_raw_fd());
            self.push(
                opcode::Read::new(fd, into.cast(), 8)
                    .build()
                    .user_data(BELL),
            );
        }
    }
}

impl Round<'_> {
    /// One more task, which begins when its turn comes.
    fn add(&mut self, body: Box<dyn FnOnce()>) -> io::Result<()> {
        let bell = self.ring.bell.clone();
        let stack = match self.ring.stacks.pop() {
            Some(stack) => stack,
            None => DefaultStack::new(STACK)?,
        };
        let task = Coroutine::with_stack(stack, move |yielder, _| task::begin(yielder, bell, body));
        self.ready.push_back((self.tasks.len(), Woken::default()));
        self.tasks.push(Some(task));
        Ok(())
    }

    /// Runs the tasks until all have ended.
    fn finish(&mut self) -> io::Result<()> {
        let mut left = self.tasks.len();
        loop {
            while let Some((number, woken)) = self.ready.pop_front() {
                left -= usize::from(self.resume(number, woken));
                if self.now_ns.saturating_sub(self.shown_ns) > UNSEEN_NS {
                    self.show();
                    // To wake another thread takes a while, which is no time of the next task.
                    self.now_ns = now_ns();
                }
                if (self.asked_ns).is_some_and(|at| self.now_ns.saturating_sub(at) > HELD_BACK_NS) {
                    self.show();
                    self.enter(0)?;
                    self.take()?;
                }
            }
            self.show();
            if left == 0 {
                return self.stop_listening();
            }
            self.wait()?;
        }
    }

    fn show(&mut self) {
        (self.show)();
        self.shown_ns = self.now_ns;
    }

    /// No task can run: waits until one can, or may.
    fn wait(&mut self) -> io::Result<()> {
        if self.at_bell.is_empty() {
            self.enter(1)?;
            return self.take();
        }
        if self.asked_ns.is_some() {
            // Much is answered at once, and then this thread does not sleep: nobody need wake it.
            self.enter(0)?;
            self.take()?;
        }
        if self.ring.bell.take_rung() {
            self.hear();
        }
        if !self.ready.is_empty() {
            return Ok(());
        }
        if !self.ring.bell.falls_asleep() {
            self.hear();
            return Ok(());
        }
        self.ring.listen();
        let entered = self.enter(1);
        self.ring.bell.is_awake();
        entered?;
        self.take()
    }

    /// The bell was rung: those who wait for it look again.
    fn hear(&mut self) {
        let waiting = self.at_bell.drain(..);
        (self.ready).extend(waiting.map(|number| (number, Woken::default())));
    }

    /// Runs a task until it waits or ends; true when it has ended.
    fn resume(&mut self, number: usize, woken: Woken) -> bool {
        let Some(task) = &mut self.tasks[number] else {
            return false;
        };
        let run_ns = self.now_ns;
        let wish = task.resume(Woken { run_ns, ..woken });
        // The clock costs a tenth of a small read: what a task has just seen is taken for now.
        self.now_ns = match wish {
            CoroutineResult::Yield(Wish::Call(_, _, at)) => at.max(run_ns),
            _ => now_ns(),
        };
        match wish {
            CoroutineResult::Return(()) => {
                let ended = self.tasks[number].take();
                self.ring.stacks.extend(ended.map(Task::into_stack));
                return true;
            }
            CoroutineResult::Yield(Wish::Call(entry, until, _)) => {
                self.ring.push(entry.user_data(number as u64));
                self.limits[number] = until;
                self.first_limit = self.first_limit.min(until);
                self.in_flight += 1;
                self.asked_ns.get_or_insert(self.now_ns);
            }
            CoroutineResult::Yield(Wish::Until(at)) => self.timers.push(Reverse((at, number))),
            CoroutineResult::Yield(Wish::Bell) => self.at_bell.push(number),
        }
        false
    }

    fn stop_listening(&mut self) -> io::Result<()> {
        while self.ring.is_listening {
            self.ring.bell.write();
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
            if self.ring.uring.submission().is_full() {
                self.enter(0)?;
            }
            let cancel = opcode::AsyncCancel::new(number as u64).build();
            self.ring.push(cancel.user_data(CANCEL));
        }
        // At once: a task's next call has the same number. And tasks find the room that they count on.
        self.enter(0)
    }

    /// Hands over what was asked for, and waits for `want` answers, the next timer, or the end of a call's time.
    fn enter(&mut self, want: usize) -> io::Result<()> {
        self.asked_ns = None;
        let submitter = self.ring.uring.submitter();
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
        self.now_ns = at_ns;
        self.shown_ns = at_ns;
        let woken = |result| Woken {
            result,
            at_ns,
            run_ns: 0,
        };
        let mut is_rung = false;
        for answer in self.ring.uring.completion() {
            match answer.user_data() {
                BELL => is_rung = true,
                // The call that it ends has an answer of its own.
                CANCEL => {}
                number => {
                    let result = answer.result();
                    self.in_flight -= 1;
                    self.limits[number as usize] = u64::MAX;
                    self.ready.push_back((number as usize, woken(result)));
                }
            }
        }
        if is_rung {
            self.ring.is_listening = false;
            // Before the tasks look: what is rung after that has to be heard again.
            self.ring.bell.take_rung();
            self.hear();
        }
        while let Some(&Reverse((at, number))) = self.timers.peek()
            && at <= at_ns
        {
            self.timers.pop();
            self.ready.push_back((number, woken(0)));
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
    Ring::new(bodies.len(), bell)?.run(bodies, &|| {})
}

impl Drop for Round<'_> {
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
