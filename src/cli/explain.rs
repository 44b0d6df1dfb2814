//! `dlio-rs explain`: what a key means.

use clap::Args;

use super::{Result, Stop, out};
use crate::config::{self, Format};

/// Which key.
#[derive(Debug, Clone, Args)]
pub struct ExplainArgs {
    /// A key such as reader.batch_size, a section, or a last word; without it, the list of all keys
    #[arg(value_name = "KEY", conflicts_with = "all")]
    pub key: Option<String>,
    /// Every key
    #[arg(long)]
    pub all: bool,
    /// How it is written
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: Format,
}

/// Prints the entry of a key.
pub(super) fn print(args: &ExplainArgs) -> Result<()> {
    let text = config::explain(args.key.as_deref(), args.format).map_err(Stop::usage)?;
    out(&text)
}
