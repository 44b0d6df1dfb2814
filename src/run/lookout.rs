//! A thread beside the job that looks at something now and then.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A running thread, or none; it ends when this is dropped.
pub struct Lookout {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Lookout {
    /// Calls `look` once in every `pause`. Where no thread can be started nothing is looked at.
    pub(super) fn start(
        name: &str,
        pause: Duration,
        mut look: impl FnMut() + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let run = move || {
            loop {
                std::thread::park_timeout(pause);
                if stopped.load(Ordering::Relaxed) {
                    return;
                }
                look();
            }
        };
        let thread = std::thread::Builder::new().name(name.into()).spawn(run);
        Lookout {
            stop,
            thread: thread.ok(),
        }
    }
}

impl Drop for Lookout {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}
