//! A file driver of libhdf5: what it reads and writes are bytes of ours, a [`Backing`].
//!
//! Source: `H5FDdevelop.h` (1.14) and `H5FDpublic.h` (1.10, 1.12) of libhdf5.

use std::cell::RefCell;
use std::ffi::{c_char, c_int, c_uint, c_ulong, c_void};
use std::sync::{Arc, OnceLock};

use hdf5::plist::FileAccess;
use hdf5_metno as hdf5;
use hdf5_metno_sys::h5f::{H5F_ACC_RDONLY, H5F_ACC_TRUNC, H5Fcreate, H5Fopen};
use hdf5_metno_sys::h5fd::{H5FD_class_t, H5FDregister};
use hdf5_metno_sys::h5i::hid_t;
use hdf5_metno_sys::h5p::H5Pset_driver;
use parking_lot::Mutex;

use super::library::{layout, timeless};
use crate::format::{FormatError, Result};

/// Bytes that libhdf5 takes for a file.
pub(super) trait Backing: Send {
    fn len(&self) -> u64;
    /// Fills `into`; beyond the end with zeros, as every driver of libhdf5 does. False: it cannot.
    fn read(&mut self, at: u64, into: &mut [u8]) -> bool;
    /// Takes bytes. False: it cannot.
    fn write(&mut self, at: u64, bytes: &[u8]) -> bool {
        let _ = (at, bytes);
        false
    }
    /// Storage is allocated up to here.
    fn allocated(&mut self, end: u64) {
        let _ = end;
    }
    /// `H5FD_FEAT_...`
    fn features(&self) -> c_ulong {
        0
    }
}

thread_local! {
    /// The file that this thread is opening.
    static OPENING: RefCell<Option<Arc<Mutex<dyn Backing>>>> = const { RefCell::new(None) };
}

/// The driver, registered with libhdf5.
#[derive(Clone, Copy)]
pub(super) struct Driver(hid_t);

impl Driver {
    /// Opens a file for reading.
    ///
    /// Errors: libhdf5's.
    pub(super) fn open(self, backing: Arc<Mutex<dyn Backing>>) -> hdf5::Result<hdf5::File> {
        let access = FileAccess::try_new()?;
        // SAFETY: the property list is open and the name ends with a zero; only the driver sees it.
        self.with(backing, &access, || unsafe {
            H5Fopen(NAME.as_ptr(), H5F_ACC_RDONLY, access.id())
        })
    }

    /// Makes a file of [`layout`] in which nothing depends on when it is made.
    ///
    /// Errors: libhdf5's.
    pub(super) fn create(self, backing: Arc<Mutex<dyn Backing>>) -> hdf5::Result<hdf5::File> {
        let access = layout()?;
        let create = timeless()?;
        // SAFETY: both property lists are open and the name ends with a zero; only the driver sees it.
        self.with(backing, &access, || unsafe {
            H5Fcreate(NAME.as_ptr(), H5F_ACC_TRUNC, create.id(), access.id())
        })
    }

    fn with(
        self,
        backing: Arc<Mutex<dyn Backing>>,
        access: &FileAccess,
        open: impl FnOnce() -> hid_t,
    ) -> hdf5::Result<hdf5::File> {
        hdf5::sync::sync(|| {
            // SAFETY: the property list is open; the driver is registered and takes no settings.
            hdf5::h5check(unsafe { H5Pset_driver(access.id(), self.0, std::ptr::null()) })?;
            OPENING.set(Some(backing));
            let id = hdf5::h5check(open());
            OPENING.set(None);
            // SAFETY: the file was just opened, and nobody else owns it.
            id.and_then(|id| unsafe { hdf5::from_id(id) })
        })
    }
}

const NAME: &std::ffi::CStr = c"dlio-rs";

/// An open file as libhdf5 holds it: its own fields first, which it fills in.
#[repr(C)]
struct OpenFile {
    /// `H5FD_t`: 80 bytes in every version up to 2.0.
    library: [u64; 32],
    eoa: u64,
    backing: Arc<Mutex<dyn Backing>>,
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
    cmp: Callback,
    query: unsafe extern "C" fn(*const OpenFile, *mut c_ulong) -> c_int,
    /// `get_type_map`, `alloc`, `free`.
    optional: [Callback; 3],
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
    cmp: None,
    query,
    optional: [None; 3],
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
pub(super) fn registered() -> Result<Driver> {
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
    made.clone().map(Driver).map_err(FormatError::Content)
}

/// # Safety
///
/// None is asked for: the file is the one that this thread is opening.
unsafe extern "C" fn open(_: *const c_char, _: c_uint, _: hid_t, _: u64) -> *mut OpenFile {
    let backing = OPENING.with_borrow(Clone::clone);
    backing.map_or(std::ptr::null_mut(), |backing| {
        Box::into_raw(Box::new(OpenFile {
            library: [0; 32],
            eoa: 0,
            backing,
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
    let file = unsafe { &mut *file };
    file.eoa = eoa;
    file.backing.lock().allocated(eoa);
    0
}

/// # Safety
///
/// `file` is what `open` returned.
unsafe extern "C" fn get_eof(file: *const OpenFile, _: c_int) -> u64 {
    // SAFETY: as this function asks.
    unsafe { &(*file).backing }.lock().len()
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
    let (backing, into) = unsafe {
        into.cast::<u8>().write_bytes(0, len);
        let into = std::slice::from_raw_parts_mut(into.cast::<u8>(), len);
        (&(*file).backing, into)
    };
    if backing.lock().read(at, into) { 0 } else { -1 }
}

/// # Safety
///
/// `file` is what `open` returned, and `bytes` holds `len` bytes.
unsafe extern "C" fn write(
    file: *mut OpenFile,
    _: c_int,
    _: hid_t,
    at: u64,
    len: usize,
    bytes: *const c_void,
) -> c_int {
    if len == 0 {
        return 0;
    }
    // SAFETY: as this function asks.
    let (backing, bytes) = unsafe {
        let bytes = std::slice::from_raw_parts(bytes.cast::<u8>(), len);
        (&(*file).backing, bytes)
    };
    if backing.lock().write(at, bytes) {
        0
    } else {
        -1
    }
}

/// # Safety
///
/// `file` is null or what `open` returned; `features` is null or has room for one value.
unsafe extern "C" fn query(file: *const OpenFile, features: *mut c_ulong) -> c_int {
    if !features.is_null() {
        // SAFETY: as this function asks.
        unsafe {
            *features = file
                .as_ref()
                .map_or(0, |file| file.backing.lock().features());
        }
    }
    0
}
