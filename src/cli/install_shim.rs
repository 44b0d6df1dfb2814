//! `dlio-rs install-shim`: the name under which mlpstorage looks for DLIO.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use clap::Args;

use super::{Result, Stop, out};

/// Where to.
#[derive(Debug, Clone, Args)]
pub struct InstallShimArgs {
    /// The folder of mlpstorage's `--dlio-bin-path`, or one on PATH; made where it is missing
    #[arg(value_name = "DIR")]
    pub folder: PathBuf,
    /// Keep a `dlio_benchmark` that is there already as `dlio_benchmark.original`, and take its place
    #[arg(long)]
    pub replace: bool,
}

const NAME: &str = "dlio_benchmark";

/// A symbolic link and not a copy, so that the shim is always the binary that was built last.
pub(super) fn install(args: &InstallShimArgs) -> Result<()> {
    let binary = std::env::current_exe()
        .and_then(fs::canonicalize)
        .map_err(|e| format!("find this binary: {e}\n  remedy: start it by its whole path"))
        .map_err(Stop::usage)?;
    fs::create_dir_all(&args.folder).map_err(|e| failed("make folder", &args.folder, &e))?;
    let shim = args.folder.join(NAME);
    if fs::canonicalize(&shim).is_ok_and(|there| there == binary) {
        return out(&format!("{} is this binary already\n", shim.display()));
    }
    if fs::symlink_metadata(&shim).is_ok() {
        set_aside(&shim, args.replace)?;
    }
    symlink(&binary, &shim).map_err(|e| failed("link", &shim, &e))?;
    out(&format!(
        "{} -> {}\nmlpstorage v2.0: --dlio-bin-path {}; v3.0: put that folder first on PATH, of every host\n{}\n",
        shim.display(),
        binary.display(),
        args.folder.display(),
        crate::mlperf::NOT_CLOSED
    ))
}

fn set_aside(shim: &Path, replace: bool) -> Result<()> {
    let kept = shim.with_file_name(format!("{NAME}.original"));
    // A link that leads nowhere is nobody's program, such as the one to a build that was deleted.
    if !shim.exists() {
        return fs::remove_file(shim).map_err(|e| failed("replace", shim, &e));
    }
    if !replace {
        return Err(Stop::usage(format!(
            "{} exists and is not this binary\n  remedy: choose another folder, or pass --replace to keep it as {}",
            shim.display(),
            kept.display()
        )));
    }
    if fs::symlink_metadata(&kept).is_ok() {
        return Err(Stop::usage(format!(
            "{} exists already, and would be lost\n  remedy: move it away first",
            kept.display()
        )));
    }
    fs::rename(shim, &kept).map_err(|e| failed("rename", shim, &e))
}

fn failed(operation: &str, path: &Path, error: &std::io::Error) -> Stop {
    Stop::usage(format!(
        "{operation} {}: {error}\n  remedy: choose a folder that you may write",
        path.display()
    ))
}
