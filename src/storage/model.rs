//! A storage system that is only arithmetic: latency, jitter and a bandwidth that the ranks of a node share.
//!
//! It makes tests deterministic and answers "what if the storage were like this?".

use std::sync::atomic::{AtomicU64, Ordering};

use super::null::Formula;
use super::row::FORMULA;
use super::{Answer, Request, Sink, System};
use crate::clock::{look_ns, now_ns, sleep_until};
use crate::util::hash::{GAMMA, mix64};

/// Its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TimeModel {
    /// Nanoseconds before a read's first byte.
    pub latency_ns: u64,
    /// Uniform around `latency_ns` by this much, nanoseconds.
    pub jitter_ns: u64,
    /// Bytes per second; 0: unlimited.
    pub bandwidth: f64,
    /// A rank with a latency of its own, nanoseconds.
    pub slow: Option<(usize, u64)>,
    /// When no first byte comes, from one time to another, nanoseconds since the start.
    pub pause_ns: Option<(u64, u64)>,
}

impl TimeModel {
    /// Latency of the request named `tag`: the same in every run.
    pub fn latency_of(&self, tag: u64) -> u64 {
        if self.jitter_ns == 0 {
            return self.latency_ns;
        }
        // splitmix64's finaliser spreads neighbouring tags over the whole range.
        let word = mix64(tag.wrapping_add(GAMMA));
        (self.latency_ns + word % (2 * self.jitter_ns + 1)).saturating_sub(self.jitter_ns)
    }

    /// The times of one rank.
    pub fn of_rank(mut self, rank: usize) -> Self {
        if let Some((_, latency_ns)) = self.slow.filter(|(slow, _)| *slow == rank) {
            self.latency_ns = latency_ns;
        }
        self
    }

    /// When the first byte of the request named `tag` comes, which was sent at `from`; both since the start.
    pub fn first_byte_at(&self, tag: u64, from: u64) -> u64 {
        let first = from + self.latency_of(tag);
        match self.pause_ns {
            Some((begin, end)) if first > begin && from < end => first + end - begin.max(from),
            _ => first,
        }
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

pub(super) const SYSTEM: System = System {
    word: "model",
    about: "Latency, jitter, bandwidth, a slow rank and a pause from `storage_options`.",
    open: Ok(|spec, shared| {
        Ok(Box::new(Model {
            system: spec.system,
            time: spec.time,
            opened: now_ns(),
            link_free: &shared[0],
        }))
    }),
    ..FORMULA
};

/// The same in real time.
struct Model {
    system: &'static System,
    time: TimeModel,
    /// [`now_ns`].
    opened: u64,
    /// When the link that the node's ranks share is free again, [`now_ns`].
    link_free: &'static AtomicU64,
}

impl Formula for Model {
    fn system(&self) -> &'static System {
        self.system
    }
    fn answer(&self, request: &Request, sink: &mut dyn Sink) -> Answer {
        let start = look_ns();
        sink.position(0);
        let since = start - self.opened;
        let first = self.opened + self.time.first_byte_at(request.tag, since);
        let busy = self.time.transfer_ns(request.planned_len);
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
        answer
    }
}
