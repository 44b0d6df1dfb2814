//! The sections `output` and `profiling`.

use serde::{Deserialize, Serialize};

use super::*;

/// `output`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Output {
    /// Output folder. Default: `results/<model>/<time>`.
    pub folder: Option<String>,
    /// Default `dlio.log`.
    pub log_file: String,
    /// `output.metric`
    pub metric: OutputMetric,
}

impl Default for Output {
    fn default() -> Self {
        Output {
            folder: None,
            log_file: "dlio.log".into(),
            metric: OutputMetric::default(),
        }
    }
}

/// `output.metric`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputMetric {
    /// Steps left out at the start of each block. Default 1.
    pub exclude_start_steps: u64,
    /// Steps left out at the end. Default 0.
    pub exclude_end_steps: u64,
}

impl Default for OutputMetric {
    fn default() -> Self {
        OutputMetric {
            exclude_start_steps: 1,
            exclude_end_steps: 0,
        }
    }
}

/// `profiling`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profiling {
    /// Default iostat.
    pub profiler: Profiler,
    /// Default `[]`.
    pub iostat_devices: Vec<String>,
}

impl Default for Profiling {
    fn default() -> Self {
        Profiling {
            profiler: Profiler::Iostat,
            iostat_devices: Vec::new(),
        }
    }
}
