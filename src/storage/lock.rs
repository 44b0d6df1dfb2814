//! One writing job per folder: a file that names it.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::part::{close, is_part};
use super::{Result, StorageError};
use crate::host::owner::Owner;
use crate::interrupt::{self, Unfinished};

/// Name of the lock within its folder.
const NAME: &str = ".dlio-rs-lock";

/// Who holds a folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Holder {
    #[serde(flatten)]
    owner: Owner,
    /// Local time at which the folder was taken.
    since: String,
}

impl Holder {
    fn here() -> Self {
        Holder {
            owner: Owner::here(),
            since: chrono::Local::now().format("%Y-%m-%d %H:%M:%S").to_string(),
        }
    }
}

/// A folder taken for one job; free again when dropped, and after a signal.
#[derive(Debug)]
pub struct FolderLock {
    _held: Held,
    /// What a job that was killed left: the folder was its.
    pub taken_over: Option<String>,
}

/// Looks at a lock that cannot be read, 10 ms apart, before it counts as another job's.
const UNREADABLE_LOOKS: u32 = 50;

/// A lock file of this process.
#[derive(Debug)]
struct Held {
    path: PathBuf,
    _unfinished: Unfinished,
}

/// Takes the lock file `path`. The holder that is gone is returned, too.
fn hold(folder: &Path, path: &Path, here: &Holder) -> Result<(Held, Option<Holder>)> {
    let mut before = None;
    let mut looks = 0;
    loop {
        match write(path, here) {
            Ok(()) => {
                // Announced only now: a signal must not remove what is another job's.
                let held = Held {
                    path: path.into(),
                    _unfinished: interrupt::unfinished_lock(path),
                };
                return Ok((held, before));
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(StorageError::io("create", path, e)),
        }
        let refused = |holder: String, ended: &str| StorageError::Locked {
            folder: folder.into(),
            holder,
            remedy: format!(
                "wait for that job, or choose another folder; where it is gone ({ended}), delete {}",
                path.display()
            ),
        };
        match read(path)? {
            // Released in between.
            None => {}
            // Perhaps it is being written.
            Some(None) if looks < UNREADABLE_LOOKS => {
                looks += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
            Some(None) => {
                return Err(refused(
                    "another job, whose lock cannot be read,".into(),
                    "no host runs a dlio-rs that writes there",
                ));
            }
            Some(Some(holder)) if holder.owner.is_gone(&here.owner) => {
                // Two jobs may have read the same: the one that holds the right to it looks again and deletes it, so that
                // nobody deletes the lock of the job that was faster.
                let (_right, _) = hold(folder, &right_to(path), here)?;
                if read(path)? == Some(Some(holder.clone())) {
                    remove(path)?;
                    before = Some(holder);
                }
            }
            Some(Some(Holder { owner, since })) => {
                return Err(refused(
                    format!("{}, since {since},", owner.named(&here.owner)),
                    &owner.signs_of_end(&here.owner),
                ));
            }
        }
    }
}

/// The lock of who may delete the lock `path`.
fn right_to(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-old");
    name.into()
}

/// What a lock file says; None: there is none. The inner None: nothing that can be read.
fn read(path: &Path) -> Result<Option<Option<Holder>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).ok())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StorageError::io("read", path, e)),
    }
}

impl FolderLock {
    /// Takes a folder that exists.
    ///
    /// Errors: [`StorageError::Locked`], or the lock cannot be written.
    pub(super) fn take(folder: &Path) -> Result<Self> {
        let (held, before) = hold(folder, &folder.join(NAME), &Holder::here())?;
        let taken_over = before.map(|holder| {
            format!(
                "{}: a job of {} (process {}) that no longer runs was writing here since {}; what it left unfinished is removed",
                folder.display(),
                holder.owner.host,
                holder.owner.process.id,
                holder.since
            )
        });
        Ok(FolderLock {
            _held: held,
            taken_over,
        })
    }
}

impl Drop for Held {
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

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StorageError::io("delete", path, e)),
        _ => Ok(()),
    }
}

impl FolderLock {
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
            remove(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The process id is this one's, but the process began at another time.
    fn gone() -> Holder {
        let mut holder = Holder::here();
        holder.owner.process.start += 1;
        holder
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over_and_one_of_another_host_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut holder = gone();
        write(&path, &holder).unwrap();
        let lock = FolderLock::take(dir.path()).unwrap();
        assert!(lock.taken_over.as_ref().unwrap().contains("no longer runs"));
        drop(lock);
        holder.owner.host = "elsewhere".into();
        write(&path, &holder).unwrap();
        let error = FolderLock::take(dir.path()).unwrap_err().to_string();
        for word in [
            "host elsewhere",
            "pgrep -af dlio",
            "on elsewhere, which may be a container",
        ] {
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn the_lock_of_another_pid_namespace_is_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let mut holder = gone();
        holder.owner.process.namespace += 1;
        write(&path, &holder).unwrap();
        let error = FolderLock::take(dir.path()).unwrap_err().to_string();
        let delete = format!("delete {}", path.display());
        for word in [
            "another PID namespace",
            "remedy",
            "its container has ended, or `pgrep",
            &delete,
        ] {
            assert!(error.contains(word), "{error}");
        }
        assert_eq!(read(&path).unwrap(), Some(Some(holder)));
    }

    #[test]
    fn of_two_jobs_that_find_a_dead_one_only_one_takes_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        for _ in 0..300 {
            write(&path, &gone()).unwrap();
            let start = std::sync::Barrier::new(4);
            let take = || {
                start.wait();
                FolderLock::take(dir.path())
            };
            let taken: Vec<_> = std::thread::scope(|scope| {
                let all: Vec<_> = (0..4).map(|_| scope.spawn(take)).collect();
                all.into_iter().map(|one| one.join().unwrap()).collect()
            });
            let locks = taken.iter().filter(|lock| lock.is_ok()).count();
            assert_eq!(locks, 1, "jobs that hold the folder");
            drop(taken);
            let _ = fs::remove_file(&path);
        }
    }

    #[test]
    fn who_has_not_the_right_to_an_old_lock_leaves_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        let old = gone();
        write(&path, &old).unwrap();
        write(&right_to(&path), &Holder::here()).unwrap();
        FolderLock::take(dir.path()).unwrap_err();
        assert_eq!(read(&path).unwrap(), Some(Some(old.clone())));
        // Its holder was killed at this moment.
        fs::remove_file(right_to(&path)).unwrap();
        write(&right_to(&path), &old).unwrap();
        FolderLock::take(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
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
