//! The window and the reader threads' walk through an epoch, in many orders of their steps, against what one thread would
//! do.

use std::path::PathBuf;
use std::sync::Arc;

use proptest::prelude::*;
use shuttle::sync::Mutex;
use shuttle::thread;

use super::walk::{self, Cursor};
use super::window::{Readers, Window};
use super::{LoaderError, Place, Unit, Work};
use crate::format::Checker;
use crate::plan::Run;
use crate::stage::Parts;
use crate::storage::Lane;

/// An epoch: how it is read, and where a read fails or the consumer gives up.
#[derive(Debug, Clone)]
struct Case {
    unit: Unit,
    threads: usize,
    window: usize,
    /// Runs of each batch.
    batches: Vec<u64>,
    /// The run that fails.
    fails: Option<(u64, u64)>,
    /// Batches that are taken before the consumer stops.
    taken: u64,
}

struct Plan(Vec<u64>);

fn hash_of(batch: u64) -> u64 {
    batch.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 5
}

impl Work for Plan {
    fn batches(&self) -> u64 {
        self.0.len() as u64
    }
    fn batch(&self, batch: u64, out: &mut Vec<Run>) {
        out.extend((0..self.0[batch as usize]).map(|first| Run {
            file: batch,
            first,
            count: 1,
        }));
    }
    fn step_hash(&self, batch: u64, runs: &[Run]) -> u64 {
        assert_eq!(runs.len() as u64, self.0[batch as usize]);
        hash_of(batch)
    }
    fn path_of(&self, _: &Run, _: &mut PathBuf) {}
    fn planned_len(&self, _: &Run) -> u64 {
        0
    }
    fn locate(&self, _: &Run, _: &mut Place, _: &mut Lane) -> Result<(), LoaderError> {
        Ok(())
    }
    fn checker(&self) -> Option<Box<dyn Checker>> {
        None
    }
    fn begin(&self, _: &mut dyn Checker, _: &Run, _: &Place, _: u64) -> Result<(), LoaderError> {
        Ok(())
    }
    fn preprocess_ns(&self, _: usize) -> u64 {
        0
    }
}

/// What was read and what was released, in the order of the schedule.
#[derive(Default)]
struct Seen {
    reads: Vec<(u64, u64)>,
    released: u64,
    asked: u64,
}

/// Runs one epoch under the current schedule and compares it with the model.
fn epoch(case: &Case) {
    let plan = Arc::new(Plan(case.batches.clone()));
    let window = Arc::new(Window::new(
        case.window,
        plan.batches(),
        Readers::threads(case.threads),
    ));
    let cursor = Arc::new(Cursor::default());
    let seen = Arc::new(Mutex::new(Seen::default()));
    let readers: Vec<_> = (0..case.threads)
        .map(|index| {
            let (plan, window, cursor, seen) =
                (plan.clone(), window.clone(), cursor.clone(), seen.clone());
            let case = case.clone();
            thread::spawn(move || {
                let read: walk::Read = &mut |run| {
                    let mut seen = seen.lock().unwrap();
                    // No further ahead of the consumer than the window.
                    let ahead = match case.window as u64 {
                        0 => seen.asked,
                        window => seen.released + window,
                    };
                    assert!(run.file < ahead, "batch {} begun at {ahead}", run.file);
                    seen.reads.push((run.file, run.first));
                    drop(seen);
                    thread::yield_now();
                    if case.fails == Some((run.file, run.first)) {
                        return Err(LoaderError::OpenFiles("planned".into()));
                    }
                    Ok(Parts::default())
                };
                let outcome = match case.unit {
                    Unit::Batch => {
                        walk::batches(&window, &*plan, index as u64, case.threads as u64, read)
                    }
                    Unit::Run => walk::runs(&window, &*plan, &cursor, read),
                };
                if let Err(error) = outcome {
                    window.fail(error);
                }
            })
        })
        .collect();

    let mut failed = false;
    for batch in 0..case.taken.min(plan.batches()) {
        seen.lock().unwrap().asked = batch + 1;
        match window.take(batch) {
            Ok(taken) => assert_eq!(taken.hash, hash_of(batch)),
            Err(_) => {
                failed = true;
                break;
            }
        }
        // Before the readers may know of it.
        seen.lock().unwrap().released = batch + 1;
        window.release(batch);
    }
    window.stop();
    readers
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
    failed |= window.take_failure().is_some();

    // The model: one thread reads every run of every batch once, in order, up to a failure or where it is stopped.
    let mut seen = std::mem::take(&mut *seen.lock().unwrap());
    seen.reads.sort_unstable();
    let all: Vec<(u64, u64)> = (0..plan.batches())
        .flat_map(|batch| (0..case.batches[batch as usize]).map(move |run| (batch, run)))
        .collect();
    assert!(
        seen.reads.windows(2).all(|pair| pair[0] != pair[1]),
        "read twice"
    );
    assert!(seen.reads.iter().all(|read| all.contains(read)));
    let complete: Vec<_> = all.iter().filter(|read| read.0 < seen.released).collect();
    assert!(
        complete.iter().all(|read| seen.reads.contains(read)),
        "taken unread"
    );
    if case.fails.is_none() {
        assert!(!failed);
        assert_eq!(seen.released, case.taken.min(plan.batches()));
    } else if case.taken >= plan.batches() {
        assert!(failed, "a failed read went unseen");
    }
}

fn cases() -> impl Strategy<Value = Case> {
    let unit = prop_oneof![Just(Unit::Batch), Just(Unit::Run)];
    let batches = prop::collection::vec(0..4_u64, 0..7);
    (
        unit,
        1..4_usize,
        0..5_usize,
        batches,
        0..9_u64,
        any::<prop::sample::Index>(),
        any::<bool>(),
    )
        .prop_map(|(unit, threads, window, batches, taken, which, may_fail)| {
            let runs: Vec<(u64, u64)> = (0_u64..)
                .zip(&batches)
                .flat_map(|(batch, &n)| (0..n).map(move |run| (batch, run)))
                .collect();
            let fails = (may_fail && !runs.is_empty()).then(|| runs[which.index(runs.len())]);
            Case {
                unit,
                threads,
                window,
                batches,
                fails,
                taken,
            }
        })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Shapes, lengths, failures and stops at random, each in schedules at random.
    #[test]
    fn every_schedule_reads_what_one_thread_reads(case in cases()) {
        shuttle::check_random(move || epoch(&case), 40);
    }
}

/// Two threads whose tasks make batches ready, and show them later, when some are. `count` batches, of one run each.
fn shown_later(count: u64) {
    let window = Arc::new(Window::new(
        count as usize,
        count,
        Readers::Tasks {
            bells: Vec::new(),
            gathers: true,
        },
    ));
    let readers: Vec<_> = (0..2)
        .map(|first| {
            let window = window.clone();
            thread::spawn(move || {
                for batch in (first..count).step_by(2) {
                    window.open(batch, 1, hash_of(batch));
                    window.done(batch, 1, &Parts::default(), batch);
                    if batch % 3 == 0 {
                        window.show();
                    }
                }
                window.show();
            })
        })
        .collect();
    for batch in 0..count {
        assert_eq!(window.take(batch).unwrap().hash, hash_of(batch));
        window.release(batch);
    }
    readers
        .into_iter()
        .for_each(|reader| reader.join().unwrap());
}

#[test]
fn batches_that_are_shown_together_are_all_seen() {
    shuttle::check_random(|| shown_later(7), 2000);
    shuttle::check_pct(|| shown_later(5), 2000, 3);
}

/// The shapes of the loaders at their narrowest, in more schedules, by a scheduler that prefers few switches.
#[test]
fn the_narrowest_windows_neither_hang_nor_run_ahead() {
    for (unit, threads, window) in [
        (Unit::Batch, 2, 0),
        (Unit::Batch, 2, 2),
        (Unit::Batch, 3, 1),
        (Unit::Run, 2, 1),
        (Unit::Run, 3, 2),
    ] {
        let case = Case {
            unit,
            threads,
            window,
            batches: vec![2, 1, 0, 3, 1],
            fails: None,
            taken: 5,
        };
        shuttle::check_pct(move || epoch(&case), 300, 4);
    }
}
