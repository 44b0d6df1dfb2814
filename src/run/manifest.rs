//! The manifest of a dataset: what its files are made of.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::wire;
use crate::config::{SizeLaw, Workload};

/// Name of the manifest in the data folder.
pub const MANIFEST: &str = ".dlio-rs-manifest.json";

/// More than any manifest has: bytes of one that are read.
pub(super) const MANIFEST_LIMIT: usize = 1 << 20;

/// What a dataset generated here is made of. Written last, so its presence means completeness.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this file's layout.
    pub schema: u32,
    pub dlio_rs: String,
    pub format: String,
    pub num_files_train: u64,
    pub num_files_eval: u64,
    pub num_samples_per_file: u64,
    pub record_length_bytes: f64,
    pub record_length_bytes_stdev: f64,
    pub record_dims: Vec<u64>,
    /// numpy dtype.
    pub record_element_type: String,
    pub num_subfolders_train: u64,
    pub num_subfolders_eval: u64,
    /// First part of file names.
    pub file_prefix: String,
    pub fill_seed: u64,
    /// How sizes of files are drawn.
    pub size_law: SizeLaw,
    /// Ranks that generated it (they change sizes only with `fork`).
    pub ranks: u64,
    /// Keys of `dataset` that only the format understands, such as compression; absent in datasets of version 0.1.
    #[serde(default)]
    pub layout: BTreeMap<String, serde_json::Value>,
}

/// The layout of manifests that this version writes, and the only one that it reads.
const SCHEMA: u32 = 1;

impl Manifest {
    /// Errors: no manifest, or one of another layout.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, String> {
        const REMEDY: &str =
            "remedy: delete it if the dataset is complete, or generate the dataset again";
        let value: serde_json::Value =
            serde_json::from_slice(bytes).map_err(|e| format!("{e}\n  {REMEDY}"))?;
        match value["schema"].as_u64() {
            Some(schema) if schema == u64::from(SCHEMA) => {}
            Some(other) => {
                return Err(format!(
                    "its schema is {other} and this version reads schema {SCHEMA} (written by dlio-rs {})\n  remedy: read the dataset with the version that wrote it, or generate it again into another folder",
                    value["dlio_rs"].as_str().unwrap_or("of an unknown version")
                ));
            }
            None => return Err(format!("it has no number `schema`\n  {REMEDY}")),
        }
        serde_json::from_value(value).map_err(|e| format!("{e}\n  {REMEDY}"))
    }

    /// What `workload` would make of so many training and evaluation files.
    pub(super) fn of(workload: &Workload, train: u64, valid: u64, ranks: u64) -> Self {
        let d = &workload.dataset;
        Manifest {
            schema: SCHEMA,
            dlio_rs: env!("CARGO_PKG_VERSION").into(),
            format: d.format.word().into(),
            num_files_train: train,
            num_files_eval: valid,
            num_samples_per_file: d.num_samples_per_file,
            record_length_bytes: d.record_length_bytes,
            record_length_bytes_stdev: d.record_length_bytes_stdev,
            record_dims: d.record_dims.clone(),
            record_element_type: d.record_element_type.clone(),
            num_subfolders_train: d.num_subfolders_train,
            num_subfolders_eval: d.num_subfolders_eval,
            file_prefix: d.file_prefix.clone(),
            fill_seed: d.fill_seed,
            size_law: d.size_law,
            ranks,
            layout: layout_of(workload),
        }
    }

    /// Keys whose values differ, as `key: there != here`. A reader may use fewer files than there are.
    pub(super) fn differences(&self, wanted: &Manifest, purpose: Purpose) -> Vec<String> {
        let reads_only = purpose != Purpose::Generate;
        let (Ok(there), Ok(here)) = (serde_json::to_value(self), serde_json::to_value(wanted))
        else {
            return vec!["manifest: cannot be compared".into()];
        };
        let Some(there) = there.as_object() else {
            return Vec::new();
        };
        there
            .iter()
            .filter(|(key, value)| match key.as_str() {
                "dlio_rs" | "schema" => false,
                "ranks" => wanted.size_law == SizeLaw::Fork && here[key.as_str()] != **value,
                // What is inside the files matters to who writes them, not to who reads them.
                // So are compression and the like: metadata tells a reader what it needs, unless it makes the same bytes
                // again to compare them. Datasets of version 0.1 say nothing of it.
                "layout" => {
                    purpose != Purpose::Read
                        && !self.layout.is_empty()
                        && here[key.as_str()] != **value
                }
                "fill_seed" => !reads_only && here[key.as_str()] != **value,
                "num_files_train" | "num_files_eval" if reads_only => {
                    value.as_u64().unwrap_or(0) < here[key.as_str()].as_u64().unwrap_or(0)
                }
                _ => here[key.as_str()] != **value,
            })
            .map(|(key, value)| {
                format!(
                    "dataset.{key}: the dataset has {value}, the workload wants {}",
                    here[key.as_str()]
                )
            })
            .collect()
    }
}

/// What a dataset is wanted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Generate,
    Read,
    /// Reading, and making the same bytes again.
    Compare,
}

/// The keys of a workload's format that change its files.
fn layout_of(workload: &Workload) -> BTreeMap<String, serde_json::Value> {
    let d = &workload.dataset;
    fn json(value: &impl Serialize) -> serde_json::Value {
        serde_json::to_value(value).expect("plain data becomes JSON")
    }
    let mut layout = BTreeMap::from([
        ("compression".to_string(), json(&d.compression)),
        ("compression_level".to_string(), json(&d.compression_level)),
    ]);
    // Datasets that nothing shrinks say nothing of it, as before there were these keys.
    for (key, ratio) in [
        ("compress_ratio", d.compress_ratio),
        ("dedup_ratio", d.dedup_ratio),
    ] {
        if ratio != 1.0 {
            layout.insert(key.into(), json(&ratio));
        }
    }
    if let Some(format) = wire::format_row(workload).format {
        let keys = format.keys(&wire::format_options(workload));
        layout.extend(keys.into_iter().map(|key| (key.name.into(), key.value)));
    }
    layout
}
