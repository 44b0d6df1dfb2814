//! Looks at what the ranks of rank 0's host are in while their main threads are busy: the progress of phases that have no
//! steps, and which ranks the others wait for.

use std::time::Duration;

use super::events::{Events, Listeners};
use super::lookout::Lookout;
use super::watch::Board;
use crate::clock::now_ns;
use crate::loader::{Activity, Phase, Working};
use crate::report::Event;

/// Time between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// Looks between two events.
const LOOKS: u64 = 5;

/// Slow ranks that are named.
const NAMED: usize = 3;

/// Starts on rank 0, whose node-local rank is `me`. Without a thread for it there is no such progress.
pub(super) fn start(events: &Events, board: &Board, me: usize) -> Lookout {
    let listeners = events.listeners();
    let mut look = Look {
        own: board.pages[me],
        ranks: (board.ranks.iter().copied())
            .zip(board.pages.iter().copied())
            .collect(),
        behind: vec![0; board.pages.len()],
        looks: 0,
    };
    let mut number = 0u64;
    Lookout::start("progress", LOOK_EVERY, move || {
        number += 1;
        look.compare();
        if number.is_multiple_of(LOOKS) {
            look.tell(&listeners);
        }
    })
}

struct Look {
    own: Activity,
    ranks: Vec<(usize, Activity)>,
    /// How often each was seen at work while another waited for it.
    behind: Vec<u64>,
    /// Looks in which some waited and some did not.
    looks: u64,
}

impl Look {
    fn tell(&mut self, listeners: &Listeners) {
        if let Some(work) = self.own.working() {
            listeners.tell_if_free(&event_of(&work, now_ns()));
        }
        if let Some(event) = self.slowest() {
            listeners.tell_if_free(&event);
        }
    }

    /// Whom do the others wait for?
    fn compare(&mut self) {
        let is_waiting = |page: &Activity| page.place().0 == Phase::Barrier;
        let waiting = self
            .ranks
            .iter()
            .filter(|(_, page)| is_waiting(page))
            .count();
        if waiting == 0 || waiting == self.ranks.len() {
            return;
        }
        self.looks += 1;
        for ((_, page), behind) in self.ranks.iter().zip(&mut self.behind) {
            *behind += u64::from(!is_waiting(page));
        }
    }

    /// Those that were behind most often since the last time; None where nobody was.
    fn slowest(&mut self) -> Option<Event> {
        if self.looks == 0 {
            return None;
        }
        let ranks = self.ranks.iter().map(|(rank, _)| *rank);
        let mut all: Vec<(usize, u64)> = ranks.zip(self.behind.iter().copied()).collect();
        all.retain(|(_, behind)| *behind > 0);
        all.sort_by_key(|(rank, behind)| (std::cmp::Reverse(*behind), *rank));
        all.truncate(NAMED);
        let looks = std::mem::take(&mut self.looks);
        self.behind.fill(0);
        Some(Event::SlowRanks { looks, ranks: all })
    }
}

fn event_of(work: &Working, now: u64) -> Event {
    let elapsed_s = now.saturating_sub(work.since_ns) as f64 / 1e9;
    let is_known = work.done > 0 && work.total >= work.done;
    Event::Working {
        what: work.what.name(),
        unit: work.what.unit(),
        done: work.done,
        total: (work.total > 0).then_some(work.total),
        elapsed_s,
        eta_s: is_known.then(|| elapsed_s / work.done as f64 * (work.total - work.done) as f64),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::loader::Stretch;

    fn pages(n: usize) -> Vec<(usize, Activity)> {
        let words: &'static [AtomicU64] = (0..n * Activity::words(1))
            .map(|_| AtomicU64::new(0))
            .collect::<Vec<_>>()
            .leak();
        let pages = words.chunks_exact(Activity::words(1)).map(Activity::new);
        pages.enumerate().collect()
    }

    #[test]
    fn the_rank_that_others_wait_for_is_named() {
        let ranks = pages(3);
        let mut look = Look {
            own: ranks[0].1,
            ranks: ranks.clone(),
            behind: vec![0; 3],
            looks: 0,
        };
        look.compare();
        assert!(look.slowest().is_none(), "nobody waits");
        for (i, (_, page)) in ranks.iter().enumerate() {
            let phase = if i == 1 {
                Phase::BatchWait
            } else {
                Phase::Barrier
            };
            page.enter(phase, 1, 1);
        }
        look.compare();
        look.compare();
        match look.slowest() {
            Some(Event::SlowRanks { looks: 2, ranks }) => assert_eq!(ranks, [(1, 2)]),
            other => panic!("{other:?}"),
        }
        assert!(look.slowest().is_none(), "it counts anew");
    }

    #[test]
    fn work_has_an_end_in_sight_once_some_of_it_is_done() {
        let page = pages(1)[0].1;
        let work = page.work(Stretch::Save, 100);
        let eta = |page: &Activity| {
            let working = page.working().unwrap();
            match event_of(&working, working.since_ns + 2_000_000_000) {
                Event::Working { eta_s, .. } => eta_s,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(eta(&page), None);
        page.worked(25);
        assert_eq!(eta(&page), Some(6.0));
        drop(work);
        assert!(page.working().is_none());
    }
}
