//! What the rules need to know of a run, whether it is still to be made or lies in a folder.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::config::{self, LoadRequest, Loaded, Source, Workload};
use crate::mlperf::Edition;
use crate::mlperf::json::{at, is_truthy};
use crate::mlperf::leaf::{Kind, Leaf, accelerator_of, mlpstorage_model};
use crate::mlperf::size::{Ratio, memory_of_hosts};

/// An override word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As typed.
    pub text: String,
    /// Dotted key without `workload.`; of `~key` too.
    pub key: String,
    /// Its value.
    pub value: String,
    /// It starts with `++workload.`: mlpstorage looks at no other.
    pub is_seen: bool,
}

/// Override words, sorted out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Words {
    /// Overrides of keys.
    pub keys: Vec<Word>,
    /// Words that have not exactly one `=`: mlpstorage splits there and wants two parts.
    pub malformed: Vec<String>,
}

impl Words {
    /// Sorts words out; hydra's own and `workload=NAME` are left out.
    pub fn new<'w>(words: impl IntoIterator<Item = &'w str>) -> Self {
        let mut out = Words::default();
        for text in words {
            let text = config::redact_word(text);
            if text.matches('=').count() != 1 {
                out.malformed.push(text.clone());
            }
            let bare = text.trim_start_matches(['+', '~']);
            let (key, value) = bare.split_once('=').unwrap_or((bare, ""));
            if key == "workload" || key == "hydra" || key.starts_with("hydra.") {
                continue;
            }
            out.keys.push(Word {
                key: key.strip_prefix("workload.").unwrap_or(key).to_owned(),
                value: value.to_owned(),
                is_seen: text.starts_with("++workload."),
                text,
            });
        }
        out
    }
}

/// Memory of all hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Memory {
    /// Bytes.
    pub bytes: Ratio,
    /// Who says so.
    pub source: String,
}

/// What a check before a run may be told.
#[derive(Debug, Clone, Default)]
pub struct Inputs {
    /// Ranks.
    pub accelerators: Option<u64>,
    /// Hosts.
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
    /// Whose rules.
    pub edition: Edition,
    /// The run is still to be made.
    pub is_before: bool,
    /// What it does.
    pub kind: Kind,
    /// Nothing but the metrics says so.
    pub is_kind_guessed: bool,
    /// mlpstorage's name.
    pub model: Option<String>,
    /// mlpstorage's name.
    pub accelerator: Option<String>,
    /// The workload's name, such as `unet3d_h100`.
    pub workload_name: Option<String>,
    /// The composed workload, as it stands in the YAML with the overrides.
    pub raw: Value,
    /// The workload with all defaults, or why it is none.
    pub typed: Result<Box<Workload>, String>,
    /// Override words.
    pub words: Words,
    /// Ranks.
    pub accelerators: Option<u64>,
    /// Hosts.
    pub hosts: Option<u64>,
    /// Ranks of every host, where known.
    pub ranks_of_hosts: Option<Vec<u64>>,
    /// Memory of all hosts.
    pub memory: Option<Memory>,
    /// Folders of data (or checkpoints) and of results that both exist, where they are known.
    pub folders: Option<(PathBuf, PathBuf)>,
}

impl Facts {
    /// Of a run that is still to be made.
    pub fn before(loaded: &Loaded, inputs: &Inputs, edition: Edition) -> Self {
        let workload = &loaded.workload;
        let raw = serde_json::to_value(&loaded.tree).unwrap_or_default();
        let mut words = Words::new(loaded.words.iter().map(String::as_str));
        // The harness would pass each of them with its prefix.
        words.keys.iter_mut().for_each(|word| word.is_seen = true);
        let w = &workload.workflow;
        let kind = match (w.train, w.generate_data, w.checkpoint) {
            (true, ..) => Kind::TrainingRun,
            (_, true, _) => Kind::TrainingDatagen,
            (_, _, true) => Kind::Checkpointing,
            _ => Kind::Unknown,
        };
        let declared = inputs
            .gib_per_host
            .zip(inputs.hosts)
            .and_then(|(gib, hosts)| {
                Some(Memory {
                    bytes: memory_of_hosts(gib, hosts)?,
                    source: format!("{gib} GiB x {hosts} host(s)"),
                })
            });
        let data = if kind == Kind::Checkpointing {
            workload.checkpoint_root()
        } else {
            workload.data_root()
        };
        Facts {
            edition,
            is_before: true,
            kind,
            is_kind_guessed: false,
            model: Some(mlpstorage_model(&workload.model.name)),
            accelerator: accelerator_of(&loaded.name),
            workload_name: Some(loaded.name.clone()),
            raw,
            typed: Ok(Box::new(workload.clone())),
            words,
            accelerators: inputs.accelerators,
            hosts: inputs.hosts,
            ranks_of_hosts: inputs.ranks_of_hosts.clone(),
            memory: inputs.memory.clone().or(declared),
            folders: inputs.results.clone().map(|results| (data, results)),
        }
    }

    /// Of a run that was made.
    pub fn after(leaf: &Leaf, edition: Edition) -> Self {
        let raw = leaf.parameters().cloned().unwrap_or_default();
        let words = leaf.override_words();
        let memory = leaf.memory_gib().and_then(|gib| {
            // Kibibytes divided by a power of two: the product is exact.
            let bytes = gib * f64::from(1 << 30);
            (bytes.is_finite() && (0.0..1e30).contains(&bytes)).then(|| Memory {
                bytes: Ratio::whole(bytes.round() as u128),
                source: "summary.json host_memory_GB".into(),
            })
        });
        let mut facts = Facts {
            edition,
            is_before: false,
            kind: leaf.kind(),
            is_kind_guessed: leaf.declared_kind() == Kind::Unknown,
            model: leaf.model(),
            accelerator: leaf.accelerator(),
            workload_name: leaf.workload_name(),
            typed: typed(leaf).map(Box::new),
            raw,
            words: Words::new(words.iter().map(String::as_str)),
            accelerators: leaf.accelerators(),
            hosts: leaf.hosts().filter(|hosts| *hosts > 0),
            ranks_of_hosts: None,
            memory,
            folders: None,
        };
        facts.folders = folders(leaf, &facts);
        facts
    }

    /// A key of the workload as it stands in the YAML, dotted.
    pub fn parameter(&self, key: &str) -> Option<&Value> {
        at(&self.raw, key)
    }

    /// What Python's `if` makes of a key; absent is false.
    pub fn is_truthy(&self, key: &str) -> bool {
        self.parameter(key).is_some_and(is_truthy)
    }

    /// The workload with all defaults as JSON, where it is one; else as it stands.
    pub fn effective(&self) -> Value {
        let typed = self.typed.as_ref().ok();
        let mut value = typed
            .and_then(|w| serde_json::to_value(w).ok())
            .unwrap_or_else(|| self.raw.clone());
        // Of these the harness knows no default.
        for (section, key) in [("dataset", "record_length_bytes"), ("reader", "batch_size")] {
            if self.parameter(&format!("{section}.{key}")).is_none()
                && let Some(map) = value.get_mut(section).and_then(Value::as_object_mut)
            {
                map.remove(key);
            }
        }
        value
    }

    /// One line for people.
    pub fn text(&self) -> String {
        let kind = match self.kind {
            Kind::TrainingRun => "training run",
            Kind::TrainingDatagen => "training datagen",
            Kind::TrainingDatasize => "training datasize",
            Kind::Checkpointing => "checkpointing",
            Kind::Unknown => "unknown kind of run",
        };
        let mut text = kind.to_owned();
        for word in [&self.model, &self.accelerator].into_iter().flatten() {
            text += " ";
            text += word;
        }
        if let Some(n) = self.accelerators {
            text += &format!(", {n} accelerator(s)");
        }
        if let Some(n) = self.hosts {
            text += &format!(", {n} host(s)");
        }
        if let Some(memory) = &self.memory {
            let gib = memory.bytes.to_f64() / f64::from(1 << 30);
            text += &format!(", {gib:.1} GiB of memory");
        }
        text
    }
}

/// The data's folder and the run's, where this is the host that ran and the data is still there.
fn folders(leaf: &Leaf, facts: &Facts) -> Option<(PathBuf, PathBuf)> {
    let host = leaf.summary("hostname")?.as_str()?;
    if host != crate::host::name() {
        return None;
    }
    let workload = facts.typed.as_ref().ok()?;
    let data = match facts.kind {
        Kind::Checkpointing => workload.checkpoint_root(),
        Kind::TrainingRun => workload.data_root(),
        _ => return None,
    };
    // A relative one depends on where the run was started.
    (data.is_absolute() && data.is_dir()).then(|| (data, leaf.path.clone()))
}

/// The workload of a run's `config.yaml`.
fn typed(leaf: &Leaf) -> Result<Workload, String> {
    let folder = leaf
        .config_folder
        .as_ref()
        .filter(|_| leaf.config.value().is_some())
        .ok_or("there is no readable dlio_config/config.yaml")?;
    load_file(&folder.join("config.yaml"))
}

fn load_file(path: &Path) -> Result<Workload, String> {
    load(Source::File(path.to_owned()))
}

/// A workload without overrides or environment.
pub fn load(source: Source) -> Result<Workload, String> {
    let request = LoadRequest {
        source,
        words: Vec::new(),
        allow_unknown: true,
        env: Default::default(),
        dotenv: None,
        cwd: PathBuf::from("."),
    };
    config::load(&request)
        .map(|loaded| loaded.workload)
        .map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_sorted_out() {
        let words = Words::new([
            "workload=unet3d_h100",
            "++workload.dataset.num_files_train=5",
            "train.epochs=2",
            "~workload.metric.au",
            "++workload.a.b=x=y",
            "++hydra.run.dir=/x",
            "storage.storage_options.secret_access_key=hidden",
        ]);
        let keys: Vec<_> = words
            .keys
            .iter()
            .map(|w| (w.key.as_str(), w.is_seen))
            .collect();
        assert_eq!(
            keys,
            [
                ("dataset.num_files_train", true),
                ("train.epochs", false),
                ("metric.au", false),
                ("a.b", true),
                ("storage.storage_options.secret_access_key", false),
            ]
        );
        assert_eq!(
            words.malformed,
            ["~workload.metric.au", "++workload.a.b=x=y"]
        );
        assert!(!format!("{words:?}").contains("hidden"));
    }
}
