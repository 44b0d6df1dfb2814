//! Every key of DLIO's workload YAML as a typed field: one struct per section.
//!
//! Field names are DLIO's. Defaults are DLIO's built-in ones.

use serde::{Deserialize, Serialize};

use super::address::Address;
use super::timespec::TimeSpec;

macro_rules! word_enum {
    ($(#[$m:meta])* $name:ident { $($(#[$vm:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$m])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$vm])* #[serde(rename = $word)] $variant),+ }
        impl $name {
            /// The word used in the YAML.
            pub fn word(self) -> &'static str { match self { $($name::$variant => $word),+ } }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(self.word()) }
        }
    };
}

word_enum! {
    /// The emulated training framework.
    Framework {
        /// TensorFlow.
        TensorFlow = "tensorflow",
        /// PyTorch.
        PyTorch = "pytorch",
    }
}
word_enum! {
    /// The file format of the dataset.
    FormatKind {
        /// TFRecord.
        TfRecord = "tfrecord",
        /// HDF5.
        Hdf5 = "hdf5",
        /// Comma-separated text.
        Csv = "csv",
        /// numpy zip.
        Npz = "npz",
        /// numpy array.
        Npy = "npy",
        /// HDF5 variant that DLIO names but cannot generate or read.
        Hdf5Opt = "hdf5_opt",
        /// JPEG images.
        Jpeg = "jpeg",
        /// PNG images.
        Png = "png",
        /// Samples back to back with offset and size indices.
        IndexedBinary = "indexed_binary",
        /// The same read through a memory map.
        MmapIndexedBinary = "mmap_indexed_binary",
        /// Files that hold only their index.
        Synthetic = "synthetic",
        /// Parquet.
        Parquet = "parquet",
    }
}
word_enum! {
    /// Shape of the loader: how many samples or batches are in flight and in which order.
    DataLoaderKind {
        /// TensorFlow generators.
        TensorFlow = "tensorflow",
        /// PyTorch worker per batch.
        PyTorch = "pytorch",
        /// DALI external source.
        Dali = "dali",
        /// DALI's own readers.
        NativeDali = "native_dali",
        /// No I/O.
        Synthetic = "synthetic",
        /// A Python class; not runnable here.
        Custom = "custom",
        /// None.
        None = "none",
        /// dlio-rs: samples in parallel, `io_depth` deep.
        Native = "native",
    }
}
word_enum! {
    /// Shuffle mode.
    Shuffle {
        /// No shuffle.
        Off = "off",
        /// Seeded shuffle.
        Seed = "seed",
        /// In DLIO the same as `seed` for the Python loaders.
        Random = "random",
    }
}
word_enum! {
    /// Which access order a run follows.
    OrderKind {
        /// Exactly DLIO's (the MLCommons fork).
        Dlio = "dlio",
        /// A true shuffle by a keyed bijection, in constant memory.
        Permutation = "permutation",
    }
}
word_enum! {
    /// How far a reader checks what it read.
    Decode {
        /// Bytes are read and counted.
        None = "none",
        /// Container structure and checksums.
        Verify = "verify",
        /// As the Python library would.
        Full = "full",
    }
}
word_enum! {
    /// How the page cache is emptied between epochs.
    DropCache {
        /// `posix_fadvise(DONTNEED)` on the files that this rank reads.
        Fadvise = "fadvise",
        /// Leave the cache alone.
        None = "none",
        /// Write to `/proc/sys/vm/drop_caches`, once per node.
        System = "system",
    }
}
word_enum! {
    /// The storage system.
    StorageType {
        /// Local or mounted file system, buffered.
        LocalFs = "local_fs",
        /// The same; DLIO names it but has no backend.
        ParallelFs = "parallel_fs",
        /// Local or mounted file system, O_DIRECT.
        DirectFs = "direct_fs",
        /// Memory-mapped reads.
        Mmap = "mmap",
        /// Answers at once; calibrates the harness.
        Null = "null",
        /// Latency, jitter and bandwidth from `storage_options`.
        Model = "model",
        /// S3.
        S3 = "s3",
        /// AIStore.
        AiStore = "aistore",
        /// Azure Blob.
        Azure = "azure",
    }
}
word_enum! {
    /// Which DLIO generation's metric formulas are used.
    MetricFormula {
        /// The MLCommons fork's (v3).
        V3 = "v3",
        /// The upstream's, as published with v2.0 results.
        V2 = "v2",
    }
}
word_enum! {
    /// The law of per-file dimensions when a stdev is given.
    SizeLaw {
        /// Upstream's: seed 10 for every rank count.
        Upstream = "upstream",
        /// The fork's: seed 10 + rank, so sizes depend on the rank count.
        Fork = "fork",
    }
}
word_enum! {
    /// DLIO's `compression`.
    Compression {
        /// None.
        None = "none",
        /// gzip.
        Gzip = "gzip",
        /// LZF.
        Lzf = "lzf",
        /// bzip2.
        Bz2 = "bz2",
        /// zip.
        Zip = "zip",
        /// xz.
        Xz = "xz",
    }
}
word_enum! {
    /// Compression of parquet pages.
    ParquetCompression {
        /// None, as DLIO writes.
        None = "none",
        /// Snappy.
        Snappy = "snappy",
        /// gzip.
        Gzip = "gzip",
        /// Zstandard.
        Zstd = "zstd",
        /// LZ4 (raw blocks).
        Lz4 = "lz4",
    }
}
word_enum! {
    /// What jpeg and png files hold.
    ImageEncoding {
        /// Images that decoders open, as upstream DLIO writes.
        Image = "image",
        /// The bare sample bytes under an image's name, as the MLCommons fork writes.
        Raw = "raw",
    }
}
word_enum! {
    /// Which reads are compared with what was generated.
    VerifyContent {
        /// None.
        Off = "off",
        /// About one read in 64.
        Sampled = "sampled",
        /// Every read.
        Full = "full",
    }
}
word_enum! {
    /// Which ranks take part in a checkpoint job.
    CheckpointMode {
        /// All ranks of the job are the whole model.
        Default = "default",
        /// The job runs the first ranks of a larger one.
        Subset = "subset",
    }
}
word_enum! {
    /// How checkpoint files are compressed.
    CheckpointCompression {
        /// As they are.
        None = "none",
        /// One zstd frame per file.
        Zstd = "zstd",
    }
}
word_enum! {
    /// DLIO's `checkpoint.type`.
    CheckpointType {
        /// Rank zero.
        RankZero = "rank_zero",
        /// All ranks.
        AllRanks = "all_ranks",
    }
}
word_enum! {
    /// DLIO's `reader.read_type`.
    ReadType {
        /// Open, read and close for every sample.
        OnDemand = "on_demand",
        /// Files kept open or cached.
        Memory = "memory",
    }
}
word_enum! {
    /// DLIO's `reader.file_access`.
    FileAccess {
        /// One file per process.
        Multi = "multi",
        /// Shared.
        Shared = "shared",
        /// Collective.
        Collective = "collective",
        /// MPI-IO.
        Mpio = "mpio",
        /// POSIX.
        Posix = "posix",
    }
}
word_enum! {
    /// DLIO's `profiling.profiler`.
    Profiler {
        /// None.
        None = "none",
        /// iostat.
        Iostat = "iostat",
        /// Darshan.
        Darshan = "darshan",
        /// TensorBoard.
        Tensorboard = "tensorboard",
    }
}
word_enum! {
    /// DLIO's `reader.data_loader_sampler`.
    Sampler {
        /// Thread by thread.
        Iterative = "iterative",
        /// By index.
        Index = "index",
        /// None.
        None = "none",
    }
}

/// A whole workload: the root of every key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workload {
    /// `model`
    pub model: Model,
    /// `framework`
    pub framework: Framework,
    /// `workflow`
    pub workflow: Workflow,
    /// `dataset`
    pub dataset: Dataset,
    /// `reader`
    #[serde(alias = "data_reader")]
    pub reader: Reader,
    /// `train`
    pub train: Train,
    /// `evaluation`
    pub evaluation: Evaluation,
    /// `checkpoint`
    pub checkpoint: Checkpoint,
    /// `output`
    pub output: Output,
    /// `profiling`
    pub profiling: Profiling,
    /// `metric`
    pub metric: Metric,
    /// `storage`
    pub storage: StorageSection,
}

impl Workload {
    /// The storage type that reads and writes go through: a URI in `dataset.data_folder` decides, and `reader.odirect`
    /// turns local files into direct ones.
    pub fn storage_type_effective(&self) -> StorageType {
        match self.storage.storage_type {
            kind @ (StorageType::LocalFs | StorageType::S3) => {
                match Address::resolve(
                    &self.storage,
                    "dataset.data_folder",
                    &self.dataset.data_folder,
                ) {
                    Ok(Address::S3 { .. }) => StorageType::S3,
                    Ok(Address::Azure { .. }) => StorageType::Azure,
                    Ok(Address::Direct(_)) => StorageType::DirectFs,
                    Ok(Address::File(_)) if self.reader.odirect => StorageType::DirectFs,
                    Ok(Address::File(_)) | Err(_) => kind,
                }
            }
            kind => kind,
        }
    }

    /// The folder of checkpoints, which is not below `storage_root`.
    ///
    /// Source: DLIO `checkpointing/base_checkpointing.py`.
    pub fn checkpoint_root(&self) -> std::path::PathBuf {
        let folder = &self.checkpoint.checkpoint_folder;
        let is_object = matches!(
            self.storage.storage_type,
            StorageType::S3 | StorageType::Azure
        );
        let is_local = ["file://", "direct://"]
            .iter()
            .any(|s| folder.starts_with(s));
        if (is_object || folder.contains("://")) && !is_local {
            // Refused by `validate` before anything is opened.
            return Address::resolve(&self.storage, "checkpoint.checkpoint_folder", folder)
                .map_or_else(|_| folder.into(), |address| address.to_path());
        }
        plain_path(std::path::Path::new(without_scheme(folder)))
    }

    /// The folder of the dataset: a URI as it is, else `storage_root` joined with `data_folder`.
    ///
    /// Source: DLIO `storage/file_storage.py`, `storage/obj_store_lib.py`.
    pub fn data_root(&self) -> std::path::PathBuf {
        Address::resolve(
            &self.storage,
            "dataset.data_folder",
            &self.dataset.data_folder,
        )
        // Refused by `validate` before anything is opened.
        .map_or_else(|_| self.dataset.data_folder.clone().into(), |a| a.to_path())
    }

    /// True for a job that saves or loads checkpoints without training.
    pub fn is_checkpoint_only(&self) -> bool {
        self.workflow.checkpoint && !self.workflow.train
    }
}

fn without_scheme(folder: &str) -> &str {
    folder
        .strip_prefix("file://")
        .or_else(|| folder.strip_prefix("direct://"))
        .unwrap_or(folder)
}

/// `./` in front changes nothing but the look of every message.
fn plain_path(path: &std::path::Path) -> std::path::PathBuf {
    let plain: std::path::PathBuf = path
        .components()
        .filter(|c| !matches!(c, std::path::Component::CurDir))
        .collect();
    if plain.as_os_str().is_empty() {
        ".".into()
    } else {
        plain
    }
}

impl Default for Workload {
    fn default() -> Self {
        Workload {
            model: Model::default(),
            framework: Framework::TensorFlow,
            workflow: Workflow::default(),
            dataset: Dataset::default(),
            reader: Reader::default(),
            train: Train::default(),
            evaluation: Evaluation::default(),
            checkpoint: Checkpoint::default(),
            output: Output::default(),
            profiling: Profiling::default(),
            metric: Metric::default(),
            storage: StorageSection::default(),
        }
    }
}

/// `workflow`: which phases run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Workflow {
    /// Generate the dataset before anything else. Default false.
    pub generate_data: bool,
    /// Train. Default true.
    pub train: bool,
    /// Evaluate between epochs. Default false.
    pub evaluation: bool,
    /// Checkpoint. Default false.
    pub checkpoint: bool,
    /// Profile. Default false.
    pub profiling: bool,
    /// Key to print, for `dlio_benchmark_query`.
    pub query: Option<String>,
    /// Ignored by DLIO.
    pub debug: Option<bool>,
}

impl Default for Workflow {
    fn default() -> Self {
        Workflow {
            generate_data: false,
            train: true,
            evaluation: false,
            checkpoint: false,
            profiling: false,
            query: None,
            debug: None,
        }
    }
}

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

/// `reader`: how samples are read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reader {
    /// Default: the framework's own.
    pub data_loader: Option<DataLoaderKind>,
    /// Python class; not runnable here.
    pub data_loader_classname: Option<String>,
    /// Default: by loader.
    pub data_loader_sampler: Option<Sampler>,
    /// Python class; not runnable here.
    pub reader_classname: Option<String>,
    /// Samples per step and rank. Default 1.
    pub batch_size: u64,
    /// The same in evaluation. Default 1.
    pub batch_size_eval: u64,
    /// Reader threads per rank. 0 means 1. Default 1.
    pub read_threads: u64,
    /// Generator threads per rank. Default: as many CPUs as the rank has on its node.
    pub write_threads: Option<u64>,
    /// TFRecord map parallelism. Default 1.
    pub computation_threads: u64,
    /// Batches of look-ahead (see the loaders). Default 2.
    pub prefetch_size: u64,
    /// Default off.
    pub file_shuffle: Shuffle,
    /// Default off.
    pub sample_shuffle: Shuffle,
    /// TFRecord shuffle buffer, records. Default 1024.
    pub shuffle_size: u64,
    /// Default on_demand.
    pub read_type: ReadType,
    /// Parsed and unused by DLIO. Default multi.
    pub file_access: FileAccess,
    /// Bytes of one read call. Default: chosen by the storage system.
    pub transfer_size: Option<u64>,
    /// native DALI. Default false.
    pub dont_use_mmap: bool,
    /// O_DIRECT. Default false.
    pub odirect: bool,
    /// Time slept per sample after its read.
    pub preprocess_time: TimeSpec,
    /// Accepted; no effect here. Default true.
    pub pin_memory: bool,
    /// Accepted; no effect here.
    pub multiprocessing_context: Option<String>,
    /// Shape of the in-memory sample. Default `[]`.
    pub transformed_record_dims: Vec<u64>,
    /// dtype of it. Default `uint8`.
    pub transformed_record_element_type: String,
    /// dlio-rs: access order. Default `dlio`.
    pub order: OrderKind,
    /// dlio-rs: how far a reader checks what it read. Default `verify`.
    pub decode: Decode,
    /// dlio-rs: compare what was read with what was generated. Default `off`.
    pub verify_content: VerifyContent,
    /// dlio-rs: page cache between epochs. Default `fadvise`.
    pub drop_cache: DropCache,
    /// dlio-rs: reads in flight per rank for the native loader. Default: `read_threads`.
    pub io_depth: Option<u64>,
    /// dlio-rs: object stores: bytes of one GET; longer extents are read in several. 0: always one GET.
    /// Default: one GET up to 32 MiB, ranges of 32 MiB above.
    pub range_size: Option<u64>,
}

impl Default for Reader {
    fn default() -> Self {
        Reader {
            data_loader: None,
            data_loader_classname: None,
            data_loader_sampler: None,
            reader_classname: None,
            batch_size: 1,
            batch_size_eval: 1,
            read_threads: 1,
            write_threads: None,
            computation_threads: 1,
            prefetch_size: 2,
            file_shuffle: Shuffle::Off,
            sample_shuffle: Shuffle::Off,
            shuffle_size: 1024,
            read_type: ReadType::OnDemand,
            file_access: FileAccess::Multi,
            transfer_size: None,
            dont_use_mmap: false,
            odirect: false,
            preprocess_time: TimeSpec::default(),
            pin_memory: true,
            multiprocessing_context: None,
            transformed_record_dims: Vec::new(),
            transformed_record_element_type: "uint8".into(),
            order: OrderKind::Dlio,
            decode: Decode::Verify,
            verify_content: VerifyContent::Off,
            drop_cache: DropCache::Fadvise,
            io_depth: None,
            range_size: None,
        }
    }
}

/// `train`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Train {
    /// Default 1.
    pub epochs: u64,
    /// Per step. Default 0 s.
    pub computation_time: TimeSpec,
    /// Cap on steps per epoch; -1: none.
    pub total_training_steps: i64,
    /// Default 123.
    pub seed: u64,
    /// Add the epoch to the seed. Default true.
    pub seed_change_epoch: bool,
}

impl Default for Train {
    fn default() -> Self {
        Train {
            epochs: 1,
            computation_time: TimeSpec::default(),
            total_training_steps: -1,
            seed: 123,
            seed_change_epoch: true,
        }
    }
}

/// `evaluation`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Evaluation {
    /// Per step. Default 0 s.
    pub eval_time: TimeSpec,
    /// First epoch with an evaluation. Default 1.
    pub eval_after_epoch: u64,
    /// Default 1.
    pub epochs_between_evals: u64,
}

impl Default for Evaluation {
    fn default() -> Self {
        Evaluation {
            eval_time: TimeSpec::default(),
            eval_after_epoch: 1,
            epochs_between_evals: 1,
        }
    }
}

/// `checkpoint`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Checkpoint {
    /// Default `./checkpoints`.
    pub checkpoint_folder: String,
    /// First epoch with an epoch-end checkpoint. Default 1.
    pub checkpoint_after_epoch: u64,
    /// Default 1.
    pub epochs_between_checkpoints: u64,
    /// >= 0 switches to step mode (0 never fires). Default -1.
    pub steps_between_checkpoints: i64,
    /// Parsed and unused by DLIO. Default rank_zero.
    #[serde(rename = "type")]
    pub kind: CheckpointType,
    /// Default `default`.
    pub mode: CheckpointMode,
    /// fsync after writing. Default false.
    pub fsync: bool,
    /// Read another node's checkpoint. Default false.
    pub recovery_rank_shift: bool,
    /// Barrier inside the timed save or load. Default false.
    pub rank_sync: bool,
    /// Seconds slept before each; the absolute value. Default -1.
    pub time_between_checkpoints: f64,
    /// Default -1.
    pub num_checkpoints_write: i64,
    /// Default -1.
    pub num_checkpoints_read: i64,
    /// Default true.
    pub randomize_tensor: bool,
    /// Python class; not runnable here.
    pub checkpoint_mechanism_classname: Option<String>,
    /// Kernel same-page merging; presence enables it in DLIO. No effect here: tensors are never held in memory.
    pub ksm: Option<Ksm>,
    /// dlio-rs: compress the files. Default none.
    pub compression: CheckpointCompression,
    /// dlio-rs: zstd level, 1 to 22. Default 3.
    pub compression_level: i32,
    /// dlio-rs: compare every loaded byte with what was saved. Default false.
    pub verify_content: bool,
    /// dlio-rs: reader threads of a load, each with a part of the file. Default 4, as in the fork's streaming loader.
    pub read_threads: u64,
    /// dlio-rs: shell command that rank 0 runs between saving and loading, to empty caches or to mount again. It takes
    /// the place of `reader.drop_cache`.
    pub between_phases: Option<String>,
    /// dlio-rs: keep only this many of the checkpoints that this run saved. Default: all.
    pub keep: Option<u64>,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Checkpoint {
            checkpoint_folder: "./checkpoints".into(),
            checkpoint_after_epoch: 1,
            epochs_between_checkpoints: 1,
            steps_between_checkpoints: -1,
            kind: CheckpointType::RankZero,
            mode: CheckpointMode::Default,
            fsync: false,
            recovery_rank_shift: false,
            rank_sync: false,
            time_between_checkpoints: -1.0,
            num_checkpoints_write: -1,
            num_checkpoints_read: -1,
            randomize_tensor: true,
            checkpoint_mechanism_classname: None,
            ksm: None,
            compression: CheckpointCompression::None,
            compression_level: 3,
            verify_content: false,
            read_threads: 4,
            between_phases: None,
            keep: None,
        }
    }
}

/// `checkpoint.ksm`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Ksm {
    /// Default 12.
    pub madv_mergeable_id: i64,
    /// Percent. Default 30.
    pub high_ram_trigger: f64,
    /// Percent. Default 15.
    pub low_ram_exit: f64,
    /// Seconds. Default 200.
    pub await_time: f64,
}

impl Default for Ksm {
    fn default() -> Self {
        Ksm {
            madv_mergeable_id: 12,
            high_ram_trigger: 30.0,
            low_ram_exit: 15.0,
            await_time: 200.0,
        }
    }
}

/// `model`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Model {
    /// Default `default`.
    pub name: String,
    /// Only `transformer` matters.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Bytes of the flat model blob. Default 10240.
    pub model_size_bytes: u64,
    /// Ignored by DLIO.
    pub model_size: Option<f64>,
    /// Default fp16.
    pub model_datatype: String,
    /// Default fp32.
    pub optimizer_datatype: String,
    /// Legacy int8 tensor sizes. Default `[]`.
    pub optimization_groups: Vec<u64>,
    /// Default -1.
    pub num_layers: i64,
    /// Legacy int8 tensor sizes. Default `[]`.
    pub layer_parameters: Vec<u64>,
    /// `model.parallelism`
    pub parallelism: Parallelism,
    /// `model.transformer`
    pub transformer: Transformer,
}

impl Default for Model {
    fn default() -> Self {
        Model {
            name: "default".into(),
            kind: None,
            model_size_bytes: 10240,
            model_size: None,
            model_datatype: "fp16".into(),
            optimizer_datatype: "fp32".into(),
            optimization_groups: Vec::new(),
            num_layers: -1,
            layer_parameters: Vec::new(),
            parallelism: Parallelism::default(),
            transformer: Transformer::default(),
        }
    }
}

/// `model.parallelism`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Parallelism {
    /// Default 1.
    pub tensor: u64,
    /// Default 1.
    pub pipeline: u64,
    /// Default -1: from the rank count.
    pub data: i64,
    /// 0 to 3. Default 0.
    pub zero_stage: u64,
}

impl Default for Parallelism {
    fn default() -> Self {
        Parallelism {
            tensor: 1,
            pipeline: 1,
            data: -1,
            zero_stage: 0,
        }
    }
}

/// `model.transformer`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Transformer {
    /// Default 32000.
    pub vocab_size: u64,
    /// Default 2048.
    pub hidden_size: u64,
    /// Default 8192.
    pub ffn_hidden_size: u64,
    /// Default 32.
    pub num_attention_heads: u64,
    /// Default 8.
    pub num_kv_heads: u64,
}

impl Default for Transformer {
    fn default() -> Self {
        Transformer {
            vocab_size: 32000,
            hidden_size: 2048,
            ffn_hidden_size: 8192,
            num_attention_heads: 32,
            num_kv_heads: 8,
        }
    }
}

/// `output`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Output {
    /// Output folder. Default: `results/<model>/<time>`.
    pub folder: Option<String>,
    /// Default `dlio.log`.
    pub log_file: String,
    /// `output.metric`
    pub metric: OutputMetric,
}

impl Default for Output {
    fn default() -> Self {
        Output {
            folder: None,
            log_file: "dlio.log".into(),
            metric: OutputMetric::default(),
        }
    }
}

/// `output.metric`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct OutputMetric {
    /// Steps left out at the start of each block. Default 1.
    pub exclude_start_steps: u64,
    /// Steps left out at the end. Default 0.
    pub exclude_end_steps: u64,
}

impl Default for OutputMetric {
    fn default() -> Self {
        OutputMetric {
            exclude_start_steps: 1,
            exclude_end_steps: 0,
        }
    }
}

/// `profiling`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profiling {
    /// Default iostat.
    pub profiler: Profiler,
    /// Default `[]`.
    pub iostat_devices: Vec<String>,
}

impl Default for Profiling {
    fn default() -> Self {
        Profiling {
            profiler: Profiler::Iostat,
            iostat_devices: Vec::new(),
        }
    }
}

/// `metric`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metric {
    /// AU that the run must reach, fraction. Default 0.90.
    pub au: f64,
    /// dlio-rs: formulas. Default v3.
    pub formula: MetricFormula,
}

impl Default for Metric {
    fn default() -> Self {
        Metric {
            au: 0.90,
            formula: MetricFormula::V3,
        }
    }
}

/// `storage`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageSection {
    /// Default local_fs.
    pub storage_type: StorageType,
    /// Directory or bucket. Default `./`.
    pub storage_root: String,
    /// `storage.storage_options`
    pub storage_options: StorageOptions,
    /// Accepted; one native engine here.
    pub storage_library: Option<String>,
    /// Seconds between generation and reading on object stores. Default 0.
    pub post_generation_settle_seconds: f64,
}

impl Default for StorageSection {
    fn default() -> Self {
        StorageSection {
            storage_type: StorageType::LocalFs,
            storage_root: "./".into(),
            storage_options: StorageOptions::default(),
            storage_library: None,
            post_generation_settle_seconds: 0.0,
        }
    }
}

/// A credential. It is never printed, dumped or sent anywhere by this type.
#[derive(Clone, PartialEq, Default)]
pub struct Secret(String);

impl Secret {
    /// A credential from where it was found.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The credential itself, for the one who signs with it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("***")
    }
}

impl Serialize for Secret {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Secret)
    }
}

/// `storage.storage_options`
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct StorageOptions {
    /// model: seconds before the first byte of a read. Default 0.
    pub latency: f64,
    /// model: uniform +- this many seconds around `latency`. Default 0.
    pub jitter: f64,
    /// model: bytes per second, shared by the ranks of a node; 0: unlimited.
    pub bandwidth: f64,
    /// Object stores: key id.
    pub access_key_id: Option<String>,
    /// Object stores: secret key.
    pub secret_access_key: Option<Secret>,
    /// S3: session token of temporary credentials.
    pub session_token: Option<Secret>,
    /// S3: one URL or a list; each request goes to the one with the fewest requests in flight.
    pub endpoint_url: Endpoints,
    /// Object stores: region.
    pub region: Option<String>,
    /// S3: bucket in the path instead of the host name.
    pub s3_force_path_style: Option<bool>,
    /// S3 and Azure: attempts of one request. Default 5.
    pub s3_max_attempts: Option<u64>,
    /// S3: profile of the credentials file.
    pub s3_profile: Option<String>,
    /// Azure: storage account, where the address does not name it.
    pub account_name: Option<String>,
    /// Azure: key of the account; a SAS is signed with it here.
    pub account_key: Option<Secret>,
    /// Azure: shared access signature.
    pub sas_token: Option<Secret>,
    /// Azure: connection string; the keys above win over its parts.
    pub connection_string: Option<Secret>,
    /// Azure: URL of the blob service with the account in it where it is a path (Azurite, private clouds).
    pub blob_endpoint: Endpoints,
    /// Object stores: seconds for a connection to be made, TLS included. Default 5.
    pub connect_timeout: Option<f64>,
    /// Object stores: seconds without a byte before a request counts as lost. Default 30.
    pub read_timeout: Option<f64>,
    /// Object stores: seconds for one attempt of a request as a whole; 0: no limit. Default 0.
    pub request_timeout: Option<f64>,
    /// Object stores: retries that a rank may make in a run. Default 1000.
    pub retry_budget: Option<u64>,
    /// Object stores: seconds before the first retry; doubled for each further one, up to 20. Default 0.5.
    pub retry_delay: Option<f64>,
    /// Object stores: connections that a rank makes at the same time. Default 8.
    pub connect_ramp: Option<u64>,
    /// Object stores: ranges of one extent in flight. Default 2.
    pub ranges_in_flight: Option<u64>,
    /// Object stores: bytes of an upload's first parts (later ones grow to 64 MiB). Default 8 MiB.
    pub part_size: Option<u64>,
    /// Object stores: PEM file of certificate authorities to trust beside the system's.
    pub ca_bundle: Option<String>,
    /// Object stores: false accepts any certificate; the report shows it. Default true.
    pub verify: Option<bool>,
    /// S3: checksum sent with uploads: `none`, `crc32c` or `sdk` (CRC-32, the SDK's default). Default none.
    pub checksum: Option<String>,
    /// TLS where the endpoint has no scheme.
    pub secure: Option<bool>,
    /// Accepted; one native engine here.
    pub storage_library: Option<String>,
    /// `s3`, `az`, `gs`, `file` or `direct`.
    pub uri_scheme: Option<String>,
    /// Keys are full URIs.
    pub use_full_object_uri: Option<bool>,
    /// Objects in flight per worker.
    pub prefetch_window: Option<u64>,
    /// Parquet: threads.
    pub prefetch_workers: Option<u64>,
    /// Accepted; no effect here.
    pub prefetch: Option<bool>,
    /// Spread the start of workers.
    pub stagger_workers: Option<bool>,
    /// Parquet: columns to read.
    pub columns: Option<Vec<String>>,
    /// Parquet: row groups per request.
    pub coalesce_rgs: Option<u64>,
    /// Parquet: requests in flight.
    pub max_outstanding: Option<u64>,
    /// Parquet: footer bytes read at once.
    pub footer_cap: Option<u64>,
    /// Parquet: footers read together.
    pub footer_batch_size: Option<u64>,
    /// Parquet: `raw` or `arrow`.
    pub decode: Option<String>,
    /// Parquet: accepted; no effect here.
    pub decode_output: Option<String>,
    /// Parquet: plan without I/O.
    pub simulate_io: Option<bool>,
    /// Parquet: seconds between simulation logs.
    pub sim_log_secs: Option<f64>,
}

impl StorageOptions {
    /// The credentials among the options, in a fixed order, for carrying them between ranks.
    pub fn secrets_mut(&mut self) -> [&mut Option<Secret>; 5] {
        [
            &mut self.secret_access_key,
            &mut self.session_token,
            &mut self.account_key,
            &mut self.sas_token,
            &mut self.connection_string,
        ]
    }
}

/// Endpoint URLs: a text (which commas may divide) or a list in the YAML.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Endpoints(pub Vec<String>);

impl Serialize for Endpoints {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [] => serializer.serialize_none(),
            [one] => serializer.serialize_str(one),
            more => more.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Endpoints {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = Endpoints;
            fn expecting(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
                f.write_str("a URL or a list of URLs")
            }
            fn visit_unit<E>(self) -> Result<Endpoints, E> {
                Ok(Endpoints::default())
            }
            fn visit_none<E>(self) -> Result<Endpoints, E> {
                Ok(Endpoints::default())
            }
            fn visit_str<E>(self, text: &str) -> Result<Endpoints, E> {
                let urls = text.split(',').map(|url| url.trim().to_string());
                Ok(Endpoints(urls.filter(|url| !url.is_empty()).collect()))
            }
            fn visit_seq<A: serde::de::SeqAccess<'de>>(
                self,
                mut items: A,
            ) -> Result<Endpoints, A::Error> {
                let mut urls = Vec::new();
                while let Some(url) = items.next_element()? {
                    urls.push(url);
                }
                Ok(Endpoints(urls))
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}
