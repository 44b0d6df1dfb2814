//! Where all ranks meet after each step, at little cost of CPU.
//!
//! The ranks of a node count themselves in words that they share, and sleep in the kernel until the last has come: a rank that
//! spins takes the CPU from those that it waits for. Between nodes, the lowest rank of each stands for its node in a collective
//! of MPI. It does so whoever came last, since every rank that could stand for its node would need a communicator with every
//! rank that could stand for each other node; on one node, the last rank releases the others itself.

use std::cell::Cell;
use std::sync::atomic::AtomicU32;
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
const CPUS: usize = 5 * LINE;
/// Words of a set of CPUs, as the kernel's `cpu_set_t`.
const CPU_WORDS: usize = 1024 / 64;
const WORDS: usize = CPUS + CPU_WORDS;

/// A sense-reversing barrier with a maximum of two words.
pub struct Meeting<'a> {
    cluster: &'a dyn Cluster,
    words: &'static [AtomicU64],
    /// Meetings that this rank has begun; their number's lowest bit is the sense.
    begun: Cell<u32>,
    spins: bool,
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
            words,
            begun: Cell::new(0),
            spins: cluster.local_size() * threads < allowed as usize,
        }
    }

    /// Elementwise maximum over all ranks; returns when every rank has called it. Allocates nothing.
    pub fn meet(&self, pair: [u64; 2]) -> [u64; 2] {
        let begun = self.begun.get();
        let number = begun.wrapping_add(1);
        self.begun.set(number);
        let maxima = self.maxima(begun);
        for (word, value) in maxima.iter().zip(pair) {
            word.fetch_max(value, Relaxed);
        }
        let cluster = self.cluster;
        // Everyone has left the meeting before: this count, and the maxima of the other sense, are nobody's.
        let arrived = self.counter(ARRIVED);
        let is_last = arrived.fetch_add(1, AcqRel) as usize + 1 == cluster.local_size();
        if is_last {
            arrived.store(0, Relaxed);
        }
        let nodes = cluster.host_names().len();
        let releases = if nodes == 1 {
            is_last
        } else {
            cluster.local_rank() == 0
        };
        if !releases {
            if is_last {
                self.announce(COMPLETE, number);
            }
            self.wait(OPENED, number);
            return [maxima[0].load(Relaxed), maxima[1].load(Relaxed)];
        }
        if !is_last {
            self.wait(COMPLETE, number);
        }
        let mut pair = [maxima[0].load(Relaxed), maxima[1].load(Relaxed)];
        if nodes > 1 {
            pair = cluster.leaders_max(pair, self.spins);
            for (word, value) in maxima.iter().zip(pair) {
                word.store(value, Relaxed);
            }
        }
        for word in self.maxima(number) {
            word.store(0, Relaxed);
        }
        self.announce(OPENED, number);
        pair
    }

    /// As if this many meetings had been. On every rank, before the first.
    #[cfg(test)]
    pub(super) fn begin_at(&self, number: u32) {
        self.begun.set(number);
        for word in [COMPLETE, OPENED] {
            self.counter(word).store(number, Release);
        }
        self.cluster.barrier();
    }

    fn maxima(&self, number: u32) -> &'static [AtomicU64] {
        let at = MAXIMA[(number & 1) as usize];
        &self.words[at..at + 2]
    }

    fn counter(&self, word: usize) -> &'static AtomicU32 {
        // SAFETY: the word lives as long as the process uses MPI, is aligned for more than this needs, and is never used as a
        // whole.
        unsafe { AtomicU32::from_ptr(self.words[word].as_ptr().cast()) }
    }

    /// Sets a counter and wakes those who wait for it.
    fn announce(&self, word: usize, number: u32) {
        let counter = self.counter(word);
        counter.store(number, Release);
        if self.cluster.local_size() > 1 {
            wake_all(counter);
        }
    }

    /// Waits until a counter is at `number`, from the one before.
    fn wait(&self, word: usize, number: u32) {
        let counter = self.counter(word);
        if self.spins {
            let end = now_ns() + SPIN_NS;
            while counter.load(Acquire) != number && now_ns() < end {
                std::hint::spin_loop();
            }
        }
        let mut look = FIRST_LOOK;
        loop {
            let seen = counter.load(Acquire);
            if seen == number {
                return;
            }
            if sleep_while(counter, seen, look) {
                self.cluster.progress();
                look = (look * 2).min(LAST_LOOK);
            }
        }
    }
}

/// Sleeps while `counter` is at `seen`, or shorter. True when `longest` has passed.
fn sleep_while(counter: &AtomicU32, seen: u32, longest: Duration) -> bool {
    let timeout = libc::timespec {
        tv_sec: longest.as_secs() as libc::time_t,
        tv_nsec: longest.subsec_nanos() as libc::c_long,
    };
    // SAFETY: both pointers live through the call; FUTEX_WAIT writes nothing. Not FUTEX_PRIVATE: the ranks are processes.
    let status = unsafe {
        libc::syscall(
            libc::SYS_futex,
            counter.as_ptr(),
            libc::FUTEX_WAIT,
            seen,
            &raw const timeout,
        )
    };
    status == -1 && std::io::Error::last_os_error().raw_os_error() == Some(libc::ETIMEDOUT)
}

fn wake_all(counter: &AtomicU32) {
    // SAFETY: FUTEX_WAKE takes the address as a name only.
    unsafe {
        libc::syscall(
            libc::SYS_futex,
            counter.as_ptr(),
            libc::FUTEX_WAKE,
            i32::MAX,
        )
    };
}
