//! Several values of one figure.

use serde::Serialize;

use crate::metrics::au::mean_and_std;

/// Several values of one figure.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Sample {
    pub n: usize,
    pub mean: f64,
    /// Population standard deviation, as DLIO's.
    pub stdev_population: f64,
    pub min: f64,
    pub max: f64,
    /// 100 (max - min) / mean; None where the mean is 0.
    pub spread_percent: Option<f64>,
}

impl Sample {
    /// Of these values; None when there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let (mean, stdev_population) = mean_and_std(values)?;
        let min = values.iter().copied().fold(f64::INFINITY, f64::min);
        let max = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        Some(Sample {
            n: values.len(),
            mean,
            stdev_population,
            min,
            max,
            spread_percent: (mean != 0.0).then(|| 100.0 * (max - min) / mean.abs()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stdev_is_the_populations() {
        // numpy.std([2, 4, 4, 4, 5, 5, 7, 9]) is 2.
        let s = Sample::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).unwrap();
        assert_eq!((s.mean, s.stdev_population), (5.0, 2.0));
        assert_eq!(s.spread_percent, Some(140.0));
        assert_eq!(Sample::of(&[]), None);
    }
}
