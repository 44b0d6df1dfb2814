//! A row of the table of storage systems: what a system can do, and how it is opened.
//!
//! Every other room asks a row what it can do ("does the page cache stand before it?"), never which one it is.

use std::path::PathBuf;
use std::sync::atomic::AtomicU64;

use super::{Client, Result, Storage, StoreSpec, address, posix};

/// Opens a storage system. The words are shared by the ranks of a node, for `model`'s bandwidth.
pub(super) type Open = fn(&StoreSpec, &'static [AtomicU64]) -> Result<Box<dyn Storage>>;

/// Reads what follows the scheme of an address as a path; an account that the address may leave out comes beside it.
pub(super) type Parse = fn(&str, Option<&str>) -> Result<PathBuf, String>;

/// One storage system.
pub struct System {
    /// Its word in the YAML: `storage.storage_type`.
    pub word: &'static str,
    /// What it is, in a few words.
    pub about: &'static str,
    /// Schemes of URIs that mean it.
    pub schemes: &'static [&'static str],
    /// The form of such a URI, for messages.
    pub form: &'static str,
    /// Reads deliver bytes to look at.
    pub has_bytes: bool,
    /// A mounted file system: a library can open its files by their paths.
    pub opens_by_path: bool,
    /// The page cache of this host stands before it.
    pub page_cache: bool,
    /// Reads can leave no pages in it (`RWF_DONTCACHE`).
    pub uncached_reads: bool,
    /// Its files or objects can be read through io_uring; see [`System::has_rings`].
    pub rings: bool,
    /// It holds objects in buckets: no folders, and lists instead.
    pub objects: bool,
    /// Its times follow from a formula, so that a run may take place in virtual time.
    pub simulated: bool,
    /// DLIO has it too.
    pub in_dlio: bool,
    /// Bytes of one read call when the YAML gives none.
    pub default_transfer: usize,
    /// Read calls have a multiple of this many bytes.
    pub transfer_unit: usize,
    /// The packages whose code moves its bytes, by [`Client`]; none for files.
    pub(super) libraries: Option<[&'static str; 2]>,
    /// Reads an address.
    pub(super) parse: Parse,
    /// Opens it, or what to do instead where this build cannot.
    pub(super) open: Result<Open, &'static str>,
}

/// A mounted file system through the page cache: what most rows are like.
pub(super) const FILES: System = System {
    word: "local_fs",
    about: "Local or mounted file system, buffered.",
    schemes: &["file"],
    form: "file:///folder",
    has_bytes: true,
    opens_by_path: true,
    page_cache: true,
    uncached_reads: true,
    rings: true,
    objects: false,
    simulated: false,
    in_dlio: true,
    // A chunk that stays in a core's second-level cache between the kernel's copy and the checksum.
    default_transfer: 1 << 20,
    transfer_unit: 1,
    libraries: None,
    parse: address::local,
    open: Ok(posix::open),
};

/// What answers by a formula.
pub(super) const FORMULA: System = System {
    schemes: &[],
    form: "",
    has_bytes: false,
    opens_by_path: false,
    page_cache: false,
    rings: false,
    simulated: true,
    in_dlio: false,
    default_transfer: super::buffer::ALIGNMENT,
    ..FILES
};

/// Objects in buckets.
pub(super) const OBJECTS: System = System {
    opens_by_path: false,
    page_cache: false,
    objects: true,
    // Many are read at a time, and bytes of a socket are copied the faster the fewer places they are copied to.
    default_transfer: 256 << 10,
    ..FILES
};

impl System {
    /// The path that an address of this system means, `rest` being what follows its scheme.
    ///
    /// Errors: no such place can be.
    pub fn path(&self, rest: &str, account: Option<&str>) -> Result<PathBuf, String> {
        (self.parse)(rest, account)
    }

    /// Bytes of one read call when the YAML gives `wanted`: what is done and reported.
    pub fn transfer(&self, wanted: Option<u64>) -> usize {
        wanted
            .map_or(self.default_transfer, |n| n as usize)
            .max(1)
            .next_multiple_of(self.transfer_unit)
    }

    /// The package whose code moves its bytes; None for files.
    pub fn library(&self, client: Client) -> Option<&'static str> {
        self.libraries.map(|[native, sdk]| match client {
            Client::Native => native,
            Client::Sdk => sdk,
        })
    }

    /// It can be read through io_uring where this client moves its bytes: an SDK has threads of its own.
    pub fn has_rings(&self, client: Client) -> bool {
        self.rings && (self.libraries.is_none() || client == Client::Native)
    }

    /// What to do instead where this build does not have it.
    pub fn unbuilt(&self) -> Option<&'static str> {
        self.open.err()
    }
}

impl PartialEq for System {
    fn eq(&self, other: &System) -> bool {
        self.word == other.word
    }
}

impl std::fmt::Display for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word)
    }
}

impl std::fmt::Debug for System {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word)
    }
}
