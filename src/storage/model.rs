//! A storage system that is only a law: latency, jitter and a bandwidth that the ranks of a node share.
//!
//! It makes tests deterministic and answers "what if the storage were like this?".

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::null::Sinkhole;
use super::{Answer, Buffer, Request, Sink, Storage, StorageError, Writer};
use crate::clock::{now_ns, sleep_until};
use crate::config::Workload;
use crate::util::hash::{GAMMA, mix64};

/// The law's numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ModelLaw {
    /// Nanoseconds before a read's first byte.
    pub latency_ns: u64,
    /// Uniform around `latency_ns` by this much, nanoseconds.
    pub jitter_ns: u64,
    /// Bytes per second; 0: unlimited.
    pub bandwidth: f64,
}

impl ModelLaw {
    /// From `storage.storage_options.{latency, jitter, bandwidth}`.
    pub fn new(workload: &Workload) -> Self {
        let options = &workload.storage.storage_options;
        ModelLaw {
            latency_ns: (options.latency * 1e9).round() as u64,
            jitter_ns: (options.jitter * 1e9).round() as u64,
            bandwidth: options.bandwidth,
        }
    }

    /// Latency of the request named `tag`: the same in every run.
    pub fn latency_of(&self, tag: u64) -> u64 {
        if self.jitter_ns == 0 {
            return self.latency_ns;
        }
        // splitmix64's finaliser spreads neighbouring tags over the whole range.
        let word = mix64(tag.wrapping_add(GAMMA));
        (self.latency_ns + word % (2 * self.jitter_ns + 1)).saturating_sub(self.jitter_ns)
    }

    /// Nanoseconds that `bytes` occupy the shared link.
    pub fn transfer_ns(&self, bytes: u64) -> u64 {
        if self.bandwidth > 0.0 {
            (bytes as f64 / self.bandwidth * 1e9).round() as u64
        } else {
            0
        }
    }
}

/// The law, in real time.
pub(super) struct Model {
    law: ModelLaw,
    /// When the link that the node's ranks share is free again, [`now_ns`].
    link_free: &'static AtomicU64,
}

impl Model {
    pub(super) fn new(law: ModelLaw, shared: &'static [AtomicU64]) -> Self {
        Model {
            law,
            link_free: &shared[0],
        }
    }
}

impl Storage for Model {
    fn name(&self) -> &'static str {
        "model"
    }
    fn has_bytes(&self) -> bool {
        false
    }
    fn default_transfer(&self) -> usize {
        super::buffer::ALIGNMENT
    }
    fn read(
        &self,
        request: &Request,
        _: &mut Buffer,
        sink: &mut dyn Sink,
    ) -> Result<Answer, StorageError> {
        let start = now_ns();
        sink.position(0);
        let first = start + self.law.latency_of(request.tag);
        let busy = self.law.transfer_ns(request.planned_len);
        let mut end = first;
        if busy > 0 {
            let mut free = self.link_free.load(Ordering::Relaxed);
            loop {
                end = free.max(first) + busy;
                match self.link_free.compare_exchange_weak(
                    free,
                    end,
                    Ordering::Relaxed,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => break,
                    Err(now) => free = now,
                }
            }
        }
        sleep_until(end);
        let mut answer = Answer {
            bytes: request.planned_len,
            first_byte_ns: Some(first - start),
            ..Answer::default()
        };
        answer.called(end - start, sink);
        Ok(answer)
    }
    fn len(&self, _: &Path) -> Result<Option<u64>, StorageError> {
        Ok(None)
    }
    fn head(&self, _: &Path, _: &mut [u8]) -> Result<usize, StorageError> {
        Ok(0)
    }
    fn create(&self, _: &Path) -> Result<Box<dyn Writer>, StorageError> {
        Ok(Box::new(Sinkhole))
    }
    fn create_folder(&self, _: &Path) -> Result<(), StorageError> {
        Ok(())
    }
    fn remove(&self, _: &Path) -> Result<(), StorageError> {
        Ok(())
    }
    fn remove_folder(&self, _: &Path) -> Result<(), StorageError> {
        Ok(())
    }
    fn evict(&self, _: &Path) -> Result<(), StorageError> {
        Ok(())
    }
}
