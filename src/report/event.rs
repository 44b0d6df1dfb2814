//! What the run tells while it goes on.

use serde::Serialize;

use crate::metrics::checkpoint::{CheckpointKind, CheckpointRecord};
use crate::metrics::record::BlockRecord;
use crate::metrics::summary::JobSummary;

/// Emitted on rank 0 unless noted; every listener gets every event.
///
/// Serialized as one JSON object whose `event` names the variant in snake case.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// First of all.
    RunStarted {
        ranks: usize,
        /// Active phases: generate, train, evaluate, checkpoint.
        phases: Vec<&'static str>,
    },
    /// A number may mislead; the text names it and the remedy.
    #[serde(serialize_with = "as_text")]
    Warning(String),
    /// A fact worth a line.
    #[serde(serialize_with = "as_text")]
    Info(String),
    /// The run has failed; nothing follows.
    Failed {
        /// Which rank, on what host, why.
        message: String,
    },
    /// Generation begins: files and payload bytes of the whole job, as planned.
    GenerationStarted {
        files: u64,
        /// Bytes of the dataset; None when sizes are random and not yet known.
        bytes: Option<u64>,
    },
    /// While generating (this rank's own counts).
    GenerationProgress {
        files: u64,
        /// Files that this rank has to do.
        files_total: u64,
        bytes: u64,
        /// Since the start of generation, seconds.
        elapsed_s: f64,
    },
    /// Job-wide totals.
    GenerationDone {
        files_written: u64,
        files_skipped: u64,
        bytes: u64,
        /// Seconds.
        elapsed_s: f64,
    },
    /// Step counts, before the first epoch.
    StepsPlanned {
        steps: u64,
        eval_steps: u64,
        /// Samples per epoch that no rank reads, because the remainder is dropped.
        dropped: u64,
    },
    EpochStarted {
        epoch: u64,
        steps: u64,
        /// True when `total_training_steps` set this number.
        overridden: bool,
    },
    BlockStarted {
        epoch: u64,
        block: u64,
    },
    /// A block ended; rank 0's own record.
    BlockEnded {
        epoch: u64,
        block: u64,
        /// Its times; serialized with the number of its steps in place of their list.
        #[serde(serialize_with = "without_steps")]
        record: BlockRecord,
    },
    EpochEnded {
        epoch: u64,
        steps: u64,
        /// Seconds.
        elapsed_s: f64,
    },
    EvalStarted {
        epoch: u64,
        steps: u64,
    },
    /// An evaluation ended; rank 0's own record.
    EvalEnded {
        epoch: u64,
        /// Its times; serialized with the number of its steps in place of their list.
        #[serde(serialize_with = "without_steps")]
        record: BlockRecord,
    },
    /// What one checkpoint of the job holds, by DLIO's count.
    CheckpointPlanned {
        /// Ranks of the whole job in subset mode.
        subset_of: Option<u64>,
        parameters: f64,
        model_bytes: u64,
        optimizer_bytes: u64,
    },
    /// The first of a series of saves or loads follows.
    CheckpointsStarted {
        kind: CheckpointKind,
    },
    CheckpointsEnded {
        kind: CheckpointKind,
    },
    CheckpointStarted {
        kind: CheckpointKind,
        epoch: u64,
        /// DLIO's number of the checkpoint.
        number: u64,
        /// Steps taken before it.
        step: u64,
    },
    /// A save or load ended; rank 0's own record.
    CheckpointEnded {
        record: CheckpointRecord,
        /// DLIO's size of the checkpoint, all ranks.
        size_bytes: u64,
    },
    /// At most once a second while steps go on (rank 0's own counts).
    Progress {
        epoch: u64,
        epochs: u64,
        step: u64,
        steps: u64,
        /// AU of this block so far, percent, this rank; None before a step counts.
        au_percent: Option<f64>,
        /// Bytes read by this rank in the last interval, per second, times the number of ranks.
        bytes_per_second: f64,
        /// 99th percentile of this rank's batch wait so far, seconds; None before there are 100 of them.
        batch_wait_p99_s: Option<f64>,
        /// Estimated seconds to the end of training.
        eta_s: f64,
    },
    /// At most once a second while rank 0 is in something that has no steps of training (rank 0's own counts).
    Working {
        what: &'static str,
        /// What is counted.
        unit: &'static str,
        done: u64,
        /// Of how much; None where nobody knows.
        total: Option<u64>,
        /// Since it began, seconds.
        elapsed_s: f64,
        /// Estimated seconds to its end; None before some of it is done.
        eta_s: Option<f64>,
    },
    /// At most once a second: the ranks of rank 0's host for which others waited when somebody looked.
    SlowRanks {
        /// Looks in which some ranks waited and others did not.
        looks: u64,
        /// Rank and the number of looks in which it was at work; the most first, at most three.
        ranks: Vec<(usize, u64)>,
    },
    /// Everything is measured and reduced; emitted before the outputs are written, so that `dlio.log`
    /// is complete when they are published.
    RunMeasured {
        summary: Box<JobSummary>,
        /// Folder in which the outputs will be.
        folder: String,
    },
    /// Outputs are in place.
    OutputsSaved {
        folder: String,
    },
}

/// A list of a million steps is no line for a log.
fn without_steps<S: serde::Serializer>(record: &BlockRecord, s: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct as _;
    let mut object = s.serialize_struct("Block", 7)?;
    object.serialize_field("start", &record.start)?;
    object.serialize_field("end", &record.end)?;
    object.serialize_field("wall_ns", &record.wall_ns)?;
    object.serialize_field("wait_parts", &record.wait_parts)?;
    object.serialize_field("nominal_ns", &record.nominal_ns)?;
    object.serialize_field("closing_ns", &record.closing_ns)?;
    object.serialize_field("steps", &record.steps.len())?;
    object.end()
}

fn as_text<S: serde::Serializer>(text: &str, s: S) -> Result<S::Ok, S::Error> {
    use serde::ser::SerializeStruct as _;
    let mut object = s.serialize_struct("Text", 1)?;
    object.serialize_field("text", text)?;
    object.end()
}

/// Something that wants to know.
pub trait Listener {
    /// Called in order, from the main thread.
    fn on(&mut self, event: &Event);
}
