//! Every key of DLIO's workload YAML as a typed field: one struct per section.
//!
//! Field names are DLIO's. Defaults, which stand behind the type, are DLIO's built-in ones.

#[macro_use]
mod section;

mod cluster;
mod dataset;
mod model;
mod output;
mod reader;
mod storage;
mod train;
mod words;

pub use cluster::*;
pub use dataset::*;
pub use model::*;
pub use output::*;
pub use reader::*;
pub use storage::*;
pub use train::*;
pub use words::*;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::address::Address;
use crate::storage::System;

section! {
    /// A whole workload: the root of every key.
    pub struct Workload {
        /// The model: its name and size, and how it lies over ranks.
        pub model: Model = Model::default(),
        /// The framework that is emulated.
        pub framework: Framework = Framework::TensorFlow,
        /// Which phases run.
        pub workflow: Workflow = Workflow::default(),
        /// What the files are.
        pub dataset: Dataset = Dataset::default(),
        /// How samples are read.
        #[serde(alias = "data_reader")]
        pub reader: Reader = Reader::default(),
        /// Epochs and steps of training.
        pub train: Train = Train::default(),
        /// Evaluation between epochs.
        pub evaluation: Evaluation = Evaluation::default(),
        /// When checkpoints are saved and loaded, and how.
        pub checkpoint: Checkpoint = Checkpoint::default(),
        /// Where results go.
        pub output: Output = Output::default(),
        /// Profilers.
        pub profiling: Profiling = Profiling::default(),
        /// What the run must reach.
        pub metric: Metric = Metric::default(),
        /// Where data lies.
        pub storage: StorageSection = StorageSection::default(),
        /// How ranks work together.
        pub cluster: ClusterSection = ClusterSection::default(),
    }
}

impl Workload {
    /// The storage system that reads and writes go through: a URI in `dataset.data_folder` decides, and `reader.odirect`
    /// keeps local files out of the page cache.
    pub fn storage_system(&self) -> &'static System {
        let named = self.storage.storage_type;
        if !named.is_default() && !named.objects {
            return named;
        }
        match self.data_address() {
            Ok(address) if address.system.is_default() && self.reader.odirect => {
                System::of_scheme("direct").unwrap_or(address.system)
            }
            Ok(address) => address.system,
            // Refused by `validate` before anything is opened.
            Err(_) => named,
        }
    }

    fn data_address(&self) -> Result<Address, super::ConfigError> {
        Address::resolve(
            &self.storage,
            "dataset.data_folder",
            &self.dataset.data_folder,
        )
    }

    /// The loader: the framework's own where none is named.
    pub fn data_loader(&self) -> DataLoaderKind {
        self.reader.data_loader.unwrap_or(match self.framework {
            Framework::PyTorch => DataLoaderKind::PyTorch,
            Framework::TensorFlow => DataLoaderKind::TensorFlow,
        })
    }

    /// The folder of checkpoints, which is not below `storage_root`.
    ///
    /// Source: DLIO `checkpointing/base_checkpointing.py`.
    pub fn checkpoint_root(&self) -> std::path::PathBuf {
        // Refused by `validate` before anything is opened.
        self.checkpoint_address().map_or_else(
            |_| self.checkpoint.checkpoint_folder.clone().into(),
            |a| a.path,
        )
    }

    /// The folder of the dataset: a URI as it is, else `storage_root` joined with `data_folder`.
    ///
    /// Source: DLIO `storage/file_storage.py`, `storage/obj_store_lib.py`.
    pub fn data_root(&self) -> std::path::PathBuf {
        // Refused by `validate` before anything is opened.
        self.data_address()
            .map_or_else(|_| self.dataset.data_folder.clone().into(), |a| a.path)
    }

    /// True for a job that saves or loads checkpoints without training.
    pub fn is_checkpoint_only(&self) -> bool {
        self.workflow.checkpoint && !self.workflow.train
    }
}

section! {
    /// `workflow`: which phases run.
    pub struct Workflow {
        /// Generate the dataset before anything else.
        pub generate_data: bool = false,
        /// Train.
        pub train: bool = true,
        /// Evaluate after epochs.
        pub evaluation: bool = false,
        /// Save checkpoints in training; without training, save and load them.
        pub checkpoint: bool = false,
        /// Start the profiler of `profiling.profiler`.
        pub profiling: bool = false,
        /// Key that `dlio_benchmark_query` prints.
        ///
        /// - Effect: none; `dlio-rs validate` prints all values.
        pub query: Option<String> = None,
        /// Debug.
        ///
        /// - DLIO: ignored.
        /// - Effect: none.
        pub debug: Option<bool> = None,
    }
}
