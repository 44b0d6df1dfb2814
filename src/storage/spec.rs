//! What a storage system needs to know to be opened.

use std::path::PathBuf;

use super::{StorageOptions, System, TimeModel};

/// A storage system to be opened.
#[derive(Debug, Clone, PartialEq)]
pub struct StoreSpec {
    /// Which.
    pub system: &'static System,
    /// The folder that it is opened for, as [`System::path`] gives it.
    pub folder: PathBuf,
    /// What becomes of the page cache where it stands before the system.
    pub pages: Pages,
    /// Of simulated systems.
    pub time: TimeModel,
    /// For object stores, like the fields below it.
    pub options: StorageOptions,
    /// `reader.range_size`
    pub range_size: Option<u64>,
    /// `checkpoint.parts_in_flight`
    pub parts_in_flight: Option<u64>,
    /// Whether whole objects that are read are compared with the checksum that the service gives.
    pub verify_checksums: bool,
}

/// What a store does about the page cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pages {
    #[default]
    Keep,
    /// The kernel is advised to forget a file's pages after the last byte was read or written, on the descriptor that is
    /// open for it.
    Forget,
    /// Reads leave no pages (`RWF_DONTCACHE`), and written files are forgotten.
    DontCache,
}

impl StoreSpec {
    /// A system with nothing said about it.
    pub fn new(system: &'static System, folder: PathBuf) -> Self {
        StoreSpec {
            system,
            folder,
            pages: Pages::default(),
            time: TimeModel::default(),
            options: StorageOptions::default(),
            range_size: None,
            parts_in_flight: None,
            verify_checksums: false,
        }
    }
}
