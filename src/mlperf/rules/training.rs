//! What the files of a training run must say: rules 3.3.1, 3.3.2 and 3.3.8.

use crate::mlperf::facts::Facts;
use crate::mlperf::figures::au_verdict;
use crate::mlperf::verdict::Outcome;

/// Rule 3.3.2.
pub(super) fn utilization(facts: &Facts) -> Vec<Outcome> {
    let leaf = &facts.leaf;
    let Some(verdict) = au_verdict(leaf) else {
        return vec![Outcome::skip(
            "metric.train_au_meet_expectation and metric.train_au_mean_percentage of summary.json",
        )];
    };
    let mut what = vec![verdict.to_string()];
    let mean = leaf.metric("train_au_mean_percentage").number();
    if let Some(au) = mean {
        what.push(format!("mean AU {au:.2} %"));
    }
    let minimum = facts
        .model
        .as_deref()
        .and_then(|model| facts.edition.rules().minimum_au_percent(model));
    if let Some(minimum) = minimum {
        what.push(format!("the model needs {minimum:.0} %"));
    }
    let below = mean.zip(minimum).is_some_and(|(au, least)| au < least);
    vec![Outcome::holds(verdict.is_met && !below, what.join(", "))]
}

/// Rule 3.3.1, of one run.
pub(super) fn file_counts(facts: &Facts) -> Vec<Outcome> {
    let Some(summary) = facts.leaf.summary.value() else {
        return Vec::new();
    };
    let (files, eval) = (&summary.num_files_train, &summary.num_files_eval);
    let configured = &facts.parameters.dataset.num_files_train;
    vec![match (files.whole(), eval.whole()) {
        (Some(files), Some(eval)) if configured.whole().is_none_or(|n| n == files) => {
            Outcome::pass(format!("{files} files, {eval} for evaluation"))
        }
        (Some(files), Some(_)) => Outcome::fail(format!(
            "summary.json says {files} files, config.yaml {configured}"
        )),
        _ => {
            let what =
                format!("summary.json: num_files_train is {files}, num_files_eval is {eval}");
            Outcome::fail(what).remedy("restore the file, or run again")
        }
    }]
}

/// Rule 3.3.8.
pub(super) fn published(facts: &Facts) -> Vec<Outcome> {
    let leaf = &facts.leaf;
    if leaf.summary.value().is_none() {
        return Vec::new();
    }
    let mut missing = Vec::new();
    if leaf
        .metric("train_io_mean_MB_per_second")
        .number()
        .is_none()
    {
        missing.push("train_io_mean_MB_per_second");
    }
    for key in ["train_au_percentage", "train_throughput_samples_per_second"] {
        if leaf.metric(key).numbers().is_none() {
            missing.push(key);
        }
    }
    if !missing.is_empty() {
        return vec![Outcome::fail(format!(
            "summary.json lacks metric {}",
            missing.join(", ")
        ))];
    }
    let measured = leaf
        .metric("train_au_percentage")
        .numbers()
        .map_or(0, |list| list.len() as u64);
    let epochs = &facts.parameters.train.epochs;
    vec![if epochs.whole().is_some_and(|n| n != measured) {
        Outcome::fail(format!(
            "{measured} epoch(s) measured, train.epochs is {epochs}"
        ))
        .remedy("run all epochs (without --max-epochs)")
    } else {
        Outcome::pass("every published number is there")
    }]
}
