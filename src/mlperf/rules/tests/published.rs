//! The numbers of results that the round of 2026 published as CLOSED: nothing here may find a violation in them.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{Made, failures};
use crate::mlperf::editions::Edition::V3;
use crate::mlperf::rules::engine::folder;
use crate::mlperf::verdict::{Assessment, Category, Standing, Verdict};

/// unet3d, one b200, 184.86 GiB, 7412 files.
fn unet3d() -> Made {
    let mut made = Made::unet3d();
    made.words = words(
        "workload=unet3d_b200 ++workload.dataset.num_files_train=7412 ++workload.dataset.num_subfolders_train=0
        ++workload.reader.read_threads=24 ++workload.dataset.skip_listing=True
        ++workload.dataset.listing_validation_interval=1000 ++workload.dataset.data_folder=/mnt/fs/mlperf/unet3d",
    );
    let w = &mut made.workload;
    w["workflow"]["checkpoint"] = json!(false);
    for (key, value) in [
        ("data_folder", json!("/mnt/fs/mlperf/unet3d")),
        ("num_files_train", json!(7412)),
        ("num_subfolders_train", json!(0)),
        ("skip_listing", json!(true)),
        ("listing_validation_interval", json!(1000)),
    ] {
        w["dataset"][key] = value;
    }
    w["reader"]["read_threads"] = json!(24);
    w["reader"]["multiprocessing_context"] = json!("fork");
    w["train"]["computation_time"] = json!(0.162);
    let s = &mut made.summary;
    s["num_accelerators"] = json!(1);
    s["num_files_train"] = json!(7412);
    s["host_cpu_count"] = json!([72]);
    s["host_memory_GB"] = json!([184.8590431213379]);
    s["metric"] = json!({
        "train_au_percentage": [
            97.69214730701795, 97.45949073741336, 97.35310954869446, 97.63869780469241, 97.78241804828814
        ],
        "train_au_mean_percentage": 97.58517268922127,
        "train_au_meet_expectation": "success",
        "train_throughput_samples_per_second": [
            42.18361258957626, 42.08353473463342, 42.037847703961106, 42.16064482619841, 42.22286580872635
        ],
        "train_io_mean_MB_per_second": 5891.240547674439,
    });
    made.metadata = json!({
        "benchmark_type": "training",
        "model": "unet3d",
        "command": "run",
        "run_datetime": "20260708_070551",
        "num_processes": 1,
        "accelerator": "b200",
        "parameters": {
            "model": {"name": "unet3d"},
            "dataset": {"num_files_train": "7412", "num_samples_per_file": 1, "record_length_bytes": 146600628},
        },
        "args": {
            "hosts": ["172.31.30.154"],
            "data_dir": "/mnt/fs/mlperf",
            "results_dir": "/home/ubuntu/results",
        },
    });
    made
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn warned(assessments: &[Assessment]) -> Vec<&'static str> {
    let findings = assessments.iter().flat_map(|a| &a.findings);
    let warned = findings.filter(|f| f.verdict == Verdict::Warn);
    let mut rules: Vec<_> = warned.map(|f| f.rule).collect();
    rules.sort_unstable();
    rules.dedup();
    rules
}

/// Six runs, their datasize and their datagen.
fn training_row(root: &Path) {
    let phases = root.join("training/unet3d");
    for (name, start, end) in [
        ("070551", "07:05:58.287931", "07:21:28.951817"),
        ("072134", "07:21:41.287931", "07:37:15.951817"),
        ("073721", "07:37:28.287931", "07:53:00.951817"),
        ("075306", "07:53:13.287931", "08:08:44.951817"),
        ("080850", "08:08:57.287931", "08:24:28.951817"),
        ("082434", "08:24:41.287931", "08:40:12.951817"),
    ] {
        let leaf = phases.join("run").join(format!("20260708_{name}"));
        unet3d()
            .at(&format!("2026-07-08T{start}"), &format!("2026-07-08T{end}"))
            .write(&leaf);
    }
    // The leaf of datasize holds mlpstorage's metadata alone.
    let datasize = phases.join("datasize/20260711_035506");
    fs::create_dir_all(&datasize).unwrap();
    let mut metadata = unet3d().metadata;
    metadata["command"] = json!("datasize");
    metadata["parameters"]["dataset"]["num_files_train"] = json!(6738);
    let file = datasize.join("training_20260711_035506_metadata.json");
    fs::write(file, metadata.to_string()).unwrap();
    let mut datagen = unet3d();
    datagen.words = words(
        "workload=unet3d_datagen ++workload.dataset.num_files_train=7412 ++workload.dataset.skip_listing=True",
    );
    datagen.workload["workflow"] =
        json!({"generate_data": true, "train": false, "checkpoint": false});
    for section in ["reader", "train", "metric", "checkpoint"] {
        datagen.workload.as_object_mut().unwrap().remove(section);
    }
    datagen.metadata["command"] = json!("datagen");
    datagen.prefix = "training_datagen";
    let leaf = phases.join("datagen/20260708_143909");
    datagen.write(&leaf);
    for file in ["summary.json", "0_output.json", "0_per_epoch_stats.json"] {
        fs::remove_file(leaf.join(file)).unwrap();
    }
}

/// Checks what is below a folder: so many assessments without a violation, and these warnings.
fn has_no_violation(root: &Path, n: usize, warnings: &[&str]) {
    let checked = folder(root, V3).unwrap();
    assert_eq!(checked.assessments.len(), n);
    for a in &checked.assessments {
        assert_eq!(failures(a), [""; 0], "{}: {:#?}", a.subject, a.findings);
        assert_eq!(a.standing, Standing::Closed, "{}", a.subject);
        assert_eq!(a.category, Category::Open);
    }
    assert_eq!(warned(&checked.assessments), warnings);
}

#[test]
fn a_training_row_has_no_violation() {
    let dir = tempfile::tempdir().unwrap();
    training_row(dir.path());
    // One accelerator on one host.
    has_no_violation(dir.path(), 6 + 2 + 1, &["3.3.3"]);
}

#[test]
fn a_checkpointing_row_has_no_violation() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("checkpointing/llama3-8b");
    for (name, written, read, start, end) in [
        ("064613", 10, 0, "06:46:18.666818", "06:50:57.118842"),
        ("065100", 0, 10, "06:51:12.947810", "06:55:11.444669"),
    ] {
        let mut made = Made::llama3_8b(written, read)
            .at(&format!("2026-07-08T{start}"), &format!("2026-07-08T{end}"));
        made.summary["host_memory_GB"] = json!([747.9131889343262]);
        made.metadata["accelerator"] = json!(null);
        let leaf = root.join(format!("20260708_{name}"));
        made.write(&leaf);
    }
    // 10 x 105 GiB is less than 3 x 748 GiB.
    has_no_violation(dir.path(), 3, &["4.3.1"]);
}
