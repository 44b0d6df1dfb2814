//! Saving one rank's files: a generator thread makes the bytes, the calling thread writes them.
//!
//! Memory is the buffers between the two, whatever the size of the model. The time that the writer waits for bytes is
//! counted, because it is the harness's and not the storage system's.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use super::packing::{Packer, Packing};
use super::{CheckpointError, Image};
use crate::clock::now_ns;
use crate::plan::checkpoint::State;
use crate::storage::{Buffer, Storage, StorageError};

/// A kind of I/O call whose duration is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// One write of one buffer.
    Write,
    /// Making one file, or the folder, durable.
    Fsync,
    /// One read of one transfer.
    Read,
}

/// Who hears of I/O calls; called from several threads, each with its own number.
pub trait Observer: Sync {
    /// A call on file number `file` begins at this offset.
    fn begins(&self, thread: usize, file: usize, offset: u64);
    /// A call that shows no progress while it lasts, and may last this many nanoseconds, is about to begin.
    fn may_last(&self, ns: u64);
    /// So many bytes of tensors and files went through.
    fn moved(&self, _bytes: u64) {}
    /// A call that is no read, write or fsync has ended.
    fn done(&self, thread: usize);
    /// It has ended after this many nanoseconds.
    fn ended(&self, thread: usize, call: Call, ns: u64);
}

/// A file to save.
pub struct Target {
    /// Full path.
    pub path: PathBuf,
    /// What kind of state it holds.
    pub state: State,
    /// Its bytes.
    pub image: Image,
}

/// How to save.
#[derive(Debug, Clone, Copy)]
pub struct SaveOptions {
    /// Make files and folder durable before returning.
    pub fsync: bool,
    /// Compression.
    pub packing: Packing,
    /// Called by each thread that is started.
    pub thread_begins: fn(),
}

/// What saving took on this rank. Units: bytes and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saved {
    /// Bytes handed to the storage system.
    pub file_bytes: u64,
    /// Write calls, with opening and renaming.
    pub write_ns: u64,
    /// Making files durable.
    pub fsync_ns: u64,
    /// Making the folder durable.
    pub fsync_folder_ns: u64,
    /// Waiting for bytes to write, and handing them on where no storage system was waited for.
    pub stall_ns: u64,
    /// Files of weights, from first to last.
    pub model_ns: u64,
    /// Files of the optimizer.
    pub optimizer_ns: u64,
}

/// Nanoseconds that a byte may take until it is durable before something must be wrong: 10 MB/s.
pub const PATIENCE_NS_PER_BYTE: u64 = 100;

/// Buffers between generator and writer; kept from one checkpoint to the next.
pub struct Buffers {
    free: Vec<Buffer>,
    size: usize,
}

/// Smallest and largest buffer: small ones stay in a core's cache, large ones make O_DIRECT requests worthwhile.
const BUFFER: (usize, usize) = (1 << 20, 8 << 20);
/// All buffers together.
const MEMORY: usize = 64 << 20;
/// Most buffers: more only hide longer pauses.
const MOST_BUFFERS: usize = 32;

impl Buffers {
    /// For a storage system.
    pub fn new(storage: &dyn Storage) -> Self {
        let (count, size) = Self::shape(storage);
        Buffers {
            free: (0..count).map(|_| Buffer::new(size)).collect(),
            size,
        }
    }

    /// How many there are, and the bytes of one.
    fn shape(storage: &dyn Storage) -> (usize, usize) {
        let size = storage.system().default_transfer.clamp(BUFFER.0, BUFFER.1);
        ((MEMORY / size).min(MOST_BUFFERS), size)
    }

    /// Bytes that those for a storage system will have.
    pub fn bytes_for(storage: &dyn Storage) -> u64 {
        let (count, size) = Self::shape(storage);
        (count * size) as u64
    }
}

struct Chunk {
    buffer: Buffer,
    used: usize,
    is_last: bool,
}

/// Saves `files` in order. `ready` is called when the buffers are full and nothing has been written: what happens
/// before it is no part of the save, as a job that trains has its tensors in memory.
///
/// Errors: the first refusal of the storage system. Complete files stay.
pub fn save(
    storage: &dyn Storage,
    folder: &Path,
    files: &[Target],
    options: &SaveOptions,
    buffers: &mut Buffers,
    observer: &dyn Observer,
    ready: &mut dyn FnMut(),
) -> Result<Saved, CheckpointError> {
    if files.is_empty() {
        ready();
        return Ok(Saved::default());
    }
    let count = buffers.free.len();
    let (to_writer, from_generator) = sync_channel::<Chunk>(count);
    let (to_generator, from_writer) = sync_channel::<Buffer>(count);
    for buffer in buffers.free.drain(..) {
        // The channel holds them all.
        let _ = to_generator.send(buffer);
    }
    let size = buffers.size;
    let outcome = std::thread::scope(|scope| {
        let generator = Generator {
            full: to_writer,
            free: from_writer,
            packing: options.packing,
        };
        let begins = options.thread_begins;
        let spawned = std::thread::Builder::new()
            .name("generator".into())
            .spawn_scoped(scope, move || {
                begins();
                generator.run(files)
            });
        let thread = match spawned {
            Ok(thread) => thread,
            Err(error) => {
                // The other ranks are met there.
                ready();
                return Err(CheckpointError::Thread {
                    cause: error.to_string(),
                });
            }
        };
        let mut writer = WriterSide {
            full: from_generator,
            free: to_generator,
            first: VecDeque::with_capacity(count),
            saved: Saved::default(),
            observer,
        };
        // All buffers, or all there is.
        while writer.first.len() < count
            && let Ok(chunk) = writer.full.recv()
        {
            writer.first.push_back(chunk);
        }
        ready();
        let outcome = writer.run(storage, folder, files, options);
        let WriterSide {
            full, free, first, ..
        } = writer;
        // Without a sender the generator ends, wherever it is.
        drop(free);
        if let Ok(unused) = thread.join() {
            buffers.free.extend(unused.try_iter());
        }
        let unwritten = first.into_iter().chain(full.try_iter());
        buffers.free.extend(unwritten.map(|chunk| chunk.buffer));
        outcome
    });
    // After an error some buffers went down with their chunk.
    while buffers.free.len() < count {
        buffers.free.push(Buffer::new(size));
    }
    outcome
}

struct Generator {
    full: SyncSender<Chunk>,
    free: Receiver<Buffer>,
    packing: Packing,
}

impl Generator {
    /// Ends early when the writer has gone. Returns the buffers that it did not use.
    fn run(self, files: &[Target]) -> Receiver<Buffer> {
        for file in files {
            let done = match self.packing {
                Packing::None => self.plain(&file.image),
                Packing::Zstd(level) => self.packed(&file.image, level),
            };
            if done.is_none() {
                break;
            }
        }
        self.free
    }

    fn plain(&self, image: &Image) -> Option<()> {
        let mut stream = image.stream();
        let mut left = image.len();
        while left > 0 {
            let mut buffer = self.free.recv().ok()?;
            let used = stream.fill(&mut buffer);
            left -= used as u64;
            self.send(buffer, used, left == 0)?;
        }
        Some(())
    }

    fn packed(&self, image: &Image, level: i32) -> Option<()> {
        let mut stream = image.stream();
        let mut raw = vec![0; BUFFER.0];
        let mut packer = Packer::new(level, image.len()).ok()?;
        let mut left = image.len();
        while left > 0 {
            let n = stream.fill(&mut raw);
            left -= n as u64;
            packer.push(&raw[..n]).ok()?;
            self.send_packed(packer.ready(), false)?;
        }
        let mut rest = packer.finish().ok()?;
        self.send_packed(&mut rest, true)
    }

    /// Sends whole buffers of `ready`; all of it at the end.
    fn send_packed(&self, ready: &mut Vec<u8>, is_end: bool) -> Option<()> {
        let mut at = 0;
        loop {
            let left = ready.len() - at;
            if left < BUFFER.0 && !(is_end && (left > 0 || at == 0)) {
                ready.drain(..at);
                return Some(());
            }
            let mut buffer = self.free.recv().ok()?;
            let n = left.min(buffer.len());
            buffer[..n].copy_from_slice(&ready[at..at + n]);
            at += n;
            self.send(buffer, n, is_end && at == ready.len())?;
            if is_end && at == ready.len() {
                return Some(());
            }
        }
    }

    fn send(&self, buffer: Buffer, used: usize, is_last: bool) -> Option<()> {
        let chunk = Chunk {
            buffer,
            used,
            is_last,
        };
        self.full.send(chunk).ok()
    }
}

struct WriterSide<'a> {
    full: Receiver<Chunk>,
    free: SyncSender<Buffer>,
    first: VecDeque<Chunk>,
    saved: Saved,
    observer: &'a dyn Observer,
}

impl WriterSide<'_> {
    fn run(
        &mut self,
        storage: &dyn Storage,
        folder: &Path,
        files: &[Target],
        options: &SaveOptions,
    ) -> Result<Saved, CheckpointError> {
        for (index, file) in files.iter().enumerate() {
            let start = now_ns();
            self.file(storage, index, &file.path, options.fsync)
                .map_err(|e| CheckpointError::saving(&file.path, e))?;
            let took = now_ns() - start;
            match file.state {
                State::Optimizer => self.saved.optimizer_ns += took,
                State::Model | State::Layers => self.saved.model_ns += took,
            }
        }
        if options.fsync {
            let start = now_ns();
            self.observer.begins(0, files.len(), 0);
            storage
                .sync_folder(folder)
                .map_err(|e| CheckpointError::saving(folder, e))?;
            self.saved.fsync_folder_ns = now_ns() - start;
            self.observer
                .ended(0, Call::Fsync, self.saved.fsync_folder_ns);
        }
        Ok(self.saved)
    }

    fn file(
        &mut self,
        storage: &dyn Storage,
        index: usize,
        path: &Path,
        fsync: bool,
    ) -> Result<(), StorageError> {
        let opened = now_ns();
        self.observer.begins(0, index, 0);
        let mut writer = storage.create(path)?;
        self.saved.write_ns += now_ns() - opened;
        let mut written = 0;
        loop {
            let chunk = self.next(path, written)?;
            let start = now_ns();
            self.observer.begins(0, index, written);
            writer
                .write(&chunk.buffer[..chunk.used])
                .map_err(|e| StorageError::writing(path, written, e))?;
            let took = now_ns() - start;
            self.observer.ended(0, Call::Write, took);
            self.observer.moved(chunk.used as u64);
            written += chunk.used as u64;
            self.saved.write_ns += took;
            self.saved.file_bytes += chunk.used as u64;
            let is_last = chunk.is_last;
            // The generator keeps the other end until it is joined.
            let _ = self.free.send(chunk.buffer);
            if is_last {
                break;
            }
        }
        if fsync {
            let start = now_ns();
            self.observer
                .may_last(written.saturating_mul(PATIENCE_NS_PER_BYTE));
            self.observer.begins(0, index, written);
            writer
                .sync()
                .map_err(|e| StorageError::writing(path, written, e))?;
            let took = now_ns() - start;
            self.observer.ended(0, Call::Fsync, took);
            self.saved.fsync_ns += took;
        }
        // Collecting parts in memory is the harness's work, as waiting for the generator is.
        let own = writer.client_ns();
        self.saved.write_ns = self.saved.write_ns.saturating_sub(own);
        self.saved.stall_ns += own;
        let start = now_ns();
        self.observer.begins(0, index, written);
        let finished = writer.finish();
        self.observer.done(0);
        finished?;
        self.saved.write_ns += now_ns() - start;
        Ok(())
    }

    fn next(&mut self, path: &Path, written: u64) -> Result<Chunk, StorageError> {
        if let Some(chunk) = self.first.pop_front() {
            return Ok(chunk);
        }
        let received = match self.full.try_recv() {
            Err(TryRecvError::Empty) => {
                let start = now_ns();
                let received = self.full.recv();
                self.saved.stall_ns += now_ns() - start;
                received.ok()
            }
            other => other.ok(),
        };
        received.ok_or_else(|| {
            let cause = std::io::Error::other("the generator thread ended: zstd refused its bytes");
            StorageError::writing(path, written, cause)
        })
    }
}
