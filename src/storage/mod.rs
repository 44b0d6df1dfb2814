//! Storage systems: one file each, behind one blocking trait that pool threads call.
//!
//! A read lands in the caller's [`Lane`] chunk by chunk and is shown to a [`Sink`]; no bytes are kept.
//! The caller counts what an [`Answer`] holds. A storage system knows no format, no loader and no metric.

use std::path::{Path, PathBuf};

mod address;
mod advice;
pub mod buffer;
mod calls;
mod direct;
mod errno;
mod files;
mod kept;
mod lock;
mod mmap;
mod model;
mod null;
#[cfg(feature = "object")]
mod object;
mod open_files;
mod options;
mod part;
mod posix;
pub(crate) mod ring;
mod row;
mod spec;
mod system;
pub mod telemetry;

pub(crate) use address::{plain_path, plain_prefix};
pub use buffer::{Buffer, Lane};
pub(crate) use errno::words as errno_words;
pub use lock::FolderLock;
pub use model::TimeModel;
#[cfg(feature = "object")]
pub use object::ObjectError;
#[cfg(feature = "object")]
#[doc(hidden)]
pub use object::http_answer;
pub(crate) use open_files::ensure_open_files;
pub use options::{Client, Secret, StorageOptions};
pub(crate) use part::{close, create_file, replace_file, replace_file_by, write_file};
pub use row::System;
pub use spec::{Pages, StoreSpec};
pub use system::SYSTEMS;
pub use telemetry::Telemetry;

use std::sync::atomic::AtomicU64;

/// Something in a folder, by its name in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// A file; with slashes where the system listed deeper than one level.
    File(&'a str),
    /// A folder.
    Folder(&'a str),
}

/// Which bytes of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of them, however many there are.
    Whole,
    /// `len` bytes from `offset`.
    Range {
        /// First byte.
        offset: u64,
        /// Number of bytes.
        len: u64,
    },
}

/// One read of one extent.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Full path of the file.
    pub path: &'a Path,
    /// Which bytes.
    pub extent: Extent,
    /// Bytes that the plan expects; what `null` and `model` answer with.
    pub planned_len: u64,
    /// Bytes of the whole file, where the plan knows them.
    pub exact_len: Option<u64>,
    /// A number that names this request, from which `model` draws its jitter.
    pub tag: u64,
}

/// Who looks at the bytes as they come.
pub trait Sink {
    /// The length of the whole file, before its first chunk. Where this takes time, it ends with a look at the clock.
    /// Called again where the first read finds it to be another one than [`Request::exact_len`].
    fn begin(&mut self, file_len: u64);
    /// The next bytes, in order; the clock has just been looked at. False stops the read; the sink knows why.
    fn chunk(&mut self, bytes: &[u8]) -> bool;
    /// An I/O call begins at this offset (for the watchdog); the clock has just been looked at.
    fn position(&mut self, offset: u64);
    /// A read call (of an object store: a GET) ended; it took this long.
    fn called(&mut self, _ns: u64) {}
}

/// What happened during a read. Units: bytes and nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Answer {
    /// Bytes delivered.
    pub bytes: u64,
    /// Files opened: none where the thread had it open already.
    pub opens: u64,
    /// Opening the file and learning its length.
    pub open_ns: u64,
    /// From the request to its first byte, where that can be seen.
    pub first_byte_ns: Option<u64>,
    /// All read calls together.
    pub read_ns: u64,
    /// Read calls.
    pub calls: u64,
    /// Calls repeated after an error.
    pub retries: u64,
}

/// What several reads came to; the first byte is that of one alone.
impl std::ops::AddAssign for Answer {
    fn add_assign(&mut self, other: Answer) {
        self.bytes += other.bytes;
        self.opens += other.opens;
        self.open_ns += other.open_ns;
        self.read_ns += other.read_ns;
        self.calls += other.calls;
        self.retries += other.retries;
    }
}

impl Answer {
    /// Counts one read call of `ns` nanoseconds and shows it to the sink.
    pub fn called(&mut self, ns: u64, sink: &mut dyn Sink) {
        self.calls += 1;
        self.read_ns += ns;
        sink.called(ns);
    }
}

/// Pages of a file in the page cache. Unit of all: pages, but for [`Resident::bytes`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resident {
    /// In memory.
    pub held: u64,
    /// All that the file has.
    pub pages: u64,
    /// Bytes of those in memory, whole pages.
    pub bytes: u64,
}

/// A file being written; it appears under its name only when finished.
pub trait Writer {
    /// Appends.
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<()>;
    /// Appends the first `used` bytes of a buffer, and may keep it until they are written: the one that comes back is as long,
    /// and what it holds means nothing.
    ///
    /// Errors: those of [`Writer::write`]; the buffer is gone then.
    fn give(&mut self, buffer: Buffer, used: usize) -> std::io::Result<Buffer> {
        self.write(&buffer[..used])?;
        Ok(buffer)
    }
    /// Makes all that was written durable; nothing may be appended afterwards. Object stores have nothing to do here:
    /// an object is durable once it is finished.
    fn sync(&mut self) -> std::io::Result<()> {
        Ok(())
    }
    /// Of the time that writing took so far, what was the client's own work: no storage system was waited for. Units:
    /// nanoseconds.
    fn client_ns(&self) -> u64 {
        0
    }
    /// Makes the file appear. Dropping without this leaves nothing behind.
    fn finish(self: Box<Self>) -> Result<()>;
}

/// A storage system.
pub trait Storage: Send + Sync {
    /// Its row of the table.
    fn system(&self) -> &'static System;
    /// Reads an extent into the lane's buffer, one transfer after another, showing each to `sink`.
    fn read(&self, request: &Request, lane: &mut Lane, sink: &mut dyn Sink) -> Result<Answer>;
    /// Opens a file whose ranges are about to be read, where that is a step of its own: its length, and what learning it
    /// took.
    ///
    /// Errors: [`StorageError::Missing`].
    fn open(&self, path: &Path, _lane: &mut Lane) -> Result<(u64, Answer)> {
        let missing = || StorageError::Missing { path: path.into() };
        let len = self.len(path)?.ok_or_else(missing)?;
        Ok((len, Answer::default()))
    }
    /// Length of a file; None when it does not exist.
    fn len(&self, path: &Path) -> Result<Option<u64>>;
    /// The first bytes of a file, as many as fit; returns how many there were.
    fn head(&self, path: &Path, into: &mut [u8]) -> Result<usize>;
    /// Bytes of memory that `writers` files of up to `len` bytes take while they are written at the same time.
    fn write_memory(&self, _writers: u64, _len: u64) -> u64 {
        0
    }
    /// Begins a file.
    fn create(&self, path: &Path) -> Result<Box<dyn Writer>>;
    /// Makes a folder and its parents.
    fn create_folder(&self, path: &Path) -> Result<()>;
    /// Makes the names of the files in a folder durable, where that is a thing of its own.
    fn sync_folder(&self, _path: &Path) -> Result<()> {
        Ok(())
    }
    /// Deletes a file; a missing one is no error.
    fn remove(&self, path: &Path) -> Result<()>;
    /// Deletes files; missing ones are no error.
    fn remove_many(&self, paths: &[&Path]) -> Result<()> {
        paths.iter().try_for_each(|path| self.remove(path))
    }
    /// True when there is such a folder, or no need of one.
    fn has_folder(&self, path: &Path) -> Result<bool> {
        Ok(self.len(path)?.is_some())
    }
    /// Shows every object under a folder, however deep: its name below the folder, its length. Object stores only.
    fn list(&self, folder: &Path, _visit: &mut dyn FnMut(&str, u64)) -> Result<()> {
        Err(StorageError::io(
            "list",
            folder,
            std::io::ErrorKind::Unsupported.into(),
        ))
    }
    /// Shows what a folder holds, one level of it where the system knows levels; in any order.
    fn entries(&self, folder: &Path, _visit: &mut dyn FnMut(Entry)) -> Result<()> {
        Err(StorageError::io(
            "list",
            folder,
            std::io::ErrorKind::Unsupported.into(),
        ))
    }
    /// Shows every upload of an object under a folder that was begun and not ended: the object's name below the folder,
    /// the upload's name. Object stores only.
    fn uploads(&self, folder: &Path, _visit: &mut dyn FnMut(&str, &str)) -> Result<()> {
        Err(StorageError::io(
            "list the uploads of",
            folder,
            std::io::ErrorKind::Unsupported.into(),
        ))
    }
    /// Gives up such an upload.
    fn abort(&self, path: &Path, _upload: &str) -> Result<()> {
        Err(StorageError::io(
            "abort the upload of",
            path,
            std::io::ErrorKind::Unsupported.into(),
        ))
    }
    /// What requests and connections came to, where there are any.
    fn telemetry(&self) -> Option<Telemetry> {
        None
    }
    /// Requests repeated so far, by class of failure; empty where there are no requests. Cheap: it is asked ten times a second.
    fn repeated(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    /// URLs of endpoints that were taken out so far, and how often. As cheap as [`Self::repeated`].
    fn taken_out(&self) -> Vec<(String, u64)> {
        Vec::new()
    }
    /// CPU time so far of threads of its own, which work beside those that call it, ns.
    fn own_cpu_ns(&self) -> u64 {
        0
    }
    /// Deletes a folder if it is empty.
    fn remove_folder(&self, path: &Path) -> Result<()>;
    /// Asks the kernel to forget cached pages of a file.
    fn evict(&self, _path: &Path) -> Result<()> {
        Ok(())
    }
    /// What the page cache holds of a file.
    fn resident(&self, _path: &Path) -> Result<Resident> {
        Ok(Resident::default())
    }
    /// Takes a folder for one writing job, where two could meet in it.
    ///
    /// Errors: [`StorageError::Locked`].
    fn lock(&self, _folder: &Path) -> Result<Option<FolderLock>> {
        Ok(None)
    }
}

pub(crate) type Result<T, E = StorageError> = std::result::Result<T, E>;

/// What a storage system could not do. Messages fit after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// No such file.
    #[error("read {}: it does not exist\n  remedy: generate the dataset with these settings, or check dataset.data_folder and num_files", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
    },
    /// The file ended before the extent did.
    #[error("read {}: the file ended at byte {got} where {expected} were expected\n  remedy: the file is truncated or changed while it was read; generate it again", .path.display())]
    Short {
        /// The file.
        path: PathBuf,
        /// Bytes expected.
        expected: u64,
        /// Bytes there.
        got: u64,
    },
    /// O_DIRECT is not to be had.
    #[error("read {} with O_DIRECT: {cause}\n  remedy: put the data on a file system with direct I/O, or set reader.odirect=false and storage.storage_type=local_fs", .path.display())]
    DirectRefused {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// RWF_DONTCACHE is not to be had.
    #[error("read {} without leaving it in the page cache (RWF_DONTCACHE): {cause}\n  remedy: set reader.drop_cache=fadvise, or read with O_DIRECT (storage.storage_type=direct_fs)", .path.display())]
    DontCacheRefused {
        /// The file.
        path: PathBuf,
        /// Why.
        cause: String,
    },
    /// The file system is full.
    #[error("write {}: no space left on the file system after {written} bytes of this file\n  remedy: free space or reduce the dataset; complete files stay and are skipped by the next run", .path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// Bytes of it that were written.
        written: u64,
    },
    /// The user's quota is used up.
    #[error("write {}: the disk quota is used up after {written} bytes of this file\n  remedy: ask for more quota (quota -s shows it), delete files, or reduce the dataset", .path.display())]
    Quota {
        /// The file.
        path: PathBuf,
        /// Bytes of it that were written.
        written: u64,
    },
    /// Another job writes into the folder.
    #[error("write into {}: {holder} does\n  remedy: {remedy}", .folder.display())]
    Locked {
        /// The folder.
        folder: PathBuf,
        /// Who holds it.
        holder: String,
        /// What to do: with the name of the lock, and by what people see that the job is gone.
        remedy: String,
    },
    /// Anything else the system said.
    #[error("{operation} {}{}: {}", .path.display(), errno::at(*.offset), errno::explained(.operation, .source))]
    Io {
        /// What was attempted.
        operation: &'static str,
        /// On which file.
        path: PathBuf,
        /// At which byte.
        offset: Option<u64>,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// An object store's failure.
    #[cfg(feature = "object")]
    #[error("{0}")]
    Object(Box<ObjectError>),
    /// A storage system cannot be set up.
    #[error("{0}")]
    Setup(String),
}

impl StorageError {
    /// A failed write, after `written` bytes of the file.
    pub fn writing(path: &Path, written: u64, source: std::io::Error) -> Self {
        #[cfg(feature = "object")]
        let source = match source.downcast::<Box<ObjectError>>() {
            Ok(error) => return StorageError::Object(error),
            Err(source) => source,
        };
        part::write_error(path, written, source)
    }

    fn io(operation: &'static str, path: &Path, source: std::io::Error) -> Self {
        match source.kind() {
            std::io::ErrorKind::NotFound if operation != "create" => {
                StorageError::Missing { path: path.into() }
            }
            _ => StorageError::Io {
                operation,
                path: path.into(),
                offset: None,
                source,
            },
        }
    }

    fn reading(path: &Path, offset: u64, source: std::io::Error) -> Self {
        StorageError::Io {
            operation: "read",
            path: path.into(),
            offset: Some(offset),
            source,
        }
    }
}

/// Opens a storage system. `shared`: words that the ranks of this node have in common, for `model`'s bandwidth.
///
/// Errors: this build does not have it, or it cannot be set up.
pub fn open(spec: &StoreSpec, shared: &'static [AtomicU64]) -> Result<Box<dyn Storage>> {
    match spec.system.open {
        Ok(open) => open(spec, shared),
        Err(remedy) => Err(StorageError::Setup(format!(
            "use storage.storage_type={}: this build does not have it\n  remedy: {remedy}",
            spec.system
        ))),
    }
}

/// Words of node-shared memory that [`open`] needs.
pub const SHARED_WORDS: usize = 1;
