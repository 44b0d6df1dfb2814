//! The sections `model` and `checkpoint`.

use serde::{Deserialize, Serialize};

use super::*;

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
    /// dlio-rs: parts of uploads to an object store that a rank has on their way, those of generation too. Default 8.
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
            parts_in_flight: 8,
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
