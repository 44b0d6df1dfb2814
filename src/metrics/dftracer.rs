//! The trace of a rank as DFTracer writes it: lines of JSON, compressed with gzip, which DFTracer's own tools read.
//!
//! Source of the format: DFTracer's documentation, "DFTracer Format". Names and categories are those that DLIO gives its
//! events by `dftracer.python.ai`, and those of POSIX calls where reads are such calls; a process is a rank, as in DLIO.
//! Times are microseconds of the wall clock.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use super::trace::{PhaseKind, Span, Tracer, What};
use crate::stage::Stage;
use crate::util::hash::fnv1a;

/// Whose trace.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    pub rank: usize,
    /// Ranks of the job.
    pub ranks: usize,
    pub host: &'a str,
    /// The common start, microseconds since 1970.
    pub start_us: u64,
    /// Whether reads are calls of POSIX, and not requests to an object store or simulated.
    pub reads_by_posix: bool,
}

impl Process<'_> {
    /// The file as DLIO calls it, with the ending that DFTracer adds when it compresses.
    pub fn file_name(&self) -> String {
        format!("trace-{}-of-{}.pfw.gz", self.rank, self.ranks)
    }

    /// Name and category of an event.
    fn words(&self, what: What) -> (&'static str, &'static str) {
        match what {
            What::Step => ("train.step", "pipeline"),
            What::EvaluationStep => ("evaluate.step", "pipeline"),
            What::Wait => ("fetch.iter", "dataloader"),
            What::Compute => ("compute", "compute"),
            What::Barrier => ("barrier", "comm"),
            What::Phase(PhaseKind::Epoch) => ("epoch.block", "pipeline"),
            What::Phase(PhaseKind::Evaluation) => ("evaluate", "pipeline"),
            What::Phase(PhaseKind::Save) => ("capture", "checkpoint"),
            What::Phase(PhaseKind::Load) => ("restart", "checkpoint"),
            What::Call(stage) => self.call(stage),
        }
    }

    fn call(&self, stage: Stage) -> (&'static str, &'static str) {
        let io = match self.reads_by_posix {
            true => "POSIX",
            false => "reader",
        };
        match stage {
            Stage::Open => ("open", io),
            Stage::Read => ("read", io),
            Stage::Preprocess => ("preprocess", "data"),
            Stage::CheckpointWrite => ("write", "POSIX"),
            Stage::CheckpointFsync => ("fsync", "POSIX"),
            Stage::CheckpointRead => ("read", "POSIX"),
            other => (other.name(), "reader"),
        }
    }
}

/// The compressed bytes of a rank's file.
///
/// Errors: none of its own; those of the encoder.
pub fn to_bytes(tracer: &Tracer, of: &Process) -> std::io::Result<Vec<u8>> {
    let mut lines = Lines {
        out: GzEncoder::new(Vec::new(), Compression::default()),
        failed: Ok(()),
        next: 0,
        hash: format!("{:016x}", fnv1a(of.host.as_bytes())),
    };
    lines.text("[\n");
    let meta = |name: &str, args: Value| json!({"name": name, "cat": "dftracer", "pid": of.rank, "tid": 0, "ph": "M", "args": args});
    let host = json!({"name": of.host, "value": lines.hash});
    lines.push(meta("HH", host));
    let rank = format!("rank {} of {}", of.rank, of.ranks);
    lines.push(meta("PR", json!({"name": "process_name", "value": rank})));
    lines.push(meta("PR", json!({"name": "kept", "value": tracer.kept()})));
    tracer.walk(|span| {
        let event = event(&span, of, tracer.zero_ns(), &lines.hash);
        lines.push(event);
    });
    lines.text("]\n");
    lines.failed?;
    lines.out.finish()
}

fn event(span: &Span, of: &Process, zero_ns: u64, host: &str) -> Value {
    let (name, cat) = of.words(span.what);
    // A duration that is cut like its ends keeps parts within their whole.
    let us = |ns: u64| ns.saturating_sub(zero_ns) / 1_000;
    let (from, to) = (us(span.from), us(span.to));
    let mut args = json!({"hhash": host});
    if let Some((epoch, step)) = span.step {
        args["epoch"] = epoch.into();
        args["step"] = step.into();
    }
    json!({
        "name": name, "cat": cat, "pid": of.rank, "tid": span.thread,
        "ts": of.start_us + from, "dur": to.saturating_sub(from), "ph": "X", "args": args,
    })
}

struct Lines {
    out: GzEncoder<Vec<u8>>,
    failed: std::io::Result<()>,
    next: u64,
    hash: String,
}

impl Lines {
    fn text(&mut self, text: &str) {
        if self.failed.is_ok() {
            self.failed = self.out.write_all(text.as_bytes());
        }
    }

    fn push(&mut self, mut event: Value) {
        event["id"] = self.next.into();
        self.next += 1;
        self.text(&format!("{event}\n"));
    }
}
