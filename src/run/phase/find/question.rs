//! What can be searched.

use crate::cluster::Cluster;
use crate::config::Loaded;
use crate::report::find::{By, Question};
use crate::util::hash::fnv1a;

/// Reader threads that `--by read_threads` tries unless it is said.
const MOST_THREADS: u64 = 32;

/// What the user may say about a search.
#[derive(Debug, Clone, Copy)]
pub struct FindLimits {
    pub by: By,
    pub at_most: Option<u64>,
    /// How often a search may end with a number that does not pass.
    pub error: f64,
    pub virtual_time: bool,
}

impl Question {
    /// What is asked of this workload and job.
    ///
    /// Errors: what cannot be searched.
    pub fn of(loaded: &Loaded, cluster: &dyn Cluster, limits: FindLimits) -> Result<Self, String> {
        let w = &loaded.workload;
        let is_checkpoint = w.is_checkpoint_only();
        if !w.workflow.train && !is_checkpoint {
            return Err("find needs a workload that trains, or one that saves or loads checkpoints and does nothing else\n  remedy: set workflow.train=true".into());
        }
        if limits.by == By::ReadThreads && is_checkpoint {
            return Err("--by=read_threads: a workload of checkpoints alone has no readers\n  remedy: use --by=ranks or --by=hosts".into());
        }
        let (ranks, hosts) = (cluster.size(), cluster.host_names().len());
        let parallelism = &w.model.parallelism;
        let unit = match limits.by {
            By::Ranks if is_checkpoint => {
                (parallelism.tensor.saturating_mul(parallelism.pipeline)).max(1)
            }
            _ => 1,
        };
        let all = match limits.by {
            By::Ranks => ranks as u64 / unit,
            By::Hosts => hosts as u64,
            By::ReadThreads => limits.at_most.unwrap_or(MOST_THREADS),
        };
        if all == 0 {
            return Err(format!(
                "find: the layout of the checkpoint wants {unit} ranks, the job has {ranks}\n  remedy: start at least {unit} ranks"
            ));
        }
        let at_most = match limits.at_most {
            None => all,
            Some(wanted) if wanted > all * unit => {
                return Err(format!(
                    "--at-most={wanted}: the job has {}\n  remedy: start more ranks, or ask for fewer",
                    limits.by.of(all * unit)
                ));
            }
            Some(wanted) if wanted < unit => {
                return Err(format!(
                    "--at-most={wanted}: the layout of the checkpoint wants {unit} ranks\n  remedy: give at least {unit}"
                ));
            }
            Some(wanted) => wanted / unit,
        };
        let json = serde_json::to_vec(w).map_err(|e| e.to_string())?;
        Ok(Question {
            by: limits.by,
            at_most,
            unit,
            threshold_percent: (!is_checkpoint).then_some(w.metric.au * 100.0),
            error: limits.error,
            ranks,
            hosts,
            virtual_time: limits.virtual_time,
            workload_hash: format!("{:016x}", fnv1a(&json)),
        })
    }
}
