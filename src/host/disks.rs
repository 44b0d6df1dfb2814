//! Counters of block devices, from `/proc/diskstats`.
//!
//! Source of the columns: `Documentation/admin-guide/iostats.rst` of the Linux kernel. A sector is 512 bytes whatever the
//! device; times are milliseconds.

const FILE: &str = "/proc/diskstats";
const SECTOR: u64 = 512;
const MILLISECOND: u64 = 1_000_000;

/// What a device has done since it came up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DiskCounters {
    /// Reads completed.
    pub reads: u64,
    pub bytes_read: u64,
    /// Time that reads took, added over reads, ns.
    pub read_ns: u64,
    /// Writes completed.
    pub writes: u64,
    pub bytes_written: u64,
    /// Time that writes took, added over writes, ns.
    pub write_ns: u64,
    /// Time with I/O in flight, ns.
    pub busy_ns: u64,
}

/// The counters of all block devices by name, in the kernel's order; none where they cannot be read.
pub fn read() -> Vec<(String, DiskCounters)> {
    std::fs::read_to_string(FILE).map_or(Vec::new(), |text| parse(&text))
}

fn parse(text: &str) -> Vec<(String, DiskCounters)> {
    text.lines().filter_map(line).collect()
}

fn line(line: &str) -> Option<(String, DiskCounters)> {
    let mut words = line.split_ascii_whitespace().skip(2);
    let name = words.next()?.to_owned();
    let counts: Vec<u64> = words.map_while(|word| word.parse().ok()).collect();
    let at = |i: usize| counts.get(i).copied();
    let counters = DiskCounters {
        reads: at(0)?,
        bytes_read: at(2)? * SECTOR,
        read_ns: at(3)? * MILLISECOND,
        writes: at(4)?,
        bytes_written: at(6)? * SECTOR,
        write_ns: at(7)? * MILLISECOND,
        busy_ns: at(9)? * MILLISECOND,
    };
    Some((name, counters))
}

/// Whether a name is that of a whole device, not of a partition.
pub fn is_whole(name: &str) -> bool {
    // The kernel writes '!' for '/' there (cciss/c0d0).
    std::path::Path::new("/sys/block")
        .join(name.replace('/', "!"))
        .exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_the_kernels_documentation() {
        let text = "   8       0 sda 10 1 16 3 20 2 40 5 0 7 11 0 0 0 0 0 0\n   8       1 sda1 1 2\n\
                    259       0 nvme0n1 4 0 8 1 0 0 0 0 0 1 1\n";
        let disks = parse(text);
        assert_eq!(disks.len(), 2);
        assert_eq!(
            disks[0],
            (
                "sda".into(),
                DiskCounters {
                    reads: 10,
                    bytes_read: 8_192,
                    read_ns: 3_000_000,
                    writes: 20,
                    bytes_written: 20_480,
                    write_ns: 5_000_000,
                    busy_ns: 7_000_000,
                }
            )
        );
        assert_eq!(disks[1].0, "nvme0n1");
    }
}
