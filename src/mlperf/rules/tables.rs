//! The rules' numbers and lists, by edition.

use crate::mlperf::Edition;

/// A model whose checkpoints are measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Llm {
    /// mlpstorage's name.
    pub name: &'static str,
    /// ZeRO stage.
    pub zero_stage: u64,
    /// Ranks of one data-parallel replica; what OPEN scales by.
    pub ranks_per_replica: u64,
    /// Ranks of a CLOSED run.
    pub closed_ranks: u64,
    /// GB of the weights, by the harness.
    pub model_gb: u64,
    /// GB of the optimizer, by the harness.
    pub optimizer_gb: u64,
    /// GB that the accelerators' memory must hold.
    pub size_gb: u64,
}

/// Source: mlpstorage's tables of allowed values and sizes.
pub const LLMS: [Llm; 4] = [
    llm("llama3-8b", 3, 8, 8, (15, 90), 105),
    llm("llama3-70b", 3, 8, 64, (130, 781), 912),
    llm("llama3-405b", 1, 256, 512, (755, 4533), 5290),
    llm("llama3-1t", 1, 512, 1024, (2571, 15426), 18000),
];

const fn llm(
    name: &'static str,
    zero_stage: u64,
    ranks_per_replica: u64,
    closed_ranks: u64,
    (model_gb, optimizer_gb): (u64, u64),
    size_gb: u64,
) -> Llm {
    Llm {
        name,
        zero_stage,
        ranks_per_replica,
        closed_ranks,
        model_gb,
        optimizer_gb,
        size_gb,
    }
}

impl Llm {
    /// By mlpstorage's name.
    pub fn named(name: &str) -> Option<&'static Llm> {
        LLMS.iter().find(|llm| llm.name == name)
    }

    /// Data-parallel replicas of a CLOSED run: `model.parallelism.data` of a subset.
    pub fn replicas(&self) -> u64 {
        self.closed_ranks / self.ranks_per_replica
    }
}

/// A subset run's ranks.
pub const SUBSET_RANKS: u64 = 8;

/// Models of the training benchmark that an edition takes submissions of.
pub fn submittable_models(edition: Edition) -> &'static [&'static str] {
    match edition {
        Edition::V2 => &["unet3d", "resnet50", "cosmoflow"],
        Edition::V3 => &["unet3d", "retinanet"],
    }
}

/// Models that an edition's tool knows.
pub fn known_models(edition: Edition) -> &'static [&'static str] {
    match edition {
        Edition::V2 => submittable_models(edition),
        Edition::V3 => &[
            "unet3d",
            "retinanet",
            "dlrm",
            "flux",
            "resnet50",
            "cosmoflow",
        ],
    }
}

/// Accelerators that an edition takes submissions of.
pub fn submittable_accelerators(edition: Edition) -> &'static [&'static str] {
    match edition {
        Edition::V2 => &["h100", "a100"],
        Edition::V3 => &["b200", "mi355"],
    }
}

/// Memory of an accelerator, GB.
pub fn accelerator_memory_gb(name: &str) -> Option<u64> {
    match name {
        "b200" => Some(180),
        "mi355" => Some(288),
        "h100" | "a100" => Some(80),
        _ => None,
    }
}

/// AU that a model's run must reach, percent.
pub fn minimum_au_percent(model: &str) -> Option<f64> {
    match model {
        "unet3d" | "resnet50" | "flux" => Some(90.0),
        "retinanet" => Some(85.0),
        "cosmoflow" | "dlrm" => Some(70.0),
        _ => None,
    }
}

/// What an override of a training run's key means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// Leaves CLOSED possible.
    Closed,
    /// Makes the run OPEN.
    Open,
    /// The tool sets it itself.
    Injected,
    /// Not looked at here: another rule does.
    Workflow,
    /// Makes the run INVALID.
    Forbidden,
}

const CLOSED_KEYS: [&str; 11] = [
    "dataset.num_files_train",
    "dataset.num_subfolders_train",
    "dataset.data_folder",
    "reader.read_threads",
    "reader.computation_threads",
    "reader.transfer_size",
    "reader.odirect",
    "reader.prefetch_size",
    "checkpoint.checkpoint_folder",
    "storage.storage_type",
    "storage.storage_root",
];

const OPEN_KEYS: [&str; 4] = [
    "framework",
    "dataset.format",
    "dataset.num_samples_per_file",
    "reader.data_loader",
];

const INJECTED_KEYS: [&str; 10] = [
    "dataset.skip_listing",
    "dataset.listing_validation_interval",
    "dataset.num_files_generated",
    "dataset.data_folder",
    "dataset.total_disk_bytes",
    "storage.storage_type",
    "storage.storage_root",
    "storage.storage_options.storage_library",
    "storage.storage_options.uri_scheme",
    "storage.s3_force_path_style",
];

/// What an override of `key` (dotted, without `workload.`) means for a training run.
pub fn training_key(edition: Edition, key: &str) -> Key {
    if key.starts_with("workflow") {
        return Key::Workflow;
    }
    if CLOSED_KEYS.contains(&key) {
        return Key::Closed;
    }
    if OPEN_KEYS.contains(&key) {
        return Key::Open;
    }
    match edition {
        Edition::V2 => Key::Forbidden,
        Edition::V3 if key == "storage.storage_options.prefetch_window" => Key::Closed,
        Edition::V3 if INJECTED_KEYS.contains(&key) => Key::Injected,
        Edition::V3 => Key::Forbidden,
    }
}

/// What an override of `key` means for a checkpointing run, as the rules' text says it.
pub fn checkpointing_key(edition: Edition, key: &str) -> Key {
    match key {
        "checkpoint.checkpoint_folder"
        | "checkpoint.num_checkpoints_write"
        | "checkpoint.num_checkpoints_read" => Key::Closed,
        // Set by the tool for a subset.
        "checkpoint.mode" | "model.parallelism.data" => Key::Injected,
        _ if key.starts_with("workflow") => Key::Workflow,
        _ if edition == Edition::V3 && INJECTED_KEYS.contains(&key) => Key::Injected,
        _ => Key::Forbidden,
    }
}

/// Runs that a training submission holds: a warm-up and five that are measured.
pub const TRAINING_RUNS: usize = 6;

/// Checkpoints per direction.
pub const CHECKPOINTS: i64 = 10;

/// Seconds between the end of the writes and the start of the reads, at most.
pub const WRITE_READ_GAP_S: f64 = 30.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn override_keys_are_those_of_the_editions() {
        for key in CLOSED_KEYS {
            for edition in [Edition::V2, Edition::V3] {
                assert_eq!(training_key(edition, key), Key::Closed, "{key}");
            }
        }
        for key in OPEN_KEYS {
            for edition in [Edition::V2, Edition::V3] {
                assert_eq!(training_key(edition, key), Key::Open, "{key}");
            }
        }
        for key in [
            "dataset.skip_listing",
            "dataset.listing_validation_interval",
            "dataset.num_files_generated",
            "dataset.total_disk_bytes",
            "storage.storage_options.storage_library",
            "storage.storage_options.uri_scheme",
            "storage.s3_force_path_style",
        ] {
            assert_eq!(training_key(Edition::V2, key), Key::Forbidden, "{key}");
            assert_eq!(training_key(Edition::V3, key), Key::Injected, "{key}");
        }
        let window = "storage.storage_options.prefetch_window";
        assert_eq!(training_key(Edition::V2, window), Key::Forbidden);
        assert_eq!(training_key(Edition::V3, window), Key::Closed);
        for key in [
            "train.epochs",
            "train.computation_time",
            "reader.batch_size",
            "reader.multiprocessing_context",
            "dataset.record_length_bytes",
            "output.folder",
            "metric.au",
            "",
            "dataset",
        ] {
            for edition in [Edition::V2, Edition::V3] {
                assert_eq!(training_key(edition, key), Key::Forbidden, "{key}");
            }
        }
        assert_eq!(
            training_key(Edition::V2, "workflow.checkpoint"),
            Key::Workflow
        );
    }

    #[test]
    fn subset_parallelism_follows_from_the_table() {
        let data = |name| Llm::named(name).unwrap().replicas();
        assert_eq!(
            ["llama3-70b", "llama3-405b", "llama3-1t"].map(data),
            [8, 2, 2]
        );
    }
}
