//! What a reader thread takes next: whole batches of its own, or single runs in order.

use super::sync::Mutex;
use super::window::Window;
use super::{LoaderError, Work};
use crate::plan::Run;
use crate::stage::Parts;

/// Reads one run of samples; returns what the time went to.
pub(super) type Read<'a> = &'a mut dyn FnMut(&Run) -> Result<Parts, LoaderError>;

/// Reads every `step`-th batch from `first` on.
pub(super) fn batches(
    window: &Window,
    work: &dyn Work,
    first: u64,
    step: u64,
    read: Read,
) -> Result<(), LoaderError> {
    let mut runs = Vec::new();
    let mut batch = first;
    while batch < window.batches() && window.may_begin(batch) {
        runs.clear();
        work.batch(batch, &mut runs);
        window.open(batch, runs.len(), work.step_hash(batch, &runs));
        let mut parts = Parts::default();
        let mut slowest = (0, 0);
        for run in &runs {
            if window.is_stopped() {
                return Ok(());
            }
            let took = read(run)?;
            slowest = slowest.max((took.total(), work.number_of(run)));
            parts.add(&took);
        }
        if !runs.is_empty() {
            window.done(batch, runs.len(), &parts, slowest.1);
        }
        batch += step;
    }
    Ok(())
}

/// The next run to be taken, by whichever thread is free.
#[derive(Default)]
pub(super) struct Cursor(Mutex<Next>);

#[derive(Default)]
struct Next {
    batch: u64,
    runs: Vec<Run>,
    at: usize,
    opened: bool,
}

impl Cursor {
    /// The next run and its batch; None after the last and when the epoch was stopped.
    fn take(&self, window: &Window, work: &dyn Work) -> Option<(u64, Run)> {
        loop {
            let mut guard = self.0.lock();
            let next = &mut *guard;
            if next.opened && next.at < next.runs.len() {
                next.at += 1;
                return Some((next.batch, next.runs[next.at - 1]));
            }
            if next.opened {
                next.batch += 1;
                next.opened = false;
            }
            // A task gives the lock back before it waits, since the others of its thread may ask for it.
            if !window.waits_alone() && !window.is_open(next.batch) {
                let batch = next.batch;
                drop(guard);
                if batch >= window.batches() || !window.may_begin(batch) {
                    return None;
                }
                continue;
            }
            // Held while waiting: the others could not take anything before this batch either.
            if next.batch >= window.batches() || !window.may_begin(next.batch) {
                return None;
            }
            next.runs.clear();
            work.batch(next.batch, &mut next.runs);
            next.at = 0;
            next.opened = true;
            let hash = work.step_hash(next.batch, &next.runs);
            window.open(next.batch, next.runs.len(), hash);
        }
    }
}

/// Reads runs until there are none.
pub(super) fn runs(
    window: &Window,
    work: &dyn Work,
    cursor: &Cursor,
    read: Read,
) -> Result<(), LoaderError> {
    while let Some((batch, run)) = cursor.take(window, work) {
        if window.is_stopped() {
            return Ok(());
        }
        let parts = read(&run)?;
        window.done(batch, 1, &parts, work.number_of(&run));
    }
    Ok(())
}
