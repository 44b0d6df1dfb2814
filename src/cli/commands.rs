//! The commands that `dlio-rs size` advises.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::size::SizeArgs;
use crate::config::{CheckpointMode, Loaded, StorageType, Workload, builtin};
use crate::mlperf::Edition;
use crate::mlperf::rules::facts::Facts;
use crate::mlperf::rules::hosts::is_subset_allowed;
use crate::mlperf::rules::parameters::is_submittable;
use crate::mlperf::rules::tables::{Llm, known_models, submittable_accelerators};
use crate::mlperf::size::ranks_of_hosts;

/// Lines of mlpstorage, or why it cannot run the same.
type Lines = Result<Vec<String>, String>;

/// What to type.
pub(super) struct Commands {
    generate: Option<String>,
    run: String,
    v2: Lines,
    v3: Lines,
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

/// The dotted key of a word, without what may stand in front.
fn key_of(word: &str) -> &str {
    let bare = word.trim_start_matches(['+', '~']);
    let key = bare.split('=').next().unwrap_or_default();
    key.strip_prefix("workload.").unwrap_or(key)
}

/// The user's words without those that a command sets itself.
fn words(args: &SizeArgs, without: &[&str]) -> Vec<String> {
    args.workload
        .words
        .iter()
        .filter(|word| !without.contains(&key_of(word)))
        .map(|word| quoted(&crate::config::redact_word(word)))
        .collect()
}

/// The launcher and the options that decide how the workload is read.
fn beginning(args: &SizeArgs) -> Vec<String> {
    let mut line = vec![launcher(args)];
    if let Some(dir) = &args.workload.config_dir {
        let dir = quoted(&dir.display().to_string());
        line.push(format!("--config-dir {dir}"));
    }
    if args.workload.allow_unknown_keys {
        line.push("--allow-unknown-keys".into());
    }
    line
}

/// Overrides as mlpstorage's `--params` takes them, without keys that it has other options for.
///
/// Errors: a word that it cannot take.
fn params(args: &SizeArgs, without: &[&str]) -> Result<Vec<String>, String> {
    let mut out = Vec::new();
    for word in &args.workload.words {
        let key = key_of(word);
        let is_hydras = key == "workload" || key == "hydra" || key.starts_with("hydra.");
        if is_hydras || without.contains(&key) || !word.contains('=') && !word.starts_with('~') {
            continue;
        }
        let word = crate::config::redact_word(word);
        if word.starts_with('~') {
            return Err(format!("its --params cannot remove a key: {word}"));
        }
        if word.matches('=').count() != 1 {
            return Err(format!("its --params take one '=' each: {word}"));
        }
        let bare = word.trim_start_matches('+');
        out.push(quoted(bare.strip_prefix("workload.").unwrap_or(bare)));
    }
    Ok(out)
}

/// `" --params a=1 b=2"`, or nothing.
fn with_params(words: &[String]) -> String {
    match words {
        [] => String::new(),
        words => format!(" --params {}", words.join(" ")),
    }
}

/// Why mlpstorage of any edition would run something else.
fn own(loaded: &Loaded, args: &SizeArgs) -> Result<(), String> {
    let is_named = |word: &String| word.trim_start_matches('+').starts_with("workload=");
    let file = format!("{}.yaml", loaded.name);
    let is_overlaid = args
        .workload
        .config_dir
        .as_ref()
        .is_some_and(|dir| dir.join("workload").join(&file).exists());
    if !args.workload.words.iter().any(is_named) || is_overlaid {
        return Err(format!(
            "it takes no YAML of one's own, and {file} is one; workload=NAME names one of its own"
        ));
    }
    let w = &loaded.workload;
    let kind = w.storage_type_effective();
    let folders = [&w.dataset.data_folder, &w.checkpoint.checkpoint_folder];
    if kind != StorageType::LocalFs || folders.iter().any(|folder| folder.contains("://")) {
        return Err(format!(
            "storage of type {kind} is told to it by other options"
        ));
    }
    Ok(())
}

/// Model and accelerator by the names of an edition's mlpstorage.
///
/// Errors: it has no such template.
fn pair(loaded: &Loaded, facts: &Facts, edition: Edition) -> Result<(String, String), String> {
    let model = facts.model.clone().unwrap_or_default();
    let accelerator = facts.accelerator.clone().unwrap_or_default();
    let accelerators = submittable_accelerators(edition).iter();
    let earlier: &[&str] = match edition {
        Edition::V2 => &[],
        // Kept for what-ifs.
        Edition::V3 => submittable_accelerators(Edition::V2),
    };
    let is_known = accelerators.chain(earlier).any(|a| *a == accelerator)
        && known_models(edition).contains(&model.as_str());
    if is_known
        && loaded.name == format!("{model}_{accelerator}")
        && builtin(&loaded.name).is_some()
    {
        Ok((model, accelerator))
    } else {
        Err(format!("it has no workload {}", loaded.name))
    }
}

/// The three lines of an edition for a training workload; `set` are the parameters of the dataset.
fn training_lines(
    loaded: &Loaded,
    args: &SizeArgs,
    facts: &Facts,
    set: &[String],
    edition: Edition,
) -> Lines {
    own(loaded, args)?;
    let (model, accelerator) = pair(loaded, facts, edition)?;
    const OTHERWISE: [&str; 6] = [
        "dataset.num_files_train",
        "dataset.num_subfolders_train",
        "dataset.data_folder",
        "workflow.generate_data",
        "workflow.train",
        "workflow.checkpoint",
    ];
    let typed = params(args, &OTHERWISE)?;
    let datagen: Vec<String> = set.iter().chain(&typed).cloned().collect();
    let mut run = datagen.clone();
    if loaded.origins.contains_key("workflow.checkpoint") {
        // Its template may say otherwise.
        let is_on = loaded.workload.workflow.checkpoint;
        run.push(format!("workflow.checkpoint={}", python(is_on)));
    }
    let [datasize, datagen, run] = [&typed, &datagen, &run].map(|words| with_params(words));
    let (n, h, count) = (args.accelerators, hosts(args), args.hosts);
    let gib = args.host_memory_gib.value.ceil();
    let client = format!("--client-host-memory-in-gb {gib}");
    // The last word of --hosts and --params takes a list: options stand between.
    Ok(match edition {
        Edition::V2 => {
            let folder = "--data-dir DATA --results-dir RESULTS";
            vec![
                format!(
                    "mlpstorage training datasize --model {model} --accelerator-type {accelerator} --max-accelerators {n} --num-client-hosts {count} {client} {folder}{datasize}"
                ),
                format!(
                    "mlpstorage training datagen --open --hosts {h} --model {model} --num-processes {n} {folder}{datagen}"
                ),
                format!(
                    "mlpstorage training run --open --hosts {h} --num-client-hosts {count} {client} --model {model} --accelerator-type {accelerator} --num-accelerators {n} {folder}{run}"
                ),
            ]
        }
        Edition::V3 => {
            let facts = Facts {
                edition,
                ..facts.clone()
            };
            let mode = match is_submittable(&facts) {
                true => "open",
                false => "whatif",
            };
            let folder = "--data-dir DATA --systemname SYSTEM";
            vec![
                format!(
                    "mlpstorage {mode} training {model} datasize file --accelerator-type {accelerator} --max-accelerators {n} --num-client-hosts {count} {client} {folder}{datasize}"
                ),
                format!(
                    "mlpstorage {mode} training {model} datagen file --hosts {h} --num-processes {n} {folder}{datagen}"
                ),
                format!(
                    "mlpstorage {mode} training {model} run file --hosts {h} --num-client-hosts {count} {client} --accelerator-type {accelerator} --num-accelerators {n} {folder}{run}"
                ),
            ]
        }
    })
}

/// The line of an edition for the checkpoints of `w`.
fn checkpoint_lines(
    loaded: &Loaded,
    args: &SizeArgs,
    llm: Option<&Llm>,
    w: &Workload,
    edition: Edition,
) -> Lines {
    own(loaded, args)?;
    let llm = llm
        .filter(|llm| loaded.name == llm.name.replace('-', "_"))
        .ok_or_else(|| format!("it has no workload {}", loaded.name))?;
    let n = args.accelerators;
    let is_part = n < llm.closed_ranks;
    if is_part && w.checkpoint.mode != CheckpointMode::Subset {
        return Err(format!(
            "below {} processes it sets checkpoint.mode=subset itself",
            llm.closed_ranks
        ));
    }
    if w.checkpoint.mode == CheckpointMode::Subset && !is_subset_allowed(edition, llm, n) {
        return Err(format!(
            "its rules have no subset of {n} processes of {} (4.3.5)",
            llm.name
        ));
    }
    let mut otherwise = vec![
        "checkpoint.checkpoint_folder",
        "checkpoint.num_checkpoints_write",
        "checkpoint.num_checkpoints_read",
    ];
    if is_part && w.model.parallelism.data == llm.replicas() as i64 {
        otherwise.extend(["checkpoint.mode", "model.parallelism.data"]);
    }
    let typed = with_params(&params(args, &otherwise)?);
    let (model, h) = (llm.name, hosts(args));
    let memory = format!(
        "--client-host-memory-in-gb {}",
        args.host_memory_gib.value.ceil()
    );
    let counts = format!(
        "--num-checkpoints-write {} --num-checkpoints-read {}",
        w.checkpoint.num_checkpoints_write.max(0),
        w.checkpoint.num_checkpoints_read.max(0)
    );
    Ok(vec![match edition {
        Edition::V2 => format!(
            "mlpstorage checkpointing run --open --hosts {h} {memory} --model {model} --num-processes {n} {counts} --checkpoint-folder FOLDER --results-dir RESULTS{typed}"
        ),
        Edition::V3 => format!(
            "mlpstorage open checkpointing {model} run file --hosts {h} {memory} --num-processes {n} {counts} --checkpoint-folder FOLDER --systemname SYSTEM{typed}"
        ),
    }])
}

/// A truth value as DLIO's files write it.
fn python(is_true: bool) -> &'static str {
    if is_true { "True" } else { "False" }
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
            let mut line = beginning(args);
            line.extend(words(args, &own));
            line.extend(set.iter().map(|s| format!("++workload.{s}")));
            line.extend(workflow.iter().map(|s| format!("++workload.workflow.{s}")));
            line.join(" ")
        };
        let lines = |edition| training_lines(loaded, args, facts, &set, edition);
        Commands {
            generate: Some(command(&[
                "generate_data=True".into(),
                "train=False".into(),
                "checkpoint=False".into(),
            ])),
            run: command(&[
                "generate_data=False".into(),
                "train=True".into(),
                format!("checkpoint={}", python(loaded.workload.workflow.checkpoint)),
            ]),
            v2: lines(Edition::V2),
            v3: lines(Edition::V3),
        }
    }

    /// Of a checkpointing workload; `subset` is what it became where its processes are a part of the job.
    pub(super) fn checkpoint(
        loaded: &Loaded,
        args: &SizeArgs,
        llm: Option<&Llm>,
        subset: Option<&Workload>,
    ) -> Self {
        let mut line = beginning(args);
        line.extend(words(args, &[]));
        if let Some(subset) = subset {
            line.push("++workload.checkpoint.mode=subset".into());
            line.push(format!(
                "++workload.model.parallelism.data={}",
                subset.model.parallelism.data
            ));
        }
        let w = subset.unwrap_or(&loaded.workload);
        let lines = |edition| checkpoint_lines(loaded, args, llm, w, edition);
        Commands {
            generate: None,
            run: line.join(" "),
            v2: lines(Edition::V2),
            v3: lines(Edition::V3),
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
            match lines {
                Ok(lines) => {
                    let _ = writeln!(out, "\nthe same through mlpstorage {name}:");
                    for line in lines {
                        let _ = writeln!(out, "  {line}");
                    }
                }
                Err(why) => {
                    let _ = writeln!(out, "\nnot through mlpstorage {name}: {why}");
                }
            }
        }
        out.push('\n');
        out
    }

    /// As the object `commands`.
    pub(super) fn json(&self) -> Value {
        let mut value = json!({
            "run": self.run,
            "mlpstorage_v2": self.v2.as_deref().unwrap_or_default(),
            "mlpstorage_v3": self.v3.as_deref().unwrap_or_default(),
        });
        for (name, lines) in [("v2", &self.v2), ("v3", &self.v3)] {
            if let Err(why) = lines {
                value[format!("mlpstorage_{name}_why_not")] = json!(why);
            }
        }
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
