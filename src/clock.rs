//! Monotonic time and exact waiting. Every duration of a run is measured here; wall-clock time is a label only.

use std::cell::Cell;
use std::time::Duration;

/// A sleep may end this much late on a busy virtual machine; the rest of a wait is spun away.
const SPIN_NS: u64 = 80_000;

/// CLOCK_MONOTONIC in nanoseconds: the same scale in every process of a node.
#[inline]
pub fn now_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

thread_local! {
    static SEEN_NS: Cell<u64> = const { Cell::new(0) };
}

/// [`now_ns`], which [`seen_ns`] gives until this thread looks again.
#[inline]
pub fn look_ns() -> u64 {
    let now = now_ns();
    SEEN_NS.set(now);
    now
}

/// What this thread saw when it last looked at the clock ([`look_ns`]): the end of one duration is the start of the next, and
/// the clock costs as much as a small part of a read.
#[inline]
pub fn seen_ns() -> u64 {
    SEEN_NS.get()
}

/// This thread has another reason to know that it is `now`, [`now_ns`].
#[inline]
pub fn has_seen(now_ns: u64) {
    SEEN_NS.set(now_ns);
}

/// What a clock of the kernel shows, ns; 0 where there is no such clock, as that of a thread that has ended.
#[inline]
pub fn clock_ns(id: libc::clockid_t) -> u64 {
    let mut ts = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `ts` is a valid out-parameter; the call fails where it does not know the id, and leaves `ts` alone.
    unsafe { libc::clock_gettime(id, &mut ts) };
    ts.tv_sec as u64 * 1_000_000_000 + ts.tv_nsec as u64
}

/// Sleeps until `deadline_ns` of [`now_ns`], as exactly as the kernel's timers allow.
pub fn sleep_until(deadline_ns: u64) {
    let ts = libc::timespec {
        tv_sec: (deadline_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (deadline_ns % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: `ts` lives through the call; a null remainder is allowed with an absolute deadline. EINTR (4)
    // means a signal came first.
    while unsafe {
        libc::clock_nanosleep(
            libc::CLOCK_MONOTONIC,
            libc::TIMER_ABSTIME,
            &ts,
            std::ptr::null_mut(),
        )
    } == 4
    {}
}

/// Asks the kernel to end this thread's sleeps within 1 us of their time instead of its default 50 us.
pub fn sharpen_this_thread() {
    // SAFETY: PR_SET_TIMERSLACK takes one integer and touches no memory.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1000usize) };
}

/// CPU time (user + system) of this process so far, nanoseconds.
pub fn process_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_PROCESS_CPUTIME_ID)
}

/// CPU time of the calling thread so far, nanoseconds.
pub fn thread_cpu_ns() -> u64 {
    clock_ns(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// The time that the train loop lives in.
pub trait Clock {
    /// Nanoseconds since an arbitrary start.
    fn now_ns(&self) -> u64;
    /// Waits until this time. Units: nanoseconds of `now_ns`; out: nanoseconds that were spent spinning.
    fn wait_until(&self, deadline_ns: u64) -> u64;
    /// Moves a virtual clock to `at_ns` if that is later; real time is left alone.
    fn advance_to(&self, at_ns: u64);
    /// True when waiting costs no real time.
    fn is_virtual(&self) -> bool;
}

/// Real time.
#[derive(Debug, Clone, Copy)]
pub struct RealClock {
    /// Spin for the last part of a wait; off where ranks outnumber CPUs.
    pub spin: bool,
}

impl Clock for RealClock {
    fn now_ns(&self) -> u64 {
        now_ns()
    }
    fn wait_until(&self, deadline: u64) -> u64 {
        let now = now_ns();
        if deadline <= now {
            return 0;
        }
        if !self.spin {
            sleep_until(deadline);
            return 0;
        }
        if deadline - now > SPIN_NS {
            sleep_until(deadline - SPIN_NS);
        }
        let from = now_ns();
        while now_ns() < deadline {
            std::hint::spin_loop();
        }
        now_ns() - from
    }
    fn advance_to(&self, _: u64) {}
    fn is_virtual(&self) -> bool {
        false
    }
}

/// Time that passes only when someone waits: results are exact and cost nothing.
#[derive(Debug, Default)]
pub struct VirtualClock(Cell<u64>);

impl Clock for VirtualClock {
    fn now_ns(&self) -> u64 {
        self.0.get()
    }
    fn wait_until(&self, deadline_ns: u64) -> u64 {
        self.advance_to(deadline_ns);
        0
    }
    fn advance_to(&self, at_ns: u64) {
        self.0.set(self.0.get().max(at_ns));
    }
    fn is_virtual(&self) -> bool {
        true
    }
}

/// A wait of a reader thread: sleeps without spinning, since the CPU may be another reader's.
pub fn pause(duration: Duration) {
    if !duration.is_zero() {
        sleep_until(now_ns() + duration.as_nanos() as u64);
    }
}
