//! What happened when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Events in order of their beginning, at most 4,096.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventLog {
    pub events: Vec<Event>,
    /// How many more there were, by kind.
    pub dropped: BTreeMap<String, u64>,
}

/// Events that are kept.
const EVENTS: usize = 4_096;

impl EventLog {
    /// Keeps an event in order, or counts it where there are too many.
    pub fn push(&mut self, event: Event) {
        if self.events.len() >= EVENTS {
            *self.dropped.entry(event.kind).or_default() += 1;
            return;
        }
        let at = self.events.partition_point(|e| e.at_ns <= event.at_ns);
        self.events.insert(at, event);
    }
}

impl EventLog {
    /// Adds all of another one.
    pub fn extend(&mut self, other: EventLog) {
        other.events.into_iter().for_each(|event| self.push(event));
        for (kind, n) in other.dropped {
            *self.dropped.entry(kind).or_default() += n;
        }
    }
}

/// One event, as rank 0 saw it unless its fields name a rank or a host.
///
/// | Kind | Lasts | Fields |
/// |---|---|---|
/// | `generation` | yes | `files_written`, `files_skipped`, `bytes` |
/// | `epoch` | yes | `epoch`, `steps` |
/// | `evaluation` | yes | `epoch`, `steps` |
/// | `checkpoint_save`, `checkpoint_load` | yes | `epoch`, `number`, `step` |
/// | `cache_drop` | yes | `epoch` |
/// | `long_wait` | yes | `wait_s` (longest), `ranks` (how many waited), `rank`, `host`, `epoch`, `step`, `file` of the longest |
/// | `retries` | yes | one field per class of failure: requests of all ranks that were repeated |
/// | `endpoint_down` | yes | `url`, `times`: an endpoint of the object store that was taken out, and how often; `ranks` (how many took it out), `rank`, `host` of the one that did so most often |
/// | `throttled` | yes | `throttled_s`: time for which the CPU limit held `host` back, the one that was held longest; `hosts` (how many were) |
/// | `warning`, `info` | no | none |
///
/// Readers must accept kinds and fields that they do not know.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// When it began, offset in ns.
    pub at_ns: u64,
    /// When it ended, offset in ns; None for what has no duration.
    pub until_ns: Option<u64>,
    pub kind: String,
    /// One line for people.
    pub text: String,
    pub fields: Map<String, Value>,
}
