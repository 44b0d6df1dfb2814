//! Events as JSON lines: `--json` on the standard output, and `events.jsonl` beside `report.json`.

use std::io::Write;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::{Value, json};

use super::event::{Event, Listener};
use crate::clock::now_ns;
use crate::interrupt::say;

/// Name of the file within a folder of results.
pub(crate) const FILE: &str = "events.jsonl";

/// Name and version of a line. New events and fields do not change it.
const SCHEMA: &str = "dlio-rs/event/1";

/// Which run, for every line of its events.
#[derive(Debug, Clone, Default)]
pub struct RunId(pub String);

impl RunId {
    /// A new one: local time, process and its clock.
    pub fn new() -> Self {
        let time = chrono::Local::now().format("%Y%m%dT%H%M%S");
        let mixed = crate::util::hash::mix64(now_ns() ^ u64::from(std::process::id()) << 40);
        RunId(format!("{time}-{:08x}", mixed as u32))
    }
}

#[derive(Serialize)]
struct Line<'a, E: Serialize> {
    #[serde(flatten)]
    event: E,
    schema: &'static str,
    run: &'a str,
    /// Of the monotonic clock of rank 0's host.
    monotonic_s: f64,
    /// Local, with its offset from UTC.
    time: String,
}

/// Writes every event as one line of JSON. Rank 0 only.
pub struct JsonLines {
    out: Box<dyn Write + Send>,
    run: RunId,
    /// A file that stays: progress becomes rarer as the run goes on, and what other files hold is left out.
    thin: bool,
    /// The file took no more.
    is_over: bool,
    begun: Instant,
    /// When progress was written last.
    last: Option<Instant>,
}

impl JsonLines {
    /// To the standard output, as a rule.
    pub fn new(out: Box<dyn Write + Send>, run: RunId) -> Self {
        JsonLines {
            out,
            run,
            thin: false,
            is_over: false,
            begun: Instant::now(),
            last: None,
        }
    }

    /// To a file: days of progress are some thousands of lines.
    pub fn thin(out: Box<dyn Write + Send>, run: RunId) -> Self {
        JsonLines {
            thin: true,
            ..JsonLines::new(out, run)
        }
    }

    /// One line. A file is seen to have taken it, which may wait for a server, unless it is progress.
    fn write(&mut self, event: impl Serialize, is_progress: bool) {
        if self.is_over {
            return;
        }
        let line = Line {
            event,
            schema: SCHEMA,
            run: &self.run.0,
            monotonic_s: now_ns() as f64 / 1e9,
            time: chrono::Local::now().to_rfc3339_opts(chrono::SecondsFormat::Micros, false),
        };
        let mut line = serde_json::to_string(&line)
            .expect("events are structs of numbers and strings, which always serialize");
        line.push('\n');
        let mut written = self.out.write_all(line.as_bytes());
        if !(self.thin && is_progress) {
            written = written.and_then(|()| self.out.flush());
        }
        if let Err(error) = written
            && self.thin
        {
            // Without events the figures still stand.
            self.is_over = true;
            say(&format!("dlio-rs: the events end here: {error}"));
        }
        // A reader of the standard output that went away must not end the measurement.
    }

    /// True for progress that comes too soon after the last.
    fn is_too_soon(&mut self) -> bool {
        let now = Instant::now();
        let apart = Duration::from_secs(1).max(now.duration_since(self.begun) / 1000);
        // Events of a second come a little early at times.
        let soon = self
            .last
            .is_some_and(|last| now.duration_since(last) < apart * 3 / 4);
        if !soon {
            self.last = Some(now);
        }
        soon
    }
}

impl Listener for JsonLines {
    fn on(&mut self, event: &Event) {
        if !self.thin {
            return self.write(event, false);
        }
        let is_progress = matches!(
            event,
            Event::Progress { .. } | Event::Working { .. } | Event::GenerationProgress { .. }
        );
        match event {
            _ if is_progress && self.is_too_soon() => {}
            Event::RunMeasured { folder, .. } => {
                self.write(json!({"event": "run_measured", "folder": folder}), false);
            }
            // Step lists stand in the ranks' files.
            Event::BlockEnded { .. } | Event::EvalEnded { .. } => {
                let mut short = serde_json::to_value(event).unwrap_or_default();
                if let Some(record) = short["record"].as_object_mut() {
                    record.retain(|_, value| !matches!(value, Value::Array(_)));
                }
                self.write(short, false);
            }
            _ => self.write(event, is_progress),
        }
    }
}

/// One event of a job that never began, such as an error of its configuration.
pub(crate) fn alone(out: impl Write + Send + 'static, event: &Event) {
    JsonLines::new(Box::new(out), RunId::new()).on(event);
}
