//! A file of a [`Source`] as libhdf5 reads it, through the driver.
//!
//! libhdf5 has one lock for the whole process, and holds it while a driver works. So no I/O is done there: reads are
//! answered from ranges of the file that were fetched before. Where one is missing it is noted and the call fails; then
//! the range is fetched without the lock, and the call made again. Threads that read the metadata of several files
//! therefore wait for their storage at the same time.
//!
//! Between two fetches the lock is held: each call of libhdf5 takes it for itself, and threads that hand it over at every
//! call spend more time on that than on parsing (results/bench-readers.md).
//!
//! libhdf5 sees the file from its superblock on, without a user block before it: its versions disagree on whether
//! addresses of chunks count from the file's start or from the superblock.

use std::collections::BTreeMap;
use std::sync::Arc;

use hdf5_metno as hdf5;
use hdf5_metno_sys::LOCK;
use parking_lot::{Mutex, ReentrantMutexGuard};

use super::driver::{self, Backing};
use super::library::failed;
use crate::format::{FormatError, Result, Source};

/// Bytes that are fetched at once. The metadata of most files lies within the first window.
const WINDOW: u64 = 16 << 10;
/// Where one window follows another, the next is twice as long, up to this.
const MAX_WINDOW: u64 = 256 << 10;
/// Windows begin and end at multiples of this, so that direct I/O reads nothing twice.
const ALIGN: u64 = 4 << 10;

const SIGNATURE: [u8; 8] = *b"\x89HDF\r\n\x1a\n";
/// Where the superblock may lie beside the file's start: at this and its doubles.
const FIRST_USER_BLOCK: u64 = 512;

/// What is known of a file's bytes.
struct Fetched {
    /// By their first byte; they do not overlap.
    ranges: BTreeMap<u64, Vec<u8>>,
    file_len: u64,
    /// Where the superblock lies: the driver's address 0.
    base: u64,
    /// First byte and length of what a read wanted in vain.
    missing: Option<(u64, u64)>,
}

impl Fetched {
    /// Copies bytes of the file; beyond its end there are zeros, as every driver of libhdf5 has it.
    fn copy(&mut self, mut at: u64, mut into: &mut [u8]) -> bool {
        while !into.is_empty() {
            if at >= self.file_len {
                into.fill(0);
                return true;
            }
            let range = self.ranges.range(..=at).next_back();
            let bytes = range.and_then(|(first, bytes)| bytes.get((at - first) as usize..));
            let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty()) else {
                self.missing = Some((at, into.len() as u64));
                return false;
            };
            let n = bytes.len().min(into.len());
            into[..n].copy_from_slice(&bytes[..n]);
            into = &mut into[n..];
            at += n as u64;
        }
        true
    }
}

impl Backing for Fetched {
    fn len(&self) -> u64 {
        self.file_len - self.base
    }
    fn read(&mut self, at: u64, into: &mut [u8]) -> bool {
        self.copy(at.saturating_add(self.base), into)
    }
}

/// A file of a [`Source`] as libhdf5 reads it.
pub(super) struct Reader<'s> {
    source: &'s mut dyn Source,
    fetched: Arc<Mutex<Fetched>>,
    file_len: u64,
    /// Bytes of the next window, where it follows the last one.
    window: u64,
    /// Where the last window ended.
    end: u64,
    /// libhdf5's lock, from the opening of the file on; never while bytes are fetched.
    lock: Option<ReentrantMutexGuard<'static, ()>>,
}

impl<'s> Reader<'s> {
    /// Finds the superblock.
    ///
    /// Errors: there is none.
    pub(super) fn new(source: &'s mut dyn Source) -> Result<Self> {
        Self::with_window(source, WINDOW)
    }

    /// The same, with `window` bytes fetched at first.
    pub(super) fn with_window(source: &'s mut dyn Source, window: u64) -> Result<Self> {
        let file_len = source.file_len()?;
        let fetched = Fetched {
            ranges: BTreeMap::new(),
            file_len,
            base: 0,
            missing: None,
        };
        let mut reader = Reader {
            source,
            fetched: Arc::new(Mutex::new(fetched)),
            file_len,
            window,
            end: 0,
            lock: None,
        };
        let mut start = [0; 8];
        let mut at = 0;
        while at == 0 || at + 8 <= file_len {
            let mut found = [0; 8];
            reader.call(|fetched| fetched.lock().copy(at, &mut found))?;
            if found == SIGNATURE {
                reader.fetched.lock().base = at;
                return Ok(reader);
            }
            if at == 0 {
                start = found;
            }
            at = (2 * at).max(FIRST_USER_BLOCK);
        }
        let start = &start[..file_len.min(8) as usize];
        if SIGNATURE.starts_with(start) {
            let (expected, got) = (512, file_len);
            return Err(FormatError::Truncated { expected, got });
        }
        Err(FormatError::magic("an hdf5 file", start))
    }

    pub(super) fn file_len(&self) -> u64 {
        self.file_len
    }

    /// Where the superblock lies: what is to be added to libhdf5's addresses.
    pub(super) fn base(&self) -> u64 {
        self.fetched.lock().base
    }

    /// Makes a call that reads the file, again and again until it has all the bytes that it wants.
    ///
    /// Errors: bytes cannot be read. The call's own outcome is for the caller.
    pub(super) fn libhdf5<T>(&mut self, mut call: impl FnMut() -> T) -> Result<T> {
        self.call(|_| call())
    }

    fn call<T>(&mut self, mut call: impl FnMut(&Mutex<Fetched>) -> T) -> Result<T> {
        loop {
            let outcome = call(&self.fetched);
            // Bound on its own: the lock must not be held while fetching.
            let missing = self.fetched.lock().missing.take();
            match missing {
                // Some calls have no errors, and take defaults for what they could not read.
                Some((at, len)) => self.fetch(at, len)?,
                None => return Ok(outcome),
            }
        }
    }

    /// Fetches a window around bytes of which the first is missing.
    fn fetch(&mut self, at: u64, len: u64) -> Result<()> {
        if at == self.end && at > 0 {
            self.window = (2 * self.window).min(MAX_WINDOW.max(self.window));
        }
        let align = ALIGN.min(self.window);
        let (mut from, mut to) = (at / align * align, at.saturating_add(len.max(self.window)));
        to = to.next_multiple_of(align).min(self.file_len);
        {
            let fetched = self.fetched.lock();
            if let Some((first, bytes)) = fetched.ranges.range(..=at).next_back() {
                from = from.max(first + bytes.len() as u64);
            }
            if let Some((&next, _)) = fetched.ranges.range(at..).next() {
                to = to.min(next);
            }
        }
        let mut bytes = vec![0; (to - from) as usize];
        let was_locked = self.lock.take().is_some();
        self.source.read_at(from, &mut bytes)?;
        self.lock = was_locked.then(|| LOCK.lock());
        self.fetched.lock().ranges.insert(from, bytes);
        self.end = to;
        Ok(())
    }

    /// Opens the file, and holds libhdf5's lock until the reader goes.
    ///
    /// Errors: the metadata is damaged, or bytes of it cannot be read.
    pub(super) fn open(&mut self) -> Result<hdf5::File> {
        let driver = driver::registered()?;
        let fetched = self.fetched.clone();
        self.lock = Some(LOCK.lock());
        let file = self.libhdf5(|| driver.open(fetched.clone()))?;
        file.map_err(failed("open"))
    }
}
