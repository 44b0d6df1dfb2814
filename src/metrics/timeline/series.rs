//! Sums per bin of time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Unit of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    Bytes,
    Count,
    /// Nanoseconds, added over ranks: a bin of one second and ten ranks holds up to ten seconds.
    Nanoseconds,
}

macro_rules! columns {
    ($(#[doc = $doc:literal] $variant:ident $name:literal $unit:ident;)*) => {
        /// What a series holds per bin; sums over ranks.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Column {
            $(#[doc = $doc] $variant,)*
        }

        impl Column {
            /// All columns, in the order of the file.
            pub const ALL: &[Column] = &[$(Column::$variant),*];

            /// Its key in the file.
            pub fn name(self) -> &'static str {
                match self { $(Column::$variant => $name,)* }
            }

            /// One sentence for readers of a report.
            pub fn doc(self) -> &'static str {
                match self { $(Column::$variant => $doc.trim_ascii(),)* }
            }

            /// Its unit.
            pub fn unit(self) -> Unit {
                match self { $(Column::$variant => Unit::$unit,)* }
            }
        }
    };
}

columns! {
    /// given to readers by the storage system, metadata of files included (training and evaluation)
    Bytes "bytes" Bytes;
    /// samples read
    Samples "samples" Count;
    /// read requests completed
    Requests "requests" Count;
    /// read requests repeated after an error
    Retries "retries" Count;
    /// requests of all kinds repeated: no connection
    RetriesConnect "retries_connect" Count;
    /// requests of all kinds repeated: no answer in time
    RetriesTimeout "retries_timeout" Count;
    /// requests of all kinds repeated: the connection broke
    RetriesReset "retries_reset" Count;
    /// requests of all kinds repeated: the answer ended early
    RetriesTruncated "retries_truncated" Count;
    /// requests of all kinds repeated: a server error
    RetriesServerError "retries_server_error" Count;
    /// requests of all kinds repeated: the server asked to come back later
    RetriesSlowDown "retries_slow_down" Count;
    /// requests of all kinds repeated: credentials had run out
    RetriesExpired "retries_expired" Count;
    /// waiting for batches: device or network I/O
    WaitIo "wait_io" Nanoseconds;
    /// waiting for batches: metadata
    WaitMetadata "wait_metadata" Nanoseconds;
    /// waiting for batches: decode
    WaitDecode "wait_decode" Nanoseconds;
    /// waiting for batches: preprocess
    WaitPreprocess "wait_preprocess" Nanoseconds;
    /// waiting for batches: readers waited for a CPU
    WaitCpu "wait_cpu" Nanoseconds;
    /// waiting for batches: no reader was at work on the batch
    WaitIdle "wait_idle" Nanoseconds;
    /// emulated computation
    Compute "compute" Nanoseconds;
    /// waiting for other ranks after a step
    Barrier "barrier" Nanoseconds;
    /// the fetch of one more batch after the last step
    ClosingFetch "closing_fetch" Nanoseconds;
    /// the benchmark itself, between steps
    Harness "harness" Nanoseconds;
    /// user and system CPU time of the processes
    Cpu "cpu" Nanoseconds;
    /// fetched from devices for the processes (`read_bytes` of `/proc/self/io`)
    DeviceBytes "device_bytes" Bytes;
    /// received by the hosts' network cards, whatever for
    NicBytes "nic_bytes" Bytes;
    /// written by dataset generation
    BytesWritten "bytes_written" Bytes;
    /// written to checkpoints
    CheckpointBytesWritten "checkpoint_bytes_written" Bytes;
    /// read from checkpoints
    CheckpointBytesRead "checkpoint_bytes_read" Bytes;
}

impl Column {
    /// Requests to an object store that were repeated, with the class of failure as `report.json` names it.
    pub fn retried() -> impl Iterator<Item = (Column, &'static str)> {
        let class = |column: &Column| Some((*column, column.name().strip_prefix("retries_")?));
        Column::ALL.iter().filter_map(class)
    }
}

/// Columns over bins of equal width from offset 0.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Series {
    /// Width of a bin, ns. Bin `i` is `[i * bin_ns, (i + 1) * bin_ns)`.
    pub bin_ns: u64,
    /// Number of bins: the length of every column.
    pub bins: usize,
    /// Values by column. A column that nobody counted is missing; one in which nothing happened has zeros.
    pub columns: BTreeMap<Column, Vec<u64>>,
}

impl Series {
    /// The values of a column, one per bin; None where nobody counted.
    pub fn get(&self, column: Column) -> Option<&[u64]> {
        self.columns.get(&column).map(Vec::as_slice)
    }

    /// The sum of a column over all bins.
    pub fn sum(&self, column: Column) -> Option<u64> {
        Some(self.get(column)?.iter().sum())
    }

    /// Waiting for batches for whatever cause, per bin, ns.
    pub fn wait_ns(&self) -> Vec<u64> {
        let mut sum = vec![0; self.bins];
        let waits = [
            Column::WaitIo,
            Column::WaitMetadata,
            Column::WaitDecode,
            Column::WaitPreprocess,
            Column::WaitCpu,
            Column::WaitIdle,
        ];
        for values in waits.iter().filter_map(|column| self.get(*column)) {
            for (sum, value) in sum.iter_mut().zip(values) {
                *sum += value;
            }
        }
        sum
    }
}

/// A block device over time, from `/proc/diskstats`; recorded with `workflow.profiling: true` and `profiling.profiler: iostat`.
/// Bins as in [`Series`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Device {
    /// Index into the table of hosts.
    pub host: usize,
    /// Its name, such as `nvme0n1`.
    pub name: String,
    /// Width of a bin, ns.
    pub bin_ns: u64,
    /// Reads completed, per bin.
    pub reads: Vec<u64>,
    /// Bytes read, per bin.
    pub bytes_read: Vec<u64>,
    /// Time that reads took, added over reads, ns per bin.
    pub read_ns: Vec<u64>,
    /// Writes completed, per bin.
    pub writes: Vec<u64>,
    /// Bytes written, per bin.
    pub bytes_written: Vec<u64>,
    /// Time that writes took, added over writes, ns per bin.
    pub write_ns: Vec<u64>,
    /// Time with I/O in flight, ns per bin: `busy_ns / bin_ns` is iostat's %util.
    pub busy_ns: Vec<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_json() {
        for &column in Column::ALL {
            assert_eq!(serde_json::to_value(column).unwrap(), column.name());
        }
    }
}
