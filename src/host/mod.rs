//! Facts of this machine as the kernel tells them: CPUs, memory, hardware, caches, mounts, counters of this process.
//!
//! Reads `/proc`, `/sys` and a few system calls; knows nothing of the benchmark. What cannot be read is None or empty,
//! never an invented value. Each file is one kind of fact:
//!
//! | File | What |
//! |---|---|
//! | `cpus` | how many CPUs there are, on which a thread may run |
//! | `facts`, `machine` | a host's memory, processors, system and network as reports list them |
//! | `process` | counters of this process: device bytes, resident set |
//! | `owner` | a process as other hosts and processes know it |
//! | `lock` | one job at a time: a file that names its process |
//! | `run_queue` | how long a thread waited for a CPU |
//! | `caches` | emptying the page cache of the host |
//! | `mounts` | where a folder lies |
//! | `disks` | counters of block devices |
//! | `network` | addresses of this host |
//! | `cgroup` | limits of a container and how often they held it back |
//! | `witness` | counters of mounts and network cards |

pub mod caches;
pub mod cgroup;
pub mod cpus;
pub mod disks;
pub mod facts;
pub mod lock;
pub mod machine;
pub mod mounts;
pub mod network;
pub mod owner;
pub mod process;
pub mod run_queue;
pub(crate) mod terminal;
pub mod witness;

/// Host name, as the kernel knows it.
pub fn name() -> String {
    nix::unistd::gethostname()
        .ok()
        .and_then(|name| name.into_string().ok())
        .unwrap_or_else(|| "unknown".into())
}

/// System, release and architecture, as `uname -srm` prints them.
pub fn kernel() -> String {
    nix::sys::utsname::uname().map_or_else(
        |_| "unknown".into(),
        |u| {
            format!(
                "{} {} {}",
                u.sysname().to_string_lossy(),
                u.release().to_string_lossy(),
                u.machine().to_string_lossy()
            )
        },
    )
}
