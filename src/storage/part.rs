//! Files that are being written: under a hidden name of their own until they are whole, and never through a link.

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, IntoRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};

use parking_lot::Mutex;

use super::{Pages, Result, StorageError, Writer, advice};
use crate::interrupt::{self, Unfinished};

/// End of the names of unfinished files.
const SUFFIX: &str = ".part";

/// Tells the parts of a process apart.
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The number of this process: one system call, not one for each file.
static PROCESS: LazyLock<u32> = LazyLock::new(std::process::id);

/// The name of a file while it is being written: hidden, not ending in a format's name, and no other process's.
fn part_name(name: &OsStr) -> String {
    format!(
        ".{}.{:x}-{:x}{SUFFIX}",
        name.to_string_lossy(),
        *PROCESS,
        NUMBER.fetch_add(1, Relaxed)
    )
}

/// True for the name of a file that was never finished.
pub(super) fn is_part(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".") && name.ends_with(SUFFIX.as_bytes())
}

fn c_string(name: &OsStr) -> io::Result<CString> {
    CString::new(name.as_bytes()).map_err(|_| io::ErrorKind::InvalidInput.into())
}

fn checked(status: libc::c_int) -> io::Result<libc::c_int> {
    if status < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(status)
    }
}

/// Opens a folder, of which only its place is wanted.
fn open_folder(at: libc::c_int, name: &OsStr, flags: libc::c_int) -> io::Result<OwnedFd> {
    let name = c_string(name)?;
    let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC | flags;
    // SAFETY: the name is a C string that lives through the call.
    let fd = checked(unsafe { libc::openat(at, name.as_ptr(), flags) })?;
    // SAFETY: the descriptor is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A place below a root folder, reached without following a link below it.
pub(super) struct At {
    folder: Arc<OwnedFd>,
    name: CString,
}

impl At {
    /// The place of `path`. The root itself may be a link: it is the user's word. What is not below it is taken by its
    /// folder.
    ///
    /// Errors: a folder that is not there, or a link below the root (ELOOP).
    pub(super) fn new(root: &Path, path: &Path) -> io::Result<Self> {
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let parent = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let (start, below) = match parent.strip_prefix(root) {
            Ok(below) if !root.as_os_str().is_empty() => (root, below),
            _ => (parent, Path::new("")),
        };
        let mut folder = open_folder(libc::AT_FDCWD, start.as_os_str(), 0)?;
        let mut reached = start.to_path_buf();
        for part in below.components() {
            let Component::Normal(part) = part else {
                return Err(io::ErrorKind::InvalidInput.into());
            };
            reached.push(part);
            folder = open_folder(folder.as_raw_fd(), part, libc::O_NOFOLLOW)
                .map_err(|e| as_link(&reached, e))?;
        }
        Ok(At {
            folder: Arc::new(folder),
            name: c_string(name)?,
        })
    }

    /// Makes a file that is not there yet.
    fn create(&self, name: &CString, flags: libc::c_int) -> io::Result<File> {
        let flags = libc::O_WRONLY
            | libc::O_CREAT
            | libc::O_EXCL
            | libc::O_NOFOLLOW
            | libc::O_CLOEXEC
            | flags;
        // SAFETY: the name is a C string that lives through the call; the mode belongs to O_CREAT.
        let fd =
            checked(unsafe { libc::openat(self.folder.as_raw_fd(), name.as_ptr(), flags, 0o666) })?;
        // SAFETY: the descriptor is new and nobody else's.
        Ok(unsafe { File::from_raw_fd(fd) })
    }

    fn rename(&self, from: &CString) -> io::Result<()> {
        let folder = self.folder.as_raw_fd();
        // SAFETY: both names are C strings that live through the call.
        checked(unsafe { libc::renameat(folder, from.as_ptr(), folder, self.name.as_ptr()) })
            .map(drop)
    }

    fn unlink(&self, name: &CString, flags: libc::c_int) -> io::Result<()> {
        // SAFETY: the name is a C string that lives through the call.
        checked(unsafe { libc::unlinkat(self.folder.as_raw_fd(), name.as_ptr(), flags) }).map(drop)
    }

    /// Deletes the file, or the link that is there.
    pub(super) fn remove_file(&self) -> io::Result<()> {
        self.unlink(&self.name, 0)
    }

    /// Deletes the folder if it is empty.
    pub(super) fn remove_folder(&self) -> io::Result<()> {
        self.unlink(&self.name, libc::AT_REMOVEDIR)
    }

    /// Makes the folder; one that is there is no error.
    ///
    /// Errors: what is there is a link or a file.
    pub(super) fn make_folder(&self, path: &Path) -> io::Result<()> {
        let folder = self.folder.as_raw_fd();
        // SAFETY: the name is a C string that lives through the call.
        match checked(unsafe { libc::mkdirat(folder, self.name.as_ptr(), 0o777) }) {
            Ok(_) => Ok(()),
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                let name = OsStr::from_bytes(self.name.as_bytes());
                open_folder(folder, name, libc::O_NOFOLLOW)
                    .map(drop)
                    .map_err(|e| as_link(path, e))
            }
            Err(e) => Err(e),
        }
    }
}

/// Folders that stay open while files are written into them: a file below them costs no walk from the root.
const OPEN_FOLDERS: usize = 64;

/// Where a store writes: below a root, never through a link.
pub(super) struct Root {
    path: PathBuf,
    open: Mutex<HashMap<PathBuf, Arc<OwnedFd>>>,
}

impl Root {
    pub(super) fn new(path: &Path) -> Self {
        Root {
            path: path.into(),
            open: Mutex::default(),
        }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The place of `path`, reached anew.
    ///
    /// Errors: those of [`At::new`].
    pub(super) fn at(&self, path: &Path) -> io::Result<At> {
        At::new(&self.path, path)
    }

    /// Makes the file `part` beside `path`, in a folder that then stays open.
    fn create(&self, path: &Path, part: &CString, flags: libc::c_int) -> io::Result<(At, File)> {
        let parent = path.parent().unwrap_or(Path::new(""));
        let folder = self.open.lock().get(parent).cloned();
        if let Some(folder) = folder {
            let name = c_string(path.file_name().unwrap_or_default())?;
            let at = At { folder, name };
            match at.create(part, flags) {
                // The folder was deleted; there may be a new one of that name.
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                made => return Ok((at, made?)),
            }
        }
        let at = self.at(path)?;
        let file = at.create(part, flags)?;
        let mut open = self.open.lock();
        if open.len() >= OPEN_FOLDERS {
            open.clear();
        }
        open.insert(parent.into(), at.folder.clone());
        Ok((at, file))
    }
}

/// The kernel calls a link "not a directory" where a folder was asked for.
fn as_link(path: &Path, error: io::Error) -> io::Error {
    match std::fs::symlink_metadata(path) {
        Ok(meta) if meta.is_symlink() => io::Error::from_raw_os_error(libc::ELOOP),
        _ => error,
    }
}

/// Closes a file. Where writes go to a server in the background, this is when their failure is learnt.
pub(crate) fn close(file: File) -> io::Result<()> {
    // SAFETY: the descriptor was the file's alone, and is not used again whatever close(2) returns.
    match checked(unsafe { libc::close(file.into_raw_fd()) }) {
        // Linux has closed it all the same.
        Err(e) if e.kind() == io::ErrorKind::Interrupted => Ok(()),
        other => other.map(drop),
    }
}

/// Writes a small file anew, to its last byte: errors that come with close(2) are seen. A link is not followed.
pub(crate) fn write_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_file(path)?;
    file.write_all(bytes)?;
    close(file)
}

/// Begins a file anew. A link is not followed.
pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
}

/// Writes a file that replaces the one at `path` at once: an end at any moment leaves the old one or the new one.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace_file_by(path, |out| out.write_all(bytes))
}

/// The same, of bytes that are written as they are made.
pub(crate) fn replace_file_by(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut part = path.to_owned().into_os_string();
    part.push(format!(".{}.part", std::process::id()));
    let _unfinished = interrupt::unfinished(Path::new(&part));
    let written = || {
        let mut out = io::BufWriter::new(create_file(Path::new(&part))?);
        write(&mut out)?;
        close(out.into_inner()?)
    };
    let done = written().and_then(|()| fs::rename(&part, path));
    if done.is_err() {
        // It may not be there.
        let _ = fs::remove_file(&part);
    }
    done
}

/// A failed write after `written` bytes.
pub(super) fn write_error(path: &Path, written: u64, error: io::Error) -> StorageError {
    let path = path.to_path_buf();
    match error.raw_os_error() {
        Some(libc::ENOSPC) => StorageError::Full { path, written },
        Some(libc::EDQUOT) => StorageError::Quota { path, written },
        _ => StorageError::Io {
            operation: "write",
            path,
            offset: Some(written),
            source: error,
        },
    }
}

/// A file under its hidden name. Dropped unfinished it goes away.
pub(super) struct Part {
    at: At,
    part: CString,
    /// None once it has its final name.
    file: Option<File>,
    path: PathBuf,
    pages: Pages,
    _unfinished: Unfinished,
}

impl Part {
    /// Begins `path`, which lies below `root`.
    pub(super) fn create(
        root: &Root,
        path: &Path,
        pages: Pages,
        flags: libc::c_int,
    ) -> io::Result<Self> {
        let name = part_name(path.file_name().unwrap_or_default());
        let unfinished = interrupt::unfinished(&path.with_file_name(&name));
        let part = c_string(name.as_ref())?;
        let (at, file) = root.create(path, &part, flags)?;
        Ok(Part {
            at,
            part,
            file: Some(file),
            path: path.into(),
            pages,
            _unfinished: unfinished,
        })
    }

    pub(super) fn file(&self) -> &File {
        self.file.as_ref().expect("open until finished")
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Closes the file and gives it its final name.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.pages != Pages::Keep {
            advice::forget_written(self.file())?;
        }
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        let named =
            close(file).and_then(|()| interrupt::uninterrupted(|| self.at.rename(&self.part)));
        if named.is_err() {
            self.discard();
        }
        named
    }

    fn discard(&self) {
        // The failure that led here is the one to report.
        let _ = self.at.unlink(&self.part, 0);
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if self.file.is_some() {
            self.discard();
        }
    }
}

/// A file that is written through the page cache.
pub(super) struct PartFile {
    part: Part,
    written: u64,
}

impl PartFile {
    pub(super) fn create(root: &Root, path: &Path, pages: Pages) -> Result<Self> {
        let part = Part::create(root, path, pages, 0).map_err(|e| write_error(path, 0, e))?;
        Ok(PartFile { part, written: 0 })
    }
}

impl Writer for PartFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.part.file().write_all(bytes)?;
        self.written += bytes.len() as u64;
        Ok(())
    }
    fn sync(&mut self) -> io::Result<()> {
        self.part.file().sync_all()
    }
    fn finish(mut self: Box<Self>) -> Result<()> {
        self.part
            .finish()
            .map_err(|e| write_error(self.part.path(), self.written, e))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::util::names_in;

    #[test]
    fn two_writers_of_one_name_do_not_meet() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let root = Root::new(dir.path());
        let make = || Box::new(PartFile::create(&root, &path, Pages::Keep).unwrap());
        let (mut one, mut two) = (make(), make());
        one.write(&[1; 10]).unwrap();
        two.write(&[2; 20]).unwrap();
        one.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [1; 10]);
        two.finish().unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [2; 20]);
        assert_eq!(names_in(dir.path()), ["f"]);
    }

    #[test]
    fn a_failed_rename_leaves_no_part() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::create_dir_all(path.join("in_the_way")).unwrap();
        let root = Root::new(dir.path());
        let mut writer = Box::new(PartFile::create(&root, &path, Pages::Keep).unwrap());
        writer.write(b"x").unwrap();
        assert!(writer.finish().is_err());
        assert_eq!(names_in(dir.path()), ["f"]);
    }

    #[test]
    fn a_folder_that_was_deleted_and_made_again_is_the_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("train");
        let root = Root::new(dir.path());
        let write = |name: &str| {
            let made = PartFile::create(&root, &folder.join(name), Pages::Keep);
            made.and_then(|file| Box::new(file).finish())
        };
        assert!(write("a").is_err());
        for _ in 0..2 {
            std::fs::create_dir(&folder).unwrap();
            write("a").unwrap();
            write("b").unwrap();
            assert_eq!(names_in(&folder), ["a", "b"]);
            std::fs::remove_dir_all(&folder).unwrap();
            assert!(write("c").is_err());
        }
        assert_eq!(names_in(dir.path()), [""; 0]);
    }
}
