//! Who is told what happens.

use crate::clock::thread_cpu_ns;
use crate::report::{Event, Listener};

/// Rank 0's listeners; other ranks have none. Remembers every warning for the report.
#[derive(Default)]
pub struct Events {
    listeners: Vec<Box<dyn Listener>>,
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
        if self.listeners.is_empty() {
            return;
        }
        let before = thread_cpu_ns();
        for listener in &mut self.listeners {
            listener.on(&event);
        }
        self.cpu_ns += thread_cpu_ns() - before;
    }
}
