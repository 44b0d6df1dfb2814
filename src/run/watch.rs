//! When nothing moves: says which ranks of which hosts are silent, where and in what, and ends the job.
//!
//! One watchdog per rank, from before the job's first I/O to after its last: a thread that calls no MPI and reads the pages
//! that the ranks of a host share, so it can speak of a rank that cannot. On several hosts it also tells what it sees to one
//! watchdog that speaks for all ([`link`]). What is known to take long is no stall: computation, pauses that the workload
//! asks for, the user's own command, output that nobody reads.

mod board;
mod link;
mod report;

pub use board::{Board, Names};

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::lookout::Lookout;
use crate::clock::now_ns;
use crate::cluster::Cluster;
use crate::interrupt;
use board::{FROZEN_NS, LOOK_EVERY};
use link::Link;
use report::{Sight, Verdict};

/// Watches the ranks of this host, and those of the others through their watchdogs, until what it returns is dropped.
/// `timeout` zero: off. A collective.
pub fn start(cluster: &dyn Cluster, board: Board, timeout: Duration) -> Option<Lookout> {
    if timeout.is_zero() {
        return None;
    }
    let link = Link::between_hosts(cluster);
    let me = cluster.local_rank();
    // One that is stopped before its watchdog has looked is known as stopped, too.
    board.pages[me].sign_of_life();
    let now = now_ns();
    let mut watch = Watch {
        board,
        me,
        timeout,
        link,
        awake_since: now,
        looked: now,
    };
    Some(Lookout::start("watchdog", LOOK_EVERY, move || {
        watch.round()
    }))
}

struct Watch {
    board: Board,
    /// Node-local rank.
    me: usize,
    timeout: Duration,
    link: Option<Link>,
    /// Since when this process runs without a break.
    awake_since: u64,
    /// The last look.
    looked: u64,
}

impl Watch {
    fn round(&mut self) {
        let now = now_ns();
        // A process that was itself stopped must not judge the others by the time that it slept through.
        if now - self.looked > FROZEN_NS {
            self.awake_since = now;
            if let Some(link) = &mut self.link {
                link.wake(now);
            }
        }
        self.looked = now;
        self.board.pages[self.me].sign_of_life();
        if let Some(verdict) = self.look(now) {
            self.end(verdict);
        }
    }

    /// One look at this host and at what the others told; the message, when it is time to speak.
    fn look(&mut self, now: u64) -> Option<Verdict> {
        let timeout_ns = self.timeout.as_nanos() as u64;
        // What another host is told must be right until it is told again.
        let asks_from = timeout_ns.saturating_sub(FROZEN_NS);
        let own = Sight::of(&self.board, self.awake_since, asks_from, now);
        // Higher ranks give lower ones a second each to speak first.
        let turn = self.me as u64 * 1_000_000_000;
        let Some(link) = &mut self.link else {
            let is_late = own.quiet_ns >= timeout_ns + turn;
            return is_late.then(|| Verdict::of_host(&own, self.timeout));
        };
        let reports = (0..self.me).all(|below| {
            now.saturating_sub(self.board.pages[below].last_sign_of_life()) > FROZEN_NS
        });
        match link.exchange(&own, reports, now) {
            link::Heard::Ended => interrupt::end(1, None, false),
            link::Heard::Nothing => {}
        }
        if let Some(turn) = link.turn_to_speak() {
            let limit = timeout_ns + turn;
            let all = link.all(&own, now);
            return Verdict::of_hosts(&all, limit, self.timeout);
        }
        // Another watchdog speaks for this host, unless it cannot be reached.
        let patience = if link.is_heard(now) { 3 } else { 2 };
        let is_late = own.quiet_ns >= patience * timeout_ns + turn;
        is_late.then(|| Verdict::of_host(&own, self.timeout))
    }

    /// Speaks, where nobody of this host did, and ends this process; the launcher ends the others.
    fn end(&mut self, verdict: Verdict) -> ! {
        let speaks = self.board.spoken.swap(1, Ordering::SeqCst) == 0;
        if let Some(link) = &mut self.link {
            link.tell_the_end();
        }
        interrupt::end(1, Some(verdict.to_string()), speaks)
    }
}
