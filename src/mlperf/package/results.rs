//! `results.json` of a model, as the edition's own report has it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::super::Edition;
use super::super::figures;
use super::super::groups::{self, Figures};
use super::super::leaf::{Kind, Leaf};
use super::super::rules::group::home;
use super::super::sheet;
use super::Request;
use super::layout::Placed;
use crate::report::python;

/// Files and their places below `results/<system>`: beside the runs of every model.
pub fn files(placed: &[Placed<'_>], request: &Request<'_>) -> Vec<(PathBuf, String)> {
    let mut by_folder: BTreeMap<PathBuf, Vec<&Placed<'_>>> = BTreeMap::new();
    for run in placed {
        let has_figures = matches!(run.kind, Kind::TrainingRun | Kind::Checkpointing);
        if let (true, Some(folder)) = (has_figures, run.place.parent()) {
            by_folder.entry(folder.to_owned()).or_default().push(run);
        }
    }
    let mut out = Vec::new();
    for (folder, runs) in by_folder {
        match request.edition {
            Edition::V2 => {
                let records: Vec<Value> = runs.iter().map(|r| record(r)).collect();
                out.push((folder.join("results.json"), python::to_string(&records)));
            }
            Edition::V3 => {
                let found = runs.iter().filter_map(|r| {
                    let mut figures = figures::of(r.leaf).ok()?;
                    // What the tree will say, whatever the one said from which the runs come.
                    figures.path = r.place.display().to_string();
                    figures.home = home(&r.place);
                    figures.division = Some("OPEN");
                    figures.organisation = Some(request.organisation.into());
                    figures.system = Some(request.system.into());
                    Some(figures)
                });
                let table = sheet::table(&Figures {
                    groups: groups::groups(found.collect()),
                    ..Figures::default()
                });
                let rows = python::to_string(&table.records());
                out.push((folder.join("results.json"), rows));
                out.push((folder.join("results.csv"), table.csv()));
            }
        }
    }
    out
}

/// One run, in the keys of v2.0's report.
fn record(run: &Placed<'_>) -> Value {
    let leaf: &Leaf = run.leaf;
    let counts = leaf.summary("host_cpu_count").and_then(Value::as_array);
    let (kind, command) = if run.kind == Kind::TrainingRun {
        ("training", "run_benchmark")
    } else {
        ("checkpointing", "run")
    };
    let metrics: Map<String, Value> = leaf
        .summary("metric")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        // NaN, which JSON has not.
        .filter(|(_, v)| !v.is_null())
        .map(|(k, v)| (k.clone(), v.clone()))
        .collect();
    let mut out = json!({
        "run_id": run.place.display().to_string(),
        "benchmark_type": kind,
        "model": run.model,
        "command": command,
        "num_processes": leaf.accelerators(),
        "parameters": leaf.parameters(),
        "system_info": {
            "total_memory_bytes": leaf.memory_gib().map(|g| (g * 1073741824.0).round() as u64),
            "total_cores": counts.map(|c| c.iter().filter_map(Value::as_u64).fold(0, u64::saturating_add)),
        },
        "metrics": metrics,
    });
    if let (Value::Object(out), Some(accelerator)) = (&mut out, leaf.accelerator()) {
        out.insert("accelerator".into(), json!(accelerator));
    }
    out
}
