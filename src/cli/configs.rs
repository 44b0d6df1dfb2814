//! `dlio-rs configs`: the workloads that are in the binary.

use clap::Args;

use super::Stop;
use crate::config;

/// Which of them.
#[derive(Debug, Clone, Args)]
pub struct ConfigsArgs {
    /// Print this one's YAML; without it, the list of all
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
}

/// Prints one workload's YAML, or a line for each: its name and the first line of its comment.
pub(super) fn print(args: &ConfigsArgs) -> Result<(), Stop> {
    let names = config::builtin_names();
    let Some(name) = &args.name else {
        let width = names.iter().map(String::len).max().unwrap_or_default();
        for name in &names {
            println!("{name:width$}  {}", about(name));
        }
        return Ok(());
    };
    let name = name.trim_start_matches("workload=");
    match config::builtin(name) {
        Some(text) => {
            print!("{text}");
            Ok(())
        }
        None => Err(Stop::usage(format!(
            "there is no built-in workload {name}\n  remedy: nearest: {}; `dlio-rs configs` lists all",
            config::nearest_builtin(name)
        ))),
    }
}

fn about(name: &str) -> &'static str {
    let text = config::builtin(name).unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("# ").unwrap_or_default()
}
