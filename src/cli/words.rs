//! The words that choose a workload: shared by every verb that takes one.

use std::path::PathBuf;

use clap::Args;

/// Which workload.
#[derive(Debug, Clone, Args)]
pub struct WorkloadArgs {
    /// CONFIG.yaml or workload=NAME, then overrides KEY=VALUE
    #[arg(
        required = true,
        value_name = "CONFIG.yaml | workload=NAME | KEY=VALUE"
    )]
    pub words: Vec<String>,
    /// Look for DIR/workload/NAME.yaml before the built-in configs
    #[arg(long, value_name = "DIR")]
    pub config_dir: Option<PathBuf>,
    /// Unknown keys are warnings instead of errors (as in DLIO, which ignores them)
    #[arg(long)]
    pub allow_unknown_keys: bool,
}

impl WorkloadArgs {
    /// The defaults, the environment and these words, for verbs that need no workload but the way to a storage system.
    pub fn of_words(words: &[String]) -> Self {
        let source = std::iter::once("workload=default".to_string());
        WorkloadArgs {
            words: source.chain(words.iter().cloned()).collect(),
            config_dir: None,
            allow_unknown_keys: false,
        }
    }
}
