//! Who hears of events.

use std::sync::Arc;

use parking_lot::Mutex;

use super::recording::EventRecorder;
use crate::clock::thread_cpu_ns;
use crate::loader::Activity;
use crate::report::event_file::RunId;
use crate::report::{Event, Listener};

/// The listeners, for any thread.
#[derive(Clone, Default)]
pub(super) struct Listeners {
    list: Arc<Mutex<Vec<Box<dyn Listener + Send>>>>,
    /// The page of the main thread.
    activity: Option<Activity>,
}

impl Listeners {
    /// Tells all, one event at a time; from the main thread.
    fn tell(&self, event: &Event) {
        let mut list = self.list.try_lock().unwrap_or_else(|| {
            // The other thread waits for a reader of its output, and so does this one.
            if let Some(activity) = self.activity {
                activity.busy_until(u64::MAX);
            }
            let list = self.list.lock();
            if let Some(activity) = self.activity {
                activity.busy_until(0);
                activity.moved();
            }
            list
        });
        list.iter_mut().for_each(|listener| listener.on(event));
    }

    /// The same from another thread, unless the main thread is about to tell something.
    pub(super) fn tell_if_free(&self, event: &Event) {
        if let Some(mut list) = self.list.try_lock() {
            list.iter_mut().for_each(|listener| listener.on(event));
        }
    }
}

/// Rank 0's listeners; other ranks have none. Remembers every warning for the report.
#[derive(Default)]
pub struct Events {
    listeners: Listeners,
    /// Which run, in every line of its events.
    pub(super) run: RunId,
    /// Keeps events for the recording over time.
    pub(super) recorder: Option<EventRecorder>,
    /// Each once, in order.
    pub warnings: Vec<String>,
    /// CPU time that the listeners took, ns.
    pub cpu_ns: u64,
}

impl Events {
    /// Of a rank with this page.
    pub(super) fn new(activity: Activity) -> Self {
        Events {
            listeners: Listeners {
                activity: Some(activity),
                ..Listeners::default()
            },
            run: RunId::new(),
            ..Events::default()
        }
    }

    /// The listeners, for another thread.
    pub(super) fn listeners(&self) -> Listeners {
        self.listeners.clone()
    }

    pub fn listen(&mut self, listener: Box<dyn Listener + Send>) {
        self.listeners.list.lock().push(listener);
    }

    /// Tells all listeners. A warning that was given before is not repeated.
    pub fn emit(&mut self, event: Event) {
        if let Event::Warning(text) = &event {
            if self.warnings.contains(text) {
                return;
            }
            self.warnings.push(text.clone());
        }
        let before = thread_cpu_ns();
        if let Some(recorder) = &mut self.recorder {
            recorder.on(&event);
        }
        self.listeners.tell(&event);
        self.cpu_ns += thread_cpu_ns() - before;
    }
}
