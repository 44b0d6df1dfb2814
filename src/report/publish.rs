//! An output folder that appears only when it is complete.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::interrupt::{self, Unfinished};

/// Why outputs could not be written.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// Results are already there.
    #[error(
        "create output folder {path}: it already holds summary.json of an earlier run; choose another folder (--output DIR)"
    )]
    Exists {
        /// Folder.
        path: PathBuf,
    },
    /// The path names no folder.
    #[error(
        "create output folder {path}: the path has no last component; give the folder itself (--output DIR)"
    )]
    NoName {
        /// As given.
        path: PathBuf,
    },
    /// A file operation failed.
    #[error(
        "{operation} {path}: {source}; check that the parent folder exists, is writable and has space, or choose another folder (--output DIR)"
    )]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// Cause.
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

/// A hidden folder whose content becomes the final folder's by [`publish`](Self::publish): beside the final folder, or
/// inside of it where that exists already. Dropped unpublished it is removed with all that is in it, and so it is by
/// SIGTERM and SIGINT. Rank 0 only.
#[derive(Debug)]
pub struct OutputDir {
    partial: PathBuf,
    target: PathBuf,
    /// Parent folders that did not exist before, outermost first.
    parents: Vec<PathBuf>,
    published: bool,
    _unfinished: Unfinished,
}

impl OutputDir {
    /// Creates `.<name>.partial-<unique>` beside or in `target`.
    ///
    /// Errors: `Exists` when `target` already holds `summary.json`; `Io` when the place is not writable.
    pub fn create(target: &Path) -> Result<Self, PublishError> {
        let target =
            std::path::absolute(target).map_err(io_error("resolve output folder", target))?;
        let (Some(name), Some(parent)) = (target.file_name(), target.parent()) else {
            return Err(PublishError::NoName { path: target });
        };
        if target.join("summary.json").exists() {
            return Err(PublishError::Exists { path: target });
        }
        if target.exists() {
            fs::read_dir(&target).map_err(io_error("open output folder", &target))?;
        }
        // Inside of a folder that somebody made for this run, nothing beside it is touched.
        let place = if target.exists() { &target } else { parent };
        let mut parents: Vec<PathBuf> = place
            .ancestors()
            .take_while(|p| !p.exists())
            .map(Path::to_owned)
            .collect();
        parents.reverse();
        fs::create_dir_all(place).map_err(io_error("create output folder", place))?;
        let nanos = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0, |d| d.as_nanos());
        let partial = place.join(format!(
            ".{}.partial-{}-{nanos}",
            name.to_string_lossy(),
            std::process::id()
        ));
        let unfinished = interrupt::unfinished(&partial);
        fs::create_dir(&partial).map_err(io_error("create output folder", &partial))?;
        Ok(OutputDir {
            partial,
            target,
            parents,
            published: false,
            _unfinished: unfinished,
        })
    }

    /// Makes the final folder itself, for runs whose log grows in it.
    ///
    /// Errors: the place is not writable.
    pub fn make_target(target: &Path) -> Result<(), PublishError> {
        fs::create_dir_all(target).map_err(io_error("create output folder", target))
    }

    /// Where to write.
    pub fn path(&self) -> &Path {
        &self.partial
    }

    /// Where it will be.
    pub fn target(&self) -> &Path {
        &self.target
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

    fn move_all(&self) -> Result<(), PublishError> {
        // rename(2) refuses a folder with entries, and one that lies in its own target.
        if fs::rename(&self.partial, &self.target).is_err() {
            if self.target.join("summary.json").exists() {
                return Err(PublishError::Exists {
                    path: self.target.clone(),
                });
            }
            self.move_entries()?;
        }
        Ok(())
    }

    fn move_entries(&self) -> Result<(), PublishError> {
        fs::create_dir_all(&self.target).map_err(io_error("create output folder", &self.target))?;
        let mut names = Vec::new();
        for entry in
            fs::read_dir(&self.partial).map_err(io_error("list output folder", &self.partial))?
        {
            names.push(
                entry
                    .map_err(io_error("list output folder", &self.partial))?
                    .file_name(),
            );
        }
        names.sort_by_key(|n| n == "summary.json");
        for name in names {
            move_entry(&self.partial.join(&name), &self.target.join(&name))?;
        }
        fs::remove_dir(&self.partial).map_err(io_error("remove temporary folder", &self.partial))
    }
}

/// Moves a file or a folder; a folder is merged into an existing one, a file replaces a file.
fn move_entry(from: &Path, to: &Path) -> Result<(), PublishError> {
    if !(from.is_dir() && to.is_dir()) {
        return fs::rename(from, to).map_err(io_error("move output to", to));
    }
    for entry in fs::read_dir(from).map_err(io_error("list output folder", from))? {
        let name = entry
            .map_err(io_error("list output folder", from))?
            .file_name();
        move_entry(&from.join(&name), &to.join(&name))?;
    }
    fs::remove_dir(from).map_err(io_error("remove temporary folder", from))
}

impl Drop for OutputDir {
    fn drop(&mut self) {
        if self.published {
            return;
        }
        // Best effort: the error that led here is the one to report.
        let _ = fs::remove_dir_all(&self.partial);
        for parent in self.parents.iter().rev() {
            let _ = fs::remove_dir(parent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let mut v: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        v.sort();
        v
    }

    #[test]
    fn appears_only_when_published() {
        let tmp = tempfile::tempdir().unwrap();
        let target = tmp.path().join("a/b/out");
        let out = OutputDir::create(&target).unwrap();
        fs::write(out.path().join("summary.json"), "{}").unwrap();
        assert!(!target.exists());
        assert_eq!(out.publish().unwrap(), target);
        assert_eq!(names(&tmp.path().join("a/b")), ["out"]);
        let refused = OutputDir::create(&target).unwrap_err().to_string();
        assert!(refused.contains("choose another folder"), "{refused}");
    }

    #[test]
    fn joins_what_is_already_there() {
        let tmp = tempfile::tempdir().unwrap();
        let target = tmp.path().join("out");
        fs::create_dir_all(target.join("dlio_config")).unwrap();
        fs::write(target.join("dlio_config/mine"), "x").unwrap();
        let out = OutputDir::create(&target).unwrap();
        fs::create_dir(out.path().join("dlio_config")).unwrap();
        fs::write(out.path().join("dlio_config/config.yaml"), "").unwrap();
        fs::write(out.path().join("summary.json"), "{}").unwrap();
        out.publish().unwrap();
        assert_eq!(names(&target), ["dlio_config", "summary.json"]);
        assert_eq!(names(&target.join("dlio_config")), ["config.yaml", "mine"]);
        assert_eq!(names(tmp.path()), ["out"]);
    }

    #[test]
    fn unpublished_leaves_nothing() {
        let tmp = tempfile::tempdir().unwrap();
        let out = OutputDir::create(&tmp.path().join("x/y")).unwrap();
        fs::write(out.path().join("f"), "").unwrap();
        drop(out);
        assert!(names(tmp.path()).is_empty());
    }

    #[test]
    fn a_file_in_the_way_names_path_and_remedy() {
        let tmp = tempfile::tempdir().unwrap();
        fs::write(tmp.path().join("file"), "").unwrap();
        for bad in ["file", "file/out"] {
            let message = OutputDir::create(&tmp.path().join(bad))
                .unwrap_err()
                .to_string();
            assert!(
                message.contains("file") && message.contains("--output"),
                "{message}"
            );
        }
    }
}
