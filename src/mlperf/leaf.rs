//! One run's folder, read by its files: dlio-rs's, DLIO's or mlpstorage's.
//!
//! Nothing here fails: what is absent or broken is kept as such, for the rules to name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;
use serde_json::Value;

use super::json::{Document, at};

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Training.
    TrainingRun,
    /// Generation of a dataset.
    TrainingDatagen,
    /// mlpstorage's calculation of a dataset's size.
    TrainingDatasize,
    /// Checkpoints alone.
    Checkpointing,
    /// Nothing says it.
    Unknown,
}

/// A run's folder.
#[derive(Debug, Clone, Default)]
pub struct Leaf {
    /// The folder.
    pub path: PathBuf,
    /// Names of its files.
    pub files: BTreeSet<String>,
    /// Names in `dlio_config/`, or None where that folder is absent.
    pub config_files: Option<BTreeSet<String>>,
    /// That folder.
    pub config_folder: Option<PathBuf>,
    /// `summary.json`.
    pub summary: Document,
    /// `dlio_config/config.yaml`.
    pub config: Document,
    /// `dlio_config/overrides.yaml`.
    pub overrides: Document,
    /// `dlio_config/hydra.yaml`.
    pub hydra: Document,
    /// Every `*_metadata.json` (mlpstorage writes one), by name.
    pub metadata: Vec<(String, Document)>,
    /// Our own `report.json`.
    pub report: Document,
}

impl Leaf {
    /// Reads the folder; a folder that cannot be listed has no files.
    pub fn read(path: &Path) -> Leaf {
        let files = names(path).unwrap_or_default();
        // Runs of DLIO by hand have hydra's folder under another name.
        let folder = ["dlio_config", ".hydra_config", ".hydra"]
            .into_iter()
            .map(|name| path.join(name))
            .find(|folder| folder.is_dir());
        let in_config = |name: &str| {
            folder
                .as_ref()
                .map_or(Document::Absent, |f| Document::yaml(&f.join(name)))
        };
        let metadata = files
            .iter()
            .filter(|name| name.ends_with("_metadata.json"))
            .map(|name| (name.clone(), Document::json(&path.join(name))))
            .collect();
        Leaf {
            path: path.to_owned(),
            config_files: folder.as_ref().and_then(|f| names(f)),
            summary: Document::json(&path.join("summary.json")),
            config: in_config("config.yaml"),
            overrides: in_config("overrides.yaml"),
            hydra: in_config("hydra.yaml"),
            report: Document::json(&path.join("report.json")),
            config_folder: folder,
            metadata,
            files,
        }
    }

    /// True for a folder that holds anything of a run.
    pub fn is_run(path: &Path) -> bool {
        let Some(files) = names(path) else {
            return false;
        };
        let telling = |name: &String| {
            ["summary.json", "dlio.log", "report.json"].contains(&name.as_str())
                || name.ends_with("_metadata.json")
                || name.ends_with("_output.json")
        };
        files.iter().any(telling) || path.join("dlio_config").is_dir()
    }

    /// The folder's own name, `YYYYMMDD_HHMMSS` where mlpstorage made it.
    pub fn name(&self) -> String {
        self.path
            .file_name()
            .map_or_else(String::new, |n| n.to_string_lossy().into_owned())
    }

    /// The time that the folder's name says.
    pub fn timestamp(&self) -> Option<NaiveDateTime> {
        timestamp(&self.name())
    }

    /// mlpstorage's metadata, where there is exactly one file of it.
    pub fn metadata(&self) -> Option<&Value> {
        match self.metadata.as_slice() {
            [(_, document)] => document.value(),
            _ => None,
        }
    }

    /// A key of `summary.json`, dotted.
    pub fn summary(&self, key: &str) -> Option<&Value> {
        at(self.summary.value()?, key)
    }

    /// A metric of `summary.json`: a number.
    pub fn metric(&self, key: &str) -> Option<f64> {
        self.summary("metric")?.get(key)?.as_f64()
    }

    /// A metric of `summary.json`: one number per epoch.
    pub fn metric_list(&self, key: &str) -> Option<Vec<f64>> {
        let list = self.summary("metric")?.get(key)?.as_array()?;
        list.iter().map(Value::as_f64).collect()
    }

    /// The whole workload that ran: DLIO's `config.yaml`, else the parameters of mlpstorage's metadata.
    pub fn parameters(&self) -> Option<&Value> {
        let ran = self.config.value().and_then(|c| at(c, "workload"));
        ran.or_else(|| at(self.metadata()?, "parameters"))
    }

    /// A key of the workload, dotted, without `workload.`.
    pub fn parameter(&self, key: &str) -> Option<&Value> {
        at(self.parameters()?, key)
    }

    /// A truth value of the workload. DLIO's files hold booleans; overrides of mlpstorage's metadata are text.
    pub fn flag(&self, key: &str) -> bool {
        match self.parameter(key) {
            Some(Value::Bool(b)) => *b,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    /// A number of the workload, also where it is text.
    pub fn number(&self, key: &str) -> Option<f64> {
        match self.parameter(key)? {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        }
    }

    /// The words of `overrides.yaml`.
    pub fn override_words(&self) -> Vec<String> {
        let list = self.overrides.value().and_then(Value::as_array);
        list.map_or_else(Vec::new, |list| {
            list.iter()
                .map(|word| {
                    word.as_str()
                        .map_or_else(|| word.to_string(), str::to_owned)
                })
                .collect()
        })
    }

    /// `workload=NAME` of the overrides.
    pub fn workload_name(&self) -> Option<String> {
        self.override_words().iter().find_map(|word| {
            Some(
                word.trim_start_matches('+')
                    .strip_prefix("workload=")?
                    .to_owned(),
            )
        })
    }

    /// The accelerator: that of the workload's name ([`accelerator_of`]), else mlpstorage's word.
    pub fn accelerator(&self) -> Option<String> {
        if self.kind() == Kind::Checkpointing {
            return None;
        }
        self.workload_name()
            .and_then(|name| accelerator_of(&name))
            .or_else(|| Some(at(self.metadata()?, "accelerator")?.as_str()?.to_owned()))
    }

    /// mlpstorage's name of the model: `unet3d`, `llama3-8b`.
    pub fn model(&self) -> Option<String> {
        let name = match self.parameter("model.name").and_then(Value::as_str) {
            Some(name) => name.to_owned(),
            None => at(self.metadata()?, "model")?.as_str()?.to_owned(),
        };
        Some(mlpstorage_model(&name))
    }

    /// What the run did: as declared, else what its metrics speak of.
    pub fn kind(&self) -> Kind {
        match self.declared_kind() {
            Kind::Unknown => {
                let metric = self.summary("metric").and_then(Value::as_object);
                let has = |prefix: &str| {
                    metric.is_some_and(|m| m.keys().any(|key| key.starts_with(prefix)))
                };
                if has("train_") {
                    Kind::TrainingRun
                } else if has("save_checkpoint") || has("load_checkpoint") {
                    Kind::Checkpointing
                } else {
                    Kind::Unknown
                }
            }
            declared => declared,
        }
    }

    /// What the run did by its workflow, else by mlpstorage's word.
    pub fn declared_kind(&self) -> Kind {
        let said = |key: &str| {
            self.metadata()
                .and_then(|m| at(m, key))
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_lowercase()
        };
        if said("command").contains("datasize") {
            return Kind::TrainingDatasize;
        }
        if self.parameter("workflow").is_some() {
            if self.flag("workflow.train") {
                return Kind::TrainingRun;
            }
            if self.flag("workflow.generate_data") {
                return Kind::TrainingDatagen;
            }
            if self.flag("workflow.checkpoint") {
                return Kind::Checkpointing;
            }
        }
        match (said("benchmark_type").as_str(), said("command").as_str()) {
            ("training", "datagen") => Kind::TrainingDatagen,
            ("training", command) if command.starts_with("run") => Kind::TrainingRun,
            ("checkpointing", _) => Kind::Checkpointing,
            _ => Kind::Unknown,
        }
    }

    /// Ranks.
    pub fn accelerators(&self) -> Option<u64> {
        self.summary("num_accelerators")?.as_u64()
    }

    /// Hosts.
    pub fn hosts(&self) -> Option<u64> {
        self.summary("num_hosts")?.as_u64()
    }

    /// Memory of all hosts, GiB: the sum, which is right also where DLIO fills the wrong places of its list.
    pub fn memory_gib(&self) -> Option<f64> {
        let list = self.summary("host_memory_GB")?.as_array()?;
        list.iter().map(Value::as_f64).sum()
    }

    /// When the run started.
    pub fn start(&self) -> Option<NaiveDateTime> {
        clock(self.summary("start")?.as_str()?)
    }

    /// When the run ended.
    pub fn end(&self) -> Option<NaiveDateTime> {
        let text = self.summary("end").or_else(|| self.summary("end_time"))?;
        clock(text.as_str()?)
    }

    /// When the run began: the time of the folder's name, else that of `summary.json`.
    pub fn began(&self) -> Option<NaiveDateTime> {
        self.timestamp().or_else(|| self.start())
    }

    /// Seconds from start to end.
    pub fn duration_s(&self) -> Option<f64> {
        let micros = (self.end()? - self.start()?).num_microseconds()?;
        Some(micros as f64 / 1e6)
    }

    /// True where dlio-rs made the run: its `report.json` says with which version.
    pub fn is_ours(&self) -> bool {
        let report = self.report.value();
        report.is_some_and(|r| {
            at(r, "schema_version").is_some() && at(r, "provenance.version").is_some()
        })
    }
}

/// `YYYYMMDD_HHMMSS`
pub fn timestamp(name: &str) -> Option<NaiveDateTime> {
    let shape = name.len() == 15
        && name
            .bytes()
            .enumerate()
            .all(|(i, b)| (i == 8) == (b == b'_'));
    shape
        .then(|| NaiveDateTime::parse_from_str(name, "%Y%m%d_%H%M%S").ok())
        .flatten()
}

/// A time of DLIO's files: local, without a zone.
fn clock(text: &str) -> Option<NaiveDateTime> {
    NaiveDateTime::parse_from_str(text, "%Y-%m-%dT%H:%M:%S%.f").ok()
}

/// mlpstorage's name of a model: `llama_8b` is `llama3-8b`.
pub fn mlpstorage_model(name: &str) -> String {
    match name.strip_prefix("llama_") {
        Some(size) => format!("llama3-{}", size.replace('_', "-")),
        None => name.to_owned(),
    }
}

/// What follows the first `_` of a workload's name, where it is an accelerator: `h100` of `unet3d_h100`.
pub fn accelerator_of(name: &str) -> Option<String> {
    let word = name.split_once('_')?.1;
    ["h100", "a100", "v100", "b200", "mi355"]
        .contains(&word)
        .then(|| word.to_owned())
}

fn names(folder: &Path) -> Option<BTreeSet<String>> {
    let entries = fs::read_dir(folder).ok()?;
    Some(
        entries
            .filter_map(|entry| {
                let entry = entry.ok()?;
                let is_file = entry.path().is_file();
                is_file.then(|| entry.file_name().to_string_lossy().into_owned())
            })
            .collect(),
    )
}
