//! The limit of open files.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// What a process has open beside its readers: MPI's sockets and shared memory, logs, results.
const OTHERS: u64 = 128;

/// Raises the soft limit of open files to the hard one, and looks whether `threads` readers that have `each` files or
/// sockets open fit.
///
/// Errors: they do not, in words.
pub(crate) fn ensure_open_files(threads: usize, each: usize) -> Result<(), String> {
    let failed = |e: nix::Error| format!("look up the limit of open files: {e}");
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(failed)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(failed)?;
    }
    let needed = (threads as u64)
        .saturating_mul(each as u64)
        .saturating_add(OTHERS);
    if hard < needed {
        return Err(format!(
            "run {threads} reader threads: they need some {needed} open files, and the limit of this process is {hard}\n  remedy: raise it (ulimit -n, LimitNOFILE, docker --ulimit nofile), or lower reader.read_threads and reader.io_depth"
        ));
    }
    Ok(())
}
