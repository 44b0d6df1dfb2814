//! One writing job per folder: a lock file in it.

use std::fs;
use std::io;
use std::path::Path;

use super::part::is_part;
use super::{Result, StorageError};
use crate::host::lock::{Lock, Refused};

/// Name of the lock within its folder.
const NAME: &str = ".dlio-rs-lock";

/// A folder taken for one job; free again when dropped, and after a signal.
#[derive(Debug)]
pub struct FolderLock {
    _lock: Lock,
    /// What a job that was killed left: the folder was its.
    pub taken_over: Option<String>,
}

impl FolderLock {
    /// Takes a folder that exists.
    ///
    /// Errors: [`StorageError::Locked`], or the lock cannot be written.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let path = folder.join(NAME);
        let lock = Lock::take(&path).map_err(|refused| match refused {
            Refused::Held { by, ended } => StorageError::Locked {
                folder: folder.into(),
                holder: format!("{by},"),
                remedy: format!(
                    "wait for that job, or choose another folder; where it is gone ({ended}), delete {}",
                    path.display()
                ),
            },
            Refused::Io {
                operation,
                path,
                source,
            } => StorageError::io(operation, &path, source),
        })?;
        let taken_over = lock.before.as_ref().map(|holder| {
            format!(
                "{}: a job of {} (process {}) that no longer runs was writing here since {}; what it left unfinished is removed",
                folder.display(),
                holder.owner.host,
                holder.owner.process.id,
                holder.since
            )
        });
        Ok(FolderLock {
            _lock: lock,
            taken_over,
        })
    }

    /// Deletes what was never finished in a folder of the locked one.
    ///
    /// Errors: the folder cannot be listed, or something cannot be deleted.
    pub fn sweep(&self, folder: &Path) -> Result<()> {
        sweep(folder)
    }
}

fn sweep(folder: &Path) -> Result<()> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(StorageError::io("list", folder, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| StorageError::io("list", folder, e))?;
        let is_file = entry.file_type().is_ok_and(|kind| !kind.is_dir());
        if is_file && is_part(&entry.file_name()) {
            let path = entry.path();
            match fs::remove_file(&path) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(StorageError::io("delete", &path, e));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::lock::leave;

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over_and_one_of_another_host_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        leave(&path, |_| {});
        let lock = FolderLock::take(dir.path()).unwrap();
        assert!(lock.taken_over.as_ref().unwrap().contains("no longer runs"));
        drop(lock);
        leave(&path, |owner| owner.host = "elsewhere".into());
        let error = FolderLock::take(dir.path()).unwrap_err().to_string();
        let delete = format!("delete {}", path.display());
        for word in [
            "host elsewhere",
            "pgrep -af dlio",
            "on elsewhere, which may be a container",
            "remedy",
            &delete,
        ] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn sweeping_removes_parts_alone() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".a.npz.1f-0.part", ".a.part", "b.npz", ".c"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        sweep(dir.path()).unwrap();
        assert_eq!(crate::util::names_in(dir.path()), [".c", "b.npz"]);
    }
}
