//! Counters outside this program that saw the bytes of a folder go by: of devices, mounts and network cards.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// What lies between a reader and the bytes of a folder: it decides which counter is the witness.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Medium {
    /// A block device of this host; the kernel counts its reads per process.
    Device,
    /// NFS; `/proc/self/mountstats` counts per mount.
    Nfs,
    /// Lustre; its own statistics count per mount.
    Lustre,
    /// A file system that keeps its files in memory.
    Memory,
    /// An object store, through this program's own sockets.
    Object,
    /// `null` and `model`: no bytes.
    #[default]
    Simulated,
    /// Another file system, by its type.
    Other(String),
}

/// A mount, as `/proc/self/mountinfo` lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    pub point: PathBuf,
    /// File system type.
    pub kind: String,
}

impl Mount {
    /// The mount that a folder, which exists, lies on.
    pub fn of(folder: &Path) -> Option<Mount> {
        let folder = folder.canonicalize().ok()?;
        let text = fs::read_to_string("/proc/self/mountinfo").ok()?;
        mount_of(&text, &folder)
    }

    /// What its files lie on.
    pub fn medium(&self) -> Medium {
        match self.kind.as_str() {
            "tmpfs" | "ramfs" | "devtmpfs" | "hugetlbfs" => Medium::Memory,
            "nfs" | "nfs4" => Medium::Nfs,
            "lustre" => Medium::Lustre,
            _ if super::mounts::has_block_device(&self.point) => Medium::Device,
            kind => Medium::Other(kind.into()),
        }
    }

    /// Bytes that this mount's servers have sent so far; None where nobody counts them.
    pub fn bytes_from_server(&self) -> Option<u64> {
        match self.kind.as_str() {
            "nfs" | "nfs4" => {
                let text = fs::read_to_string("/proc/self/mountstats").ok()?;
                nfs_bytes(&text, &self.point)
            }
            "lustre" => lustre_bytes(),
            _ => None,
        }
    }
}

fn mount_of(mountinfo: &str, folder: &Path) -> Option<Mount> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let point = PathBuf::from(unescape(left.split(' ').nth(4)?));
        let kind = right.split(' ').next()?.to_string();
        folder.starts_with(&point).then_some(Mount { point, kind })
    });
    // The deepest; of two in one place the later one, which hides the other.
    mounts.max_by_key(|mount| mount.point.components().count())
}

/// Octal escapes of blanks in mountinfo and mountstats.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\134", "\\")
}

/// `serverreadbytes`, the fifth number of a mount's `bytes:` line: what READ calls brought. Source: Linux
/// `fs/nfs/super.c::nfs_show_stats`, `include/linux/nfs_iostat.h`.
fn nfs_bytes(mountstats: &str, point: &Path) -> Option<u64> {
    let mut is_ours = false;
    for line in mountstats.lines() {
        if let Some(rest) = line.strip_prefix("device ") {
            let mounted = rest.split(" mounted on ").nth(1)?;
            let (at, _) = mounted.split_once(" with fstype ")?;
            is_ours = Path::new(&unescape(at)) == point;
        } else if is_ours && let Some(numbers) = line.trim().strip_prefix("bytes:") {
            return numbers.split_ascii_whitespace().nth(4)?.parse().ok();
        }
    }
    None
}

/// Bytes that object storage clients (`osc`) received from servers: `read_bytes` of each one's `stats`, whose seventh word
/// is the sum. The `llite` statistics count what applications were given, from memory too, so they are no witness.
fn lustre_bytes() -> Option<u64> {
    let roots = ["/sys/kernel/debug/lustre/osc", "/proc/fs/lustre/osc"];
    let folder = roots.iter().find_map(|root| fs::read_dir(root).ok())?;
    let mut sum = None;
    for client in folder.flatten() {
        if let Ok(text) = fs::read_to_string(client.path().join("stats")) {
            sum = Some(sum.unwrap_or(0) + lustre_sum(&text));
        }
    }
    sum
}

fn lustre_sum(stats: &str) -> u64 {
    (stats.lines())
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            (words.next()? == "read_bytes").then(|| words.nth(5)?.parse::<u64>().ok())?
        })
        .sum()
}

/// Bytes that network cards with hardware behind them have received so far.
pub fn nic_bytes() -> Option<u64> {
    let cards = fs::read_dir("/sys/class/net").ok()?.flatten();
    let bytes = cards
        .filter(|card| card.path().join("device").exists())
        .filter_map(|card| {
            let text = fs::read_to_string(card.path().join("statistics/rx_bytes")).ok()?;
            text.trim().parse::<u64>().ok()
        });
    bytes.reduce(|a, b| a + b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deepest_mount_holds_a_folder() {
        let text = "27 1 254:0 / / rw - ext4 /dev/vda rw\n\
                    30 27 0:40 / /mnt rw - nfs4 host:/x rw\n\
                    31 30 0:41 / /mnt/a\\040b rw - tmpfs t rw\n\
                    32 30 0:42 / /mnt/a\\040b rw - lustre l rw\n";
        let kind = |folder: &str| mount_of(text, Path::new(folder)).unwrap().kind;
        assert_eq!(kind("/home"), "ext4");
        assert_eq!(kind("/mnt/data"), "nfs4");
        assert_eq!(kind("/mnt/a b/c"), "lustre");
    }

    // Lines as nfsstat's source documents them, statvers=1.1.
    #[test]
    fn nfs_counts_what_its_server_sent() {
        let text = "device proc mounted on /proc with fstype proc\n\
                    device h:/y mounted on /other with fstype nfs4 statvers=1.1\n\tbytes:\t1 1 1 1 1 1 1 1\n\
                    device h:/x mounted on /mnt with fstype nfs4 statvers=1.1\n\
                    \topts:\trw,vers=4.2\n\tbytes:\t500 0 0 0 300 0 2 0\n";
        assert_eq!(nfs_bytes(text, Path::new("/mnt")), Some(300));
        assert_eq!(nfs_bytes(text, Path::new("/none")), None);
    }

    #[test]
    fn lustre_counts_what_its_servers_sent() {
        let text = "snapshot_time 1.0 secs.nsecs\n\
                    req_waittime 9 samples [usecs] 1 2 3\n\
                    read_bytes 4 samples [bytes] 4096 4194304 8390000 9\n\
                    write_bytes 1 samples [bytes] 1 1 1\n";
        assert_eq!(lustre_sum(text), 8_390_000);
    }
}
