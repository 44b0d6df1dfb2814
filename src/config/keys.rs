//! The tree against the known keys: unknown ones are named, text becomes what its key wants.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::Workload;
use super::error::ConfigError;
use super::load::Origin;
use super::source::nearest;
use super::tree::{SECRET_KEYS, as_text};

/// Keys whose values are lists or maps of their own.
pub(super) const LEAVES: [&str; 4] = [
    "train.computation_time",
    "evaluation.eval_time",
    "reader.preprocess_time",
    "dataset.parquet.columns",
];

pub(super) fn check_keys(
    tree: &Value,
    schema: &serde_json::Value,
    origins: &BTreeMap<String, Origin>,
    allow: bool,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let mut known = Vec::new();
    collect_keys(schema, "", &mut known);
    let mut unknown = Vec::new();
    find_unknown(tree, schema, "", &mut unknown);
    let mut messages: Vec<_> = unknown
        .into_iter()
        .map(|key| {
            let last = key.rsplit('.').next().unwrap_or(&key);
            let folder = key.rsplit_once('.').map_or("", |(folder, _)| folder);
            let near: Vec<_> = known
                .iter()
                .filter(|k| k.rsplit_once('.').map_or("", |(f, _)| f) == folder)
                .collect();
            // A key may stand in the wrong section: then the full name is compared.
            let in_section = nearest(last, near.iter().map(|k| k.rsplit('.').next().unwrap_or(k)));
            let suggestion = if near.is_empty() || strsim::jaro_winkler(last, &in_section) < 0.75 {
                known
                    .iter()
                    .max_by(|a, b| {
                        let score =
                            |k: &str| strsim::jaro_winkler(last, k.rsplit('.').next().unwrap_or(k));
                        score(a).total_cmp(&score(b))
                    })
                    .cloned()
                    .unwrap_or_default()
            } else if folder.is_empty() {
                in_section
            } else {
                format!("{folder}.{in_section}")
            };
            let place = origins
                .get(&key)
                .map_or_else(String::new, |o| format!("{o}: "));
            format!("{place}unknown key {key}; the nearest known name is {suggestion}")
        })
        .collect();
    if messages.is_empty() || allow {
        warnings.append(&mut messages);
        return Ok(());
    }
    Err(ConfigError::UnknownKeys(messages))
}

fn collect_keys(schema: &serde_json::Value, path: &str, out: &mut Vec<String>) {
    let Some(map) = schema.as_object() else {
        return;
    };
    for (key, value) in map {
        let at = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        out.push(at.clone());
        if !LEAVES.contains(&at.as_str()) {
            collect_keys(value, &at, out);
        }
    }
}

fn find_unknown(tree: &Value, schema: &serde_json::Value, path: &str, out: &mut Vec<String>) {
    let (Some(map), Some(known)) = (tree.as_mapping(), schema.as_object()) else {
        return;
    };
    for (key, value) in map {
        let key = as_text(key);
        let at = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        match known.get(&key) {
            None => out.push(at),
            Some(_) if LEAVES.contains(&at.as_str()) => {}
            Some(below) => find_unknown(value, below, &at, out),
        }
    }
}

/// Brings values to the types of their fields where the field leaves no doubt: `4.0` for a count, `True` in quotes for
/// a flag, a number for a name, DLIO's `off` and `on` for a shuffle, one word for a list of words.
pub(super) fn coerce(
    tree: &mut Value,
    schema: &serde_json::Value,
    path: &str,
    warnings: &mut Vec<String>,
) {
    use serde_json::Value as Json;
    if LEAVES.contains(&path) {
        return;
    }
    if let (Value::Mapping(map), Json::Object(known)) = (&mut *tree, schema) {
        // A null section or key is an absent one.
        map.retain(|_, value| !value.is_null());
        for (key, value) in map.iter_mut() {
            let key = as_text(key);
            let at = if path.is_empty() {
                key.clone()
            } else {
                format!("{path}.{key}")
            };
            if let Some(below) = known.get(&key) {
                coerce(value, below, &at, warnings);
            }
        }
        return;
    }
    if path == "reader.file_shuffle" || path == "reader.sample_shuffle" {
        let word = match &*tree {
            Value::Bool(true) => "seed".to_string(),
            Value::Bool(false) => "off".to_string(),
            other => as_text(other).to_ascii_lowercase(),
        };
        if word == "off" && path == "reader.file_shuffle" {
            warnings.push("reader.file_shuffle=off is off here; DLIO takes any explicit value, also off, for shuffling".into());
        }
        *tree = Value::String(if word == "false" { "off".into() } else { word });
        return;
    }
    if path == "profiling.iostat_devices"
        && let Value::String(word) = &*tree
    {
        *tree = Value::Sequence(vec![Value::String(word.clone())]);
        return;
    }
    let is_flag = matches!(schema, Json::Bool(_)) || FLAGS.contains(&path);
    let is_name = matches!(schema, Json::String(_)) || NAMES.contains(&path);
    match &*tree {
        Value::String(text) if is_flag => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => *tree = Value::Bool(true),
            "false" | "0" | "no" | "off" => *tree = Value::Bool(false),
            _ => {}
        },
        Value::Number(n) if is_flag && (n.as_u64() == Some(0) || n.as_u64() == Some(1)) => {
            *tree = Value::Bool(n.as_u64() == Some(1));
        }
        Value::Bool(on) if path == "reader.verify_content" => {
            *tree = Value::String(if *on { "full" } else { "off" }.into());
        }
        Value::Bool(false)
            if path == "dataset.compression" || path == "dataset.parquet.compression" =>
        {
            *tree = Value::String("none".into())
        }
        Value::Number(_) | Value::Bool(_) if is_name => *tree = Value::String(as_text(tree)),
        Value::Number(n) if schema.is_i64() || schema.is_u64() || schema.is_null() => {
            if let Some(float) = n.as_f64()
                && n.is_f64()
                && float.fract() == 0.0
                && float.abs() < 9e15
            {
                *tree = Value::from(float as i64);
            }
        }
        _ => {}
    }
}

/// Optional flags and names, whose default does not show their type.
const FLAGS: [&str; 10] = [
    "workflow.debug",
    "storage.storage_options.verify",
    "storage.storage_options.s3_force_path_style",
    "storage.storage_options.secure",
    "storage.storage_options.use_full_object_uri",
    "storage.storage_options.prefetch",
    "storage.storage_options.stagger_workers",
    "storage.storage_options.simulate_io",
    "dataset.skip_listing",
    "dataset.keep_files",
];
const NAMES: [&str; 18] = [
    "model.type",
    "output.folder",
    "storage.storage_options.access_key_id",
    "storage.storage_options.secret_access_key",
    "storage.storage_options.region",
    "storage.storage_options.session_token",
    "storage.storage_options.account_name",
    "storage.storage_options.account_key",
    "storage.storage_options.sas_token",
    "storage.storage_options.connection_string",
    "storage.storage_options.s3_profile",
    "storage.storage_options.proxy",
    "storage.storage_options.ca_bundle",
    "storage.storage_options.checksum",
    "dataset.data_gen_method",
    "dataset.parquet.partition_by",
    "dataset.shared",
    "reader.cpus",
];

pub(super) fn typed(
    tree: &Value,
    origins: &BTreeMap<String, Origin>,
) -> Result<Workload, ConfigError> {
    serde_path_to_error::deserialize(tree).map_err(|e| {
        let path = e.path().to_string();
        let place = origins
            .get(&path)
            .or_else(|| {
                path.rsplit_once('.')
                    .and_then(|(folder, _)| origins.get(folder))
            })
            .map_or_else(|| "configuration".into(), Origin::to_string);
        let is_secret = SECRET_KEYS.iter().any(|secret| path.ends_with(secret));
        let what = if is_secret {
            "a text is expected".into()
        } else {
            e.inner().to_string()
        };
        ConfigError::Type {
            place,
            key: path,
            what,
        }
    })
}
