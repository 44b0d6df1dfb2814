//! The section `dataset`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

section! {
    /// `dataset`: what the files are.
    pub struct Dataset {
        /// Folder or address of the dataset: a path below `storage.storage_root`, an absolute path, or `s3://`, `gs://`, `az://`,
        /// `abfs://`, `file://` or `direct://`. `~/` in front is the home folder.
        ///
        /// - DLIO: the same for paths; object stores by `storage.storage_type` and `storage.storage_root`.
        pub data_folder: String = "./data".into(),
        /// File format of the dataset.
        pub format: FormatKind = FormatKind::TfRecord,
        /// Training files.
        ///
        /// - Unit: files
        pub num_files_train: u64 = 8,
        /// Evaluation files.
        ///
        /// - Unit: files
        /// - DLIO: the same; they are generated even when evaluation is off.
        pub num_files_eval: u64 = 0,
        /// Files that the dataset was generated with, where that is more than is used: the number is part of the file names.
        /// Not set: `num_files_train`.
        ///
        /// - Unit: files
        /// - DLIO: no such key.
        pub num_files_generated: Option<u64> = None,
        /// Samples in each file.
        ///
        /// - Unit: samples
        pub num_samples_per_file: u64 = 1,
        /// Length of a sample. May be fractional; formats of two dimensions hold the largest square of whole bytes below it.
        ///
        /// - Unit: bytes
        /// - Most: 2^60
        pub record_length_bytes: f64 = 65536.0,
        /// Standard deviation of the length; each file draws its own.
        ///
        /// - Unit: bytes
        /// - Most: 2^60
        pub record_length_bytes_stdev: f64 = 0.0,
        /// Length of the sample in memory that the framework gets.
        ///
        /// - Unit: bytes
        /// - Most: 2^60
        /// - DLIO: sizes an array that stands for every sample, and enters its MB/s.
        /// - Effect: none; samples are handed over as they were read.
        pub record_length_bytes_resize: f64 = 0.0,
        /// Shape of a sample; takes the place of `record_length_bytes`. Empty: two equal dimensions from the length.
        ///
        /// - Unit: elements per axis
        pub record_dims: Vec<u64> = Vec::new(),
        /// Type of an element, by numpy's name.
        pub record_element_type: String = "uint8".into(),
        /// Bytes of an element.
        ///
        /// - Unit: bytes
        /// - DLIO: overwritten by the size of `record_element_type`.
        /// - Effect: none; the size follows from dataset.record_element_type.
        pub record_element_bytes: u64 = 4,
        /// Subfolders of `train/`. 0 and 1: none.
        ///
        /// - Unit: folders
        /// - Most: 2^32
        /// - DLIO: the same; the value 1 is broken there.
        pub num_subfolders_train: u64 = 0,
        /// Subfolders of `valid/`. 0 and 1: none.
        ///
        /// - Unit: folders
        /// - Most: 2^32
        /// - DLIO: the same; the value 1 is broken there.
        pub num_subfolders_eval: u64 = 0,
        /// First part of the file names.
        pub file_prefix: String = "img".into(),
        /// Compression inside the files. Which methods a format has: docs/formats.md.
        ///
        /// - DLIO: the same; a method that a format does not have is ignored there and refused here.
        pub compression: Compression = Compression::None,
        /// Level of `dataset.compression`.
        ///
        /// - Unit: level, 0 to 9
        /// - DLIO: hdf5 with gzip only.
        pub compression_level: u32 = 4,
        /// Chunk the dataset of an HDF5 file by `dataset.chunk_size`.
        ///
        /// - DLIO: read and not used.
        /// - Only: dataset.format = hdf5
        pub enable_chunking: bool = false,
        /// Size of a chunk under `dataset.enable_chunking`.
        ///
        /// - Unit: bytes
        /// - Most: 2^60
        /// - DLIO: read and not used.
        /// - Only: dataset.format = hdf5
        pub chunk_size: u64 = 0,
        /// Keep the dataset after the run.
        ///
        /// - DLIO: the same; false deletes the whole data folder there, and the files of the dataset here.
        pub keep_files: bool = true,
        /// Buffer of the generator.
        ///
        /// - Unit: bytes
        /// - DLIO: the same, for indexed_binary.
        /// - Effect: none; files are generated in small pieces.
        pub generation_buffer_size: u64 = 2 << 30,
        /// Layout of HDF5 files.
        pub hdf5: Hdf5Section = Hdf5Section::default(),
        /// Generator of random bytes.
        ///
        /// - DLIO: changes the text of a banner.
        /// - Effect: none; contents follow from dataset.fill_seed.
        pub data_gen_method: Option<String> = None,
        /// Do not list the dataset before the run.
        ///
        /// - DLIO: the same; names come from the naming rule then.
        /// - Effect: names always come from the naming rule; true takes files by their index, false by name and subfolder, as a
        ///   listing does.
        pub skip_listing: bool = false,
        /// Read the names of the files below `train/` and `valid/` from the storage system, at any depth, in place of computing
        /// them: for datasets that dlio-rs did not name. Files are those that end with the format's word or extension, sorted
        /// by path; `num_files_train` and `num_files_eval` of them are used.
        ///
        /// - DLIO: always so, unless `skip_listing` is set.
        pub listing: bool = false,
        /// File with the names that `dataset.listing` found: read where it is there, else written. Not set: none.
        ///
        /// - DLIO: no such key.
        pub listing_file: Option<String> = None,
        /// Look whether every n-th file is there before the run. 0: none. Not set: every 1000th; of files below 256 KiB on file
        /// systems four and the last one at most, as more would warm the metadata that is to be read.
        ///
        /// - Unit: files
        /// - DLIO: not set is 1000
        pub listing_validation_interval: Option<u64> = None,
        /// Schema and layout of Parquet files.
        pub parquet: ParquetSection = ParquetSection::default(),
        /// What jpeg and png files hold.
        ///
        /// - DLIO: no such key; since 2026 the MLCommons fork writes what `raw` writes.
        /// - Only: dataset.format = jpeg, png
        pub image_encoding: ImageEncoding = ImageEncoding::Image,
        /// Whether all hosts see the same data folder. `auto` finds out; `true` insists on it; `false`: each host has a copy of its
        /// own, which generation makes on each.
        ///
        /// - DLIO: no such key.
        pub shared: SharedFolder = SharedFolder::Auto,
        /// Seed of the file contents.
        ///
        /// - Unit: none
        /// - DLIO: no such key.
        pub fill_seed: u64 = 10,
        /// By how much a storage system that compresses records of 4 KiB or more can shrink the contents: of each 4 KiB only the
        /// first part is random, the rest is zero. 1: not at all. Holds for tensors of checkpoints too. What `dataset.compression`
        /// compresses is smaller in the file already, and shrinks no further; images are stored without compression of their own.
        ///
        /// - Unit: bytes over compressed bytes, 1 to 100
        /// - Most: 100
        /// - DLIO: no such key; its contents are random.
        pub compress_ratio: f64 = 1.0,
        /// By how much a storage system that stores equal blocks of up to 128 KiB once can shrink the contents: large files, and
        /// large tensors of checkpoints, repeat their beginning; of small files several are the same. 1: not at all. In jpeg
        /// and parquet, and with `dataset.compression`, blocks repeat only where whole files do.
        ///
        /// - Unit: bytes over bytes of distinct blocks, 1 to 100
        /// - Most: 100
        /// - DLIO: no such key.
        pub dedup_ratio: f64 = 1.0,
        /// How the size of each file is drawn when a standard deviation is given.
        ///
        /// - DLIO: no such key; its two versions differ in this.
        pub size_law: SizeLaw = SizeLaw::Upstream,
    }
}

section! {
    /// `dataset.hdf5`
    pub struct Hdf5Section {
        /// Datasets `records_i` in a file.
        ///
        /// - Unit: datasets
        /// - Most: 2^32
        /// - Only: dataset.format = hdf5
        pub num_dset_per_record: u64 = 1,
        /// Shape of a chunk, the axis of samples included. Empty: contiguous.
        ///
        /// - Unit: elements per axis
        /// - Only: dataset.format = hdf5
        pub chunk_dims: Vec<u64> = Vec::new(),
        /// Largest shape, without the axis of samples. Empty: the shape itself.
        ///
        /// - Unit: elements per axis
        /// - Only: dataset.format = hdf5
        pub max_shape: Vec<u64> = Vec::new(),
    }
}

section! {
    /// One entry of `dataset.parquet.columns`.
    pub struct ParquetColumn {
        /// Name of the column.
        pub name: String = "data".into(),
        /// Type of its elements, by numpy's name.
        pub dtype: String = "float32".into(),
        /// Elements in a row.
        ///
        /// - Unit: elements
        pub size: u64 = 1,
        /// Whether the column is read.
        ///
        /// - DLIO: ignored.
        /// - Effect: none; storage.storage_options.columns chooses.
        pub read: Option<bool> = None,
    }
}

section! {
    /// `dataset.parquet`
    pub struct ParquetSection {
        /// Columns of the schema, each `{name, dtype, size}`. Empty: one column of bytes.
        ///
        /// - Only: dataset.format = parquet
        pub columns: Vec<ParquetColumn> = Vec::new(),
        /// Rows of a row group.
        ///
        /// - Unit: rows
        /// - Most: 2^32
        /// - Only: dataset.format = parquet
        pub row_group_size: u64 = 1024,
        /// Hive partition column.
        ///
        /// - Effect: refused; partitioned datasets are not written here.
        /// - Only: dataset.format = parquet
        pub partition_by: Option<String> = None,
        /// Rows that are generated at once. 0: `row_group_size`.
        ///
        /// - Unit: rows
        /// - Effect: none; files are generated in small pieces.
        pub generation_batch_size: u64 = 0,
        /// Compression of the pages.
        ///
        /// - DLIO: `dataset.compression`.
        /// - Only: dataset.format = parquet
        pub compression: ParquetCompression = ParquetCompression::None,
        /// Generate by s3dlio.
        ///
        /// - DLIO: a generator in Rust for object stores.
        /// - Effect: none; there is one generator.
        pub use_s3dlio_gen: bool = false,
        /// How row groups are read.
        ///
        /// - DLIO: ignored.
        /// - Effect: none.
        pub read_mode: Option<String> = None,
    }
}
