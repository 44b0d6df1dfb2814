//! The section `dataset`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

/// `dataset`: what the files are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Dataset {
    /// Folder or address of the dataset: a path below `storage.storage_root`, an absolute path, or `s3://`, `gs://`, `az://`,
    /// `abfs://`, `file://` or `direct://`. `~/` in front is the home folder.
    ///
    /// - DLIO: the same for paths; object stores by `storage.storage_type` and `storage.storage_root`.
    pub data_folder: String,
    /// File format of the dataset.
    pub format: FormatKind,
    /// Training files.
    ///
    /// - Unit: files
    pub num_files_train: u64,
    /// Evaluation files.
    ///
    /// - Unit: files
    /// - DLIO: the same; they are generated even when evaluation is off.
    pub num_files_eval: u64,
    /// Files that the dataset was generated with, where that is more than is used: the number is part of the file names.
    /// Not set: `num_files_train`.
    ///
    /// - Unit: files
    /// - DLIO: no such key.
    pub num_files_generated: Option<u64>,
    /// Samples in each file.
    ///
    /// - Unit: samples
    pub num_samples_per_file: u64,
    /// Length of a sample. May be fractional; formats of two dimensions hold the largest square of whole bytes below it.
    ///
    /// - Unit: bytes
    pub record_length_bytes: f64,
    /// Standard deviation of the length; each file draws its own.
    ///
    /// - Unit: bytes
    pub record_length_bytes_stdev: f64,
    /// Length of the sample in memory that the framework gets.
    ///
    /// - Unit: bytes
    /// - DLIO: sizes an array that stands for every sample, and enters its MB/s.
    /// - Effect: none; samples are handed over as they were read.
    pub record_length_bytes_resize: f64,
    /// Shape of a sample; takes the place of `record_length_bytes`. Empty: two equal dimensions from the length.
    ///
    /// - Unit: elements per axis
    pub record_dims: Vec<u64>,
    /// Type of an element, by numpy's name.
    pub record_element_type: String,
    /// Bytes of an element.
    ///
    /// - Unit: bytes
    /// - DLIO: overwritten by the size of `record_element_type`.
    /// - Effect: none; the size follows from dataset.record_element_type.
    pub record_element_bytes: u64,
    /// Subfolders of `train/`. 0 and 1: none.
    ///
    /// - Unit: folders
    /// - DLIO: the same; the value 1 is broken there.
    pub num_subfolders_train: u64,
    /// Subfolders of `valid/`. 0 and 1: none.
    ///
    /// - Unit: folders
    /// - DLIO: the same; the value 1 is broken there.
    pub num_subfolders_eval: u64,
    /// First part of the file names.
    pub file_prefix: String,
    /// Compression inside the files. Which methods a format has: docs/formats.md.
    ///
    /// - DLIO: the same; a method that a format does not have is ignored there and refused here.
    pub compression: Compression,
    /// Level of `dataset.compression`.
    ///
    /// - Unit: level, 0 to 9
    /// - DLIO: hdf5 with gzip only.
    pub compression_level: u32,
    /// Chunk the dataset of an HDF5 file by `dataset.chunk_size`.
    ///
    /// - DLIO: read and not used.
    /// - Only: dataset.format = hdf5
    pub enable_chunking: bool,
    /// Size of a chunk under `dataset.enable_chunking`.
    ///
    /// - Unit: bytes
    /// - DLIO: read and not used.
    /// - Only: dataset.format = hdf5
    pub chunk_size: u64,
    /// Keep the dataset after the run.
    ///
    /// - DLIO: the same; false deletes the whole data folder there, and the files of the dataset here.
    pub keep_files: bool,
    /// Buffer of the generator.
    ///
    /// - Unit: bytes
    /// - DLIO: the same, for indexed_binary.
    /// - Effect: none; files are generated in small pieces.
    pub generation_buffer_size: u64,
    /// Layout of HDF5 files.
    pub hdf5: Hdf5Section,
    /// Generator of random bytes.
    ///
    /// - DLIO: changes the text of a banner.
    /// - Effect: none; contents follow from dataset.fill_seed.
    pub data_gen_method: Option<String>,
    /// Do not list the dataset before the run.
    ///
    /// - DLIO: the same; names come from the naming rule then.
    /// - Effect: names always come from the naming rule; true takes files by their index, false by name and subfolder, as a
    ///   listing does.
    pub skip_listing: bool,
    /// Read the names of the files below `train/` and `valid/` from the storage system, at any depth, in place of computing
    /// them: for datasets that dlio-rs did not name. Files are those that end with the format's word or extension, sorted
    /// by path; `num_files_train` and `num_files_eval` of them are used.
    ///
    /// - DLIO: always so, unless `skip_listing` is set.
    pub listing: bool,
    /// File with the names that `dataset.listing` found: read where it is there, else written. Not set: none.
    ///
    /// - DLIO: no such key.
    pub listing_file: Option<String>,
    /// Look whether every n-th file is there before the run. 0: none. Not set: every 1000th; of files below 256 KiB on file
    /// systems four and the last one at most, as more would warm the metadata that is to be read.
    ///
    /// - Unit: files
    /// - DLIO: not set is 1000
    pub listing_validation_interval: Option<u64>,
    /// Schema and layout of Parquet files.
    pub parquet: ParquetSection,
    /// What jpeg and png files hold.
    ///
    /// - DLIO: no such key; since 2026 the MLCommons fork writes what `raw` writes.
    /// - Only: dataset.format = jpeg, png
    pub image_encoding: ImageEncoding,
    /// Whether all hosts see the same data folder. `auto` finds out; `true` insists on it; `false`: each host has a copy of its
    /// own, which generation makes on each.
    ///
    /// - DLIO: no such key.
    pub shared: SharedFolder,
    /// Seed of the file contents.
    ///
    /// - Unit: none
    /// - DLIO: no such key.
    pub fill_seed: u64,
    /// By how much a storage system that compresses records of 4 KiB or more can shrink the contents: of each 4 KiB only the
    /// first part is random, the rest is zero. 1: not at all. Holds for tensors of checkpoints too. What `dataset.compression`
    /// compresses is smaller in the file already, and shrinks no further; images are stored without compression of their own.
    ///
    /// - Unit: bytes over compressed bytes, 1 to 100
    /// - DLIO: no such key; its contents are random.
    pub compress_ratio: f64,
    /// By how much a storage system that stores equal blocks of up to 128 KiB once can shrink the contents: large files, and
    /// large tensors of checkpoints, repeat their beginning; of small files several are the same. 1: not at all. In jpeg
    /// and parquet, and with `dataset.compression`, blocks repeat only where whole files do.
    ///
    /// - Unit: bytes over bytes of distinct blocks, 1 to 100
    /// - DLIO: no such key.
    pub dedup_ratio: f64,
    /// How the size of each file is drawn when a standard deviation is given.
    ///
    /// - DLIO: no such key; its two versions differ in this.
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
            listing: false,
            listing_file: None,
            listing_validation_interval: None,
            parquet: ParquetSection::default(),
            image_encoding: ImageEncoding::Image,
            shared: SharedFolder::Auto,
            fill_seed: 10,
            compress_ratio: 1.0,
            dedup_ratio: 1.0,
            size_law: SizeLaw::Upstream,
        }
    }
}

/// `dataset.hdf5`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Hdf5Section {
    /// Datasets `records_i` in a file.
    ///
    /// - Unit: datasets
    /// - Only: dataset.format = hdf5
    pub num_dset_per_record: u64,
    /// Shape of a chunk, the axis of samples included. Empty: contiguous.
    ///
    /// - Unit: elements per axis
    /// - Only: dataset.format = hdf5
    pub chunk_dims: Vec<u64>,
    /// Largest shape, without the axis of samples. Empty: the shape itself.
    ///
    /// - Unit: elements per axis
    /// - Only: dataset.format = hdf5
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ParquetColumn {
    /// Name of the column.
    pub name: String,
    /// Type of its elements, by numpy's name.
    pub dtype: String,
    /// Elements in a row.
    ///
    /// - Unit: elements
    pub size: u64,
    /// Whether the column is read.
    ///
    /// - DLIO: ignored.
    /// - Effect: none; storage.storage_options.columns chooses.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ParquetSection {
    /// Columns of the schema, each `{name, dtype, size}`. Empty: one column of bytes.
    ///
    /// - Only: dataset.format = parquet
    pub columns: Vec<ParquetColumn>,
    /// Rows of a row group.
    ///
    /// - Unit: rows
    /// - Only: dataset.format = parquet
    pub row_group_size: u64,
    /// Hive partition column.
    ///
    /// - Effect: refused; partitioned datasets are not written here.
    /// - Only: dataset.format = parquet
    pub partition_by: Option<String>,
    /// Rows that are generated at once. 0: `row_group_size`.
    ///
    /// - Unit: rows
    /// - Effect: none; files are generated in small pieces.
    pub generation_batch_size: u64,
    /// Compression of the pages.
    ///
    /// - DLIO: `dataset.compression`.
    /// - Only: dataset.format = parquet
    pub compression: ParquetCompression,
    /// Generate by s3dlio.
    ///
    /// - DLIO: a generator in Rust for object stores.
    /// - Effect: none; there is one generator.
    pub use_s3dlio_gen: bool,
    /// How row groups are read.
    ///
    /// - DLIO: ignored.
    /// - Effect: none.
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
