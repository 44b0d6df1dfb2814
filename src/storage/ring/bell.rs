//! The bell of a ring's thread: how other threads wake the tasks that wait for them.
//!
//! A thread that runs tasks or asks the kernel looks at a flag before it sleeps, which costs nobody a system call. Only a thread
//! that sleeps in the kernel is woken by an eventfd, which its ring reads.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Wakes the tasks of one thread that wait for something that other threads do.
pub(crate) struct Bell {
    /// An eventfd.
    fd: OwnedFd,
    flags: Flags<AtomicUsize>,
}

impl AsRawFd for Bell {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
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
            flags: Flags::default(),
        })
    }

    /// Wakes the waiting tasks, if there are any. Called after the change that they wait for.
    pub(crate) fn ring(&self) {
        if self.flags.ring() {
            self.write();
        }
    }

    pub(super) fn write(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: eight bytes that live through the call. It fails only where the counter is full, and then the bell rings.
        unsafe { libc::write(self.fd.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// A task is about to wait, until the guard is dropped.
    pub(super) fn announce(&self) -> Waiting<'_> {
        self.flags.waiting.add(1);
        Waiting(self)
    }

    /// Whether it was rung since the last look.
    pub(super) fn take_rung(&self) -> bool {
        self.flags.take_rung()
    }

    /// The thread is about to sleep, and may: whoever rings after this wakes it, until [`Self::is_awake`]. False: it was rung.
    pub(super) fn falls_asleep(&self) -> bool {
        self.flags.falls_asleep()
    }

    pub(super) fn is_awake(&self) {
        self.flags.is_awake();
    }
}

/// A task that waits.
pub(super) struct Waiting<'a>(&'a Bell);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        // One less.
        self.0.flags.waiting.add(usize::MAX);
    }
}

/// A word that threads share; in the tests that of a scheduler which tries orders of steps.
trait Word: Default {
    fn get(&self) -> usize;
    fn swap(&self, value: usize) -> usize;
    fn add(&self, change: usize);
}

impl Word for AtomicUsize {
    fn get(&self) -> usize {
        self.load(SeqCst)
    }
    fn swap(&self, value: usize) -> usize {
        AtomicUsize::swap(self, value, SeqCst)
    }
    fn add(&self, change: usize) {
        self.fetch_add(change, SeqCst);
    }
}

/// What the sides say to each other. Each says what it does before it looks at what the other has said, in one order that all
/// threads see, so that at least one of them sees the other.
#[derive(Default)]
struct Flags<W> {
    /// Tasks that wait, or are about to.
    waiting: W,
    /// 1: rung since the ring's thread looked.
    rung: W,
    /// 1: the ring's thread sleeps, or is about to.
    asleep: W,
}

impl<W: Word> Flags<W> {
    /// True where the thread has to be woken, which is then this caller's to do.
    fn ring(&self) -> bool {
        if self.waiting.get() == 0 {
            return false;
        }
        self.rung.swap(1);
        self.asleep.get() == 1 && self.asleep.swap(0) == 1
    }

    fn take_rung(&self) -> bool {
        self.rung.get() == 1 && self.rung.swap(0) == 1
    }

    /// False where the thread must not sleep, because it was rung.
    fn falls_asleep(&self) -> bool {
        self.asleep.swap(1);
        let sleeps = !self.take_rung();
        if !sleeps {
            self.asleep.swap(0);
        }
        sleeps
    }

    fn is_awake(&self) {
        self.asleep.swap(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use shuttle::sync::{Condvar, Mutex, atomic::AtomicUsize as Explored};
    use shuttle::thread;

    use super::*;

    impl Word for Explored {
        fn get(&self) -> usize {
            self.load(SeqCst)
        }
        fn swap(&self, value: usize) -> usize {
            Explored::swap(self, value, SeqCst)
        }
        fn add(&self, change: usize) {
            self.fetch_add(change, SeqCst);
        }
    }

    #[derive(Default)]
    struct Shared {
        flags: Flags<Explored>,
        /// The change that the task waits for.
        changes: Explored,
        /// The eventfd.
        count: Mutex<u64>,
        readable: Condvar,
    }

    impl Shared {
        fn ring(&self) {
            if self.flags.ring() {
                *self.count.lock().unwrap() += 1;
                self.readable.notify_one();
            }
        }

        /// As `Round::wait`, with tasks that wait for the bell and no calls.
        fn wait(&self) {
            if self.flags.take_rung() || !self.flags.falls_asleep() {
                return;
            }
            let mut count = self.count.lock().unwrap();
            while *count == 0 {
                count = self.readable.wait(count).unwrap();
            }
            *count = 0;
            drop(count);
            self.flags.is_awake();
            self.flags.take_rung();
        }
    }

    /// Two threads make changes and ring; the thread of a task that waits for each of them hears of all, or sleeps for ever,
    /// which shuttle reports as a deadlock.
    fn hears_all(each: usize) {
        let shared = Arc::new(Shared::default());
        let ringers = [0, 1].map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..each {
                    shared.changes.add(1);
                    shared.ring();
                }
            })
        });
        for wanted in 1..=2 * each {
            while shared.changes.get() < wanted {
                // As `wait_unless`.
                shared.flags.waiting.add(1);
                if shared.changes.get() < wanted {
                    shared.wait();
                }
                shared.flags.waiting.add(usize::MAX);
            }
        }
        ringers
            .into_iter()
            .for_each(|ringer| ringer.join().unwrap());
    }

    #[test]
    fn no_ring_is_lost_between_a_look_and_a_sleep() {
        shuttle::check_random(|| hears_all(2), 4000);
        shuttle::check_pct(|| hears_all(2), 4000, 4);
    }
}
