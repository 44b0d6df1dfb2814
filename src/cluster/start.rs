//! Forming the job: under a launcher through MPI, alone without one.

use super::library::{self, ChooseError, LibraryError, Named};
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

/// What a launcher announced in the environment: the variable and the number of ranks.
fn announced(env: &dyn Fn(&str) -> Option<String>) -> Option<(&'static str, usize)> {
    SIZE_VARIABLES
        .iter()
        .find_map(|&variable| Some((variable, env(variable)?.trim().parse().ok()?)))
}

/// Whether a launcher started this process.
pub fn is_launched(env: &dyn Fn(&str) -> Option<String>) -> bool {
    announced(env).is_some() || env("PMIX_RANK").is_some() || env("PMI_RANK").is_some()
}

/// Joins the job that a launcher started, or forms one of a single rank. Through MPI in any case where a library is `named`.
///
/// Errors: [`ClusterError::WrongLauncher`] when a launcher announced more ranks than MPI shows, and
/// [`ClusterError::Library`] when there is no MPI library to see them by.
pub fn start(
    env: &dyn Fn(&str) -> Option<String>,
    host: String,
    named: Option<&Named>,
) -> Result<Box<dyn Cluster>, ClusterError> {
    let announced = announced(env);
    if named.is_none() && !is_launched(env) {
        return Ok(Box::new(Solo::new(host)));
    }
    let library = match library::find(env, named) {
        // A launcher of one rank needs no library.
        Err(LibraryError::Choose(ChooseError::Nothing { .. }))
            if announced.is_some_and(|(_, wanted)| wanted == 1) =>
        {
            return Ok(Box::new(Solo::new(host)));
        }
        found => found?,
    };
    let mpi = Mpi::start(library, &host)?;
    match announced {
        Some((variable, wanted)) if wanted > 1 && mpi.size() == 1 => {
            Err(ClusterError::WrongLauncher {
                wanted,
                variable,
                library: mpi.library().to_string(),
                origin: mpi.library_source().unwrap_or_default().to_string(),
            })
        }
        _ => Ok(Box::new(mpi)),
    }
}
