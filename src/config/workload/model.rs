//! The sections `model` and `checkpoint`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

section! {
    /// `checkpoint`
    pub struct Checkpoint {
        /// Folder or address of checkpoints: a path that is not below `storage.storage_root`, or an address as of
        /// `dataset.data_folder`.
        pub checkpoint_folder: String = "./checkpoints".into(),
        /// First epoch that ends with a checkpoint.
        ///
        /// - Unit: epochs
        pub checkpoint_after_epoch: u64 = 1,
        /// Epochs from one checkpoint to the next.
        ///
        /// - Unit: epochs
        pub epochs_between_checkpoints: u64 = 1,
        /// Steps from one checkpoint to the next; takes the place of the epochs. 0: no checkpoint; negative: by epochs.
        ///
        /// - Unit: steps
        pub steps_between_checkpoints: i64 = -1,
        /// Which ranks write.
        ///
        /// - DLIO: read and not used.
        /// - Effect: none; the layout of `model.parallelism` decides.
        #[serde(rename = "type")]
        pub kind: CheckpointType = CheckpointType::RankZero,
        /// Whether the job is the whole model or the first ranks of a larger job.
        pub mode: CheckpointMode = CheckpointMode::Default,
        /// Wait until what was written is on the device.
        ///
        /// - DLIO: the same by its documentation; without effect there.
        pub fsync: bool = false,
        /// Load what a rank of another host has saved.
        ///
        /// - DLIO: the same by its documentation; without effect there.
        pub recovery_rank_shift: bool = false,
        /// Barrier inside of the timed save and load.
        pub rank_sync: bool = false,
        /// Time slept before each checkpoint; the absolute value counts.
        ///
        /// - Unit: seconds
        /// - Most: 1e9
        pub time_between_checkpoints: f64 = -1.0,
        /// Checkpoints that a job without training saves. Negative: none.
        ///
        /// - Unit: checkpoints
        /// - Most: 2^32
        pub num_checkpoints_write: i64 = -1,
        /// Checkpoints that a job without training loads. Negative: none.
        ///
        /// - Unit: checkpoints
        /// - Most: 2^32
        pub num_checkpoints_read: i64 = -1,
        /// Random tensors; false: ones.
        pub randomize_tensor: bool = true,
        /// Python class of a checkpoint mechanism.
        ///
        /// - Effect: refused; Python code cannot run here.
        pub checkpoint_mechanism_classname: Option<String> = None,
        /// Kernel same-page merging; its presence turns it on in DLIO.
        ///
        /// - Effect: none; tensors are made while they are written and never held in memory.
        pub ksm: Option<Ksm> = None,
        /// Compression of the files.
        ///
        /// - DLIO: no such key.
        pub compression: CheckpointCompression = CheckpointCompression::None,
        /// Level of `checkpoint.compression`.
        ///
        /// - Unit: level, 1 to 22
        /// - DLIO: no such key.
        /// - Only: checkpoint.compression = zstd
        pub compression_level: i32 = 3,
        /// Compare every loaded byte with what was saved.
        ///
        /// - DLIO: no such key.
        pub verify_content: bool = false,
        /// Reader threads of a load; each has a part of the file.
        ///
        /// - Unit: threads
        /// - Most: 65536
        /// - DLIO: no such key; 4 are in the streaming loader of the MLCommons fork.
        pub read_threads: u64 = 4,
        /// Shell command that rank 0 runs between saving and loading, to empty caches or to mount again. It takes the place of
        /// `reader.drop_cache`.
        ///
        /// - DLIO: no such key.
        pub between_phases: Option<String> = None,
        /// Keep only this many of the checkpoints that the run saved. Not set: all.
        ///
        /// - Unit: checkpoints
        /// - DLIO: no such key.
        pub keep: Option<u64> = None,
        /// Files of its checkpoint that a rank writes at the same time. Not set: 2 on object stores, else 1, as in DLIO.
        ///
        /// - Unit: files
        /// - Most: 65536
        /// - DLIO: no such key.
        pub write_files: Option<u64> = None,
        /// Parts of uploads to an object store that a rank has in flight, those of generation too.
        ///
        /// - Unit: parts
        /// - Most: 65536
        /// - DLIO: no such key.
        pub parts_in_flight: u64 = 8,
    }
}

section! {
    /// `checkpoint.ksm`
    pub struct Ksm {
        /// Number of the advice MADV_MERGEABLE.
        ///
        /// - Unit: none
        /// - Effect: none; tensors are never held in memory.
        pub madv_mergeable_id: i64 = 12,
        /// Memory in use at which merging begins.
        ///
        /// - Unit: percent
        /// - Effect: none; tensors are never held in memory.
        pub high_ram_trigger: f64 = 30.0,
        /// Memory in use at which merging ends.
        ///
        /// - Unit: percent
        /// - Effect: none; tensors are never held in memory.
        pub low_ram_exit: f64 = 15.0,
        /// Longest wait for merging.
        ///
        /// - Unit: seconds
        /// - Effect: none; tensors are never held in memory.
        pub await_time: f64 = 200.0,
    }
}

section! {
    /// `model`
    pub struct Model {
        /// Name of the model; a part of the default folder of results. `model: NAME` is the same.
        ///
        /// - DLIO: the same; `model: NAME` is accepted there and the name is lost.
        pub name: String = "default".into(),
        /// Kind of the model. `transformer`: no flat blob beside the layers; any other word has no effect.
        #[serde(rename = "type")]
        pub kind: Option<String> = None,
        /// Size of the flat blob of a model that is no transformer.
        ///
        /// - Unit: bytes
        /// - Most: 2^60
        pub model_size_bytes: u64 = 10240,
        /// Old name of `model.model_size_bytes`.
        ///
        /// - Unit: bytes
        /// - DLIO: ignored.
        /// - Effect: none; write model.model_size_bytes.
        pub model_size: Option<f64> = None,
        /// Type of the parameters in a checkpoint.
        pub model_datatype: String = "fp16".into(),
        /// Type of the optimizer state in a checkpoint.
        pub optimizer_datatype: String = "fp32".into(),
        /// Sizes of the tensors of an optimizer; for models without `model.transformer`.
        ///
        /// - Unit: bytes
        pub optimization_groups: Vec<u64> = Vec::new(),
        /// Layers of the transformer. 0 or negative: no layers and no optimizer state.
        ///
        /// - Unit: layers
        /// - Most: 2^20
        pub num_layers: i64 = -1,
        /// Sizes of the tensors of a layer; for models without `model.transformer`.
        ///
        /// - Unit: bytes
        pub layer_parameters: Vec<u64> = Vec::new(),
        /// How the model is divided among ranks.
        pub parallelism: Parallelism = Parallelism::default(),
        /// Shape of a transformer.
        pub transformer: Transformer = Transformer::default(),
    }
}

section! {
    /// `model.parallelism`
    pub struct Parallelism {
        /// Tensor parallelism.
        ///
        /// - Unit: ranks
        /// - Most: 2^24
        pub tensor: u64 = 1,
        /// Pipeline parallelism.
        ///
        /// - Unit: ranks
        /// - Most: 2^24
        pub pipeline: u64 = 1,
        /// Data parallelism, under `checkpoint.mode=subset`. Negative: from the number of ranks.
        ///
        /// - Unit: ranks
        /// - Most: 2^24
        pub data: i64 = -1,
        /// ZeRO stage.
        ///
        /// - Unit: stage, 0 to 3
        pub zero_stage: u64 = 0,
    }
}

section! {
    /// `model.transformer`
    pub struct Transformer {
        /// Words of the vocabulary.
        ///
        /// - Unit: words
        /// - Most: 2^32
        pub vocab_size: u64 = 32000,
        /// Width of a layer.
        ///
        /// - Unit: elements
        /// - Most: 2^32
        pub hidden_size: u64 = 2048,
        /// Width of the feed-forward network.
        ///
        /// - Unit: elements
        /// - Most: 2^32
        pub ffn_hidden_size: u64 = 8192,
        /// Attention heads.
        ///
        /// - Unit: heads
        /// - Most: 2^32
        pub num_attention_heads: u64 = 32,
        /// Heads of keys and values.
        ///
        /// - Unit: heads
        /// - Most: 2^32
        pub num_kv_heads: u64 = 8,
    }
}
