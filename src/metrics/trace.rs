//! Single steps and calls of chosen ranks with their times, in Chrome's Trace Event Format, which Perfetto and other
//! viewers of timelines read.
//!
//! A rank keeps a bounded number of each: when a list is full, every second entry is dropped, and from then on every second
//! new one. The trace says which part was kept.
//!
//! Source of the format: "Trace Event Format", Google, 2016; complete events (`ph: X`) with times in microseconds.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::stage::Stage;

/// Entries of each kind that all traced ranks keep together.
const ENTRIES: usize = 65_536;

/// A bounded list that keeps every `stride`-th entry.
#[derive(Debug)]
struct Log<T> {
    limit: usize,
    stride: u64,
    seen: u64,
    kept: Vec<T>,
}

impl<T> Log<T> {
    fn new(limit: usize) -> Self {
        Log {
            limit: limit.max(2),
            stride: 1,
            seen: 0,
            kept: Vec::new(),
        }
    }

    fn offer(&mut self, entry: T) {
        if self.seen.is_multiple_of(self.stride) {
            if self.kept.len() == self.limit {
                let mut at = 0;
                self.kept.retain(|_| {
                    at += 1;
                    at % 2 == 1
                });
                self.stride *= 2;
            }
            if self.seen.is_multiple_of(self.stride) {
                self.kept.push(entry);
            }
        }
        self.seen += 1;
    }
}

/// A step; times of the run's clock, ns.
#[derive(Debug, Clone, Copy)]
pub struct TracedStep {
    /// From 1.
    pub epoch: u64,
    /// Within the epoch, from 1.
    pub step: u64,
    pub trains: bool,
    /// When the batch was asked for.
    pub asked: u64,
    /// When it was there.
    pub loaded: u64,
    /// When the computation had ended.
    pub computed: u64,
    /// When all ranks had met.
    pub met: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    stage: Stage,
    from: u64,
    to: u64,
}

#[derive(Debug)]
pub struct ThreadCalls(Mutex<Log<Call>>);

impl ThreadCalls {
    /// A call that took place between two times.
    pub fn add(&self, stage: Stage, from: u64, to: u64) {
        self.0.lock().offer(Call { stage, from, to });
    }
}

/// Numbers of processes and threads in the file, per rank. As on Linux, no thread has the number of a process or of another
/// rank's thread, except the train loop, which has its process's: viewers take equal numbers for one thread.
const IDS_PER_RANK: usize = 10_000;

/// What one traced rank keeps.
#[derive(Debug)]
pub struct Tracer {
    zero_ns: u64,
    /// Entries of each kind.
    limit: usize,
    steps: Mutex<Log<TracedStep>>,
    phases: Mutex<Log<(PhaseKind, u64, u64)>>,
    threads: Mutex<Vec<Arc<ThreadCalls>>>,
    /// Reads in virtual time, which has no threads.
    reads: ThreadCalls,
}

impl Tracer {
    /// One of `traced` ranks; `zero_ns` is the common start.
    pub fn new(zero_ns: u64, traced: usize) -> Self {
        let limit = ENTRIES / traced.max(1);
        Tracer {
            zero_ns,
            limit,
            steps: Mutex::new(Log::new(limit)),
            phases: Mutex::new(Log::new(limit)),
            threads: Mutex::default(),
            reads: ThreadCalls(Mutex::new(Log::new(limit))),
        }
    }

    /// The lists of `threads` more threads.
    pub fn threads(&self, threads: usize) -> Vec<Arc<ThreadCalls>> {
        let limit = self.limit / threads.max(1);
        let new = |_| Arc::new(ThreadCalls(Mutex::new(Log::new(limit))));
        let lists: Vec<_> = (0..threads).map(new).collect();
        self.threads.lock().extend(lists.iter().cloned());
        lists
    }

    pub fn step(&self, step: TracedStep) {
        self.steps.lock().offer(step);
    }

    /// A read in virtual time.
    pub fn read(&self, from: u64, to: u64) {
        self.reads.add(Stage::Read, from, to);
    }

    /// Something that the whole rank did.
    pub fn phase(&self, kind: PhaseKind, from: u64, to: u64) {
        self.phases.lock().offer((kind, from, to));
    }

    /// The events of this rank in Chrome's format, separated by commas.
    pub fn to_json(&self, rank: usize, host: &str) -> String {
        let mut out = Events {
            text: String::new(),
            zero_ns: self.zero_ns,
            process: (rank + 1) * IDS_PER_RANK,
        };
        let name = |name: &str| json!({"name": name});
        out.meta("process_name", 0, name(&format!("rank {rank} on {host}")));
        out.meta("thread_name", 0, name("train loop"));
        let mut named = 0;
        self.walk(|span| {
            if span.thread > named {
                named = span.thread;
                out.meta("thread_name", named, name(&format!("thread {}", named - 1)));
            }
            out.span(&span);
        });
        out.meta("process_labels", 0, json!({"labels": self.kept()}));
        out.text
    }

    /// Which part was kept.
    pub(super) fn kept(&self) -> String {
        let threads = self.threads.lock();
        let calls = (threads.iter().map(|thread| &**thread))
            .chain([&self.reads])
            .map(|thread| thread.0.lock().stride)
            .max();
        format!(
            "kept: steps 1 in {}, calls 1 in {}",
            self.steps.lock().stride,
            calls.unwrap_or(1)
        )
    }

    /// The common start, as the times of spans have it.
    pub fn zero_ns(&self) -> u64 {
        self.zero_ns
    }

    /// All that was kept, thread by thread.
    pub(super) fn walk(&self, mut take: impl FnMut(Span)) {
        for s in &self.steps.lock().kept {
            let mut part = |what: What, from: u64, to: u64| {
                take(Span {
                    what,
                    thread: 0,
                    step: Some((s.epoch, s.step)),
                    from,
                    to,
                });
            };
            let whole = match s.trains {
                true => What::Step,
                false => What::EvaluationStep,
            };
            part(whole, s.asked, s.met);
            part(What::Wait, s.asked, s.loaded);
            part(What::Compute, s.loaded, s.computed);
            if s.met > s.computed {
                part(What::Barrier, s.computed, s.met);
            }
        }
        for (phase, from, to) in &self.phases.lock().kept {
            take(Span {
                what: What::Phase(*phase),
                thread: 0,
                step: None,
                from: *from,
                to: *to,
            });
        }
        let threads = self.threads.lock();
        let lists = threads.iter().map(|thread| &**thread).chain([&self.reads]);
        for (i, thread) in lists.enumerate() {
            for call in nested(&thread.0.lock().kept) {
                take(Span {
                    what: What::Call(call.stage),
                    thread: i + 1,
                    step: None,
                    from: call.from,
                    to: call.to,
                });
            }
        }
    }
}

/// The calls of a thread as viewers want them: one within another or one after another, and the outer one first.
///
/// A call is noted a moment after it ended, so that two may seem to overlap by that moment. It is taken from the start of the
/// later one; where that is most of it, the earlier one began within the later one.
fn nested(calls: &[Call]) -> Vec<Call> {
    let order = |(i, call): (usize, &Call)| Reverse((call.from, Reverse(call.to), i));
    let mut next: BinaryHeap<_> = calls.iter().enumerate().map(order).collect();
    let mut out: Vec<Call> = Vec::with_capacity(calls.len());
    // Those that have not ended, the innermost last.
    let mut open: Vec<(usize, Call)> = Vec::new();
    while let Some(Reverse((from, Reverse(to), i))) = next.pop() {
        let call = Call {
            from,
            to,
            ..calls[i]
        };
        while open.last().is_some_and(|(_, outer)| outer.to <= from) {
            open.pop();
        }
        match open.last().copied() {
            Some((j, outer)) if outer.to < to => {
                let has_none_within = out.last() == Some(&outer);
                let (lead, overlap) = (from - outer.from, outer.to - from);
                if has_none_within && 0 < lead && lead < overlap {
                    out.pop();
                    open.pop();
                    next.push(order((j, &Call { from, ..outer })));
                    next.push(order((i, &call)));
                } else {
                    let from = outer.to;
                    next.push(order((i, &Call { from, ..call })));
                }
            }
            _ => {
                out.push(call);
                open.push((i, call));
            }
        }
    }
    out
}

/// What the whole rank did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PhaseKind {
    /// The training part of an epoch.
    Epoch,
    Evaluation,
    Save,
    Load,
}

/// What a span is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Step,
    EvaluationStep,
    Wait,
    Compute,
    Barrier,
    Phase(PhaseKind),
    Call(Stage),
}

impl What {
    /// Its name and category in Chrome's format.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            What::Step => ("step", "step"),
            What::EvaluationStep => ("evaluation step", "step"),
            What::Wait => ("wait", "step"),
            What::Compute => ("compute", "step"),
            What::Barrier => ("barrier", "step"),
            What::Phase(PhaseKind::Epoch) => ("epoch", "phase"),
            What::Phase(PhaseKind::Evaluation) => ("evaluation", "phase"),
            What::Phase(PhaseKind::Save) => ("checkpoint_save", "phase"),
            What::Phase(PhaseKind::Load) => ("checkpoint_load", "phase"),
            What::Call(stage) => (stage.name(), "io"),
        }
    }
}

/// Something that lasted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span {
    pub(super) what: What,
    /// 0: the train loop.
    pub(super) thread: usize,
    /// Epoch and step, from 1, for parts of a step.
    pub(super) step: Option<(u64, u64)>,
    /// Of the run's clock, ns.
    pub(super) from: u64,
    pub(super) to: u64,
}

struct Events {
    text: String,
    zero_ns: u64,
    process: usize,
}

impl Events {
    fn push(&mut self, event: &Value) {
        if !self.text.is_empty() {
            self.text.push_str(",\n");
        }
        self.text.push_str(&event.to_string());
    }

    fn meta(&mut self, what: &str, thread: usize, args: Value) {
        let (process, thread) = (self.process, self.process + thread);
        self.push(&json!({"ph": "M", "name": what, "pid": process, "tid": thread, "args": args}));
    }

    fn span(&mut self, span: &Span) {
        let us = |ns: u64| ns as f64 / 1e3;
        let (name, cat) = span.what.words();
        let args = match span.step {
            Some((epoch, step)) => json!({"epoch": epoch, "step": step}),
            None => json!({}),
        };
        self.push(&json!({
            "ph": "X", "name": name, "cat": cat, "pid": self.process, "tid": self.process + span.thread,
            "ts": us(span.from.saturating_sub(self.zero_ns)),
            "dur": us(span.to.saturating_sub(span.from)),
            "args": args,
        }));
    }
}

/// Writes the traces of ranks as one file; compressed where `is_packed`.
///
/// Errors: those of writing.
pub fn write(out: impl Write, is_packed: bool, ranks: &[Vec<u8>]) -> std::io::Result<()> {
    if is_packed {
        let mut packed = flate2::write::GzEncoder::new(out, flate2::Compression::default());
        write_plain(&mut packed, ranks)?;
        packed.finish()?.flush()
    } else {
        let mut out = std::io::BufWriter::new(out);
        write_plain(&mut out, ranks)?;
        out.flush()
    }
}

fn write_plain(out: &mut impl Write, ranks: &[Vec<u8>]) -> std::io::Result<()> {
    out.write_all(b"{\"displayTimeUnit\": \"ms\", \"otherData\": {\"schema\": \"dlio-rs/trace/1\"}, \"traceEvents\": [\n")?;
    let mut is_first = true;
    for events in ranks.iter().filter(|events| !events.is_empty()) {
        if !is_first {
            out.write_all(b",\n")?;
        }
        is_first = false;
        out.write_all(events)?;
    }
    out.write_all(b"\n]}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_list_keeps_every_second_entry() {
        let mut log = Log::new(4);
        (0..20_u64).for_each(|i| log.offer(i));
        assert_eq!((log.stride, log.seen), (8, 20));
        assert_eq!(log.kept, [0, 8, 16]);
    }

    #[test]
    fn calls_lie_within_each_other_or_behind() {
        let call = |stage, from, to| Call { stage, from, to };
        let calls = [
            call(Stage::Open, 0, 100),
            // It began when the file was open.
            call(Stage::Read, 98, 300),
            // The first byte is part of a read.
            call(Stage::FirstByte, 400, 500),
            call(Stage::Read, 403, 900),
        ];
        let spans: Vec<_> = (nested(&calls).iter())
            .map(|c| (c.stage, c.from, c.to))
            .collect();
        assert_eq!(
            spans,
            [
                (Stage::Open, 0, 100),
                (Stage::Read, 100, 300),
                (Stage::Read, 403, 900),
                (Stage::FirstByte, 403, 500),
            ]
        );
    }

    proptest::proptest! {
        #[test]
        fn no_two_calls_overlap_in_part(calls in proptest::collection::vec((0..60_u64, 0..30_u64), 0..40)) {
            let calls: Vec<_> = (calls.iter())
                .map(|&(from, ns)| Call { stage: Stage::Read, from, to: from + ns })
                .collect();
            let spans = nested(&calls);
            proptest::prop_assert_eq!(spans.len(), calls.len());
            for (i, a) in spans.iter().enumerate() {
                proptest::prop_assert!(a.from <= a.to);
                for b in &spans[i + 1..] {
                    proptest::prop_assert!(a.from <= b.from && (b.to <= a.to || a.to <= b.from), "{a:?} {b:?}");
                }
            }
        }
    }
}
