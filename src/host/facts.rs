//! Facts about a host as Linux tells them, in the shape of DLIO's files.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::machine::Machine;
use crate::util::units::gib;

/// What DLIO writes about a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostFacts {
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
        gib(self.memory_bytes as f64)
    }
}

/// `/proc/meminfo` as pairs; empty where unreadable.
fn read_meminfo() -> Vec<(String, String)> {
    read_pairs(Path::new("/proc/meminfo"))
}

/// `/proc/meminfo` at one moment, in a few hundred bytes: a run keeps one of these per epoch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(String, String)>", into = "Vec<(String, String)>")]
pub struct Meminfo {
    layout: Arc<Layout>,
    values: Box<[u64]>,
}

/// Keys and units.
type Layout = Vec<(String, String)>;

/// They are the same at every moment of a process.
static LAYOUT: Mutex<Option<Arc<Layout>>> = Mutex::new(None);

impl From<Vec<(String, String)>> for Meminfo {
    fn from(pairs: Vec<(String, String)>) -> Self {
        Self::of(&pairs)
    }
}

impl From<Meminfo> for Vec<(String, String)> {
    fn from(info: Meminfo) -> Self {
        info.pairs()
    }
}

impl Meminfo {
    pub fn read() -> Self {
        Self::of(&read_meminfo())
    }

    fn of(pairs: &[(String, String)]) -> Self {
        let split = |(key, text): &(String, String)| {
            let digits = text.bytes().take_while(u8::is_ascii_digit).count();
            let value: u64 = text[..digits].parse().ok()?;
            Some(((key.clone(), text[digits..].to_owned()), value))
        };
        // Lines of another shape would be lost; the kernel has none.
        let (layout, values): (Vec<_>, Vec<u64>) = pairs.iter().filter_map(split).unzip();
        let mut known = LAYOUT.lock();
        let layout = match &*known {
            Some(known) if **known == layout => known.clone(),
            _ => known.insert(Arc::new(layout)).clone(),
        };
        Meminfo {
            layout,
            values: values.into(),
        }
    }

    /// As the kernel writes it.
    pub fn pairs(&self) -> Vec<(String, String)> {
        let text = |((key, unit), value): (&(String, String), &u64)| {
            (key.clone(), format!("{value}{unit}"))
        };
        self.layout.iter().zip(&self.values).map(text).collect()
    }
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

    #[test]
    fn memory_is_kept_as_the_kernel_writes_it_with_its_keys_once() {
        let pairs = read_meminfo();
        assert!(pairs.len() > 10);
        let (a, b) = (Meminfo::of(&pairs), Meminfo::of(&pairs));
        assert_eq!(a.pairs(), pairs);
        assert!(Arc::ptr_eq(&a.layout, &b.layout));
    }
}
