//! Checkpoint files: what is in them, byte by byte, and how they are saved and loaded.
//!
//! A file is an [`Image`]: a function from the plan, the seed and the checkpoint's name to bytes. It is made while it is
//! written and never held whole, and any part of it can be made again to be compared with what was read.
//!
//! | Module | What it is |
//! |---|---|
//! | [`content`] | the bytes of tensors |
//! | [`image`] | a file as members of a zip container, in order |
//! | [`pickle`] | `data.pkl`: which tensor has which key, type and shape |
//! | [`packing`] | zstd around a whole file |
//! | [`save`], [`load`] | one rank's files through a storage system |
//! | [`observer`] | who hears of I/O calls |
//! | `lane` | one of the files that are written at the same time |
//! | `verify` | looking at what is read |
//!
//! May know the plan, the storage trait and the containers of [`format`](mod@crate::format); no MPI, no clock labels, no metrics.

pub mod content;
pub mod image;
mod lane;
pub mod load;
pub mod observer;
pub mod packing;
pub mod pickle;
pub mod save;
mod verify;

pub use image::Image;

use std::path::{Path, PathBuf};

use crate::storage::StorageError;

/// File of a checkpoint's folder that says: not complete. It is made before the first file is written and deleted when
/// every rank has written all of its files.
pub const INCOMPLETE_MARKER: &str = "INCOMPLETE";

pub(crate) type Result<T, E = CheckpointError> = std::result::Result<T, E>;

/// Why a checkpoint could not be saved or loaded. Messages fit after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The file system filled up.
    #[error("save checkpoint file {}: no space left after {written} bytes of this file; {} stays marked incomplete and is not loaded\n  remedy: free space, or set checkpoint.keep to delete older checkpoints of the run", .path.display(), parent(.path))]
    Full { path: PathBuf, written: u64 },
    /// The folder of checkpoints cannot be made.
    #[error("make the checkpoint folder {}: {source}\n  remedy: check checkpoint.checkpoint_folder: it must be, or be possible to make as, a writable folder on every node", .path.display())]
    Folder {
        path: PathBuf,
        #[source]
        source: StorageError,
    },
    /// The storage system refused while saving.
    #[error("save checkpoint file {}: {source}", .path.display())]
    Save {
        path: PathBuf,
        #[source]
        source: StorageError,
    },
    /// The storage system refused while loading.
    #[error("load checkpoint file {}: {source}", .path.display())]
    Load {
        path: PathBuf,
        #[source]
        source: StorageError,
    },
    /// A file that the plan names is not there.
    #[error("load checkpoint file {}: it does not exist\n  remedy: save the checkpoint first, with the same model, parallelism, ZeRO stage and number of ranks", .path.display())]
    Missing { path: PathBuf },
    /// A checkpoint is marked incomplete.
    #[error("load checkpoint {}: it is marked incomplete by its file {INCOMPLETE_MARKER}: the run that saved it did not finish it\n  remedy: save it again, or load fewer checkpoints (checkpoint.num_checkpoints_read)", .folder.display())]
    Incomplete { folder: PathBuf },
    /// The file is not what the plan says.
    #[error("load checkpoint file {}: {cause}\n  remedy: load with the model, parallelism, ZeRO stage and number of ranks that it was saved with; a damaged file must be saved again", .path.display())]
    Layout {
        path: PathBuf,
        /// What differs.
        cause: String,
    },
    /// The file holds the planned tensors without a container, and their bytes are to be compared.
    #[error("load checkpoint file {}: it holds the bare bytes of the planned tensors, as MLCommons' DLIO saves them: they are random, so there is nothing to compare them with\n  remedy: set checkpoint.verify_content=false to measure the load", .path.display())]
    Bare { path: PathBuf },
    /// A byte differs from what was saved.
    #[error("load checkpoint file {}: byte {offset}{} is {got:#04x} where {expected:#04x} was saved\n  remedy: the file was altered, or saved with another seed (dataset.fill_seed) or checkpoint.randomize_tensor; save it again", .path.display(), within(.tensor))]
    Altered {
        path: PathBuf,
        /// Byte of the file (of its uncompressed content where it is compressed).
        offset: u64,
        /// The tensor that holds it; empty outside tensors.
        tensor: String,
        got: u8,
        expected: u8,
    },
    /// A thread could not be started.
    #[error(
        "start a checkpoint thread: {cause}\n  remedy: raise the limit of processes (ulimit -u)"
    )]
    Thread { cause: String },
}

fn parent(path: &Path) -> String {
    let folder = path.parent().and_then(Path::file_name).unwrap_or_default();
    format!("checkpoint {}", folder.to_string_lossy())
}

fn within(tensor: &str) -> String {
    if tensor.is_empty() {
        String::new()
    } else {
        format!(" (tensor {tensor})")
    }
}

impl CheckpointError {
    /// A refusal while `path` was saved.
    pub fn saving(path: &Path, source: StorageError) -> Self {
        match source {
            StorageError::Full { written, .. } => CheckpointError::Full {
                path: path.into(),
                written,
            },
            source => CheckpointError::Save {
                path: path.into(),
                source,
            },
        }
    }

    fn loading(path: &Path, source: StorageError) -> Self {
        match source {
            StorageError::Missing { .. } => CheckpointError::Missing { path: path.into() },
            StorageError::Short { expected, got, .. } => CheckpointError::Layout {
                path: path.into(),
                cause: format!("it ends at byte {got} where {expected} were expected"),
            },
            source => CheckpointError::Load {
                path: path.into(),
                source,
            },
        }
    }
}

/// Reads the directory of a file in memory, and every pickle that it names: what the fuzz targets call.
///
/// Errors: whatever is wrong with it. It never panics, and allocates in proportion to the file.
#[doc(hidden)]
pub fn check(file: &[u8]) -> Result<usize, String> {
    use crate::format::container::zip;
    let len = file.len() as u64;
    let tail = &file[file.len().saturating_sub(64 << 10)..];
    let part = |offset: u64, len: u64| {
        let end = offset.checked_add(len)?;
        file.get(usize::try_from(offset).ok()?..usize::try_from(end).ok()?)
    };
    let span = load::find_directory(tail, len)?;
    let directory = part(span.offset, span.len).ok_or("it lies beyond the end")?;
    let entries = load::parse_directory(directory, span)?;
    let mut tensors = 0;
    for entry in entries.iter().filter(|e| e.name.ends_with("data.pkl")) {
        let header = part(entry.offset, zip::LOCAL_LEN as u64).ok_or("no local header")?;
        let at = load::data_offset(header, entry.offset).ok_or("a damaged local header")?;
        let bytes = part(at, entry.len).ok_or("a member beyond the end")?;
        tensors += pickle::read(bytes)?.len();
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests;
