//! A file driver of libhdf5 that reads through a [`Source`], and so through the storage system.
//!
//! libhdf5 has one lock for the whole process, and holds it while a driver works. So this driver does no I/O: it
//! answers from ranges of the file that were fetched before. Where one is missing it notes which, and fails; the caller
//! fetches it without the lock and makes the call again. Threads that read the metadata of several files therefore wait
//! for their storage at the same time.
//!
//! The driver shows libhdf5 the file from its superblock on, without a user block before it: the versions of libhdf5
//! disagree on whether addresses of chunks count from the file's start or from the superblock.
//!
//! Source: `H5FDdevelop.h` (1.14) and `H5FDpublic.h` (1.10, 1.12) of libhdf5.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::{c_char, c_int, c_uint, c_void};
use std::sync::{Arc, OnceLock};

use hdf5::plist::FileAccess;
use hdf5_metno as hdf5;
use hdf5_metno_sys::h5f::{H5F_ACC_RDONLY, H5Fopen};
use hdf5_metno_sys::h5fd::{H5FD_class_t, H5FDregister};
use hdf5_metno_sys::h5i::hid_t;
use hdf5_metno_sys::h5p::H5Pset_driver;
use parking_lot::Mutex;

use super::library::failed;
use crate::format::{FormatError, Source};

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

/// A file of a [`Source`] as libhdf5 reads it.
pub(super) struct Reader<'s> {
    source: &'s mut dyn Source,
    fetched: Arc<Mutex<Fetched>>,
    file_len: u64,
    /// Bytes of the next window, where it follows the last one.
    window: u64,
    /// Where the last window ended.
    end: u64,
}

impl<'s> Reader<'s> {
    /// Finds the superblock.
    ///
    /// Errors: there is none.
    pub(super) fn new(source: &'s mut dyn Source) -> Result<Self, FormatError> {
        Self::with_window(source, WINDOW)
    }

    /// The same, with `window` bytes fetched at first.
    pub(super) fn with_window(
        source: &'s mut dyn Source,
        window: u64,
    ) -> Result<Self, FormatError> {
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
        Err(FormatError::Magic {
            what: "an hdf5 file",
            found: start.to_vec(),
        })
    }

    /// Bytes of the file.
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
    pub(super) fn libhdf5<T>(&mut self, mut call: impl FnMut() -> T) -> Result<T, FormatError> {
        self.call(|_| call())
    }

    fn call<T>(&mut self, mut call: impl FnMut(&Mutex<Fetched>) -> T) -> Result<T, FormatError> {
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
    fn fetch(&mut self, at: u64, len: u64) -> Result<(), FormatError> {
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
        self.source.read_at(from, &mut bytes)?;
        self.fetched.lock().ranges.insert(from, bytes);
        self.end = to;
        Ok(())
    }

    /// Opens the file.
    ///
    /// Errors: the metadata is damaged, or bytes of it cannot be read.
    pub(super) fn open(&mut self) -> Result<hdf5::File, FormatError> {
        let driver = driver()?;
        let bad = failed("open");
        let access = FileAccess::try_new().map_err(&bad)?;
        let fetched = self.fetched.clone();
        let file = self.libhdf5(|| {
            hdf5::sync::sync(|| {
                OPENING.set(Some(fetched.clone()));
                // SAFETY: the property list is open; the driver is registered and takes no settings; the name ends with
                // a zero, and only the driver sees it. What H5Fopen returns is owned by nobody else.
                let file = unsafe {
                    H5Pset_driver(access.id(), driver, std::ptr::null());
                    let id = H5Fopen(NAME.as_ptr(), H5F_ACC_RDONLY, access.id());
                    hdf5::h5check(id).and_then(|id| hdf5::from_id::<hdf5::File>(id))
                };
                OPENING.set(None);
                file
            })
        })?;
        file.map_err(bad)
    }
}

thread_local! {
    /// The file that this thread is opening.
    static OPENING: RefCell<Option<Arc<Mutex<Fetched>>>> = const { RefCell::new(None) };
}

const NAME: &std::ffi::CStr = c"dlio-rs";

/// An open file as libhdf5 holds it: its own fields first, which it fills in.
#[repr(C)]
struct OpenFile {
    /// `H5FD_t`: 80 bytes in every version up to 2.0.
    library: [u64; 32],
    eoa: u64,
    fetched: Arc<Mutex<Fetched>>,
}

type Callback = Option<unsafe extern "C" fn()>;

/// `H5FD_class_t` up to its member `write`; beyond it everything is optional or zero in all versions.
#[repr(C)]
struct Class {
    name: *const c_char,
    maxaddr: u64,
    fc_degree: c_int,
    unused: [Callback; 4],
    fapl_size: usize,
    fapl: [Callback; 3],
    dxpl_size: usize,
    dxpl: [Callback; 2],
    open: unsafe extern "C" fn(*const c_char, c_uint, hid_t, u64) -> *mut OpenFile,
    close: unsafe extern "C" fn(*mut OpenFile) -> c_int,
    /// `cmp`, `query`, `get_type_map`, `alloc`, `free`.
    optional: [Callback; 5],
    get_eoa: unsafe extern "C" fn(*const OpenFile, c_int) -> u64,
    set_eoa: unsafe extern "C" fn(*mut OpenFile, c_int, u64) -> c_int,
    get_eof: unsafe extern "C" fn(*const OpenFile, c_int) -> u64,
    get_handle: Callback,
    read: unsafe extern "C" fn(*mut OpenFile, c_int, hid_t, u64, usize, *mut c_void) -> c_int,
    write: unsafe extern "C" fn(*mut OpenFile, c_int, hid_t, u64, usize, *const c_void) -> c_int,
    /// `flush`, `truncate`, `lock`, `unlock`, from 1.12 `del`, from 1.14 vectors and `ctl`; and the map of free lists,
    /// where zero means the default.
    rest: [usize; 24],
}

/// The class of 1.14 and later, which begins with two more members.
#[repr(C)]
struct Versioned {
    version: c_uint,
    value: c_int,
    class: Class,
}

/// `H5F_CLOSE_WEAK`: a file stays open until its last object is closed.
const CLOSE_WEAK: c_int = 1;
/// `H5FD_CLASS_VERSION` of 1.14.
const CLASS_VERSION: c_uint = 1;
/// One of the values that are not given to registered drivers.
const CLASS_VALUE: c_int = 510;

const CLASS: Class = Class {
    name: NAME.as_ptr(),
    maxaddr: i64::MAX as u64,
    fc_degree: CLOSE_WEAK,
    unused: [None; 4],
    fapl_size: 0,
    fapl: [None; 3],
    dxpl_size: 0,
    dxpl: [None; 2],
    open,
    close,
    optional: [None; 5],
    get_eoa,
    set_eoa,
    get_eof,
    get_handle: None,
    read,
    write,
    rest: [0; 24],
};

static VERSIONED: Versioned = Versioned {
    version: CLASS_VERSION,
    value: CLASS_VALUE,
    class: CLASS,
};

// SAFETY: the class is never written to, and its name is a constant.
unsafe impl Sync for Versioned {}

/// The driver, registered when it is first needed.
///
/// Errors: a version of libhdf5 whose drivers are not known here.
fn driver() -> Result<hid_t, FormatError> {
    static DRIVER: OnceLock<Result<hid_t, String>> = OnceLock::new();
    let made = DRIVER.get_or_init(|| {
        let class: *const H5FD_class_t = match hdf5::library_version() {
            (1, 10 | 12, _) => (&raw const VERSIONED.class).cast(),
            (1, 14, _) | (2, ..) => (&raw const VERSIONED).cast(),
            (major, minor, micro) => {
                return Err(format!(
                    "libhdf5 {major}.{minor}.{micro} is not supported: its file drivers are not known to this build; use 1.10, 1.12, 1.14 or 2.x"
                ));
            }
        };
        hdf5::sync::sync(|| {
            // SAFETY: the class has the layout of this version of the library, which copies it.
            let id = unsafe { H5FDregister(class) };
            hdf5::h5check(id).map_err(|e| format!("hdf5: register a file driver: {e}"))
        })
    });
    made.clone().map_err(FormatError::Content)
}

/// # Safety
///
/// None is asked for: the file is the one that this thread is opening.
unsafe extern "C" fn open(_: *const c_char, _: c_uint, _: hid_t, _: u64) -> *mut OpenFile {
    let fetched = OPENING.with_borrow(Clone::clone);
    fetched.map_or(std::ptr::null_mut(), |fetched| {
        Box::into_raw(Box::new(OpenFile {
            library: [0; 32],
            eoa: 0,
            fetched,
        }))
    })
}

/// # Safety
///
/// `file` is what `open` returned, and is not used any more.
unsafe extern "C" fn close(file: *mut OpenFile) -> c_int {
    // SAFETY: as this function asks.
    drop(unsafe { Box::from_raw(file) });
    0
}

/// # Safety
///
/// `file` is what `open` returned.
unsafe extern "C" fn get_eoa(file: *const OpenFile, _: c_int) -> u64 {
    // SAFETY: as this function asks.
    unsafe { (*file).eoa }
}

/// # Safety
///
/// `file` is what `open` returned, and nobody else uses it: libhdf5 holds its lock.
unsafe extern "C" fn set_eoa(file: *mut OpenFile, _: c_int, eoa: u64) -> c_int {
    // SAFETY: as this function asks.
    unsafe { (*file).eoa = eoa };
    0
}

/// # Safety
///
/// `file` is what `open` returned.
unsafe extern "C" fn get_eof(file: *const OpenFile, _: c_int) -> u64 {
    // SAFETY: as this function asks.
    let fetched = unsafe { &(*file).fetched }.lock();
    fetched.file_len - fetched.base
}

/// # Safety
///
/// `file` is what `open` returned, and `into` has room for `len` bytes.
unsafe extern "C" fn read(
    file: *mut OpenFile,
    _: c_int,
    _: hid_t,
    at: u64,
    len: usize,
    into: *mut c_void,
) -> c_int {
    if len == 0 {
        return 0;
    }
    // SAFETY: as this function asks. The bytes are the caller's; they are only written to.
    let (fetched, into) = unsafe {
        into.cast::<u8>().write_bytes(0, len);
        let into = std::slice::from_raw_parts_mut(into.cast::<u8>(), len);
        (&(*file).fetched, into)
    };
    let mut fetched = fetched.lock();
    let at = at.saturating_add(fetched.base);
    if fetched.copy(at, into) { 0 } else { -1 }
}

/// Nothing is written: files are opened for reading.
///
/// # Safety
///
/// None is asked for.
unsafe extern "C" fn write(
    _: *mut OpenFile,
    _: c_int,
    _: hid_t,
    _: u64,
    _: usize,
    _: *const c_void,
) -> c_int {
    -1
}
