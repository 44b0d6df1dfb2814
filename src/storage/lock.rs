//! One writing job per folder: a file that names it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StorageError;
use super::part::{close, is_part};
use crate::interrupt::{self, Unfinished};

/// Name of the lock within its folder.
const NAME: &str = ".dlio-rs-lock";

/// Who holds a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Holder {
    host: String,
    /// Of the host's running system.
    boot: String,
    pid: u32,
    /// When the process began, in ticks of its system: process ids come again.
    began: u64,
    /// Local time at which the folder was taken.
    since: String,
}

/// The 22nd field of /proc/PID/stat; None where there is no such process. Source: proc_pid_stat(5).
fn began(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in brackets and may hold blanks.
    stat.rsplit_once(')')?
        .1
        .split_whitespace()
        .nth(19)?
        .parse()
        .ok()
}

fn line_of(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_owned()
}

impl Holder {
    fn here() -> Self {
        let pid = std::process::id();
        Holder {
            host: line_of("/proc/sys/kernel/hostname"),
            boot: line_of("/proc/sys/kernel/random/boot_id"),
            pid,
            began: began(pid).unwrap_or_default(),
            since: chrono::Local::now().format("%Y-%m-%d %H:%M:%S").to_string(),
        }
    }

    /// True where it surely runs no more. Of other hosts that cannot be known.
    fn is_gone(&self, here: &Holder) -> bool {
        self.host == here.host && (self.boot != here.boot || began(self.pid) != Some(self.began))
    }
}

/// A folder taken for one job; free again when dropped, and after a signal.
#[derive(Debug)]
pub struct FolderLock {
    path: PathBuf,
    /// What a job that was killed left: the folder was its.
    pub taken_over: Option<String>,
    _unfinished: Unfinished,
}

impl FolderLock {
    /// Takes a folder that exists.
    ///
    /// Errors: [`StorageError::Locked`], or the lock cannot be written.
    pub(super) fn take(folder: &Path) -> Result<Self, StorageError> {
        let path = folder.join(NAME);
        let here = Holder::here();
        let mut taken_over = None;
        loop {
            let unfinished = interrupt::unfinished_lock(&path);
            match write(&path, &here) {
                Ok(()) => {
                    return Ok(FolderLock {
                        path,
                        taken_over,
                        _unfinished: unfinished,
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                    // A signal must not remove what is another job's.
                    drop(unfinished);
                }
                Err(e) => return Err(StorageError::io("create", &path, e)),
            }
            let holder: Option<Holder> = match fs::read(&path) {
                Ok(bytes) => serde_json::from_slice(&bytes).ok(),
                // Released in between.
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(StorageError::io("read", &path, e)),
            };
            match holder {
                Some(holder) if holder.is_gone(&here) => {
                    taken_over = Some(format!(
                        "{}: a job of {} (process {}) that no longer runs was writing here since {}; what it left unfinished is removed",
                        folder.display(),
                        holder.host,
                        holder.pid,
                        holder.since
                    ));
                    remove(&path)?;
                }
                holder => {
                    return Err(StorageError::Locked {
                        folder: folder.into(),
                        lock: path,
                        holder: holder.map_or_else(
                            || "another job, whose lock cannot be read,".into(),
                            |h| {
                                format!(
                                    "a job of host {} (process {}, since {})",
                                    h.host, h.pid, h.since
                                )
                            },
                        ),
                    });
                }
            }
        }
    }
}

impl Drop for FolderLock {
    fn drop(&mut self) {
        // A folder that is gone has no lock either.
        let _ = fs::remove_file(&self.path);
    }
}

fn write(path: &Path, holder: &Holder) -> io::Result<()> {
    let mut file: File = File::options()
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    let text = serde_json::to_vec(holder).map_err(io::Error::other)?;
    let written = file.write_all(&text).and_then(|()| close(file));
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

fn remove(path: &Path) -> Result<(), StorageError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StorageError::io("delete", path, e)),
        _ => Ok(()),
    }
}

impl FolderLock {
    /// Deletes what was never finished in a folder of the locked one.
    ///
    /// Errors: the folder cannot be listed, or something cannot be deleted.
    pub fn sweep(&self, folder: &Path) -> Result<(), StorageError> {
        sweep(folder)
    }
}

fn sweep(folder: &Path) -> Result<(), StorageError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(StorageError::io("list", folder, e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| StorageError::io("list", folder, e))?;
        let is_file = entry.file_type().is_ok_and(|kind| !kind.is_dir());
        if is_file && is_part(&entry.file_name()) {
            remove(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_one_jobs_until_it_ends() {
        let dir = tempfile::tempdir().unwrap();
        let lock = FolderLock::take(dir.path()).unwrap();
        assert_eq!(lock.taken_over, None);
        let error = FolderLock::take(dir.path()).unwrap_err().to_string();
        let pid = std::process::id().to_string();
        for word in ["a job of host", &pid, "remedy", NAME] {
            assert!(error.contains(word), "{error}");
        }
        drop(lock);
        assert!(!dir.path().join(NAME).exists());
        FolderLock::take(dir.path()).unwrap();
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over_and_one_of_another_host_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        // The process id is this one's, but the process began at another time.
        let mut holder = Holder::here();
        holder.began += 1;
        write(&path, &holder).unwrap();
        let lock = FolderLock::take(dir.path()).unwrap();
        assert!(lock.taken_over.as_ref().unwrap().contains("no longer runs"));
        drop(lock);
        holder.host = "elsewhere".into();
        write(&path, &holder).unwrap();
        let error = FolderLock::take(dir.path()).unwrap_err().to_string();
        assert!(error.contains("host elsewhere"), "{error}");
    }

    #[test]
    fn sweeping_removes_parts_alone() {
        let dir = tempfile::tempdir().unwrap();
        for name in [".a.npz.1f-0.part", ".a.part", "b.npz", ".c"] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        sweep(dir.path()).unwrap();
        let mut left: Vec<_> = fs::read_dir(dir.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, [".c", "b.npz"]);
    }
}
