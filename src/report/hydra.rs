//! Hydra's folder: `config.yaml`, `overrides.yaml`, `hydra.yaml` with the keys that DLIO's users and
//! the MLPerf Storage tools read.

use std::fs;
use std::path::Path;

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

fn map<'k>(entries: impl IntoIterator<Item = (&'k str, Value)>) -> Value {
    Value::Mapping(
        entries
            .into_iter()
            .map(|(k, v)| (Value::from(k), v))
            .collect::<Mapping>(),
    )
}

fn text(s: &str) -> Value {
    Value::from(s)
}

fn words(list: &[String]) -> Value {
    Value::Sequence(list.iter().map(|w| text(w)).collect())
}

fn source(path: &str, schema: &str, provider: &str) -> Value {
    map([
        ("path", text(path)),
        ("schema", text(schema)),
        ("provider", text(provider)),
    ])
}

fn logging() -> Value {
    map([
        ("version", Value::from(1)),
        ("root", map([("level", text("ERROR"))])),
        ("disable_existing_loggers", Value::from(true)),
    ])
}

fn job(facts: &HydraFacts<'_>) -> Value {
    let mut sorted: Vec<&str> = facts.task_words.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let format = map([
        ("kv_sep", text("=")),
        ("item_sep", text(",")),
        ("exclude_keys", Value::Sequence(Vec::new())),
    ]);
    map([
        ("name", text("main")),
        ("chdir", Value::Null),
        ("override_dirname", text(&sorted.join(","))),
        ("id", text("???")),
        ("num", text("???")),
        ("config_name", text("config")),
        ("env_set", map([])),
        ("env_copy", Value::Sequence(Vec::new())),
        ("config", map([("override_dirname", format)])),
    ])
}

fn runtime(facts: &HydraFacts<'_>) -> Value {
    let mut sources = vec![
        source("hydra.conf", "pkg", "hydra"),
        source("dlio_benchmark.configs", "pkg", "main"),
    ];
    if let Some(dir) = &facts.config_dir {
        sources.push(source(dir, "file", "command-line"));
    }
    sources.push(source("", "structured", "schema"));
    let output_dir = Path::new(&facts.cwd).join(&facts.run_dir);
    let choices = map([
        ("workload", text(facts.workload_name)),
        ("hydra/env", text("default")),
        ("hydra/callbacks", Value::Null),
        ("hydra/job_logging", text("disabled")),
        ("hydra/hydra_logging", text("disabled")),
        ("hydra/hydra_help", text("default")),
        ("hydra/help", text("dlio_benchmark_help.yaml")),
        ("hydra/sweeper", text("basic")),
        ("hydra/launcher", text("basic")),
        ("hydra/output", text("default")),
    ]);
    map([
        ("version", text("1.3.2")),
        ("version_base", text("1.3")),
        ("cwd", text(&facts.cwd)),
        ("config_sources", Value::Sequence(sources)),
        ("output_dir", text(&output_dir.to_string_lossy())),
        ("choices", choices),
    ])
}

fn hydra_node(facts: &HydraFacts<'_>) -> Value {
    let mut hydra_words = facts.hydra_words.to_vec();
    hydra_words.push("hydra.mode=RUN".into());
    let help = map([
        ("app_name", text("dlio_benchmark")),
        ("header", text("dlio-rs: run `dlio-rs --help`")),
        ("footer", text("")),
        ("template", text("")),
    ]);
    map([
        ("run", map([("dir", text(&facts.run_dir))])),
        (
            "sweep",
            map([
                ("dir", text("multirun/${now:%Y-%m-%d}/${now:%H-%M-%S}")),
                ("subdir", text("${hydra.job.num}")),
            ]),
        ),
        (
            "launcher",
            map([(
                "_target_",
                text("hydra._internal.core_plugins.basic_launcher.BasicLauncher"),
            )]),
        ),
        (
            "sweeper",
            map([
                (
                    "_target_",
                    text("hydra._internal.core_plugins.basic_sweeper.BasicSweeper"),
                ),
                ("max_batch_size", Value::Null),
                ("params", Value::Null),
            ]),
        ),
        ("help", help),
        (
            "hydra_help",
            map([("template", text("")), ("hydra_help", text("???"))]),
        ),
        ("hydra_logging", logging()),
        ("job_logging", logging()),
        ("env", map([])),
        ("mode", text("RUN")),
        ("searchpath", Value::Sequence(Vec::new())),
        ("callbacks", map([])),
        ("output_subdir", text(&facts.output_subdir)),
        (
            "overrides",
            map([
                ("hydra", words(&hydra_words)),
                ("task", words(facts.task_words)),
            ]),
        ),
        ("job", job(facts)),
        ("runtime", runtime(facts)),
        ("verbose", Value::from(false)),
    ])
}

/// Writes the three files into `<out>/<output_subdir>/`. The caller removes secrets from the tree and
/// the words.
///
/// Errors: the folder or a file cannot be written. Source: hydra 1.3 with DLIO's configuration.
pub fn write(out: &Path, facts: &HydraFacts<'_>) -> Result<(), ReportError> {
    let dir = out.join(&facts.output_subdir);
    interrupt::uninterrupted(|| fs::create_dir_all(&dir)).map_err(|source| ReportError::Write {
        path: dir.clone(),
        source,
    })?;
    for (name, value) in [
        ("config.yaml", map([("workload", facts.tree.clone())])),
        ("overrides.yaml", words(facts.task_words)),
        ("hydra.yaml", map([("hydra", hydra_node(facts))])),
    ] {
        let path = dir.join(name);
        write_file(&path, &yaml::to_string(&value))?;
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
        let keys: Vec<&str> = h["hydra"]
            .as_mapping()
            .unwrap()
            .keys()
            .map(|k| k.as_str().unwrap())
            .collect();
        assert_eq!(
            keys,
            [
                "run",
                "sweep",
                "launcher",
                "sweeper",
                "help",
                "hydra_help",
                "hydra_logging",
                "job_logging",
                "env",
                "mode",
                "searchpath",
                "callbacks",
                "output_subdir",
                "overrides",
                "job",
                "runtime",
                "verbose"
            ]
        );
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
