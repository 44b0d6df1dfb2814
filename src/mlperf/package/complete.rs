//! Whether a run's folder holds the files that the rules ask for.

use super::super::figures;
use super::super::leaf::{Kind, Leaf};
use super::super::tree::Tree;

/// What every folder lacks.
pub fn violations(tree: &Tree) -> Vec<String> {
    tree.leaves.iter().flat_map(of_leaf).collect()
}

/// What one folder lacks, each with its place. Source: MLPerf Storage's rules 2.1.14, 2.1.15, 2.1.19, 2.1.20, 2.1.25, 2.1.26.
pub fn of_leaf(leaf: &Leaf) -> Vec<String> {
    let mut out = Vec::new();
    let path = leaf.path.display();
    let has = |end: &str| leaf.files.iter().any(|name| name.contains(end));
    let kind = figures::kind(leaf);
    let (prefix, measured) = match kind {
        Kind::TrainingRun => ("training_run", true),
        Kind::Checkpointing => ("checkpointing_run", true),
        Kind::TrainingDatagen => ("training_datagen", false),
        // A sizing runs no benchmark.
        Kind::TrainingDatasize | Kind::Unknown => return out,
    };
    for stream in ["stdout", "stderr"] {
        let name = format!("{prefix}.{stream}.log");
        if !has(&name) {
            let sign = if stream == "stdout" { ">" } else { "2>" };
            out.push(format!(
                "{path}: {name} is missing: mlpstorage writes it; of a run by hand keep the launcher's output: mpirun ... {sign} {name}"
            ));
        }
    }
    let mut files = vec!["dlio.log"];
    if measured {
        files.extend(["output.json", "per_epoch_stats.json", "summary.json"]);
    }
    for name in files {
        if !has(name) {
            out.push(format!("{path}: {name} is missing: the run did not finish"));
        }
    }
    let expected = ["config.yaml", "hydra.yaml", "overrides.yaml"];
    match &leaf.config_files {
        None => out.push(format!("{path}: dlio_config is missing")),
        Some(names) => {
            let found: Vec<&str> = names.iter().map(String::as_str).collect();
            if found != expected {
                out.push(format!(
                    "{path}: dlio_config holds {}; exactly {} are allowed",
                    found.join(", "),
                    expected.join(", ")
                ));
            }
        }
    }
    out
}
