//! Saving one rank's files, one after the other or several at a time: in each lane a generator thread makes the bytes and
//! another thread writes them.
//!
//! Memory is the buffers between the two, whatever the size of the model. The time that the writers wait for bytes is
//! counted, because it is the harness's and not the storage system's.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::{self, Scope, ScopedJoinHandle};

pub use super::lane::Target;
use super::lane::{BUFFER, LaneWriter, Wrote, lane};
use super::observer::{Call, Observer};
use super::packing::Packing;
use super::{CheckpointError, Result};
use crate::clock::now_ns;
use crate::plan::checkpoint::State;
use crate::storage::{Buffer, Storage};

#[derive(Debug, Clone, Copy)]
pub struct SaveOptions {
    /// Make files and folder durable before returning.
    pub fsync: bool,
    pub packing: Packing,
    /// Called by each thread that is started.
    pub thread_begins: fn(),
}

/// What saving took on this rank. Units: bytes and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Saved {
    /// Bytes handed to the storage system.
    pub file_bytes: u64,
    /// Write calls, with opening and renaming; of all lanes together.
    pub write_ns: u64,
    /// Making files durable; of the lane in which that took longest.
    pub fsync_ns: u64,
    /// Making the folder durable.
    pub fsync_folder_ns: u64,
    /// Waiting for bytes to write, and handing them on where no storage system was waited for; mean of the lanes.
    pub stall_ns: u64,
    /// Files of weights, from the begin of the first to the end of the last.
    pub model_ns: u64,
    /// Files of the optimizer.
    pub optimizer_ns: u64,
}

/// All buffers together, unless so many lanes need more.
const MEMORY: usize = 64 << 20;
/// Most buffers: more only hide longer pauses.
const MOST_BUFFERS: usize = 32;
/// Fewest buffers of a lane: one is filled while the other is written.
const FEWEST_OF_LANE: usize = 2;

/// Buffers between generators and writers; kept from one checkpoint to the next.
pub struct Buffers {
    lanes: Vec<Vec<Buffer>>,
    /// Of each lane.
    count: usize,
    size: usize,
}

impl Buffers {
    /// For a storage system, to which so many files are written at a time.
    pub fn new(storage: &dyn Storage, lanes: usize) -> Self {
        let (count, size) = Self::shape(storage, lanes);
        let mut buffers = Buffers {
            lanes: (0..lanes.max(1)).map(|_| Vec::new()).collect(),
            count,
            size,
        };
        buffers.fill();
        buffers
    }

    /// How many a lane has, and the bytes of one.
    fn shape(storage: &dyn Storage, lanes: usize) -> (usize, usize) {
        let size = storage.system().default_transfer.clamp(BUFFER.0, BUFFER.1);
        let all = (MEMORY / size).min(MOST_BUFFERS);
        ((all / lanes.max(1)).max(FEWEST_OF_LANE), size)
    }

    /// Bytes that those for a storage system will have.
    pub fn bytes_for(storage: &dyn Storage, lanes: usize) -> u64 {
        let (count, size) = Self::shape(storage, lanes);
        (lanes.max(1) * count * size) as u64
    }

    /// Makes what is missing: after an error some went down with their chunk.
    fn fill(&mut self) {
        for lane in &mut self.lanes {
            lane.resize_with(self.count, || Buffer::new(self.size));
        }
    }
}

/// The files of each of `lanes` lanes, by number and in order: the longest first, each to the lane that has the least.
fn deal(lens: &[u64], lanes: usize) -> Vec<Vec<usize>> {
    let mut by_len: Vec<usize> = (0..lens.len()).collect();
    by_len.sort_by_key(|&file| std::cmp::Reverse(lens[file]));
    let mut lots = vec![(0u64, Vec::new()); lanes.max(1)];
    for file in by_len {
        if let Some((bytes, lot)) = lots.iter_mut().min_by_key(|(bytes, _)| *bytes) {
            // A file without bytes is one to write, too.
            *bytes = bytes.saturating_add(lens[file].max(1));
            lot.push(file);
        }
    }
    let in_order = |(_, mut lot): (u64, Vec<usize>)| {
        lot.sort_unstable();
        lot
    };
    lots.into_iter().map(in_order).collect()
}

/// Saves `files`, as many at a time as there are lanes of buffers. `ready` is called when the buffers are full and nothing
/// has been written: what happens before it is no part of the save, as a job that trains has its tensors in memory.
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
) -> Result<Saved> {
    if files.is_empty() {
        ready();
        return Ok(Saved::default());
    }
    let lens: Vec<u64> = files.iter().map(|file| file.image.len()).collect();
    let lots: Vec<Vec<(usize, &Target)>> = deal(&lens, buffers.lanes.len())
        .into_iter()
        .map(|lot| lot.into_iter().map(|file| (file, &files[file])).collect())
        .collect();
    let mut wrote = Vec::new();
    let outcome = thread::scope(|scope| {
        let (mut writers, mut generators) = (Vec::new(), Vec::new());
        let mut started = Ok(());
        for (number, (lot, free)) in lots.iter().zip(&mut buffers.lanes).enumerate() {
            let (generator, writer) = lane(number, free, options.packing, observer);
            let targets: Vec<&Target> = lot.iter().map(|(_, target)| *target).collect();
            let code = move || generator.run(&targets);
            match start(scope, format!("generator-{number}"), options, code) {
                Ok(generator) => generators.push(generator),
                Err(error) => started = Err(error),
            }
            writers.push(writer);
        }
        if started.is_ok() {
            writers.iter_mut().for_each(LaneWriter::collect);
        }
        // The other ranks are met there, whatever happened here.
        ready();
        let outcome = started.and_then(|()| write(storage, &lots, options, &mut writers));
        for (writer, free) in writers.into_iter().zip(&mut buffers.lanes) {
            let (of_lane, rest) = writer.end();
            wrote.push(of_lane);
            free.extend(rest);
        }
        for (generator, free) in generators.into_iter().zip(&mut buffers.lanes) {
            if let Ok(unused) = generator.join() {
                free.extend(unused.try_iter());
            }
        }
        outcome
    });
    buffers.fill();
    outcome?;
    let mut saved = sum(&wrote, files);
    if options.fsync {
        let start = now_ns();
        observer.begins(0, files.len(), 0);
        storage
            .sync_folder(folder)
            .map_err(|e| CheckpointError::saving(folder, e))?;
        saved.fsync_folder_ns = now_ns() - start;
        observer.ended(0, Call::Fsync, saved.fsync_folder_ns);
    }
    Ok(saved)
}

fn start<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    name: String,
    options: &SaveOptions,
    code: impl FnOnce() -> T + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, T>> {
    let begins = options.thread_begins;
    let started = thread::Builder::new()
        .name(name)
        .spawn_scoped(scope, move || {
            begins();
            code()
        });
    started.map_err(|error| CheckpointError::Thread {
        cause: error.to_string(),
    })
}

/// All lanes at the same time, the first one in the calling thread.
fn write(
    storage: &dyn Storage,
    lots: &[Vec<(usize, &Target)>],
    options: &SaveOptions,
    writers: &mut [LaneWriter],
) -> Result<()> {
    let stop = AtomicBool::new(false);
    let run = |writer: &mut LaneWriter, lot: &[(usize, &Target)]| {
        writer.run(storage, lot, options.fsync, &stop)
    };
    thread::scope(|scope| {
        let run = &run;
        let mut lanes = writers.iter_mut().zip(lots).enumerate();
        let first = lanes.next();
        let others: Vec<_> = lanes
            .map(|(number, (writer, lot))| {
                let name = format!("checkpoint-{number}");
                start(scope, name, options, move || run(writer, lot))
                    .inspect_err(|_| stop.store(true, Relaxed))
            })
            .collect();
        let mut outcome = first.map_or(Ok(()), |(_, (writer, lot))| run(writer, lot));
        for other in others {
            let ended = other.and_then(|thread| match thread.join() {
                Ok(ended) => ended,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            outcome = outcome.and(ended);
        }
        outcome
    })
}

/// What all lanes together came to.
fn sum(wrote: &[Wrote], files: &[Target]) -> Saved {
    let span = |is_optimizer: bool| {
        let of_kind = wrote.iter().flat_map(|lane| &lane.files);
        let of_kind =
            of_kind.filter(|(file, ..)| (files[*file].state == State::Optimizer) == is_optimizer);
        let begun = of_kind.clone().map(|(_, begun, _)| *begun).min();
        let ended = of_kind.map(|(.., ended)| *ended).max();
        begun.zip(ended).map_or(0, |(begun, ended)| ended - begun)
    };
    Saved {
        file_bytes: wrote.iter().map(|lane| lane.file_bytes).sum(),
        write_ns: wrote.iter().map(|lane| lane.write_ns).sum(),
        fsync_ns: wrote.iter().map(|lane| lane.fsync_ns).max().unwrap_or(0),
        fsync_folder_ns: 0,
        stall_ns: wrote.iter().map(|lane| lane.stall_ns).sum::<u64>() / wrote.len().max(1) as u64,
        model_ns: span(false),
        optimizer_ns: span(true),
    }
}

#[cfg(test)]
#[path = "save_tests.rs"]
mod tests;
