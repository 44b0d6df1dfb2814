//! The folders of checkpoints: the lock on all of them, the marker of one that is not whole, and what is deleted.

use std::path::{Path, PathBuf};

use super::{Checkpointer, Moment};
use crate::checkpoint::observer::PATIENCE_NS_PER_BYTE;
use crate::checkpoint::{CheckpointError, INCOMPLETE_MARKER};
use crate::clock::now_ns;
use crate::loader::Stretch;
use crate::plan::checkpoint::{FilePlan, folder_name};
use crate::report::Event;
use crate::run::events::Events;
use crate::run::failure::{RankError, Result, agree, only_where};
use crate::storage::{FolderLock, StorageError};

impl Checkpointer<'_> {
    /// Takes the folder of checkpoints for this job, until this is dropped: two that save there would replace each other's
    /// files. A collective.
    ///
    /// Errors: another job saves there.
    pub fn claim(&mut self, events: &mut Events) -> Result<()> {
        let claim = || -> Result<Option<FolderLock>, RankError> {
            if self.job.cluster.rank() > 0 {
                return Ok(None);
            }
            let _task = self.job.doing("lock", &self.root);
            self.make_folder(&self.root)?;
            Ok(self.storage.lock(&self.root)?)
        };
        self.lock = agree(self.job.cluster, claim())?;
        if let Some(warning) = (self.lock.as_ref()).and_then(|lock| lock.taken_over.clone()) {
            events.emit(Event::Warning(warning));
        }
        Ok(())
    }

    pub(super) fn folder(&self, moment: Moment) -> PathBuf {
        self.root.join(folder_name(moment.epoch, moment.step))
    }

    pub(super) fn path(&self, folder: &Path, file: &FilePlan) -> PathBuf {
        folder.join(format!(
            "{}.{}{}",
            file.name,
            self.container.extension(),
            self.packing.suffix()
        ))
    }

    pub(super) fn marker(&self, moment: Moment) -> PathBuf {
        self.folder(moment).join(INCOMPLETE_MARKER)
    }

    fn make_folder(&self, folder: &Path) -> Result<(), CheckpointError> {
        let refused = |source| CheckpointError::Folder {
            path: folder.into(),
            source,
        };
        self.storage.create_folder(folder).map_err(refused)
    }

    fn mark(&self, moment: Moment) -> Result<(), RankError> {
        let (folder, marker) = (self.folder(moment), self.marker(moment));
        let _task = self.job.doing("write", &marker);
        self.make_folder(&folder)?;
        if let Some(lock) = self.lock.as_ref().filter(|lock| lock.taken_over.is_some()) {
            lock.sweep(&folder)?;
        }
        let write = || {
            let mut writer = self.storage.create(&marker)?;
            writer
                .write(b"This checkpoint is being saved, or its save was interrupted.\n")
                .map_err(|e| StorageError::writing(&marker, 0, e))?;
            writer.finish()
        };
        Ok(write().map_err(|e| CheckpointError::saving(&marker, e))?)
    }

    /// The checkpoint's folder with its marker, wherever a rank writes into it. A collective.
    pub(super) fn make_folders(&self, moment: Moment, folder: &Path) -> Result<()> {
        let cluster = self.job.cluster;
        only_where(cluster, cluster.rank() == 0, || self.mark(moment))?;
        // The folder may be one of each node.
        only_where(cluster, !self.plan.files.is_empty(), || {
            let _task = self.job.doing("make the folder", folder);
            self.make_folder(folder)
        })
    }

    /// Deletes what `checkpoint.keep` no longer wants; only what this run saved. A collective.
    pub(super) fn forget_oldest(&mut self) -> Result<()> {
        let Some(keep) = self.job.workload.checkpoint.keep else {
            return Ok(());
        };
        let cluster = self.job.cluster;
        while self.saved.len() as u64 > keep {
            let Some(oldest) = self.saved.pop_front() else {
                break;
            };
            let folder = self.folder(oldest);
            let is_first = cluster.rank() == 0;
            only_where(cluster, is_first, || self.mark(oldest))?;
            let task = self.job.doing("delete the files of", &folder);
            let deleted = (self.plan.files.iter())
                .try_for_each(|file| self.storage.remove(&self.path(&folder, file)));
            drop(task);
            agree(cluster, deleted.map_err(RankError::from))?;
            only_where(cluster, is_first, || {
                self.storage.remove(&self.marker(oldest))
            })?;
            only_where(cluster, cluster.local_rank() == 0, || {
                self.storage.remove_folder(&folder)
            })?;
        }
        Ok(())
    }

    /// Refuses what cannot be loaded, before anything is timed. A collective.
    pub fn check_loadable(&self, moments: &[Moment]) -> Result<()> {
        let check = || -> Result<(), RankError> {
            if !self.storage.system().has_bytes {
                return Ok(());
            }
            for &moment in moments {
                let folder = self.folder(moment);
                let _task = self.job.doing("look for the files of", &folder);
                if self.storage.len(&self.marker(moment))?.is_some() {
                    return Err(CheckpointError::Incomplete { folder }.into());
                }
                for file in &self.load_plan.files {
                    let path = self.path(&folder, file);
                    if self.storage.len(&path)?.is_none() {
                        return Err(CheckpointError::Missing { path }.into());
                    }
                }
            }
            Ok(())
        };
        agree(self.job.cluster, check())
    }

    /// Asks the kernel to forget the files that will be loaded.
    pub fn evict(&self, moments: &[Moment]) -> Result<(), RankError> {
        let files = moments.len() * self.load_plan.files.len();
        let _work = (self.job.activity).work(Stretch::DropCache, files as u64);
        for &moment in moments {
            let folder = self.folder(moment);
            for file in &self.load_plan.files {
                let _task = self.job.doing("evict", &self.path(&folder, file));
                // What is not yet on the device is written first.
                let may_last_ns = file.bytes().saturating_mul(PATIENCE_NS_PER_BYTE);
                let activity = self.job.activity;
                activity.busy_until(now_ns().saturating_add(may_last_ns));
                self.storage.evict(&self.path(&folder, file))?;
                activity.busy_until(0);
                activity.worked(1);
            }
        }
        Ok(())
    }
}
