//! Where a series of step times becomes steady: after the last change of its level.
//!
//! The series is divided into at most [`BATCHES`] means of equal length, extreme ones are drawn in to a distance of
//! [`REACH`] robust standard deviations from the median, and the point is looked for at which the means before and after
//! differ most for their noise (the likelihood ratio of one change of the mean of normal values). Where that exceeds what
//! noise does, what lies before it is cut off, and the rest is looked at again.
//!
//! Source: the statistic is that of D. M. Hawkins, "Testing a sequence of observations for a shift in location", 1977; the
//! noise is estimated from differences of neighbours (J. von Neumann, 1941), which a change of level hardly touches.

/// Means that a series is divided into, at most.
const BATCHES: usize = 32;

/// Values of a mean, at least: neighbours depend on each other, means of several hardly do.
const LENGTH: usize = 4;

/// Fewest means that are judged.
const FEWEST: usize = 8;

/// How far from the median a mean may lie before it is drawn in, standard deviations.
const REACH: f64 = 8.0;

/// A change is one where its statistic is above this. For 32 independent normal values the largest of all 31 statistics
/// hardly ever exceeds it; a cut where nothing changed picks what is left by its values, which biases their mean.
const LIMIT: f64 = 4.5;

/// The index from which on a series is steady. None: it has too few values, or its level changed so late that less than half
/// of it would be left.
pub fn steady_from(values: &[f64]) -> Option<usize> {
    let length = values.len().div_ceil(BATCHES).max(LENGTH);
    // The newest values count: what does not fill a mean is left out at the start.
    let skipped = values.len() % length;
    let means: Vec<f64> = (values[skipped..].chunks_exact(length))
        .map(|part| part.iter().sum::<f64>() / length as f64)
        .collect();
    let mut first = 0;
    while means.len() - first >= FEWEST.max(means.len() / 2) {
        match change(&drawn_in(&means[first..])) {
            Some(at) => first += at,
            None => {
                return Some(if first == 0 {
                    0
                } else {
                    skipped + first * length
                });
            }
        }
    }
    None
}

/// The values with extreme ones drawn in.
fn drawn_in(values: &[f64]) -> Vec<f64> {
    let center = median(values.to_vec());
    let distance = median(values.iter().map(|v| (v - center).abs()).collect());
    // 1.4826: the ratio of a normal distribution's standard deviation to its median distance.
    let reach = REACH * 1.4826 * distance;
    if reach == 0.0 {
        return values.to_vec();
    }
    let draw = |v: &f64| v.clamp(center - reach, center + reach);
    values.iter().map(draw).collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// The first index after a change of level; None where there is none.
fn change(values: &[f64]) -> Option<usize> {
    let n = values.len() as f64;
    let total: f64 = values.iter().sum();
    let jumps = values.windows(2).map(|w| (w[1] - w[0]).powi(2));
    let deviation = (jumps.sum::<f64>() / (2.0 * (n - 1.0))).sqrt();
    // What the arithmetic rounds off is no change.
    if deviation <= 1e-9 * (total / n).abs() {
        return None;
    }
    let mut sum = 0.0;
    let mut best = (0.0, 0);
    for (before, value) in (1..values.len()).zip(values) {
        sum += value;
        let k = before as f64;
        let shift = (sum - k / n * total).abs() / (k * (n - k) / n).sqrt();
        if shift > best.0 {
            best = (shift, before);
        }
    }
    (best.0 > LIMIT * deviation).then_some(best.1)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::util::hash::splitmix64;

    /// Draws that are the same in every run of a test.
    pub(crate) struct Noise(pub(crate) u64);

    impl Noise {
        /// In (0, 1).
        pub(crate) fn uniform(&mut self) -> f64 {
            ((splitmix64(&mut self.0) >> 11) as f64 + 0.5) / (1u64 << 53) as f64
        }

        /// Mean 0, variance 1. Source: Box and Muller, 1958.
        pub(crate) fn normal(&mut self) -> f64 {
            let radius = (-2.0 * self.uniform().ln()).sqrt();
            radius * (std::f64::consts::TAU * self.uniform()).cos()
        }
    }

    fn series(noise: &mut Noise, levels: &[(usize, f64)]) -> Vec<f64> {
        let level = |&(n, level): &(usize, f64)| vec![level; n];
        let flat = levels.iter().flat_map(level);
        flat.map(|level| level * (1.0 + 0.05 * noise.normal()))
            .collect()
    }

    #[test]
    fn a_level_series_is_steady_from_its_start() {
        let mut noise = Noise(1);
        let cut = (0..1000).filter(|_| steady_from(&series(&mut noise, &[(100, 1.0)])) != Some(0));
        let cut = cut.count();
        assert!(cut <= 5, "{cut} of 1000");
        assert_eq!(steady_from(&[0.1; 40]), Some(0));
        assert_eq!(steady_from(&[0.1; FEWEST * LENGTH - 1]), None);
        assert_eq!(steady_from(&[]), None);
    }

    #[test]
    fn what_comes_before_the_last_change_is_cut_off() {
        let mut noise = Noise(2);
        for (levels, expected) in [
            (vec![(8, 2.0), (100, 1.0)], 8),
            (vec![(20, 0.5), (200, 1.0)], 20),
            (vec![(10, 4.0), (20, 2.0), (300, 1.0)], 30),
            (vec![(60, 1.2), (640, 1.0)], 60),
        ] {
            for _ in 0..50 {
                let values = series(&mut noise, &levels);
                let first = steady_from(&values).unwrap();
                let length = values.len().div_ceil(BATCHES).max(LENGTH);
                let late = expected..=expected + values.len() / 4;
                // A cut may lie within the mean that the change divides.
                assert!(late.contains(&(first + length)), "{first} for {levels:?}");
            }
        }
    }

    #[test]
    fn a_change_that_is_too_late_leaves_nothing() {
        let mut noise = Noise(3);
        for _ in 0..50 {
            let values = series(&mut noise, &[(100, 1.0), (30, 2.0)]);
            assert_eq!(steady_from(&values), None);
        }
    }

    #[test]
    fn one_slow_step_does_not_end_a_steady_state() {
        let mut noise = Noise(4);
        for at in [5, 50, 120] {
            let mut values = series(&mut noise, &[(128, 1.0)]);
            values[at] = 30.0;
            let first = steady_from(&values).unwrap();
            assert!(first < 64, "{first} for a slow step at {at}");
        }
    }
}
