//! The commands that `size` advises: what `check` says of them, and what mlpstorage would make of them.

use std::fs;

use serde_json::Value;

use crate::support::*;

fn dlio(words: &[&str]) -> Outcome {
    let mut command = solo();
    command.args(words);
    run(command)
}

fn size(words: &[&str]) -> Value {
    let mut all = vec!["size", "--host-memory-gib", "512", "--json"];
    all.extend(words);
    let out = dlio(&all).ok();
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}\n{}", out.text()))
}

fn lines(size: &Value, name: &str) -> Vec<String> {
    let lines = size["commands"][name].as_array().unwrap();
    lines
        .iter()
        .map(|l| l.as_str().unwrap().to_owned())
        .collect()
}

fn why(size: &Value, edition: &str) -> String {
    let name = format!("mlpstorage_{edition}");
    assert!(lines(size, &name).is_empty(), "{size:#}");
    let why = &size["commands"][format!("{name}_why_not")];
    why.as_str().unwrap().to_owned()
}

/// mlpstorage's `--params`: dotted keys without prefix; the option for the folder is its own.
#[test]
fn overrides_reach_mlpstorage() {
    let size = size(&[
        "workload=unet3d_h100",
        "--accelerators",
        "8",
        "++workload.reader.read_threads=8",
        "reader.batch_size=8",
        "dataset.data_folder=/mnt/x",
    ]);
    let params = "--params dataset.num_files_train=32000 dataset.num_subfolders_train=3 reader.read_threads=8 reader.batch_size=8";
    for name in ["mlpstorage_v2", "mlpstorage_v3"] {
        let lines = lines(&size, name);
        assert_eq!(lines.len(), 3);
        assert!(lines[1].ends_with(params), "{}", lines[1]);
        assert!(lines[2].contains(params), "{}", lines[2]);
        assert!(!lines.concat().contains("/mnt/x"), "{lines:?}");
    }
    // v3.0 takes no submissions of h100.
    assert!(lines(&size, "mlpstorage_v3")[2].starts_with("mlpstorage whatif training unet3d run"));
    assert!(lines(&size, "mlpstorage_v2")[2].starts_with("mlpstorage training run --open"));
}

#[test]
fn what_mlpstorage_cannot_run_is_left_out() {
    let eight = |words: &[&str]| {
        let mut all = vec!["--accelerators", "8"];
        all.extend(words);
        size(&all)
    };
    let b200 = eight(&["workload=unet3d_b200", "--edition", "v2.0"]);
    assert!(why(&b200, "v2").contains("no workload unet3d_b200"));
    assert!(lines(&b200, "mlpstorage_v3")[2].starts_with("mlpstorage open training unet3d"));
    for name in ["quickstart", "unet3d_v100"] {
        let size = eight(&[&format!("workload={name}")]);
        for edition in ["v2", "v3"] {
            assert!(why(&size, edition).contains(name));
        }
    }
    let scratch = Scratch::new();
    let own = scratch.path("unet3d_h100.yaml");
    fs::write(&own, dlio(&["configs", "unet3d_h100"]).ok().stdout).unwrap();
    let size = eight(&[own.to_str().unwrap()]);
    assert!(why(&size, "v2").contains("no YAML of one's own"));
    let folder = scratch.path("conf");
    fs::create_dir_all(folder.join("workload")).unwrap();
    fs::rename(&own, folder.join("workload/unet3d_h100.yaml")).unwrap();
    let size = eight(&[
        "workload=unet3d_h100",
        "--config-dir",
        folder.to_str().unwrap(),
    ]);
    assert!(why(&size, "v3").contains("no YAML of one's own"));
    let size = eight(&["workload=unet3d_h100", "~train.epochs"]);
    assert!(why(&size, "v3").contains("cannot remove a key"));
}

#[test]
fn options_of_reading_are_passed_on() {
    let size = size(&[
        "workload=unet3d_h100",
        "--accelerators",
        "8",
        "--allow-unknown-keys",
        "reader.not_a_key=1",
    ]);
    for name in ["generate", "run"] {
        let line = size["commands"][name].as_str().unwrap();
        assert!(line.contains("dlio-rs --allow-unknown-keys "), "{line}");
    }
}

/// The run that is advised has no violation but those of its folder.
#[test]
fn a_subset_is_advised_where_it_is_one() {
    let of = |model: &str, edition: &str| {
        let workload = format!("workload={model}");
        size(&[&workload, "--accelerators", "8", "--edition", edition])
    };
    let v2 = of("llama3_70b", "v2.0");
    let run = v2["commands"]["run"].as_str().unwrap();
    assert!(run.contains("checkpoint.mode=subset"), "{run}");
    assert_eq!(lines(&v2, "mlpstorage_v2").len(), 1);
    assert!(why(&v2, "v3").contains("4.3.5"));
    let v3 = of("llama3_70b", "v3.0");
    let run = v3["commands"]["run"].as_str().unwrap();
    assert!(!run.contains("subset"), "{run}");
    for edition in ["v2", "v3"] {
        assert!(why(&v3, edition).contains("checkpoint.mode=subset itself"));
    }
    for (size, edition) in [(v2, "v2.0"), (v3, "v3.0")] {
        let run = size["commands"]["run"].as_str().unwrap();
        let mut words = vec!["check", "--accelerators", "8", "--edition", edition];
        words.extend(run.split(' ').skip_while(|w| *w != "dlio-rs").skip(1));
        dlio(&words).ok();
    }
    let words = [
        "size",
        "workload=llama3_405b",
        "--accelerators",
        "8",
        "--host-memory-gib",
        "1",
    ];
    dlio(&words).fails(2, &["8 is INVALID in v3.0", "no multiple of"]);
}

#[test]
fn a_host_without_ranks_is_no_host() {
    let words = ["size", "workload=unet3d_h100", "--host-memory-gib", "1"];
    let hosts = ["--accelerators", "8", "--hosts", "9"];
    dlio(&[&words[..], &hosts[..]].concat()).fails(2, &["--hosts 9 is more than", "remedy"]);
}
