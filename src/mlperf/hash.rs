//! The comparability hash of MLPerf Storage: runs whose hashes are equal did the same work.
//!
//! `core-config-v1`: the first 16 hex digits of SHA-256 over the canonical JSON of those parameters that decide
//! what is measured. What merely says where the data lies, or how many files there are, is left out.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::foreign::Parameters;
use super::leaf::{Kind, Leaf};
use crate::report::provenance::UNKNOWN;
use crate::report::python;

/// Name of the algorithm, as outputs give it.
pub const ALGORITHM: &str = "core-config-v1";

/// Which parameters enter the hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum AllowList {
    /// Of training and of the generation for it.
    #[serde(rename = "training@1")]
    Training,
    /// Of checkpoints alone.
    #[serde(rename = "checkpointing@1")]
    Checkpointing,
}

/// Keys of training outside of `model`, `workflow` and `checkpoint`, which enter whole.
pub const TRAINING: [&str; 19] = [
    "framework",
    "metric.au",
    "dataset.format",
    "dataset.num_samples_per_file",
    "dataset.record_length_bytes",
    "dataset.record_length_bytes_stdev",
    "dataset.record_length_bytes_resize",
    "dataset.record_length",
    "dataset.record_length_stdev",
    "dataset.record_length_resize",
    "reader.data_loader",
    "reader.batch_size",
    "reader.file_shuffle",
    "reader.sample_shuffle",
    "reader.shuffle_size",
    "train.epochs",
    "train.computation_time",
    "train.computation_time_stdev",
    "train.total_training_steps",
];

impl AllowList {
    /// The list that a workload's `workflow` asks for; None where it names no phase.
    pub fn of_workflow(parameters: &Value) -> Option<Self> {
        let workflow = Parameters::of(parameters).workflow;
        let trains = workflow.train.flag() || workflow.generate_data.flag();
        let list = trains.then_some(AllowList::Training);
        list.or(workflow
            .checkpoint
            .flag()
            .then_some(AllowList::Checkpointing))
    }

    /// The parameters that enter the hash, with their canonical values.
    pub fn entries(self, parameters: &Value) -> BTreeMap<String, String> {
        let mut all = flatten(parameters);
        all.retain(|key, _| self.holds(key));
        all.into_iter()
            .map(|(key, value)| (key, canonical(&value)))
            .collect()
    }

    fn holds(self, key: &str) -> bool {
        let is_whole = ["model.", "workflow.", "checkpoint."]
            .iter()
            .any(|section| key.starts_with(section));
        let is_counted = is_whole && key != "checkpoint.checkpoint_folder";
        match self {
            AllowList::Training => is_counted || TRAINING.contains(&key),
            AllowList::Checkpointing => {
                let counts = ["num_checkpoints_write", "num_checkpoints_read"];
                let is_count = |key| counts.contains(&key);
                let is_left_out = key.strip_prefix("checkpoint.").is_some_and(is_count);
                (is_counted && !is_left_out) || key == "framework"
            }
        }
    }
}

/// The hash and what it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CoreConfig {
    pub algorithm: String,
    pub allowlist: AllowList,
    /// 16 hex digits, or the word `unknown` where no parameter entered it.
    pub hash: String,
    /// Dotted names of the parameters that entered it, sorted.
    pub keys: Vec<String>,
}

impl CoreConfig {
    /// Of a whole workload: the content of `workload` in DLIO's `config.yaml`, or mlpstorage's `parameters`.
    pub fn of(parameters: &Value, list: AllowList) -> Self {
        let entered = list.entries(parameters);
        let members = entered
            .iter()
            .map(|(key, value)| format!("{}:{value}", python::to_string(key)));
        let digest = Sha256::digest(format!("{{{}}}", joined(members)));
        let digits = match entered.is_empty() {
            true => UNKNOWN.into(),
            false => digest[..8].iter().map(|b| format!("{b:02x}")).collect(),
        };
        CoreConfig {
            algorithm: ALGORITHM.into(),
            allowlist: list,
            hash: digits,
            keys: entered.into_keys().collect(),
        }
    }

    /// Of a composed workload; None where its workflow names no phase.
    pub fn of_workload(parameters: &Value) -> Option<Self> {
        Some(Self::of(parameters, AllowList::of_workflow(parameters)?))
    }

    /// Of a run: mlpstorage's parameters where they were kept, else those of DLIO's `config.yaml`. None where
    /// there are none, or where nothing says what the run did.
    pub fn of_leaf(leaf: &Leaf) -> Option<Self> {
        let kept = leaf.metadata().map(|m| &m.parameters);
        let parameters = kept.filter(|p| !p.is_null()).or_else(|| leaf.workload())?;
        let list = match leaf.kind() {
            Kind::Checkpointing => AllowList::Checkpointing,
            Kind::Unknown => return None,
            _ => AllowList::Training,
        };
        Some(Self::of(parameters, list))
    }
}

/// What the comparability hash of a run is made of, of what ran: equal hashes are equal entries.
pub(crate) fn work(leaf: &Leaf) -> BTreeMap<String, String> {
    let of = |workload| Some(AllowList::of_workflow(workload)?.entries(workload));
    leaf.workload().and_then(of).unwrap_or_default()
}

/// Keys of which two of these have different values, or one has none.
pub(crate) fn keys_that_differ<'w>(
    a: &'w BTreeMap<String, String>,
    b: &'w BTreeMap<String, String>,
) -> Vec<&'w str> {
    let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    let differ = keys.into_iter().filter(|key| a.get(*key) != b.get(*key));
    differ.map(String::as_str).collect()
}

/// Every value of a tree under its dotted key; lists are values. Empty maps leave nothing.
pub fn flatten(tree: &Value) -> BTreeMap<String, Value> {
    fn walk(prefix: &str, value: &Value, out: &mut BTreeMap<String, Value>) {
        match value {
            Value::Object(map) => {
                for (key, value) in map {
                    let key = match prefix {
                        "" => key.clone(),
                        _ => format!("{prefix}.{key}"),
                    };
                    walk(&key, value, out);
                }
            }
            other => {
                out.insert(prefix.to_owned(), other.clone());
            }
        }
    }
    let mut out = BTreeMap::new();
    if tree.is_object() {
        walk("", tree, &mut out);
    }
    out
}

/// Dotted keys in which two trees differ, with both values; null where one has none. `1` and `1.0`, `true` and `"True"` are the
/// same. Only keys that `counts` are looked at.
pub fn differing(
    a: &Value,
    b: &Value,
    counts: impl Fn(&str) -> bool,
) -> Vec<(String, Value, Value)> {
    let (mut a, mut b) = (flatten(a), flatten(b));
    let keys: BTreeSet<String> = a.keys().chain(b.keys()).cloned().collect();
    let differing = keys.into_iter().filter_map(|key| {
        let [a, b] = [&mut a, &mut b].map(|of| of.remove(&key).unwrap_or_default());
        let is_other = counts(&key) && canonical(&a) != canonical(&b);
        is_other.then_some((key, a, b))
    });
    differing.collect()
}

/// The JSON text of a normalised value, as Python's `json.dumps` writes it in ASCII without spaces. Texts that read as truth
/// values or numbers become such (overrides in mlpstorage's files are text), and whole floats become integers; what lies
/// in maps within lists stays as it is.
pub fn canonical(value: &Value) -> String {
    json(value, true)
}

fn joined(items: impl Iterator<Item = String>) -> String {
    items.collect::<Vec<_>>().join(",")
}

/// With sorted keys; values as they are where they are not to be normalised.
fn json(value: &Value, normalised: bool) -> String {
    match value {
        Value::String(word) if normalised => scalar(word.trim()),
        Value::Number(number) if number.is_f64() => {
            let text = if normalised { float } else { python::float };
            number.as_f64().map_or_else(|| "null".into(), text)
        }
        Value::Array(list) => format!("[{}]", joined(list.iter().map(|v| json(v, normalised)))),
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            let member =
                |(key, value)| format!("{}:{}", python::to_string(key), json(value, false));
            format!("{{{}}}", joined(sorted.into_iter().map(member)))
        }
        other => python::to_string(other),
    }
}

fn scalar(word: &str) -> String {
    if word.eq_ignore_ascii_case("true") || word.eq_ignore_ascii_case("false") {
        return word.to_ascii_lowercase();
    }
    // Python allows one underscore between two digits.
    let bytes = word.as_bytes();
    let is_digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
    let grouped = word
        .bytes()
        .enumerate()
        .all(|(i, b)| b != b'_' || (i > 0 && is_digit(i - 1) && is_digit(i + 1)));
    if !grouped {
        return python::to_string(word);
    }
    let number = word.replace('_', "");
    let digits = number.strip_prefix(['+', '-']).unwrap_or(&number);
    if !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()) {
        let significant = digits.trim_start_matches('0');
        return match (number.starts_with('-'), significant) {
            (_, "") => "0".into(),
            (true, significant) => format!("-{significant}"),
            (false, significant) => significant.to_owned(),
        };
    }
    match number.parse::<f64>() {
        Ok(f) if f.is_nan() => "NaN".into(),
        Ok(f) if f.is_infinite() => if f > 0.0 { "Infinity" } else { "-Infinity" }.into(),
        Ok(f) => float(f),
        Err(_) => python::to_string(word),
    }
}

fn float(number: f64) -> String {
    if number == 0.0 {
        "0".into()
    } else if number.fract() == 0.0 {
        format!("{number:.0}")
    } else {
        python::float(number)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn builtin(name: &str) -> Value {
        let yaml = crate::config::builtin(name).unwrap();
        serde_json::to_value(crate::config::yaml::parse(yaml).unwrap().0).unwrap()
    }

    fn hash(workload: &Value) -> String {
        CoreConfig::of_workload(workload).unwrap().hash
    }

    /// Where the data or checkpoints lie, how much of them there is and who reads does not count.
    #[test]
    fn the_built_in_workloads_have_the_published_hashes() {
        for (name, expected) in [
            ("unet3d_a100", "691cea309c4f2f52"),
            ("unet3d_h100", "0f3dd7a4bf6433a3"),
            ("unet3d_b200", "0d3ad0dec188becd"),
            ("retinanet_b200", "20c73f53486caba0"),
            ("retinanet_mi355", "66c43604eb650987"),
            ("cosmoflow_a100", "b49b896e947a408b"),
            ("cosmoflow_h100", "4b7b36339a2a5b0d"),
            ("resnet50_a100", "4a03838105aa5808"),
            ("resnet50_h100", "03a7be3df904e1e7"),
            ("llama3_8b", "68df04b7240e3fb0"),
            ("llama3_70b", "3c53fe70d64f91d4"),
            ("llama3_405b", "7adcfa87a5c4c8e6"),
            ("llama3_1t", "45fd627ad9dc5f4c"),
        ] {
            let mut w = builtin(name);
            assert_eq!(hash(&w), expected, "{name}");
            if name.starts_with("llama") {
                w["checkpoint"]["checkpoint_folder"] = json!("/elsewhere");
                w["checkpoint"]["num_checkpoints_read"] = json!(0);
            } else {
                w["dataset"]["data_folder"] = json!("anywhere");
                w["dataset"]["num_files_train"] = json!("3");
                w["reader"]["read_threads"] = json!(32);
            }
            assert_eq!(hash(&w), expected, "{name}");
        }
        let mut checkpointed = builtin("unet3d_b200");
        checkpointed["workflow"]["checkpoint"] = json!(true);
        assert_eq!(hash(&checkpointed), "f636f5a57473fca2");
        // As text, as overrides are.
        for (name, data, expected) in [
            ("llama3_70b", "8", "c48a92d225d70ce8"),
            ("llama3_405b", "2", "7e9f853cebd52aa6"),
            ("llama3_1t", "2", "0918b2db633242db"),
        ] {
            let mut subset = builtin(name);
            subset["checkpoint"]["mode"] = json!("subset");
            subset["model"]["parallelism"]["data"] = json!(data);
            assert_eq!(hash(&subset), expected, "{name}");
        }
    }

    #[test]
    fn what_differs_is_named_with_both_values() {
        let a = json!({"x": {"same": 1, "other": 1, "gone": true}, "left": 1, "none": null});
        let b = json!({"x": {"same": "1.0", "other": 2}, "left": 2});
        assert_eq!(
            differing(&a, &b, |key| key != "left"),
            [
                ("x.gone".to_owned(), json!(true), json!(null)),
                ("x.other".to_owned(), json!(1), json!(2)),
            ]
        );
    }

    #[test]
    fn values_are_normalised() {
        // Right column: json.dumps(canon(value), sort_keys=True, separators=(",", ":")) in Python, where canon tries bool,
        // int(text) and float(text) in turn.
        for (value, expected) in [
            (json!("True"), "true"),
            (json!("FALSE"), "false"),
            (json!("10"), "10"),
            (json!("-007"), "-7"),
            (json!("1e3"), "1000"),
            (json!("0.5"), "0.5"),
            (json!("0.00001"), "1e-05"),
            (json!(5.0), "5"),
            (json!(-0.0), "0"),
            (json!(1e20), "100000000000000000000"),
            (json!("nan"), "NaN"),
            (json!("-inf"), "-Infinity"),
            (json!("1_000"), "1000"),
            (json!("1__0"), "\"1__0\""),
            (json!(" 7 "), "7"),
            (json!(" seed "), "\"seed\""),
            (json!(".5"), "0.5"),
            (json!("seed"), "\"seed\""),
            (json!("é\"\u{7f}"), "\"\\u00e9\\\"\\u007f\""),
            (json!(["1", 2.0, true, null]), "[1,2,true,null]"),
            (json!([{"b": "1", "a": 2.0}]), "[{\"a\":2.0,\"b\":\"1\"}]"),
        ] {
            assert_eq!(canonical(&value), expected, "{value}");
        }
        assert_eq!(
            CoreConfig::of(&json!({}), AllowList::Training).hash,
            "unknown"
        );
    }
}
