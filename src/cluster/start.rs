//! Forming the job: under a launcher through MPI, alone without one.

use super::{Cluster, ClusterError, Mpi, Solo};

/// Variables by which launchers announce the number of ranks.
///
/// `SLURM_STEP_NUM_TASKS` and not `SLURM_NTASKS`: the latter is also set in a batch script, outside any step.
const SIZE_VARIABLES: [&str; 8] = [
    "OMPI_COMM_WORLD_SIZE",
    "PMI_SIZE",
    "MPI_LOCALNRANKS",
    "MV2_COMM_WORLD_SIZE",
    "PALS_NRANKS",
    "SLURM_STEP_NUM_TASKS",
    // flux run without its PMI plug-in, and jsrun.
    "FLUX_JOB_SIZE",
    "JSM_NAMESPACE_SIZE",
];

/// Joins the job that a launcher started, or forms one of a single rank.
///
/// Errors: [`ClusterError::WrongLauncher`] when a launcher announced more ranks than MPI shows.
pub fn start(
    env: impl Fn(&str) -> Option<String>,
    host: String,
) -> Result<Box<dyn Cluster>, ClusterError> {
    let announced = SIZE_VARIABLES
        .iter()
        .find_map(|&variable| Some((variable, env(variable)?.trim().parse::<usize>().ok()?)));
    let launched = announced.is_some() || env("PMIX_RANK").is_some() || env("PMI_RANK").is_some();
    if !launched {
        return Ok(Box::new(Solo::new(host)));
    }
    let mpi = Mpi::start(&host)?;
    match announced {
        Some((variable, wanted)) if wanted > 1 && mpi.size() == 1 => {
            Err(ClusterError::WrongLauncher {
                wanted,
                variable,
                library: mpi.library().to_string(),
            })
        }
        _ => Ok(Box::new(mpi)),
    }
}
