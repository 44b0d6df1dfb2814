//! How a rank's failure becomes the job's: every rank stops, the cause is printed once.

use crate::checkpoint::CheckpointError;
use crate::cluster::Cluster;
use crate::format::FormatError;
use crate::loader::LoaderError;
use crate::report::ReportError;
use crate::storage::StorageError;

pub(crate) type Result<T, E = JobError> = std::result::Result<T, E>;

/// What stopped one rank.
#[derive(Debug, thiserror::Error)]
pub enum RankError {
    /// Another rank failed; it tells why.
    #[error("another rank failed")]
    Elsewhere,
    #[error("{0}")]
    Loader(#[from] LoaderError),
    #[error("{0}")]
    Checkpoint(#[from] CheckpointError),
    #[error("{0}")]
    Storage(#[from] StorageError),
    /// An encoder.
    #[error("encode {path}: {source}")]
    Encode {
        path: String,
        #[source]
        source: FormatError,
    },
    #[error("{0}")]
    Report(#[from] ReportError),
    /// The dataset is not what the workload says, or this version does not have its format.
    #[error("{0}")]
    Dataset(String),
}

/// The job's failure, as it is known on one rank.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// On rank 0: who failed and why.
    #[error("rank {rank} on {host} failed to {message}{}", others(*.more))]
    Failed {
        rank: usize,
        host: String,
        message: String,
        more: usize,
    },
    /// On the other ranks: rank 0 prints it.
    #[error("another rank reports the failure")]
    ReportedElsewhere,
    /// AU is below the threshold and `--require-au` was given.
    #[error("AU {au:.2} % is below the required {required:.2} %")]
    AuBelow {
        /// Percent.
        au: f64,
        /// Percent.
        required: f64,
    },
}

fn others(more: usize) -> String {
    if more == 0 {
        String::new()
    } else {
        format!("\n  ({more} other rank(s) failed too)")
    }
}

/// All go on when `work` is done on the ranks that have it to do, or none. A collective.
pub fn only_where<E>(
    cluster: &dyn Cluster,
    is_mine: bool,
    work: impl FnOnce() -> Result<(), E>,
) -> Result<()>
where
    RankError: From<E>,
{
    let mine = if is_mine { work() } else { Ok(()) };
    agree(cluster, mine.map_err(RankError::from))
}

/// Every rank brings its result; all get Ok only when all were Ok. A collective.
pub fn agree<T>(cluster: &dyn Cluster, mine: Result<T, RankError>) -> Result<T> {
    let failed = cluster.max_u64_patiently(u64::from(mine.is_err()));
    if failed == 0 {
        return mine.map_err(|_| JobError::ReportedElsewhere);
    }
    let message = match &mine {
        Ok(_) | Err(RankError::Elsewhere) => String::new(),
        Err(error) => error.to_string(),
    };
    let Some(messages) = cluster.gather(message.as_bytes()) else {
        return Err(JobError::ReportedElsewhere);
    };
    let mut failures = messages
        .iter()
        .enumerate()
        .filter(|(_, text)| !text.is_empty());
    let (rank, text) = failures.next().map_or((0, "continue".into()), |(r, t)| {
        (r, String::from_utf8_lossy(t))
    });
    Err(JobError::Failed {
        rank,
        host: cluster.host_names()[cluster.node_of_rank()[rank]].clone(),
        message: text.into_owned(),
        more: failures.count(),
    })
}
