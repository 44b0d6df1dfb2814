//! The rules' numbers and lists by edition: the embedded `editions.yaml`, read once.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use serde::{Deserialize, Serialize};

/// A round of MLPerf Storage, whose rules apply.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
pub enum Edition {
    /// The round of 2025.
    #[value(name = "v2.0", alias = "v2", alias = "mlperf-v2")]
    #[serde(rename = "v2.0")]
    V2,
    /// The round of 2026.
    #[value(name = "v3.0", alias = "v3", alias = "mlperf-v3")]
    #[serde(rename = "v3.0")]
    V3,
}

impl std::fmt::Display for Edition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "v{}", self.id())
    }
}

/// The whole table.
#[derive(Debug, Deserialize)]
struct Table {
    checkpointing_models: BTreeMap<String, Llm>,
    accelerator_memory_gb: BTreeMap<String, u64>,
    assumed_accelerator: String,
    known_models: Vec<String>,
    editions: BTreeMap<String, EditionRules>,
    classes: Vec<Class>,
}

/// What one edition demands.
#[derive(Debug, Deserialize)]
pub(crate) struct EditionRules {
    /// Training models that the edition takes submissions of, with their accelerators.
    workloads: Workloads,
    /// Least mean AU per model, as a fraction.
    training_au_thresholds: BTreeMap<String, f64>,
    /// How the number of files is rounded.
    pub(crate) dataset_files: Rounding,
    /// Models that a subset of 8 processes is defined for.
    subset_models: Vec<String>,
    /// Fewest checkpointing processes of a host.
    pub(crate) processes_per_host: u64,
    closed_parameters: Vec<String>,
    open_parameters: Vec<String>,
    tool_injected_parameters: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Workloads {
    training: BTreeMap<String, Vec<String>>,
}

/// How a fraction of a file counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rounding {
    Floor,
    Ceil,
}

/// A model whose checkpoints are measured.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Llm {
    /// mlpstorage's name.
    #[serde(skip)]
    pub name: String,
    /// Ranks of one data-parallel instance: OPEN scales by it.
    pub processes_per_instance: u64,
    /// Ranks of a CLOSED run.
    pub closed_mpi_processes: u64,
}

/// Runs that did the same work.
#[derive(Debug, Deserialize)]
pub(crate) struct Class {
    pub(crate) id: String,
    model: String,
    accelerator: String,
    core_configs: Vec<String>,
    editions: Vec<String>,
}

/// What a change of a parameter means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Closed,
    Open,
    Injected,
    Forbidden,
}

/// Ranks of a subset run.
pub(crate) const SUBSET_PROCESSES: u64 = 8;

/// Runs that a training submission holds: a warm-up and five that are measured. Rule 2.1.17.
pub(crate) const TRAINING_RUNS: usize = 6;

/// Checkpoints per direction. Rule 4.7.1.
pub(crate) const CHECKPOINTS: u64 = 10;

/// Seconds between the end of the writes and the start of the reads, at most. Rule 4.7.1.
pub(crate) const WRITE_READ_GAP_S: f64 = 30.0;

fn table() -> &'static Table {
    static TABLE: OnceLock<Table> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table: Table = serde_yaml::from_str(include_str!("editions.yaml"))
            .expect("the embedded table is read by a test");
        for (name, llm) in &mut table.checkpointing_models {
            llm.name.clone_from(name);
        }
        table
    })
}

impl Edition {
    /// Its name in the table of editions.
    fn id(self) -> &'static str {
        match self {
            Edition::V2 => "2.0",
            Edition::V3 => "3.0",
        }
    }

    pub(crate) fn rules(self) -> &'static EditionRules {
        &table().editions[self.id()]
    }

    /// The class of a run whose comparability hash is `hash`.
    pub(crate) fn class(
        self,
        model: &str,
        accelerator: Option<&str>,
        hash: &str,
    ) -> Option<&'static Class> {
        table().classes.iter().find(|class| {
            class.model == model
                && (class.accelerator == "any" || Some(class.accelerator.as_str()) == accelerator)
                && class.core_configs.iter().any(|one| one == hash)
                && class.editions.iter().any(|one| one == self.id())
        })
    }
}

impl EditionRules {
    /// Training models that it takes submissions of.
    pub(crate) fn training_models(&self) -> Vec<&str> {
        self.workloads.training.keys().map(String::as_str).collect()
    }

    /// Accelerators that it takes submissions of `model` on; None where it takes none of the model.
    pub(crate) fn accelerators(&self, model: &str) -> Option<&[String]> {
        self.workloads.training.get(model).map(Vec::as_slice)
    }

    /// Least mean AU of a model's run, percent.
    pub(crate) fn minimum_au_percent(&self, model: &str) -> Option<f64> {
        Some(100.0 * self.training_au_thresholds.get(model)?)
    }

    /// True where so many processes of a model are a subset by the rules.
    pub(crate) fn has_subset(&self, llm: &Llm, processes: u64) -> bool {
        processes == SUBSET_PROCESSES && self.subset_models.contains(&llm.name)
    }

    /// What a change of `key` (dotted, without `workload.`) means for a training run. Rules 3.6.2, 3.6.3.
    pub(crate) fn training_change(&self, key: &str) -> Change {
        let is_in = |list: &[String]| list.iter().any(|one| one == key);
        if is_in(&self.closed_parameters) {
            Change::Closed
        } else if is_in(&self.open_parameters) {
            Change::Open
        } else if is_in(&self.tool_injected_parameters) || key.starts_with("workflow.") {
            // What the run does is decided by its kind.
            Change::Injected
        } else {
            Change::Forbidden
        }
    }

    /// The same for a checkpointing run. Rule 4.6.3.
    pub(crate) fn checkpointing_change(&self, key: &str) -> Change {
        match key {
            "checkpoint.checkpoint_folder"
            | "checkpoint.num_checkpoints_write"
            | "checkpoint.num_checkpoints_read" => Change::Closed,
            // Set by the tool for a subset; rule 4.3.5 judges it.
            "checkpoint.mode" | "model.parallelism.data" => Change::Injected,
            _ => match self.training_change(key) {
                Change::Injected => Change::Injected,
                Change::Closed | Change::Open if key.starts_with("storage.") => Change::Injected,
                _ => Change::Forbidden,
            },
        }
    }
}

impl Llm {
    pub fn named(name: &str) -> Option<&'static Llm> {
        table().checkpointing_models.get(name)
    }

    /// Data-parallel instances of a CLOSED run: `model.parallelism.data` of a subset.
    pub fn instances(&self) -> u64 {
        self.closed_mpi_processes / self.processes_per_instance
    }

    pub(crate) fn names() -> Vec<&'static str> {
        let names = table().checkpointing_models.keys();
        names.map(String::as_str).collect()
    }
}

/// True for a training model that mlpstorage has a workload of, submittable or not.
pub(crate) fn is_known_model(model: &str) -> bool {
    table().known_models.iter().any(|known| known == model)
}

/// Memory of an accelerator, GB, and the name that it is of: the assumed one where none is recorded. None for an
/// accelerator that the rules do not know.
pub(crate) fn accelerator_memory_gb(name: Option<&str>) -> Option<(u64, &str)> {
    let name = name.unwrap_or(&table().assumed_accelerator);
    let (name, gb) = table().accelerator_memory_gb.get_key_value(name)?;
    Some((*gb, name))
}

/// True for a word that names an accelerator of any edition, or DLIO's v100.
pub(crate) fn is_accelerator(word: &str) -> bool {
    word == "v100" || table().accelerator_memory_gb.contains_key(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The hashes of the built-in workloads are those of the classes (published lists).
    #[test]
    fn built_in_workloads_are_in_their_classes() {
        use crate::mlperf::hash::CoreConfig;
        for (model, accelerator, edition, id) in [
            ("unet3d", Some("h100"), Edition::V2, "unet3d-h100-A"),
            ("unet3d", Some("b200"), Edition::V3, "unet3d-b200-A"),
            ("retinanet", Some("mi355"), Edition::V3, "retinanet-mi355-A"),
            ("llama3-8b", None, Edition::V2, "llama3-8b-A"),
            ("llama3-405b", None, Edition::V3, "llama3-405b-A"),
        ] {
            let on = accelerator.map_or(String::new(), |a| format!("_{a}"));
            let yaml = crate::config::builtin(&(model.replace('-', "_") + &on)).unwrap();
            let tree = serde_json::to_value(crate::config::yaml::parse(yaml).unwrap().0).unwrap();
            let hash = CoreConfig::of_workload(&tree).unwrap().hash;
            assert_eq!(edition.class(model, accelerator, &hash).unwrap().id, id);
        }
        let other = Edition::V3.class("unet3d", Some("h100"), "0f3dd7a4bf6433a3");
        assert!(other.is_none());
    }
}
