//! The threads that send parts: a bounded number of parts of all uploads of a rank is on its way at one time.
//!
//! A part is sent from the memory in which it was collected; its upload goes on in a spare one. So an upload holds the memory of
//! one part, and all of them together share that of as many as may be out.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;

use parking_lot::{Condvar, Mutex};

use super::collected::Collected;
use super::spare::Spare;

/// Sends one part and gives its memory back.
type Job = Box<dyn FnOnce() -> Collected + Send>;

/// The threads, started when they are needed.
pub(super) struct Senders {
    shared: Arc<Shared>,
    limit: usize,
}

struct Shared {
    state: Mutex<State>,
    /// There is a job, or no more will come.
    work: Condvar,
    /// A part has arrived.
    arrived: Condvar,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    threads: usize,
    idle: usize,
    /// Places taken.
    out: usize,
    spare: Spare,
    is_over: bool,
}

impl Senders {
    /// `limit`: parts on their way at one time.
    pub(super) fn new(limit: usize) -> Self {
        Senders {
            shared: Arc::new(Shared {
                state: Mutex::default(),
                work: Condvar::new(),
                arrived: Condvar::new(),
            }),
            limit: limit.max(1),
        }
    }

    /// What earlier parts left.
    pub(super) fn spare<T>(&self, take: impl FnOnce(&mut Spare) -> T) -> T {
        take(&mut self.shared.state.lock().spare)
    }

    /// Takes a place, waiting while all are taken. Must be followed by [`Senders::start`].
    pub(super) fn enter(&self) {
        let mut state = self.shared.state.lock();
        while state.out >= self.limit {
            self.shared.arrived.wait(&mut state);
        }
        state.out += 1;
    }

    /// Sends a part in another thread; in this one where none can be started.
    pub(super) fn start(&self, job: Job) {
        let mut state = self.shared.state.lock();
        state.jobs.push_back(job);
        if state.idle < state.jobs.len() {
            let shared = self.shared.clone();
            let started = thread::Builder::new()
                .name("part-sender".into())
                .spawn(move || shared.serve());
            match started {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads == 0 => {
                    drop(state);
                    self.shared.run_one();
                    return;
                }
                // The threads that there are will come to it.
                Err(_) => {}
            }
        }
        drop(state);
        self.shared.work.notify_one();
    }
}

impl Drop for Senders {
    fn drop(&mut self) {
        self.shared.state.lock().is_over = true;
        self.shared.work.notify_all();
    }
}

impl Shared {
    fn serve(&self) {
        let mut state = self.state.lock();
        state.idle += 1;
        loop {
            while state.jobs.is_empty() {
                if state.is_over {
                    return;
                }
                self.work.wait(&mut state);
            }
            let Some(job) = state.jobs.pop_front() else {
                continue;
            };
            state.idle -= 1;
            drop(state);
            let part = job();
            state = self.state.lock();
            // Idle and its place free at once: nobody starts a further thread in between.
            state.idle += 1;
            self.give_back(&mut state, part);
        }
    }

    /// Does the next job in the calling thread.
    fn run_one(&self) {
        let Some(job) = self.state.lock().jobs.pop_front() else {
            return;
        };
        let part = job();
        self.give_back(&mut self.state.lock(), part);
    }

    fn give_back(&self, state: &mut State, part: Collected) {
        part.into_spare(&mut state.spare);
        state.out -= 1;
        self.arrived.notify_one();
    }
}
