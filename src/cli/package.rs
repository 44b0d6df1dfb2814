//! `dlio-rs package`: the tree of an OPEN submission.

use std::path::PathBuf;

use clap::Args;

use super::{Exit, Stop};
use crate::mlperf::package::{self, PackageError, Request};
use crate::mlperf::{Edition, NOT_CLOSED};

/// What to package, and how.
#[derive(Debug, Clone, Args)]
pub struct PackageArgs {
    /// Folder above the runs; they are copied, never moved
    #[arg(value_name = "RESULTS_TREE")]
    pub results: PathBuf,
    /// The submitter
    #[arg(long, value_name = "NAME")]
    pub org: String,
    /// The system under test
    #[arg(long, value_name = "NAME")]
    pub system: String,
    /// The tree to make; a new or empty folder
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// Whose layout
    #[arg(long, value_name = "EDITION", default_value = "v3.0")]
    pub edition: Edition,
}

/// Packages and tells what is left to do.
pub(super) fn print(args: &PackageArgs) -> Result<(), Stop> {
    let request = Request {
        results: &args.results,
        organisation: &args.org,
        system: &args.system,
        out: &args.out,
        edition: args.edition,
    };
    let made = package::package(&request, &package::violations).map_err(|e| Stop {
        exit: match e {
            PackageError::Name { .. } => Exit::Usage,
            _ => Exit::Failed,
        },
        message: e.to_string(),
    })?;
    for (from, to) in &made.copied {
        println!("copied {} to {}", from.display(), to.display());
    }
    for (path, why) in &made.left_out {
        println!("left out {}: {why}", path.display());
    }
    println!("OPEN submission: {}", made.folder.display());
    println!("left to do:");
    for item in &made.to_do {
        println!("  {item}");
    }
    println!("{NOT_CLOSED}");
    Ok(())
}
