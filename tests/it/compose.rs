//! What workloads mean is held against hydra-core and OmegaConf: defaults lists, packages, references, scalars.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use dlio_rs::internal::{LoadRequest, Loaded, Source, load};
use serde_json::{Value, json};

use crate::support::*;

/// Variables that the workloads name.
const VARIABLES: [(&str, &str); 3] = [
    ("COMPOSE_TEST_VARIABLE", "variable"),
    ("COMPOSE_TEST_FOLDER", "/folder"),
    ("COMPOSE_TEST_NUMBER", "12"),
];

struct Case {
    words: Vec<String>,
    /// What dlio-rs says of a case that both refuse.
    error: Option<String>,
}

fn folder() -> PathBuf {
    repo().join("tests/data/compose")
}

fn cases() -> Vec<Case> {
    let texts = |value: &Value| -> Vec<String> {
        let words = value.as_array().unwrap().iter();
        words.map(|w| w.as_str().unwrap().into()).collect()
    };
    std::fs::read_to_string(folder().join("cases.jsonl"))
        .unwrap()
        .lines()
        .map(|line| match serde_json::from_str(line).unwrap() {
            Value::Object(case) => Case {
                words: texts(&case["words"]),
                error: Some(case["error"].as_str().unwrap().into()),
            },
            words => Case {
                words: texts(&words),
                error: None,
            },
        })
        .collect()
}

fn ours(words: &[String]) -> Result<Loaded, String> {
    let (first, rest) = words.split_first().unwrap();
    load(&LoadRequest {
        source: Source::Named {
            name: first.strip_prefix("workload=").unwrap().into(),
            config_dir: Some(folder()),
        },
        words: rest.to_vec(),
        allow_unknown: true,
        env: VARIABLES
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect::<BTreeMap<_, _>>(),
        dotenv: None,
        cwd: "/".into(),
        patience: std::time::Duration::from_secs(120),
    })
    .map_err(|e| e.to_string())
}

fn hydras(cases: &[Case]) -> Vec<Value> {
    let words: Vec<_> = cases.iter().map(|case| &case.words).collect();
    let input = json!({"config_dir": folder(), "cases": words});
    let mut child = Command::new(python())
        .arg(repo().join("tests/python/compose_reference.py"))
        .envs(VARIABLES)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.to_string().as_bytes())
        .unwrap();
    serde_json::from_str(&finish(child, 120).ok().stdout).unwrap()
}

/// The same values, whatever the order of keys; 1 and 1.0 are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b))
        }
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

/// Leaves of OmegaConf's config that differ from the typed workload, as far as it has the key.
fn differences(theirs: &Value, typed: &Value, path: &str, out: &mut Vec<String>) {
    for (key, value) in theirs.as_object().unwrap() {
        let at = if path.is_empty() {
            key.clone()
        } else {
            format!("{path}.{key}")
        };
        let Some(ours) = typed.get(key) else { continue };
        let is_time = matches!(
            key.as_str(),
            "computation_time" | "eval_time" | "preprocess_time"
        );
        let fits = match value {
            Value::Object(_) if !is_time => {
                differences(value, ours, &at, out);
                true
            }
            // `{mean: 1, stdev: 2}` is a normal distribution; a number is a constant.
            Value::Object(map) => map.iter().all(|(k, v)| same(v, &ours[k])),
            Value::Number(_) if is_time => same(value, &ours["mean"]),
            // YAML's booleans are words of a few keys.
            Value::Bool(flag) if ours.is_string() => {
                let word = ours.as_str().unwrap();
                matches!(
                    (flag, word),
                    (false, "off" | "none") | (true, "seed" | "full")
                )
            }
            Value::Null => true,
            Value::String(name) if at == "model" => ours["name"] == *name,
            Value::String(folder) if at == "dataset.data_folder" => {
                ours.as_str() == Some(folder.trim_end_matches('/'))
            }
            Value::Number(n) if ours.is_string() => ours.as_str() == Some(&n.to_string()),
            Value::String(text) if ours.is_number() => text.parse().ok() == ours.as_f64(),
            other => same(other, ours),
        };
        if !fits {
            out.push(format!("{at}: {value} in OmegaConf, {ours} here"));
        }
    }
}

#[test]
fn workloads_are_composed_as_hydra_composes_them() {
    let cases = cases();
    assert!(cases.len() > 40);
    let mut wrong = Vec::new();
    for (case, theirs) in cases.iter().zip(hydras(&cases)) {
        let words = case.words.join(" ");
        let ours = ours(&case.words);
        match (&case.error, ours, theirs.get("error")) {
            (Some(expected), Err(error), Some(_)) if error.contains(expected) => {}
            (None, Ok(loaded), None) => {
                let tree = serde_json::to_value(&loaded.tree).unwrap();
                if !same(&theirs["tree"], &tree) {
                    wrong.push(format!("{words}: {}\n  is here {tree}", theirs["tree"]));
                }
                let typed = serde_json::to_value(&loaded.workload).unwrap();
                let mut differ = Vec::new();
                differences(&theirs["resolved"], &typed, "", &mut differ);
                wrong.extend(differ.into_iter().map(|d| format!("{words}: {d}")));
            }
            (expected, ours, theirs) => wrong.push(format!(
                "{words}: expected {expected:?}, here {:?}, hydra {theirs:?}",
                ours.map(|_| "accepted")
            )),
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A folder with `dlio_benchmark` in it.
fn as_dlio(scratch: &Scratch) -> Command {
    let path = scratch.path("dlio_benchmark");
    std::os::unix::fs::symlink(bin(), &path).unwrap();
    let mut command = Command::new(path);
    command.current_dir(scratch.path("."));
    command
}

const QUICK: [&str; 3] = [
    "++workload.train.computation_time=0",
    "++workload.dataset.data_folder=data",
    "++hydra.run.dir=out",
];

#[test]
fn a_defaults_list_is_composed_under_the_name_of_dlio() {
    let scratch = Scratch::new();
    let mut command = as_dlio(&scratch);
    command
        .args(["workload=child", "--config-dir"])
        .arg(folder())
        .args(QUICK);
    let out = run(command).ok();
    assert!(
        !out.stderr.contains("unknown key defaults"),
        "{}",
        out.stderr
    );
    let summary = json(&scratch.path("out/summary.json"));
    assert_eq!(summary["num_files_train"], 8);
    assert_eq!(summary["epochs"], 2);
    let config = std::fs::read_to_string(scratch.path("out/.hydra/config.yaml")).unwrap();
    assert!(
        config.contains("epochs: 2") && !config.contains("defaults"),
        "{config}"
    );
}

#[test]
fn references_in_hydras_own_words_are_resolved() {
    let scratch = Scratch::new();
    let mut command = as_dlio(&scratch);
    command
        .args(["workload=plain", "--config-dir"])
        .arg(folder())
        .args(&QUICK[..2])
        .arg("hydra.run.dir=o/${workload.model.name}/${now:%Y}/x");
    run(command).ok();
    let years: Vec<_> = std::fs::read_dir(scratch.path("o/plain"))
        .unwrap()
        .collect();
    assert_eq!(years.len(), 1);
}

#[test]
fn a_name_that_climbs_stays_in_the_folder_of_results() {
    let scratch = Scratch::new();
    for name in ["..", "../../x", "/abs", ""] {
        let mut command = solo();
        command
            .current_dir(scratch.path("."))
            .args(small(&scratch, 4));
        command.args([
            "storage.storage_type=null",
            "output.folder=null",
            "train.computation_time=0",
        ]);
        command.arg(format!("model.name='{name}'"));
        run(command).ok();
    }
    // Every run has its folder, two levels below: results/<model>/<time>.
    let folders = |path: &std::path::Path| -> Vec<_> {
        let entries = std::fs::read_dir(path).unwrap();
        entries.map(|e| e.unwrap().path()).collect()
    };
    let models = folders(&scratch.path("results"));
    let runs: Vec<_> = models.iter().flat_map(|model| folders(model)).collect();
    assert_eq!(runs.len(), 4, "{runs:?}");
    let beside: Vec<_> = std::fs::read_dir(scratch.path(".")).unwrap().collect();
    assert_eq!(beside.len(), 1, "{beside:?}");
}

#[test]
fn keys_without_effect_are_reported_and_names_of_other_tools_are_taken_or_refused() {
    let scratch = Scratch::new();
    let file = |name: &str, text: &str| {
        std::fs::write(scratch.path(name), text).unwrap();
        scratch.path(name)
    };
    let path = file(
        "w.yaml",
        "model: {name: t, model_size: 499153191}\nframework: pytorch\n\
         dataset: {format: npz, enable_chunking: true, hdf5: {chunk_dims: [1]}}\n\
         reader: {file_access: shared, dont_use_mmap: true, read_type: memory, prefetch: 3, shuffle: true}\n\
         checkpoint: {type: all_ranks}\nprofiling: {iostat_devices: sda}\n",
    );
    let mut command = solo();
    command.arg("validate").arg(path);
    let out = run(command).ok();
    for key in [
        "w.yaml:1:18: model.model_size has no effect: write model.model_size_bytes",
        "checkpoint.type has no effect",
        "dataset.enable_chunking has no effect: dataset.format is npz, and it is for hdf5",
        "dataset.hdf5.chunk_dims has no effect",
        "reader.file_access has no effect",
        "reader.dont_use_mmap has no effect",
        "reader.read_type has no effect",
        "profiling.iostat_devices has no effect",
        "reader.prefetch is a name of dl-driver, taken as reader.prefetch_size",
    ] {
        assert!(
            out.stderr.contains(key),
            "{key} is missing in:\n{}",
            out.stderr
        );
    }
    assert!(out.stdout.contains("prefetch_size: 3 "), "{}", out.stdout);
    assert!(
        out.stdout.contains("file_shuffle: \"seed\""),
        "{}",
        out.stdout
    );
    for (text, said) in [
        (
            "framework_profiles: {pytorch: {}}\n",
            "unknown key framework_profiles: a section of dl-driver; write reader.",
        ),
        (
            "pytorch_config: {}\n",
            "unknown key pytorch_config: a section of dl-driver",
        ),
        ("framework: jax\n", "write framework=pytorch"),
        (
            "storage: {storage_type: msc}\n",
            "write the address of the store itself",
        ),
        ("dataset: {data_folder: 'msc://profile/data'}\n", "msc://"),
        (
            "dataset: {data_folder: ''}\n",
            "dataset.data_folder: it is empty",
        ),
        (
            "dataset:\n  data_folder: ~\n",
            "dataset.data_folder: it has no value (YAML's ~ and null mean none)",
        ),
        ("a: &a xxxxxxxxxx\nb: [*a, *a\n", "invalid YAML"),
    ] {
        let mut command = solo();
        command.arg("validate").arg(file("x.yaml", text));
        run(command).fails(2, &[said]);
    }
}

#[test]
fn addresses_of_other_clouds_point_to_what_works_here() {
    let scratch = Scratch::new();
    let path = scratch.path("w.yaml");
    std::fs::write(
        &path,
        "framework: pytorch\ndataset: {format: npz, data_folder: 'abfs://container1@account1.dfs.core.windows.net/data'}\n\
         storage:\n  storage_type: adls_gen2\n  storage_root: container1\n  storage_options:\n    connection_string: AccountKey=SEKRET\n",
    )
    .unwrap();
    let mut command = solo();
    command.arg("validate").arg(&path);
    let out = run(command).ok();
    assert!(
        out.stdout.contains("storage_type: \"azure\""),
        "{}",
        out.stdout
    );
    assert!(!out.text().contains("SEKRET"), "{}", out.text());
    let mut command = solo();
    command.args([
        "validate",
        "workload=quickstart",
        "dataset.data_folder=gs://bucket/data",
    ]);
    let out = run(command).ok();
    assert!(
        out.stdout.contains("data_folder: \"gs://bucket/data\""),
        "{}",
        out.stdout
    );
    let mut command = solo();
    command.env("HOME", "/home/x").args([
        "validate",
        "workload=quickstart",
        "dataset.data_folder=~/data",
    ]);
    assert!(
        run(command)
            .ok()
            .stdout
            .contains("data_folder: \"/home/x/data\"")
    );
}

#[test]
fn credentials_are_starred_in_every_output_however_they_are_spelt() {
    let scratch = Scratch::new();
    let path = scratch.path("w.yaml");
    std::fs::write(
        &path,
        "framework: pytorch\nworkflow: {generate_data: true}\ndataset: {format: npz, num_files_train: 4, record_length_bytes: 4096, data_folder: data}\n\
         storage:\n  storage_options: {secret_acces_key: SEKRET1, access_key_id: SEKRET2, sas: SEKRET3, region: visible}\n",
    )
    .unwrap();
    std::fs::write(
        scratch.path(".env"),
        "\u{feff}# comment\nexport AWS_SESSION_TOKEN='SEKRET4' # behind\n",
    )
    .unwrap();
    let words = [
        "storage.storage_options.account_key=SEKRET5",
        "++storage.storage_options.nested.key=SEKRET6",
        "--allow-unknown-keys",
        "--output",
        "out",
        "--quiet",
    ];
    let mut command = solo();
    command
        .current_dir(scratch.path("."))
        .arg(&path)
        .args(words);
    let out = run(command).ok();
    let mut texts = vec![out.text()];
    let mut folders = vec![scratch.path("out")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                texts.push(String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned());
            }
        }
    }
    assert!(texts.len() > 5);
    assert!(texts.iter().any(|text| text.contains("visible")));
    for text in texts {
        assert!(!text.contains("SEKRET"), "{text}");
    }
    // Refused keys are named without their values.
    let mut command = solo();
    command.arg("validate").arg(&path);
    let out = run(command).fails(2, &["unknown key storage.storage_options.secret_acces_key"]);
    assert!(!out.text().contains("SEKRET"), "{}", out.text());
}

#[test]
fn aliases_are_bounded_by_the_memory_that_they_take() {
    let scratch = Scratch::new();
    let path = scratch.path("bomb.yaml");
    let aliases = vec!["*s"; 100_000].join(",");
    std::fs::write(
        &path,
        format!("s: &s \"{}\"\nl: [{aliases}]\n", "x".repeat(1_000_000)),
    )
    .unwrap();
    let mut command = Command::new("sh");
    command
        .args([
            "-c",
            "ulimit -v 4000000; exec \"$0\" validate \"$1\"",
            bin(),
        ])
        .arg(&path);
    run(command).fails(
        2,
        &[
            "bomb.yaml:2:",
            "more than 64 MiB of memory, aliases expanded",
        ],
    );
}
