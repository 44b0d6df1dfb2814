//! What the files of a training run must say: rules 3.3.1, 3.3.2 and 3.3.8.

use crate::mlperf::facts::Facts;
use crate::mlperf::figures::au_verdict;
use crate::mlperf::verdict::Found;

/// Rule 3.3.2.
pub(super) fn utilization(facts: &Facts, out: &mut Found) {
    let Some(verdict) = au_verdict(&facts.leaf) else {
        return out.skip(
            "metric.train_au_meet_expectation and metric.train_au_mean_percentage of summary.json",
        );
    };
    let mut what = verdict.to_string();
    let mean = facts.leaf.metric("train_au_mean_percentage").number();
    if let Some(au) = mean {
        what += &format!(", mean AU {au:.2} %");
    }
    let minimum = |model: &str| facts.edition.rules().minimum_au_percent(model);
    let minimum = facts.model.as_deref().and_then(minimum);
    if let Some(minimum) = minimum {
        what += &format!(", the model needs {minimum:.0} %");
    }
    let below = mean.zip(minimum).is_some_and(|(au, least)| au < least);
    out.holds(verdict.is_met && !below, what);
}

/// Rule 3.3.1, of one run.
pub(super) fn file_counts(facts: &Facts, out: &mut Found) {
    let Some(summary) = facts.leaf.summary.value() else {
        return;
    };
    let (files, eval) = (&summary.num_files_train, &summary.num_files_eval);
    let configured = &facts.parameters.dataset.num_files_train;
    match (files.whole(), eval.whole()) {
        (Some(files), Some(eval)) if configured.whole().is_none_or(|n| n == files) => {
            out.pass(format!("{files} files, {eval} for evaluation"))
        }
        (Some(files), Some(_)) => out.fail(format!(
            "summary.json says {files} files, config.yaml {configured}"
        )),
        _ => out
            .fail(format!(
                "summary.json: num_files_train is {files}, num_files_eval is {eval}"
            ))
            .remedy("restore the file, or run again"),
    };
}

/// Rule 3.3.8.
pub(super) fn published(facts: &Facts, out: &mut Found) {
    let leaf = &facts.leaf;
    if leaf.summary.value().is_none() {
        return;
    }
    let rate = leaf.metric("train_io_mean_MB_per_second").number();
    let [au, samples] = ["train_au_percentage", "train_throughput_samples_per_second"]
        .map(|key| leaf.metric(key).numbers());
    let missing: Vec<&str> = [
        ("train_io_mean_MB_per_second", rate.is_none()),
        ("train_au_percentage", au.is_none()),
        ("train_throughput_samples_per_second", samples.is_none()),
    ]
    .into_iter()
    .filter_map(|(key, is_missing)| is_missing.then_some(key))
    .collect();
    if !missing.is_empty() {
        out.fail(format!("summary.json lacks metric {}", missing.join(", ")));
        return;
    }
    let measured = au.map_or(0, |list| list.len() as u64);
    let epochs = &facts.parameters.train.epochs;
    match epochs.whole().is_some_and(|n| n != measured) {
        true => out
            .fail(format!(
                "{measured} epoch(s) measured, train.epochs is {epochs}"
            ))
            .remedy("run all epochs (without --max-epochs)"),
        false => out.pass("every published number is there"),
    };
}
