//! The figures of a whole job, as the report reads them.

use serde::{Deserialize, Serialize};

use super::breakdown::Breakdown;
use super::checkpoint::CheckpointSummary;
use super::evidence::{Evidence, ServedByStorage};
use super::histogram::{StageHistograms, StageSummary};
use super::memory::Peaks;
use super::record::{Counters, PageCache};
use super::series::{Series, Spread};
use crate::config::MetricFormula;
use crate::host::cgroup::{Limits, Pressure};
use crate::host::facts::HostFacts;
use crate::host::witness::Medium;
use crate::storage::Telemetry;
use crate::util::units::gib;

/// Oversleep beyond this is a warning, percent of the configured computation.
const OVERSHOOT_LIMIT: f64 = 2.0;

/// AU and throughput of training or of evaluation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct PhaseSummary {
    /// Percent, per epoch or evaluation.
    pub au_percent: Series,
    /// Samples per second of all ranks, per epoch or evaluation.
    pub throughput: Series,
    /// Whether the mean AU reaches `metric.au`.
    pub meets_expectation: bool,
}

impl PhaseSummary {
    /// DLIO's word for it.
    pub fn verdict(&self) -> &'static str {
        match self.meets_expectation {
            true => "success",
            false => "fail",
        }
    }
}

/// One epoch of the whole job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EpochSummary {
    /// From 1.
    pub epoch: u64,
    /// Training steps of rank 0.
    pub steps: u64,
    /// Seconds of training, the slowest rank's.
    pub train_s: f64,
    /// DLIO's AU, percent.
    pub au_percent: f64,
    /// AU by the configured computation instead of the measured one, percent.
    pub au_nominal_percent: f64,
    /// AU if everything but the storage system cost nothing, percent.
    pub au_storage_percent: Option<f64>,
    /// Samples per second, all ranks.
    pub throughput: f64,
    /// Bytes given to readers, all ranks, evaluation included.
    pub bytes_read: u64,
    /// Bytes that the kernel fetched from devices; None when unreadable on a rank.
    pub bytes_from_device: Option<u64>,
    /// Verdict of all hosts.
    pub served_by_storage: ServedByStorage,
    /// The rule that gave it, where all hosts agree on one.
    pub rule: String,
    /// Mean per rank.
    pub breakdown: Breakdown,
}

/// One rank's own figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RankSummary {
    pub rank: usize,
    /// Index into the host table.
    pub host: usize,
    /// Mean of its epochs' AU, percent.
    pub au_percent: f64,
    /// Mean of its epochs' throughput, samples per second.
    pub throughput: f64,
    /// Of its epochs.
    pub breakdown: Breakdown,
    pub counters: Counters,
    /// Requests and connections of this rank, where the storage system has them.
    pub object_store: Option<Telemetry>,
    /// Digest of the samples that it read, in order.
    pub order_digest: u64,
    /// Percentiles of the stages of checkpoints with counts.
    pub checkpoint_stages: Vec<StageSummary>,
}

/// How ranks differ.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spreads {
    pub au_percent: Spread,
    pub bytes_read: Spread,
    /// Seconds of waiting for batches.
    pub wait_s: Spread,
}

impl Spreads {
    pub(super) fn of(ranks: &[&RankSummary]) -> Self {
        Spreads {
            au_percent: Spread::of(ranks.iter().map(|r| r.au_percent)),
            bytes_read: Spread::of(ranks.iter().map(|r| r.counters.bytes_read as f64)),
            wait_s: Spread::of(ranks.iter().map(|r| r.breakdown.seconds.wait())),
        }
    }
}

/// One host of the job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HostSummary {
    /// What Linux says about it.
    pub facts: HostFacts,
    /// What its readers' bytes lie on.
    pub medium: Medium,
    /// What its first rank may have of it.
    pub limits: Limits,
    /// How it was held back during training.
    pub pressure: Pressure,
    /// Time in which its ranks' readers could have run and had no CPU, ns.
    pub delay_ns: Option<u64>,
    pub ranks: usize,
    pub spreads: Spreads,
}

/// Everything measured, for the whole job; exists on rank 0 only.
#[derive(Debug, Clone, Serialize)]
pub struct JobSummary {
    pub ranks: usize,
    pub formula: MetricFormula,
    /// Required AU, percent.
    pub au_expected_percent: f64,
    /// Bytes of a sample by DLIO's count.
    pub record_size_bytes: f64,
    /// DLIO's estimate of what one host reads per epoch, GiB.
    pub data_size_per_host_gib: f64,
    pub train: Option<PhaseSummary>,
    /// Present when the workflow evaluates. With `metric.formula: v2` the lists are DLIO's
    /// rank-major concatenation, AU divided by the number of ranks.
    pub eval: Option<PhaseSummary>,
    /// Present when the workflow saves or loads checkpoints.
    pub checkpoint: Option<CheckpointSummary>,
    /// AU by the configured computation instead of the measured one, percent; None without training.
    pub au_nominal_percent: Option<f64>,
    /// 100 * C / (C + wait for I/O and metadata) over the metric window of all ranks and epochs, percent.
    pub au_storage_percent: Option<f64>,
    /// Mean per rank.
    pub breakdown: Breakdown,
    pub epochs: Vec<EpochSummary>,
    /// Per epoch and host, of as many epochs as fit into [`EVIDENCE_LINES`] lines.
    pub evidence: Vec<Evidence>,
    pub peaks: Peaks,
    /// What a rank was expected to hold, bytes: the largest of all ranks.
    pub planned_bytes: u64,
    /// Percentiles of stages with counts.
    pub stages: Vec<StageSummary>,
    /// Summed over ranks; peak memory, dropped samples and generation time are maxima.
    pub counters: Counters,
    /// What the page cache held before the first epoch; None where nobody looked.
    pub page_cache: Option<PageCache>,
    /// Requests and connections of all ranks, where the storage system has them.
    pub object_store: Option<Telemetry>,
    /// All ranks' digests combined in rank order.
    pub order_digest: u64,
    pub spreads: Spreads,
    /// In order of nodes.
    pub hosts: Vec<HostSummary>,
    /// In order of ranks.
    pub rank_table: Vec<RankSummary>,
    /// The buckets behind `stages`.
    #[serde(skip)]
    pub histograms: StageHistograms,
}

impl JobSummary {
    /// What the user should know of computation that took longer than configured: oversleep of a busy client, which DLIO's
    /// AU counts as computation.
    pub fn oversleep_caution(&self) -> Option<String> {
        let over = self.breakdown.overshoot_of_nominal();
        (over > OVERSHOOT_LIMIT).then(|| {
            format!(
                "computation took {over:.1} % longer than configured, because the client was busy: AU is too high; by the configured time it is {:.2} %; give each rank more CPU",
                self.au_nominal_percent.unwrap_or(0.0)
            )
        })
    }

    /// CPU seconds of all ranks' reader threads, and of their storage system's own, per GiB read; None when nothing was read.
    pub fn cpu_seconds_per_gib(&self) -> Option<f64> {
        self.per_gib(self.counters.reader_cpu_ns)
    }

    /// CPU seconds that all ranks burnt in training, whatever for, per GiB read; None when nothing was read.
    pub fn cpu_burnt_per_gib(&self) -> Option<f64> {
        self.per_gib(self.counters.cpu_ns)
    }

    fn per_gib(&self, ns: u64) -> Option<f64> {
        let read = gib(self.counters.bytes_read as f64);
        (read > 0.0).then(|| ns as f64 / 1e9 / read)
    }

    /// Takes in the largest resident sets of all ranks, which are known last.
    pub fn take_peaks(&mut self, peaks: &[u64]) {
        self.peaks = Peaks::of(peaks);
        self.counters.peak_rss_bytes = self.peaks.max;
        for (rank, peak) in self.rank_table.iter_mut().zip(peaks) {
            rank.counters.peak_rss_bytes = *peak;
        }
    }

    /// Takes in rank 0's largest resident set, which grows while results are made.
    pub fn take_last_peak(&mut self, rank_0: u64) {
        self.peaks.rank_0 = rank_0;
        self.peaks.max = self.peaks.max.max(rank_0);
        self.counters.peak_rss_bytes = self.peaks.max;
        if let Some(rank) = self.rank_table.first_mut() {
            rank.counters.peak_rss_bytes = rank_0;
        }
    }
}
