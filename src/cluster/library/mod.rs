//! The MPI library of a job: linked into this binary (feature `mpi-linked`), or opened at run time.
//!
//! Both are the same table of functions and constants. A binary that is linked with a library uses no other: two in one process
//! would meet in each other's symbols.

// A linked binary opens no library; it is built, and its tests open the one that it is linked with.
#[cfg_attr(feature = "mpi-linked", allow(dead_code))]
mod choose;
mod constants;
mod functions;
#[cfg_attr(feature = "mpi-linked", allow(dead_code))]
mod open;
#[cfg(test)]
pub(super) mod tests;

use std::path::{Path, PathBuf};

pub use choose::ChooseError;
pub(super) use constants::Handle;
pub(super) use functions::{Calls, Datum, Operation, first_line};
pub use open::OpenError;

/// Why no library is used.
#[derive(Debug, thiserror::Error)]
pub enum LibraryError {
    /// It cannot be chosen.
    #[error(transparent)]
    Choose(#[from] ChooseError),
    /// It cannot be opened.
    #[error("open the MPI library {why}: {error}")]
    Open { why: String, error: OpenError },
    /// The binary has one that is not the one named.
    #[error("{named} cannot be opened: this binary is linked with {linked}")]
    Linked {
        /// What the user wants.
        named: String,
        /// What the binary has.
        linked: String,
    },
}

/// The variable that names a library, as `--mpi-lib` does.
pub(super) const VARIABLE: &str = "DLIO_RS_MPI_LIB";

/// A library that can be started.
pub(super) struct Library {
    pub calls: Calls,
    /// Which file it is, its ABI, and why it is this one.
    pub source: String,
}

/// The library that the binary is linked with.
///
/// Errors: another one is `named`.
#[cfg(feature = "mpi-linked")]
pub(super) fn find(
    _: &dyn Fn(&str) -> Option<String>,
    named: Option<&Named>,
) -> Result<Library, LibraryError> {
    let file = linked_file();
    if let Some(named) = named
        && named.file.canonicalize().ok().as_ref() != Some(&file)
    {
        return Err(LibraryError::Linked {
            named: named.file.display().to_string(),
            linked: file.display().to_string(),
        });
    }
    Ok(Library {
        calls: Calls::new(functions::Functions::linked(), constants::linked()),
        source: format!("{}, linked", file.display()),
    })
}

#[cfg(feature = "mpi-linked")]
fn linked_file() -> PathBuf {
    let address = mpi::ffi::PMPI_Init_thread as *const std::ffi::c_void;
    open::file_of(address).unwrap_or_default()
}

/// Opens the library that is `named`, that is loaded already, or that belongs to the launcher.
///
/// Errors: there is none, there are several, or it cannot be used.
#[cfg(not(feature = "mpi-linked"))]
pub(super) fn find(
    env: &dyn Fn(&str) -> Option<String>,
    named: Option<&Named>,
) -> Result<Library, LibraryError> {
    let choice = match (named, choose::loaded()?) {
        (Some(named), _) => choose::Choice {
            file: named.file.clone(),
            why: format!("{} names it", named.by),
        },
        (None, Some(choice)) => choice,
        (None, None) => choose::choose(&choose::Surroundings {
            env,
            ancestors: choose::ancestors(),
            loader: &open::find_by_loader,
        })?,
    };
    opened(&choice)
}

/// Opens what was chosen.
///
/// Errors: it cannot be used.
#[cfg_attr(feature = "mpi-linked", allow(dead_code))]
pub(super) fn opened(choice: &choose::Choice) -> Result<Library, LibraryError> {
    let opened = open::open(&choice.file).map_err(|error| LibraryError::Open {
        why: format!("{} ({})", choice.file.display(), choice.why),
        error,
    })?;
    Ok(Library {
        calls: opened.calls,
        source: format!(
            "{}, {} ABI: {}",
            opened.file.display(),
            opened.abi,
            choice.why
        ),
    })
}

/// Lines on the libraries that jobs would use from here: of each launcher on PATH, and what the loader finds.
pub fn outlook(env: &dyn Fn(&str) -> Option<String>, named: Option<&Named>) -> Vec<String> {
    #[cfg(feature = "mpi-linked")]
    {
        let line = match find(env, named) {
            Ok(library) => format!(
                "under a launcher: {} ({})",
                first_line(&library.calls.version()),
                library.source
            ),
            Err(error) => format!("under a launcher: {error}"),
        };
        vec![line]
    }
    #[cfg(not(feature = "mpi-linked"))]
    choose::outlook(env, named)
}

/// The library that the user names.
#[derive(Debug, Clone)]
pub struct Named {
    pub file: PathBuf,
    /// The option or the variable.
    pub by: &'static str,
}

impl Named {
    /// By the option, else by the variable.
    pub fn new(option: Option<&Path>, env: &dyn Fn(&str) -> Option<String>) -> Option<Self> {
        let by_option = option.map(|file| Named {
            file: file.to_path_buf(),
            by: "--mpi-lib",
        });
        by_option.or_else(|| {
            let file = env(VARIABLE).filter(|file| !file.is_empty())?;
            Some(Named {
                file: file.into(),
                by: VARIABLE,
            })
        })
    }
}
