//! The phases of a job. Each is a type that is prepared, takes its steps, and is finished; all three are collectives.
//!
//! | Phase | A step is |
//! |---|---|
//! | [`generate`] | this rank's files, written by a pool of threads |
//! | [`train`] | one epoch; the checkpoints that are due in it |
//! | [`evaluate`] | the evaluation after one epoch |
//! | [`checkpoint`] | one save or one load, in a job that does nothing else |
//! | [`find`] | one trial: a part of the job trains, the rest sleeps |

pub mod checkpoint;
pub mod clean;
pub mod evaluate;
pub mod find;
pub mod generate;
pub mod train;

use crate::metrics::histogram::StageHistograms;
use crate::metrics::record::RankRecord;
use crate::metrics::timeline::Recorded;

/// What a phase left on this rank.
pub struct Measured {
    pub record: RankRecord,
    /// All histograms of this rank, threads included.
    pub histograms: StageHistograms,
    /// What this rank was expected to hold, bytes; 0 where nothing was added up.
    pub planned_bytes: u64,
    /// The recording over time, where there is one.
    pub timeline: Option<Recorded>,
}
