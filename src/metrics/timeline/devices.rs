//! Block devices over time, as far as they are watched.

use super::BIN_NS;
use super::bins::Bins;
use super::series::Device;
use crate::host::disks::{self, DiskCounters};

/// Bins of a device.
const BINS: usize = 512;

/// Devices that are watched at most: some 30 KB each.
const MOST_DEVICES: usize = 16;

/// Counters of a device, in the order of the fields of [`Device`].
const COUNTERS: usize = 7;

/// Bytes of the largest recording of devices.
#[cfg(test)]
pub(super) const MOST_BYTES: usize = MOST_DEVICES * BINS * COUNTERS * 8;

fn words(c: &DiskCounters) -> [u64; COUNTERS] {
    [
        c.reads,
        c.bytes_read,
        c.read_ns,
        c.writes,
        c.bytes_written,
        c.write_ns,
        c.busy_ns,
    ]
}

/// One device.
#[derive(Debug, Clone)]
struct Watched {
    name: String,
    last: [u64; COUNTERS],
    bins: Bins<[u64; COUNTERS]>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Devices(Vec<Watched>);

/// The devices to watch: those named, or without names the whole devices of this host, those with most I/O first.
///
/// Errors: a name that the kernel does not know, or more than [`MOST_DEVICES`] of them.
pub fn choose_devices(names: &[String]) -> Result<Vec<String>, String> {
    let all = disks::read();
    if names.is_empty() {
        let mut whole: Vec<_> = (all.into_iter())
            .filter(|(name, c)| c.reads + c.writes > 0 && disks::is_whole(name))
            .collect();
        whole.sort_by_key(|(_, c)| std::cmp::Reverse(c.bytes_read + c.bytes_written));
        whole.truncate(MOST_DEVICES);
        return Ok(whole.into_iter().map(|(name, _)| name).collect());
    }
    if names.len() > MOST_DEVICES {
        return Err(format!(
            "profiling.iostat_devices: {} devices, and at most {MOST_DEVICES} can be recorded\n  remedy: name those that hold the data",
            names.len()
        ));
    }
    // iostat takes paths, too.
    let short = |name: &String| name.strip_prefix("/dev/").unwrap_or(name).to_owned();
    let mut chosen: Vec<String> = Vec::new();
    for name in names.iter().map(short) {
        if !all.iter().any(|(known, _)| *known == name) {
            let known: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
            return Err(format!(
                "profiling.iostat_devices: rank 0's host has no block device '{name}' in /proc/diskstats\n  remedy: name some of: {}",
                known.join(", ")
            ));
        }
        if !chosen.contains(&name) {
            chosen.push(name);
        }
    }
    Ok(chosen)
}

impl Devices {
    /// Counts from now on.
    pub(super) fn start(names: &[String]) -> Self {
        let now = disks::read();
        let of = |name: &String| {
            let (_, counters) = now.iter().find(|(known, _)| known == name)?;
            Some(Watched {
                name: name.clone(),
                last: words(counters),
                bins: Bins::new(BIN_NS, BINS),
            })
        };
        Devices(names.iter().filter_map(of).collect())
    }

    /// Adds what was done between two offsets.
    pub(super) fn sample(&mut self, from_ns: u64, to_ns: u64) {
        if self.0.is_empty() {
            return;
        }
        let now = disks::read();
        for device in &mut self.0 {
            let Some((_, counters)) = now.iter().find(|(name, _)| *name == device.name) else {
                continue;
            };
            for (column, now) in words(counters).into_iter().enumerate() {
                let delta = now.saturating_sub(device.last[column]);
                device.bins.spread(column, from_ns, to_ns, delta);
                // A counter that goes back is not followed.
                device.last[column] = now.max(device.last[column]);
            }
        }
    }

    /// What was recorded on a host.
    pub(super) fn of_host(&self, host: usize) -> Vec<Device> {
        let of = |device: &Watched| {
            let column = |i: usize| device.bins.rows().iter().map(|row| row[i]).collect();
            Device {
                host,
                name: device.name.clone(),
                bin_ns: device.bins.width(),
                reads: column(0),
                bytes_read: column(1),
                read_ns: column(2),
                writes: column(3),
                bytes_written: column(4),
                write_ns: column(5),
                busy_ns: column(6),
            }
        };
        self.0.iter().map(of).collect()
    }

    /// Bytes that it may take.
    #[cfg(test)]
    pub(super) fn most_bytes(&self) -> usize {
        self.0.iter().map(|device| device.bins.most_bytes()).sum()
    }
}
