//! A job of one rank, without MPI.

use std::sync::atomic::AtomicU64;

use super::Cluster;

/// The only rank of a job that no launcher started.
#[derive(Debug)]
pub struct Solo {
    host: [String; 1],
}

impl Solo {
    /// A job of one rank on `host`.
    pub fn new(host: String) -> Self {
        Solo { host: [host] }
    }
}

impl Cluster for Solo {
    fn rank(&self) -> usize {
        0
    }
    fn size(&self) -> usize {
        1
    }
    fn local_rank(&self) -> usize {
        0
    }
    fn local_size(&self) -> usize {
        1
    }
    fn node_of_rank(&self) -> &[usize] {
        &[0]
    }
    fn host_names(&self) -> &[String] {
        &self.host
    }
    fn library(&self) -> &str {
        "none"
    }
    fn barrier(&self) {}
    fn broadcast(&self, _: &mut Vec<u8>) {}
    fn sum_u64(&self, _: &mut [u64]) {}
    fn min_u64(&self, _: &mut [u64]) {}
    fn max_u64(&self, _: &mut [u64]) {}
    fn sum_f64(&self, _: &mut [f64]) {}
    fn gather(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        Some(vec![bytes.to_vec()])
    }
    fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        parts
    }
    fn max_pair(&self, pair: [u64; 2]) -> [u64; 2] {
        pair
    }
    fn max_u64_patiently(&self, value: u64) -> u64 {
        value
    }
    fn leaders_max(&self, pair: [u64; 2], _: bool) -> [u64; 2] {
        pair
    }
    fn progress(&self) {}
    fn node_shared(&self, words: usize) -> &'static [AtomicU64] {
        (0..words)
            .map(|_| AtomicU64::new(0))
            .collect::<Vec<_>>()
            .leak()
    }
    fn split(&self, color: Option<u16>) -> Option<Box<dyn Cluster + '_>> {
        color?;
        Some(Box::new(Solo::new(self.host[0].clone())))
    }
}
