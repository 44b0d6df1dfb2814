//! An output folder that appears only when it is complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::host::lock::{Lock, Refused};
use crate::interrupt::{self, Unfinished};

/// Why outputs could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Results are already there.
    #[error(
        "create output folder {path}: it already holds summary.json of an earlier run\n  remedy: choose another folder (--output DIR)"
    )]
    Exists { path: PathBuf },
    /// Another job writes there.
    #[error(
        "create output folder {path}: another job is about to write its results there: {owner}\n  remedy: choose another folder (--output DIR); where that job is gone ({ended}), delete {lock}"
    )]
    Taken {
        path: PathBuf,
        owner: String,
        /// What holds the name.
        lock: PathBuf,
        /// By what people see that the job is gone.
        ended: String,
    },
    /// It was there and is not any more.
    #[error(
        "write results: their folder {path} was removed during the run; keep it, or choose another folder (--output DIR)"
    )]
    Removed { path: PathBuf },
    /// The path names no folder.
    #[error(
        "create output folder {path}: the path has no last component\n  remedy: give the folder itself (--output DIR)"
    )]
    NoName { path: PathBuf },
    /// A file operation failed.
    #[error(
        "{operation} {path}: {}\n  remedy: check that the parent folder exists, is writable and has space, or choose another folder (--output DIR)",
        crate::storage::errno_words(.source)
    )]
    Io {
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
}

fn io_error(
    operation: &'static str,
    path: &Path,
) -> impl FnOnce(io::Error) -> PublishError + use<> {
    let path = path.to_owned();
    move |source| PublishError::Io {
        operation,
        path,
        source,
    }
}

/// What happens when a folder of that name is there already, or another job is about to make it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Clash {
    /// An error: the user gave the name.
    Refuse,
    /// The next free name is taken: `NAME-2`, `NAME-3`, ...
    Suffix,
}

/// A hidden folder whose content becomes the final folder's by [`publish`](Self::publish): beside the final folder, or
/// inside of it where that exists already. The final name is this job's from the beginning, by a lock that no two jobs can
/// hold. Dropped unpublished it is removed with all that is in it, and so it is by signals. Rank 0 only.
#[derive(Debug)]
pub struct OutputDir {
    partial: PathBuf,
    target: PathBuf,
    /// The target as the user would write it.
    shown: PathBuf,
    /// Parent folders that did not exist before, outermost first.
    parents: Vec<PathBuf>,
    published: bool,
    lock: Option<Lock>,
    _unfinished: Unfinished,
}

/// Names that are tried under [`Clash::Suffix`].
const NAMES: u32 = 10_000;

impl OutputDir {
    /// Takes the name `wanted`, or one with a suffix, and creates `.<name>.partial-<unique>` beside or in it. `is_visible`:
    /// the final folder itself is made, too, for runs whose log grows in it.
    ///
    /// Errors: `Exists` when the folder already holds `summary.json`; `Taken` when another job is writing into it; `Io` when
    /// the place is not writable.
    pub fn create(wanted: &Path, clash: Clash, is_visible: bool) -> Result<Self, PublishError> {
        let mut number = 1;
        loop {
            let shown = suffixed(wanted, number);
            match Self::reserve(shown, clash, is_visible) {
                Err(PublishError::Exists { .. } | PublishError::Taken { .. })
                    if clash == Clash::Suffix && number < NAMES =>
                {
                    number += 1;
                }
                done => return done,
            }
        }
    }

    fn reserve(shown: PathBuf, clash: Clash, is_visible: bool) -> Result<Self, PublishError> {
        let target =
            std::path::absolute(&shown).map_err(io_error("resolve output folder", &shown))?;
        let (Some(name), Some(parent)) = (target.file_name(), target.parent()) else {
            return Err(PublishError::NoName { path: target });
        };
        let name = name.to_string_lossy().into_owned();
        let is_there = target.exists();
        if is_there && clash == Clash::Suffix {
            return Err(PublishError::Exists { path: target });
        }
        if is_there {
            fs::read_dir(&target).map_err(io_error("open output folder", &target))?;
        }
        // Inside of a folder that somebody made for this run, nothing beside it is touched.
        let place = if is_there { &target } else { parent };
        let mut parents: Vec<PathBuf> = place
            .ancestors()
            .take_while(|p| !p.exists())
            .map(Path::to_owned)
            .collect();
        parents.reverse();
        let lock = lock(place, &name, &target)?;
        // Only now: the job that held the lock before has published what it had.
        let is_used = match clash {
            Clash::Suffix => target.exists(),
            Clash::Refuse => target.join("summary.json").exists(),
        };
        if is_used {
            return Err(PublishError::Exists { path: target });
        }
        if is_visible {
            fs::create_dir_all(&target).map_err(io_error("create output folder", &target))?;
        }
        let place = if is_visible { &target } else { place };
        let partial = place.join(format!(".{name}.partial-{}", unique()));
        let unfinished = interrupt::unfinished(&partial);
        fs::create_dir(&partial).map_err(io_error("create output folder", &partial))?;
        Ok(OutputDir {
            partial,
            target,
            shown,
            parents,
            published: false,
            lock: Some(lock),
            _unfinished: unfinished,
        })
    }

    pub fn path(&self) -> &Path {
        &self.partial
    }

    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Where it will be, as it was asked for: relative where that was.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// True where the final folder existed before.
    pub fn is_inside_target(&self) -> bool {
        self.partial.parent() == Some(&self.target)
    }

    /// Makes the outputs visible: one rename when the final folder is absent; else entry by entry, `summary.json` last, so
    /// that a folder with a summary is complete.
    ///
    /// Errors: `Exists` when another run published a summary meanwhile; `Io`.
    pub fn publish(mut self) -> Result<PathBuf, PublishError> {
        interrupt::uninterrupted(|| self.move_all())?;
        self.published = true;
        Ok(self.target.clone())
    }

    /// The cause, where this folder is the cause.
    ///
    /// Errors: it was removed.
    pub fn check(&self) -> Result<(), PublishError> {
        if self.partial.exists() {
            return Ok(());
        }
        Err(PublishError::Removed {
            path: self.partial.clone(),
        })
    }

    fn move_all(&self) -> Result<(), PublishError> {
        // rename(2) refuses a folder with entries, and one that lies in its own target.
        if fs::rename(&self.partial, &self.target).is_ok() {
            return Ok(());
        }
        if self.target.join("summary.json").exists() {
            return Err(PublishError::Exists {
                path: self.target.clone(),
            });
        }
        fs::create_dir_all(&self.target).map_err(io_error("create output folder", &self.target))?;
        merge(&self.partial, &self.target)
    }
}

/// Moves what a folder holds into another, `summary.json` last: a folder is merged into an existing one, a file replaces a file.
fn merge(from: &Path, to: &Path) -> Result<(), PublishError> {
    let entries: io::Result<Vec<_>> = fs::read_dir(from).and_then(|all| all.collect());
    let mut entries = entries.map_err(io_error("list output folder", from))?;
    entries.sort_by_key(|entry| entry.file_name() == "summary.json");
    for name in entries.iter().map(fs::DirEntry::file_name) {
        let (from, to) = (from.join(&name), to.join(&name));
        match from.is_dir() && to.is_dir() {
            true => merge(&from, &to)?,
            false => fs::rename(&from, &to).map_err(io_error("move output to", &to))?,
        }
    }
    fs::remove_dir(from).map_err(io_error("remove temporary folder", from))
}

/// `NAME`, `NAME-2`, `NAME-3`, ...
fn suffixed(wanted: &Path, number: u32) -> PathBuf {
    match wanted.file_name() {
        Some(name) if number > 1 => {
            let mut name = name.to_owned();
            name.push(format!("-{number}"));
            wanted.with_file_name(name)
        }
        _ => wanted.to_owned(),
    }
}

fn unique() -> String {
    let nanos = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_nanos());
    format!("{}-{nanos}", std::process::id())
}

/// Tries to take a lock whose folder goes away meanwhile.
const TRIES: usize = 100;

/// Takes the lock of the folder `target`, called `name`, which lies in `place`; makes `place`.
///
/// Errors: `Taken`; `Io` when `place` cannot be written to.
fn lock(place: &Path, name: &str, target: &Path) -> Result<Lock, PublishError> {
    let lock = place.join(format!(".{name}.lock"));
    let mut tries = 0;
    loop {
        tries += 1;
        fs::create_dir_all(place).map_err(io_error("create output folder", place))?;
        match Lock::take(&lock) {
            Ok(taken) => return Ok(taken),
            // Another job that ended removed the empty folder.
            Err(Refused::Io { source, .. })
                if source.kind() == io::ErrorKind::NotFound && tries < TRIES => {}
            Err(Refused::Io {
                operation,
                path,
                source,
            }) => return Err(io_error(operation, &path)(source)),
            Err(Refused::Held { by, ended }) => {
                return Err(PublishError::Taken {
                    path: target.to_owned(),
                    owner: by,
                    lock,
                    ended,
                });
            }
        }
    }
}

impl Drop for OutputDir {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        // Best effort: the error that led here is the one to report.
        let _ = fs::remove_dir_all(&self.partial);
        self.lock = None;
        for parent in self.parents.iter().rev() {
            let _ = fs::remove_dir(parent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::lock::leave;
    use crate::util::names_in;

    #[test]
    fn appears_only_when_published() {
        let tmp = tempfile::tempdir().unwrap();
        let target = tmp.path().join("a/b/out");
        let out = OutputDir::create(&target, Clash::Refuse, false).unwrap();
        fs::write(out.path().join("summary.json"), "{}").unwrap();
        assert!(!target.exists());
        assert_eq!(out.publish().unwrap(), target);
        assert_eq!(names_in(&tmp.path().join("a/b")), ["out"]);
        let refused = OutputDir::create(&target, Clash::Refuse, false)
            .unwrap_err()
            .to_string();
        assert!(refused.contains("choose another folder"), "{refused}");
    }

    #[test]
    fn joins_what_is_already_there() {
        let tmp = tempfile::tempdir().unwrap();
        let target = tmp.path().join("out");
        fs::create_dir_all(target.join("dlio_config")).unwrap();
        fs::write(target.join("dlio_config/mine"), "x").unwrap();
        let out = OutputDir::create(&target, Clash::Refuse, false).unwrap();
        fs::create_dir(out.path().join("dlio_config")).unwrap();
        fs::write(out.path().join("dlio_config/config.yaml"), "").unwrap();
        fs::write(out.path().join("summary.json"), "{}").unwrap();
        out.publish().unwrap();
        assert_eq!(names_in(&target), ["dlio_config", "summary.json"]);
        assert_eq!(
            names_in(&target.join("dlio_config")),
            ["config.yaml", "mine"]
        );
        assert_eq!(names_in(tmp.path()), ["out"]);
    }

    #[test]
    fn jobs_that_begin_at_once_all_get_a_folder() {
        let tmp = tempfile::tempdir().unwrap();
        let target = tmp.path().join("a/results");
        std::thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    let out = OutputDir::create(&target, Clash::Suffix, false).unwrap();
                    fs::write(out.path().join("summary.json"), "{}").unwrap();
                    out.publish().unwrap();
                });
            }
        });
        let found = names_in(&tmp.path().join("a"));
        assert_eq!(found.len(), 10, "{found:?}");
        assert!(found.contains(&"results-10".into()), "{found:?}");
        let has_summary = |name| {
            tmp.path()
                .join("a")
                .join(name)
                .join("summary.json")
                .exists()
        };
        assert!(found.iter().all(has_summary), "{found:?}");
    }

    #[test]
    fn a_folder_that_a_running_job_took_is_refused_and_that_of_a_dead_one_is_not() {
        let tmp = tempfile::tempdir().unwrap();
        let target = tmp.path().join("out");
        let first = OutputDir::create(&target, Clash::Refuse, false).unwrap();
        let refused = OutputDir::create(&target, Clash::Refuse, false).unwrap_err();
        let id = format!("process {}", std::process::id());
        assert!(refused.to_string().contains(&id), "{refused}");
        drop(first);
        let lock = tmp.path().join(".out.lock");
        leave(&lock, |_| {});
        OutputDir::create(&target, Clash::Refuse, false).unwrap();
        assert!(names_in(tmp.path()).is_empty());
        leave(&lock, |owner| owner.host = "elsewhere".into());
        let refused = OutputDir::create(&target, Clash::Refuse, false).unwrap_err();
        assert!(refused.to_string().contains("host elsewhere"), "{refused}");
    }
}
