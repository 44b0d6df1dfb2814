//! A job whose ranks are threads of one process: collectives are tested without MPI.
//!
//! A rank that panics ends the others where they wait, as a launcher would, and ranks that meet in different collectives
//! panic.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Condvar, Mutex};

use super::Cluster;

/// What one rank brings to a collective: a part for each rank, or one for all.
type Parts = Vec<Vec<u8>>;

/// Where a number of threads exchange what they bring.
struct Table {
    seats: usize,
    round: Mutex<Round>,
    bell: Condvar,
}

#[derive(Default)]
struct Round {
    number: u64,
    brought: Vec<Option<(&'static str, Parts)>>,
    /// What was brought to the last round, until the next one is complete.
    all: Vec<Parts>,
    /// A rank has ended early.
    is_broken: bool,
}

impl Table {
    fn new(seats: usize) -> Self {
        let round = Round {
            brought: vec![None; seats],
            ..Round::default()
        };
        Table {
            seats,
            round: Mutex::new(round),
            bell: Condvar::new(),
        }
    }

    /// Brings `parts` to the collective `what`; returns what all brought.
    fn exchange(&self, seat: usize, what: &'static str, parts: Parts) -> Vec<Parts> {
        let mut round = self.round.lock().unwrap();
        let number = round.number;
        assert!(round.brought[seat].is_none(), "one seat is taken twice");
        round.brought[seat] = Some((what, parts));
        if round.brought.iter().all(Option::is_some) {
            let brought = std::mem::replace(&mut round.brought, vec![None; self.seats]);
            let (names, all): (Vec<_>, Vec<_>) = brought.into_iter().flatten().unzip();
            if names.iter().any(|name| *name != what) {
                round.is_broken = true;
            }
            round.all = all;
            round.number += 1;
            self.bell.notify_all();
            assert!(!round.is_broken, "ranks meet in different calls: {names:?}");
            return round.all.clone();
        }
        while round.number == number && !round.is_broken {
            round = self.bell.wait(round).unwrap();
        }
        let is_broken = round.is_broken;
        let all = round.all.clone();
        // Not poisoned: the others have to find out as well.
        drop(round);
        assert!(!is_broken, "another rank has ended");
        all
    }

    fn break_up(&self) {
        let mut round = self.round.lock().unwrap_or_else(|e| e.into_inner());
        round.is_broken = true;
        self.bell.notify_all();
    }

    fn is_broken(&self) -> bool {
        let round = self.round.lock();
        round.unwrap_or_else(|e| e.into_inner()).is_broken
    }
}

/// What the ranks of a job share.
struct Job {
    node_of_rank: Vec<usize>,
    host_names: Vec<String>,
    world: Table,
    leaders: Table,
    /// Bytes of the largest gather.
    largest_gather: AtomicU64,
    /// The words made last, by node.
    words: Mutex<HashMap<usize, &'static [AtomicU64]>>,
    /// The jobs of the last split, by color.
    parts: Mutex<HashMap<u16, &'static Job>>,
    /// All jobs that were split off.
    children: Mutex<Vec<&'static Job>>,
}

impl Job {
    /// `node_of_rank` numbers nodes by their lowest rank.
    fn new(node_of_rank: Vec<usize>, host_names: Vec<String>) -> Job {
        Job {
            world: Table::new(node_of_rank.len()),
            leaders: Table::new(host_names.len()),
            node_of_rank,
            host_names,
            largest_gather: AtomicU64::new(0),
            words: Mutex::default(),
            parts: Mutex::default(),
            children: Mutex::default(),
        }
    }

    fn of(&self, ranks: &[usize]) -> Job {
        let mut nodes = Vec::new();
        let mut node_of_rank = Vec::new();
        for &rank in ranks {
            let node = self.node_of_rank[rank];
            let at = nodes.iter().position(|&n| n == node);
            node_of_rank.push(at.unwrap_or_else(|| {
                nodes.push(node);
                nodes.len() - 1
            }));
        }
        let name = |&node: &usize| self.host_names[node].clone();
        Job::new(node_of_rank, nodes.iter().map(name).collect())
    }

    fn break_up(&self) {
        self.world.break_up();
        self.leaders.break_up();
        let children = self.children.lock().unwrap_or_else(|e| e.into_inner());
        for child in children.iter() {
            child.break_up();
        }
    }
}

/// One rank of a job of threads.
pub(crate) struct Threads<'a> {
    job: &'a Job,
    rank: usize,
}

/// Breaks the job up when a rank's thread panics.
struct Member<'a>(&'a Job);

impl Drop for Member<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.break_up();
        }
    }
}

/// Runs `rank` as every rank of a job; `node_of_rank` numbers nodes by their lowest rank. Returns what each made, in rank
/// order; a rank that panicked: None.
pub(crate) fn try_run<T: Send>(
    node_of_rank: &[usize],
    rank: impl Fn(&Threads) -> T + Sync,
) -> Vec<Option<T>> {
    let nodes = node_of_rank.iter().max().map_or(0, |last| last + 1);
    let names = (0..nodes).map(|n| format!("node{n}")).collect();
    let job = Job::new(node_of_rank.to_vec(), names);
    std::thread::scope(|scope| {
        let one = |at: usize| {
            let (job, rank) = (&job, &rank);
            scope.spawn(move || {
                let _member = Member(job);
                rank(&Threads { job, rank: at })
            })
        };
        let threads: Vec<_> = (0..node_of_rank.len()).map(one).collect();
        threads.into_iter().map(|t| t.join().ok()).collect()
    })
}

/// The same, where no rank may panic.
pub(crate) fn run<T: Send>(node_of_rank: &[usize], rank: impl Fn(&Threads) -> T + Sync) -> Vec<T> {
    let made = try_run(node_of_rank, rank);
    assert!(made.iter().all(Option::is_some), "a rank panicked");
    made.into_iter().flatten().collect()
}

fn to_bytes<T: Copy>(values: &[T], word: impl Fn(T) -> u64) -> Parts {
    let words = values.iter().map(|&value| word(value).to_le_bytes());
    vec![words.collect::<Vec<_>>().concat()]
}

fn words(parts: &Parts) -> impl Iterator<Item = u64> {
    let words = parts[0].as_chunks::<8>().0.iter();
    words.map(|word| u64::from_le_bytes(*word))
}

impl Threads<'_> {
    /// Bytes that were gathered at once, at most.
    pub(crate) fn largest_gather(&self) -> u64 {
        self.job.largest_gather.load(Relaxed)
    }

    fn exchange(&self, what: &'static str, parts: Parts) -> Vec<Parts> {
        self.job.world.exchange(self.rank, what, parts)
    }

    fn fold(&self, what: &'static str, values: &mut [u64], both: impl Fn(u64, u64) -> u64) {
        let all = self.exchange(what, to_bytes(values, |v| v));
        fold(&all, values, both);
    }
}

fn fold(all: &[Parts], into: &mut [u64], both: impl Fn(u64, u64) -> u64) {
    into.copy_from_slice(&words(&all[0]).collect::<Vec<_>>());
    for other in &all[1..] {
        assert_eq!(
            other[0].len(),
            into.len() * 8,
            "ranks bring unequal lengths"
        );
        for (value, word) in into.iter_mut().zip(words(other)) {
            *value = both(*value, word);
        }
    }
}

impl Cluster for Threads<'_> {
    fn rank(&self) -> usize {
        self.rank
    }
    fn size(&self) -> usize {
        self.job.node_of_rank.len()
    }
    fn local_rank(&self) -> usize {
        let nodes = self.node_of_rank();
        let before = nodes[..self.rank].iter();
        before.filter(|node| **node == nodes[self.rank]).count()
    }
    fn local_size(&self) -> usize {
        let nodes = self.node_of_rank();
        let same = nodes.iter().filter(|node| **node == nodes[self.rank]);
        same.count()
    }
    fn node_of_rank(&self) -> &[usize] {
        &self.job.node_of_rank
    }
    fn host_names(&self) -> &[String] {
        &self.job.host_names
    }
    fn library(&self) -> &str {
        "threads"
    }
    fn barrier(&self) {
        self.exchange("barrier", Parts::new());
    }
    fn broadcast(&self, bytes: &mut Vec<u8>) {
        let mut all = self.exchange("broadcast", vec![bytes.clone()]);
        *bytes = all.swap_remove(0).swap_remove(0);
    }
    fn sum_u64(&self, values: &mut [u64]) {
        self.fold("sum_u64", values, u64::wrapping_add);
    }
    fn min_u64(&self, values: &mut [u64]) {
        self.fold("min_u64", values, u64::min);
    }
    fn max_u64(&self, values: &mut [u64]) {
        self.fold("max_u64", values, u64::max);
    }
    fn sum_f64(&self, values: &mut [f64]) {
        let all = self.exchange("sum_f64", to_bytes(values, f64::to_bits));
        values.fill(0.0);
        for parts in &all {
            for (value, word) in values.iter_mut().zip(words(parts)) {
                *value += f64::from_bits(word);
            }
        }
    }
    fn gather(&self, bytes: &[u8]) -> Option<Vec<Vec<u8>>> {
        let all = self.exchange("gather", vec![bytes.to_vec()]);
        let sum = all.iter().flatten().map(|part| part.len() as u64).sum();
        self.job.largest_gather.fetch_max(sum, Relaxed);
        (self.rank == 0).then(|| all.into_iter().flatten().collect())
    }
    fn all_to_all(&self, parts: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
        assert_eq!(parts.len(), self.size(), "a part for each rank");
        let all = self.exchange("all_to_all", parts);
        all.into_iter()
            .map(|mut parts| parts.swap_remove(self.rank))
            .collect()
    }
    fn max_pair(&self, mut pair: [u64; 2]) -> [u64; 2] {
        self.fold("max_pair", &mut pair, u64::max);
        pair
    }
    fn max_u64_patiently(&self, value: u64) -> u64 {
        let mut values = [value];
        self.fold("max_u64_patiently", &mut values, u64::max);
        values[0]
    }
    fn leaders_max(&self, mut pair: [u64; 2], _: bool) -> [u64; 2] {
        assert_eq!(self.local_rank(), 0, "only leaders meet here");
        let node = self.node_of_rank()[self.rank];
        let parts = to_bytes(&pair, |v| v);
        let all = self.job.leaders.exchange(node, "leaders_max", parts);
        fold(&all, &mut pair, u64::max);
        pair
    }
    fn progress(&self) {
        assert!(!self.job.world.is_broken(), "another rank has ended");
    }
    fn node_shared(&self, words: usize) -> &'static [AtomicU64] {
        let node = self.node_of_rank()[self.rank];
        if self.local_rank() == 0 {
            let fresh = (0..words).map(|_| AtomicU64::new(0)).collect::<Vec<_>>();
            self.job.words.lock().unwrap().insert(node, fresh.leak());
        }
        self.exchange("node_shared", Parts::new());
        let made = self.job.words.lock().unwrap()[&node];
        self.exchange("node_shared", Parts::new());
        assert_eq!(made.len(), words, "ranks of a node ask for unequal lengths");
        made
    }
    fn split(&self, color: Option<u16>) -> Option<Box<dyn Cluster + '_>> {
        let word = color.map_or(u64::MAX, u64::from);
        let all = self.exchange("split", to_bytes(&[word], |v| v));
        let same = (all.iter().enumerate())
            .filter(|(_, parts)| words(parts).next() == Some(word))
            .map(|(rank, _)| rank);
        let ranks: Vec<usize> = same.collect();
        let at = ranks.iter().position(|&rank| rank == self.rank)?;
        if let (Some(color), 0) = (color, at) {
            // As long as the process lives: this is for tests.
            let part: &'static Job = Box::leak(Box::new(self.job.of(&ranks)));
            self.job.children.lock().unwrap().push(part);
            self.job.parts.lock().unwrap().insert(color, part);
        }
        self.exchange("split", Parts::new());
        let job = color.map(|color| self.job.parts.lock().unwrap()[&color]);
        self.exchange("split", Parts::new());
        Some(Box::new(Threads {
            job: job?,
            rank: at,
        }))
    }
}
