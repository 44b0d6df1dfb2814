//! What a container or a batch system lets this process have, and how often it was held back: cgroups v1 and v2.
//!
//! Source: Linux `Documentation/admin-guide/cgroup-v2.rst`, `cgroup-v1/`, `scheduler/sched-bwc.rst`; `proc(5)` for steal.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Limits in force on this process; None: no limit, or none that can be read.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// CPUs' worth of time per time.
    pub cpu_quota: Option<f64>,
    /// CPUs that may be used, as the kernel lists them (`0-3,8`).
    pub cpus: Option<String>,
    pub memory_bytes: Option<u64>,
}

/// How often this process' cgroup and this machine were held back so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Pressure {
    /// Nanoseconds in which threads of the cgroup were throttled by its quota, all CPUs together.
    pub throttled_ns: Option<u64>,
    /// Periods in which that happened.
    pub throttled_periods: Option<u64>,
    /// Nanoseconds in which the hypervisor ran something else on this machine's CPUs, all CPUs together.
    pub steal_ns: Option<u64>,
}

impl Pressure {
    pub fn read() -> Self {
        Groups::read(Path::new("/")).pressure(Path::new("/"))
    }

    /// What was added since `before`.
    pub fn since(&self, before: &Pressure) -> Pressure {
        let delta = |now: Option<u64>, then: Option<u64>| Some(now?.saturating_sub(then?));
        Pressure {
            throttled_ns: delta(self.throttled_ns, before.throttled_ns),
            throttled_periods: delta(self.throttled_periods, before.throttled_periods),
            steal_ns: delta(self.steal_ns, before.steal_ns),
        }
    }
}

impl Limits {
    /// Those of this process.
    pub fn read() -> Self {
        Groups::read(Path::new("/")).limits()
    }

    /// The memory that may be used where the node has `node_bytes`.
    pub fn memory_of(&self, node_bytes: u64) -> u64 {
        self.memory_bytes.map_or(node_bytes, |n| n.min(node_bytes))
    }
}

/// Where the throttling of this process stands, to be read often.
#[derive(Debug)]
pub struct Throttling(Groups);

impl Throttling {
    /// Looks for it.
    pub fn find() -> Self {
        Throttling(Groups::read(Path::new("/")))
    }

    /// [`Pressure::throttled_ns`] now.
    pub fn ns(&self) -> Option<u64> {
        self.0.throttled_ns()
    }
}

/// Folders of this process' cgroups, from its own up to the root of each hierarchy; v1 has one hierarchy per controller.
#[derive(Debug, Default)]
struct Groups {
    unified: Vec<PathBuf>,
    cpu: Vec<PathBuf>,
    cpuset: Vec<PathBuf>,
    memory: Vec<PathBuf>,
}

impl Groups {
    /// Below `root`, which is `/` but in tests.
    fn read(root: &Path) -> Self {
        let text = |name: &str| fs::read_to_string(root.join(name)).unwrap_or_default();
        let (own, mounts) = (text("proc/self/cgroup"), text("proc/self/mountinfo"));
        let mut out = Groups::default();
        for line in own.lines() {
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else {
                continue;
            };
            if controllers.is_empty() {
                out.unified = folders(root, &mounts, None, path);
            }
            for controller in controllers.split(',') {
                let into = match controller {
                    "cpu" => &mut out.cpu,
                    "cpuset" => &mut out.cpuset,
                    "memory" => &mut out.memory,
                    _ => continue,
                };
                *into = folders(root, &mounts, Some(controller), path);
            }
        }
        out
    }

    fn limits(&self) -> Limits {
        let v2 = |name: &'static str| self.unified.iter().filter_map(move |f| line(f, name));
        let quota_v2 = v2("cpu.max").filter_map(|text| {
            let (quota, period) = text.split_once(' ')?;
            Some(quota.parse::<f64>().ok()? / period.trim().parse::<f64>().ok()?)
        });
        let quota_v1 = self.cpu.iter().filter_map(|folder| {
            let quota: f64 = line(folder, "cpu.cfs_quota_us")?.parse().ok()?;
            let period: f64 = line(folder, "cpu.cfs_period_us")?.parse().ok()?;
            (quota > 0.0).then_some(quota / period)
        });
        let memory_v1 = self.memory.iter().filter_map(|folder| {
            let bytes: u64 = line(folder, "memory.limit_in_bytes")?.parse().ok()?;
            // No limit is the largest number of pages that fits.
            (bytes < 1 << 60).then_some(bytes)
        });
        let memory_v2 = v2("memory.max").filter_map(|text| text.parse().ok());
        let own = |folders: &[PathBuf], names: [&str; 2]| {
            let folder = folders.first()?;
            names.into_iter().find_map(|name| line(folder, name))
        };
        Limits {
            cpu_quota: quota_v2.chain(quota_v1).min_by(f64::total_cmp),
            cpus: own(&self.unified, ["cpuset.cpus.effective", "cpuset.cpus"])
                .or_else(|| own(&self.cpuset, ["cpuset.effective_cpus", "cpuset.cpus"])),
            memory_bytes: memory_v2.chain(memory_v1).min(),
        }
    }

    fn pressure(&self, root: &Path) -> Pressure {
        let ticks = fs::read_to_string(root.join("proc/stat")).ok();
        Pressure {
            throttled_ns: self.throttled_ns(),
            throttled_periods: self.stat("nr_throttled"),
            steal_ns: ticks.as_deref().and_then(steal_ns),
        }
    }

    fn throttled_ns(&self) -> Option<u64> {
        let us = self.stat("throttled_usec").map(|us| us * 1000);
        us.or_else(|| self.stat("throttled_time"))
    }

    /// A counter of `cpu.stat`. Throttling above this process' own group holds it back too: the most that any level counts.
    fn stat(&self, key: &str) -> Option<u64> {
        let levels = self.unified.iter().chain(&self.cpu);
        let found = levels.filter_map(|folder| {
            let text = fs::read_to_string(folder.join("cpu.stat")).ok()?;
            text.lines()
                .find_map(|l| l.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
        });
        found.max()
    }
}

/// The eighth number of `/proc/stat`'s first line, in ticks of a hundredth of a second.
fn steal_ns(stat: &str) -> Option<u64> {
    let numbers = stat.lines().next()?.strip_prefix("cpu ")?;
    let ticks: u64 = numbers.split_ascii_whitespace().nth(7)?.parse().ok()?;
    Some(ticks * 10_000_000)
}

/// The folder of a cgroup under its mount and all above it, own first. `controller` None: the unified hierarchy.
fn folders(root: &Path, mounts: &str, controller: Option<&str>, path: &str) -> Vec<PathBuf> {
    let found = mounts.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        let is_it = match controller {
            None => kind == "cgroup2",
            Some(c) => kind == "cgroup" && options.split(',').any(|o| o == c),
        };
        let mut left = left.split(' ').skip(3);
        let (base, point) = (left.next()?, left.next()?);
        is_it.then(|| (base.to_string(), point.to_string()))
    });
    let Some((base, point)) = found else {
        return Vec::new();
    };
    let point = root.join(point.trim_start_matches('/'));
    // Inside a container the mount shows the container's group as its root, or the path of a namespace beyond it.
    let below = path.strip_prefix(base.trim_end_matches('/')).unwrap_or("");
    let below = below.trim_start_matches('/');
    let own = match below.starts_with("..") {
        true => point.clone(),
        false => point.join(below),
    };
    let own = if own.is_dir() { own } else { point.clone() };
    own.ancestors()
        .take_while(|folder| folder.starts_with(&point))
        .map(Path::to_path_buf)
        .collect()
}

fn line(folder: &Path, name: &str) -> Option<String> {
    let text = fs::read_to_string(folder.join(name)).ok()?;
    let text = text.trim();
    (!text.is_empty()).then(|| text.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn the_tightest_limit_of_v2s_levels_counts() {
        let root = tree(&[
            ("proc/self/cgroup", "0::/pod/job\n"),
            (
                "proc/self/mountinfo",
                "31 23 0:28 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
            ),
            ("proc/stat", "cpu  1 2 3 4 5 6 7 80 9 0\n"),
            ("sys/fs/cgroup/pod/cpu.max", "150000 100000\n"),
            ("sys/fs/cgroup/pod/memory.max", "1073741824\n"),
            (
                "sys/fs/cgroup/pod/cpu.stat",
                "usage_usec 9\nnr_throttled 3\nthrottled_usec 20\n",
            ),
            ("sys/fs/cgroup/pod/job/cpu.max", "max 100000\n"),
            ("sys/fs/cgroup/pod/job/memory.max", "max\n"),
            ("sys/fs/cgroup/pod/job/cpuset.cpus.effective", "0-1\n"),
            (
                "sys/fs/cgroup/pod/job/cpu.stat",
                "nr_throttled 0\nthrottled_usec 0\n",
            ),
        ]);
        let groups = Groups::read(root.path());
        assert_eq!(
            groups.limits(),
            Limits {
                cpu_quota: Some(1.5),
                cpus: Some("0-1".into()),
                memory_bytes: Some(1 << 30),
            }
        );
        assert_eq!(
            groups.pressure(root.path()),
            Pressure {
                throttled_ns: Some(20_000),
                throttled_periods: Some(3),
                steal_ns: Some(800_000_000),
            }
        );
    }

    #[test]
    fn v1_has_a_hierarchy_per_controller() {
        let root = tree(&[
            (
                "proc/self/cgroup",
                "4:memory:/docker/ab\n3:cpuset:/docker/ab\n2:cpu,cpuacct:/docker/ab\n0::/\n",
            ),
            (
                "proc/self/mountinfo",
                "32 31 0:29 /docker/ab /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n\
                 34 31 0:31 /docker/ab /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n\
                 35 31 0:32 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
            ),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n"),
            ("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
            (
                "sys/fs/cgroup/cpu,cpuacct/cpu.stat",
                "nr_periods 9\nnr_throttled 2\nthrottled_time 77\n",
            ),
            ("sys/fs/cgroup/cpuset/cpuset.effective_cpus", "2,4\n"),
            (
                "sys/fs/cgroup/memory/memory.limit_in_bytes",
                "9223372036854771712\n",
            ),
        ]);
        let groups = Groups::read(root.path());
        assert_eq!(
            groups.limits(),
            Limits {
                cpu_quota: Some(0.5),
                cpus: Some("2,4".into()),
                memory_bytes: None,
            }
        );
        let pressure = groups.pressure(root.path());
        assert_eq!(
            (pressure.throttled_ns, pressure.throttled_periods),
            (Some(77), Some(2))
        );
        assert_eq!(pressure.steal_ns, None);
    }
}
