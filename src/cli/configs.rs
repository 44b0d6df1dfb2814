//! `dlio-rs configs`: the workloads that are in the binary.

use clap::Args;
use serde::Serialize;

use super::output::{self, Format};
use super::{Result, Stop};
use crate::config;

/// Which of them.
#[derive(Debug, Clone, Args)]
pub struct ConfigsArgs {
    /// Print this one's YAML; without it, the list of all
    #[arg(value_name = "NAME")]
    pub name: Option<String>,
    /// How to print
    #[arg(long, default_value = "text")]
    pub format: Format,
}

/// What is printed.
#[derive(Serialize)]
struct Configs {
    schema: &'static str,
    configs: Vec<Config>,
}

#[derive(Serialize)]
struct Config {
    name: String,
    about: &'static str,
    /// Of the one that was named.
    #[serde(skip_serializing_if = "Option::is_none")]
    yaml: Option<&'static str>,
}

/// Prints one workload's YAML, or a line for each: its name and the first line of its comment.
pub(super) fn print(args: &ConfigsArgs) -> Result<()> {
    let name = args.name.as_deref();
    let name = name.map(|name| name.trim_start_matches("workload="));
    if let Some(name) = name.filter(|name| config::builtin(name).is_none()) {
        let names = config::builtin_names();
        let near = config::near(name, names.iter().map(String::as_str))
            .map_or_else(String::new, |near| format!("{near} is probably meant; "));
        return Err(Stop::usage(format!(
            "there is no built-in workload {name}\n  remedy: {near}`dlio-rs configs` lists all"
        )));
    }
    let wanted = |one: &String| name.is_none_or(|name| name == one);
    let configs = config::builtin_names()
        .into_iter()
        .filter(wanted)
        .map(|one| Config {
            about: about(&one),
            yaml: name.and_then(config::builtin),
            name: one,
        });
    let found = Configs {
        schema: "dlio-rs/configs/1",
        configs: configs.collect(),
    };
    output::print(args.format, &found, text)
}

fn text(found: &Configs) -> String {
    let width = found.configs.iter().map(|c| c.name.len()).max();
    let width = width.unwrap_or_default();
    let line = |c: &Config| match c.yaml {
        Some(yaml) => yaml.to_owned(),
        None => format!("{:width$}  {}\n", c.name, c.about),
    };
    found.configs.iter().map(line).collect()
}

fn about(name: &str) -> &'static str {
    let text = config::builtin(name).unwrap_or_default();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("# ").unwrap_or_default()
}
