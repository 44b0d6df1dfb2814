//! The names of a dataset's files as a listing found them: for datasets that dlio-rs did not name.

use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::sync::Arc;

use super::context::JobContext;
use super::failure::{JobError, RankError, agree};
use super::wire;
use crate::config::Workload;
use crate::plan::Split;
use crate::storage::{self, Storage};

mod index;
mod search;

pub(crate) use index::Names;
use search::search;

/// The first word of a file with names.
const HEADER: &str = "dlio-rs listing";

/// What names of the workload's files end with: the word of the format as DLIO asks for it, in upper case too, or another
/// extension of the format.
fn suffixes(w: &Workload) -> Vec<String> {
    let word = w.dataset.format.word();
    let others = wire::format_row(w).extensions.iter();
    let others = others.map(|extension| format!(".{extension}"));
    [word.to_string(), word.to_uppercase()]
        .into_iter()
        .chain(others)
        .collect()
}

/// Names of both splits.
pub(super) type Listed = [Arc<Names>; 2];

/// The names of the training and the evaluation files on every rank: listed by rank 0, or read from the file of names.
///
/// A collective. Errors: what cannot be listed; fewer files than the workload wants.
pub(super) fn list(job: &JobContext, storage: &dyn Storage) -> Result<Listed, JobError> {
    let (cluster, w) = (job.cluster, job.workload);
    let mine = if cluster.rank() == 0 {
        let root = w.data_root();
        let _task = job.doing("list", &root);
        found(w, storage)
    } else {
        Ok([Names::default(), Names::default()])
    };
    let [train, valid] = agree(cluster, mine)?;
    Ok([train.shared(cluster), valid.shared(cluster)])
}

/// The names of a workload's files outside of a job.
///
/// Errors: as [`list`].
pub fn of(w: &Workload) -> Result<[Names; 2], RankError> {
    let storage = storage::open(&wire::dataset_store(w), &[])?;
    found(w, &*storage)
}

/// Rank 0's part of [`list`].
fn found(w: &Workload, storage: &dyn Storage) -> Result<[Names; 2], RankError> {
    let root = w.data_root();
    let kept = w.dataset.listing_file.as_deref().map(Path::new);
    if let Some(path) = kept
        && let Some(names) = read(path, &root, w)?
    {
        return enough(w, names);
    }
    let suffixes = suffixes(w);
    let of = |split: Split, wanted: u64| match wanted {
        0 => Ok(Names::default()),
        _ => search(
            &|folder, visit| storage.entries(folder, visit),
            &root.join(split.folder()),
            &suffixes,
        ),
    };
    let names = [
        of(Split::Train, w.dataset.num_files_train)?,
        of(Split::Valid, evaluated(w))?,
    ];
    let names = enough(w, names)?;
    if let Some(path) = kept {
        write(path, &root, w, &names)?;
    }
    Ok(names)
}

/// Evaluation files that the workload reads.
fn evaluated(w: &Workload) -> u64 {
    if w.workflow.evaluation {
        w.dataset.num_files_eval
    } else {
        0
    }
}

/// Source: DLIO `main.py`: "Not enough training dataset is found".
fn enough(w: &Workload, names: [Names; 2]) -> Result<[Names; 2], RankError> {
    for (names, wanted, split, key) in [
        (
            &names[0],
            w.dataset.num_files_train,
            Split::Train,
            "dataset.num_files_train",
        ),
        (
            &names[1],
            evaluated(w),
            Split::Valid,
            "dataset.num_files_eval",
        ),
    ] {
        let found = names.len();
        if found < wanted {
            return Err(RankError::Dataset(format!(
                "find the files of {}: {found} files end with {}, and {key} is {wanted}\n  remedy: lower {key} to {found}, or check dataset.data_folder and dataset.format",
                w.data_root().join(split.folder()).display(),
                suffixes(w).join(" or ")
            )));
        }
    }
    Ok(names)
}

/// The first line of a file of names: what they are names of.
fn header(root: &Path, w: &Workload) -> String {
    format!("{HEADER} of {} in {}", w.dataset.format, root.display())
}

/// The names in a file; None: there is no such file.
fn read(path: &Path, root: &Path, w: &Workload) -> Result<Option<[Names; 2]>, RankError> {
    let wrong = |what: String| {
        RankError::Dataset(format!(
            "read dataset.listing_file={}: {what}\n  remedy: delete it, and the next run lists the dataset again",
            path.display()
        ))
    };
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(wrong(storage::errno_words(&e))),
    };
    let lines = BufReader::new(file).lines();
    let mut lines = lines.map(|line| line.map_err(|e| wrong(storage::errno_words(&e))));
    let first = lines.next().transpose()?.unwrap_or_default();
    if first != header(root, w) {
        return Err(wrong(format!(
            "its first line is {first:?}, and the dataset's would be {:?}",
            header(root, w)
        )));
    }
    let mut names = [Names::default(), Names::default()];
    for line in lines {
        let line = line?;
        let (split, name) = line.split_once('/').unwrap_or((&line, ""));
        let at = [Split::Train, Split::Valid]
            .iter()
            .position(|s| s.folder() == split && !name.is_empty());
        let at = at.ok_or_else(|| wrong(format!("the line {line:?} is below neither split")))?;
        names[at].push([name, ""]);
    }
    names.iter_mut().for_each(Names::sort);
    Ok(Some(names))
}

fn write(path: &Path, root: &Path, w: &Workload, names: &[Names; 2]) -> Result<(), RankError> {
    let wrong = |what: String| {
        RankError::Dataset(format!(
            "write dataset.listing_file={}: {what}",
            path.display()
        ))
    };
    let header = header(root, w);
    let lines = |names: &Names, split: Split, out: &mut dyn Write| {
        for position in 0..names.len() {
            let name = names.get(position);
            if name.contains('\n') {
                return Err(io::Error::other(format!(
                    "the name {name:?} holds a line end\n  remedy: leave dataset.listing_file out"
                )));
            }
            writeln!(out, "{}/{name}", split.folder())?;
        }
        Ok(())
    };
    // Complete, or not there under its name.
    storage::replace_file_by(path, |out| {
        writeln!(out, "{header}")?;
        lines(&names[0], Split::Train, out)?;
        lines(&names[1], Split::Valid, out)
    })
    .map_err(|e| wrong(storage::errno_words(&e)))
}
