//! The section `reader`.

use serde::{Deserialize, Serialize};

use super::*;
use crate::config::TimeSpec;

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
    /// dlio-rs: how long a rank keeps the metadata (index, footer, chunk table) of a file. Default `epoch`.
    pub index_cache: IndexCacheLife,
    /// dlio-rs: reads in flight per rank for the native loader. Default: `read_threads`.
    pub io_depth: Option<u64>,
    /// dlio-rs: CPUs of the reader and writer threads: `inherit` (those that the process was started with), `node` (all of
    /// the host) or a list such as `0-3,8`. Default: `inherit`, but the launcher's own CPUs where its default bound the rank
    /// to one core.
    pub cpus: Option<String>,
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
            index_cache: IndexCacheLife::Epoch,
            io_depth: None,
            cpus: None,
            range_size: None,
        }
    }
}
