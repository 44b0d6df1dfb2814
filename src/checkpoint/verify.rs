//! Looking at what is read: whole small parts, and parts of tensors against what was saved.

use std::path::Path;

use super::CheckpointError;
use super::content::Content;
use super::observer::{Call, Observer};
use crate::clock::now_ns;
use crate::storage::Sink;

/// A tensor's bytes inside a file.
pub(super) struct Span<'a> {
    pub(super) begin: u64,
    pub(super) end: u64,
    pub(super) content: &'a Content,
    pub(super) label: &'a str,
}

/// Bytes compared at once: they stay in a core's caches.
const SCRATCH: usize = 64 << 10;

/// Keeps what is read.
pub(super) struct Copy(pub(super) Vec<u8>);

impl Sink for Copy {
    fn begin(&mut self, _: u64) {}
    fn chunk(&mut self, bytes: &[u8]) -> bool {
        self.0.extend(bytes);
        true
    }
    fn position(&mut self, _: u64) {}
}

fn first_difference(got: &[u8], expected: &[u8]) -> Option<usize> {
    if got == expected {
        return None;
    }
    got.iter().zip(expected).position(|(a, b)| a != b)
}

/// Whose calls are timed.
#[derive(Clone, Copy)]
pub(super) struct Caller<'a> {
    pub(super) observer: &'a dyn Observer,
    pub(super) thread: usize,
    /// Number of the file.
    pub(super) index: usize,
    pub(super) path: &'a Path,
}

impl Caller<'_> {
    /// A call begins.
    pub(super) fn begins(&self, offset: u64) {
        self.observer.begins(self.thread, self.index, offset);
    }

    /// It took this long.
    pub(super) fn ended(&self, ns: u64) {
        self.observer.ended(self.thread, Call::Read, ns);
    }
}

/// Times the calls of one part and compares its tensors.
pub(super) struct Watch<'a> {
    caller: Caller<'a>,
    at: u64,
    call_began: u64,
    spans: &'a [Span<'a>],
    scratch: Vec<u8>,
    pub(super) failure: Option<CheckpointError>,
}

impl<'a> Watch<'a> {
    /// For the part from `offset` on.
    pub(super) fn new(caller: Caller<'a>, offset: u64, spans: &'a [Span<'a>]) -> Self {
        let scratch = if spans.is_empty() { 0 } else { SCRATCH };
        Watch {
            caller,
            at: offset,
            call_began: now_ns(),
            spans,
            scratch: vec![0; scratch],
            failure: None,
        }
    }

    fn compare(&mut self, bytes: &[u8]) -> bool {
        let (begin, end) = (self.at, self.at + bytes.len() as u64);
        let first = self.spans.partition_point(|s| s.end <= begin);
        for span in self.spans[first..].iter().take_while(|s| s.begin < end) {
            let mut at = span.begin.max(begin);
            while at < span.end.min(end) {
                let n = (span.end.min(end) - at).min(SCRATCH as u64) as usize;
                let expected = &mut self.scratch[..n];
                span.content.fill(at - span.begin, expected);
                let got = &bytes[(at - begin) as usize..][..n];
                if let Some(i) = first_difference(got, expected) {
                    self.failure = Some(CheckpointError::Altered {
                        path: self.caller.path.into(),
                        offset: at + i as u64,
                        tensor: span.label.into(),
                        got: got[i],
                        expected: expected[i],
                    });
                    return false;
                }
                at += n as u64;
            }
        }
        true
    }
}

impl Sink for Watch<'_> {
    fn begin(&mut self, _: u64) {}
    fn chunk(&mut self, bytes: &[u8]) -> bool {
        let took = now_ns() - self.call_began;
        self.caller.ended(took);
        let goes_on = self.spans.is_empty() || self.compare(bytes);
        self.at += bytes.len() as u64;
        goes_on
    }
    fn position(&mut self, offset: u64) {
        self.call_began = now_ns();
        self.caller.begins(offset);
    }
}
