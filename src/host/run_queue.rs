//! How long a thread has waited for a CPU, and what others have used of it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

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
