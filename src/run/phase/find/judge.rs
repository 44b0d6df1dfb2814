//! When a trial has seen enough.

use super::FindSpec;
use crate::cluster::Cluster;
use crate::metrics::record::StepTime;
use crate::metrics::sequential::{AuTest, FEWEST, Look, Outcome};
use crate::run::context::JobContext;
use crate::run::steps::Judge;

/// The steps of a trial before its first look.
const FIRST_LOOK: usize = FEWEST + FEWEST / 4;

/// Ends a trial when AU is known to be above or below the threshold, or after its longest time.
pub(super) struct AuJudge {
    test: AuTest,
    is_first: bool,
    ranks: u64,
    /// Steps at the start of a block that do not count.
    excluded: usize,
    least_ns: u64,
    longest_ns: u64,
    /// When the first step ended.
    begun_ns: Option<u64>,
    /// When the step before ended; None at the start of an epoch.
    before_ns: Option<u64>,
    /// Computation and all of the time of the steps since the last look, ns.
    fresh: Vec<u64>,
    next_look: usize,
    /// On the first rank: the last one.
    pub(super) seen: Option<Look>,
    /// Of the trial up to then.
    pub(super) elapsed_ns: u64,
    is_done: bool,
}

impl AuJudge {
    /// `error`: of this trial alone.
    pub(super) fn new(job: &JobContext, spec: &FindSpec, threshold: f64, error: f64) -> Self {
        let is_virtual = job.options.virtual_time;
        let seconds = if is_virtual { 0.0 } else { spec.seconds };
        let excluded = job.workload.output.metric.exclude_start_steps;
        AuJudge {
            test: AuTest::new(threshold, error),
            is_first: job.cluster.rank() == 0,
            ranks: job.cluster.size() as u64,
            excluded: usize::try_from(excluded).unwrap_or(usize::MAX),
            least_ns: (seconds * 1e9) as u64,
            longest_ns: (spec.minutes * 60e9) as u64,
            begun_ns: None,
            before_ns: None,
            fresh: Vec::new(),
            next_look: FIRST_LOOK,
            seen: None,
            elapsed_ns: 0,
            is_done: false,
        }
    }

    fn elapsed(&self, now_ns: u64) -> u64 {
        self.begun_ns
            .map_or(0, |begun| now_ns.saturating_sub(begun))
    }
}

impl Judge for AuJudge {
    fn step(&mut self, index: usize, time: &StepTime, now_ns: u64) {
        self.begun_ns.get_or_insert(now_ns);
        let before = self.before_ns.filter(|_| index > 0);
        let all_ns = match before {
            Some(before) => now_ns - before,
            None => time.proc_ns + time.barrier_ns,
        };
        self.before_ns = Some(now_ns);
        if index >= self.excluded {
            self.fresh.extend([time.compute_ns, all_ns]);
        }
    }

    fn wants_look(&self, now_ns: u64) -> bool {
        let elapsed = self.elapsed(now_ns);
        let steps = self.test.steps() + self.fresh.len() / 2;
        let is_due = steps >= self.next_look && elapsed >= self.least_ns;
        self.is_first && (is_due || elapsed >= self.longest_ns)
    }

    fn look(&mut self, cluster: &dyn Cluster, now_ns: &dyn Fn() -> u64) {
        let mut sums = std::mem::take(&mut self.fresh);
        cluster.sum_u64(&mut sums);
        let mean_s = |sum: u64| sum as f64 / self.ranks as f64 / 1e9;
        for step in sums.as_chunks::<2>().0 {
            self.test.add(mean_s(step[0]), mean_s(step[1]));
        }
        let mut is_done = false;
        if self.is_first {
            self.elapsed_ns = self.elapsed(now_ns());
            let look = self.test.look();
            let is_late = self.elapsed_ns >= self.longest_ns;
            is_done = is_late || look.outcome != Outcome::Undecided;
            self.seen = Some(look);
        }
        self.is_done = cluster.any(is_done);
        let steps = self.test.steps();
        self.next_look = steps + (steps / 4).max(FEWEST / 4);
        // The look is no part of a step.
        self.before_ns = Some(now_ns());
    }

    fn is_done(&self) -> bool {
        self.is_done
    }
}
