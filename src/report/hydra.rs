//! Hydra's folder: `config.yaml`, `overrides.yaml`, `hydra.yaml` with the keys that DLIO's users and
//! the MLPerf Storage tools read.

use std::fs;
use std::path::Path;

use serde_json::{Value as Json, json};
use serde_yaml::{Mapping, Value};

use super::{ReportError, write_file, yaml};
use crate::interrupt;

/// What hydra would know of the command line.
#[derive(Debug, Clone)]
pub struct HydraFacts<'a> {
    pub workload_name: &'a str,
    /// The composed `workload` node, interpolations unresolved.
    pub tree: &'a Value,
    /// Overrides verbatim, without the `hydra.` ones.
    pub task_words: &'a [String],
    /// The `hydra.` overrides verbatim.
    pub hydra_words: &'a [String],
    /// `hydra.run.dir` as given.
    pub run_dir: String,
    /// Name of the folder.
    pub output_subdir: String,
    /// Absolute working directory.
    pub cwd: String,
    /// Absolute `--config-dir`, if given.
    pub config_dir: Option<String>,
}

fn hydra_node(facts: &HydraFacts<'_>) -> Json {
    let mut hydra_words = facts.hydra_words.to_vec();
    hydra_words.push("hydra.mode=RUN".into());
    let logging =
        json!({"version": 1, "root": {"level": "ERROR"}, "disable_existing_loggers": true});
    json!({
        "run": {"dir": facts.run_dir},
        "sweep": {"dir": "multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}", "subdir": "${hydra.job.num}"},
        "launcher": {"_target_": "hydra._internal.core_plugins.basic_launcher.BasicLauncher"},
        "sweeper": {
            "_target_": "hydra._internal.core_plugins.basic_sweeper.BasicSweeper", "max_batch_size": null, "params": null,
        },
        "help": {
            "app_name": "dlio_benchmark", "header": "dlio-rs: run `dlio-rs --help`", "footer": "", "template": "",
        },
        "hydra_help": {"template": "", "hydra_help": "???"},
        "hydra_logging": logging,
        "job_logging": logging,
        "env": {},
        "mode": "RUN",
        "searchpath": [],
        "callbacks": {},
        "output_subdir": facts.output_subdir,
        "overrides": {"hydra": hydra_words, "task": facts.task_words},
        "job": job(facts),
        "runtime": runtime(facts),
        "verbose": false,
    })
}

fn job(facts: &HydraFacts<'_>) -> Json {
    let mut sorted: Vec<&str> = facts.task_words.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    json!({
        "name": "main", "chdir": null, "override_dirname": sorted.join(","), "id": "???", "num": "???",
        "config_name": "config", "env_set": {}, "env_copy": [],
        "config": {"override_dirname": {"kv_sep": "=", "item_sep": ",", "exclude_keys": []}},
    })
}

fn runtime(facts: &HydraFacts<'_>) -> Json {
    let config_dir = facts.config_dir.as_deref();
    let sources = [
        Some(("hydra.conf", "pkg", "hydra")),
        Some(("dlio_benchmark.configs", "pkg", "main")),
        config_dir.map(|dir| (dir, "file", "command-line")),
        Some(("", "structured", "schema")),
    ];
    let source =
        |(path, schema, provider)| json!({"path": path, "schema": schema, "provider": provider});
    json!({
        "version": "1.3.2",
        "version_base": "1.3",
        "cwd": facts.cwd,
        "config_sources": sources.into_iter().flatten().map(source).collect::<Vec<_>>(),
        "output_dir": Path::new(&facts.cwd).join(&facts.run_dir).to_string_lossy(),
        "choices": {
            "workload": facts.workload_name, "hydra/env": "default", "hydra/callbacks": null,
            "hydra/job_logging": "disabled", "hydra/hydra_logging": "disabled", "hydra/hydra_help": "default",
            "hydra/help": "dlio_benchmark_help.yaml", "hydra/sweeper": "basic", "hydra/launcher": "basic",
            "hydra/output": "default",
        },
    })
}

fn of_json(value: Json) -> Value {
    serde_yaml::to_value(value).expect("YAML takes all that JSON has")
}

/// Writes the three files into `<out>/<output_subdir>/`. The caller removes secrets from the tree and
/// the words.
///
/// Errors: the folder or a file cannot be written. Source: hydra 1.3 with DLIO's configuration.
pub fn write(out: &Path, facts: &HydraFacts<'_>) -> Result<(), ReportError> {
    let dir = out.join(&facts.output_subdir);
    interrupt::uninterrupted(|| fs::create_dir_all(&dir)).map_err(ReportError::writing(&dir))?;
    for (name, value) in [
        (
            "config.yaml",
            Mapping::from_iter([("workload".into(), facts.tree.clone())]).into(),
        ),
        ("overrides.yaml", of_json(json!(facts.task_words))),
        ("hydra.yaml", of_json(json!({"hydra": hydra_node(facts)}))),
    ] {
        let path = dir.join(name);
        write_file(&path, yaml::to_string(&value))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_hold_what_the_tools_read() {
        let tmp = tempfile::tempdir().unwrap();
        let tree: Value = serde_yaml::from_str(
            "framework: pytorch\nworkflow: {train: true}\ndataset:\n  data_folder: ${x}\n",
        )
        .unwrap();
        let task = [
            "workload=default".to_owned(),
            "++workload.train.epochs=2".to_owned(),
        ];
        let facts = HydraFacts {
            workload_name: "default",
            tree: &tree,
            task_words: &task,
            hydra_words: &["++hydra.run.dir=out1".to_owned()],
            run_dir: "out1".into(),
            output_subdir: "dlio_config".into(),
            cwd: "/home/me".into(),
            config_dir: Some("/etc/dlio".into()),
        };
        write(tmp.path(), &facts).unwrap();
        let read = |n: &str| fs::read_to_string(tmp.path().join("dlio_config").join(n)).unwrap();
        assert_eq!(
            read("config.yaml"),
            "workload:\n  framework: pytorch\n  workflow:\n    train: true\n  dataset:\n    data_folder: ${x}\n"
        );
        assert_eq!(
            read("overrides.yaml"),
            "- workload=default\n- ++workload.train.epochs=2\n"
        );
        let h: Value = serde_yaml::from_str(&read("hydra.yaml")).unwrap();
        let h = &h["hydra"];
        assert_eq!(h["overrides"]["hydra"][1], "hydra.mode=RUN");
        assert_eq!(
            h["job"]["override_dirname"],
            "++workload.train.epochs=2,workload=default"
        );
        assert_eq!(h["runtime"]["output_dir"], "/home/me/out1");
        assert_eq!(
            h["runtime"]["config_sources"][2]["provider"],
            "command-line"
        );
        assert_eq!(h["runtime"]["choices"]["workload"], "default");
        // No overrides: an empty list, as hydra writes it.
        write(
            tmp.path(),
            &HydraFacts {
                task_words: &[],
                ..facts
            },
        )
        .unwrap();
        assert_eq!(read("overrides.yaml"), "[]\n");
    }
}
