//! Does AU reach a threshold? A test that may be asked again and again while steps are taken.
//!
//! AU over the steps of a steady state is the ratio of two sums, computation over time. Its standard error comes from the
//! residuals of at most [`BATCHES`] means of neighbouring steps (the method of batch means), larger where neighbouring means
//! still depend on each other. Look number j of a trial may be wrong with probability `error` * 6 / (pi^2 j^2), so all of
//! them together with probability `error` at most, however many there are: the trial ends at the first look that decides. A few steps
//! may have missed rare long waits, so more of them are needed to pass than to fail.
//!
//! Source: the variance of a ratio by the delta method; A. M. Law, "Simulation Modeling and Analysis", chapter 9 (batch means,
//! ratio estimators); the spending of the error over looks is Bonferroni's inequality with the sum of 1/j^2 = pi^2/6.

use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

use super::steady::steady_from;

/// Means that the steps are divided into, at most.
const BATCHES: usize = 16;

/// Steps of a mean, at least.
const LENGTH: usize = 4;

/// Fewest steps of a steady state that decide anything.
pub const FEWEST: usize = 64;

/// Fewest that pass: rare long waits must have had their chance.
const FEWEST_TO_PASS: usize = 128;

/// What a trial says of the threshold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Pass,
    Fail,
    Undecided,
}

/// What one look saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// Against the threshold.
    pub outcome: Outcome,
    /// AU of the steady state, percent.
    pub au: f64,
    /// Bounds of AU, percent: each is wrong with at most the trial's error. None where the steady state is too short.
    pub interval: Option<[f64; 2]>,
    /// Steps at the start that are no part of the steady state.
    pub warm_up: usize,
    /// Steps of the steady state.
    pub steps: usize,
    /// Mean seconds of these.
    pub step_s: f64,
}

/// The steps of one trial, and the looks at them.
#[derive(Debug, Clone)]
pub struct AuTest {
    threshold: f64,
    error: f64,
    looks: u32,
    compute_s: Vec<f64>,
    step_s: Vec<f64>,
}

impl AuTest {
    /// `threshold` in percent; `error`: how often a trial may pass below it, or fail above it.
    pub fn new(threshold: f64, error: f64) -> Self {
        AuTest {
            threshold,
            error,
            looks: 0,
            compute_s: Vec::new(),
            step_s: Vec::new(),
        }
    }

    /// A step: its computation, mean of the ranks, and all of its time, seconds.
    pub fn add(&mut self, compute_s: f64, step_s: f64) {
        self.compute_s.push(compute_s);
        self.step_s.push(step_s);
    }

    pub fn steps(&self) -> usize {
        self.step_s.len()
    }

    /// Looks at the steps so far. Each look spends some of the error, so later ones need clearer data.
    pub fn look(&mut self) -> Look {
        self.looks += 1;
        let steady = steady_from(&self.step_s);
        let first = steady.unwrap_or(0);
        let (compute, step) = (&self.compute_s[first..], &self.step_s[first..]);
        let total: f64 = step.iter().sum();
        let au = match total > 0.0 {
            true => compute.iter().sum::<f64>() / total,
            false => 0.0,
        };
        let mut look = Look {
            outcome: Outcome::Undecided,
            au: 100.0 * au,
            interval: None,
            warm_up: first,
            steps: step.len(),
            step_s: total / step.len().max(1) as f64,
        };
        if steady.is_none() || step.len() < FEWEST {
            return look;
        }
        let share = self.error * 6.0 / (std::f64::consts::PI * f64::from(self.looks)).powi(2);
        let reach = 100.0 * self.bound(compute, step, au, share);
        let [low, high] = [look.au - reach, look.au + reach];
        look.interval = Some([low.max(0.0), high]);
        look.outcome = if low >= self.threshold && look.steps >= FEWEST_TO_PASS {
            Outcome::Pass
        } else if high < self.threshold {
            Outcome::Fail
        } else {
            Outcome::Undecided
        };
        look
    }

    /// Half the width of the interval around `au` of which each bound is wrong with probability `error`.
    fn bound(&self, compute: &[f64], step: &[f64], au: f64, error: f64) -> f64 {
        let length = step.len().div_ceil(BATCHES).max(LENGTH);
        let residual = |(c, s): (&[f64], &[f64])| {
            (c.iter().sum::<f64>() - au * s.iter().sum::<f64>()) / length as f64
        };
        let (compute, steps) = (compute.rchunks_exact(length), step.rchunks_exact(length));
        let residuals: Vec<f64> = compute.zip(steps).map(residual).collect();
        let n = residuals.len() as f64;
        let mean = residuals.iter().sum::<f64>() / n;
        let squares: f64 = residuals.iter().map(|r| (r - mean).powi(2)).sum();
        if squares == 0.0 {
            return 0.0;
        }
        let neighbours = residuals.windows(2).map(|w| (w[0] - mean) * (w[1] - mean));
        let correlation = (neighbours.sum::<f64>() / squares).clamp(0.0, 0.9);
        let inflation = (1.0 + correlation) / (1.0 - correlation);
        let deviation = (inflation * squares / (n * (n - 1.0))).sqrt();
        let quantile =
            StudentsT::new(0.0, 1.0, n - 1.0).map_or(f64::INFINITY, |t| t.inverse_cdf(1.0 - error));
        let mean_step = step.iter().sum::<f64>() / step.len() as f64;
        quantile * deviation / mean_step
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::steady::tests::Noise;

    /// Kinds of noise on the wait of a step, whose mean is `wait`.
    #[derive(Debug, Clone, Copy)]
    enum Kind {
        Normal,
        /// Each depends on the one before.
        Chained,
        /// One step in ten waits for nearly all.
        Rare,
    }

    /// Takes steps of 1 s of computation until the test decides, or 5,000 were taken.
    fn decide(noise: &mut Noise, kind: Kind, au: f64, threshold: f64, error: f64) -> Look {
        let mut test = AuTest::new(threshold, error);
        let wait = 100.0 / au - 1.0;
        let mut state = 0.0;
        let mut next = FEWEST;
        loop {
            while test.steps() < next {
                let wait = match kind {
                    Kind::Normal => wait * (1.0 + 0.5 * noise.normal()),
                    Kind::Chained => {
                        state = 0.6 * state + 0.8 * noise.normal();
                        wait * (1.0 + 0.4 * state)
                    }
                    Kind::Rare if noise.uniform() < 0.1 => 9.1 * wait,
                    Kind::Rare => 0.1 * wait,
                };
                test.add(1.0, 1.0 + wait);
            }
            let look = test.look();
            if look.outcome != Outcome::Undecided || next > 5_000 {
                return look;
            }
            next += next / 4;
        }
    }

    #[test]
    fn au_that_is_barely_too_low_passes_in_one_trial_of_a_hundred_at_most() {
        for (seed, kind) in [(1, Kind::Normal), (2, Kind::Chained), (3, Kind::Rare)] {
            let mut noise = Noise(seed);
            let trials = 400;
            let passed = (0..trials)
                .filter(|_| decide(&mut noise, kind, 89.99, 90.0, 0.01).outcome == Outcome::Pass)
                .count();
            assert!(passed <= trials / 100, "{kind:?}: {passed} of {trials}");
        }
    }

    #[test]
    fn au_that_is_clearly_one_or_the_other_is_decided_so_and_soon() {
        for (seed, kind) in [(4, Kind::Normal), (5, Kind::Chained), (6, Kind::Rare)] {
            let mut noise = Noise(seed);
            for (au, outcome) in [(95.0, Outcome::Pass), (80.0, Outcome::Fail)] {
                for _ in 0..100 {
                    let look = decide(&mut noise, kind, au, 90.0, 0.01);
                    assert_eq!(look.outcome, outcome, "{kind:?} {look:?}");
                    let taken = look.steps + look.warm_up;
                    assert!(taken < 4_000, "{kind:?}: {taken} steps");
                }
            }
        }
    }

    #[test]
    fn the_interval_holds_au() {
        let mut noise = Noise(7);
        let missed = (0..300)
            .filter(|_| {
                let look = decide(&mut noise, Kind::Normal, 85.0, 90.0, 0.01);
                let [low, high] = look.interval.unwrap();
                !(low..=high).contains(&85.0)
            })
            .count();
        assert!(missed <= 6, "{missed} of 300");
    }

    #[test]
    fn steps_without_noise_are_decided_at_the_first_look() {
        for (wait, outcome) in [(0.1, Outcome::Pass), (0.12, Outcome::Fail)] {
            let mut test = AuTest::new(90.0, 0.01);
            for _ in 0..FEWEST_TO_PASS {
                test.add(1.0, 1.0 + wait);
            }
            let look = test.look();
            assert_eq!(look.outcome, outcome);
            assert!((look.au - 100.0 / (1.0 + wait)).abs() < 1e-9);
        }
    }

    #[test]
    fn a_slow_start_is_no_part_of_au() {
        let mut noise = Noise(8);
        let mut test = AuTest::new(90.0, 0.01);
        for step in 0..200 {
            let wait = if step < 30 { 2.0 } else { 0.05 };
            test.add(1.0, 1.0 + wait + 0.01 * noise.normal());
        }
        let look = test.look();
        assert_eq!(look.outcome, Outcome::Pass);
        assert!((28..60).contains(&look.warm_up), "{look:?}");
    }

    #[test]
    fn few_steps_decide_nothing() {
        let mut test = AuTest::new(90.0, 0.01);
        assert_eq!(test.look().outcome, Outcome::Undecided);
        for _ in 1..FEWEST {
            test.add(1.0, 1.0);
        }
        let look = test.look();
        assert_eq!((look.outcome, look.interval), (Outcome::Undecided, None));
    }
}
