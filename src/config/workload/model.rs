//! The sections `model` and `checkpoint`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::*;

/// `checkpoint`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Checkpoint {
    /// Folder or address of checkpoints: a path that is not below `storage.storage_root`, or an address as of
    /// `dataset.data_folder`.
    pub checkpoint_folder: String,
    /// First epoch that ends with a checkpoint.
    ///
    /// - Unit: epochs
    pub checkpoint_after_epoch: u64,
    /// Epochs from one checkpoint to the next.
    ///
    /// - Unit: epochs
    pub epochs_between_checkpoints: u64,
    /// Steps from one checkpoint to the next; takes the place of the epochs. 0: no checkpoint; negative: by epochs.
    ///
    /// - Unit: steps
    pub steps_between_checkpoints: i64,
    /// Which ranks write.
    ///
    /// - DLIO: read and not used.
    /// - Effect: none; the layout of `model.parallelism` decides.
    #[serde(rename = "type")]
    pub kind: CheckpointType,
    /// Whether the job is the whole model or the first ranks of a larger job.
    pub mode: CheckpointMode,
    /// Wait until what was written is on the device.
    ///
    /// - DLIO: the same by its documentation; without effect there.
    pub fsync: bool,
    /// Load what a rank of another host has saved.
    ///
    /// - DLIO: the same by its documentation; without effect there.
    pub recovery_rank_shift: bool,
    /// Barrier inside of the timed save and load.
    pub rank_sync: bool,
    /// Time slept before each checkpoint; the absolute value counts.
    ///
    /// - Unit: seconds
    pub time_between_checkpoints: f64,
    /// Checkpoints that a job without training saves. Negative: none.
    ///
    /// - Unit: checkpoints
    pub num_checkpoints_write: i64,
    /// Checkpoints that a job without training loads. Negative: none.
    ///
    /// - Unit: checkpoints
    pub num_checkpoints_read: i64,
    /// Random tensors; false: ones.
    pub randomize_tensor: bool,
    /// Python class of a checkpoint mechanism.
    ///
    /// - Effect: refused; Python code cannot run here.
    pub checkpoint_mechanism_classname: Option<String>,
    /// Kernel same-page merging; its presence turns it on in DLIO.
    ///
    /// - Effect: none; tensors are made while they are written and never held in memory.
    pub ksm: Option<Ksm>,
    /// Compression of the files.
    ///
    /// - DLIO: no such key.
    pub compression: CheckpointCompression,
    /// Level of `checkpoint.compression`.
    ///
    /// - Unit: level, 1 to 22
    /// - DLIO: no such key.
    /// - Only: checkpoint.compression = zstd
    pub compression_level: i32,
    /// Compare every loaded byte with what was saved.
    ///
    /// - DLIO: no such key.
    pub verify_content: bool,
    /// Reader threads of a load; each has a part of the file.
    ///
    /// - Unit: threads
    /// - DLIO: no such key; 4 are in the streaming loader of the MLCommons fork.
    pub read_threads: u64,
    /// Shell command that rank 0 runs between saving and loading, to empty caches or to mount again. It takes the place of
    /// `reader.drop_cache`.
    ///
    /// - DLIO: no such key.
    pub between_phases: Option<String>,
    /// Keep only this many of the checkpoints that the run saved. Not set: all.
    ///
    /// - Unit: checkpoints
    /// - DLIO: no such key.
    pub keep: Option<u64>,
    /// Files of its checkpoint that a rank writes at the same time. Not set: 2 on object stores, else 1, as in DLIO.
    ///
    /// - Unit: files
    /// - DLIO: no such key.
    pub write_files: Option<u64>,
    /// Parts of uploads to an object store that a rank has in flight, those of generation too.
    ///
    /// - Unit: parts
    /// - DLIO: no such key.
    pub parts_in_flight: u64,
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
            write_files: None,
            parts_in_flight: 8,
        }
    }
}

/// `checkpoint.ksm`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Ksm {
    /// Number of the advice MADV_MERGEABLE.
    ///
    /// - Unit: none
    /// - Effect: none; tensors are never held in memory.
    pub madv_mergeable_id: i64,
    /// Memory in use at which merging begins.
    ///
    /// - Unit: percent
    /// - Effect: none; tensors are never held in memory.
    pub high_ram_trigger: f64,
    /// Memory in use at which merging ends.
    ///
    /// - Unit: percent
    /// - Effect: none; tensors are never held in memory.
    pub low_ram_exit: f64,
    /// Longest wait for merging.
    ///
    /// - Unit: seconds
    /// - Effect: none; tensors are never held in memory.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Model {
    /// Name of the model; a part of the default folder of results. `model: NAME` is the same.
    ///
    /// - DLIO: the same; `model: NAME` is accepted there and the name is lost.
    pub name: String,
    /// Kind of the model. `transformer`: no flat blob beside the layers; any other word has no effect.
    #[serde(rename = "type")]
    pub kind: Option<String>,
    /// Size of the flat blob of a model that is no transformer.
    ///
    /// - Unit: bytes
    pub model_size_bytes: u64,
    /// Old name of `model.model_size_bytes`.
    ///
    /// - Unit: bytes
    /// - DLIO: ignored.
    /// - Effect: none; write model.model_size_bytes.
    pub model_size: Option<f64>,
    /// Type of the parameters in a checkpoint.
    pub model_datatype: String,
    /// Type of the optimizer state in a checkpoint.
    pub optimizer_datatype: String,
    /// Sizes of the tensors of an optimizer; for models without `model.transformer`.
    ///
    /// - Unit: bytes
    pub optimization_groups: Vec<u64>,
    /// Layers of the transformer. 0 or negative: no layers and no optimizer state.
    ///
    /// - Unit: layers
    pub num_layers: i64,
    /// Sizes of the tensors of a layer; for models without `model.transformer`.
    ///
    /// - Unit: bytes
    pub layer_parameters: Vec<u64>,
    /// How the model is divided among ranks.
    pub parallelism: Parallelism,
    /// Shape of a transformer.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Parallelism {
    /// Tensor parallelism.
    ///
    /// - Unit: ranks
    pub tensor: u64,
    /// Pipeline parallelism.
    ///
    /// - Unit: ranks
    pub pipeline: u64,
    /// Data parallelism, under `checkpoint.mode=subset`. Negative: from the number of ranks.
    ///
    /// - Unit: ranks
    pub data: i64,
    /// ZeRO stage.
    ///
    /// - Unit: stage, 0 to 3
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Transformer {
    /// Words of the vocabulary.
    ///
    /// - Unit: words
    pub vocab_size: u64,
    /// Width of a layer.
    ///
    /// - Unit: elements
    pub hidden_size: u64,
    /// Width of the feed-forward network.
    ///
    /// - Unit: elements
    pub ffn_hidden_size: u64,
    /// Attention heads.
    ///
    /// - Unit: heads
    pub num_attention_heads: u64,
    /// Heads of keys and values.
    ///
    /// - Unit: heads
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
