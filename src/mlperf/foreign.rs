//! Files of a run's folder that other programs write (DLIO, mlpstorage, hydra), as small typed structs.
//!
//! Nothing here fails on a value of an unexpected type: it is kept as it is ([`Loose`]), a section that is no map counts
//! as empty, and the rules name what they miss.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::Path;

use chrono::NaiveDateTime;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::ratio::Ratio;
use crate::util::json;

/// A file larger than this is none of a run's.
const MAX_BYTES: u64 = 256 << 20;
/// Memory that a JSON file may take: short values take thirty times as much as their text.
const MAX_MEMORY: usize = 2 << 30;

/// A file of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) enum Document<T> {
    #[default]
    Absent,
    Broken(String),
    Read(T),
}

impl<T: DeserializeOwned> Document<T> {
    /// A JSON file that holds a map; Python's `NaN` and infinities are null.
    pub(crate) fn json(path: &Path) -> Self {
        Self::read(path, |text| {
            typed(json::within(without_nan(text).as_bytes(), MAX_MEMORY)?)
        })
    }

    pub(crate) fn yaml(path: &Path) -> Self {
        Self::read(path, |text| {
            let (root, _) = crate::config::yaml::parse(text)
                .map_err(|e| format!("line {} column {}: {}", e.line, e.column, e.wrong.what))?;
            let value = serde_json::to_value(root).map_err(|e| e.to_string())?;
            serde_json::from_value(value).map_err(|e| e.to_string())
        })
    }

    fn read(path: &Path, parse: impl FnOnce(&str) -> Result<T, String>) -> Self {
        match text(path) {
            Ok(None) => Document::Absent,
            Ok(Some(text)) => parse(&text).map_or_else(Document::Broken, Document::Read),
            Err(why) => Document::Broken(why),
        }
    }
}

impl<T> Document<T> {
    /// The content, where it could be read.
    pub(crate) fn value(&self) -> Option<&T> {
        match self {
            Document::Read(value) => Some(value),
            _ => None,
        }
    }

    pub(crate) fn broken(&self) -> Option<&str> {
        match self {
            Document::Broken(why) => Some(why),
            _ => None,
        }
    }
}

/// A struct of a map. Serde takes lists for structs too, which no file of ours means.
fn typed<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    if !value.is_object() {
        return Err(format!("it holds {}; a map is expected", Loose(value)));
    }
    serde_json::from_value(value).map_err(|e| e.to_string())
}

/// The text of a regular file of reasonable size; None where there is none.
///
/// Errors: why it cannot be read. A pipe is not waited for.
pub(crate) fn text(path: &Path) -> Result<Option<String>, String> {
    match fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
        Ok(meta) if !meta.is_file() => return Err("it is no regular file".into()),
        Ok(meta) if meta.len() > MAX_BYTES => {
            return Err(format!(
                "it has {} bytes; no tool writes more than {MAX_BYTES}",
                meta.len()
            ));
        }
        Ok(_) => {}
    }
    let bytes = fs::read(path).map_err(|e| e.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text")?;
    Ok(Some(text))
}

/// The text with `NaN`, `Infinity` and `-Infinity` outside of strings replaced by `null`: Python writes them, JSON has none.
fn without_nan(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        let mut taken = c.len_utf8();
        if in_string && c == '\\' {
            // An escaped character, such as a quote, does not end the string.
            taken += rest[1..].chars().next().map_or(0, char::len_utf8);
        } else if c == '"' {
            in_string = !in_string;
        } else if !in_string {
            let token = ["NaN", "-Infinity", "Infinity"]
                .into_iter()
                .find(|t| rest.starts_with(t));
            if let Some(token) = token {
                out.push_str("null");
                rest = &rest[token.len()..];
                continue;
            }
        }
        out.push_str(&rest[..taken]);
        rest = &rest[taken..];
    }
    out
}

/// A value of whatever type a file has there; null where it has none.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Loose(pub(crate) Value);

impl Loose {
    /// False for null and for what is not there.
    pub(crate) fn is_set(&self) -> bool {
        !self.0.is_null()
    }

    pub(crate) fn text(&self) -> Option<&str> {
        self.0.as_str()
    }

    /// A number, or text that is one: overrides in mlpstorage's files are text.
    pub(crate) fn number(&self) -> Option<f64> {
        match &self.0 {
            Value::String(text) => text.trim().parse().ok(),
            other => other.as_f64(),
        }
    }

    /// The same without a sign, exactly.
    pub(crate) fn ratio(&self) -> Option<Ratio> {
        match &self.0 {
            Value::Number(n) => Ratio::decimal(&n.to_string()),
            Value::String(text) => Ratio::decimal(text),
            _ => None,
        }
    }

    /// A whole number of at least 0.
    pub(crate) fn whole(&self) -> Option<u64> {
        let n = self.ratio().filter(|n| n.is_whole())?;
        u64::try_from(n.floor()).ok()
    }

    /// A truth value, or text that is one.
    pub(crate) fn flag(&self) -> bool {
        match &self.0 {
            Value::Bool(b) => *b,
            Value::String(text) => text.eq_ignore_ascii_case("true"),
            _ => false,
        }
    }

    /// The numbers of a list, None for those that are none; None where it is no list.
    pub(crate) fn list(&self) -> Option<Vec<Option<f64>>> {
        Some(self.0.as_array()?.iter().map(Value::as_f64).collect())
    }

    /// A list that holds numbers alone, and at least one.
    pub(crate) fn numbers(&self) -> Option<Vec<f64>> {
        let all: Option<Vec<f64>> = self.list()?.into_iter().collect();
        all.filter(|list| !list.is_empty())
    }

    /// A time of DLIO's files: local, without a zone.
    pub(crate) fn time(&self) -> Option<NaiveDateTime> {
        NaiveDateTime::parse_from_str(self.text()?, "%Y-%m-%dT%H:%M:%S%.f").ok()
    }
}

/// For messages: `not set`, or the value as JSON, cut.
impl fmt::Display for Loose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.is_set() {
            return f.write_str("not set");
        }
        let text = self.0.to_string();
        match text.char_indices().nth(60) {
            Some((at, _)) => write!(f, "{}...", &text[..at]),
            None => f.write_str(&text),
        }
    }
}

/// A section: what is no map, or no map of the right shape, is empty.
fn section<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(d: D) -> Result<T, D::Error> {
    Ok(typed(Value::deserialize(d)?).unwrap_or_default())
}

/// A list or map whose unfitting members are left out.
fn members<'de, D: Deserializer<'de>, T: DeserializeOwned>(
    d: D,
) -> Result<BTreeMap<String, T>, D::Error> {
    let Value::Object(map) = Value::deserialize(d)? else {
        return Ok(BTreeMap::new());
    };
    let fitting = map
        .into_iter()
        .filter_map(|(key, value)| Some((key, serde_json::from_value(value).ok()?)));
    Ok(fitting.collect())
}

/// A map of a file: keys that are [`Loose`], then those of other types.
macro_rules! map {
    ($(#[$doc:meta])* $name:ident { $($key:ident)* } $($(#[$of:meta])* $field:ident: $type:ty,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(default)]
        pub(crate) struct $name {
            $(pub(crate) $key: Loose,)*
            $($(#[$of])* pub(crate) $field: $type,)*
        }
    };
}

map! {
    /// Those keys of a workload that the rules and figures look at: `workload` of DLIO's `config.yaml`, or `parameters` of
    /// mlpstorage's metadata.
    Parameters { framework }
    #[serde(deserialize_with = "section")] model: Model,
    #[serde(deserialize_with = "section")] workflow: Workflow,
    #[serde(deserialize_with = "section")] dataset: Dataset,
    #[serde(deserialize_with = "section")] reader: Reader,
    #[serde(deserialize_with = "section")] train: Train,
    #[serde(deserialize_with = "section")] checkpoint: Checkpoint,
    #[serde(deserialize_with = "section")] storage: Storage,
    #[serde(deserialize_with = "section")] metric: Metric,
}
map! { Model { name } #[serde(deserialize_with = "section")] parallelism: Parallelism, }
map! { Parallelism { tensor pipeline data } }
map! { Workflow { generate_data train checkpoint } }
map! {
    Dataset { format data_folder num_files_train num_samples_per_file record_length_bytes }
    #[serde(deserialize_with = "section")] parquet: Parquet,
}
map! { Parquet {} columns: Vec<Column>, }
map! { Column { dtype size } }
map! { Reader { batch_size odirect } }
map! { Train { epochs } }
map! { Checkpoint { checkpoint_folder num_checkpoints_write num_checkpoints_read fsync mode } }
map! { Storage { storage_type } }
map! { Metric { au } }

impl Parameters {
    /// Of a whole workload; of what is no map nothing is set.
    pub(crate) fn of(workload: &Value) -> Self {
        typed(workload.clone()).unwrap_or_default()
    }
}

map! {
    /// DLIO's `summary.json`. `metric` is None where it is no map.
    Summary { start end end_time hostname num_accelerators num_hosts host_cpu_count num_files_train num_files_eval epochs }
    #[serde(rename = "host_memory_GB")] host_memory_gb: Loose,
    #[serde(deserialize_with = "metrics")] metric: Option<BTreeMap<String, Loose>>,
}

fn metrics<'de, D: Deserializer<'de>>(d: D) -> Result<Option<BTreeMap<String, Loose>>, D::Error> {
    let value = Value::deserialize(d)?;
    Ok(value
        .is_object()
        .then(|| serde_json::from_value(value).unwrap_or_default()))
}

map! {
    /// mlpstorage's `<type>_<time>_metadata.json`.
    Metadata { benchmark_type model command accelerator invocation_start_time invocation_end_time }
    parameters: Value,
    #[serde(deserialize_with = "section")] args: Args,
}
map! { Args { accelerator_type } }
map! {
    /// DLIO's `config.yaml`.
    Config {} workload: Value,
}

/// DLIO's `<rank>_per_epoch_stats.json`: epochs, in each the blocks and checkpoints by name.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct PerEpochStats {
    #[serde(deserialize_with = "members")]
    pub(crate) epochs: BTreeMap<String, BTreeMap<String, Loose>>,
}

map! {
    /// A checkpoint of [`PerEpochStats`].
    CheckpointStats { duration throughput }
}

impl CheckpointStats {
    /// None for what is no map.
    pub(crate) fn of(entry: &Loose) -> Option<Self> {
        typed(entry.0.clone()).ok()
    }
}

/// DLIO's `<rank>_output.json`: epochs, and other keys, which are left out. Seconds of every step, by block.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Output {
    #[serde(deserialize_with = "members")]
    pub(crate) epochs: BTreeMap<String, EpochTimes>,
}

map! {
    EpochTimes {}
    #[serde(deserialize_with = "members")] load: BTreeMap<String, Vec<f64>>,
    #[serde(deserialize_with = "members")] proc: BTreeMap<String, Vec<f64>>,
    #[serde(deserialize_with = "members")] compute: BTreeMap<String, Vec<f64>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_numbers_that_are_not_json() {
        let text = without_nan(r#"{"a": NaN, "b": [-Infinity, Infinity, 1], "c": "NaN \" NaN é"}"#);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"a": null, "b": [null, null, 1], "c": "NaN \" NaN é"})
        );
    }

    #[test]
    fn a_section_of_another_type_is_empty() {
        let odd = serde_json::json!({"dataset": [1, 2], "reader": 7, "model": {"name": ["x"]}, "workflow": {"train": "True"}});
        let of = Parameters::of(&odd);
        assert_eq!(of.dataset, Dataset::default());
        assert_eq!(of.model.name.to_string(), "[\"x\"]");
        assert!(of.workflow.train.flag());
        assert_eq!(of.reader.batch_size.to_string(), "not set");
    }
}
