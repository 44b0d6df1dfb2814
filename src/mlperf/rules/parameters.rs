//! Which parameters a run may have: its model, its overrides, and what stands in an edited YAML: rules 2.1.11, 3.6.2, 3.6.3
//! and 4.6.3.

use serde_json::Value;

use crate::config::{Source, Workload, builtin};
use crate::mlperf::editions::{self, Change, Llm};
use crate::mlperf::facts::{Facts, load};
use crate::mlperf::hash::{TRAINING, differing};
use crate::mlperf::leaf::Kind;
use crate::mlperf::verdict::{Found, Standing};

/// True where the edition takes submissions of this workload.
pub(crate) fn is_submittable(facts: &Facts) -> bool {
    let Some(model) = facts.model.as_deref() else {
        return true;
    };
    // An unknown model is a violation, not a what-if.
    if facts.kind == Kind::Checkpointing
        || Llm::named(model).is_some()
        || !editions::is_known_model(model)
    {
        return true;
    }
    let accelerators = facts.edition.rules().accelerators(model);
    accelerators.is_some_and(|list| {
        let own = facts.accelerator.as_deref();
        own.is_none_or(|own| list.iter().any(|one| one == own))
    })
}

/// Rule 2.1.11.
pub(super) fn training_model(facts: &Facts, out: &mut Found) {
    let of = facts.edition.rules().training_models().join(", ");
    match facts.model.as_deref() {
        None => out.invalid("model.name is not set"),
        Some(model) if !editions::is_known_model(model) => {
            out.invalid(format!("{model} is none of {of}"))
        }
        Some(model) if is_submittable(facts) => out.pass(model),
        Some(model) => {
            let on = facts.accelerator.as_deref().unwrap_or("any accelerator");
            let edition = facts.edition;
            out.info(format!(
                "{model} on {on} is a what-if: {edition} takes submissions of {of} on its own accelerators"
            ))
        }
    };
}

/// A parameter that is not the workload's.
struct Changed {
    key: String,
    shown: String,
    /// The override that changed it; None for an edited YAML.
    word: Option<String>,
}

/// Every override, and every key that decides what is measured and differs from the built-in workload of the same name.
fn changed(facts: &Facts) -> Vec<Changed> {
    let typed = facts.words.iter().map(|word| Changed {
        key: word.key.clone(),
        shown: format!("{}={}", word.key, word.value),
        word: Some(word.text.clone()),
    });
    let mut out: Vec<Changed> = typed.collect();
    let Some((template, original)) = template(facts) else {
        return out;
    };
    let Ok(workload) = &facts.typed else {
        return out;
    };
    let json = |w: &Workload| serde_json::to_value(w).unwrap_or_default();
    let text = |value: Value| match value {
        Value::Null => "not set".to_owned(),
        value => value.to_string(),
    };
    for (key, is, was) in differing(&json(workload), &json(&original), |key| {
        is_core(facts.kind, key)
    }) {
        // `train.computation_time` is `train.computation_time.mean` too.
        let is_typed = |word: &Changed| {
            let rest = key.strip_prefix(word.key.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        if !out.iter().any(is_typed) {
            let shown = format!("{key} is {} ({template}: {})", text(is), text(was));
            out.push(Changed {
                key,
                shown,
                word: None,
            });
        }
    }
    out
}

/// The built-in workload that the run's name stands for, where it is one of MLPerf's.
fn template(facts: &Facts) -> Option<(String, Workload)> {
    let model = facts.model.as_deref()?;
    let name = match (facts.kind, Llm::named(model)) {
        (_, Some(llm)) => llm.name.replace('-', "_"),
        (Kind::Checkpointing, None) => return None,
        _ if !editions::is_known_model(model) => return None,
        _ => {
            let named = facts
                .workload_name
                .clone()
                .filter(|name| builtin(name).is_some());
            named.or_else(|| Some(format!("{model}_{}", facts.accelerator.as_deref()?)))?
        }
    };
    builtin(&name)?;
    let source = Source::Named {
        name: name.clone(),
        config_dir: None,
    };
    Some((name, load(source).ok()?))
}

/// True for a key that decides what is measured: those of the comparability hash, and of dlio-rs's own those that DLIO has
/// no choice of.
fn is_core(kind: Kind, key: &str) -> bool {
    const OWN: [&str; 5] = [
        "output.metric.exclude_start_steps",
        "output.metric.exclude_end_steps",
        "reader.order",
        "reader.decode",
        "reader.io_depth",
    ];
    const CHECKPOINTING: [&str; 6] = [
        "framework",
        "checkpoint.type",
        "checkpoint.fsync",
        "checkpoint.rank_sync",
        "checkpoint.compression",
        "checkpoint.time_between_checkpoints",
    ];
    let of_training = || {
        TRAINING.contains(&key) || OWN.contains(&key) || key.starts_with("train.computation_time.")
    };
    match kind {
        Kind::Checkpointing => {
            CHECKPOINTING.contains(&key)
                || key.starts_with("model.")
                    && !["model.name", "model.parallelism.data"].contains(&key)
        }
        Kind::TrainingDatagen => key.starts_with("dataset.") && of_training(),
        _ => of_training(),
    }
}

fn shown(list: &[&Changed]) -> String {
    let all: Vec<&str> = list.iter().map(|c| c.shown.as_str()).collect();
    all.join("; ")
}

fn forbidden(change: &Changed, why: &str, out: &mut Found) {
    let outcome = out.invalid(format!("{}: {why}", change.shown));
    match &change.word {
        Some(_) if change.key.starts_with("output.") => {
            outcome.remedy("leave it out; --output or ++hydra.run.dir names the folder of results")
        }
        Some(word) => outcome.remedy(format!("leave the word '{word}' out")),
        None => outcome,
    };
}

/// What stays within the list of CLOSED.
fn within(list: &[&Changed]) -> String {
    match list {
        [] => "nothing changed".into(),
        _ => format!("within the list: {}", shown(list)),
    }
}

/// Rule 3.6.2.
pub(super) fn closed(facts: &Facts, out: &mut Found) {
    let changed = changed(facts);
    let change = |c: &Changed| facts.edition.rules().training_change(&c.key);
    let is_within = |c: &&Changed| matches!(change(c), Change::Closed | Change::Injected);
    let (inside, outside): (Vec<&Changed>, Vec<&Changed>) = changed.iter().partition(is_within);
    match outside.is_empty() {
        true => out.closed(within(&inside)),
        false => out.info(format!("not CLOSED: {}", shown(&outside))),
    };
    if facts.parameters.reader.odirect.flag() && facts.model.as_deref() != Some("unet3d") {
        let model = facts.model.as_deref().unwrap_or("an unknown model");
        out.invalid(format!(
            "reader.odirect is on for {model}; the table allows it for unet3d"
        ))
        .remedy("reader.odirect=False");
    }
}

/// Rule 3.6.3.
pub(super) fn open(facts: &Facts, out: &mut Found) {
    let changed = changed(facts);
    let is = |wanted: Change| {
        let rules = facts.edition.rules();
        let list = changed.iter();
        list.filter(move |c| rules.training_change(&c.key) == wanted)
    };
    for change in is(Change::Forbidden) {
        forbidden(change, "no category lets it be changed", out);
    }
    let only_open: Vec<&Changed> = is(Change::Open).collect();
    if !only_open.is_empty() {
        out.info(format!("allowed in OPEN only: {}", shown(&only_open)))
            .standing(Standing::Open);
    }
    if out.0.is_empty() {
        out.pass("nothing beyond the list of CLOSED");
    }
}

/// Rule 4.6.3.
pub(super) fn checkpointing(facts: &Facts, out: &mut Found) {
    let changed = changed(facts);
    let rules = facts.edition.rules();
    let is_forbidden = |c: &&Changed| rules.checkpointing_change(&c.key) == Change::Forbidden;
    let (bad, inside): (Vec<&Changed>, Vec<&Changed>) = changed.iter().partition(is_forbidden);
    if bad.is_empty() {
        out.closed(within(&inside));
    }
    for change in bad {
        forbidden(
            change,
            "only the folder and the two counts may be changed",
            out,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{self, LoadRequest};
    use crate::mlperf::editions::Edition;
    use crate::mlperf::facts::Inputs;

    #[test]
    fn only_models_of_mlperf_have_workloads_of_it() {
        for (name, has_one) in [
            ("quickstart", false),
            ("bert_v100", false),
            ("unet3d_h100", true),
            ("llama3_8b", true),
        ] {
            let source = Source::Named {
                name: name.into(),
                config_dir: None,
            };
            let loaded = config::load(&LoadRequest::of(source)).unwrap();
            let facts = Facts::before(&loaded, &Inputs::default(), Edition::V3);
            assert_eq!(template(&facts).is_some(), has_one, "{name}");
            assert!(changed(&facts).is_empty(), "{name}");
        }
    }
}
