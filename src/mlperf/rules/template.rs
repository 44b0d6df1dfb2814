//! Whether a run measures what the built-in template of its name does.

use serde_json::Value;

use super::facts::{Facts, load};
use super::parameters::one_line;
use super::tables::{Llm, known_models};
use crate::config::{Source, Workload, builtin};
use crate::mlperf::Edition;
use crate::mlperf::hash::{TRAINING, differing};
use crate::mlperf::leaf::Kind;
use crate::mlperf::verdict::{Finding, Standing};

/// Keys of a training run that must be those of its template: those of the comparability hash, and what else decides
/// what is measured.
fn is_core_of_training(key: &str) -> bool {
    const OTHERS: [&str; 5] = [
        "output.metric.exclude_start_steps",
        "output.metric.exclude_end_steps",
        // dlio-rs's own: DLIO has one order, and decodes.
        "reader.order",
        "reader.decode",
        "reader.io_depth",
    ];
    TRAINING.contains(&key) || OTHERS.contains(&key) || key.starts_with("train.computation_time.")
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
    // Only MLPerf's models: quickstart and bert have templates of other benchmarks.
    let is_known = facts.model.as_deref().is_some_and(|model| {
        Llm::named(model).is_some() || known_models(Edition::V3).contains(&model)
    });
    let Some(template) = named.filter(|name| is_known && builtin(name).is_some()) else {
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
    let json = |w: &Workload| serde_json::to_value(w).unwrap_or_default();
    let text = |value: Value| match value {
        Value::Null => "not set".to_owned(),
        value => value.to_string(),
    };
    // Overrides are judged by name.
    let changed: Vec<_> = differing(&json(workload), &json(&original), is_core)
        .into_iter()
        .filter(|(key, ..)| {
            !facts.words.keys.iter().any(|word| {
                // `train.computation_time` is `train.computation_time.mean` too.
                key.strip_prefix(word.key.as_str())
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            })
        })
        .map(|(key, is, was)| format!("{key} is {} (template: {})", text(is), text(was)))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, LoadRequest};
    use crate::mlperf::rules::facts::Inputs;
    use crate::mlperf::verdict::Verdict;

    #[test]
    fn only_models_of_mlperf_have_templates_of_it() {
        for (name, verdict) in [
            ("quickstart", Verdict::Skip),
            ("bert_v100", Verdict::Skip),
            ("unet3d_h100", Verdict::Pass),
            ("llama3_8b", Verdict::Pass),
        ] {
            let request = LoadRequest {
                source: Source::Named {
                    name: name.into(),
                    config_dir: None,
                },
                words: Vec::new(),
                allow_unknown: false,
                env: Default::default(),
                dotenv: None,
                cwd: ".".into(),
            };
            let loaded = config::load(&request).unwrap();
            let facts = Facts::before(&loaded, &Inputs::default(), Edition::V3);
            let found = check(&facts);
            assert_eq!(found.verdict, verdict, "{name}: {found:?}");
        }
    }

    #[test]
    fn what_the_hash_is_of_is_core() {
        for key in TRAINING.into_iter().chain(["reader.order"]) {
            assert!(is_core_of_training(key), "{key}");
        }
        assert!(!is_core_of_training("reader.read_threads"));
    }
}
