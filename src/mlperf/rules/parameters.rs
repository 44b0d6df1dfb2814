//! Which parameters a run may have: its kind and model, its overrides, its template.

use serde_json::Value;

use super::checkpointing;
use super::facts::Facts;
use super::tables::{self, Key, checkpointing_key, training_key};
use super::template;
use crate::config::StorageType;
use crate::mlperf::Edition;
use crate::mlperf::json::at;
use crate::mlperf::leaf::Kind;
use crate::mlperf::verdict::{Finding, Original, Standing};

/// Every rule of this file.
pub fn check(facts: &Facts) -> Vec<Finding> {
    let mut out = vec![kind(facts), model(facts)];
    if let Err(why) = &facts.typed {
        out.push(
            Finding::warn("config", "configIsReadable", one_line(why)).remedy(
                "run with a config.yaml whose keys and types DLIO knows; rules that need them are left out",
            ),
        );
    }
    out.extend(malformed(facts));
    if facts.kind == Kind::Checkpointing {
        out.extend(checkpointing_overrides(facts));
    } else {
        out.extend(training_overrides(facts));
        out.extend(workflow_checkpoint(facts));
        out.push(odirect(facts));
    }
    out.push(template::check(facts));
    out.extend(storage(facts));
    out.extend(refused(facts));
    out
}

/// dlio-rs's own storage systems: two of them read nothing, whatever the list of keys says.
fn storage(facts: &Facts) -> Option<Finding> {
    let (rule, name) = ("storage", "bytesAreRead");
    let kind = facts.typed.as_ref().ok()?.storage_type_effective();
    match kind {
        StorageType::Null | StorageType::Model => Some(
            Finding::fail(
                rule,
                name,
                format!("storage.storage_type={kind} answers without a storage system"),
            )
            .remedy("storage.storage_type=local_fs, or the address of the data")
            .standing(Standing::Invalid),
        ),
        StorageType::Mmap => Some(
            Finding::warn(
                rule,
                name,
                format!("storage.storage_type={kind} is none of DLIO's"),
            )
            .remedy("storage.storage_type=local_fs, or disclose it"),
        ),
        _ => None,
    }
}

/// What a run would refuse to start with.
fn refused(facts: &Facts) -> Option<Finding> {
    if !facts.is_before {
        return None;
    }
    let workload = facts.typed.as_ref().ok()?;
    let ranks = facts.accelerators?;
    let per_host = ranks.div_ceil(facts.hosts.unwrap_or(1).max(1));
    let refused = crate::config::validate(workload, ranks as usize, per_host as usize)
        .map(|_| ())
        .map_err(|e| e.to_string())
        .and_then(|()| match facts.kind {
            Kind::Checkpointing => checkpointing::plan(facts).map(|_| ()),
            _ => Ok(()),
        });
    refused.err().map(|why| {
        Finding::fail("DLIO", "workloadCanRun", one_line(&why))
            .remedy("repair what the message names")
            .standing(Standing::Invalid)
    })
}

/// A message without its remedy, for findings have their own.
pub(super) fn one_line(text: &str) -> String {
    let text = text.split("\n  remedy:").next().unwrap_or(text);
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn says(standing: Standing) -> Original {
    Original::Says(standing)
}

fn kind(facts: &Facts) -> Finding {
    let name = "benchmarkType";
    match facts.kind {
        Kind::Unknown => Finding::fail(
            "R1",
            name,
            "neither workflow.train, workflow.generate_data nor workflow.checkpoint is true",
        )
        .remedy("run a workload whose workflow trains, generates or checkpoints")
        .standing(Standing::Invalid)
        .original(match (facts.edition, facts.is_before) {
            (Edition::V2, false) => Original::Crash,
            _ => says(Standing::Invalid),
        }),
        // The tools take nothing from the metrics.
        guessed if facts.is_kind_guessed => Finding::fail(
            "R1",
            name,
            format!(
                "only the metrics speak of {}; neither the workflow nor mlpstorage's metadata says what the run did",
                match guessed {
                    Kind::Checkpointing => "checkpoints",
                    _ => "training",
                }
            ),
        )
        .remedy("restore dlio_config/config.yaml, or run again")
        .standing(Standing::Invalid)
        .original(match facts.edition {
            Edition::V2 => Original::Crash,
            Edition::V3 => says(Standing::Invalid),
        }),
        Kind::Checkpointing => Finding::pass("R1", name, "checkpointing"),
        _ => Finding::pass("R1", name, "training"),
    }
}

/// True where the edition takes submissions of this workload.
pub fn is_submittable(facts: &Facts) -> bool {
    let Some(model) = facts.model.as_deref() else {
        return true;
    };
    if facts.kind == Kind::Checkpointing || tables::Llm::named(model).is_some() {
        return true;
    }
    // An unknown model is a violation, not a what-if.
    !tables::known_models(Edition::V3).contains(&model)
        || tables::submittable_models(facts.edition).contains(&model)
            && facts.accelerator.as_deref().is_none_or(|accelerator| {
                tables::submittable_accelerators(facts.edition).contains(&accelerator)
            })
}

fn model(facts: &Facts) -> Finding {
    let (rule, name) = if facts.kind == Kind::Checkpointing {
        ("4.3.3", "checkpointModel")
    } else {
        ("R2", "modelIsKnown")
    };
    let Some(model) = facts.model.as_deref() else {
        return Finding::fail(rule, name, "model.name is not set")
            .remedy("use a workload of MLPerf Storage, such as workload=unet3d_h100")
            .standing(Standing::Invalid);
    };
    let llms = || tables::LLMS.map(|llm| llm.name).join(", ");
    if facts.kind == Kind::Checkpointing {
        return match tables::Llm::named(model) {
            Some(_) => Finding::pass(rule, name, model),
            None => Finding::fail(rule, name, format!("{model} is none of {}", llms()))
                .remedy("use workload=llama3_8b, llama3_70b, llama3_405b or llama3_1t")
                .standing(Standing::Invalid)
                .original(match facts.edition {
                    Edition::V2 => Original::Silent,
                    Edition::V3 => says(Standing::Invalid),
                }),
        };
    }
    let of = tables::submittable_models(facts.edition);
    if is_submittable(facts) && of.contains(&model) {
        return Finding::pass(rule, name, model);
    }
    if !tables::known_models(facts.edition).contains(&model)
        && !tables::known_models(Edition::V3).contains(&model)
    {
        return Finding::fail(rule, name, format!("{model} is none of {}", of.join(", ")))
            .remedy("use a workload of MLPerf Storage, such as workload=unet3d_h100")
            .standing(Standing::Invalid)
            .original(match facts.edition {
                // Only its command line knows the models.
                Edition::V2 => Original::Silent,
                Edition::V3 => says(Standing::Invalid),
            });
    }
    let what = [Some(model), facts.accelerator.as_deref()];
    let what: Vec<&str> = what.into_iter().flatten().collect();
    Finding::info(
        rule,
        name,
        format!(
            "{}: {} takes submissions of {} on {}; this is a what-if",
            what.join(" "),
            facts.edition,
            of.join(", "),
            tables::submittable_accelerators(facts.edition).join(", ")
        ),
    )
}

fn malformed(facts: &Facts) -> Option<Finding> {
    let words = &facts.words.malformed;
    (!words.is_empty()).then(|| {
        Finding::fail(
            "R4",
            "overrideHasOneEqualsSign",
            format!(
                "{}: mlpstorage splits every override at '=' and wants two parts",
                words.join(", ")
            ),
        )
        .remedy("put the value into the YAML, or write an override that has one '='")
        .original(match (facts.edition, facts.is_before) {
            (Edition::V2, false) => Original::Crash,
            _ => Original::Silent,
        })
    })
}

fn within_closed(keys: &[&str]) -> String {
    if keys.is_empty() {
        "no override that counts".to_owned()
    } else {
        format!("within the list of CLOSED: {}", keys.join(", "))
    }
}

fn training_overrides(facts: &Facts) -> Vec<Finding> {
    let edition = facts.edition;
    let (rule, name) = ("R4", "allowedParameters");
    let mut out = Vec::new();
    let mut closed = Vec::new();
    let mut worst = Standing::Closed;
    for word in &facts.words.keys {
        let shown = format!("{}={}", word.key, word.value);
        let says = |standing| {
            if word.is_seen || edition == Edition::V3 {
                Original::Says(standing)
            } else {
                Original::Silent
            }
        };
        match training_key(edition, &word.key) {
            Key::Closed | Key::Injected => closed.push(word.key.as_str()),
            Key::Workflow => {}
            Key::Open => {
                worst = worst.max(Standing::Open);
                out.push(
                    Finding::info(rule, name, format!("{shown}: allowed in OPEN only"))
                        .standing(Standing::Open)
                        .original(says(Standing::Open)),
                );
            }
            Key::Forbidden => {
                worst = Standing::Invalid;
                let mut finding = Finding::fail(
                    rule,
                    name,
                    format!("{shown}: no category lets it be changed"),
                )
                .standing(Standing::Invalid)
                .original(says(Standing::Invalid));
                finding = finding.remedy(if word.key.starts_with("output.") {
                    "leave it out; --output or ++hydra.run.dir names the folder of results".into()
                } else {
                    format!("leave the word '{}' out", word.text)
                });
                out.push(finding);
            }
        }
        out.extend(remark(facts, &word.key, &word.value));
    }
    if worst == Standing::Closed {
        out.push(
            Finding::pass(rule, name, within_closed(&closed))
                .standing(Standing::Closed)
                .original(says(Standing::Closed)),
        );
    }
    if edition == Edition::V3 && !facts.is_before {
        let finding = match worst {
            Standing::Closed => Finding::pass("3.6.2", "trainingClosedParameters", "as R4"),
            Standing::Open => Finding::info("3.6.3", "trainingOpenParameters", "OPEN, as R4"),
            Standing::Invalid => Finding::fail(
                "3.6.3",
                "trainingOpenParameters",
                "an override outside of both lists, as R4",
            )
            .remedy("leave the overrides out that R4 names"),
        };
        out.push(finding.original(Original::Dead));
    }
    out
}

/// What the documentation says of allowed keys, and no tool looks at.
fn remark(facts: &Facts, key: &str, value: &str) -> Option<Finding> {
    let model = facts.model.as_deref().unwrap_or("");
    let framework = facts.parameter("framework").and_then(Value::as_str);
    let why = match key {
        "reader.computation_threads" if model != "resnet50" => "is meant for resnet50 only",
        "reader.transfer_size" if framework != Some("tensorflow") => {
            "is meant for models of TensorFlow only"
        }
        "reader.prefetch_size" if !["0", "1", "2"].contains(&value) => "may be 0, 1 or 2",
        "dataset.num_samples_per_file"
            if framework != Some("tensorflow")
                || facts.parameter("dataset.format").and_then(Value::as_str)
                    != Some("tfrecord") =>
        {
            "may be changed with TensorFlow and tfrecord only"
        }
        "storage.storage_options.prefetch_window" => "is meant for object stores only",
        _ => return None,
    };
    Some(
        Finding::warn(
            "R4",
            "documentedLimits",
            format!("{key}={value}: by the documentation it {why}; no tool looks"),
        )
        .remedy(format!("leave {key} out, or disclose it")),
    )
}

fn workflow_checkpoint(facts: &Facts) -> Option<Finding> {
    let (rule, name) = ("R5", "workflowCheckpoint");
    if facts.model.as_deref() != Some("unet3d")
        || facts.kind != Kind::TrainingRun
        || facts.is_truthy("workflow.generate_data")
    {
        return None;
    }
    let value = facts.parameter("workflow.checkpoint");
    let is_on = value == Some(&Value::Bool(true));
    if facts.edition == Edition::V3 {
        return Some(
            Finding::info(
                rule,
                name,
                format!("workflow.checkpoint is {is_on}; v3.0 takes both"),
            )
            .original(Original::Dead),
        );
    }
    // Its check before a run compares with a command's name that no run has then.
    let original = |standing| {
        if facts.is_before {
            Original::Dead
        } else {
            says(standing)
        }
    };
    Some(match value {
        Some(Value::Bool(true)) => Finding::pass(
            rule,
            name,
            "workflow.checkpoint is true, as unet3d needs it",
        )
        .standing(Standing::Closed)
        .original(original(Standing::Closed)),
        Some(Value::Bool(false)) => Finding::fail(
            rule,
            name,
            "workflow.checkpoint is false; v2.0's report generator wants true of unet3d",
        )
        .remedy("++workload.workflow.checkpoint=True")
        .standing(Standing::Invalid)
        .original(original(Standing::Invalid)),
        // It compares with both truth values and does nothing for the rest.
        other => Finding::warn(
            rule,
            name,
            format!(
                "workflow.checkpoint is {}; v2.0's report generator wants true of unet3d",
                other.map_or("not set".into(), Value::to_string)
            ),
        )
        .remedy("++workload.workflow.checkpoint=True"),
    })
}

fn odirect(facts: &Facts) -> Finding {
    let (rule, name) = ("R6", "odirectOfUnet3dOnly");
    if !facts.is_truthy("reader.odirect") {
        return Finding::pass(rule, name, "reader.odirect is off");
    }
    match facts.model.as_deref() {
        Some("unet3d") => Finding::pass(rule, name, "reader.odirect is on, for unet3d"),
        other => Finding::fail(
            rule,
            name,
            format!(
                "reader.odirect is on for {}; the rules allow it for unet3d",
                other.unwrap_or("an unknown model")
            ),
        )
        .remedy("reader.odirect=False")
        .standing(Standing::Invalid)
        .original(says(Standing::Invalid)),
    }
}

fn checkpointing_overrides(facts: &Facts) -> Vec<Finding> {
    let (rule, name) = ("4.6.3", "closedCheckpointParameters");
    let original = match facts.edition {
        Edition::V2 => Original::Silent,
        Edition::V3 => Original::Dead,
    };
    let mut out = Vec::new();
    let mut closed = Vec::new();
    for word in &facts.words.keys {
        match checkpointing_key(facts.edition, &word.key) {
            Key::Forbidden | Key::Open => out.push(
                Finding::fail(
                    rule,
                    name,
                    format!(
                        "{}={}: only the folder and the two counts may be changed",
                        word.key, word.value
                    ),
                )
                .remedy(format!("leave the word '{}' out", word.text))
                .standing(Standing::Invalid)
                .original(original),
            ),
            Key::Closed | Key::Injected | Key::Workflow => closed.push(word.key.as_str()),
        }
    }
    if out.is_empty() {
        out.push(
            Finding::pass(rule, name, within_closed(&closed))
                .standing(Standing::Closed)
                .original(original),
        );
    }
    out
}

/// A dotted key of a value as text, for messages.
pub(super) fn shown(value: &Value, key: &str) -> String {
    at(value, key).map_or_else(|| "not set".into(), Value::to_string)
}
