//! What the rules need to know of a run, whether it is still to be made or lies in a folder.

use std::path::PathBuf;

use serde_json::Value;

use super::editions::Edition;
use super::foreign::Parameters;
use super::leaf::{Kind, Leaf, accelerator_of, mlpstorage_model};
use super::ratio::Ratio;
use super::size::{GIB, memory_of_hosts};
use crate::config::{self, LoadRequest, Loaded, Source, Workload};
use crate::storage::System;

/// An override word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    /// As typed, secrets starred.
    pub(crate) text: String,
    /// Dotted key without `workload.`; of `~key` too.
    pub(crate) key: String,
    pub(crate) value: String,
}

/// Overrides of keys; hydra's own words and `workload=NAME` are left out.
pub(crate) fn overrides<'w>(words: impl IntoIterator<Item = &'w str>) -> Vec<Word> {
    let word = |text: &str| {
        let text = config::redact_word(text);
        let bare = text.trim_start_matches(['+', '~']);
        let (key, value) = bare.split_once('=').unwrap_or((bare, ""));
        let (key, value) = (key.to_owned(), value.to_owned());
        let is_hydras = key == "workload" || key == "hydra" || key.starts_with("hydra.");
        (!is_hydras).then(|| Word {
            key: key.strip_prefix("workload.").unwrap_or(&key).to_owned(),
            value,
            text,
        })
    };
    words.into_iter().filter_map(word).collect()
}

/// Memory of all hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    pub bytes: Ratio,
    pub source: String,
}

/// What is known of a run that is still to be made, beside its workload.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    pub accelerators: Option<u64>,
    pub hosts: Option<u64>,
    /// Ranks of every host, where the job is known.
    pub ranks_of_hosts: Option<Vec<u64>>,
    /// Memory of all hosts, where the job is known.
    pub memory: Option<Memory>,
    /// GiB of every host, otherwise.
    pub gib_per_host: Option<Ratio>,
    /// The folder of results, where it is known.
    pub results: Option<PathBuf>,
}

/// What the rules need to know.
#[derive(Debug, Clone)]
pub struct Facts {
    pub(crate) edition: Edition,
    /// The run is still to be made.
    pub(crate) is_before: bool,
    pub(crate) kind: Kind,
    /// mlpstorage's name.
    pub model: Option<String>,
    /// mlpstorage's name.
    pub(crate) accelerator: Option<String>,
    /// The workload's name, such as `unet3d_h100`.
    pub(crate) workload_name: Option<String>,
    /// The workload as it stands in the YAML with the overrides.
    pub(crate) raw: Value,
    /// Those of its keys that are looked at.
    pub(crate) parameters: Parameters,
    /// The same with all of DLIO's defaults, but for the two of which mlpstorage knows none.
    pub(crate) effective: Parameters,
    /// The workload with all defaults, or why it is none.
    pub(crate) typed: Result<Box<Workload>, String>,
    pub(crate) words: Vec<Word>,
    pub(crate) accelerators: Option<u64>,
    pub(crate) hosts: Option<u64>,
    /// Ranks of every host, where known.
    pub(crate) ranks_of_hosts: Option<Vec<u64>>,
    pub memory: Option<Memory>,
    /// Folders of data (or checkpoints) and of results that both exist, where they are known.
    pub(crate) folders: Option<(PathBuf, PathBuf)>,
    /// The run's folder; empty where the run is still to be made.
    pub(crate) leaf: Leaf,
}

impl AsRef<Leaf> for Facts {
    fn as_ref(&self) -> &Leaf {
        &self.leaf
    }
}

impl Facts {
    /// Of a run that is still to be made.
    pub fn before(loaded: &Loaded, inputs: &Inputs, edition: Edition) -> Self {
        let workload = &loaded.workload;
        let raw = serde_json::to_value(&loaded.tree).unwrap_or_default();
        let w = &workload.workflow;
        let kind = match (w.train, w.generate_data, w.checkpoint) {
            (true, ..) => Kind::TrainingRun,
            (_, true, _) => Kind::TrainingDatagen,
            (_, _, true) => Kind::Checkpointing,
            _ => Kind::Unknown,
        };
        let per_host = inputs.gib_per_host.zip(inputs.hosts);
        let declared = per_host.and_then(|(gib, hosts)| {
            Some(Memory {
                bytes: memory_of_hosts(gib, hosts)?,
                source: format!("{gib} GiB x {hosts} host(s)"),
            })
        });
        let data = data_folder(workload, kind);
        Facts {
            edition,
            is_before: true,
            kind,
            model: Some(mlpstorage_model(&workload.model.name)),
            accelerator: accelerator_of(&loaded.name),
            workload_name: Some(loaded.name.clone()),
            accelerators: inputs.accelerators,
            hosts: inputs.hosts,
            ranks_of_hosts: inputs.ranks_of_hosts.clone(),
            memory: inputs.memory.clone().or(declared),
            folders: data.zip(inputs.results.clone()),
            words: overrides(loaded.words.iter().map(String::as_str)),
            ..Facts::of(raw, Ok(Box::new(workload.clone())), edition)
        }
    }

    /// Of a run that was made.
    pub fn after(leaf: Leaf, edition: Edition) -> Self {
        let memory = leaf.memory_gib().and_then(|gib| {
            // Kibibytes divided by a power of two: the product is exact.
            let bytes = gib * GIB;
            (bytes.is_finite() && (0.0..1e30).contains(&bytes)).then(|| Memory {
                bytes: Ratio::whole(bytes.round() as u128),
                source: "summary.json host_memory_GB".into(),
            })
        });
        let typed = typed(&leaf).map(Box::new);
        let words = leaf.override_words().iter().map(String::as_str);
        let mut facts = Facts {
            kind: leaf.kind(),
            model: leaf.model(),
            accelerator: leaf.accelerator(),
            workload_name: leaf.workload_name().map(str::to_owned),
            words: overrides(words),
            accelerators: leaf.accelerators(),
            hosts: leaf.hosts().filter(|hosts| *hosts > 0),
            memory,
            ..Facts::of(leaf.workload().cloned().unwrap_or_default(), typed, edition)
        };
        facts.leaf = leaf;
        facts.folders = facts.folders_that_exist();
        facts
    }

    /// What follows from the workload alone.
    fn of(raw: Value, typed: Result<Box<Workload>, String>, edition: Edition) -> Self {
        let parameters = Parameters::of(&raw);
        let workload = typed.as_ref().ok();
        let whole = workload.and_then(|w| serde_json::to_value(w).ok());
        let mut effective = whole.map_or_else(|| parameters.clone(), |w| Parameters::of(&w));
        effective.dataset.record_length_bytes = parameters.dataset.record_length_bytes.clone();
        effective.reader.batch_size = parameters.reader.batch_size.clone();
        Facts {
            edition,
            is_before: false,
            kind: Kind::Unknown,
            model: None,
            accelerator: None,
            workload_name: None,
            raw,
            parameters,
            effective,
            typed,
            words: Vec::new(),
            accelerators: None,
            hosts: None,
            ranks_of_hosts: None,
            memory: None,
            folders: None,
            leaf: Leaf::default(),
        }
    }

    /// The data's folder and the run's, where this is the host that ran and the data is still there.
    fn folders_that_exist(&self) -> Option<(PathBuf, PathBuf)> {
        let host = self.leaf.summary.value()?.hostname.text()?;
        if host != crate::host::name() {
            return None;
        }
        let data = data_folder(self.typed.as_ref().ok()?, self.kind)?;
        // A relative one depends on where the run was started.
        (data.is_absolute() && data.is_dir()).then(|| (data, self.leaf.path.clone()))
    }

    /// True where nothing but the metrics says what the run did.
    pub(crate) fn is_kind_guessed(&self) -> bool {
        !self.is_before && self.leaf.declared_kind() == Kind::Unknown
    }

    /// The storage system of the dataset, where the workload is one.
    pub(crate) fn storage(&self) -> Option<&'static System> {
        self.typed.as_ref().ok().map(|w| w.storage_system())
    }

    pub(crate) fn text(&self) -> String {
        let kind = match self.kind {
            Kind::TrainingRun => "training run",
            Kind::TrainingDatagen => "training datagen",
            Kind::TrainingDatasize => "training datasize",
            Kind::Checkpointing => "checkpointing",
            Kind::Unknown => "unknown kind of run",
        };
        let mut text = kind.to_owned();
        for word in [&self.model, &self.accelerator].into_iter().flatten() {
            text += &format!(" {word}");
        }
        if let Some(n) = self.accelerators {
            text += &format!(", {n} accelerator(s)");
        }
        if let Some(n) = self.hosts {
            text += &format!(", {n} host(s)");
        }
        if let Some(memory) = &self.memory {
            text += &format!(", {:.1} GiB of memory", memory.bytes.to_f64() / GIB);
        }
        text
    }
}

fn data_folder(workload: &Workload, kind: Kind) -> Option<PathBuf> {
    match kind {
        Kind::Checkpointing => Some(workload.checkpoint_root()),
        Kind::TrainingRun => Some(workload.data_root()),
        _ => None,
    }
}

/// The workload of a run's `config.yaml`.
fn typed(leaf: &Leaf) -> Result<Workload, String> {
    let folder = leaf
        .config_folder
        .as_ref()
        .filter(|_| leaf.config.value().is_some())
        .ok_or("there is no readable dlio_config/config.yaml")?;
    load(Source::File(folder.join("config.yaml")))
}

/// A workload without overrides or environment.
pub(crate) fn load(source: Source) -> Result<Workload, String> {
    let request = LoadRequest {
        allow_unknown: true,
        ..LoadRequest::of(source)
    };
    let loaded = config::load(&request).map_err(|e| e.to_string())?;
    Ok(loaded.workload)
}

/// A message without its remedy, for findings have their own.
pub(crate) fn one_line(text: &str) -> String {
    let text = text.split("\n  remedy:").next().unwrap_or(text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overrides_are_of_keys_and_hold_no_secret() {
        let words = overrides([
            "workload=unet3d_h100",
            "++workload.dataset.num_files_train=5",
            "train.epochs=2",
            "~workload.metric.au",
            "++workload.a.b=x=y",
            "++hydra.run.dir=/x",
            "storage.storage_options.secret_access_key=hidden",
        ]);
        let keys: Vec<_> = words.iter().map(|w| w.key.as_str()).collect();
        let secret = "storage.storage_options.secret_access_key";
        let expected = [
            "dataset.num_files_train",
            "train.epochs",
            "metric.au",
            "a.b",
            secret,
        ];
        assert_eq!(keys, expected);
        assert!(!format!("{words:?}").contains("hidden"));
    }
}
