//! `dlio-rs clean FOLDER`: what an ended run left on an object store: uploads that were begun, checkpoints marked
//! incomplete. Only what has this program's names is shown, and only what was shown is removed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::args::CleanArgs;
use super::output::{self, Format};
use super::{Result, Stop, out, resolve};
use crate::checkpoint::INCOMPLETE_MARKER;
use crate::run::wire;
use crate::storage::{self, Storage, StorageError};
use crate::util::text::is_digits;

/// What was found below a folder.
#[derive(Serialize)]
struct Left {
    schema: &'static str,
    /// Uploads that were begun.
    uploads: Vec<Begun>,
    /// Files of incomplete checkpoints, the marker of each last.
    files: Vec<Kept>,
    /// Whether it was removed then.
    removed: bool,
}

#[derive(Serialize)]
struct Begun {
    path: PathBuf,
    /// The store's name for it.
    upload: String,
}

#[derive(Serialize)]
struct Kept {
    path: PathBuf,
    bytes: u64,
}

/// Shows what is left, and with `--yes` removes it.
///
/// Errors: the folder is on no object store (status 2), or the store refuses (status 1).
pub(super) fn clean(args: &CleanArgs) -> Result<()> {
    let failed =
        |error: StorageError| Stop::failed(format!("failed to clean {}: {error}", args.folder));
    let (workload, address) = resolve(&args.words, "FOLDER", &args.folder)?;
    if !address.system.objects {
        return Err(Stop::usage(format!(
            "clean {}: it is on no object store\n  remedy: name s3://bucket/prefix or az://account/container/prefix; on file systems a run that ends removes what is half written",
            args.folder
        )));
    }
    let storage = storage::open(&wire::store_at(&workload, &address), &[]).map_err(failed)?;
    let root = address.path;
    let mut left = find(&*storage, &root).map_err(failed)?;
    left.removed = args.yes;
    if args.format == Format::Text {
        // Before anything is removed.
        out(&left.list())?;
    }
    if args.yes {
        remove(&*storage, &left).map_err(failed)?;
    }
    output::print(args.format, &left, Left::summary)
}

impl Left {
    fn list(&self) -> String {
        let uploads =
            (self.uploads.iter()).map(|u| format!("upload {} ({})\n", u.path.display(), u.upload));
        let files = (self.files.iter())
            .map(|f| format!("file   {} ({} bytes)\n", f.path.display(), f.bytes));
        uploads.chain(files).collect()
    }

    fn summary(&self) -> String {
        let (uploads, files) = (self.uploads.len(), self.files.len());
        let end = match self.removed {
            true => ": removed",
            false => "; nothing is removed without --yes",
        };
        format!("{uploads} unfinished uploads, {files} files of incomplete checkpoints{end}\n")
    }
}

fn remove(storage: &dyn Storage, left: &Left) -> Result<(), StorageError> {
    for begun in &left.uploads {
        storage.abort(&begun.path, &begun.upload)?;
    }
    let paths = left.files.iter().map(|file| file.path.as_path());
    let (markers, files): (Vec<&Path>, Vec<&Path>) =
        paths.partition(|path| path.ends_with(INCOMPLETE_MARKER));
    // The markers go last: until then the checkpoints are known to be incomplete.
    storage.remove_many(&files)?;
    storage.remove_many(&markers)
}

fn find(storage: &dyn Storage, root: &Path) -> Result<Left, StorageError> {
    let mut left = Left {
        schema: "dlio-rs/clean/1",
        uploads: Vec::new(),
        files: Vec::new(),
        removed: false,
    };
    storage.uploads(root, &mut |name, upload| {
        if is_ours(name) {
            left.uploads.push(Begun {
                path: in_folder(root, name),
                upload: upload.into(),
            });
        }
    })?;
    let mut checkpoints: BTreeMap<String, Vec<(String, u64)>> = BTreeMap::new();
    storage.list(root, &mut |name, len| {
        if let Some(folder) = checkpoint_of(name) {
            let files = checkpoints.entry(folder.into()).or_default();
            files.push((name.into(), len));
        }
    })?;
    for (folder, mut files) in checkpoints {
        let marker = format!("{folder}/{INCOMPLETE_MARKER}");
        if files.iter().any(|(name, _)| *name == marker) {
            files.sort_by_key(|(name, _)| (*name == marker, name.clone()));
            let files = files.into_iter().map(|(name, bytes)| {
                let path = in_folder(root, &name);
                Kept { path, bytes }
            });
            left.files.extend(files);
        }
    }
    Ok(left)
}

/// Object stores know no folders: a name is what follows the prefix.
fn in_folder(root: &Path, name: &str) -> PathBuf {
    let root = root.to_string_lossy();
    PathBuf::from(format!("{}/{name}", root.trim_end_matches('/')))
}

/// The checkpoint's folder in which a file lies: `.../global_epoch1_step2`.
fn checkpoint_of(name: &str) -> Option<&str> {
    let (folder, _) = name.rsplit_once('/')?;
    let last = folder.rsplit('/').next()?;
    let (epoch, step) = last.strip_prefix("global_epoch")?.split_once("_step")?;
    (is_digits(epoch) && is_digits(step)).then_some(folder)
}

/// True for names that datasets and checkpoints of this program have.
fn is_ours(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or(name);
    let is_of_dataset = || {
        // PREFIX_N_of_M.FORMAT
        let (stem, _) = file.split_once('.')?;
        let (rest, count) = stem.rsplit_once("_of_")?;
        let (_, index) = rest.rsplit_once('_')?;
        Some(is_digits(index) && is_digits(count))
    };
    file == crate::run::manifest::MANIFEST
        || checkpoint_of(name).is_some()
        || is_of_dataset().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_this_program_are_taken() {
        for ours in [
            "train/img_07_of_64.npz",
            "valid/3/a_b_1_of_2.tfrecord",
            ".dlio-rs-manifest.json",
            "llama/global_epoch1_step2/zero_pp_rank_0.pt",
            "global_epoch1_step2/INCOMPLETE",
        ] {
            assert!(is_ours(ours), "{ours}");
        }
        for strange in [
            "train/img_07_of_64",
            "img_x_of_64.npz",
            "of_64.npz",
            "global_epoch1/step2.pt",
            "global_epoch1_stepx/a.pt",
            "backup.tar",
            "global_epoch1_step2",
        ] {
            assert!(!is_ours(strange), "{strange}");
        }
    }
}
