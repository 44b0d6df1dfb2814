//! How much data a training run needs.

use serde_json::Value;

use super::facts::Facts;
use super::parameters::one_line;
use crate::mlperf::Edition;
use crate::mlperf::json::at;
use crate::mlperf::leaf::Kind;
use crate::mlperf::size::{DatasetSize, Need, Ratio, RecordLength, STEPS_PER_EPOCH};
use crate::mlperf::verdict::{Finding, Original, Standing};

/// Every rule of this file; none for checkpointing.
pub fn check(facts: &Facts) -> Vec<Finding> {
    if !matches!(facts.kind, Kind::TrainingRun | Kind::TrainingDatagen) {
        return Vec::new();
    }
    let mut out = vec![enough_files(facts)];
    if facts.edition == Edition::V3 && facts.kind == Kind::TrainingRun {
        out.push(recalculated(facts));
    }
    out.extend(steps(facts));
    out
}

/// A whole number of the workload, also where it is text.
fn whole(parameters: &Value, key: &str) -> Option<u128> {
    let n = at(parameters, key).and_then(Ratio::of)?;
    (Ratio::whole(n.floor()) == n).then(|| n.floor())
}

/// The dataset that the rules demand of this run.
///
/// Errors: which input is missing, or which key is no number.
pub fn size(facts: &Facts) -> Result<DatasetSize, String> {
    let accelerators = facts
        .accelerators
        .ok_or("the number of accelerators (--accelerators, summary.json num_accelerators)")?;
    let memory = facts.memory.as_ref().ok_or(
        "the memory of the hosts (--hosts with --host-memory-gib, summary.json host_memory_GB)",
    )?;
    let need = Need::of(&facts.effective(), accelerators, memory.bytes);
    need.and_then(DatasetSize::new).map_err(|e| e.to_string())
}

fn enough_files(facts: &Facts) -> Finding {
    let (rule, name) = ("R3", "numFilesTrain");
    let invalid = Original::Says(Standing::Invalid);
    if facts.kind == Kind::TrainingDatagen && facts.parameter("reader").is_none() {
        return Finding::skip(
            rule,
            name,
            "the run's batch size: a datagen template has no reader section",
        );
    }
    let Some(value) = facts.parameter("dataset.num_files_train") else {
        return Finding::fail(rule, name, "dataset.num_files_train is not set")
            .remedy("set dataset.num_files_train; `dlio-rs size` says to what")
            .standing(Standing::Invalid)
            .original(invalid);
    };
    let Some(files) = whole(&facts.raw, "dataset.num_files_train") else {
        return Finding::fail(
            rule,
            name,
            format!("dataset.num_files_train is {value}, which is no whole number"),
        )
        .remedy("set dataset.num_files_train to a number of files")
        .standing(Standing::Invalid)
        .original(invalid);
    };
    let size = match size(facts) {
        Ok(size) => size,
        Err(why) if facts.accelerators.is_some() && facts.memory.is_some() => {
            return Finding::fail(rule, name, one_line(&why))
                .remedy("repair the configuration that the message names")
                .standing(Standing::Invalid)
                .original(invalid);
        }
        Err(missing) => {
            return Finding::skip(rule, name, format!("missing: {}", one_line(&missing)));
        }
    };
    let (floor, ceil) = (size.files_floor(), size.files());
    let needed = match facts.edition {
        Edition::V2 => floor,
        Edition::V3 => ceil,
    };
    let source = facts.memory.as_ref().map_or("", |m| m.source.as_str());
    let what = format!(
        "{files} files, {needed} needed: the larger of {} and {} (memory: {source})",
        size.by_memory_text(),
        size.by_steps_text()
    );
    let remedy = format!("dataset.num_files_train={ceil}, and generate that many");
    if files < needed {
        Finding::fail(rule, name, what)
            .remedy(remedy)
            .standing(Standing::Invalid)
            .original(invalid)
    } else if files < ceil {
        Finding::warn(
            rule,
            name,
            format!("{what}; the formula of v3.0 rounds up, to {ceil}"),
        )
        .remedy(remedy)
        .standing(Standing::Closed)
    } else {
        Finding::pass(rule, name, what).standing(Standing::Closed)
    }
}

/// The validator's own formula: the same terms, unrounded, in samples.
fn recalculated(facts: &Facts) -> Finding {
    let (rule, name) = ("3.1.2", "trainingRecalculateDatasetSize");
    let record = RecordLength::of(&facts.effective());
    if let Err(why) = record {
        return Finding::fail(rule, name, one_line(&why.to_string()))
            .remedy("set dataset.record_length_bytes")
            .standing(Standing::Invalid)
            .original(Original::Violation);
    }
    let size = match size(facts) {
        Ok(size) => size,
        Err(missing) => {
            return Finding::skip(rule, name, format!("missing: {}", one_line(&missing)));
        }
    };
    let Some(files) = whole(&facts.raw, "dataset.num_files_train") else {
        return Finding::skip(rule, name, "missing: dataset.num_files_train");
    };
    let needed = size.files();
    let what = format!(
        "{files} files x {} samples, {needed} files needed",
        size.need.samples_per_file
    );
    if files < needed {
        Finding::fail(rule, name, what)
            .remedy(format!("dataset.num_files_train={needed}"))
            .standing(Standing::Invalid)
            .original(Original::Violation)
    } else {
        Finding::pass(rule, name, what)
    }
}

/// The 500 steps alone, where the memory is not known.
fn steps(facts: &Facts) -> Option<Finding> {
    let (rule, name) = ("R3", "stepsPerEpoch");
    let accelerators = u128::from(facts.accelerators?);
    if facts.memory.is_some() || facts.kind != Kind::TrainingRun {
        return None;
    }
    let parameters = facts.effective();
    let files = whole(&parameters, "dataset.num_files_train")?;
    let samples = whole(&parameters, "dataset.num_samples_per_file").unwrap_or(1);
    let batch = whole(&parameters, "reader.batch_size").unwrap_or(1);
    let all = files.checked_mul(samples)?;
    let step = accelerators.checked_mul(batch).filter(|n| *n > 0)?;
    let wanted = u128::from(STEPS_PER_EPOCH).checked_mul(step)?;
    let what = format!(
        "{files} files x {samples} samples / ({accelerators} accelerators x {batch} batch) = {} steps per epoch; {STEPS_PER_EPOCH} needed",
        all / step
    );
    Some(if all < wanted {
        Finding::fail(rule, name, what)
            .remedy(format!(
                "dataset.num_files_train={}",
                wanted.div_ceil(samples.max(1))
            ))
            .standing(Standing::Invalid)
    } else {
        Finding::pass(rule, name, what)
    })
}
