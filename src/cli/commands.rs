//! The commands that `dlio-rs size` advises.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::size::SizeArgs;
use crate::config::Loaded;
use crate::mlperf::rules::facts::Facts;
use crate::mlperf::rules::parameters::is_submittable;
use crate::mlperf::rules::tables::Llm;
use crate::mlperf::size::ranks_of_hosts;

/// What to type.
pub(super) struct Commands {
    generate: Option<String>,
    run: String,
    v2: Vec<String>,
    v3: Vec<String>,
}

/// A word as the shell wants it.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-+=./:,@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// `mpirun -np 16 -host host1:8,host2:8 dlio-rs`
fn launcher(args: &SizeArgs) -> String {
    let n = args.accelerators;
    if args.hosts == 1 {
        return format!("mpirun -np {n} dlio-rs");
    }
    format!("mpirun -np {n} -host {} dlio-rs", slots(args))
}

/// `host1:8,host2:8`; above eight hosts shortened.
fn slots(args: &SizeArgs) -> String {
    let ranks = ranks_of_hosts(args.accelerators, args.hosts);
    let of = |i: usize| format!("host{}:{}", i + 1, ranks[i]);
    if ranks.len() <= 8 {
        (0..ranks.len()).map(of).collect::<Vec<_>>().join(",")
    } else {
        format!("{},...,{}", of(0), of(ranks.len() - 1))
    }
}

fn hosts(args: &SizeArgs) -> String {
    match args.hosts {
        1 => "host1".into(),
        n if n <= 8 => (1..=n)
            .map(|i| format!("host{i}"))
            .collect::<Vec<_>>()
            .join(","),
        n => format!("host1,...,host{n}"),
    }
}

/// The user's words without those that a command sets itself.
fn words(args: &SizeArgs, without: &[&str]) -> Vec<String> {
    args.workload
        .words
        .iter()
        .filter(|word| {
            let bare = word.trim_start_matches(['+', '~']);
            let key = bare.split('=').next().unwrap_or_default();
            let key = key.strip_prefix("workload.").unwrap_or(key);
            !without.contains(&key)
        })
        .map(|word| quoted(&crate::config::redact_word(word)))
        .collect()
}

impl Commands {
    /// Of a training workload with that many files and subfolders.
    pub(super) fn training(
        loaded: &Loaded,
        args: &SizeArgs,
        facts: &Facts,
        files: u128,
        folders: u128,
    ) -> Self {
        let own = [
            "dataset.num_files_train",
            "dataset.num_subfolders_train",
            "workflow.generate_data",
            "workflow.train",
            "workflow.checkpoint",
        ];
        let mut set = vec![format!("dataset.num_files_train={files}")];
        let typed = loaded
            .origins
            .contains_key("dataset.num_subfolders_train")
            .then_some(u128::from(loaded.workload.dataset.num_subfolders_train));
        if let Some(n) = typed.or((folders > 0).then_some(folders)) {
            set.push(format!("dataset.num_subfolders_train={n}"));
        }
        let command = |workflow: &[String]| {
            let mut line = vec![launcher(args)];
            if let Some(dir) = &args.workload.config_dir {
                line.push(format!(
                    "--config-dir {}",
                    quoted(&dir.display().to_string())
                ));
            }
            line.extend(words(args, &own));
            line.extend(set.iter().map(|s| format!("++workload.{s}")));
            line.extend(workflow.iter().map(|s| format!("++workload.workflow.{s}")));
            line.join(" ")
        };
        let model = facts.model.as_deref().unwrap_or("MODEL");
        let accelerator = facts.accelerator.as_deref().unwrap_or("ACCELERATOR");
        let params = format!("--params {}", set.join(" "));
        let (n, h) = (args.accelerators, hosts(args));
        let gib = args.host_memory_gib.value.ceil();
        let mode = if is_submittable(facts) {
            "open"
        } else {
            "whatif"
        };
        let folder = "--data-dir DATA --results-dir RESULTS";
        let client = format!("--client-host-memory-in-gb {gib}");
        let count = args.hosts;
        // The last word of --hosts and --params takes a list: options stand between.
        Commands {
            generate: Some(command(&[
                "generate_data=True".into(),
                "train=False".into(),
                "checkpoint=False".into(),
            ])),
            run: command(&[
                "generate_data=False".into(),
                "train=True".into(),
                format!(
                    "checkpoint={}",
                    if loaded.workload.workflow.checkpoint {
                        "True"
                    } else {
                        "False"
                    }
                ),
            ]),
            v2: vec![
                format!(
                    "mlpstorage training datasize --model {model} --accelerator-type {accelerator} --max-accelerators {n} --num-client-hosts {count} {client} {folder}"
                ),
                format!(
                    "mlpstorage training datagen --open --hosts {h} --model {model} --num-processes {n} {folder} {params}"
                ),
                format!(
                    "mlpstorage training run --open --hosts {h} --num-client-hosts {count} {client} --model {model} --accelerator-type {accelerator} --num-accelerators {n} {folder} {params}"
                ),
            ],
            v3: vec![
                format!(
                    "mlpstorage {mode} training {model} datasize file --accelerator-type {accelerator} --max-accelerators {n} --num-client-hosts {count} {client} --data-dir DATA --systemname SYSTEM"
                ),
                format!(
                    "mlpstorage {mode} training {model} datagen file --hosts {h} --num-processes {n} --data-dir DATA --systemname SYSTEM {params}"
                ),
                format!(
                    "mlpstorage {mode} training {model} run file --hosts {h} --num-client-hosts {count} {client} --accelerator-type {accelerator} --num-accelerators {n} --data-dir DATA --systemname SYSTEM {params}"
                ),
            ],
        }
    }

    /// Of a checkpointing workload.
    pub(super) fn checkpoint(
        loaded: &Loaded,
        args: &SizeArgs,
        llm: Option<&Llm>,
        is_subset: bool,
    ) -> Self {
        let mut line = vec![launcher(args)];
        if let Some(dir) = &args.workload.config_dir {
            line.push(format!(
                "--config-dir {}",
                quoted(&dir.display().to_string())
            ));
        }
        line.extend(words(args, &[]));
        if let (true, Some(llm)) = (is_subset, llm) {
            line.push("++workload.checkpoint.mode=subset".into());
            line.push(format!(
                "++workload.model.parallelism.data={}",
                llm.closed_ranks / llm.ranks_per_replica
            ));
        }
        let model = llm.map_or("MODEL", |llm| llm.name);
        let (n, h) = (args.accelerators, hosts(args));
        let gib = args.host_memory_gib.value.ceil();
        let c = &loaded.workload.checkpoint;
        let counts = format!(
            "--num-checkpoints-write {} --num-checkpoints-read {}",
            c.num_checkpoints_write.max(0),
            c.num_checkpoints_read.max(0)
        );
        Commands {
            generate: None,
            run: line.join(" "),
            v2: vec![format!(
                "mlpstorage checkpointing run --open --hosts {h} --client-host-memory-in-gb {gib} --model {model} --num-processes {n} {counts} --checkpoint-folder FOLDER --results-dir RESULTS"
            )],
            v3: vec![format!(
                "mlpstorage open checkpointing {model} run file --hosts {h} --client-host-memory-in-gb {gib} --num-processes {n} {counts} --checkpoint-folder FOLDER --systemname SYSTEM"
            )],
        }
    }

    /// For people.
    pub(super) fn text(&self) -> String {
        let mut out = String::new();
        if let Some(generate) = &self.generate {
            let _ = writeln!(out, "\ngenerate:\n  {generate}");
        }
        let _ = writeln!(out, "\nrun:\n  {}", self.run);
        for (name, lines) in [("v2.0", &self.v2), ("v3.0", &self.v3)] {
            let _ = writeln!(out, "\nthe same through mlpstorage {name}:");
            for line in lines {
                let _ = writeln!(out, "  {line}");
            }
        }
        out.push('\n');
        out
    }

    /// As the object `commands`.
    pub(super) fn json(&self) -> Value {
        let mut value = json!({
            "run": self.run,
            "mlpstorage_v2": self.v2,
            "mlpstorage_v3": self.v3,
        });
        if let Some(generate) = &self.generate {
            value["generate"] = json!(generate);
        }
        value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_blanks_are_quoted() {
        assert_eq!(quoted("++workload.a.b=1"), "++workload.a.b=1");
        assert_eq!(quoted("a=[1, 2]"), "'a=[1, 2]'");
        assert_eq!(quoted("it's"), r"'it'\''s'");
        assert_eq!(quoted(""), "''");
    }
}
