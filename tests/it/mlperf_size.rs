//! The commands that `size` advises, and what `check` says of them.

use serde_json::Value;

use crate::support::*;

fn dlio(words: &[&str]) -> Outcome {
    let mut command = solo();
    command.args(words);
    run(command)
}

fn size(words: &[&str]) -> Value {
    let mut all = vec!["size", "--host-memory-gib", "512", "--format", "json"];
    all.extend(words);
    let out = dlio(&all).ok();
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}\n{}", out.text()))
}

#[test]
fn overrides_reach_the_commands() {
    let size = size(&[
        "workload=unet3d_h100",
        "--accelerators",
        "8",
        "++workload.reader.read_threads=8",
        "dataset.data_folder=/mnt/x",
    ]);
    for name in ["generate", "run"] {
        let line = size["commands"][name].as_str().unwrap();
        for words in [
            "mpirun -np 8 dlio-rs workload=unet3d_h100 ++workload.reader.read_threads=8",
            "dataset.data_folder=/mnt/x",
            "++workload.dataset.num_files_train=28000",
            "++workload.dataset.num_subfolders_train=2",
        ] {
            assert!(line.contains(words), "{line}");
        }
    }
    // Command lines of mlpstorage differ from release to release.
    assert!(!size.to_string().contains("mlpstorage "), "{size}");
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
    let mut words = vec!["check", "--accelerators", "8", "--edition", "v2.0"];
    words.extend(run.split(' ').skip_while(|w| *w != "dlio-rs").skip(1));
    dlio(&words).ok();
    // v3.0 has no subset of it, and eight accelerators do not hold its checkpoint.
    let v3 = of("llama3_70b", "v3.0");
    let run = v3["commands"]["run"].as_str().unwrap();
    assert!(!run.contains("subset"), "{run}");
    let words = ["check", "workload=llama3_70b", "--accelerators", "8"];
    dlio(&words).fails(
        1,
        &[
            "FAIL  4.3.4",
            "640 GB of accelerator memory, checkpoint of 911.2 GiB",
        ],
    );
    dlio(&["check", "workload=llama3_70b", "--accelerators", "64"]).ok();
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
