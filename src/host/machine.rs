//! What a report of a run says about a host's hardware and system, as Linux reports it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// A network interface with hardware behind it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Nic {
    pub name: String,
    /// Megabits per second, where the driver says it.
    pub speed_mbit: Option<u64>,
    /// Vendor, device and driver.
    pub model: Option<String>,
}

/// A host. What cannot be read is None or empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// Vendor and product of the DMI table.
    pub model: Option<String>,
    /// `model name` of `/proc/cpuinfo`.
    pub cpu_model: Option<String>,
    /// Distinct physical ids.
    pub cpu_sockets: Option<u64>,
    /// Distinct cores of all sockets.
    pub cpu_cores: Option<u64>,
    /// `uname -m`
    pub architecture: Option<String>,
    /// `NAME` of `/etc/os-release`.
    pub os_name: Option<String>,
    /// `VERSION` of `/etc/os-release`.
    pub os_version: Option<String>,
    /// `uname -r`
    pub kernel: Option<String>,
    /// Interfaces with a device, and InfiniBand's.
    pub nics: Vec<Nic>,
    /// System parameters that change storage and network performance.
    pub sysctl: BTreeMap<String, String>,
}

/// Parameters of `/proc/sys` that people tune for storage.
const SYSCTLS: [&str; 18] = [
    "fs.aio-max-nr",
    "fs.file-max",
    "kernel.numa_balancing",
    "net.core.netdev_max_backlog",
    "net.core.rmem_max",
    "net.core.wmem_max",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_mtu_probing",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "vm.dirty_background_bytes",
    "vm.dirty_background_ratio",
    "vm.dirty_bytes",
    "vm.dirty_ratio",
    "vm.min_free_kbytes",
    "vm.nr_hugepages",
    "vm.swappiness",
    "vm.vfs_cache_pressure",
];

impl Machine {
    /// Of this host.
    pub fn read() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let uname = nix::sys::utsname::uname().ok();
        let text = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
        let (cpu_sockets, cpu_cores) = topology(&cpuinfo);
        Machine {
            model: dmi(),
            cpu_model: value_of(&cpuinfo, "model name"),
            cpu_sockets,
            cpu_cores,
            architecture: uname.as_ref().map(|u| text(u.machine())),
            os_name: os_release(&release, "NAME"),
            os_version: os_release(&release, "VERSION")
                .or_else(|| os_release(&release, "VERSION_ID")),
            kernel: uname.as_ref().map(|u| text(u.release())),
            nics: nics(Path::new("/sys/class/net")),
            sysctl: SYSCTLS
                .iter()
                .filter_map(|name| {
                    let path = format!("/proc/sys/{}", name.replace('.', "/"));
                    Some((name.to_string(), line(Path::new(&path))?))
                })
                .collect(),
        }
    }
}

/// A file's content in one line; None where it is empty or unreadable.
fn line(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let words: Vec<&str> = text.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

fn dmi() -> Option<String> {
    let part = |name: &str| line(&Path::new("/sys/class/dmi/id").join(name));
    let parts: Vec<String> = ["sys_vendor", "product_name"]
        .into_iter()
        .filter_map(part)
        .collect();
    (!parts.is_empty()).then(|| parts.join(" "))
}

fn value_of(cpuinfo: &str, key: &str) -> Option<String> {
    cpuinfo.lines().find_map(|line| {
        let (k, v) = line.split_once(':')?;
        (k.trim() == key).then(|| v.trim().to_owned())
    })
}

/// Sockets and cores of all sockets; None where the kernel does not say it.
fn topology(cpuinfo: &str) -> (Option<u64>, Option<u64>) {
    let mut sockets = BTreeSet::new();
    let mut cores = BTreeSet::new();
    for cpu in cpuinfo.split("\n\n") {
        let Some(socket) = value_of(cpu, "physical id") else {
            continue;
        };
        if let Some(core) = value_of(cpu, "core id") {
            cores.insert((socket.clone(), core));
        }
        sockets.insert(socket);
    }
    let count = |n: usize| (n > 0).then_some(n as u64);
    (count(sockets.len()), count(cores.len()))
}

/// A value of os-release(5), without its quotes.
fn os_release(text: &str, key: &str) -> Option<String> {
    text.lines().find_map(|line| {
        let (k, v) = line.split_once('=')?;
        (k == key).then(|| v.trim().trim_matches(['"', '\'']).to_owned())
    })
}

fn nics(folder: &Path) -> Vec<Nic> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let mut out: Vec<Nic> = entries
        .flatten()
        // Bridges, tunnels and the loopback have no device.
        .filter(|entry| entry.path().join("device").exists())
        .map(|entry| {
            let path = entry.path();
            let speed = line(&path.join("speed")).and_then(|s| s.parse::<i64>().ok());
            let driver = fs::read_link(path.join("device/driver"))
                .ok()
                .and_then(|p| Some(p.file_name()?.to_string_lossy().into_owned()));
            let id = |name: &str| line(&path.join("device").join(name));
            let model = match (id("vendor"), id("device"), driver) {
                (Some(vendor), Some(device), Some(driver)) => {
                    Some(format!("PCI {vendor}:{device}, driver {driver}"))
                }
                (_, _, Some(driver)) => Some(format!("driver {driver}")),
                _ => None,
            };
            Nic {
                name: entry.file_name().to_string_lossy().into_owned(),
                // A link that is down, or a driver that does not know, says -1.
                speed_mbit: speed.and_then(|s| u64::try_from(s).ok()).filter(|s| *s > 0),
                model,
            }
        })
        .collect();
    out.sort_by(|a, b| a.name.cmp(&b.name));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_sockets_of_two_cores_with_two_threads() {
        let mut text = String::new();
        for cpu in 0..8 {
            text += &format!(
                "processor\t: {cpu}\nmodel name\t: X: 9\nphysical id\t: {}\ncore id\t\t: {}\n\n",
                cpu / 4,
                cpu % 2
            );
        }
        assert_eq!(topology(&text), (Some(2), Some(4)));
        assert_eq!(value_of(&text, "model name").unwrap(), "X: 9");
        assert_eq!(topology("processor: 0\n"), (None, None));
    }

    #[test]
    fn os_release_has_quotes() {
        let text = "PRETTY_NAME=\"D 12\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID='12'\n";
        assert_eq!(os_release(text, "NAME").unwrap(), "Debian GNU/Linux");
        assert_eq!(os_release(text, "VERSION_ID").unwrap(), "12");
        assert_eq!(os_release(text, "VERSION"), None);
    }

    #[test]
    fn interfaces_without_a_device_do_not_count() {
        let folder = tempfile::tempdir().unwrap();
        for (name, speed) in [("eth0", "100000\n"), ("down", "-1\n")] {
            fs::create_dir_all(folder.path().join(name).join("device")).unwrap();
            fs::write(folder.path().join(name).join("speed"), speed).unwrap();
        }
        fs::create_dir(folder.path().join("lo")).unwrap();
        let found = nics(folder.path());
        assert_eq!(found.len(), 2);
        assert_eq!(
            (found[0].name.as_str(), found[0].speed_mbit),
            ("down", None)
        );
        assert_eq!(found[1].speed_mbit, Some(100_000));
    }
}
