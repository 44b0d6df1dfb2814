//! How long a thread has waited for a CPU, and what others have used of it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use parking_lot::Mutex;

use crate::clock::{clock_ns, thread_cpu_ns};

/// The kernel's count for the thread that opened it.
#[derive(Debug)]
pub struct RunQueue(File);

/// A file with the kernel's text.
impl From<File> for RunQueue {
    fn from(schedstat: File) -> Self {
        RunQueue(schedstat)
    }
}

impl RunQueue {
    /// Of the calling thread; None where the kernel keeps no such count.
    pub fn of_this_thread() -> Option<RunQueue> {
        let this = RunQueue(File::open("/proc/thread-self/schedstat").ok()?);
        this.delay_ns().map(|_| this)
    }

    /// Nanoseconds in which the thread could have run and had no CPU. Throttling by a cgroup counts too, since a throttled
    /// thread stays in the run queue. Source: the second number of schedstat, Linux
    /// `Documentation/scheduler/sched-stats.rst`.
    pub fn delay_ns(&self) -> Option<u64> {
        let mut text = [0; 80];
        let n = self.0.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..n]).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}

/// CPU time of the threads of this process that have this name, as long as they live. Units: nanoseconds.
pub fn cpu_of_threads(name: &str) -> u64 {
    let cpu_of = |folder: &Path| {
        let own = std::fs::read_to_string(folder.join("comm")).ok()?;
        let text = std::fs::read_to_string(folder.join("schedstat")).ok()?;
        let is_named = own.trim_end() == name;
        is_named.then(|| text.split_ascii_whitespace().next()?.parse::<u64>().ok())?
    };
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten();
    tasks.filter_map(|task| cpu_of(&task.ok()?.path())).sum()
}

/// CPU time of threads that come and go; each says so itself.
#[derive(Debug, Default)]
pub struct ThreadClocks(Mutex<Clocks>);

#[derive(Debug, Default)]
struct Clocks {
    living: Vec<libc::clockid_t>,
    ended_ns: u64,
}

impl ThreadClocks {
    /// The calling thread is one of them from now on.
    pub fn enter(&self) {
        self.0.lock().living.push(own_clock());
    }

    /// The calling thread is about to end.
    pub fn leave(&self) {
        let (own, mut clocks) = (own_clock(), self.0.lock());
        clocks.living.retain(|clock| *clock != own);
        clocks.ended_ns += thread_cpu_ns();
    }

    /// User and system time of all of them so far, nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        let clocks = self.0.lock();
        let living = clocks.living.iter().map(|clock| clock_ns(*clock));
        clocks.ended_ns + living.sum::<u64>()
    }
}

/// The clock by which other threads of this process see the CPU time of the calling one.
fn own_clock() -> libc::clockid_t {
    let mut clock = 0;
    // SAFETY: `clock` is a valid out-parameter, and the calling thread lives.
    unsafe { libc::pthread_getcpuclockid(libc::pthread_self(), &mut clock) };
    clock
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::process_cpu_ns;

    fn burn(ns: u64) {
        let end = thread_cpu_ns() + ns;
        while thread_cpu_ns() < end {
            std::hint::spin_loop();
        }
    }

    #[test]
    fn threads_that_live_and_that_have_ended_count_once() {
        const MS: u64 = 1_000_000;
        let clocks = ThreadClocks::default();
        let before = process_cpu_ns();
        let (wake, told) = std::sync::mpsc::channel();
        let (done, burnt) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            let clocks = &clocks;
            scope.spawn(move || {
                clocks.enter();
                burn(20 * MS);
                done.send(()).unwrap();
                told.recv().unwrap();
                clocks.leave();
            });
            burnt.recv().unwrap();
            assert!((20 * MS..=process_cpu_ns() - before).contains(&clocks.cpu_ns()));
            let ended = scope.spawn(|| {
                clocks.enter();
                burn(30 * MS);
                clocks.leave();
            });
            ended.join().unwrap();
            assert!((50 * MS..=process_cpu_ns() - before).contains(&clocks.cpu_ns()));
            wake.send(()).unwrap();
        });
        let after = clocks.cpu_ns();
        assert!((50 * MS..=process_cpu_ns() - before).contains(&after));
        // Who is not one of them does not count.
        burn(MS);
        assert_eq!(clocks.cpu_ns(), after);
    }
}
