//! Facts about a host as Linux tells them, in the shape of DLIO's files.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::machine::Machine;

/// What DLIO writes about a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
    /// Host name.
    pub name: String,
    /// Logical CPUs online.
    pub cpu_count: u64,
    /// Total memory, bytes.
    pub memory_bytes: u64,
    /// `/proc/cpuinfo`; the last CPU's values.
    pub cpuinfo: Vec<(String, String)>,
    /// `/proc/meminfo`.
    pub meminfo: Vec<(String, String)>,
    /// What DLIO does not ask for.
    #[serde(default)]
    pub machine: Machine,
}

impl HostFacts {
    /// Reads `/proc`; what cannot be read is empty or 0.
    pub fn read(name: &str) -> Self {
        let cpuinfo = read_pairs(Path::new("/proc/cpuinfo"));
        let meminfo = read_meminfo();
        let memory_bytes = meminfo
            .iter()
            .find(|(k, _)| k == "MemTotal")
            .and_then(|(_, v)| v.split_whitespace().next()?.parse::<u64>().ok())
            .map_or(0, |kib| kib * 1024);
        let cpu_count = nix::unistd::sysconf(nix::unistd::SysconfVar::_NPROCESSORS_ONLN)
            .ok()
            .flatten()
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or(0);
        HostFacts {
            name: name.to_owned(),
            cpu_count,
            memory_bytes,
            cpuinfo,
            meminfo,
            machine: Machine::read(),
        }
    }

    /// Total memory in GiB (DLIO calls it GB).
    pub fn memory_gib(&self) -> f64 {
        self.memory_bytes as f64 / 1024.0 / 1024.0 / 1024.0
    }
}

/// `/proc/meminfo` as pairs; empty where unreadable.
pub fn read_meminfo() -> Vec<(String, String)> {
    read_pairs(Path::new("/proc/meminfo"))
}

fn read_pairs(path: &Path) -> Vec<(String, String)> {
    std::fs::read_to_string(path).map_or_else(|_| Vec::new(), |text| lines_to_pairs(&text))
}

/// Lines with exactly one `:` become a pair, trimmed; a repeated key keeps its place and takes the
/// last value; the key `processor` is dropped. Other lines change nothing. Source: DLIO
/// `utils/statscounter.py::lines_to_dict`.
pub fn lines_to_pairs(text: &str) -> Vec<(String, String)> {
    let mut out: Vec<(String, String)> = Vec::new();
    for line in text.lines() {
        let mut parts = line.split(':');
        let (Some(key), Some(value), None) = (parts.next(), parts.next(), parts.next()) else {
            continue;
        };
        let (key, value) = (key.trim(), value.trim());
        if key == "processor" {
            continue;
        }
        match out.iter_mut().find(|(k, _)| k == key) {
            Some(pair) => pair.1 = value.to_owned(),
            None => out.push((key.to_owned(), value.to_owned())),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_cpu_wins_and_processor_is_dropped() {
        let text = "processor\t: 0\nmodel name\t: A\nbugs\t: x: y\n\nprocessor\t: 1\nmodel name\t: B\nflags:\n";
        assert_eq!(
            lines_to_pairs(text),
            [
                ("model name".into(), "B".into()),
                ("flags".into(), String::new())
            ]
        );
    }
}
