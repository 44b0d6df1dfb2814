//! Who is told what happens.

use super::recording::EventRecorder;
use crate::clock::thread_cpu_ns;
use crate::report::{Event, Listener};

/// Rank 0's listeners; other ranks have none. Remembers every warning for the report.
#[derive(Default)]
pub struct Events {
    listeners: Vec<Box<dyn Listener>>,
    /// Keeps events for the recording over time.
    pub(super) recorder: Option<EventRecorder>,
    /// Each once, in order.
    pub warnings: Vec<String>,
    /// CPU time that the listeners took, ns.
    pub cpu_ns: u64,
}

impl Events {
    /// Adds a listener.
    pub fn listen(&mut self, listener: Box<dyn Listener>) {
        self.listeners.push(listener);
    }

    /// Tells all listeners. A warning that was given before is not repeated.
    pub fn emit(&mut self, event: Event) {
        if let Event::Warning(text) = &event {
            if self.warnings.contains(text) {
                return;
            }
            self.warnings.push(text.clone());
        }
        if self.listeners.is_empty() && self.recorder.is_none() {
            return;
        }
        let before = thread_cpu_ns();
        if let Some(recorder) = &mut self.recorder {
            recorder.on(&event);
        }
        for listener in &mut self.listeners {
            listener.on(&event);
        }
        self.cpu_ns += thread_cpu_ns() - before;
    }
}
