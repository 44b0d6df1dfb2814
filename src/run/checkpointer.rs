//! Saving and loading checkpoints: what all ranks do together around one rank's files.
//!
//! A checkpoint's folder holds a marker from before its first byte until every rank has written all of its files, so that
//! whatever happens in between, an incomplete checkpoint is never loaded.

mod folder;

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::checkpoint_watch::Watched;
use super::context::{JobContext, label};
use super::events::Events;
use super::failure::{RankError, Result, agree, only_where};
use super::open::open_store;
use super::wire;
use crate::checkpoint::CheckpointError;
use crate::checkpoint::content::ContentSource;
use crate::checkpoint::image::{Container, Image};
use crate::checkpoint::load::{self, LoadOptions, Readers, Source};
use crate::checkpoint::observer::PATIENCE_NS_PER_BYTE;
use crate::checkpoint::packing::Packing;
use crate::checkpoint::save::{self, Buffers, SaveOptions, Target};
use crate::clock::now_ns;
use crate::config::{CheckpointCompression, CheckpointMode};
use crate::host::cpus::take_place;
use crate::host::process::device_bytes;
use crate::loader::{Phase, Stretch};
use crate::metrics::checkpoint::{CheckpointKind, CheckpointLog, CheckpointRecord};
use crate::metrics::histogram::StageHistograms;
use crate::metrics::timeline::Column;
use crate::metrics::trace::PhaseKind;
use crate::plan::checkpoint::{CheckpointPlan, FilePlan, RankPlan, folder_name};
use crate::report::Event;
use crate::storage::{FolderLock, Storage, Telemetry};

/// The storage system of the checkpoint folder.
fn open(job: &JobContext) -> Result<Arc<dyn Storage>, RankError> {
    let spec =
        wire::checkpoint_store(job.workload).map_err(|e| RankError::Dataset(e.to_string()))?;
    open_store(job, &spec)
}

/// The checkpoint of one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// From 1.
    pub epoch: u64,
    /// The step in its name.
    pub step: u64,
    /// DLIO's number in its key.
    pub number: u64,
    /// Steps of the epoch taken before; DLIO says it in its log.
    pub taken: u64,
}

impl Moment {
    fn started(self, kind: CheckpointKind) -> Event {
        Event::CheckpointStarted {
            kind,
            epoch: self.epoch,
            number: self.number,
            step: self.taken,
        }
    }
}

/// Saves and loads this rank's part of checkpoints.
pub struct Checkpointer<'a> {
    job: &'a JobContext<'a>,
    storage: Arc<dyn Storage>,
    root: PathBuf,
    plan: RankPlan,
    /// The files that this rank loads: another rank's under `recovery_rank_shift`.
    load_plan: RankPlan,
    content: ContentSource,
    container: Container,
    packing: Packing,
    load_options: LoadOptions,
    /// Files that are written at the same time.
    lanes: usize,
    buffers: Option<Buffers>,
    readers: Option<Readers>,
    watched: Watched,
    /// How long the slowest rank may keep the others waiting before something must be wrong, nanoseconds.
    patience_ns: u64,
    /// Checkpoints that this run saved and that are there.
    saved: VecDeque<Moment>,
    /// That of rank 0 on the folder of checkpoints, from before the first save to the end.
    lock: Option<FolderLock>,
    log: CheckpointLog,
}

impl<'a> Checkpointer<'a> {
    /// Plans the checkpoints of a job. A collective.
    pub fn new(job: &'a JobContext, events: &mut Events) -> Result<Self> {
        let (cluster, w) = (job.cluster, job.workload);
        let storage = agree(cluster, open(job))?;
        let ranks = cluster.size();
        let plan = CheckpointPlan::new(&w.model, w.checkpoint.mode, ranks)
            .map_err(|e| RankError::Dataset(e.to_string()));
        let plan = agree(cluster, plan)?;
        let rank = cluster.rank() as u64;
        let c = &w.checkpoint;
        let mut log = CheckpointLog::default();
        if cluster.rank() == 0 {
            let totals = plan.totals();
            log.size_bytes = totals.dlio_bytes;
            let p = &w.model.parallelism;
            let whole = plan.data() * p.tensor * p.pipeline;
            events.emit(Event::CheckpointPlanned {
                subset_of: (c.mode == CheckpointMode::Subset).then_some(whole),
                parameters: plan.parameters() as f64,
                model_bytes: totals.dlio_model_bytes,
                optimizer_bytes: totals.dlio_bytes - totals.dlio_model_bytes,
            });
        }
        let packing = match c.compression {
            CheckpointCompression::None => Packing::None,
            CheckpointCompression::Zstd => Packing::Zstd(c.compression_level),
        };
        // The most that any rank has to write: those with less wait for it.
        let largest = cluster.largest(plan.rank(rank).bytes());
        let container = Container::of(w.framework);
        let threads = c.read_threads.max(1) as usize;
        let load_options = LoadOptions {
            threads,
            verify: c.verify_content,
            packing,
            container,
            transfer: storage.system().transfer(w.reader.transfer_size),
            thread_begins: take_place,
        };
        let of_rank = plan.rank(rank);
        let lanes = wire::write_files(w, storage.system()).min(of_rank.files.len());
        let shift = if c.recovery_rank_shift {
            cluster.local_size() as u64
        } else {
            0
        };
        Ok(Checkpointer {
            job,
            root: w.checkpoint_root(),
            plan: of_rank,
            load_plan: plan.rank((rank + shift) % ranks as u64),
            content: ContentSource::new(w.dataset.fill_seed, c.randomize_tensor, wire::shrink(w)),
            container,
            packing,
            load_options,
            lanes,
            buffers: None,
            readers: None,
            watched: Watched::new(
                job.activity,
                rank,
                threads.max(lanes),
                job.gauges.as_deref(),
                job.tracer.as_deref(),
            ),
            patience_ns: largest.saturating_mul(PATIENCE_NS_PER_BYTE),
            saved: VecDeque::new(),
            lock: None,
            storage,
            log,
        })
    }

    fn image(&self, moment: Moment, file: &FilePlan) -> Image {
        let folder = folder_name(moment.epoch, moment.step);
        Image::new(self.container, file, &folder, &self.content)
    }

    /// From here on this rank only waits, as long as the one with the most bytes may take.
    fn wait_for_others(&self, moment: Moment) {
        let activity = self.job.activity;
        activity.enter(Phase::Barrier, moment.epoch, moment.step);
        activity.busy_until(now_ns().saturating_add(self.patience_ns));
    }

    /// Saves a checkpoint. A collective.
    pub fn save(&mut self, events: &mut Events, moment: Moment) -> Result<()> {
        let folder = self.folder(moment);
        self.job
            .activity
            .enter(Phase::Save, moment.epoch, moment.step);
        self.make_folders(moment, &folder)?;
        let (start_ns, record) = self.write(events, moment, &folder)?;
        let cluster = self.job.cluster;
        only_where(cluster, cluster.rank() == 0, || {
            let _task = self.job.doing("remove", &self.marker(moment));
            self.storage.remove(&self.marker(moment))
        })?;
        self.ended(events, start_ns, record);
        self.saved.push_back(moment);
        self.forget_oldest()
    }

    /// The timed part: this rank's files. A collective. Returns also when it began, [`now_ns`].
    ///
    /// Source of what is timed: DLIO `main.py::_checkpoint`.
    fn write(
        &mut self,
        events: &mut Events,
        moment: Moment,
        folder: &Path,
    ) -> Result<(u64, CheckpointRecord)> {
        let (cluster, activity) = (self.job.cluster, self.job.activity);
        let targets: Vec<Target> = (self.plan.files.iter())
            .map(|file| Target {
                path: self.path(folder, file),
                state: file.state,
                image: self.image(moment, file),
            })
            .collect();
        let c = &self.job.workload.checkpoint;
        let options = SaveOptions {
            fsync: c.fsync,
            packing: self.packing,
            thread_begins: take_place,
        };
        let storage = &*self.storage;
        let buffers = self
            .buffers
            .get_or_insert_with(|| Buffers::new(storage, self.lanes));
        let mut start = (now_ns(), String::new());
        let kind = CheckpointKind::Save;
        let mut begin = || {
            cluster.barrier();
            events.emit(moment.started(kind));
            activity.moved();
            start = (now_ns(), label());
        };
        let _work = activity.work(Stretch::Save, self.plan.bytes());
        let outcome = save::save(
            storage,
            folder,
            &targets,
            &options,
            buffers,
            &self.watched,
            &mut begin,
        );
        let start_ns = start.0;
        let (saved, record) = self.together(moment, kind, start, outcome)?;
        let record = CheckpointRecord {
            tensor_bytes: self.plan.bytes(),
            file_bytes: saved.file_bytes,
            io_ns: saved.write_ns,
            fsync_ns: saved.fsync_ns,
            fsync_folder_ns: saved.fsync_folder_ns,
            stall_ns: saved.stall_ns,
            model_ns: saved.model_ns,
            optimizer_ns: saved.optimizer_ns,
            ..record
        };
        Ok((start_ns, record))
    }

    /// The end of the timed part, once all ranks agree how it went; its times. A collective.
    fn together<T>(
        &self,
        moment: Moment,
        kind: CheckpointKind,
        (start_ns, start): (u64, String),
        outcome: Result<T, CheckpointError>,
    ) -> Result<(T, CheckpointRecord)> {
        let (cluster, activity) = (self.job.cluster, self.job.activity);
        let own_ns = now_ns() - start_ns;
        self.wait_for_others(moment);
        if self.job.workload.checkpoint.rank_sync {
            cluster.barrier();
        }
        let record = CheckpointRecord {
            kind,
            epoch: moment.epoch,
            step: moment.step,
            number: moment.number,
            start,
            wall_ns: now_ns() - start_ns,
            end: label(),
            own_ns,
            ..CheckpointRecord::default()
        };
        let done = agree(cluster, outcome.map_err(RankError::from))?;
        activity.busy_until(0);
        activity.moved();
        Ok((done, record))
    }

    /// `start_ns`: when the timed part began, [`now_ns`].
    fn ended(&mut self, events: &mut Events, start_ns: u64, record: CheckpointRecord) {
        if let Some(tracer) = &self.job.tracer {
            let kind = match record.kind {
                CheckpointKind::Save => PhaseKind::Save,
                CheckpointKind::Load => PhaseKind::Load,
            };
            tracer.phase(kind, start_ns, start_ns + record.wall_ns);
        }
        if let Some(gauges) = &self.job.gauges {
            let column = match record.kind {
                CheckpointKind::Save => Column::CheckpointBytesWritten,
                CheckpointKind::Load => Column::CheckpointBytesRead,
            };
            gauges.add(
                column,
                start_ns,
                start_ns + record.own_ns,
                record.file_bytes,
            );
        }
        events.emit(Event::CheckpointEnded {
            record: record.clone(),
            size_bytes: self.log.size_bytes,
        });
        self.log.records.push(record);
    }

    /// Loads a checkpoint. A collective.
    pub fn load(&mut self, events: &mut Events, moment: Moment) -> Result<()> {
        let (cluster, activity) = (self.job.cluster, self.job.activity);
        let folder = self.folder(moment);
        activity.enter(Phase::Load, moment.epoch, moment.step);
        let sources: Vec<Source> = (self.load_plan.files.iter())
            .map(|file| Source {
                path: self.path(&folder, file),
                plan: file.clone(),
                image: self.image(moment, file),
            })
            .collect();
        let storage = &*self.storage;
        let options = &self.load_options;
        let readers = self.readers.get_or_insert_with(|| Readers::new(options));
        cluster.barrier();
        let kind = CheckpointKind::Load;
        events.emit(moment.started(kind));
        activity.moved();
        let device_before = device_bytes();
        let start = (now_ns(), label());
        let start_ns = start.0;
        let _work = activity.work(Stretch::Load, self.load_plan.bytes());
        let outcome = load::load(storage, &sources, options, readers, &self.watched);
        let (loaded, record) = self.together(moment, kind, start, outcome)?;
        let device = device_before
            .zip(device_bytes())
            .map(|(before, after)| after.saturating_sub(before));
        let record = CheckpointRecord {
            tensor_bytes: self.load_plan.bytes(),
            file_bytes: loaded.file_bytes,
            io_ns: loaded.read_ns,
            model_ns: loaded.model_ns,
            optimizer_ns: loaded.optimizer_ns,
            device_bytes: device,
            ..record
        };
        self.ended(events, start_ns, record);
        Ok(())
    }

    /// Bytes of memory that saving takes: buffers, and what the storage system holds of files that are written.
    pub fn save_memory(&self) -> u64 {
        let longest = self.plan.files.iter().map(FilePlan::bytes).max();
        longest.map_or(0, |longest| {
            let held = self.storage.write_memory(self.lanes as u64, longest);
            Buffers::bytes_for(&*self.storage, self.lanes).saturating_add(held)
        })
    }

    /// What its requests to an object store came to.
    pub fn telemetry(&self) -> Option<Telemetry> {
        self.storage.telemetry()
    }

    pub fn finish(self) -> (CheckpointLog, StageHistograms) {
        (self.log, self.watched.finish())
    }

    /// The command between saving and loading took this long, seconds.
    pub fn set_between(&mut self, seconds: f64) {
        self.log.between_phases_s = Some(seconds);
    }

    pub fn storage(&self) -> &dyn Storage {
        &*self.storage
    }
}

#[cfg(test)]
#[path = "checkpointer_tests.rs"]
mod tests;
