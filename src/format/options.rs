//! What the YAML says of a dataset's format.

use crate::config::{Compression, Hdf5Section, ImageEncoding, ParquetSection, Workload};

/// The keys of `dataset` and `storage_options` that only formats understand.
#[derive(Debug, Clone, PartialEq)]
pub struct FormatOptions {
    /// `dataset.compression`
    pub compression: Compression,
    /// `dataset.compression_level`, 0 to 9.
    pub compression_level: u32,
    /// `dataset.hdf5`
    pub hdf5: Hdf5Section,
    /// `dataset.enable_chunking` and `dataset.chunk_size` (bytes), where chunking is wanted without `chunk_dims`.
    pub chunk_bytes: Option<u64>,
    /// `dataset.image_encoding`
    pub image_encoding: ImageEncoding,
    /// `dataset.parquet`
    pub parquet: ParquetSection,
    /// `storage_options.columns`: the parquet columns that are read; all when empty.
    pub read_columns: Vec<String>,
}

impl FormatOptions {
    /// The options of a workload.
    pub fn new(workload: &Workload) -> Self {
        let d = &workload.dataset;
        FormatOptions {
            compression: d.compression,
            compression_level: d.compression_level,
            hdf5: d.hdf5.clone(),
            chunk_bytes: d.enable_chunking.then_some(d.chunk_size),
            image_encoding: d.image_encoding,
            parquet: d.parquet.clone(),
            read_columns: workload
                .storage
                .storage_options
                .columns
                .clone()
                .unwrap_or_default(),
        }
    }
}

impl Default for FormatOptions {
    fn default() -> Self {
        FormatOptions::new(&Workload::default())
    }
}
