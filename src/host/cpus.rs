//! The CPUs of this host, those that a thread may run on, and those that a rank's own threads take.
//!
//! Threads keep the mask that they inherit: who starts ranks with `taskset`, `numactl` or a launcher's binding means it. One
//! exception: Open MPI binds each of one or two ranks to a single core when nobody asks for a binding, which suits
//! computation and not a rank with reader threads. There the mask is that of the launcher itself.

use std::fmt;
use std::sync::OnceLock;

use super::cgroup::Limits;
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

/// Which CPUs the threads of a rank may run on, as the user words it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// Those that the process inherits.
    Inherit,
    /// All of the host.
    Node,
    /// These.
    List(Vec<usize>),
}

impl Choice {
    /// `inherit`, `node`, or a list such as `0-3,8`.
    ///
    /// Errors: what is wrong with it.
    pub fn parse(text: &str) -> Result<Choice, String> {
        match text.trim() {
            "inherit" => return Ok(Choice::Inherit),
            "node" => return Ok(Choice::Node),
            _ => {}
        }
        let number = |text: &str| {
            let cpu = text.trim().parse::<usize>().ok();
            cpu.filter(|&cpu| cpu < CpuSet::count())
                .ok_or_else(|| format!("'{text}' is no number of a CPU"))
        };
        let mut cpus = Vec::new();
        for part in text.trim_matches(['[', ']']).split(',') {
            match part.split_once('-') {
                Some((first, last)) => cpus.extend(number(first)?..=number(last)?),
                None => cpus.push(number(part)?),
            }
        }
        match cpus.is_empty() {
            true => Err("it names no CPU".into()),
            false => Ok(Choice::List(cpus)),
        }
    }
}

/// A set of CPUs of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mask(CpuSet);

impl Mask {
    fn of(pid: Pid) -> Option<Mask> {
        sched_getaffinity(pid).ok().map(Mask)
    }

    /// Of the calling thread.
    pub fn current() -> Mask {
        Mask::of(Pid::from_raw(0)).unwrap_or(Mask(CpuSet::new()))
    }

    /// In ascending order.
    pub fn cpus(&self) -> impl Iterator<Item = usize> + '_ {
        (0..CpuSet::count()).filter(|&cpu| self.0.is_set(cpu).unwrap_or(false))
    }

    fn from_cpus(cpus: impl IntoIterator<Item = usize>) -> Mask {
        let mut set = CpuSet::new();
        for cpu in cpus {
            // Only a number beyond the set's size is refused.
            let _ = set.set(cpu);
        }
        Mask(set)
    }
}

/// As the kernel writes lists of CPUs: `0-3,8`.
impl fmt::Display for Mask {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let mut cpus = self.cpus().peekable();
        let mut separator = "";
        while let Some(first) = cpus.next() {
            let mut last = first;
            while cpus.next_if_eq(&(last + 1)).is_some() {
                last += 1;
            }
            match last == first {
                true => write!(f, "{separator}{first}")?,
                false => write!(f, "{separator}{first}-{last}")?,
            }
            separator = ",";
        }
        Ok(())
    }
}

/// The CPUs of a rank's threads, and why these.
#[derive(Debug, Clone)]
pub struct Placement {
    /// In force for readers and writers.
    pub mask: Mask,
    /// Why, where it is not what the process inherited.
    pub reason: Option<String>,
}

/// In force for all threads that call [`take_place`].
static PLACE: OnceLock<Mask> = OnceLock::new();

/// Decides on the CPUs of the reader and writer threads of this process; the first decision counts. `choice` None: those
/// that the process inherits, unless a launcher bound it to one core without having been asked to.
///
/// Errors: the kernel refuses the mask.
pub fn place(
    choice: Option<&Choice>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Placement, String> {
    let inherited = Mask::current();
    let placement = match choice {
        Some(Choice::Inherit) => Placement {
            mask: inherited,
            reason: None,
        },
        Some(Choice::Node) => Placement {
            mask: Mask::from_cpus(0..CpuSet::count()),
            reason: Some("reader.cpus=node".into()),
        },
        Some(Choice::List(cpus)) => Placement {
            mask: Mask::from_cpus(cpus.iter().copied()),
            reason: Some("reader.cpus".into()),
        },
        None => match launchers_default(inherited, env) {
            Some(mask) => Placement {
                mask,
                reason: Some(
                    "the launcher's default bound this rank to one core; reader.cpus=inherit keeps it there"
                        .into(),
                ),
            },
            None => Placement {
                mask: inherited,
                reason: None,
            },
        },
    };
    if placement.mask == inherited {
        return Ok(placement);
    }
    // The kernel leaves out what this process may not use; what is left is in force.
    let mask = try_on(placement.mask, inherited)?;
    let mask = *PLACE.get_or_init(|| mask);
    Ok(Placement { mask, ..placement })
}

/// What the kernel makes of a mask. The calling thread keeps its own.
fn try_on(mask: Mask, own: Mask) -> Result<Mask, String> {
    let this = Pid::from_raw(0);
    sched_setaffinity(this, &mask.0)
        .map_err(|e| format!("run threads on CPUs {mask}: {e}\n  remedy: this process may run on {own}; name some of these"))?;
    let got = Mask::current();
    let _ = sched_setaffinity(this, &own.0);
    Ok(got)
}

/// The mask of the launcher, where it bound this process to one core by default.
fn launchers_default(own: Mask, env: impl Fn(&str) -> Option<String>) -> Option<Mask> {
    // Open MPI 4 hands on what its user asked for; Open MPI 5 does not, so there the mask stays.
    let is_default = env("OMPI_COMM_WORLD_SIZE").is_some()
        && env("OMPI_MCA_orte_ess_node_rank").is_some()
        && env("OMPI_MCA_hwloc_base_binding_policy").is_none()
        && env("OMPI_MCA_rmaps_base_mapping_policy").is_none();
    if !is_default || !is_one_core(own) {
        return None;
    }
    Mask::of(nix::unistd::getppid()).filter(|launcher| *launcher != own)
}

/// True where all CPUs of a mask are threads of one core.
fn is_one_core(mask: Mask) -> bool {
    let core = |cpu: usize| {
        let folder = format!("/sys/devices/system/cpu/cpu{cpu}/topology");
        std::fs::read_to_string(format!("{folder}/thread_siblings_list")).ok()
    };
    let mut cpus = mask.cpus();
    let Some(first) = cpus.next() else {
        return false;
    };
    let first = core(first);
    cpus.all(|cpu| first.is_some() && core(cpu) == first)
}

/// Moves the calling thread, a reader or writer, to the CPUs that [`place`] decided on.
pub fn take_place() {
    if let Some(mask) = PLACE.get() {
        // It was tried before; a refusal now leaves the thread where it was, which costs speed and nothing else.
        let _ = sched_setaffinity(Pid::from_raw(0), &mask.0);
    }
}

/// By how much a reader's nice value is above that of the main thread.
pub const READER_NICE: i32 = 10;

/// Lets the main thread, which only waits and computes by the clock, go before the calling thread, a reader: where threads
/// outnumber CPUs, a main thread that wakes late behind its readers keeps all ranks waiting. Needs no privileges.
pub fn go_after_main_thread() {
    // SAFETY: both calls take integers and touch no memory; on Linux they mean the calling thread. A refusal leaves the thread
    // where it was, which costs speed and nothing else.
    unsafe {
        let own = libc::getpriority(libc::PRIO_PROCESS, 0);
        libc::setpriority(libc::PRIO_PROCESS, 0, own + READER_NICE);
    }
}

/// CPUs that the calling thread may run on.
pub fn affinity_count() -> usize {
    Mask::current().cpus().count().max(1)
}

/// CPUs that the processes of this node can keep busy at once: those online, or what a quota of the cgroup is worth.
pub fn usable_cpus() -> usize {
    within_quota(node_cpus(), Limits::read().cpu_quota)
}

/// Whole CPUs of a quota, at least one. Part of a CPU is none for a thread that spins or reads all the time.
fn within_quota(cpus: usize, quota: Option<f64>) -> usize {
    quota.map_or(cpus, |quota| cpus.min((quota as usize).max(1)))
}

/// CPUs online on this node.
pub fn node_cpus() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN)
        .ok()
        .flatten()
        .and_then(|n| usize::try_from(n).ok())
        .unwrap_or(1)
        .max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn choices_are_read_and_masks_written_as_the_kernel_does() {
        assert_eq!(Choice::parse("inherit"), Ok(Choice::Inherit));
        assert_eq!(Choice::parse(" node "), Ok(Choice::Node));
        assert_eq!(Choice::parse("3"), Ok(Choice::List(vec![3])));
        assert_eq!(Choice::parse("0-2,8"), Ok(Choice::List(vec![0, 1, 2, 8])));
        for bad in ["", "x", "3-1", "1-", "99999999", "0,,1"] {
            assert!(Choice::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(
            Mask::from_cpus([0, 1, 2, 8, 10, 11]).to_string(),
            "0-2,8,10-11"
        );
        let status = std::fs::read_to_string("/proc/thread-self/status").unwrap();
        let kernels = status
            .lines()
            .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
            .unwrap();
        assert_eq!(Mask::current().to_string(), kernels.trim());
    }

    #[test]
    fn a_quota_counts_as_whole_cpus() {
        for (quota, cpus) in [
            (None, 8),
            (Some(64.0), 8),
            (Some(8.0), 8),
            (Some(2.9), 2),
            (Some(0.2), 1),
        ] {
            assert_eq!(within_quota(8, quota), cpus, "{quota:?}");
        }
        assert!((1..=node_cpus()).contains(&usable_cpus()));
    }

    #[test]
    fn a_process_that_no_launcher_started_keeps_its_mask() {
        let placement = place(None, |_| None).unwrap();
        assert_eq!(placement.mask, Mask::current());
        assert!(placement.reason.is_none());
    }
}
