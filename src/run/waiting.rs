//! The ranks as a watched job sees them: the page of a rank shows while the rank only waits for others, and ranks wait in one
//! place.

use std::sync::atomic::AtomicU64;

use super::context::shape;
use crate::cluster::{Cluster, Meeting};
use crate::config::{StepBarrier, Workload};
use crate::host::cpus::{Mask, usable_cpus};
use crate::loader::Activity;

/// A [`Cluster`] whose collectives mark the page of this rank, and begin with a meeting of all ranks where there is one: no
/// collective of MPI, which spins, is entered while ranks are late.
pub struct Waiting<'a> {
    cluster: &'a dyn Cluster,
    activity: Activity,
    meeting: Option<Meeting<'a>>,
}

impl<'a> Waiting<'a> {
    /// Marks `activity`.
    pub fn new(cluster: &'a dyn Cluster, activity: Activity) -> Self {
        Waiting {
            cluster,
            activity,
            meeting: None,
        }
    }

    /// From now on ranks meet there. On every rank.
    pub fn meet_in(&mut self, meeting: Meeting<'a>) {
        self.meeting = Some(meeting);
    }

    fn wait<T>(&self, collective: impl FnOnce(&'a dyn Cluster) -> T) -> T {
        self.meet([0, 0], |c, _| collective(c))
    }

    /// Without a meeting, what `otherwise` does.
    fn max(&self, pair: [u64; 2], otherwise: impl FnOnce(&dyn Cluster) -> [u64; 2]) -> [u64; 2] {
        let is_met = self.meeting.is_some();
        self.meet(pair, |c, max| if is_met { max } else { otherwise(c) })
    }

    fn meet<T>(&self, pair: [u64; 2], then: impl FnOnce(&'a dyn Cluster, [u64; 2]) -> T) -> T {
        self.activity.waits(true);
        let max = self.meeting.as_ref().map_or(pair, |m| m.meet(pair));
        let value = then(self.cluster, max);
        self.activity.waits(false);
        value
    }
}

/// Where the ranks of a job or of a part of it meet; None where MPI's collectives do it. A collective.
///
/// `others`: the CPUs of this rank's readers.
pub(super) fn meeting<'a>(
    cluster: &'a dyn Cluster,
    w: &Workload,
    others: Mask,
) -> Option<Meeting<'a>> {
    (w.cluster.barrier.chosen() == StepBarrier::Shared).then(|| {
        let threads = 1 + shape(w).threads;
        let main = Mask::current();
        // Where a quota is worth no more CPUs than there are threads, spinning would use it up: no CPU is idle.
        let is_tight = usable_cpus() <= cluster.local_size() * threads;
        let cpus = (main.cpus().chain(others.cpus())).filter(|_| !is_tight);
        Meeting::new(cluster, threads, cpus)
    })
}

impl Cluster for Waiting<'_> {
    fn rank(&self) -> usize {
        self.cluster.rank()
    }
    fn size(&self) -> usize {
        self.cluster.size()
    }
    fn local_rank(&self) -> usize {
        self.cluster.local_rank()
    }
    fn local_size(&self) -> usize {
        self.cluster.local_size()
    }
    fn node_of_rank(&self) -> &[usize] {
        self.cluster.node_of_rank()
    }
    fn host_names(&self) -> &[String] {
        self.cluster.host_names()
    }
    fn library(&self) -> &str {
        self.cluster.library()
    }
    fn barrier(&self) {
        self.max([0, 0], |c| {
            c.barrier();
            [0, 0]
        });
    }
    fn broadcast(&self, bytes: &mut Vec<u8>) {
        self.wait(|c| c.broadcast(bytes));
    }
    fn sum_u64(&self, values: &mut [u64]) {
        self.wait(|c| c.sum_u64(values));
    }
    fn min_u64(&self, values: &mut [u64]) {
        self.wait(|c| c.min_u64(values));
    }
    fn max_u64(&self, values: &mut [u64]) {
        self.wait(|c| c.max_u64(values));
    }
    fn sum_f64(&self, values: &mut [f64]) {
        self.wait(|c| c.sum_f64(values));
    }
    fn gather(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        self.wait(|c| c.gather(bytes))
    }
    fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        self.wait(|c| c.all_to_all(parts))
    }
    fn max_pair(&self, pair: [u64; 2]) -> [u64; 2] {
        self.max(pair, |c| c.max_pair(pair))
    }
    fn max_u64_patiently(&self, value: u64) -> u64 {
        self.max([value, 0], |c| [c.max_u64_patiently(value), 0])[0]
    }
    fn leaders_max(&self, pair: [u64; 2], spins: bool) -> [u64; 2] {
        self.cluster.leaders_max(pair, spins)
    }
    fn progress(&self) {
        self.cluster.progress();
    }
    fn node_shared(&self, words: usize) -> &'static [AtomicU64] {
        self.wait(|c| c.node_shared(words))
    }
    fn split(&self, color: Option<u16>) -> Option<Box<dyn Cluster + '_>> {
        self.wait(|c| c.split(color))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::tests::{conforms, layouts, splits};
    use crate::cluster::threads::{self, Threads};
    use crate::run::{RankError, agree};

    fn page() -> Activity {
        let words = (0..Activity::words(0)).map(|_| AtomicU64::new(0));
        Activity::new(words.collect::<Vec<_>>().leak())
    }

    fn waiting<'a>(cluster: &'a Threads, meets: bool) -> Waiting<'a> {
        let mut waiting = Waiting::new(cluster, page());
        if meets {
            waiting.meet_in(Meeting::new(cluster, 1, 0..1));
        }
        waiting
    }

    #[test]
    fn ranks_that_meet_do_what_a_cluster_must() {
        for nodes in layouts() {
            for meets in [false, true] {
                threads::run(&nodes, |cluster| {
                    let waiting = waiting(cluster, meets);
                    conforms(&waiting);
                    splits(&waiting);
                    assert!(!waiting.activity.is_waiting());
                });
            }
        }
    }

    #[test]
    fn the_lowest_rank_that_failed_is_named_on_rank_0_and_all_fail() {
        for meets in [false, true] {
            let made = threads::run(&[0, 0, 1, 1], |cluster| {
                let waiting = waiting(cluster, meets);
                agree(&waiting, Ok(())).unwrap();
                let mine = match cluster.rank() {
                    1 => Err(RankError::Elsewhere),
                    2 | 3 => Err(RankError::Dataset(format!("find {}", cluster.rank()))),
                    _ => Ok(()),
                };
                agree(&waiting, mine).map_err(|e| e.to_string())
            });
            let first = "rank 2 on node1 failed to find 2\n  (1 other rank(s) failed too)";
            let other = "another rank reports the failure";
            assert_eq!(
                made,
                [first, other, other, other].map(|e| Err(e.to_owned()))
            );
        }
    }
}
