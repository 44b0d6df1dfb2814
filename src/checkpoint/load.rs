//! Loading one rank's files: the directory first, then every byte, in parallel parts.
//!
//! What a file holds is compared with the plan before its tensors are read, so that a checkpoint of another model or
//! parallelism is refused by name. With `verify` every byte of every tensor is compared with what was saved.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use super::image::{Container, Image};
use super::observer::{Call, Observer};
use super::packing::Packing;
use super::verify::{Caller, Compare, Copy, Span, Unpack, Watch};
use super::{CheckpointError, Result, pickle};
use crate::clock::now_ns;
use crate::format::container::zip;
use crate::plan::checkpoint::{FilePlan, State};
use crate::storage::{Answer, Extent, Lane, Request, Sink, Storage};

/// A file to load.
pub struct Source {
    pub path: PathBuf,
    /// What it should hold.
    pub plan: FilePlan,
    /// What was saved, if this run's settings are those of the save.
    pub image: Image,
}

#[derive(Debug, Clone, Copy)]
pub struct LoadOptions {
    pub threads: usize,
    /// Compare every byte of every tensor.
    pub verify: bool,
    pub packing: Packing,
    pub container: Container,
    pub transfer: usize,
    /// Called by each thread that is started.
    pub thread_begins: fn(),
}

/// What loading took on this rank. Units: bytes and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loaded {
    /// Bytes that the storage system delivered.
    pub file_bytes: u64,
    /// Read calls of all threads together.
    pub read_ns: u64,
    /// Files of weights, from first to last.
    pub model_ns: u64,
    /// Files of the optimizer.
    pub optimizer_ns: u64,
}

/// Largest part of a file that one thread reads before it takes the next.
const PART: u64 = 32 << 20;
/// What is read from a file's end to find its directory.
const TAIL: u64 = 64 << 10;

/// Buffers of the reader threads; kept from one checkpoint to the next.
pub struct Readers {
    buffers: Vec<Lane>,
}

impl Readers {
    /// One buffer of one transfer per thread.
    pub fn new(options: &LoadOptions) -> Self {
        Readers {
            buffers: (0..options.threads.max(1))
                .map(|_| Lane::new(options.transfer))
                .collect(),
        }
    }
}

/// Loads `files` in order.
///
/// Errors: the first file that is missing, short, altered or of another layout, by name.
pub fn load(
    storage: &dyn Storage,
    files: &[Source],
    options: &LoadOptions,
    readers: &mut Readers,
    observer: &dyn Observer,
) -> Result<Loaded> {
    let mut total = Loaded::default();
    for (index, file) in files.iter().enumerate() {
        let start = now_ns();
        let job = Job {
            storage,
            file,
            index,
            options,
            observer,
        };
        let answer = job.run(&mut readers.buffers)?;
        total.file_bytes += answer.bytes;
        total.read_ns += answer.read_ns;
        let took = now_ns() - start;
        match file.plan.state {
            State::Optimizer => total.optimizer_ns += took,
            State::Model | State::Layers => total.model_ns += took,
        }
    }
    Ok(total)
}

/// Where the directory of a container lies.
///
/// Errors: what is wrong, as a clause after the file's name.
pub(super) fn find_directory(tail: &[u8], file_len: u64) -> Result<zip::Span, String> {
    zip::find_directory(tail, file_len).ok_or_else(|| {
        "it does not end as a zip container does: truncated, or no checkpoint".into()
    })
}

/// The members of a directory, none of them compressed.
///
/// Errors: what is wrong, as a clause after the file's name.
pub(super) fn parse_directory(bytes: &[u8], span: zip::Span) -> Result<Vec<zip::Entry>, String> {
    let mut out = Vec::new();
    let mut at = 0;
    while (out.len() as u64) < span.entries {
        let (entry, next) =
            zip::parse_entry(bytes, at).ok_or("the directory of its zip container is damaged")?;
        if entry.method != zip::STORED {
            return Err(format!(
                "its member {} is compressed (method {})",
                entry.name, entry.method
            ));
        }
        out.push(entry);
        at = next;
    }
    Ok(out)
}

/// Where the data of a member begin, from the first bytes of its local header at `offset`.
pub(super) fn data_offset(header: &[u8], offset: u64) -> Option<u64> {
    offset.checked_add(zip::local_len(header)? as u64)
}

struct Job<'a> {
    storage: &'a dyn Storage,
    file: &'a Source,
    index: usize,
    options: &'a LoadOptions,
    observer: &'a dyn Observer,
}

impl<'a> Job<'a> {
    fn run(&self, buffers: &mut [Lane]) -> Result<Answer> {
        if !self.storage.system().has_bytes {
            return self.parts(self.file.image.len(), &[], buffers);
        }
        let path = &self.file.path;
        let len = self
            .storage
            .len(path)
            .map_err(|e| CheckpointError::loading(path, e))?
            .ok_or_else(|| CheckpointError::Missing { path: path.clone() })?;
        if self.options.packing != Packing::None {
            return self.packed(&mut buffers[0]);
        }
        let mut spans = self.layout(len, &mut buffers[0])?;
        if !self.options.verify {
            spans.clear();
        }
        self.parts(len, &spans, buffers)
    }

    fn caller(&self, thread: usize) -> Caller<'_> {
        Caller {
            observer: self.observer,
            thread,
            index: self.index,
            path: &self.file.path,
        }
    }

    fn differs(&self, cause: String) -> CheckpointError {
        CheckpointError::Layout {
            path: self.file.path.clone(),
            cause,
        }
    }

    /// A small part of the file.
    fn bytes(&self, offset: u64, len: u64, buffer: &mut Lane) -> Result<Vec<u8>> {
        let path = &self.file.path;
        if offset.checked_add(len).is_none() {
            return Err(self.differs(format!("it points at byte {offset}, far beyond its end")));
        }
        let request = Request {
            path,
            extent: Extent::Range { offset, len },
            planned_len: len,
            exact_len: None,
            tag: offset,
        };
        let mut copy = Copy(Vec::with_capacity(len as usize));
        self.observer.begins(0, self.index, offset);
        let start = now_ns();
        self.storage
            .read(&request, buffer, &mut copy)
            .map_err(|e| CheckpointError::loading(path, e))?;
        self.observer.ended(0, Call::Read, now_ns() - start);
        Ok(copy.0)
    }

    /// Where the plan's tensors lie in the file.
    fn layout(&self, len: u64, buffer: &mut Lane) -> Result<Vec<Span<'a>>> {
        let image = &self.file.image;
        let tail_len = len.min(TAIL);
        let tail = self.bytes(len - tail_len, tail_len, buffer)?;
        let span = match find_directory(&tail, len) {
            Ok(span) => span,
            Err(_) if len == self.file.plan.bytes() => {
                return self.bare();
            }
            Err(cause) => return Err(self.differs(cause)),
        };
        let tail_begin = len - tail_len;
        let directory = if span.offset >= tail_begin {
            let from = (span.offset - tail_begin) as usize;
            tail[from..from + span.len as usize].to_vec()
        } else if span.len <= 2 * image.len() {
            self.bytes(span.offset, span.len, buffer)?
        } else {
            return Err(self.differs(format!("its directory has {} bytes", span.len)));
        };
        let entries = parse_directory(&directory, span).map_err(|e| self.differs(e))?;
        let names = match self.options.container {
            Container::PyTorch => self.torch_names(&entries, buffer)?,
            Container::Npz => (image.members().iter()).map(|m| m.name.clone()).collect(),
        };
        let members = image.members().iter().filter(|m| m.body.is_some());
        let mut spans = Vec::with_capacity(names.len());
        for (member, name) in members.zip(&names) {
            let body = member.body.as_ref().expect("filtered");
            let entry = entries
                .iter()
                .find(|e| e.name == *name)
                .ok_or_else(|| self.differs(format!("it has no member {name}")))?;
            if entry.len != member.len() {
                return Err(self.differs(format!(
                    "tensor {} has {} bytes where the plan has {}",
                    body.label,
                    entry.len,
                    member.len()
                )));
            }
            let begin = if entry.offset == member.offset && entry.name == member.name {
                member.data_offset
            } else {
                let header = self.bytes(entry.offset, zip::LOCAL_LEN as u64, buffer)?;
                data_offset(&header, entry.offset).ok_or_else(|| {
                    self.differs(format!("the header of member {name} is damaged"))
                })?
            };
            let begin = begin.saturating_add(member.prefix.len() as u64);
            let end = begin.saturating_add(body.len);
            if end > len {
                return Err(self.differs(format!("tensor {} lies beyond its end", body.label)));
            }
            spans.push(Span {
                begin,
                end,
                content: &body.content,
                label: &body.label,
            });
        }
        spans.sort_by_key(|s| s.begin);
        Ok(spans)
    }

    /// The file has no container and the size of its tensors: MLCommons' DLIO saves them so. Their bytes are random, so
    /// that there is nothing to compare them with.
    fn bare(&self) -> Result<Vec<Span<'a>>> {
        if self.options.verify {
            return Err(CheckpointError::Bare {
                path: self.file.path.clone(),
            });
        }
        Ok(Vec::new())
    }

    /// The member of each planned tensor, by `data.pkl`.
    fn torch_names(&self, entries: &[zip::Entry], buffer: &mut Lane) -> Result<Vec<String>> {
        let pickle_entry = entries
            .iter()
            .find(|e| e.name.ends_with("/data.pkl"))
            .ok_or_else(|| {
                self.differs("it has no data.pkl: it is no file of torch.save".into())
            })?;
        let expected = &self.file.plan.tensors;
        if pickle_entry.len > (1 << 16) + 4096 * expected.len() as u64 {
            return Err(self.differs(format!(
                "its data.pkl has {} bytes, far more than {} tensors need",
                pickle_entry.len,
                expected.len()
            )));
        }
        let header = self.bytes(pickle_entry.offset, zip::LOCAL_LEN as u64, buffer)?;
        let at = data_offset(&header, pickle_entry.offset)
            .ok_or_else(|| self.differs("the header of data.pkl is damaged".into()))?;
        let bytes = self.bytes(at, pickle_entry.len, buffer)?;
        if crc32fast::hash(&bytes) != pickle_entry.crc {
            return Err(self.differs("the checksum of data.pkl does not fit".into()));
        }
        let found = pickle::read(&bytes).map_err(|e| self.differs(e))?;
        let prefix = pickle_entry.name.trim_end_matches("data.pkl");
        if found.len() != expected.len() {
            return Err(self.differs(format!(
                "it holds {} tensors where the plan has {}",
                found.len(),
                expected.len()
            )));
        }
        expected
            .iter()
            .zip(&found)
            .map(|(e, f)| {
                let same = (e.group.as_deref(), &*e.key, e.dtype, e.elements)
                    == (f.group.as_deref(), &*f.key, f.dtype, f.elements);
                if same {
                    return Ok(format!("{prefix}data/{}", f.storage));
                }
                let shown = |group: Option<&str>, key: &str, dtype, elements| {
                    let group = group.map_or(String::new(), |g| format!("{g}/"));
                    format!("{group}{key} of {elements} x {dtype:?}")
                };
                Err(self.differs(format!(
                    "it holds tensor {} where the plan has {}",
                    shown(f.group.as_deref(), &f.key, f.dtype, f.elements),
                    shown(e.group.as_deref(), &e.key, e.dtype, e.elements)
                )))
            })
            .collect()
    }

    /// Reads `len` bytes by all threads.
    fn parts(&self, len: u64, spans: &[Span], buffers: &mut [Lane]) -> Result<Answer> {
        let transfer = self.options.transfer as u64;
        let part = len
            .div_ceil(buffers.len() as u64)
            .next_multiple_of(transfer)
            .clamp(transfer, PART.next_multiple_of(transfer));
        let parts = len.div_ceil(part);
        let next = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let total = Mutex::new(Answer::default());
        let failure = Mutex::new(None);
        let read = |thread: usize, buffer: &mut Lane| {
            let mut counts = Answer::default();
            loop {
                let number = next.fetch_add(1, Relaxed);
                if number >= parts || stop.load(Relaxed) {
                    break;
                }
                let offset = number * part;
                let outcome = self.part(thread, offset, part.min(len - offset), spans, buffer);
                match outcome {
                    Ok(answer) => counts += answer,
                    Err(error) => {
                        stop.store(true, Relaxed);
                        failure.lock().get_or_insert(error);
                    }
                }
            }
            *total.lock() += counts;
        };
        let (mine, others) = buffers
            .split_first_mut()
            .expect("there is one thread at least");
        std::thread::scope(|scope| {
            for (thread, buffer) in (1..parts as usize).zip(others) {
                let read = &read;
                let spawned = std::thread::Builder::new()
                    .name(format!("load-{thread}"))
                    .spawn_scoped(scope, move || {
                        (self.options.thread_begins)();
                        read(thread, buffer);
                    });
                if let Err(error) = spawned {
                    stop.store(true, Relaxed);
                    failure.lock().get_or_insert(CheckpointError::Thread {
                        cause: error.to_string(),
                    });
                }
            }
            read(0, mine);
        });
        match failure.into_inner() {
            Some(error) => Err(error),
            None => Ok(total.into_inner()),
        }
    }

    fn part(
        &self,
        thread: usize,
        offset: u64,
        len: u64,
        spans: &[Span],
        buffer: &mut Lane,
    ) -> Result<Answer> {
        let path = &self.file.path;
        let request = Request {
            path,
            extent: Extent::Range { offset, len },
            planned_len: len,
            exact_len: None,
            tag: ((self.index as u64) << 32) ^ (offset / PART),
        };
        let mut watch = Watch::new(self.caller(thread), offset, spans);
        watch.position(offset);
        let answer = self
            .storage
            .read(&request, buffer, &mut watch)
            .map_err(|e| CheckpointError::loading(path, e))?;
        self.ended_without_bytes(thread, &answer);
        self.observer.moved(answer.bytes);
        match watch.failure {
            Some(error) => Err(error),
            None => Ok(answer),
        }
    }

    /// Storage systems without bytes show no chunks: the answer is all there is to tell.
    fn ended_without_bytes(&self, thread: usize, answer: &Answer) {
        if !self.storage.system().has_bytes {
            self.observer.ended(thread, Call::Read, answer.read_ns);
        }
    }

    /// A compressed file: one thread, from first to last byte.
    fn packed(&self, buffer: &mut Lane) -> Result<Answer> {
        let path = &self.file.path;
        let image = &self.file.image;
        let request = Request {
            path,
            extent: Extent::Whole,
            planned_len: image.len(),
            exact_len: None,
            tag: self.index as u64,
        };
        let compare = Compare::new(path, self.options.verify.then(|| image.stream()));
        let damaged = |e: io::Error| self.differs(format!("its zstd frame is damaged: {e}"));
        let mut sink = Unpack::new(self.caller(0), compare).map_err(damaged)?;
        sink.position(0);
        let answer = self
            .storage
            .read(&request, buffer, &mut sink)
            .map_err(|e| CheckpointError::loading(path, e))?;
        if let Some(altered) = sink.unpacker.sink().altered.take() {
            return Err(altered);
        }
        if let Some(error) = sink.failure {
            return Err(damaged(error));
        }
        let compare = sink.unpacker.finish().map_err(damaged)?;
        if compare.at != image.len() {
            return Err(self.differs(format!(
                "it unpacks to {} bytes where the plan has {}",
                compare.at,
                image.len()
            )));
        }
        Ok(answer)
    }
}
