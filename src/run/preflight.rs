//! What refuses a job before any I/O: one place for `run`, `generate`, `plan` and `validate`.

use super::dataset::DatasetFiles;
use super::open::pick_format;
use crate::config::{self, Loaded};
use crate::format;
use crate::plan::Split;
use crate::plan::checkpoint::CheckpointPlan;

/// Checks a workload for a job of this many ranks. Returns what may mislead.
///
/// Errors: a sentence for the user, with the key and a remedy. The same on every rank: only the workload decides.
pub fn preflight(loaded: &Loaded, ranks: usize) -> Result<Vec<String>, String> {
    let w = &loaded.workload;
    let warnings = config::validate(w, ranks).map_err(|e| e.to_string())?;
    config::unsupported(w, &format::built()).map_err(|e| e.to_string())?;
    if w.workflow.checkpoint {
        CheckpointPlan::new(&w.model, w.checkpoint.mode, ranks).map_err(|e| e.to_string())?;
    }
    if w.workflow.generate_data
        && let Some(format) = pick_format(w).map_err(|e| e.to_string())?
    {
        let files = DatasetFiles::to_generate(w, ranks);
        let spec = files.spec(Split::Train, 0, files.train.nominal_dims());
        format
            .supports(&spec)
            .map_err(|cause| format!("generate dataset.format={}: {cause}", w.dataset.format))?;
    }
    stays_inside("output.log_file", &w.output.log_file, "dlio.log")?;
    if let Some(Some(subdir)) = &loaded.hydra.output_subdir {
        stays_inside("hydra.output_subdir", subdir, "dlio_config")?;
    }
    Ok(warnings)
}

/// Refuses a name that would leave the folder of results.
fn stays_inside(key: &str, name: &str, example: &str) -> Result<(), String> {
    let inside = std::path::Path::new(name)
        .components()
        .all(|part| matches!(part, std::path::Component::Normal(_)));
    if inside && !name.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{key}={name}: it would lie outside of the folder of results\n  remedy: give a name within it, such as {example}"
    ))
}
