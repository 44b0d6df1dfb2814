//! The section `dataset`.

use serde::{Deserialize, Serialize};

use super::*;

/// `dataset`: what the files are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dataset {
    /// Folder or URI of the dataset, without trailing `/`. Default `./data`.
    pub data_folder: String,
    /// Default `tfrecord`.
    pub format: FormatKind,
    /// Training files. Default 8.
    pub num_files_train: u64,
    /// Evaluation files. Default 0.
    pub num_files_eval: u64,
    /// Files that the dataset was generated with, where that is more than is used (it is part of the file names).
    pub num_files_generated: Option<u64>,
    /// Samples per file. Default 1.
    pub num_samples_per_file: u64,
    /// Bytes of a sample; may be fractional. Default 65536.
    pub record_length_bytes: f64,
    /// Standard deviation of it, bytes. Default 0.
    pub record_length_bytes_stdev: f64,
    /// Bytes of the in-memory sample handed to the framework. Default 0: as read.
    pub record_length_bytes_resize: f64,
    /// Shape of a sample; overrides the length. Default `[]`.
    pub record_dims: Vec<u64>,
    /// numpy dtype name. Default `uint8`.
    pub record_element_type: String,
    /// Read by DLIO and always overwritten by the dtype's item size. Default 4.
    pub record_element_bytes: u64,
    /// Subfolders of `train/`; 0 and 1 mean none. Default 0.
    pub num_subfolders_train: u64,
    /// Subfolders of `valid/`. Default 0.
    pub num_subfolders_eval: u64,
    /// First part of the file names. Default `img`.
    pub file_prefix: String,
    /// Default none.
    pub compression: Compression,
    /// hdf5 gzip level. Default 4.
    pub compression_level: u32,
    /// Read and unused by DLIO. Default false.
    pub enable_chunking: bool,
    /// Read and unused by DLIO, bytes. Default 0.
    pub chunk_size: u64,
    /// Keep the dataset after the run. Default true.
    pub keep_files: bool,
    /// indexed_binary: generation buffer, bytes. Default 2 GiB.
    pub generation_buffer_size: u64,
    /// `dataset.hdf5`
    pub hdf5: Hdf5Section,
    /// Only changes DLIO's banner.
    pub data_gen_method: Option<String>,
    /// Do not list the dataset. Default false; dlio-rs never lists.
    pub skip_listing: bool,
    /// Check every n-th file's presence; 0: none. Default 1000.
    pub listing_validation_interval: u64,
    /// `dataset.parquet`
    pub parquet: ParquetSection,
    /// dlio-rs: what jpeg and png files hold. Default `image`.
    pub image_encoding: ImageEncoding,
    /// dlio-rs: whether all hosts see the same data folder. `auto` finds out; `true` insists on it; `false`: each host has a
    /// copy of its own, which generation makes on each. Default `auto`.
    pub shared: SharedFolder,
    /// dlio-rs: seed of the file contents. Default 10.
    pub fill_seed: u64,
    /// dlio-rs: law of per-file dimensions. Default `upstream`.
    pub size_law: SizeLaw,
}

impl Default for Dataset {
    fn default() -> Self {
        Dataset {
            data_folder: "./data".into(),
            format: FormatKind::TfRecord,
            num_files_train: 8,
            num_files_eval: 0,
            num_files_generated: None,
            num_samples_per_file: 1,
            record_length_bytes: 65536.0,
            record_length_bytes_stdev: 0.0,
            record_length_bytes_resize: 0.0,
            record_dims: Vec::new(),
            record_element_type: "uint8".into(),
            record_element_bytes: 4,
            num_subfolders_train: 0,
            num_subfolders_eval: 0,
            file_prefix: "img".into(),
            compression: Compression::None,
            compression_level: 4,
            enable_chunking: false,
            chunk_size: 0,
            keep_files: true,
            generation_buffer_size: 2 << 30,
            hdf5: Hdf5Section::default(),
            data_gen_method: None,
            skip_listing: false,
            listing_validation_interval: 1000,
            parquet: ParquetSection::default(),
            image_encoding: ImageEncoding::Image,
            shared: SharedFolder::Auto,
            fill_seed: 10,
            size_law: SizeLaw::Upstream,
        }
    }
}

/// `dataset.hdf5`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hdf5Section {
    /// Number of `records_i` datasets. Default 1.
    pub num_dset_per_record: u64,
    /// Chunk shape, sample axis included. Default `[]`.
    pub chunk_dims: Vec<u64>,
    /// maxshape without the sample axis. Default `[]`.
    pub max_shape: Vec<u64>,
}

impl Default for Hdf5Section {
    fn default() -> Self {
        Hdf5Section {
            num_dset_per_record: 1,
            chunk_dims: Vec::new(),
            max_shape: Vec::new(),
        }
    }
}

/// One entry of `dataset.parquet.columns`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParquetColumn {
    /// Column name. Default `data`.
    pub name: String,
    /// Element type. Default `float32`.
    pub dtype: String,
    /// Elements per row. Default 1.
    pub size: u64,
    /// Accepted; DLIO ignores it.
    pub read: Option<bool>,
}

impl Default for ParquetColumn {
    fn default() -> Self {
        ParquetColumn {
            name: "data".into(),
            dtype: "float32".into(),
            size: 1,
            read: None,
        }
    }
}

/// `dataset.parquet`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ParquetSection {
    /// Columns. Default `[]`.
    pub columns: Vec<ParquetColumn>,
    /// Rows per row group. Default 1024.
    pub row_group_size: u64,
    /// Hive partition column.
    pub partition_by: Option<String>,
    /// Rows per generated batch; 0: `row_group_size`.
    pub generation_batch_size: u64,
    /// dlio-rs: compression of the pages. Default none.
    pub compression: ParquetCompression,
    /// DLIO's Rust generator; accepted, no effect here.
    pub use_s3dlio_gen: bool,
    /// Ignored by DLIO.
    pub read_mode: Option<String>,
}

impl Default for ParquetSection {
    fn default() -> Self {
        ParquetSection {
            columns: Vec::new(),
            row_group_size: 1024,
            partition_by: None,
            generation_batch_size: 0,
            compression: ParquetCompression::None,
            use_s3dlio_gen: false,
            read_mode: None,
        }
    }
}
