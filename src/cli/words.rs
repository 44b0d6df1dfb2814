//! The words that several verbs share: which workload, and how its job is watched.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::config::{DropCache, Loaded, PATIENCE};
use crate::run::{RunOptions, caches};

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

/// What every verb that forms a job takes.
#[derive(Debug, Clone, Args)]
pub struct JobArgs {
    /// Warnings alone, no progress
    #[arg(long)]
    pub quiet: bool,
    /// End the job when nothing has moved for this long; 0: never
    #[arg(long, value_name = "SECONDS", default_value_t = PATIENCE.as_secs())]
    pub stall_timeout: u64,
    /// Refuse a run of which a rank would hold more than this, such as 8GiB [default: 80 % of the memory of the cgroup or node, divided by the ranks of the host]
    #[arg(long, value_name = "SIZE", value_parser = memory_size)]
    pub memory: Option<u64>,
    /// Compute the run in virtual time, without waiting (storage_type model or null)
    #[arg(long)]
    pub virtual_time: bool,
}

impl JobArgs {
    /// The longest silence; without end where none was given.
    pub(super) fn patience(&self) -> Duration {
        match self.stall_timeout {
            0 => Duration::MAX,
            seconds => Duration::from_secs(seconds),
        }
    }

    /// Errors: DLIO_DROP_CACHES_TIMEOUT is no number of seconds, where caches are dropped.
    pub fn options(&self, loaded: &Loaded) -> Result<RunOptions, String> {
        let variable = |name: &str| loaded.variables.get(name).map(String::as_str);
        Ok(RunOptions {
            stall_timeout: Duration::from_secs(self.stall_timeout),
            memory: self.memory,
            virtual_time: self.virtual_time,
            drop_timeout: match loaded.workload.reader.drop_cache {
                DropCache::System => caches::drop_timeout(variable)?,
                _ => None,
            },
        })
    }
}

/// Bytes of a word such as `8GiB`, `500M`, `4096`: K, M, G and T are powers of 1024, with `B` powers of 1000 (`GB`).
pub(super) fn memory_size(word: &str) -> Result<u64, String> {
    let at = word
        .find(|c: char| c.is_ascii_alphabetic())
        .unwrap_or(word.len());
    let (number, unit) = word.split_at(at);
    let binary = |power: i32| 1024_f64.powi(power);
    let decimal = |power: i32| 1000_f64.powi(power);
    let wrong = "it is no size; give one such as 8GiB or 500MB";
    let factor = match unit.to_ascii_uppercase().as_str() {
        "" | "B" => 1.0,
        "K" | "KIB" => binary(1),
        "M" | "MIB" => binary(2),
        "G" | "GIB" => binary(3),
        "T" | "TIB" => binary(4),
        "KB" => decimal(1),
        "MB" => decimal(2),
        "GB" => decimal(3),
        "TB" => decimal(4),
        _ => return Err(wrong.into()),
    };
    match number.trim().parse::<f64>() {
        Ok(n) if n > 0.0 && n.is_finite() => Ok((n * factor) as u64),
        _ => Err(wrong.into()),
    }
}

#[cfg(test)]
mod memory_tests {
    use super::memory_size;

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(memory_size("8GiB"), Ok(8 << 30));
        assert_eq!(memory_size("1.5g"), Ok(3 << 29));
        assert_eq!(memory_size("2GB"), Ok(2_000_000_000));
        assert_eq!(memory_size("4096"), Ok(4096));
        for bad in ["", "GiB", "-1G", "1X", "nan"] {
            assert!(memory_size(bad).is_err(), "{bad}");
        }
    }
}
