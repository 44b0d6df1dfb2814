//! What a dataset's format is asked for.

use serde::Serialize;
use serde_json::Value;

use crate::config::{Compression, Hdf5Section, ImageEncoding, ParquetSection};

/// The keys of `dataset` and `storage_options` that only formats understand.
#[derive(Debug, Clone, PartialEq)]
pub struct FormatOptions {
    /// `dataset.compression`
    pub compression: Compression,
    /// `dataset.compression_level`, 0 to 9.
    pub compression_level: u32,
    /// `dataset.hdf5`
    pub hdf5: Hdf5Section,
    /// `dataset.enable_chunking`: chunks of `chunk_size` where `dataset.hdf5.chunk_dims` gives none.
    pub enable_chunking: bool,
    /// `dataset.chunk_size`, bytes.
    pub chunk_size: u64,
    /// `dataset.image_encoding`
    pub image_encoding: ImageEncoding,
    /// `dataset.parquet`
    pub parquet: ParquetSection,
    /// `storage_options.columns`: the parquet columns that are read; all when empty.
    pub read_columns: Vec<String>,
}

impl FormatOptions {
    /// Bytes of a chunk, where chunks are wanted by their size.
    pub fn chunk_bytes(&self) -> Option<u64> {
        self.enable_chunking.then_some(self.chunk_size)
    }
}

impl Default for FormatOptions {
    /// What a workload without these keys has.
    fn default() -> Self {
        FormatOptions {
            compression: Compression::None,
            compression_level: 4,
            hdf5: Hdf5Section::default(),
            enable_chunking: false,
            chunk_size: 0,
            image_encoding: ImageEncoding::Image,
            parquet: ParquetSection::default(),
            read_columns: Vec::new(),
        }
    }
}

/// A key of `dataset` that changes the files of a format, and its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its name below `dataset`.
    pub name: &'static str,
    pub value: Value,
}

impl Key {
    /// The key `dataset.<name>`.
    pub fn new(name: &'static str, value: &impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("plain data becomes JSON");
        Key { name, value }
    }
}
