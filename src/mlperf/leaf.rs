//! One run's folder, read by its files: dlio-rs's, DLIO's or mlpstorage's.
//!
//! Nothing here fails: what is absent or broken is kept as such, for the rules to name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use chrono::NaiveDateTime;
use serde_json::Value;

use super::editions::is_accelerator;
use super::foreign::{Config, Document, Loose, Metadata, Parameters, Summary};
use super::own::OwnReport;
use crate::util::text::is_digits;

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    TrainingRun,
    TrainingDatagen,
    /// mlpstorage's calculation of a dataset's size.
    TrainingDatasize,
    Checkpointing,
    Unknown,
}

/// A run's folder.
#[derive(Debug, Clone, Default)]
pub struct Leaf {
    pub path: PathBuf,
    pub(crate) files: BTreeSet<String>,
    pub(crate) config_folder: Option<PathBuf>,
    pub(crate) summary: Document<Summary>,
    /// `dlio_config/config.yaml`.
    pub(crate) config: Document<Config>,
    /// `dlio_config/overrides.yaml`.
    pub(crate) overrides: Document<Vec<String>>,
    /// Every `*_metadata.json` (mlpstorage writes one), by name.
    pub(crate) metadata: Vec<(String, Document<Metadata>)>,
    pub(crate) report: Document<OwnReport>,
    /// What ran, as far as it is looked at.
    pub(crate) parameters: Parameters,
}

impl Leaf {
    /// Reads the folder; a folder that cannot be listed has no files.
    pub fn read(path: &Path) -> Leaf {
        let files = names(path).unwrap_or_default();
        let folder = config_folder(path);
        let metadata = files
            .iter()
            .filter(|name| name.ends_with("_metadata.json"))
            .map(|name| (name.clone(), Document::json(&path.join(name))))
            .collect();
        let mut leaf = Leaf {
            path: path.to_owned(),
            summary: Document::json(&path.join("summary.json")),
            config: in_folder(folder.as_deref(), "config.yaml"),
            overrides: in_folder(folder.as_deref(), "overrides.yaml"),
            report: Document::json(&path.join("report.json")),
            config_folder: folder,
            metadata,
            files,
            parameters: Parameters::default(),
        };
        leaf.parameters = leaf.workload().map(Parameters::of).unwrap_or_default();
        leaf
    }

    /// True for a folder that holds a run's files: DLIO's, or mlpstorage's metadata.
    pub fn is_run(path: &Path) -> bool {
        let Some(files) = names(path) else {
            return false;
        };
        let of_rank = |name: &str, end: &str| name.strip_suffix(end).is_some_and(is_digits);
        let of_dlio = |name: &String| {
            name == "summary.json"
                || of_rank(name, "_output.json")
                || of_rank(name, "_per_epoch_stats.json")
        };
        let of_mlpstorage = |name: &String| {
            let is_of_a_run = |m: &Metadata| m.benchmark_type.is_set();
            let metadata = || Document::json(&path.join(name));
            name.ends_with("_metadata.json") && metadata().value().is_some_and(is_of_a_run)
        };
        let report = || Document::json(&path.join("report.json"));
        files.contains("dlio.log")
            || path.join("dlio_config").is_dir()
            || files
                .iter()
                .any(|name| of_dlio(name) || of_mlpstorage(name))
            || report().value().is_some_and(OwnReport::is_ours)
    }

    /// The folder's own name, `YYYYMMDD_HHMMSS` where mlpstorage made it.
    pub(crate) fn name(&self) -> String {
        let name = self.path.file_name().unwrap_or_default();
        name.to_string_lossy().into_owned()
    }

    /// The folder without links, where it can be found.
    pub(crate) fn real_path(&self) -> PathBuf {
        self.path.canonicalize().unwrap_or(self.path.clone())
    }

    /// mlpstorage's metadata, where there is exactly one file of it.
    pub(crate) fn metadata(&self) -> Option<&Metadata> {
        match self.metadata.as_slice() {
            [(_, document)] => document.value(),
            _ => None,
        }
    }

    /// A metric of `summary.json`: unset where it has none.
    pub(crate) fn metric(&self, key: &str) -> &Loose {
        static UNSET: Loose = Loose(Value::Null);
        let metrics = self.summary.value().and_then(|s| s.metric.as_ref());
        metrics.and_then(|m| m.get(key)).unwrap_or(&UNSET)
    }

    /// The whole workload that ran: DLIO's `config.yaml`, else the parameters of mlpstorage's metadata.
    pub(crate) fn workload(&self) -> Option<&Value> {
        let ran = self.config.value().map(|c| &c.workload);
        ran.filter(|w| !w.is_null())
            .or_else(|| Some(&self.metadata()?.parameters))
            .filter(|w| !w.is_null())
    }

    pub(crate) fn override_words(&self) -> &[String] {
        self.overrides.value().map_or(&[], Vec::as_slice)
    }

    /// `workload=NAME` of the overrides.
    pub(crate) fn workload_name(&self) -> Option<&str> {
        let words = self.override_words().iter();
        let mut names =
            words.filter_map(|word| word.trim_start_matches('+').strip_prefix("workload="));
        names.next()
    }

    /// The emulated accelerator: that of the workload's name ([`accelerator_of`]), else mlpstorage's word.
    pub(crate) fn accelerator(&self) -> Option<String> {
        let named = self.workload_name().and_then(accelerator_of);
        named.or_else(|| {
            let metadata = self.metadata()?;
            let said = [&metadata.accelerator, &metadata.args.accelerator_type];
            said.into_iter().find_map(Loose::text).map(str::to_owned)
        })
    }

    /// mlpstorage's name of the model: `unet3d`, `llama3-8b`.
    pub(crate) fn model(&self) -> Option<String> {
        let said = self.parameters.model.name.text();
        let name = said.or_else(|| self.metadata()?.model.text())?;
        Some(mlpstorage_model(name))
    }

    /// What the run did: as declared, else what its metrics speak of.
    pub(crate) fn kind(&self) -> Kind {
        let declared = self.declared_kind();
        if declared != Kind::Unknown {
            return declared;
        }
        let metrics = self.summary.value().and_then(|s| s.metric.as_ref());
        let has =
            |prefix: &str| metrics.is_some_and(|m| m.keys().any(|key| key.starts_with(prefix)));
        if has("train_") {
            Kind::TrainingRun
        } else if has("save_checkpoint") || has("load_checkpoint") {
            Kind::Checkpointing
        } else {
            Kind::Unknown
        }
    }

    /// What the run did by its workflow, else by mlpstorage's word.
    pub(crate) fn declared_kind(&self) -> Kind {
        let said = |of: fn(&Metadata) -> &Loose| {
            let word = self.metadata().and_then(|m| of(m).text());
            word.unwrap_or_default().to_lowercase()
        };
        let (benchmark, command) = (said(|m| &m.benchmark_type), said(|m| &m.command));
        if command.contains("datasize") {
            return Kind::TrainingDatasize;
        }
        let workflow = &self.parameters.workflow;
        if workflow.train.flag() {
            Kind::TrainingRun
        } else if workflow.generate_data.flag() {
            Kind::TrainingDatagen
        } else if workflow.checkpoint.flag() || benchmark == "checkpointing" {
            Kind::Checkpointing
        } else if benchmark == "training" && command == "datagen" {
            Kind::TrainingDatagen
        } else if benchmark == "training" && command.starts_with("run") {
            Kind::TrainingRun
        } else {
            Kind::Unknown
        }
    }

    /// True for a run of one of mlpstorage's benchmarks that have nothing to do with DLIO.
    pub(crate) fn is_of_another_benchmark(&self) -> bool {
        let word = self.metadata().and_then(|m| m.benchmark_type.text());
        word.is_some_and(|word| !["training", "checkpointing"].contains(&word))
    }

    pub(crate) fn accelerators(&self) -> Option<u64> {
        self.summary.value()?.num_accelerators.whole()
    }

    pub(crate) fn hosts(&self) -> Option<u64> {
        self.summary.value()?.num_hosts.whole()
    }

    /// Memory of all hosts, GiB: the sum, which is right also where DLIO fills the wrong places of its list.
    pub(crate) fn memory_gib(&self) -> Option<f64> {
        Some(self.summary.value()?.host_memory_gb.numbers()?.iter().sum())
    }

    pub(crate) fn start(&self) -> Option<NaiveDateTime> {
        self.summary.value()?.start.time()
    }

    pub(crate) fn end(&self) -> Option<NaiveDateTime> {
        let summary = self.summary.value()?;
        summary.end.time().or_else(|| summary.end_time.time())
    }

    /// When the run began: the time of the folder's name, else that of `summary.json`.
    pub(crate) fn began(&self) -> Option<NaiveDateTime> {
        timestamp(&self.name()).or_else(|| self.start())
    }

    pub(crate) fn duration_s(&self) -> Option<f64> {
        Some((self.end()? - self.start()?).as_seconds_f64())
    }

    /// True where dlio-rs made the run.
    pub(crate) fn is_ours(&self) -> bool {
        self.report.value().is_some_and(OwnReport::is_ours)
    }
}

/// Runs of DLIO by hand have hydra's folder under another name.
fn config_folder(path: &Path) -> Option<PathBuf> {
    let folders = ["dlio_config", ".hydra_config", ".hydra"].map(|name| path.join(name));
    folders.into_iter().find(|folder| folder.is_dir())
}

fn in_folder<T: serde::de::DeserializeOwned>(folder: Option<&Path>, name: &str) -> Document<T> {
    folder.map_or(Document::Absent, |folder| {
        Document::yaml(&folder.join(name))
    })
}

/// `YYYYMMDD_HHMMSS`
fn timestamp(name: &str) -> Option<NaiveDateTime> {
    let mut bytes = name.bytes().enumerate();
    let is_one = name.len() == 15 && bytes.all(|(i, b)| (i == 8) == (b == b'_'));
    NaiveDateTime::parse_from_str(name, "%Y%m%d_%H%M%S")
        .ok()
        .filter(|_| is_one)
}

/// mlpstorage's name of a model: `llama_8b` is `llama3-8b`.
pub(crate) fn mlpstorage_model(name: &str) -> String {
    match name.strip_prefix("llama_") {
        Some(size) => format!("llama3-{}", size.replace('_', "-")),
        None => name.to_owned(),
    }
}

/// What follows the first `_` of a workload's name, where it is an accelerator: `h100` of `unet3d_h100`.
pub(crate) fn accelerator_of(name: &str) -> Option<String> {
    let word = name.split_once('_')?.1;
    is_accelerator(word).then(|| word.to_owned())
}

fn names(folder: &Path) -> Option<BTreeSet<String>> {
    let entries = fs::read_dir(folder).ok()?.flatten();
    let files = entries.filter(|entry| entry.path().is_file());
    let names = files.map(|entry| entry.file_name().to_string_lossy().into_owned());
    Some(names.collect())
}
