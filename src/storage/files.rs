//! Files of a mounted file system: one store and one read loop, whichever [`Way`] the bytes take.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::buffer::ALIGNMENT;
use super::calls::Calls;
use super::kept::{Kept, Open};
use super::part::{PartFile, Root};
use super::ring::{own_ns, own_seen_ns};
use super::{
    Answer, Buffer, Entry, Extent, FolderLock, Lane, Pages, Request, Resident, Result, Sink,
    Storage, StorageError, StoreSpec, System, Writer, advice,
};
use crate::clock::look_ns;

/// How bytes come from a file and go into one.
pub(super) trait Way: Send + Sync {
    /// Flags of open(2).
    fn flags(&self) -> libc::c_int {
        0
    }
    /// What has to be known of a file just opened: its length, and what its calls begin and end at multiples of.
    fn inspect(&self, file: &File, path: &Path) -> Result<(u64, u64)> {
        let meta = file
            .metadata()
            .map_err(|e| StorageError::io("stat", path, e))?;
        if meta.is_dir() {
            let source = io::Error::from_raw_os_error(libc::EISDIR);
            return Err(StorageError::io("read", path, source));
        }
        Ok((meta.len(), 1))
    }
    /// Whether a read that brings less than was asked for has met the end of the file.
    fn meets_end(&self) -> bool {
        false
    }
    /// The next bytes of the extent that ends at `to`: one call, and then a look at the clock. None where the file ends before.
    fn next<'a>(
        &self,
        open: &'a mut Open,
        at: u64,
        to: u64,
        buffer: &'a mut [u8],
        calls: &mut Calls,
    ) -> io::Result<&'a [u8]>;
    /// What a failed call means.
    fn failed(&self, path: &Path, at: u64, source: io::Error) -> StorageError {
        StorageError::reading(path, at, source)
    }
    /// Bytes that a file takes in this program while it is written.
    fn writer_memory(&self) -> u64 {
        0
    }
    /// Begins a file below `root`.
    fn create(&self, root: &Root, path: &Path, pages: Pages) -> Result<Box<dyn Writer>> {
        Ok(Box::new(PartFile::create(root, path, pages)?))
    }
}

/// A mounted file system.
pub(super) struct Files {
    system: &'static System,
    way: &'static dyn Way,
    /// Nothing is written or deleted through links below it.
    root: Root,
    pages: Pages,
}

impl Files {
    pub(super) fn open(spec: &StoreSpec, way: &'static dyn Way) -> Box<dyn Storage> {
        Box::new(Files {
            system: spec.system,
            way,
            root: Root::new(&spec.folder),
            pages: spec.pages,
        })
    }

    fn open_file(&self, path: &Path, calls: &mut Calls) -> Result<File> {
        let opened = loop {
            match calls.open(path, self.way.flags()) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                opened => break opened,
            }
        };
        opened.map_err(|e| match e.raw_os_error() {
            Some(libc::EINVAL) => self.way.failed(path, 0, e),
            _ => StorageError::io("open", path, e),
        })
    }

    /// The file that the lane has open, if it is this one; else this one, opened now. The clock was looked at before.
    /// `len`: as in [`Self::keep`].
    fn take(
        &self,
        path: &Path,
        lane: &mut Lane,
        len: Option<u64>,
        answer: &mut Answer,
    ) -> Result<Kept> {
        match lane.kept.take() {
            Some(kept) if lane.kept_path == path => Ok(kept),
            other => {
                // Closed, and its pages forgotten, before the next one is opened.
                drop(other);
                let before = own_seen_ns();
                let kept = self.keep(path, len, &mut lane.calls)?;
                answer.opens = 1;
                answer.open_ns = own_ns() - before;
                Ok(kept)
            }
        }
    }

    /// Opens a file, and asks the kernel for its length unless `len` is it.
    fn keep(&self, path: &Path, len: Option<u64>, calls: &mut Calls) -> Result<Kept> {
        let file = self.open_file(path, calls)?;
        let (len, align) = match len {
            Some(len) => (len, 1),
            None => self.way.inspect(&file, path)?,
        };
        Ok(Kept {
            open: Open {
                map: None,
                asked: 0,
                file,
                len,
                align,
            },
            pages: self.pages,
        })
    }
}

/// The length of the file, where the plan knows it and the first read proves it by asking for one byte more, for which there is
/// `room`. That costs nothing, and to ask the kernel a tenth of a small read.
fn provable(request: &Request, way: &dyn Way, room: usize) -> Option<u64> {
    let is_one_read = |len: &u64| (1..room as u64).contains(len);
    let len = request.exact_len.filter(is_one_read)?;
    (request.extent == Extent::Whole && way.meets_end()).then_some(len)
}

/// First and end byte of a request in a file of this length.
///
/// Errors: [`StorageError::Short`] when the file ends before the extent.
fn span(request: &Request, file_len: u64) -> Result<(u64, u64)> {
    match request.extent {
        Extent::Whole => Ok((0, file_len)),
        Extent::Range { offset, len } => match offset.checked_add(len) {
            Some(end) if end <= file_len => Ok((offset, end)),
            end => Err(StorageError::Short {
                path: request.path.into(),
                expected: end.unwrap_or(u64::MAX),
                got: file_len,
            }),
        },
    }
}

impl Storage for Files {
    fn system(&self) -> &'static System {
        self.system
    }

    fn read(&self, request: &Request, lane: &mut Lane, sink: &mut dyn Sink) -> Result<Answer> {
        let path = request.path;
        look_ns();
        sink.position(0);
        let mut answer = Answer::default();
        let planned = provable(request, self.way, lane.buffer.len());
        let mut kept = self.take(path, lane, planned, &mut answer)?;
        let mut unproved = planned.filter(|_| answer.opens > 0);
        let open = &mut kept.open;
        sink.begin(open.len);
        let (mut at, mut to) = span(request, open.len)?;
        while at < to {
            sink.position(at);
            let before = own_seen_ns();
            let (buffer, calls) = (&mut lane.buffer, &mut lane.calls);
            let end = to + u64::from(unproved.is_some());
            let bytes = match self.way.next(open, at, end, buffer, calls) {
                Ok(bytes) => bytes,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {
                    answer.retries += 1;
                    continue;
                }
                Err(e) => return Err(self.way.failed(path, at, e)),
            };
            let took = own_seen_ns() - before;
            if unproved.take().is_some_and(|len| len != bytes.len() as u64) {
                (open.len, open.align) = self.way.inspect(&open.file, path)?;
                answer.called(took, sink);
                look_ns();
                sink.begin(open.len);
                (at, to) = span(request, open.len)?;
                continue;
            }
            if bytes.is_empty() {
                return Err(StorageError::Short {
                    path: path.into(),
                    expected: to,
                    got: at,
                });
            }
            answer.called(took, sink);
            answer.bytes += bytes.len() as u64;
            at += bytes.len() as u64;
            if !sink.chunk(bytes) {
                break;
            }
            if at < to {
                look_ns();
            }
        }
        // After a whole file nothing of it is left to be read.
        if lane.keeps() && request.extent != Extent::Whole {
            lane.keep(kept, path);
        }
        Ok(answer)
    }

    fn open(&self, path: &Path, lane: &mut Lane) -> Result<(u64, Answer)> {
        look_ns();
        let mut answer = Answer::default();
        let kept = self.take(path, lane, None, &mut answer)?;
        let len = kept.open.len;
        if lane.keeps() {
            lane.keep(kept, path);
        }
        Ok((len, answer))
    }

    fn len(&self, path: &Path) -> Result<Option<u64>> {
        match fs::metadata(path) {
            Ok(meta) => Ok(Some(meta.len())),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(StorageError::io("stat", path, e)),
        }
    }

    /// Links count as what they lead to, as DLIO's listing takes them.
    fn entries(&self, folder: &Path, visit: &mut dyn FnMut(Entry)) -> Result<()> {
        let failed = |e| StorageError::io("list", folder, e);
        for entry in fs::read_dir(folder).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| {
                let what = format!("the name {} is no UTF-8", name.display());
                failed(io::Error::new(io::ErrorKind::InvalidData, what))
            })?;
            let mut kind = entry.file_type().map_err(failed)?;
            if kind.is_symlink() {
                match fs::metadata(entry.path()) {
                    Ok(meta) => kind = meta.file_type(),
                    // A link that leads nowhere is no file.
                    Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                    Err(e) => return Err(StorageError::io("list", &entry.path(), e)),
                }
            }
            visit(if kind.is_dir() {
                Entry::Folder(name)
            } else {
                Entry::File(name)
            });
        }
        Ok(())
    }

    fn head(&self, path: &Path, into: &mut [u8]) -> Result<usize> {
        let mut calls = Calls::default();
        let mut kept = self.keep(path, None, &mut calls)?;
        let to = kept.open.len.min(into.len() as u64);
        let mut buffer = Buffer::new((to as usize).next_multiple_of(ALIGNMENT));
        let mut got = 0;
        while got < to as usize {
            let open = &mut kept.open;
            match (self.way).next(open, got as u64, to, &mut buffer, &mut calls) {
                Ok([]) => break,
                Ok(bytes) => {
                    into[got..got + bytes.len()].copy_from_slice(bytes);
                    got += bytes.len();
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(self.way.failed(path, got as u64, e)),
            }
        }
        Ok(got)
    }

    fn write_memory(&self, writers: u64, _: u64) -> u64 {
        writers * self.way.writer_memory()
    }

    fn create(&self, path: &Path) -> Result<Box<dyn Writer>> {
        self.way.create(&self.root, path, self.pages)
    }

    fn create_folder(&self, path: &Path) -> Result<()> {
        let failed = |path: &Path, source| StorageError::Io {
            operation: "make folder",
            path: path.into(),
            offset: None,
            source,
        };
        let root = self.root.path();
        let Ok(below) = path.strip_prefix(root) else {
            return fs::create_dir_all(path).map_err(|e| failed(path, e));
        };
        fs::create_dir_all(root).map_err(|e| failed(root, e))?;
        let mut reached = root.to_path_buf();
        for part in below.components() {
            reached.push(part);
            self.root
                .at(&reached)
                .and_then(|at| at.make_folder(&reached))
                .map_err(|e| failed(&reached, e))?;
        }
        Ok(())
    }

    fn sync_folder(&self, path: &Path) -> Result<()> {
        File::open(path)
            .and_then(|folder| folder.sync_all())
            .map_err(|e| StorageError::Io {
                operation: "fsync folder",
                path: path.into(),
                offset: None,
                source: e,
            })
    }

    fn remove(&self, path: &Path) -> Result<()> {
        match self.root.at(path).and_then(|at| at.remove_file()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(StorageError::io("delete", path, e))
            }
            _ => Ok(()),
        }
    }

    fn remove_folder(&self, path: &Path) -> Result<()> {
        let removed = if path == self.root.path() {
            fs::remove_dir(path)
        } else {
            self.root.at(path).and_then(|at| at.remove_folder())
        };
        use io::ErrorKind::{DirectoryNotEmpty, NotFound};
        match removed {
            Err(e) if !matches!(e.kind(), NotFound | DirectoryNotEmpty) => {
                Err(StorageError::io("delete folder", path, e))
            }
            _ => Ok(()),
        }
    }

    /// Dirty pages are not forgotten by the kernel, so they are written first; clean files cost one call.
    fn evict(&self, path: &Path) -> Result<()> {
        let file = File::open(path).map_err(|e| StorageError::io("open", path, e))?;
        advice::forget_written(&file).map_err(|e| StorageError::io("evict", path, e))
    }

    fn resident(&self, path: &Path) -> Result<Resident> {
        // Whatever is no file is for its reader to meet: the open of a pipe would wait for a writer.
        let mut options = File::options();
        options.read(true).custom_flags(libc::O_NONBLOCK);
        let file = (options.open(path)).map_err(|e| StorageError::io("open", path, e))?;
        let len = file
            .metadata()
            .map_err(|e| StorageError::io("stat", path, e))?
            .len();
        advice::resident(&file, len).map_err(|e| StorageError::io("look up the pages of", path, e))
    }

    fn lock(&self, folder: &Path) -> Result<Option<FolderLock>> {
        FolderLock::take(folder).map(Some)
    }
}
