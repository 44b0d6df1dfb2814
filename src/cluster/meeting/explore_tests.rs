//! Meetings in many orders of their ranks' steps. A wake-up that is lost is a deadlock, which shuttle reports, since nothing
//! times out here.

use std::time::Duration;

use shuttle::sync::atomic::{AtomicU64, Ordering::SeqCst};
use shuttle::sync::{Arc, Condvar, Mutex};
use shuttle::thread;

use super::{Seat, WORDS_OF_MEETING, Words, meet};

const SCHEDULES: usize = 2_000;
const MEETINGS: u64 = 3;

/// The words of a node. Whether the counter still is at `seen` is looked at under the lock under which sleepers are woken, as in
/// the kernel; it is set without.
struct Explored {
    words: Vec<AtomicU64>,
    queue: Mutex<()>,
    bell: Condvar,
}

impl Explored {
    fn new() -> Self {
        Explored {
            words: (0..WORDS_OF_MEETING).map(|_| AtomicU64::new(0)).collect(),
            queue: Mutex::new(()),
            bell: Condvar::new(),
        }
    }
}

impl Words for Arc<Explored> {
    fn load(&self, word: usize) -> u64 {
        self.words[word].load(SeqCst)
    }
    fn store(&self, word: usize, value: u64) {
        self.words[word].store(value, SeqCst);
    }
    fn count(&self, word: usize) -> u64 {
        self.words[word].fetch_add(1, SeqCst)
    }
    fn raise(&self, word: usize, value: u64) {
        self.words[word].fetch_max(value, SeqCst);
    }
    fn spin(&self, is_so: &dyn Fn() -> bool) {
        for _ in 0..3 {
            if is_so() {
                return;
            }
            thread::yield_now();
        }
    }
    fn sleep_while(&self, counter: usize, seen: u32, _: Duration) -> bool {
        let queue = self.queue.lock().unwrap();
        if self.load(counter) as u32 == seen {
            drop(self.bell.wait(queue).unwrap());
        }
        false
    }
    fn wake(&self, _: usize) {
        let _queue = self.queue.lock().unwrap();
        self.bell.notify_all();
    }
}

/// Where the leaders of nodes meet.
struct Leaders {
    nodes: usize,
    round: Mutex<(u64, usize, [u64; 2], [u64; 2])>,
    bell: Condvar,
}

impl Leaders {
    fn max(&self, pair: [u64; 2]) -> [u64; 2] {
        let mut round = self.round.lock().unwrap();
        let number = round.0;
        round.1 += 1;
        round.2 = [round.2[0].max(pair[0]), round.2[1].max(pair[1])];
        if round.1 == self.nodes {
            *round = (number + 1, 0, [0, 0], round.2);
            self.bell.notify_all();
        }
        while round.0 == number {
            round = self.bell.wait(round).unwrap();
        }
        round.3
    }
}

/// What a rank brings: a failure of one rank in the second meeting, and a word.
fn brought(rank: usize, number: u64) -> [u64; 2] {
    let failed = rank == 1 && number == 1;
    [u64::from(failed), (7 * rank as u64 + 5 * number) % 11]
}

/// All meetings of a job under the current schedule.
fn job(node_of_rank: &[usize], spins: bool, start: u32) {
    let nodes = node_of_rank.iter().max().unwrap() + 1;
    let words: Vec<_> = (0..nodes).map(|_| Arc::new(Explored::new())).collect();
    for node in &words {
        for counter in [super::COMPLETE, super::OPENED] {
            node.store(counter, u64::from(start));
        }
    }
    let leaders = Arc::new(Leaders {
        nodes,
        round: Mutex::new((0, 0, [0, 0], [0, 0])),
        bell: Condvar::new(),
    });
    let begun = Arc::new(AtomicU64::new(0));
    let size = node_of_rank.len();
    let rank = |rank: usize| {
        let node = node_of_rank[rank];
        let seat = Seat {
            local_rank: node_of_rank[..rank].iter().filter(|n| **n == node).count(),
            local_size: node_of_rank.iter().filter(|n| **n == node).count(),
            nodes,
            spins,
        };
        let (words, leaders, begun) = (words[node].clone(), leaders.clone(), begun.clone());
        thread::spawn(move || {
            for number in 0..MEETINGS {
                begun.fetch_add(1, SeqCst);
                let before = start.wrapping_add(number as u32);
                let over_nodes = |pair| leaders.max(pair);
                let max = meet(
                    &words,
                    seat,
                    before,
                    brought(rank, number),
                    over_nodes,
                    &|| {},
                );
                // Nobody leaves before all have come.
                let seen = begun.load(SeqCst);
                assert!(
                    seen >= (number + 1) * size as u64,
                    "rank {rank} left meeting {number}"
                );
                let all = (0..size).map(|rank| brought(rank, number));
                let expected = all.reduce(|a, b| [a[0].max(b[0]), a[1].max(b[1])]);
                assert_eq!(Some(max), expected, "rank {rank}, meeting {number}");
            }
        })
    };
    let ranks: Vec<_> = (0..size).map(rank).collect();
    for rank in ranks {
        rank.join().unwrap();
    }
}

#[test]
fn ranks_meet_in_every_order_of_their_steps() {
    for nodes in [&[0, 0][..], &[0, 0, 0], &[0, 0, 1], &[0, 1, 0, 1]] {
        for spins in [false, true] {
            let run = move || job(nodes, spins, 0);
            shuttle::check_random(run, SCHEDULES / 4);
            shuttle::check_pct(run, SCHEDULES / 4, 3);
        }
    }
}

#[test]
fn the_count_of_meetings_wraps_in_every_order_of_steps() {
    shuttle::check_random(|| job(&[0, 0, 1], false, u32::MAX - 1), SCHEDULES / 4);
}
