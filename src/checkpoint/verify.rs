//! Looking at what is read: whole small parts, parts of tensors against what was saved, packed files unpacked.

use std::io::{self, Write};
use std::path::Path;

use super::CheckpointError;
use super::content::Content;
use super::image::Stream;
use super::observer::{Call, Observer};
use super::packing::Unpacker;
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

/// Takes unpacked bytes and compares them with the stream that was packed.
pub(super) struct Compare<'a> {
    path: &'a Path,
    stream: Option<Stream<'a>>,
    scratch: Vec<u8>,
    pub(super) at: u64,
    pub(super) altered: Option<CheckpointError>,
}

impl<'a> Compare<'a> {
    /// `stream`: what was packed; None: bytes are only counted.
    pub(super) fn new(path: &'a Path, stream: Option<Stream<'a>>) -> Self {
        Compare {
            path,
            stream,
            scratch: vec![0; SCRATCH],
            at: 0,
            altered: None,
        }
    }
}

impl Write for Compare<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = bytes.len().min(SCRATCH);
        if let Some(stream) = &mut self.stream {
            let expected = &mut self.scratch[..n];
            let made = stream.fill(expected);
            if let Some(i) = first_difference(&bytes[..made], &expected[..made]) {
                self.altered = Some(CheckpointError::Altered {
                    path: self.path.into(),
                    offset: self.at + i as u64,
                    tensor: String::new(),
                    got: bytes[i],
                    expected: expected[i],
                });
                return Err(io::Error::other("a byte differs"));
            }
        }
        self.at += n as u64;
        Ok(n)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Times the calls on a packed file and unpacks it.
pub(super) struct Unpack<'a> {
    caller: Caller<'a>,
    pub(super) unpacker: Unpacker<Compare<'a>>,
    call_began: u64,
    pub(super) failure: Option<io::Error>,
}

impl<'a> Unpack<'a> {
    /// Into `compare`.
    pub(super) fn new(caller: Caller<'a>, compare: Compare<'a>) -> io::Result<Self> {
        Ok(Unpack {
            caller,
            unpacker: Unpacker::new(compare)?,
            call_began: now_ns(),
            failure: None,
        })
    }
}

impl Sink for Unpack<'_> {
    fn begin(&mut self, _: u64) {}
    fn chunk(&mut self, bytes: &[u8]) -> bool {
        self.caller.ended(now_ns() - self.call_began);
        match self.unpacker.push(bytes) {
            Ok(()) => true,
            Err(error) => {
                self.failure = Some(error);
                false
            }
        }
    }
    fn position(&mut self, offset: u64) {
        self.call_began = now_ns();
        self.caller.begins(offset);
    }
}
