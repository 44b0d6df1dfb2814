//! `dlio-rs validate`: the effective workload, with what set each value.

use std::collections::BTreeMap;

use serde::Serialize;

use super::args::ValidateArgs;
use super::{Result, Stop, output, sized};
use crate::config::{Loaded, Workload};
use crate::interrupt::say;
use crate::run;

/// What `validate` prints.
#[derive(Serialize)]
struct Validated<'a> {
    schema: &'static str,
    workload: &'a str,
    /// Credentials are starred.
    config: &'a Workload,
    /// What set a key; the default where it is absent.
    origins: BTreeMap<&'a str, String>,
}

/// Checks the workload for a number of ranks, and prints it.
pub(super) fn print(loaded: &Loaded, args: &ValidateArgs) -> Result<()> {
    let w = &loaded.workload;
    let parallelism = &w.model.parallelism;
    // A checkpoint's layout wants whole groups of ranks; any other workload runs on one.
    let fewest = if w.workflow.checkpoint {
        parallelism
            .tensor
            .saturating_mul(parallelism.pipeline)
            .max(1)
    } else {
        1
    };
    let ranks = args.ranks.unwrap_or(fewest) as usize;
    let loaded = &sized(loaded, ranks)?;
    for warning in run::preflight(loaded, ranks).map_err(Stop::usage)? {
        say(&format!("warning: {warning}"));
    }
    let found = Validated {
        schema: "dlio-rs/validate/1",
        workload: &loaded.name,
        config: &loaded.workload,
        origins: (loaded.origins.iter())
            .map(|(key, origin)| (key.as_str(), origin.to_string()))
            .collect(),
    };
    output::print(args.format, &found, |_| loaded.describe())
}
