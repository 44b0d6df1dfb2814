//! Where all ranks meet after each step, at little cost of CPU.
//!
//! The ranks of a node count themselves in words that they share, and sleep in the kernel until the last has come: a rank that
//! spins takes the CPU from those that it waits for. Between nodes, the lowest rank of each stands for its node in a collective
//! of MPI. It does so whoever came last, since every rank that could stand for its node would need a communicator with every
//! rank that could stand for each other node; on one node, the last rank releases the others itself.

#[cfg(test)]
mod explore_tests;

use std::cell::Cell;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed, Release};
use std::time::Duration;

use super::Cluster;
use crate::clock::now_ns;

/// Nanoseconds that a rank spins before it sleeps, where CPUs are idle: what a sleep and its end cost.
const SPIN_NS: u64 = 50_000;

/// A rank that sleeps looks after MPI's own messages this often, first and at last: one that the library has taken but not
/// yet sent may be what the others wait for.
const FIRST_LOOK: Duration = Duration::from_millis(10);
const LAST_LOOK: Duration = Duration::from_millis(200);

/// Words of a cache line.
const LINE: usize = 8;
const ARRIVED: usize = 0;
const COMPLETE: usize = LINE;
const OPENED: usize = 2 * LINE;
const MAXIMA: [usize; 2] = [3 * LINE, 4 * LINE];
/// Words of a meeting itself.
const WORDS_OF_MEETING: usize = 5 * LINE;
const CPUS: usize = WORDS_OF_MEETING;
/// Words of a set of CPUs, as the kernel's `cpu_set_t`.
const CPU_WORDS: usize = 1024 / 64;
const WORDS: usize = CPUS + CPU_WORDS;

/// The words of a node, and how its ranks wait for them: all that a meeting knows of the machine, so that orders of its steps
/// can be tried without one.
trait Words {
    /// The word, and what was written before it was.
    fn load(&self, word: usize) -> u64;
    /// Sets the word after all that was written before.
    fn store(&self, word: usize, value: u64);
    /// Adds one; returns what was there.
    fn count(&self, word: usize) -> u64;
    /// Raises the word to `value` where it is lower.
    fn raise(&self, word: usize, value: u64);
    /// Returns at once or a little later than something is so, or after a short time.
    fn spin(&self, is_so: &dyn Fn() -> bool);
    /// Sleeps while the counter is at `seen`, or shorter. True when `longest` has passed.
    fn sleep_while(&self, counter: usize, seen: u32, longest: Duration) -> bool;
    /// Wakes all that sleep for the counter.
    fn wake(&self, counter: usize);
}

/// A rank's place among those that meet.
#[derive(Debug, Clone, Copy)]
struct Seat {
    local_rank: usize,
    local_size: usize,
    nodes: usize,
    spins: bool,
}

/// Meets for the time after `begun`: elementwise maximum of what all ranks bring. `leaders`: the same over nodes, called by the
/// first rank of each. `progress`: called now and then by a rank that sleeps long.
fn meet(
    words: &impl Words,
    seat: Seat,
    begun: u32,
    pair: [u64; 2],
    leaders: impl FnOnce([u64; 2]) -> [u64; 2],
    progress: &dyn Fn(),
) -> [u64; 2] {
    let number = begun.wrapping_add(1);
    let maxima = maxima(begun);
    for (word, value) in maxima.into_iter().zip(pair) {
        words.raise(word, value);
    }
    // Everyone has left the meeting before: this count, and the maxima of the other sense, are nobody's.
    let is_last = words.count(ARRIVED) as usize + 1 == seat.local_size;
    if is_last {
        words.store(ARRIVED, 0);
    }
    let releases = match seat.nodes {
        1 => is_last,
        _ => seat.local_rank == 0,
    };
    if !releases {
        if is_last {
            announce(words, seat, COMPLETE, number);
        }
        wait(words, seat, OPENED, number, progress);
        return maxima.map(|word| words.load(word));
    }
    if !is_last {
        wait(words, seat, COMPLETE, number, progress);
    }
    let mut pair = maxima.map(|word| words.load(word));
    if seat.nodes > 1 {
        pair = leaders(pair);
        for (word, value) in maxima.into_iter().zip(pair) {
            words.store(word, value);
        }
    }
    for word in self::maxima(number) {
        words.store(word, 0);
    }
    announce(words, seat, OPENED, number);
    pair
}

/// The words of the maxima of one sense.
fn maxima(number: u32) -> [usize; 2] {
    let at = MAXIMA[(number & 1) as usize];
    [at, at + 1]
}

/// Sets a counter and wakes those who wait for it.
fn announce(words: &impl Words, seat: Seat, counter: usize, number: u32) {
    words.store(counter, u64::from(number));
    if seat.local_size > 1 {
        words.wake(counter);
    }
}

/// Waits until a counter is at `number`, from the one before.
fn wait(words: &impl Words, seat: Seat, counter: usize, number: u32, progress: &dyn Fn()) {
    let seen = || words.load(counter) as u32;
    if seat.spins {
        words.spin(&|| seen() == number);
    }
    let mut look = FIRST_LOOK;
    loop {
        let seen = seen();
        if seen == number {
            return;
        }
        if words.sleep_while(counter, seen, look) {
            progress();
            look = (look * 2).min(LAST_LOOK);
        }
    }
}

/// Words that the processes of a node share, with the kernel's futex.
struct Shared(&'static [AtomicU64]);

impl Shared {
    /// The low half of a word, on which the kernel waits.
    fn counter(&self, word: usize) -> *const u32 {
        const LOW: usize = cfg!(target_endian = "big") as usize;
        self.0[word].as_ptr().cast::<u32>().wrapping_add(LOW)
    }
}

impl Words for Shared {
    fn load(&self, word: usize) -> u64 {
        self.0[word].load(Acquire)
    }
    fn store(&self, word: usize, value: u64) {
        self.0[word].store(value, Release);
    }
    fn count(&self, word: usize) -> u64 {
        self.0[word].fetch_add(1, AcqRel)
    }
    fn raise(&self, word: usize, value: u64) {
        self.0[word].fetch_max(value, Relaxed);
    }
    fn spin(&self, is_so: &dyn Fn() -> bool) {
        let end = now_ns() + SPIN_NS;
        while !is_so() && now_ns() < end {
            std::hint::spin_loop();
        }
    }
    fn sleep_while(&self, counter: usize, seen: u32, longest: Duration) -> bool {
        sleep_while(self.counter(counter), seen, longest)
    }
    fn wake(&self, counter: usize) {
        wake_all(self.counter(counter));
    }
}

/// A sense-reversing barrier with a maximum of two words.
pub struct Meeting<'a> {
    cluster: &'a dyn Cluster,
    words: Shared,
    seat: Seat,
    /// Meetings that this rank has begun; their number's lowest bit is the sense.
    begun: Cell<u32>,
}

impl<'a> Meeting<'a> {
    /// `cpus`: on which this rank runs its `threads` threads. Ranks spin only where a node's CPUs outnumber the threads of its
    /// ranks. A collective.
    pub fn new(
        cluster: &'a dyn Cluster,
        threads: usize,
        cpus: impl Iterator<Item = usize>,
    ) -> Self {
        let words = cluster.node_shared(WORDS);
        let set = &words[CPUS..];
        for cpu in cpus.filter(|&cpu| cpu < CPU_WORDS * 64) {
            set[cpu / 64].fetch_or(1 << (cpu % 64), Relaxed);
        }
        cluster.barrier();
        let allowed: u32 = set.iter().map(|word| word.load(Relaxed).count_ones()).sum();
        Meeting {
            cluster,
            words: Shared(words),
            seat: Seat {
                local_rank: cluster.local_rank(),
                local_size: cluster.local_size(),
                nodes: cluster.host_names().len(),
                spins: cluster.local_size() * threads < allowed as usize,
            },
            begun: Cell::new(0),
        }
    }

    /// Elementwise maximum over all ranks; returns when every rank has called it. Allocates nothing.
    pub fn meet(&self, pair: [u64; 2]) -> [u64; 2] {
        let begun = self.begun.get();
        self.begun.set(begun.wrapping_add(1));
        let (cluster, spins) = (self.cluster, self.seat.spins);
        let leaders = |pair| cluster.leaders_max(pair, spins);
        meet(&self.words, self.seat, begun, pair, leaders, &|| {
            cluster.progress();
        })
    }

    /// As if this many meetings had been. On every rank, before the first.
    #[cfg(test)]
    pub(super) fn begin_at(&self, number: u32) {
        self.begun.set(number);
        for word in [COMPLETE, OPENED] {
            self.words.store(word, u64::from(number));
        }
        self.cluster.barrier();
    }
}

/// Sleeps while `counter` is at `seen`, or shorter. True when `longest` has passed.
fn sleep_while(counter: *const u32, seen: u32, longest: Duration) -> bool {
    let timeout = libc::timespec {
        tv_sec: longest.as_secs() as libc::time_t,
        tv_nsec: longest.subsec_nanos() as libc::c_long,
    };
    // SAFETY: both pointers live through the call; FUTEX_WAIT writes nothing. Not FUTEX_PRIVATE: the ranks are processes.
    let status = unsafe {
        libc::syscall(
            libc::SYS_futex,
            counter,
            libc::FUTEX_WAIT,
            seen,
            &raw const timeout,
        )
    };
    status == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT)
}

fn wake_all(counter: *const u32) {
    // SAFETY: FUTEX_WAKE takes the address as a name only.
    unsafe { libc::syscall(libc::SYS_futex, counter, libc::FUTEX_WAKE, i32::MAX) };
}
