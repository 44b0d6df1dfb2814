//! Whether two runs measure the same thing: a run and its template, the runs of a group.

use serde_json::Value;

use super::facts::{Facts, load};
use super::parameters::one_line;
use crate::config::{Source, Workload, builtin};
use crate::mlperf::leaf::Kind;
use crate::mlperf::verdict::{Finding, Standing};

/// Keys of a training run that must be those of its template.
fn is_core_of_training(key: &str) -> bool {
    const KEYS: [&str; 20] = [
        "framework",
        "metric.au",
        "dataset.format",
        "dataset.num_samples_per_file",
        "dataset.record_length_bytes",
        "dataset.record_length_bytes_stdev",
        "dataset.record_length_bytes_resize",
        "reader.data_loader",
        "reader.batch_size",
        "reader.file_shuffle",
        "reader.sample_shuffle",
        "reader.shuffle_size",
        "train.epochs",
        "train.computation_time",
        "train.total_training_steps",
        "output.metric.exclude_start_steps",
        "output.metric.exclude_end_steps",
        // dlio-rs's own: DLIO has one order, and decodes.
        "reader.order",
        "reader.decode",
        "reader.io_depth",
    ];
    KEYS.contains(&key) || key.starts_with("train.computation_time.")
}

/// The same of a run that generates: what the files are.
fn is_core_of_datagen(key: &str) -> bool {
    key.starts_with("dataset.") && is_core_of_training(key)
}

/// The same of a checkpointing run. The tool itself sets `model.parallelism.data` and `checkpoint.mode` for a subset.
fn is_core_of_checkpointing(key: &str) -> bool {
    const KEYS: [&str; 6] = [
        "framework",
        "checkpoint.type",
        "checkpoint.fsync",
        "checkpoint.rank_sync",
        "checkpoint.compression",
        "checkpoint.time_between_checkpoints",
    ];
    KEYS.contains(&key)
        || key.starts_with("model.") && !["model.name", "model.parallelism.data"].contains(&key)
}

/// Keys in which two workloads differ, with both values.
pub fn differences(
    a: &Workload,
    b: &Workload,
    is_core: fn(&str) -> bool,
) -> Vec<(String, String, String)> {
    let flat = |w: &Workload| {
        let mut out = Vec::new();
        flatten(
            &serde_json::to_value(w).unwrap_or_default(),
            String::new(),
            &mut out,
        );
        out
    };
    let (a, b) = (flat(a), flat(b));
    let mut keys: Vec<&String> = a.iter().chain(&b).map(|(key, _)| key).collect();
    keys.sort();
    keys.dedup();
    keys.into_iter()
        .filter(|key| is_core(key))
        .filter_map(|key| {
            let of = |list: &[(String, Value)]| {
                list.iter()
                    .find(|(k, _)| k == key)
                    .map_or_else(|| "not set".into(), |(_, v)| v.to_string())
            };
            let (a, b) = (of(&a), of(&b));
            (a != b).then(|| (key.clone(), a, b))
        })
        .collect()
}

fn flatten(value: &Value, key: String, out: &mut Vec<(String, Value)>) {
    match value {
        Value::Object(map) => {
            for (name, value) in map {
                let key = if key.is_empty() {
                    name.clone()
                } else {
                    format!("{key}.{name}")
                };
                flatten(value, key, out);
            }
        }
        Value::Null => {}
        other => out.push((key, other.clone())),
    }
}

/// Keys of the workload that decide what is measured are those of the built-in template of its name. Overrides are
/// judged by R4 and 4.6.3; what stands in an edited YAML is found here.
pub fn check(facts: &Facts) -> Finding {
    let (rule, name) = ("EDN-01", "templateIsUnchanged");
    let workload = match &facts.typed {
        Ok(workload) => workload,
        Err(_) => return Finding::skip(rule, name, "the workload cannot be read"),
    };
    let named = match facts.kind {
        Kind::Checkpointing => facts.model.as_deref().map(|m| m.replace('-', "_")),
        _ => facts
            .workload_name
            .clone()
            .filter(|name| builtin(name).is_some())
            .or_else(|| {
                let model = facts.model.as_deref()?;
                Some(format!("{model}_{}", facts.accelerator.as_deref()?))
            }),
    };
    let Some(template) = named.filter(|name| builtin(name).is_some()) else {
        return Finding::skip(
            rule,
            name,
            "the workload's name is that of no built-in template of MLPerf Storage",
        );
    };
    let original = match load(Source::Named {
        name: template.clone(),
        config_dir: None,
    }) {
        Ok(original) => original,
        Err(why) => return Finding::skip(rule, name, one_line(&why)),
    };
    let is_core = match facts.kind {
        Kind::Checkpointing => is_core_of_checkpointing,
        Kind::TrainingDatagen => is_core_of_datagen,
        _ => is_core_of_training,
    };
    // Overrides are judged by name.
    let changed: Vec<_> = differences(workload, &original, is_core)
        .into_iter()
        .filter(|(key, ..)| {
            !facts.words.keys.iter().any(|word| {
                // `train.computation_time` is `train.computation_time.mean` too.
                key.strip_prefix(word.key.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        })
        .map(|(key, is, was)| format!("{key} is {is} (template: {was})"))
        .collect();
    if changed.is_empty() {
        return Finding::pass(rule, name, format!("as the template {template}"));
    }
    Finding::fail(
        rule,
        name,
        format!(
            "differs from the template {template}: {}",
            changed.join("; ")
        ),
    )
    .remedy(format!(
        "use the template's values: workload={template} without an edited file"
    ))
    .standing(Standing::Invalid)
}

/// Parameters that must be equal in all runs of a group, flattened; a computed hash can take this function's place.
pub fn comparable(facts: &Facts) -> Vec<(String, String)> {
    const FREE: [&str; 6] = [
        "dataset.data_folder",
        "dataset.num_files_train",
        "dataset.num_files_generated",
        "checkpoint.checkpoint_folder",
        "checkpoint.num_checkpoints_write",
        "checkpoint.num_checkpoints_read",
    ];
    let mut out = Vec::new();
    flatten(&facts.raw, String::new(), &mut out);
    let mut out: Vec<_> = out
        .into_iter()
        .filter(|(key, _)| {
            !FREE.contains(&key.as_str())
                && !key.starts_with("output.")
                && !key.starts_with("storage.")
                && !key.starts_with("workflow.")
        })
        .map(|(key, value)| (key, value.to_string()))
        .collect();
    out.sort();
    out
}
