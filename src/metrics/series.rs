//! Lists of values and what a report says of them.

use serde::{Deserialize, Serialize};

use super::au::mean_and_std;

/// A value per epoch with numpy's mean and population standard deviation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    /// In order of epochs.
    pub values: Vec<f64>,
    /// 0 when there are no values.
    pub mean: f64,
    /// Population standard deviation; 0 when there are no values.
    pub stdev: f64,
}

impl Series {
    pub fn new(values: Vec<f64>) -> Self {
        let (mean, stdev) = mean_and_std(&values).unwrap_or_default();
        Series {
            values,
            mean,
            stdev,
        }
    }
}

/// Smallest, median and largest value over ranks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub min: f64,
    /// Median: the mean of the middle two when their number is even.
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// Of these values; zeros when there are none.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut v: Vec<f64> = values.into_iter().collect();
        v.sort_by(f64::total_cmp);
        let (Some(min), Some(max)) = (v.first(), v.last()) else {
            return Spread::default();
        };
        Spread {
            min: *min,
            median: (v[(v.len() - 1) / 2] + v[v.len() / 2]) / 2.0,
            max: *max,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        let spread = Spread::of([3.0, 1.0, 2.0, 10.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 10.0));
    }
}
