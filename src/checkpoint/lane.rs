//! One of the files that are written at the same time: a generator thread makes the bytes, another thread writes them.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};

use super::observer::{Call, Observer, PATIENCE_NS_PER_BYTE};
use super::packing::{Packer, Packing};
use super::{CheckpointError, Image, Result};
use crate::clock::now_ns;
use crate::plan::checkpoint::State;
use crate::storage::{Buffer, Storage, StorageError};

/// A file to save.
pub struct Target {
    pub path: PathBuf,
    /// What kind of state it holds.
    pub state: State,
    /// Its bytes.
    pub image: Image,
}

/// Smallest and largest buffer: small ones stay in a core's cache, large ones make O_DIRECT requests worthwhile.
pub(super) const BUFFER: (usize, usize) = (1 << 20, 8 << 20);

struct Chunk {
    buffer: Buffer,
    used: usize,
    is_last: bool,
}

/// The two ends of a lane; `free` are its buffers.
pub(super) fn lane<'a>(
    number: usize,
    free: &mut Vec<Buffer>,
    packing: Packing,
    observer: &'a dyn Observer,
) -> (Generator, LaneWriter<'a>) {
    let count = free.len();
    let (to_writer, from_generator) = sync_channel::<Chunk>(count);
    let (to_generator, from_writer) = sync_channel::<Buffer>(count);
    for buffer in free.drain(..) {
        // The channel holds them all.
        let _ = to_generator.send(buffer);
    }
    let generator = Generator {
        full: to_writer,
        free: from_writer,
        packing,
    };
    let writer = LaneWriter {
        number,
        count,
        full: from_generator,
        free: to_generator,
        first: VecDeque::with_capacity(count),
        wrote: Wrote::default(),
        observer,
    };
    (generator, writer)
}

/// Makes the bytes.
pub(super) struct Generator {
    full: SyncSender<Chunk>,
    free: Receiver<Buffer>,
    packing: Packing,
}

impl Generator {
    /// Ends early when the writer has gone. Returns the buffers that it did not use.
    pub(super) fn run(self, files: &[&Target]) -> Receiver<Buffer> {
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

/// What one lane wrote. Units: bytes and nanoseconds.
#[derive(Debug, Default)]
pub(super) struct Wrote {
    /// Bytes handed to the storage system.
    pub(super) file_bytes: u64,
    /// Write calls, with opening and renaming.
    pub(super) write_ns: u64,
    /// Making files durable.
    pub(super) fsync_ns: u64,
    /// Waiting for bytes to write, and handing them on where no storage system was waited for.
    pub(super) stall_ns: u64,
    /// Number of each file that was written, when it was begun and when it was finished, [`now_ns`].
    pub(super) files: Vec<(usize, u64, u64)>,
}

/// Writes them.
pub(super) struct LaneWriter<'a> {
    number: usize,
    /// Buffers of the lane.
    count: usize,
    full: Receiver<Chunk>,
    free: SyncSender<Buffer>,
    first: VecDeque<Chunk>,
    wrote: Wrote,
    observer: &'a dyn Observer,
}

impl LaneWriter<'_> {
    /// Waits until all buffers are full, or those that its files need.
    pub(super) fn collect(&mut self) {
        while self.first.len() < self.count
            && let Ok(chunk) = self.full.recv()
        {
            self.first.push_back(chunk);
        }
    }

    /// Writes `files`, each with its number, one after the other. `stop`: another lane has failed; what is not complete is
    /// left out.
    ///
    /// Errors: the first refusal of the storage system, after setting `stop`.
    pub(super) fn run(
        &mut self,
        storage: &dyn Storage,
        files: &[(usize, &Target)],
        fsync: bool,
        stop: &AtomicBool,
    ) -> Result<()> {
        for &(index, file) in files {
            let start = now_ns();
            match self.file(storage, index, &file.path, fsync, stop) {
                Ok(true) => self.wrote.files.push((index, start, now_ns())),
                Ok(false) => return Ok(()),
                Err(error) => {
                    stop.store(true, Relaxed);
                    return Err(CheckpointError::saving(&file.path, error));
                }
            }
        }
        Ok(())
    }

    /// Ends the lane: its generator ends too, wherever it is. What was written, and the buffers that are here.
    pub(super) fn end(self) -> (Wrote, Vec<Buffer>) {
        drop(self.free);
        let unwritten = self.first.into_iter().chain(self.full.try_iter());
        (self.wrote, unwritten.map(|chunk| chunk.buffer).collect())
    }

    /// False: it was given up.
    fn file(
        &mut self,
        storage: &dyn Storage,
        index: usize,
        path: &Path,
        fsync: bool,
        stop: &AtomicBool,
    ) -> Result<bool, StorageError> {
        let opened = now_ns();
        self.observer.begins(self.number, index, 0);
        let mut writer = storage.create(path)?;
        self.wrote.write_ns += now_ns() - opened;
        let mut written = 0;
        loop {
            if stop.load(Relaxed) {
                return Ok(false);
            }
            let Chunk {
                buffer,
                used,
                is_last,
            } = self.next(path, written)?;
            let start = now_ns();
            self.observer.begins(self.number, index, written);
            let buffer = writer
                .give(buffer, used)
                .map_err(|e| StorageError::writing(path, written, e))?;
            let took = now_ns() - start;
            self.observer.ended(self.number, Call::Write, took);
            self.observer.moved(used as u64);
            written += used as u64;
            self.wrote.write_ns += took;
            self.wrote.file_bytes += used as u64;
            // The generator keeps the other end until it is joined.
            let _ = self.free.send(buffer);
            if is_last {
                break;
            }
        }
        if fsync {
            let start = now_ns();
            self.observer
                .may_last(written.saturating_mul(PATIENCE_NS_PER_BYTE));
            self.observer.begins(self.number, index, written);
            writer
                .sync()
                .map_err(|e| StorageError::writing(path, written, e))?;
            let took = now_ns() - start;
            self.observer.ended(self.number, Call::Fsync, took);
            self.wrote.fsync_ns += took;
        }
        // Collecting parts in memory is the harness's work, as waiting for the generator is.
        let own = writer.client_ns();
        self.wrote.write_ns = self.wrote.write_ns.saturating_sub(own);
        self.wrote.stall_ns += own;
        let start = now_ns();
        self.observer.begins(self.number, index, written);
        let finished = writer.finish();
        self.observer.done(self.number);
        finished?;
        self.wrote.write_ns += now_ns() - start;
        Ok(true)
    }

    fn next(&mut self, path: &Path, written: u64) -> Result<Chunk, StorageError> {
        if let Some(chunk) = self.first.pop_front() {
            return Ok(chunk);
        }
        let received = match self.full.try_recv() {
            Err(TryRecvError::Empty) => {
                let start = now_ns();
                let received = self.full.recv();
                self.wrote.stall_ns += now_ns() - start;
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
