//! What a reader thread's time went to: CPU used, CPU waited for, and the parts of each run.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::clock::thread_cpu_ns;
use crate::host::run_queue::{RunQueue, cpu_of_threads};
use crate::stage::Parts;

/// The kernel's count of waiting for a CPU is looked up at most this often: the look costs about a microsecond. So much of a
/// delay may be taken for a run's own that was before it.
const LOOK_EVERY_NS: u64 = 200_000;

/// The times of one run before waiting for a CPU is taken out of them.
#[derive(Default)]
pub(super) struct RunTimes {
    pub(super) parts: Parts,
    /// Of preprocessing: what was slept as configured.
    pub(super) asleep_ns: u64,
    /// Answers were there, and the reader was not run: its thread ran others.
    pub(super) held_up_ns: u64,
}

/// What the kernel counts for the calling thread, from [`Meter::start`] on.
pub(super) struct Meter {
    /// None where the kernel does not count.
    queue: Option<RunQueue>,
    /// Beginning of the names of kernel threads that work for this one, and their CPU time at the start.
    helpers: Option<(String, u64)>,
    start_cpu_ns: u64,
    first_delay_ns: u64,
    look: Mutex<Look>,
}

#[derive(Clone, Copy, Default)]
struct Look {
    delay_ns: u64,
    at_ns: u64,
}

impl Meter {
    /// Begins; called on the thread that is metered.
    pub(super) fn start() -> Self {
        Meter::of(RunQueue::of_this_thread())
    }

    fn of(queue: Option<RunQueue>) -> Self {
        let first = queue.as_ref().and_then(RunQueue::delay_ns);
        Meter {
            queue,
            helpers: None,
            start_cpu_ns: thread_cpu_ns(),
            first_delay_ns: first.unwrap_or(0),
            look: Mutex::new(Look {
                delay_ns: first.unwrap_or(0),
                at_ns: 0,
            }),
        }
    }

    /// The same for a thread with a ring: the kernel does what would block in threads of its own, whose CPU time counts too.
    pub(super) fn start_with_helpers() -> Self {
        let name = format!("iou-wrk-{}", nix::unistd::gettid());
        let cpu_ns = cpu_of_threads(&name);
        Meter {
            helpers: Some((name, cpu_ns)),
            ..Meter::start()
        }
    }

    /// CPU time since the start; called on the thread that is metered.
    pub(super) fn cpu_ns(&self) -> u64 {
        let own = thread_cpu_ns().saturating_sub(self.start_cpu_ns);
        let helpers = self.helpers.as_ref();
        own + helpers.map_or(0, |(name, before)| {
            cpu_of_threads(name).saturating_sub(*before)
        })
    }

    /// Time since the start in which the thread could have run and had no CPU; None where the kernel does not say.
    pub(super) fn delay_ns(&self) -> Option<u64> {
        let now = self.queue.as_ref()?.delay_ns()?;
        Some(now.saturating_sub(self.first_delay_ns))
    }

    /// The kernel's count, as of the last look; looks again when that is a while ago.
    fn looked(&self, now_ns: u64) -> Look {
        let mut look = self.look.lock();
        if now_ns.saturating_sub(look.at_ns) >= LOOK_EVERY_NS
            && let Some(delay_ns) = self.queue.as_ref().and_then(RunQueue::delay_ns)
        {
            *look = Look {
                delay_ns,
                at_ns: now_ns,
            };
        }
        *look
    }
}

/// Waiting for a CPU that falls into the runs of one reader. Readers that are tasks of one thread share its meter.
pub(super) struct Debt {
    meter: Arc<Meter>,
    seen: Look,
    /// Delay that was counted and not yet taken out of a run's times.
    owed_ns: u64,
    /// Time of the runs since the last look in which a delay can hide: no more is owed.
    room_ns: u64,
}

impl Debt {
    pub(super) fn new(meter: Arc<Meter>) -> Self {
        Debt {
            meter,
            seen: Look::default(),
            owed_ns: 0,
            room_ns: 0,
        }
    }

    /// A run begins at `now_ns`: what was waited before is not its own.
    pub(super) fn begin(&mut self, now_ns: u64) {
        self.look(now_ns);
    }

    /// What was waited for a CPU since the look before. Runs before this look hide no more than what is owed already.
    fn look(&mut self, now_ns: u64) -> u64 {
        let look = self.meter.looked(now_ns);
        if look.at_ns != self.seen.at_ns {
            self.room_ns = self.owed_ns;
        }
        let before = std::mem::replace(&mut self.seen, look);
        look.delay_ns.saturating_sub(before.delay_ns)
    }

    /// The parts of a run that ended at `now_ns`, with what was waited for a CPU since the last look taken out.
    pub(super) fn settle(&mut self, times: RunTimes, now_ns: u64) -> Parts {
        let mut parts = times.parts;
        let room_ns = self.room_ns + parts.total().saturating_sub(times.asleep_ns);
        let waited_ns = self.look(now_ns) + times.held_up_ns;
        self.owed_ns = (self.owed_ns + waited_ns).min(room_ns);
        let taken_ns = parts.take_delay(self.owed_ns, times.asleep_ns);
        self.owed_ns -= taken_ns;
        // After a look, earlier runs hide nothing beyond what is still owed.
        self.room_ns = match self.seen.at_ns == now_ns {
            true => self.owed_ns,
            false => room_ns - taken_ns,
        };
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::now_ns;
    use crate::stage::Part;

    /// Two busy threads on one CPU: each waits about half of the time, which the kernel counts. Why it is not so, if it is
    /// not.
    fn two_on_one_cpu() -> Result<(), String> {
        let busy = || {
            // SAFETY: a CPU set with one CPU of those that this thread may use.
            unsafe {
                let mut set: libc::cpu_set_t = std::mem::zeroed();
                libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &mut set);
                let first = (0..libc::CPU_SETSIZE as usize).find(|&c| libc::CPU_ISSET(c, &set));
                let mut one: libc::cpu_set_t = std::mem::zeroed();
                libc::CPU_SET(first.unwrap(), &mut one);
                libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &one);
            }
            let meter = Arc::new(Meter::start());
            let mut debt = Debt::new(meter.clone());
            let start = now_ns();
            debt.begin(start);
            while now_ns() < start + 300_000_000 {
                std::hint::spin_loop();
            }
            let end = now_ns();
            let mut times = RunTimes::default();
            times.parts[Part::Decode] = end - start;
            let parts = debt.settle(times, end);
            assert_eq!(parts.total(), end - start);
            (parts, meter.cpu_ns(), end - start)
        };
        let results = std::thread::scope(|scope| {
            let threads = [scope.spawn(busy), scope.spawn(busy)];
            threads.map(|t| t.join().unwrap())
        });
        let (waited, wall) = results.iter().fold((0, 0), |(a, b), (parts, _, wall)| {
            (a + parts[Part::Cpu], b + wall)
        });
        if waited * 5 <= wall {
            return Err(format!("{waited} of {wall} ns"));
        }
        for (parts, cpu, wall) in &results {
            // What is neither waited nor run is small: the two counters agree.
            if (parts[Part::Cpu] + cpu).abs_diff(*wall) * 5 >= *wall {
                return Err(format!("{parts:?} {cpu} {wall}"));
            }
        }
        Ok(())
    }

    #[test]
    fn waiting_for_a_cpu_leaves_the_other_parts() {
        assert!(
            Meter::start().queue.is_some(),
            "this kernel has no schedstat (CONFIG_SCHED_INFO)"
        );
        // A hypervisor may take the CPU away from both, which no counter of a thread has; not every time.
        let tries: Vec<_> = (0..30).map_while(|_| two_on_one_cpu().err()).collect();
        assert!(tries.len() < 30, "{tries:?}");
    }

    /// What the kernel would say of a thread.
    fn write_delay(file: &tempfile::NamedTempFile, delay_ns: u64) {
        std::fs::write(file.path(), format!("1 {delay_ns} 1\n")).unwrap();
    }

    #[test]
    fn only_delay_within_a_run_is_taken_out_of_it() {
        const MS: u64 = 1_000_000;
        let file = tempfile::NamedTempFile::new().unwrap();
        write_delay(&file, 5 * MS);
        let queue = RunQueue::from(file.reopen().unwrap());
        let mut debt = Debt::new(Arc::new(Meter::of(Some(queue))));
        let mut run = |before: u64, begun: u64, within: u64, took: u64| {
            write_delay(&file, before);
            debt.begin(begun);
            write_delay(&file, within);
            let mut times = RunTimes::default();
            times.parts[Part::Io] = took;
            let parts = debt.settle(times, begun + took);
            assert_eq!(parts.total(), took);
            parts[Part::Cpu]
        };
        // What was waited before the first run, and between two runs, is no run's.
        assert_eq!(run(60 * MS, 100 * MS, 60 * MS, MS), 0);
        assert_eq!(run(90 * MS, 200 * MS, 91 * MS, 4 * MS), MS);
        // Short runs look seldom: the second one pays for the first, too, and no more than both took.
        assert_eq!(run(91 * MS, 300 * MS, 91 * MS, MS / 10), 0);
        assert_eq!(run(91 * MS, 300 * MS + MS / 10, 95 * MS, MS / 10), MS / 10);
        assert_eq!(run(95 * MS, 301 * MS, 95 * MS, MS), MS / 10);
        assert_eq!(run(95 * MS, 302 * MS, 95 * MS, MS), 0);
    }
}
