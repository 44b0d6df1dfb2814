//! What saving and loading checkpoints took: one record per checkpoint and rank, DLIO's figures and those of the slowest
//! rank.

use serde::{Deserialize, Serialize};

use super::evidence::{ServedByStorage, served_by_storage};
use super::series::{Series, Spread};
use crate::cluster::Cluster;
use crate::util::units::GIB;

/// Save or load.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckpointKind {
    #[default]
    Save,
    Load,
}

impl CheckpointKind {
    /// `save` or `load`, as in DLIO's keys.
    pub fn word(self) -> &'static str {
        match self {
            CheckpointKind::Save => "save",
            CheckpointKind::Load => "load",
        }
    }
}

/// One checkpoint on this rank. Units: bytes and nanoseconds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckpointRecord {
    pub kind: CheckpointKind,
    /// Epoch in its name.
    pub epoch: u64,
    /// Step in its name.
    pub step: u64,
    /// DLIO's number in the keys `save_ckpt<n>` and `load_ckpt<n>`: the block, or its place in the run from 1.
    pub number: u64,
    /// Wall-clock label.
    pub start: String,
    /// Wall-clock label.
    pub end: String,
    /// DLIO's duration: this rank's own work, and the barrier where `checkpoint.rank_sync` puts it inside.
    pub wall_ns: u64,
    /// This rank's own work.
    pub own_ns: u64,
    /// Bytes of this rank's tensors.
    pub tensor_bytes: u64,
    /// Bytes written or read, containers included.
    pub file_bytes: u64,
    /// Write or read calls.
    pub io_ns: u64,
    /// Making files durable.
    pub fsync_ns: u64,
    /// Making the folder durable.
    pub fsync_folder_ns: u64,
    /// The writer's wait for bytes.
    pub stall_ns: u64,
    /// Files of weights.
    pub model_ns: u64,
    /// Files of the optimizer.
    pub optimizer_ns: u64,
    /// Bytes that the kernel fetched from devices meanwhile; None where it does not say.
    pub device_bytes: Option<u64>,
}

/// All checkpoints of a run on this rank.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointLog {
    /// DLIO's size of one checkpoint of the whole job, bytes; counts on rank 0 only.
    pub size_bytes: u64,
    /// Start and end labels of a job that does nothing else.
    pub span: Option<(String, String)>,
    /// In order.
    pub records: Vec<CheckpointRecord>,
    /// The command between saving and loading, seconds.
    pub between_phases_s: Option<f64>,
}

/// Saves or loads of the whole job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointPhase {
    /// Seconds of rank 0: DLIO's.
    pub duration_s: Series,
    /// DLIO's size over rank 0's seconds, GiB/s.
    pub throughput_gib: Series,
    /// Seconds of the slowest rank: MLPerf's.
    pub slowest_s: Series,
    /// Bytes of all tensors over the slowest rank's seconds, GiB/s: MLPerf's.
    pub slowest_gib: Series,
    /// Longest time of a rank in fsync of files, seconds.
    pub fsync_s: Series,
    /// Longest time of a rank in fsync of the folder, seconds.
    pub fsync_folder_s: Series,
    /// How ranks' own seconds differ, over all checkpoints.
    pub rank_s: Spread,
    /// 100 x the writers' wait for bytes / their own time, all ranks and checkpoints.
    pub stall_percent: f64,
    /// Bytes of tensors, all ranks and checkpoints.
    pub tensor_bytes: u64,
    /// Bytes written or read, all ranks and checkpoints.
    pub file_bytes: u64,
    /// Bytes that the kernel fetched from devices; None when unreadable on a rank.
    pub device_bytes: Option<u64>,
    /// Verdict for loads from the two.
    pub served_by_storage: ServedByStorage,
}

/// Checkpoints of the whole job.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct CheckpointSummary {
    /// DLIO's size of one checkpoint, bytes.
    pub size_bytes: u64,
    pub save: Option<CheckpointPhase>,
    pub load: Option<CheckpointPhase>,
    /// The command between saving and loading, seconds.
    pub between_phases_s: Option<f64>,
}

const SUMS: usize = 6;
const MAXIMA: usize = 3;

/// Reduces all ranks' records; a collective. Complete on rank 0 only, whose seconds are DLIO's.
///
/// Every rank has the same checkpoints in the same order: each ends with an agreement of all.
pub fn reduce(
    cluster: &dyn Cluster,
    log: &CheckpointLog,
    device_counter_valid: bool,
) -> CheckpointSummary {
    let all = OverRanks::of(cluster, log);
    CheckpointSummary {
        size_bytes: log.size_bytes,
        save: all.phase(CheckpointKind::Save, device_counter_valid),
        load: all.phase(CheckpointKind::Load, device_counter_valid),
        between_phases_s: log.between_phases_s,
    }
}

/// What reductions give of each checkpoint.
struct OverRanks<'a> {
    log: &'a CheckpointLog,
    sums: Vec<u64>,
    maxima: Vec<u64>,
    /// Of each rank: own nanoseconds of each, as bytes. On rank 0 only.
    own: Vec<Vec<u8>>,
}

impl<'a> OverRanks<'a> {
    fn of(cluster: &dyn Cluster, log: &'a CheckpointLog) -> Self {
        let mut sums = Vec::with_capacity(SUMS * log.records.len());
        let mut maxima = Vec::with_capacity(MAXIMA * log.records.len());
        for r in &log.records {
            sums.extend([
                r.tensor_bytes,
                r.file_bytes,
                r.stall_ns,
                r.own_ns,
                r.device_bytes.unwrap_or(0),
                u64::from(r.device_bytes.is_none()),
            ]);
            maxima.extend([r.own_ns, r.fsync_ns, r.fsync_folder_ns]);
        }
        cluster.sum_u64(&mut sums);
        cluster.max_u64(&mut maxima);
        // One float per checkpoint and rank, as bytes: the spread over ranks needs them all.
        let own: Vec<u8> = (log.records.iter())
            .flat_map(|r| r.own_ns.to_le_bytes())
            .collect();
        OverRanks {
            log,
            sums,
            maxima,
            own: cluster.gather(&own).unwrap_or_default(),
        }
    }

    /// Saves or loads; None where there were none.
    fn phase(&self, kind: CheckpointKind, device_counter_valid: bool) -> Option<CheckpointPhase> {
        let log = self.log;
        let of_kind: Vec<usize> = (0..log.records.len())
            .filter(|&i| log.records[i].kind == kind)
            .collect();
        if of_kind.is_empty() {
            return None;
        }
        let series =
            |of: &dyn Fn(usize) -> f64| Series::new(of_kind.iter().map(|&i| of(i)).collect());
        let sum_of = |i: usize, what: usize| self.sums[i * SUMS + what];
        let sum = |what: usize| of_kind.iter().map(|&i| sum_of(i, what)).sum::<u64>();
        let longest = |i: usize, what: usize| self.maxima[i * MAXIMA + what];
        let own = |i: usize| log.records[i].wall_ns.max(1) as f64 / 1e9;
        let slowest = |i: usize| longest(i, 0).max(1) as f64 / 1e9;
        let device_bytes = (sum(5) == 0).then(|| sum(4));
        let rank_s = self.own.iter().flat_map(|rank| {
            of_kind.iter().filter_map(|i| {
                let word = rank.get(i * 8..i * 8 + 8)?.try_into().ok()?;
                Some(u64::from_le_bytes(word) as f64 / 1e9)
            })
        });
        Some(CheckpointPhase {
            duration_s: series(&own),
            throughput_gib: series(&|i| log.size_bytes as f64 / GIB / own(i)),
            slowest_s: series(&|i| longest(i, 0) as f64 / 1e9),
            slowest_gib: series(&|i| sum_of(i, 0) as f64 / GIB / slowest(i)),
            fsync_s: series(&|i| longest(i, 1) as f64 / 1e9),
            fsync_folder_s: series(&|i| longest(i, 2) as f64 / 1e9),
            rank_s: Spread::of(rank_s),
            stall_percent: 100.0 * sum(2) as f64 / sum(3).max(1) as f64,
            tensor_bytes: sum(0),
            file_bytes: sum(1),
            device_bytes,
            served_by_storage: served_by_storage(
                sum(1),
                device_bytes.filter(|_| device_counter_valid && kind == CheckpointKind::Load),
            ),
        })
    }
}
