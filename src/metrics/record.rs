//! The raw record of a run on one rank, as the train loop leaves it. All durations in nanoseconds of
//! the run's clock; `start` and `end` strings are wall-clock labels (`2026-06-21T02:56:10.297054`,
//! local time) and nothing is computed from them.

use serde::{Deserialize, Serialize};

use super::checkpoint::CheckpointLog;
use super::evidence::Counts;
use crate::host::cgroup::Pressure;
use crate::host::facts::Meminfo;
use crate::host::witness::Medium;
use crate::stage::Parts;
use crate::storage::Telemetry;

/// One step of training or evaluation on this rank.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepTime {
    /// From asking for the batch until it was there (DLIO `load`).
    pub load_ns: u64,
    /// The emulated computation (DLIO `compute`).
    pub compute_ns: u64,
    /// `load` + `compute` + what lies between (DLIO `proc`).
    pub proc_ns: u64,
    /// Waiting for the other ranks after the step; 0 in evaluation.
    pub barrier_ns: u64,
}

/// Steps between two checkpoints of one epoch (or all steps of an evaluation).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRecord {
    /// Wall-clock label.
    pub start: String,
    /// Wall-clock label.
    pub end: String,
    /// Duration of the block, everything included.
    pub wall_ns: u64,
    /// What the waits of the steps that count went to. The sum is their `load_ns`.
    pub wait_parts: Parts,
    /// Configured computation of the steps that count.
    pub nominal_ns: u64,
    /// The fetch of one more batch after the last step.
    pub closing_ns: u64,
    /// In order.
    pub steps: Vec<StepTime>,
}

/// One epoch on this rank.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochRecord {
    /// From 1.
    pub epoch: u64,
    /// Wall-clock label.
    pub start: String,
    /// Wall-clock label.
    pub end: String,
    /// Training part only.
    pub train_ns: u64,
    /// Training blocks, numbered from 1 in DLIO's files.
    pub blocks: Vec<BlockRecord>,
    /// The evaluation after this epoch, where there was one.
    pub eval: Option<BlockRecord>,
    /// `/proc/meminfo` at the end of the epoch.
    pub host_meminfo: Meminfo,
    /// What was delivered to readers and what outside counters saw, evaluation included; those of a host on its first rank
    /// only.
    pub counts: Counts,
}

/// Everything measured on one rank.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RankRecord {
    pub rank: usize,
    pub epochs: Vec<EpochRecord>,
    pub counters: Counters,
    pub checkpoints: CheckpointLog,
    /// Requests and connections, where the storage system has them; generation included.
    pub object_store: Option<Telemetry>,
    /// What lies between the readers and the dataset's bytes.
    pub medium: Medium,
    /// How the host was held back during training; on its first rank.
    pub pressure: Pressure,
    /// What the page cache held before the first epoch, all ranks and hosts together; None where nobody looked.
    pub page_cache: Option<PageCache>,
    /// Running digest of (epoch, step, sample) of this rank.
    pub order_digest: u64,
}

/// What the page cache held of a sample of the dataset's files.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageCache {
    pub sampled_files: u64,
    /// Bytes of them in memory; where there were any, all files were evicted, which warms their metadata.
    pub resident_bytes: u64,
    /// Bytes of them that were in memory still after that.
    pub kept_bytes: u64,
}

impl PageCache {
    /// What is known of names and attributes of the files when the first epoch begins.
    pub fn metadata(&self) -> &'static str {
        match self.resident_bytes {
            0 => "untouched",
            // A file system in memory, for one.
            held if self.kept_bytes >= held => {
                "in memory, as the files are, which cannot be evicted"
            }
            _ => "warmed by eviction",
        }
    }
}

/// Summed over ranks in the report, except where a maximum is named.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Counters {
    /// Bytes given by the storage system to readers (training and evaluation), metadata of files included.
    pub bytes_read: u64,
    /// Read requests completed.
    pub reads: u64,
    /// Bytes of files' metadata (part of `bytes_read`).
    pub metadata_bytes: u64,
    /// Read requests for metadata (part of `reads`).
    pub metadata_reads: u64,
    pub samples: u64,
    /// Requests repeated after an error.
    pub retries: u64,
    /// Samples not read because the remainder is dropped, per epoch.
    pub samples_dropped_per_epoch: u64,
    /// User + system CPU time of the process during training, evaluation and checkpoints, ns: all that was burnt.
    pub cpu_ns: u64,
    /// CPU time of the reader threads while they read, and of the storage system's own threads, ns (part of `cpu_ns`).
    pub reader_cpu_ns: u64,
    /// CPU time of the main thread spent spinning for compute deadlines and inside MPI barriers, ns (part of `cpu_ns`).
    pub spin_ns: u64,
    /// CPU time that rank 0 spent on events, progress and logs, ns (part of `cpu_ns`).
    pub report_cpu_ns: u64,
    /// Time in which reader threads could have run and had no CPU, ns; None where a kernel does not count it.
    pub delay_ns: Option<u64>,
    /// Peak resident set of the process, bytes (maximum over ranks).
    pub peak_rss_bytes: u64,
    pub bytes_written: u64,
    pub files_written: u64,
    /// Files that generation found complete and left.
    pub files_skipped: u64,
    /// Wall time of generation, ns (maximum over ranks).
    pub generate_ns: u64,
}
