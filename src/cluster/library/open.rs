//! Opening a library of MPI at run time.

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::constants::{Abi, Constants};
use super::functions::{self, Calls, Functions};

/// Why a file cannot be used as a library of MPI.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The loader refuses it.
    #[error("{cause}")]
    Refused {
        /// What the loader says, with the file's name in front.
        cause: String,
    },
    /// A library without MPI, or without what is needed of it.
    #[error("{file}: it has no function {missing}, which dlio-rs needs{hint}")]
    Incomplete {
        file: String,
        /// The function or variable.
        missing: String,
        /// What kind of library this is, if anything is known; begins with a colon.
        hint: String,
    },
    /// Neither of the ABIs that dlio-rs knows.
    #[error(
        "{file}: its ABI is unknown; it names itself \"{version}\". dlio-rs knows the ABIs of Open MPI, of MPICH (also Intel \
         MPI, Cray MPICH, MVAPICH) and of the MPI standard since version 5"
    )]
    UnknownAbi {
        file: String,
        /// Its own words.
        version: String,
    },
}

/// A library that is open, until the process ends, as is usual with MPI.
#[derive(Clone, Copy)]
pub(super) struct Handle(*mut c_void);

/// Opens a file, or what the loader finds by a name without a slash. Errors: the loader's words.
fn dlopen(file: &Path, flags: c_int) -> Result<Handle, String> {
    let name = CString::new(file.as_os_str().as_bytes())
        .map_err(|_| format!("{}: a zero byte in the name", file.display()))?;
    // SAFETY: the name is a C string. Constructors of the library run; one that is named as a library of MPI is trusted.
    let handle = unsafe { libc::dlopen(name.as_ptr(), flags) };
    if !handle.is_null() {
        return Ok(Handle(handle));
    }
    // SAFETY: after a failure: a C string, or null.
    let cause = unsafe { libc::dlerror() };
    if cause.is_null() {
        return Err(format!("{}: the loader gives no reason", file.display()));
    }
    // SAFETY: not null.
    let cause = unsafe { CStr::from_ptr(cause) }
        .to_string_lossy()
        .into_owned();
    Err(if cause.contains(&*file.to_string_lossy()) {
        cause
    } else {
        format!("{}: {cause}", file.display())
    })
}

impl Handle {
    /// The address of a function or variable of the library, or of those that it needs; null: none.
    fn address(self, name: &CStr) -> *const c_void {
        // SAFETY: the handle is open.
        unsafe { libc::dlsym(self.0, name.as_ptr()) }
    }

    /// The file that MPI's functions come from; None: it has none.
    fn file(self) -> Option<PathBuf> {
        // Tools that watch MPI define MPI_ functions; a library of MPI defines PMPI_ functions.
        file_of(self.address(c"PMPI_Init_thread"))
    }
}

/// The file that an address was loaded from.
pub(super) fn file_of(address: *const c_void) -> Option<PathBuf> {
    if address.is_null() {
        return None;
    }
    // SAFETY: a structure of pointers, which the call fills; the name lives as long as the library.
    let name = unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(address, &mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        CStr::from_ptr(info.dli_fname)
    };
    let path = PathBuf::from(std::ffi::OsString::from_vec(name.to_bytes().to_vec()));
    Some(path.canonicalize().unwrap_or(path))
}

/// What is known of a library of MPI once it is open.
pub(super) struct Opened {
    pub calls: Calls,
    pub abi: Abi,
    /// The file, without symbolic links.
    pub file: PathBuf,
}

/// Opens a library for this process to use. Its plug-ins see its symbols (RTLD_GLOBAL), which those of Open MPI 4 need.
///
/// Errors: the loader refuses it, it is no library of MPI, or lacks something.
pub(super) fn open(file: &Path) -> Result<Opened, OpenError> {
    load(file, libc::RTLD_NOW | libc::RTLD_GLOBAL).map(|(opened, _)| opened)
}

/// The ABI and the name of a library, which is not used.
///
/// Errors: as for [`open`].
pub(super) fn look(file: &Path) -> Result<(Abi, String), OpenError> {
    let (opened, version) = load(file, libc::RTLD_LAZY | libc::RTLD_LOCAL)?;
    Ok((opened.abi, version))
}

/// The library, and the line by which it names itself.
fn load(file: &Path, flags: c_int) -> Result<(Opened, String), OpenError> {
    let refused = |cause| OpenError::Refused { cause };
    // A name without a slash would be looked for elsewhere.
    let path = if file.components().count() == 1 {
        Path::new(".").join(file)
    } else {
        file.to_path_buf()
    };
    if path.is_dir() {
        return Err(refused(format!(
            "{}: a folder, not a library",
            file.display()
        )));
    }
    let not_elf = std::fs::File::open(&path).is_ok_and(|mut file| {
        let mut start = [0; 4];
        std::io::Read::read(&mut file, &mut start).is_ok() && start != *b"\x7fELF"
    });
    if not_elf {
        return Err(refused(format!(
            "{}: no shared library; where it is a text for the linker, it names the library",
            file.display()
        )));
    }
    let handle = dlopen(&path, flags).map_err(refused)?;
    let address = |name: &CStr| handle.address(name);
    let incomplete = |missing: &str, hint: &str| OpenError::Incomplete {
        file: file.display().to_string(),
        missing: missing.into(),
        hint: hint.into(),
    };
    let version = address(c"MPI_Get_library_version");
    if version.is_null() {
        let hint = match address(c"MPI_Init").is_null() {
            true => ": it is no library of MPI",
            false => ": it is older than MPI 3",
        };
        return Err(incomplete("MPI_Get_library_version", hint));
    }
    // SAFETY: a function of this name has these parameters.
    let version = functions::version(unsafe {
        std::mem::transmute::<*const c_void, unsafe extern "C" fn(*mut c_char, *mut c_int) -> c_int>(
            version,
        )
    });
    let abi = abi(handle, &version).ok_or_else(|| OpenError::UnknownAbi {
        file: file.display().to_string(),
        version: functions::first_line(&version),
    })?;
    let named = |name: &str| {
        let line = functions::first_line(&version);
        incomplete(name, &format!(": it is {line}"))
    };
    let functions = Functions::find(address).map_err(named)?;
    let constants = Constants::of(abi, address).map_err(|name| named(&name.to_string_lossy()))?;
    let opened = Opened {
        calls: Calls::new(functions, constants),
        abi,
        file: handle.file().unwrap_or(path),
    };
    Ok((opened, functions::first_line(&version)))
}

/// First words by which libraries of MPICH's ABI name themselves.
const MPICH_LIKE: [&str; 5] = [
    "MPICH",
    "Intel(R) MPI",
    "CRAY MPICH",
    "MVAPICH",
    "ParaStation",
];

/// By what the library has, and for MPICH's by its name. None: unknown.
fn abi(handle: Handle, version: &str) -> Option<Abi> {
    if !handle.address(c"ompi_mpi_comm_world").is_null() {
        return Some(Abi::OpenMpi);
    }
    let abi_version = handle.address(c"MPI_Abi_get_version");
    if !abi_version.is_null() {
        let (mut major, mut minor) = (-1, -1);
        // SAFETY: a function of this name has these parameters, and may be called at any time.
        unsafe {
            std::mem::transmute::<
                *const c_void,
                unsafe extern "C" fn(*mut c_int, *mut c_int) -> c_int,
            >(abi_version)(&mut major, &mut minor)
        };
        // -1: the function is there, but the library has an ABI of its own.
        if major == 1 {
            return Some(Abi::Standard);
        }
    }
    let is_mpich = MPICH_LIKE.iter().any(|words| version.contains(words));
    is_mpich.then_some(Abi::Mpich)
}

/// Where the loader finds a library of MPI by its file's name: LD_LIBRARY_PATH, its cache, the usual folders. It is closed
/// again.
pub(super) fn find_by_loader(name: &str) -> Option<PathBuf> {
    let handle = dlopen(Path::new(name), libc::RTLD_LAZY | libc::RTLD_LOCAL).ok()?;
    let file = handle.file();
    // SAFETY: the handle is open, and nothing of the library is kept.
    unsafe { libc::dlclose(handle.0) };
    file
}

/// The libraries of MPI that this process has loaded already, by LD_PRELOAD or as a part of another program.
pub(super) fn loaded() -> Vec<PathBuf> {
    /// Appends the name of a loaded object.
    unsafe extern "C" fn add(info: *mut libc::dl_phdr_info, _: usize, names: *mut c_void) -> c_int {
        // SAFETY: both pointers are given by `dl_iterate_phdr` below; the name is a C string or null.
        unsafe {
            let name = (*info).dlpi_name;
            if !name.is_null() {
                (*names.cast::<Vec<CString>>()).push(CStr::from_ptr(name).to_owned());
            }
        }
        0
    }
    let mut names: Vec<CString> = Vec::new();
    // SAFETY: the callback gets this vector, and nothing else has it meanwhile.
    unsafe { libc::dl_iterate_phdr(Some(add), (&raw mut names).cast()) };
    let mut files: Vec<PathBuf> = Vec::new();
    for name in names {
        let path = Path::new(std::ffi::OsStr::from_bytes(name.to_bytes()));
        let file = path.file_name().map(|f| f.to_string_lossy().into_owned());
        if !file.is_some_and(|file| file.starts_with("libmpi")) {
            continue;
        }
        let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD;
        let found = dlopen(path, flags).ok().and_then(Handle::file);
        if let Some(file) = found
            && !files.contains(&file)
        {
            files.push(file);
        }
    }
    files
}
