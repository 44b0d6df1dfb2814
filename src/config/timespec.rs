//! DLIO's time specification: a number, or a map that names a distribution.

use serde::{Deserialize, Serialize};

/// What `computation_time`, `eval_time` and `preprocess_time` may say. Units: seconds.
///
/// Source: DLIO `utils/utility.py::sleep`. A draw's absolute value is used; 0 means no wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Distribution {
    /// Always `mean`.
    Constant {
        /// Seconds.
        mean: f64,
    },
    /// Normal with `mean` and `stdev`.
    Normal {
        /// Seconds.
        mean: f64,
        /// Seconds.
        stdev: f64,
    },
    /// Uniform over `[min, max)`.
    Uniform {
        /// Seconds.
        min: f64,
        /// Seconds.
        max: f64,
    },
    /// Gamma with `shape` and `scale`.
    Gamma {
        /// Dimensionless.
        shape: f64,
        /// Seconds.
        scale: f64,
    },
    /// Exponential with `scale`.
    Exponential {
        /// Seconds.
        scale: f64,
    },
    /// Poisson with `lam`: whole seconds.
    Poisson {
        /// Expected seconds.
        lam: f64,
    },
}

/// A time specification of a workload; [`Distribution::Constant`] 0 when absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct TimeSpec(pub Distribution);

impl Default for TimeSpec {
    fn default() -> Self {
        TimeSpec(Distribution::Constant { mean: 0.0 })
    }
}
