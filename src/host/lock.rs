//! One job at a time in a place that hosts share: a file that names its process.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::owner::Owner;
use crate::interrupt::{self, Unfinished};

/// Who holds a lock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holder {
    /// Its process.
    #[serde(flatten)]
    pub owner: Owner,
    /// Local time at which it took the lock.
    pub since: String,
}

impl Holder {
    fn here() -> Self {
        Holder {
            owner: Owner::here(),
            since: chrono::Local::now().format("%Y-%m-%d %H:%M:%S").to_string(),
        }
    }
}

/// Why a lock was not taken.
#[derive(Debug)]
pub enum Refused {
    /// Another job has it.
    Held {
        /// Who, to be followed by what it does.
        by: String,
        /// By what people see that it is gone: a part of a sentence.
        ended: String,
    },
    /// It cannot be written, read or deleted.
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Refused + use<> {
    let path = path.to_owned();
    move |source| Refused::Io {
        operation,
        path,
        source,
    }
}

/// Looks at a lock that cannot be read, 10 ms apart, before it counts as another job's.
const UNREADABLE_LOOKS: u32 = 50;

/// A lock file of this process; removed when dropped, and by an early end.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    /// The job that is gone and held it before.
    pub before: Option<Holder>,
    _unfinished: Unfinished,
}

impl Lock {
    /// Takes the lock file `path`, in a folder that exists. That of a job which surely runs no more is taken over.
    ///
    /// Errors: [`Refused`].
    pub fn take(path: &Path) -> Result<Self, Refused> {
        Self::hold(path, &Holder::here())
    }

    fn hold(path: &Path, here: &Holder) -> Result<Self, Refused> {
        let mut before = None;
        let mut looks = 0;
        loop {
            match write(path, here) {
                Ok(()) => {
                    // Announced only now: a signal must not remove what is another job's.
                    return Ok(Lock {
                        path: path.into(),
                        before,
                        _unfinished: interrupt::unfinished_lock(path),
                    });
                }
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(failed("create", path)(e)),
            }
            match read(path)? {
                // Released in between.
                None => {}
                // Perhaps it is being written.
                Some(None) if looks < UNREADABLE_LOOKS => {
                    looks += 1;
                    std::thread::sleep(Duration::from_millis(10));
                }
                Some(None) => {
                    return Err(Refused::Held {
                        by: "another job, whose lock cannot be read".into(),
                        ended: "no host runs a dlio-rs that writes there".into(),
                    });
                }
                Some(Some(holder)) if holder.owner.is_gone(&here.owner) => {
                    // Two jobs may have read the same: the one that holds the right to it looks again and deletes it, so
                    // that nobody deletes the lock of the job that was faster.
                    let _right = Self::hold(&right_to(path), here)?;
                    if read(path)? == Some(Some(holder.clone())) {
                        fs::remove_file(path).map_err(failed("delete", path))?;
                        before = Some(holder);
                    }
                }
                Some(Some(Holder { owner, since })) => {
                    return Err(Refused::Held {
                        by: format!("{}, since {since}", owner.named(&here.owner)),
                        ended: owner.signs_of_end(&here.owner),
                    });
                }
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // A folder that is gone has no lock either.
        let _ = fs::remove_file(&self.path);
    }
}

/// The lock of who may delete the lock `path`.
fn right_to(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push("-old");
    name.into()
}

/// What a lock file says; None: there is none. The inner None: nothing that can be read.
fn read(path: &Path) -> Result<Option<Option<Holder>>, Refused> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).ok())),
        // A link that leads nowhere is there, too.
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(path.is_symlink().then_some(None)),
        Err(e) => Err(failed("read", path)(e)),
    }
}

fn write(path: &Path, holder: &Holder) -> io::Result<()> {
    let mut file: File = File::options()
        .write(true)
        .create_new(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)?;
    let text = serde_json::to_vec(holder).map_err(io::Error::other)?;
    let written = file.write_all(&text);
    // Where writes go to a server in the background, closing is when their failure is learnt.
    let closed = nix::unistd::close(file).map_err(io::Error::from);
    let written = written.and(closed);
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// The lock that a process which is gone left at `path`; `change` makes it another's.
#[cfg(test)]
pub(crate) fn leave(path: &Path, change: impl FnOnce(&mut Owner)) -> Holder {
    let mut holder = Holder::here();
    // The process id is this one's, but the process began at another time.
    holder.owner.process.start += 1;
    change(&mut holder.owner);
    write(path, &holder).unwrap();
    holder
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(path: &Path) -> (String, String) {
        match Lock::take(path).unwrap_err() {
            Refused::Held { by, ended } => (by, ended),
            Refused::Io { source, .. } => panic!("{source}"),
        }
    }

    #[test]
    fn the_lock_of_another_pid_namespace_is_not_taken_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let holder = leave(&path, |owner| owner.process.namespace += 1);
        let (by, ended) = refused(&path);
        assert!(by.contains("another PID namespace"), "{by}");
        let sign = "its container has ended, or `pgrep";
        assert!(ended.contains(sign), "{ended}");
        assert_eq!(read(&path).unwrap(), Some(Some(holder)));
    }

    #[test]
    fn of_two_jobs_that_find_a_dead_one_only_one_takes_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        for _ in 0..300 {
            leave(&path, |_| {});
            let start = std::sync::Barrier::new(4);
            let take = || {
                start.wait();
                Lock::take(&path)
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
        let path = dir.path().join("lock");
        let old = leave(&path, |_| {});
        write(&right_to(&path), &Holder::here()).unwrap();
        refused(&path);
        assert_eq!(read(&path).unwrap(), Some(Some(old)));
        // Its holder was killed at this moment.
        fs::remove_file(right_to(&path)).unwrap();
        leave(&right_to(&path), |_| {});
        Lock::take(&path).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn what_cannot_be_read_is_another_jobs_and_nobody_waits_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        // As version 0.2.0 left it in a folder of results, and what is no lock.
        std::os::unix::fs::symlink("process 1 on another-host", &path).unwrap();
        let (by, _) = refused(&path);
        assert!(by.contains("cannot be read"), "{by}");
        fs::remove_file(&path).unwrap();
        fs::write(&path, "").unwrap();
        let (by, _) = refused(&path);
        assert!(by.contains("cannot be read"), "{by}");
    }
}
