//! What a rank will hold in training, added up before anything of it is allocated.

use super::context::JobContext;
use super::failure::RankError;
use super::index_cache::BUDGET;
use crate::config::{Decode, IndexCacheLife, PerRankFiles, TimeSpec, Workload};
use crate::format::Format;
use crate::host::cgroup::Limits;
use crate::host::process::{node_memory_bytes, resident_bytes};
use crate::metrics::histogram::StageHistograms;
use crate::metrics::memory::MemoryPlan;
use crate::metrics::record::StepTime;
use crate::plan::steps::Steps;
use crate::report::rank_files::AT_ONCE;
use crate::storage::Storage;

/// Pages of the program that are touched only after the sum was made: what reduces and writes results. Measured: 5 to 8 MiB.
const TOUCHED_LATER: u64 = 8 << 20;

/// Stages of which a reader thread of this job has a histogram: a thread makes one when it first records a duration.
fn reader_stages(w: &Workload, storage: &dyn Storage, reads_metadata: bool) -> u64 {
    let system = storage.system();
    // Read and sample are everywhere.
    let more = [
        system.has_bytes,
        // Decode: contents are looked at, be it by their length.
        system.has_bytes,
        system.has_bytes && reads_metadata,
        system.objects || system.simulated,
        w.reader.preprocess_time != TimeSpec::default(),
    ];
    2 + more.iter().filter(|is_there| **is_there).count() as u64
}

/// Bytes of one slot of the loader's window.
const SLOT: u64 = 192;

/// Values and texts of one own step while DLIO's per-rank files are made. Measured: 142 MiB for 300,000 steps.
const OWN_STEP: u64 = 500;

/// Text of one step in DLIO's per-rank files, bytes: three numbers of seconds.
const TEXT_OF_STEP: u64 = 80;

/// Share of the memory that all ranks of a host may take by default.
const DEFAULT_SHARE: f64 = 0.8;

/// What generation will hold beside the program: `held` bytes of its writers.
pub(super) fn of_generation(held: u64) -> MemoryPlan {
    let buffers = ("generation buffers", held);
    MemoryPlan(vec![("program", resident_bytes()), buffers])
}

/// What saving checkpoints alone will hold beside the program: `held` bytes of its writers.
pub(super) fn of_saving(held: u64) -> MemoryPlan {
    let buffers = ("checkpoint buffers", held);
    MemoryPlan(vec![("program", resident_bytes()), buffers])
}

/// Bytes that a file takes in the list of kept metadata.
const KEPT_FILE: u64 = 200;

/// What the sum for training depends on beside the workload.
pub(super) struct Needs<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) format: Option<&'static dyn Format>,
    /// Samples are found by metadata of their file.
    pub(super) reads_metadata: bool,
    /// Bytes of the metadata of one file in memory; 0 where there is none.
    pub(super) index_bytes: u64,
    /// Files that the workload uses.
    pub(super) files: u64,
    pub(super) sample_bytes: u64,
    pub(super) order_bytes: u64,
    pub(super) checkpoint_bytes: u64,
    pub(super) steps: &'a Steps,
}

/// The sum for this rank in training.
pub(super) fn plan(job: &JobContext, needs: &Needs) -> MemoryPlan {
    let Needs {
        storage,
        format,
        sample_bytes,
        order_bytes,
        steps,
        ..
    } = *needs;
    let w = job.workload;
    let shape = job.shape();
    let does_eval = u64::from(steps.eval > 0);
    let loaders = 1 + does_eval;
    let threads = shape.threads as u64;
    let transfer = storage.system().transfer(w.reader.transfer_size) as u64;
    let of_file = sample_bytes.saturating_mul(w.dataset.num_samples_per_file);
    let holds_files = w.reader.decode == Decode::Full
        && storage.system().has_bytes
        && format.is_some_and(|f| f.holds_whole_file());
    let step_count = (w.train.epochs).saturating_mul(steps.train.saturating_add(steps.eval));
    // Of other ranks' texts rank 0 holds a few at a time, or one that is larger; twice while they are on their way.
    let gathered = match job.cluster.rank() {
        0 if job.cluster.size() > 1 => 2 * step_count.saturating_mul(TEXT_OF_STEP).max(AT_ONCE),
        _ => 0,
    };
    let own = match w.output.per_rank_files {
        PerRankFiles::All => step_count.saturating_mul(OWN_STEP).saturating_add(gathered),
        PerRankFiles::First if job.cluster.rank() == 0 => step_count.saturating_mul(OWN_STEP),
        _ => 0,
    };
    let is_virtual = job.options.virtual_time;
    let real = |n: u64| if is_virtual { 0 } else { n };
    MemoryPlan(vec![
        ("program", resident_bytes() + TOUCHED_LATER),
        ("read buffers", real(threads * transfer * loaders)),
        (
            "histograms",
            real(
                threads
                    * loaders
                    * reader_stages(w, storage, needs.reads_metadata)
                    * StageHistograms::bytes_of_stage(),
            ),
        ),
        ("windows", shape.window as u64 * SLOT * loaders),
        // The file and what it decodes to.
        (
            "decoded files",
            real(u64::from(holds_files) * threads * loaders * of_file.saturating_mul(2)),
        ),
        ("kept metadata", kept_metadata(w, needs)),
        ("checkpoint buffers", needs.checkpoint_bytes),
        ("order lists", order_bytes),
        (
            "step records",
            step_count.saturating_mul(size_of::<StepTime>() as u64),
        ),
        ("results", own),
    ])
}

/// Bytes of metadata that are kept: of all files, as far as the budget goes.
fn kept_metadata(w: &Workload, needs: &Needs) -> u64 {
    let is_kept = needs.reads_metadata && needs.storage.system().has_bytes;
    match w.reader.index_cache {
        _ if !is_kept => 0,
        IndexCacheLife::None => 0,
        _ => (needs.files)
            .saturating_mul(needs.index_bytes + KEPT_FILE)
            .min(BUDGET as u64),
    }
}

/// Refuses a sum that is more than this rank may take.
///
/// Errors: the sum with its parts, the limit, and where it comes from.
pub(super) fn check(job: &JobContext, plan: &MemoryPlan) -> Result<(), RankError> {
    let outcome = match job.options.memory {
        Some(limit) => plan.check(limit, "--memory"),
        None => {
            let node = node_memory_bytes();
            if node == 0 {
                return Ok(());
            }
            let limits = Limits::read();
            let whole = limits.memory_of(node);
            let whose = if whole < node { "cgroup" } else { "node" };
            let ranks = job.cluster.local_size();
            let share = (whole as f64 * DEFAULT_SHARE / ranks as f64) as u64;
            plan.check(
                share,
                &format!(
                    "this rank's part: 80 % of the {whose}'s memory over {ranks} local rank(s)"
                ),
            )
        }
    };
    outcome.map_err(|text| RankError::Dataset(format!("start: {text}")))
}
