//! What happened when.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Events in order of their beginning, at most 4,096.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EventLog {
    /// Those that were kept.
    pub events: Vec<Event>,
    /// How many more there were, by kind.
    pub dropped: BTreeMap<String, u64>,
}

/// One event, as rank 0 saw it unless its fields name another rank.
///
/// | Kind | Lasts | Fields |
/// |---|---|---|
/// | `generation` | yes | `files_written`, `files_skipped`, `bytes` |
/// | `epoch` | yes | `epoch`, `steps` |
/// | `evaluation` | yes | `epoch`, `steps` |
/// | `checkpoint_save`, `checkpoint_load` | yes | `epoch`, `number`, `step` |
/// | `cache_drop` | yes | `epoch` |
/// | `long_wait` | yes | `wait_s` (longest), `ranks` (how many waited), `rank`, `host`, `epoch`, `step`, `file` of the longest |
/// | `retries` | no | one field per class of error: requests repeated in the epoch |
/// | `endpoints` | no | `before`, `after`: lists of addresses |
/// | `throttled` | no | `host`, `throttled_s`: time for which the CPU limit held the job back in the epoch |
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
    /// What it is.
    pub kind: String,
    /// One line for people.
    pub text: String,
    /// Its facts.
    pub fields: Map<String, Value>,
}
