//! Attempts of one operation: where each goes, which failures are retried, and when it is enough.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use super::endpoint::{Aim, Endpoint, Endpoints, Operation};
use super::failure::{Class, Failure, ObjectError, Result};
use super::wait;
use crate::util::hash::{GAMMA, mix64};

/// The longest wait between two attempts.
const LONGEST_DELAY: Duration = Duration::from_secs(20);

/// What the service knows of a failure.
pub trait Advice {
    /// What to do about it.
    fn remedy(&self, failure: &Failure) -> String;
    /// Gets new credentials in place of those that ran out; false: there are none.
    fn renew(&self, failure: &Failure) -> bool;
}

/// How often and how patiently.
pub struct Policy {
    /// Attempts of one operation without progress.
    pub attempts: u64,
    /// Before the first retry; doubled for each further one.
    pub delay: Duration,
    /// Retries that this rank may still make.
    pub budget: AtomicU64,
    jitter: AtomicU64,
}

impl Policy {
    /// `seed`: ranks differ in it, so that they do not come back at the same moment.
    pub fn new(attempts: u64, delay: Duration, budget: u64, seed: u64) -> Self {
        Policy {
            attempts,
            delay,
            budget: AtomicU64::new(budget),
            jitter: AtomicU64::new(seed),
        }
    }

    /// The wait after `failed` attempts: half of an exponential, and a random part of the other half.
    pub fn wait(&self, failed: u64) -> Duration {
        let doublings = failed.saturating_sub(1).min(20) as u32;
        let full = (self.delay * 2_u32.saturating_pow(doublings)).min(LONGEST_DELAY);
        // splitmix64: a different number at each call.
        let word = mix64(self.jitter.fetch_add(GAMMA, Relaxed));
        let share = (word >> 11) as f64 / (1_u64 << 53) as f64;
        full.mul_f64(0.5 + 0.5 * share)
    }
}

/// One operation and its attempts so far.
pub struct Trial<'a> {
    operation: &'static str,
    object: &'a str,
    start: Instant,
    /// Failed attempts since the last progress.
    failed: u64,
    has_renewed: bool,
    pub retries: u64,
}

impl<'a> Trial<'a> {
    /// Begins.
    pub fn new(operation: &'static str, object: &'a str) -> Self {
        Trial {
            operation,
            object,
            start: Instant::now(),
            failed: 0,
            has_renewed: false,
            retries: 0,
        }
    }

    /// Bytes were delivered: the count of attempts begins anew.
    pub fn progressed(&mut self) {
        self.failed = 0;
    }

    /// An attempt at `endpoint` failed: waits, so that the next may be made, or says that there is none.
    ///
    /// Errors: the failure is not retried, or attempts or budget are used up.
    pub fn failed(
        &mut self,
        policy: &Policy,
        endpoints: &Endpoints,
        endpoint: &Endpoint,
        failure: Failure,
        advice: &dyn Advice,
    ) -> Result<(), Box<ObjectError>> {
        if failure.is_stale {
            endpoint.stale();
            self.retries += 1;
            return Ok(());
        }
        endpoint.failed(&failure);
        self.failed += 1;
        if failure.class == Class::Expired && !self.has_renewed && advice.renew(&failure) {
            self.has_renewed = true;
            endpoint.retried(failure.class);
            self.retries += 1;
            return Ok(());
        }
        let has_budget = || {
            policy
                .budget
                .fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1))
                .is_ok()
        };
        let spent = if !failure.class.is_retried() || self.failed >= policy.attempts {
            None
        } else {
            Some(has_budget())
        };
        if spent != Some(true) {
            let mut remedy = advice.remedy(&failure);
            if spent == Some(false) {
                remedy = format!(
                    "this rank has used up storage.storage_options.retry_budget: repair the storage, or raise it; {remedy}"
                );
            }
            return Err(Box::new(ObjectError {
                operation: self.operation,
                object: self.object.to_string(),
                endpoint: endpoint.url.to_string(),
                attempts: self.failed,
                elapsed_s: self.start.elapsed().as_secs_f64(),
                failure,
                remedy,
            }));
        }
        endpoint.retried(failure.class);
        self.retries += 1;
        let is_the_endpoints_own = matches!(
            failure.class,
            Class::Connect | Class::Timeout | Class::Reset | Class::Truncated
        );
        // Another endpoint can be asked at once; a store that is overloaded as a whole cannot.
        let has_other = failure.has_other_address || endpoints.has_other_up(endpoint);
        if !(is_the_endpoints_own && has_other) {
            let asked = failure.retry_after.unwrap_or_default();
            wait::pause(policy.wait(self.failed).max(asked));
        }
        Ok(())
    }
}

/// Makes attempts until one succeeds or no more may be made.
pub fn persist<T>(
    policy: &Policy,
    endpoints: &Endpoints,
    kind: Operation,
    mut trial: Trial,
    advice: &dyn Advice,
    mut attempt: impl FnMut(&Endpoint) -> Result<T>,
) -> Result<T, Box<ObjectError>> {
    loop {
        let aim: Aim = endpoints.choose(kind);
        match attempt(aim.endpoint) {
            Ok(value) => {
                aim.endpoint.succeeded();
                return Ok(value);
            }
            Err(failure) => trial.failed(policy, endpoints, aim.endpoint, failure, advice)?,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::url::Url;
    use super::*;

    fn endpoints() -> Endpoints {
        Endpoints::new(vec![Url::parse("http://one:1", false).unwrap()], 0)
    }

    /// Renews as long as there is something left.
    struct Renewals(AtomicU64);

    impl Advice for Renewals {
        fn remedy(&self, _: &Failure) -> String {
            "none".into()
        }
        fn renew(&self, _: &Failure) -> bool {
            let left = self.0.fetch_update(Relaxed, Relaxed, |n| n.checked_sub(1));
            left.is_ok()
        }
    }

    fn run(policy: &Policy, failures: &[Class]) -> (Result<u64, Box<ObjectError>>, Endpoints) {
        let endpoints = endpoints();
        let mut calls = 0;
        let result = persist(
            policy,
            &endpoints,
            Operation::Get,
            Trial::new("read", "s3://b/k"),
            &Renewals(AtomicU64::new(1)),
            |_| {
                calls += 1;
                match failures.get(calls - 1) {
                    Some(class) => Err(Failure::new(*class, "because")),
                    None => Ok(calls as u64),
                }
            },
        );
        (result, endpoints)
    }

    fn policy(attempts: u64, budget: u64) -> Policy {
        Policy::new(attempts, Duration::from_micros(10), budget, 1)
    }

    #[test]
    fn attempts_and_budget_are_limits() {
        let (result, _) = run(&policy(3, 100), &[Class::Timeout; 9]);
        assert_eq!(result.unwrap_err().attempts, 3);
        let (result, _) = run(&policy(9, 2), &[Class::Timeout; 9]);
        let error = result.unwrap_err();
        assert_eq!(error.attempts, 3);
        assert!(error.remedy.contains("retry_budget"), "{}", error.remedy);
    }

    #[test]
    fn waits_double_within_their_bounds() {
        let policy = Policy::new(9, Duration::from_millis(500), 0, 7);
        for (failed, full_ms) in [(1, 500), (2, 1000), (3, 2000), (9, 20_000), (90, 20_000)] {
            for _ in 0..100 {
                let wait = policy.wait(failed).as_millis();
                assert!(wait >= full_ms / 2 && wait <= full_ms, "{failed}: {wait}");
            }
        }
    }

    #[test]
    fn a_server_is_left_alone_for_as_long_as_it_asks() {
        const PAUSE: Duration = Duration::from_millis(80);
        let (mut answers, start) = (0, Instant::now());
        let result = persist(
            &policy(5, 100),
            &endpoints(),
            Operation::Get,
            Trial::new("read", "s3://b/k"),
            &Renewals(AtomicU64::new(0)),
            |_| {
                answers += 1;
                match answers {
                    1 => Err(Failure {
                        retry_after: Some(PAUSE),
                        ..Failure::new(Class::SlowDown, "slow down")
                    }),
                    _ => Ok(()),
                }
            },
        );
        assert!(result.is_ok());
        assert!(start.elapsed() >= PAUSE, "{:?}", start.elapsed());
    }
}
