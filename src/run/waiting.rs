//! The ranks as a watched job sees them: a rank's page says while the rank only waits for others.

use std::sync::atomic::AtomicU64;

use crate::cluster::Cluster;
use crate::loader::Activity;

/// A [`Cluster`] whose collectives mark the page of this rank.
pub struct Waiting<'a> {
    cluster: &'a dyn Cluster,
    activity: Activity,
}

impl<'a> Waiting<'a> {
    /// Marks `activity`.
    pub fn new(cluster: &'a dyn Cluster, activity: Activity) -> Self {
        Waiting { cluster, activity }
    }

    fn wait<T>(&self, collective: impl FnOnce(&dyn Cluster) -> T) -> T {
        self.activity.waits(true);
        let value = collective(self.cluster);
        self.activity.waits(false);
        value
    }
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
        self.wait(|c| c.barrier());
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
        self.wait(|c| c.max_pair(pair))
    }
    fn max_u64_patiently(&self, value: u64) -> u64 {
        self.wait(|c| c.max_u64_patiently(value))
    }
    fn node_shared(&self, words: usize) -> &'static [AtomicU64] {
        self.wait(|c| c.node_shared(words))
    }
    fn abort(&self, status: i32) -> ! {
        self.cluster.abort(status)
    }
}
