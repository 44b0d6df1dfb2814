//! The section `reader`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;
use crate::config::TimeSpec;

section! {
    /// `reader`: how samples are read.
    pub struct Reader {
        /// Shape of the loader: what a reader thread reads at once, and how many batches are ahead. Not set: the framework's own.
        ///
        /// - DLIO: the same; without it a run that reads fails there.
        pub data_loader: Option<DataLoaderKind> = None,
        /// Python class of a loader.
        ///
        /// - Effect: refused; Python code cannot run here.
        pub data_loader_classname: Option<String> = None,
        /// Sampler of the loader.
        ///
        /// - DLIO: for custom loaders; else it follows from the loader.
        /// - Effect: none; the loader has its own.
        pub data_loader_sampler: Option<Sampler> = None,
        /// Python class of a reader.
        ///
        /// - Effect: refused; Python code cannot run here.
        pub reader_classname: Option<String> = None,
        /// Samples of a step on each rank.
        ///
        /// - Unit: samples
        pub batch_size: u64 = 1,
        /// Samples of an evaluation step on each rank.
        ///
        /// - Unit: samples
        pub batch_size_eval: u64 = 1,
        /// Reader threads of each rank. 0: no look-ahead under `pytorch`, else 1. Not set: the CPUs of a host divided by its ranks,
        /// at most `DLIO_MAX_AUTO_THREADS` (8).
        ///
        /// - Unit: threads
        /// - Most: 65536
        /// - DLIO: 1 where it is not set; the MLCommons fork takes 1 for not set, as `dlio_benchmark` does here.
        pub read_threads: Option<u64> = None,
        /// Generator threads of each rank. Not set: the CPUs of a host divided by its ranks, at most `DLIO_MAX_AUTO_THREADS` (32).
        ///
        /// - Unit: threads
        /// - Most: 65536
        /// - DLIO: the MLCommons fork only; 1 is taken for not set, as `dlio_benchmark` does here.
        pub write_threads: Option<u64> = None,
        /// Threads of TensorFlow's map over records.
        ///
        /// - Unit: threads
        /// - Effect: none; records are not parsed by TensorFlow.
        pub computation_threads: u64 = 1,
        /// Batches of look-ahead; the loaders differ in how they count it (docs/metrics.md).
        ///
        /// - Unit: batches
        /// - Most: 2^20
        pub prefetch_size: u64 = 2,
        /// Shuffle the files before each epoch.
        ///
        /// - DLIO: the same; any value that is given, `off` too, shuffles there.
        pub file_shuffle: Shuffle = Shuffle::Off,
        /// Shuffle the samples before each epoch.
        ///
        /// - DLIO: the same; without effect on the order of its PyTorch loader.
        pub sample_shuffle: Shuffle = Shuffle::Off,
        /// Shuffle buffer of TensorFlow's records.
        ///
        /// - Unit: records
        /// - Effect: none; the order is fixed before the run.
        pub shuffle_size: u64 = 1024,
        /// Whether files stay open.
        ///
        /// - DLIO: any value that is given keeps files open or in memory.
        /// - Effect: none; files are opened for each read.
        pub read_type: ReadType = ReadType::OnDemand,
        /// How processes share files.
        ///
        /// - DLIO: read and not used.
        /// - Effect: none.
        pub file_access: FileAccess = FileAccess::Multi,
        /// Size of one read call. Not set: chosen by the storage system (1 MiB; `direct_fs` 8 MiB; objects 256 KiB).
        ///
        /// - Unit: bytes
        /// - Most: 2^32
        /// - DLIO: TFRecord only.
        pub transfer_size: Option<u64> = None,
        /// No memory map in DALI's own readers.
        ///
        /// - Effect: none; storage.storage_type=mmap reads by a memory map.
        pub dont_use_mmap: bool = false,
        /// Read files past the page cache (O_DIRECT).
        ///
        /// - DLIO: npy and npz only.
        pub odirect: bool = false,
        /// Time slept after the read of each sample: a number, or a map that names a distribution.
        ///
        /// - Unit: seconds
        pub preprocess_time: TimeSpec = TimeSpec::default(),
        /// Page-locked memory of PyTorch.
        ///
        /// - Effect: none; there is no accelerator to copy to.
        pub pin_memory: bool = true,
        /// How Python's workers start.
        ///
        /// - Effect: none; readers are threads.
        pub multiprocessing_context: Option<String> = None,
        /// Shape of the sample in memory.
        ///
        /// - Unit: elements per axis
        /// - Effect: none; samples are handed over as they were read.
        pub transformed_record_dims: Vec<u64> = Vec::new(),
        /// Type of its elements.
        ///
        /// - Effect: none; samples are handed over as they were read.
        pub transformed_record_element_type: String = "uint8".into(),
        /// Order of access.
        ///
        /// - DLIO: no such key.
        pub order: OrderKind = OrderKind::Dlio,
        /// How far a reader looks at what it read.
        ///
        /// - DLIO: no such key; it does for each format what its Python library does.
        pub decode: Decode = Decode::Verify,
        /// Compare what is read with what was generated. With `dataset.size_law: fork` each rank draws the sizes of all files as every
        /// rank that generated them did: more than 100 million draws are refused.
        ///
        /// - DLIO: no such key.
        pub verify_content: VerifyContent = VerifyContent::Off,
        /// How the page cache is emptied between epochs.
        ///
        /// - DLIO: no such key; the MLCommons fork empties it as `system` does.
        pub drop_cache: DropCache = DropCache::Fadvise,
        /// How long a rank keeps the metadata (index, footer, chunk table) of a file.
        ///
        /// - DLIO: no such key; a framework that opens its files again reads it again.
        pub index_cache: IndexCacheLife = IndexCacheLife::Epoch,
        /// Reads in flight on each rank. Not set: `read_threads`.
        ///
        /// - Unit: reads
        /// - Most: 65536
        /// - DLIO: no such key.
        /// - Only: reader.data_loader = native
        pub io_depth: Option<u64> = None,
        /// How a rank has many reads in flight. `uring` reads files, and objects by the client `native`, through io_uring, with as
        /// many threads as the rank has CPUs (at most one per reader); readers, their order and what they check stay the same. An
        /// error where the kernel, or a filter of system calls, has no io_uring for this process. Not with `mmap`, `null` and
        /// `model`, nor with `storage_options.client: sdk`.
        ///
        /// - DLIO: no such key.
        pub engine: ReadEngine = ReadEngine::Auto,
        /// CPUs of the reader and writer threads: `inherit` (those that the process was started with), `node` (all of the host) or
        /// a list such as `0-3,8`. Not set: `inherit`, but the launcher's own CPUs where its default bound the rank to one core.
        ///
        /// - DLIO: no such key.
        pub cpus: Option<String> = None,
        /// Size of one GET; longer reads are made of several. 0: always one GET. Not set: one GET up to 32 MiB, ranges of 32 MiB
        /// above.
        ///
        /// - Unit: bytes
        /// - Most: 2^60
        /// - DLIO: no such key.
        /// - Only: storage = s3, gcs, azure
        pub range_size: Option<u64> = None,
    }
}

impl Reader {
    /// Reader threads; 1 where they are neither set nor sized yet.
    pub fn threads(&self) -> u64 {
        self.read_threads.unwrap_or(1)
    }
}
