//! The commands that `dlio-rs size` advises.

use std::fmt::Write as _;

use serde::Serialize;

use super::words::WorkloadArgs;
use crate::config::{Loaded, Workload};
use crate::mlperf::size::ranks_of_hosts;
use crate::util::text::shell_word;

/// What is to run, and on what.
pub(super) struct Job<'a> {
    pub(super) workload: &'a WorkloadArgs,
    pub(super) accelerators: u64,
    pub(super) hosts: u64,
}

/// What to type.
#[derive(Serialize)]
pub(super) struct Commands {
    /// Makes the dataset; none for checkpoints.
    #[serde(skip_serializing_if = "Option::is_none")]
    generate: Option<String>,
    /// Runs the workload.
    run: String,
}

/// `mpirun -np 16 -host host1:8,host2:8 dlio-rs`
fn launcher(job: &Job<'_>) -> String {
    let n = job.accelerators;
    if job.hosts == 1 {
        return format!("mpirun -np {n} dlio-rs");
    }
    format!("mpirun -np {n} -host {} dlio-rs", slots(job))
}

/// `host1:8,host2:8`; above eight hosts shortened.
fn slots(job: &Job<'_>) -> String {
    let ranks = ranks_of_hosts(job.accelerators, job.hosts);
    let of = |i: usize| format!("host{}:{}", i + 1, ranks[i]);
    if ranks.len() <= 8 {
        (0..ranks.len()).map(of).collect::<Vec<_>>().join(",")
    } else {
        format!("{},...,{}", of(0), of(ranks.len() - 1))
    }
}

/// The dotted key of a word, without what may stand in front.
fn key_of(word: &str) -> &str {
    let bare = word.trim_start_matches(['+', '~']);
    let key = bare.split('=').next().unwrap_or_default();
    key.strip_prefix("workload.").unwrap_or(key)
}

/// The user's words without those that a command sets itself.
fn words(job: &Job<'_>, without: &[&str]) -> Vec<String> {
    let words = job.workload.words.iter();
    let words = words.filter(|word| !without.contains(&key_of(word)));
    let shown = words.map(|word| shell_word(&crate::config::redact_word(word)));
    shown.collect()
}

/// The launcher and the options that decide how the workload is read.
fn beginning(job: &Job<'_>) -> Vec<String> {
    let mut line = vec![launcher(job)];
    if let Some(dir) = &job.workload.config_dir {
        let dir = shell_word(&dir.display().to_string());
        line.push(format!("--config-dir {dir}"));
    }
    if job.workload.allow_unknown_keys {
        line.push("--allow-unknown-keys".into());
    }
    line
}

/// A truth value as DLIO's files write it.
fn python(is_true: bool) -> &'static str {
    if is_true { "True" } else { "False" }
}

impl Commands {
    /// Of a training workload with that many files and subfolders.
    pub(super) fn training(loaded: &Loaded, job: &Job<'_>, files: u128, folders: u128) -> Self {
        let own = [
            "dataset.num_files_train",
            "dataset.num_subfolders_train",
            "workflow.generate_data",
            "workflow.train",
            "workflow.checkpoint",
        ];
        let mut set = vec![format!("dataset.num_files_train={files}")];
        let key = "dataset.num_subfolders_train";
        let typed = u128::from(loaded.workload.dataset.num_subfolders_train);
        let typed = loaded.origins.contains_key(key).then_some(typed);
        if let Some(n) = typed.or((folders > 0).then_some(folders)) {
            set.push(format!("{key}={n}"));
        }
        let command = |generate, train, checkpoint| {
            let mut line = beginning(job);
            line.extend(words(job, &own));
            line.extend(set.iter().map(|s| format!("++workload.{s}")));
            let (generate, train) = (python(generate), python(train));
            line.push(format!("++workload.workflow.generate_data={generate}"));
            line.push(format!("++workload.workflow.train={train}"));
            line.push(format!(
                "++workload.workflow.checkpoint={}",
                python(checkpoint)
            ));
            line.join(" ")
        };
        Commands {
            generate: Some(command(true, false, false)),
            run: command(false, true, loaded.workload.workflow.checkpoint),
        }
    }

    /// Of a checkpointing workload; `subset` is what it became where its processes are a part of the job.
    pub(super) fn checkpoint(job: &Job<'_>, subset: Option<&Workload>) -> Self {
        let mut line = beginning(job);
        line.extend(words(job, &[]));
        if let Some(subset) = subset {
            line.push("++workload.checkpoint.mode=subset".into());
            let data = subset.model.parallelism.data;
            line.push(format!("++workload.model.parallelism.data={data}"));
        }
        Commands {
            generate: None,
            run: line.join(" "),
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        if let Some(generate) = &self.generate {
            let _ = writeln!(out, "\ngenerate:\n  {generate}");
        }
        let _ = writeln!(out, "\nrun:\n  {}\n", self.run);
        out
    }
}
