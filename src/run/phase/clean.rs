//! Deleting a dataset after the run: `dataset.keep_files`.

use std::path::{Path, PathBuf};

use crate::format::Format;
use crate::run::context::JobContext;
use crate::run::dataset::DatasetFiles;
use crate::run::failure::{RankError, Result, agree, only_where};
use crate::run::open::{open_storage, pick_format};
use crate::storage::Storage;

/// Files that one call deletes; object stores take up to 1,000 in a request.
const DELETED_AT_ONCE: usize = 1000;

/// Deletes the dataset when `dataset.keep_files` is false. A collective.
pub fn clean_up(job: &JobContext) -> Result<()> {
    if job.workload.dataset.keep_files {
        return Ok(());
    }
    let storage = agree(job.cluster, open_storage(job))?;
    let files = DatasetFiles::to_generate(job.workload, job.cluster.size());
    let format = agree(job.cluster, pick_format(job.workload))?;
    delete_dataset(job, &*storage, format, &files)
}

/// Deletes the files that the plan names, the manifest, and the folders that are then empty. A collective.
fn delete_dataset(
    job: &JobContext,
    storage: &dyn Storage,
    format: Option<&dyn Format>,
    files: &DatasetFiles,
) -> Result<()> {
    let (rank, ranks) = job.data_part();
    let total = files.train.files() + files.valid.files();
    let companions = format.map_or(&[][..], |format| format.companions());
    let mut path = PathBuf::new();
    let mut paths = Vec::new();
    let mut mine = Ok(());
    let mut indices = (rank..total).step_by(ranks as usize).peekable();
    while let Some(index) = indices.next()
        && mine.is_ok()
    {
        files.path_of_global(index, &mut path);
        paths.extend(companions.iter().map(|companion| companion.path(&path)));
        paths.push(path.clone());
        if paths.len() >= DELETED_AT_ONCE || indices.peek().is_none() {
            let _task = job.doing("delete", &path);
            let some: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
            mine = storage.remove_many(&some).map_err(RankError::from);
            paths.clear();
        }
    }
    agree(job.cluster, mine)?;
    only_where(job.cluster, rank == 0, || {
        let _task = job.doing("remove the folders of", files.root());
        files.remove_folders(storage)
    })
}
