//! Draws of DLIO's time specifications.

use super::mt19937::Mt19937;
use crate::config::{Distribution, TimeSpec};

/// A stream of times.
pub struct TimeDraw(Mt19937);

impl TimeDraw {
    /// A stream from this seed.
    pub fn new(seed: u64) -> Self {
        TimeDraw(Mt19937::new(seed))
    }

    /// The next time. Units: seconds. A draw's absolute value is used.
    ///
    /// Source: DLIO `utils/utility.py::sleep`.
    pub fn draw_s(&mut self, spec: &TimeSpec) -> f64 {
        let r = &mut self.0;
        let value = match spec.0 {
            Distribution::Constant { mean } => mean,
            Distribution::Normal { mean, stdev } => r.normal(mean, stdev),
            Distribution::Uniform { min, max } => min + (max - min) * r.double(),
            Distribution::Gamma { shape, scale } => scale * r.standard_gamma(shape),
            Distribution::Exponential { scale } => scale * r.standard_exponential(),
            Distribution::Poisson { lam } => r.poisson(lam) as f64,
        };
        value.abs()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_negative_draw_becomes_positive() {
        let spec = TimeSpec(Distribution::Normal {
            mean: 0.0,
            stdev: 1.0,
        });
        let mut draws = TimeDraw::new(10);
        let times: Vec<f64> = (0..4).map(|_| draws.draw_s(&spec)).collect();
        // The third gauss of seed 10 is -1.5454002921112682.
        assert_eq!(
            times,
            [
                1.331586504129518,
                0.7152789743984055,
                1.5454002921112682,
                0.008383849928522256
            ]
        );
    }
}
