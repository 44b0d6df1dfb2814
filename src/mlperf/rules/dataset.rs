//! How much data a training run needs: rule 3.1.2.

use crate::mlperf::editions::Rounding;
use crate::mlperf::facts::{Facts, one_line};
use crate::mlperf::foreign::Loose;
use crate::mlperf::leaf::Kind;
use crate::mlperf::size::{DatasetSize, Need, STEPS_PER_EPOCH};
use crate::mlperf::verdict::{Found, Standing};

/// The dataset that the rules demand of this run.
///
/// Errors: which input is missing, or which key is no number.
pub(crate) fn size(facts: &Facts) -> Result<DatasetSize, String> {
    let accelerators = facts
        .accelerators
        .ok_or("the number of accelerators (--accelerators; summary.json num_accelerators)")?;
    let memory = facts.memory.as_ref().ok_or(
        "the memory of the hosts (--hosts with --host-memory-gib; summary.json host_memory_GB)",
    )?;
    let need = Need::of(&facts.effective, accelerators, memory.bytes);
    need.and_then(DatasetSize::new).map_err(|e| e.to_string())
}

/// Rule 3.1.2.
pub(super) fn enough_files(facts: &Facts, out: &mut Found) {
    if facts.kind == Kind::TrainingDatagen && !facts.parameters.reader.batch_size.is_set() {
        return out.skip("the runs' batch size: a generation has no reader section");
    }
    let value = &facts.parameters.dataset.num_files_train;
    let Some(files) = value.whole().map(u128::from) else {
        out.invalid(format!(
            "dataset.num_files_train is {value}; a whole number is expected"
        ));
        return;
    };
    match size(facts) {
        Ok(size) => compare(facts, files, &size, out),
        Err(why) if facts.accelerators.is_some() && facts.memory.is_some() => {
            out.invalid(one_line(&why))
                .remedy("repair the configuration that the message names");
        }
        Err(missing) => {
            if steps(facts, files, out).is_none() {
                out.skip(&one_line(&missing));
            }
        }
    }
}

fn compare(facts: &Facts, files: u128, size: &DatasetSize, out: &mut Found) {
    let (floor, ceil) = (size.files_floor(), size.files());
    let needed = match facts.edition.rules().dataset_files {
        Rounding::Floor => floor,
        Rounding::Ceil => ceil,
    };
    let source = facts.memory.as_ref().map_or("", |m| m.source.as_str());
    let what = format!(
        "{files} files, {needed} needed: the larger of {} and {} (memory: {source})",
        size.by_memory_text(),
        size.by_steps_text()
    );
    let outcome = if files < needed {
        out.invalid(what)
    } else if files < ceil {
        out.warn(format!(
            "{what}; releases from 3.0.43 on round up, to {ceil}"
        ))
        .standing(Standing::Closed)
    } else {
        out.closed(what)
    };
    if files < ceil {
        outcome.remedy(format!(
            "dataset.num_files_train={ceil}, and generate that many"
        ));
    }
}

/// The 500 steps alone fail where the memory is not known; None where they do not.
fn steps(facts: &Facts, files: u128, out: &mut Found) -> Option<()> {
    let whole = |value: &Loose| value.whole().map(u128::from);
    let accelerators = u128::from(facts.accelerators?);
    let samples = whole(&facts.effective.dataset.num_samples_per_file)?;
    let batch = whole(&facts.effective.reader.batch_size)?;
    let step = accelerators.checked_mul(batch).filter(|n| *n > 0)?;
    let all = files.checked_mul(samples)?;
    let wanted = u128::from(STEPS_PER_EPOCH).checked_mul(step)?;
    (all < wanted).then(|| {
        let (steps, least) = (all / step, wanted.div_ceil(samples.max(1)));
        out.invalid(format!(
            "{files} files x {samples} samples / ({accelerators} accelerators x {batch} batch) = {steps} steps per epoch; {STEPS_PER_EPOCH} needed"
        ))
        .remedy(format!("dataset.num_files_train={least}"));
    })
}
