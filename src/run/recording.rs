//! What happened when, for the recording of a run over time: the events of rank 0 with their offsets.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::metrics::timeline::{self, EventLog, Gauges};
use crate::report::Event;

/// Keeps events with their offsets.
pub(super) struct EventRecorder {
    gauges: Arc<Gauges>,
    log: EventLog,
    /// What has begun and not ended: when.
    open: BTreeMap<&'static str, u64>,
}

impl EventRecorder {
    /// Offsets are those of `gauges`.
    pub(super) fn new(gauges: Arc<Gauges>) -> Self {
        EventRecorder {
            gauges,
            log: EventLog::default(),
            open: BTreeMap::new(),
        }
    }

    /// Takes an event of the run.
    pub(super) fn on(&mut self, event: &Event) {
        match event {
            Event::GenerationStarted { .. } => self.begin("generation"),
            Event::GenerationDone {
                files_written,
                files_skipped,
                bytes,
                ..
            } => self.end(
                "generation",
                format!("{files_written} files written, {files_skipped} found complete"),
                json!({"files_written": files_written, "files_skipped": files_skipped, "bytes": bytes}),
            ),
            Event::EpochStarted { .. } => self.begin("epoch"),
            Event::EpochEnded { epoch, steps, .. } => self.end(
                "epoch",
                format!("epoch {epoch}"),
                json!({"epoch": epoch, "steps": steps}),
            ),
            Event::EvalStarted { .. } => self.begin("evaluation"),
            Event::EvalEnded { epoch, record } => self.end(
                "evaluation",
                format!("evaluation after epoch {epoch}"),
                json!({"epoch": epoch, "steps": record.steps.len()}),
            ),
            Event::CheckpointStarted { .. } => self.begin("checkpoint"),
            Event::CheckpointEnded { record, .. } => {
                let word = record.kind.word();
                self.end_as(
                    "checkpoint",
                    &format!("checkpoint_{word}"),
                    format!("{word} of checkpoint {} in epoch {}", record.number, record.epoch),
                    json!({"epoch": record.epoch, "number": record.number, "step": record.step}),
                );
            }
            Event::Warning(text) => self.instant("warning", text.clone(), json!({})),
            Event::Info(text) => self.instant("info", text.clone(), json!({})),
            _ => {}
        }
    }

    fn begin(&mut self, kind: &'static str) {
        self.open.insert(kind, self.gauges.offset_ns());
    }

    fn end(&mut self, kind: &'static str, text: String, fields: Value) {
        self.end_as(kind, kind, text, fields);
    }

    fn end_as(&mut self, opened: &'static str, kind: &str, text: String, fields: Value) {
        let until = self.gauges.offset_ns();
        let at = self.open.remove(opened).unwrap_or(until);
        self.keep(at, Some(until), kind, text, fields);
    }

    /// Something without a duration.
    pub(super) fn instant(&mut self, kind: &str, text: String, fields: Value) {
        self.keep(self.gauges.offset_ns(), None, kind, text, fields);
    }

    /// Something that began at this offset and ends now.
    pub(super) fn span(&mut self, at_ns: u64, kind: &str, text: String, fields: Value) {
        let until = self.gauges.offset_ns();
        self.keep(at_ns, Some(until), kind, text, fields);
    }

    fn keep(&mut self, at_ns: u64, until_ns: Option<u64>, kind: &str, text: String, fields: Value) {
        let fields = match fields {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        self.log.push(timeline::Event {
            at_ns,
            until_ns,
            kind: kind.into(),
            text,
            fields,
        });
    }

    pub(super) fn finish(self) -> EventLog {
        self.log
    }
}
