//! `package`, as a user drives it, on runs in which `check` finds no violation.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::*;

/// unet3d on one b200 and 184.86 GiB, with the numbers of a published result; by dlio-rs started by hand.
fn run_of_unet3d(folder: &Path, start: &str, end: &str) {
    let config = folder.join("dlio_config");
    fs::create_dir_all(&config).unwrap();
    let workload = json!({
        "model": {"name": "unet3d", "type": "cnn", "model_size": 499153191u64},
        "framework": "pytorch",
        "workflow": {"generate_data": false, "train": true, "checkpoint": false},
        "dataset": {
            "data_folder": "/mnt/fs/mlperf/unet3d", "format": "npz", "num_files_train": 7412,
            "num_samples_per_file": 1, "record_length_bytes": 146600628,
            "record_length_bytes_stdev": 68341808, "record_length_bytes_resize": 2097152,
        },
        "reader": {
            "data_loader": "pytorch", "batch_size": 7, "read_threads": 24, "file_shuffle": "seed",
            "sample_shuffle": "seed",
        },
        "train": {"epochs": 5, "computation_time": 0.162},
        "checkpoint": {
            "checkpoint_folder": "checkpoints/unet3d", "checkpoint_after_epoch": 5,
            "epochs_between_checkpoints": 2,
        },
        "metric": {"au": 0.9},
    });
    let summary = json!({
        "start": format!("2026-07-08T{start}.000000"), "end": format!("2026-07-08T{end}.000000"),
        "num_accelerators": 1, "num_hosts": 1, "hostname": "n1", "epochs": 5,
        "num_files_train": 7412, "num_files_eval": 0, "num_samples_per_file": 1,
        "host_cpu_count": [72], "host_memory_GB": [184.859],
        "metric": {
            "train_au_percentage": [97.6, 97.4, 97.3, 97.6, 97.7],
            "train_au_mean_percentage": 97.5,
            "train_au_meet_expectation": "success",
            "train_throughput_samples_per_second": [42.1, 42.0, 42.0, 42.1, 42.2],
            "train_throughput_mean_samples_per_second": 42.1,
            "train_io_mean_MB_per_second": 5888.0,
        },
    });
    let put = |name: &str, value: &Value| fs::write(folder.join(name), value.to_string()).unwrap();
    put("summary.json", &summary);
    put("0_output.json", &json!({}));
    put("0_per_epoch_stats.json", &json!({}));
    put("dlio.log", &json!("x"));
    put(
        "report.json",
        &json!({"schema_version": 1, "provenance": {"version": "0.1.0"}}),
    );
    // JSON is YAML.
    put("dlio_config/config.yaml", &json!({"workload": workload}));
    put("dlio_config/hydra.yaml", &json!({"hydra": {}}));
    put(
        "dlio_config/overrides.yaml",
        &json!([
            "workload=unet3d_b200",
            "++workload.dataset.num_files_train=7412",
            "++workload.reader.read_threads=24",
            "++workload.dataset.data_folder=/mnt/fs/mlperf/unet3d",
        ]),
    );
}

/// Six runs of 15 minutes, one after another.
fn six(folder: &Path) {
    for i in 0..6 {
        let clock = |minutes: u32| format!("{:02}:{:02}:00", 7 + minutes / 60, minutes % 60);
        let (start, end) = (clock(16 * i), clock(16 * i + 15));
        let name = format!("20260708_{}", start.replace(':', ""));
        run_of_unet3d(&folder.join(name), &start, &end);
    }
}

fn package(scratch: &Scratch, results: &str, edition: &str) -> Command {
    let mut command = solo();
    command.args(["package", &scratch.text(results), "--org", "Org"]);
    command.args(["--system", "Sys", "--out", &scratch.text("p")]);
    command.args(["--edition", edition]);
    command
}

#[test]
fn six_runs_of_our_own_are_packaged() {
    let scratch = Scratch::new();
    // Another organisation's tree.
    six(&scratch.path("r/open/Other/results/Theirs/training/unet3d/run"));
    let out = run(package(&scratch, "r", "v3.0")).ok();
    for words in [
        "results/Sys/training/unet3d/run/20260708_071600 (training_run.stdout.log, training_run.stderr.log)",
        "what the launcher printed",
        "CLOSED not claimable",
    ] {
        assert!(out.stdout.contains(words), "{words}: {}", out.text());
    }
    let results = scratch.path("p/open/Org/results/Sys/training/unet3d/run/results.json");
    let rows = json(&results);
    assert_eq!(rows.as_array().unwrap().len(), 7);
    for row in rows.as_array().unwrap() {
        // Not whose tree they came from.
        assert_eq!(row["Organization"], "Org");
        assert_eq!(row["Name"], "Sys");
        assert!(
            row["dlio-rs - Statement"]
                .as_str()
                .unwrap()
                .contains("CLOSED not claimable")
        );
    }
    assert_eq!(rows[0]["dlio-rs - Complete"], true);
    assert_eq!(rows[0]["Training - Read B/W (GiB/s)"], 5.75);
    assert_eq!(rows[0]["Training - # Simulated Accelerators"], 1);
    assert!(rows[1]["dlio-rs - Timestamp"].is_string());
    let yaml = fs::read_to_string(scratch.path("p/open/Org/systems/Sys.yaml")).unwrap();
    assert!(yaml.contains("# CLOSED not claimable"), "{yaml}");
}

#[test]
fn a_run_or_two_groups_or_a_foreign_run_are_no_submission() {
    let scratch = Scratch::new();
    six(&scratch.path("one"));
    let refused = |results: &str, words: &[&str]| {
        run(package(&scratch, results, "v3.0")).fails(1, words);
        assert!(!scratch.path("p").exists());
    };
    // The rule of six holds for a run that is named itself, too.
    refused("one/20260708_070000", &["2.1.17 runTimestamps: 1 run(s)"]);
    // Any other file of that name makes no run ours: then the launcher's output must be there.
    let report = scratch.path("one/20260708_070000/report.json");
    let ours = fs::read(&report).unwrap();
    fs::write(&report, "{\"rows\": []}").unwrap();
    refused("one", &["2.1.19 requiredFiles", "training_run.stdout.log"]);
    fs::write(&report, ours).unwrap();
    fs::create_dir(scratch.path("two")).unwrap();
    fs::rename(scratch.path("one"), scratch.path("two/a")).unwrap();
    six(&scratch.path("two/c"));
    for entry in fs::read_dir(scratch.path("two/c")).unwrap() {
        let from = entry.unwrap().path();
        let name = from.file_name().unwrap().to_str().unwrap().to_owned();
        let to = name.replace("20260708", "20260709");
        fs::rename(&from, scratch.path(&format!("two/c/{to}"))).unwrap();
    }
    refused(
        "two",
        &[
            "training/unet3d/run",
            "there are 2",
            "two/a",
            "two/c",
            "package them apart",
        ],
    );
}

/// The half-written tree is gone, and nothing stands under its name.
#[test]
fn a_signal_leaves_no_half_written_tree() {
    let scratch = Scratch::new();
    six(&scratch.path("r"));
    // Copying takes a while.
    let more = scratch.path("r/20260708_070000/more");
    fs::create_dir(&more).unwrap();
    for i in 0..20000 {
        fs::write(more.join(i.to_string()), "x").unwrap();
    }
    let child = start(package(&scratch, "r", "v3.0"));
    let id = child.id();
    let partial = scratch.path(&format!(".p.partial-{id}"));
    while !partial.exists() && Path::new(&format!("/proc/{id}/fd/0")).exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    let mut kill = Command::new("kill");
    run({
        kill.args(["-TERM", &id.to_string()]);
        kill
    })
    .ok();
    finish(child, 60).fails(128 + 15, &["stopped by SIGTERM"]);
    assert!(!partial.exists());
    assert!(!scratch.path("p").exists());
}
