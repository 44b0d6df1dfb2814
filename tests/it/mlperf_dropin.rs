//! Under the name `dlio_benchmark`: what mlpstorage types, and the files that it and its users look for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::*;

/// A `dlio_benchmark` as `install-shim` makes it.
fn shim(scratch: &Scratch) -> PathBuf {
    let mut command = solo();
    command.arg("install-shim").arg(scratch.path("bin"));
    run(command).ok();
    scratch.path("bin/dlio_benchmark")
}

/// mpirun and the shim, with the words of mlpstorage v2.0: a leaf that exists, a config folder, text values.
fn launch(scratch: &Scratch, workload: &str, leaf: &str, overrides: &[&str]) -> Command {
    let leaf = scratch.path(leaf);
    std::fs::create_dir_all(&leaf).unwrap();
    let mut launcher = mpirun_of(2, &shim(scratch));
    launcher
        .arg(format!("workload={workload}"))
        .arg(format!("++hydra.run.dir={}", leaf.display()))
        .arg("++hydra.output_subdir=dlio_config")
        .args(overrides.iter().map(|o| format!("++workload.{o}")))
        .arg(format!(
            "++workload.dataset.data_folder={}",
            scratch.text("data")
        ))
        .arg(format!("--config-dir={}", scratch.text("harness")));
    launcher
}

/// mpirun kills its ranks a second after SIGTERM, in which a busy machine may not get to them; here it waits longer.
fn patient(mut launcher: Command) -> Command {
    launcher.env("OMPI_MCA_odls_base_sigkill_timeout", "5");
    launcher
}

/// The harness's own folder of workloads: `unet3d_h100` without a checkpoint, and with a small record.
fn harness(scratch: &Scratch) {
    let folder = scratch.path("harness/workload");
    std::fs::create_dir_all(&folder).unwrap();
    let dataset = "dataset:\n  data_folder: data/unet3d/\n  format: npz\n  num_files_train: 168\n  num_samples_per_file: 1\n  record_length_bytes: 65536\n";
    let head = "model:\n  name: unet3d\n  type: cnn\n  model_size: 499153191\nframework: pytorch\n";
    let run = format!(
        "{head}workflow:\n  generate_data: False\n  train: True\n  checkpoint: False\n{dataset}reader:\n  data_loader: pytorch\n  batch_size: 2\n  read_threads: 2\ntrain:\n  epochs: 2\n  computation_time: 0.01\nmetric:\n  au: 0.01\n"
    );
    let datagen = format!(
        "{head}workflow:\n  generate_data: True\n  train: False\n  checkpoint: False\n{dataset}"
    );
    std::fs::write(folder.join("unet3d_h100.yaml"), run).unwrap();
    std::fs::write(folder.join("unet3d_datagen.yaml"), datagen).unwrap();
}

fn names(folder: &Path) -> BTreeSet<String> {
    std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect()
}

fn set<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(String::from).into()
}

/// PyYAML's and Python's view of a file, as JSON.
fn python_reads(code: &str, path: &Path) -> serde_json::Value {
    let mut command = Command::new(python());
    command.args(["-c", code]).arg(path);
    serde_json::from_str(&run(command).ok().stdout).unwrap()
}

const YAML: &str = "import json, sys, yaml; print(json.dumps(yaml.safe_load(open(sys.argv[1]))))";
/// Python's json module takes `NaN`; the strict mode does not.
const JSON: &str = "import json, sys\ndef no(x): raise ValueError(x)\nprint(json.dumps(json.load(open(sys.argv[1]), parse_constant=no)))";

/// The log of a run that the launcher's folder has a link for is not written to what the link names.
#[test]
fn a_log_is_not_written_through_a_link() {
    let scratch = Scratch::new();
    let shim = scratch.path("dlio_benchmark");
    std::os::unix::fs::symlink(bin(), &shim).unwrap();
    std::fs::create_dir(scratch.path("out")).unwrap();
    std::fs::write(scratch.path("victim"), "mine").unwrap();
    std::os::unix::fs::symlink(scratch.path("victim"), scratch.path("out/dlio.log")).unwrap();
    let mut command = Command::new(&shim);
    command.args([
        "workload=quickstart",
        "++workload.storage.storage_type=null",
    ]);
    command.args([
        "++workload.workflow.generate_data=False",
        "++workload.train.epochs=1",
    ]);
    command.arg(format!("++workload.output.folder={}", scratch.text("out")));
    run(command).fails(1, &["dlio.log", "link"]);
    assert_eq!(
        std::fs::read_to_string(scratch.path("victim")).unwrap(),
        "mine"
    );
}

#[test]
fn datagen_and_run_leave_the_files_that_mlpstorage_asks_for() {
    let scratch = Scratch::new();
    harness(&scratch);
    // As mlpstorage prepares it, with the manifest that v3.0 leaves there.
    for folder in ["train", "valid", "test"] {
        std::fs::create_dir_all(scratch.path("data").join(folder)).unwrap();
    }
    std::fs::write(scratch.path("data/.mlps-datagen-manifest.json"), "{}").unwrap();
    let words = ["dataset.num_files_train=8", "dataset.skip_listing=True"];
    let datagen = run(launch(&scratch, "unet3d_datagen", "datagen", &words)).ok();
    assert!(
        datagen.stderr.contains("[OUTPUT]") && datagen.stdout.trim().is_empty(),
        "{}",
        datagen.text()
    );
    let leaf = scratch.path("datagen");
    assert_eq!(names(&leaf), set(["dlio.log", "dlio_config"]));
    assert!(std::fs::metadata(leaf.join("dlio.log")).unwrap().len() > 0);

    let words = [
        "dataset.num_files_train=8",
        "reader.read_threads=3",
        "reader.odirect=False",
        "dataset.skip_listing=True",
        "dataset.listing_validation_interval=1",
    ];
    run(launch(&scratch, "unet3d_h100", "run", &words)).ok();
    let leaf = scratch.path("run");
    assert_eq!(
        names(&leaf.join("dlio_config")),
        set(["config.yaml", "hydra.yaml", "overrides.yaml"])
    );
    let files = names(&leaf);
    for file in [
        "summary.json",
        "dlio.log",
        "0_output.json",
        "1_output.json",
        "0_per_epoch_stats.json",
        "1_per_epoch_stats.json",
    ] {
        assert!(files.contains(file), "{file} is missing in {files:?}");
    }
    assert!(!files.iter().any(|f| f.starts_with('.')), "{files:?}");

    let summary = python_reads(JSON, &leaf.join("summary.json"));
    assert_eq!(summary["num_accelerators"], 2);
    assert_eq!(summary["num_hosts"], 1);
    for list in ["host_memory_GB", "host_cpu_count"] {
        let list = summary[list].as_array().unwrap();
        assert_eq!(list.len(), 1);
        assert!(list[0].as_f64().unwrap() > 0.0);
    }
    let metric = &summary["metric"];
    assert_eq!(metric["train_au_meet_expectation"], "success");
    for list in ["train_au_percentage", "train_throughput_samples_per_second"] {
        assert_eq!(metric[list].as_array().unwrap().len(), 2, "{list}");
    }
    let (start, end) = (&summary["start"], &summary["end"]);
    assert!(start.as_str() < end.as_str(), "{start} {end}");
    assert_eq!(start.as_str().unwrap().len(), 26);

    // Spec of hydra's folder: task overrides exactly as typed and in their order, none of hydra's own.
    let overrides = python_reads(YAML, &leaf.join("dlio_config/overrides.yaml"));
    let data = format!("++workload.dataset.data_folder={}", scratch.text("data"));
    let mut typed = vec!["workload=unet3d_h100".to_string()];
    typed.extend(words.iter().map(|w| format!("++workload.{w}")));
    typed.push(data);
    assert_eq!(overrides, serde_json::json!(typed));
    let config = python_reads(YAML, &leaf.join("dlio_config/config.yaml"));
    let w = &config["workload"];
    assert_eq!(config.as_object().unwrap().len(), 1);
    assert_eq!(w["workflow"]["checkpoint"], false);
    assert_eq!(w["reader"]["read_threads"], 3);
    assert_eq!(w["reader"]["odirect"], false);
    assert_eq!(w["model"]["model_size"], 499153191);
    assert_eq!(w["dataset"]["skip_listing"], true);
    let hydra = python_reads(YAML, &leaf.join("dlio_config/hydra.yaml"));
    assert_eq!(hydra["hydra"]["overrides"]["task"], overrides);
    assert_eq!(
        hydra["hydra"]["runtime"]["choices"]["workload"],
        "unet3d_h100"
    );
}

#[test]
fn the_config_folder_comes_first_unless_dlios_order_is_asked_for() {
    let scratch = Scratch::new();
    harness(&scratch);
    let words = ["storage.storage_type=null", "train.computation_time=0.001"];
    run(launch(&scratch, "unet3d_h100", "ours", &words)).ok();
    let mut command = launch(&scratch, "unet3d_h100", "dlios", &words);
    command.env("DLIO_RS_HYDRA_SHADOWING", "1");
    let out = run(command).ok();
    assert!(
        out.stderr.contains("DLIO_RS_HYDRA_SHADOWING"),
        "{}",
        out.stderr
    );
    let checkpoint = |leaf: &str| {
        let path = scratch.path(leaf).join("dlio_config/config.yaml");
        python_reads(YAML, &path)["workload"]["workflow"]["checkpoint"].clone()
    };
    // DLIO's own unet3d_h100 has a checkpoint; the harness's has none.
    assert_eq!(checkpoint("ours"), false);
    assert_eq!(checkpoint("dlios"), true);
}

#[test]
fn a_failure_is_in_the_log_and_in_the_exit_status() {
    let scratch = Scratch::new();
    harness(&scratch);
    // No file was generated.
    let out = run(launch(&scratch, "unet3d_h100", "run", &[]));
    assert_ne!(out.status, Some(0), "{}", out.text());
    let log = std::fs::read_to_string(scratch.path("run/dlio.log")).unwrap();
    assert!(
        log.contains("[ERROR]") && log.contains("does not exist"),
        "{log}"
    );
    assert!(out.stderr.contains("[ERROR]"), "{}", out.stderr);
    assert_eq!(names(&scratch.path("run")), set(["dlio.log"]));

    let mut command = launch(&scratch, "unet3d_h100", "run", &[]);
    command.env("DLIO_LOG_LEVEL", "loud");
    run(command).fails(2, &["DLIO_LOG_LEVEL", "loud", "remedy"]);
}

#[test]
fn the_limit_on_dropping_caches_is_read() {
    let scratch = Scratch::new();
    harness(&scratch);
    let words = [
        "workflow.generate_data=True",
        "dataset.num_files_train=4",
        "reader.drop_cache=system",
    ];
    let mut command = launch(&scratch, "unet3d_h100", "run", &words);
    command.env("DLIO_DROP_CACHES_TIMEOUT", "soon");
    run(command).fails(2, &["DLIO_DROP_CACHES_TIMEOUT", "soon", "remedy"]);
    // Before any file.
    assert!(!scratch.path("data/train").exists());
}

#[test]
fn names_do_not_leave_the_folder_of_results() {
    let scratch = Scratch::new();
    harness(&scratch);
    let precious = scratch.path("precious");
    std::fs::write(&precious, "mine").unwrap();
    for word in [
        format!("output.log_file={}", precious.display()),
        "output.log_file=../precious".into(),
    ] {
        let command = launch(&scratch, "unet3d_datagen", "run", &[&word]);
        run(command).fails(2, &["output.log_file", "outside", "remedy"]);
    }
    assert_eq!(std::fs::read_to_string(&precious).unwrap(), "mine");
}

/// The lines of `dlio.log` that have a word.
fn lines_with(leaf: &Path, word: &str) -> Vec<String> {
    let log = std::fs::read_to_string(leaf.join("dlio.log")).unwrap();
    log.lines()
        .filter(|line| line.contains(word))
        .map(String::from)
        .collect()
}

/// Without a launcher, which has an exit status of its own.
#[test]
fn a_signal_has_its_status() {
    use nix::sys::signal::Signal;
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGINT, 130)] {
        let scratch = Scratch::new();
        harness(&scratch);
        let leaf = scratch.path("leaf");
        let mut command = Command::new(shim(&scratch));
        command
            .arg("workload=unet3d_h100")
            .arg(format!("++hydra.run.dir={}", leaf.display()))
            .arg("++workload.storage.storage_type=null")
            .arg("++workload.train.computation_time=30")
            .arg(format!("--config-dir={}", scratch.text("harness")));
        let child = start(command);
        wait_for(60, || {
            std::fs::read_to_string(leaf.join("dlio.log"))
                .is_ok_and(|text| text.contains("Starting block 1"))
        });
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
        let stopped = format!("stopped by {}", signal.as_str());
        finish(child, 120).fails(status, &[&stopped]);
        assert_eq!(names(&leaf), set(["dlio.log"]));
        let lines = lines_with(&leaf, &stopped);
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("[ERROR] stopped by"), "{lines:?}");
    }
}

#[test]
fn sigterm_ends_every_rank_and_leaves_nothing_half_written() {
    let scratch = Scratch::new();
    harness(&scratch);
    let words = [
        "workflow.generate_data=True",
        "dataset.num_files_train=8",
        "train.computation_time=30",
    ];
    let child = start(patient(launch(&scratch, "unet3d_h100", "run", &words)));
    let leaf = scratch.path("run");
    wait_for(60, || {
        leaf.join("dlio.log").is_file() && !lines_with(&leaf, "Starting block 1").is_empty()
    });
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let out = finish(child, 120);
    assert_ne!(out.status, Some(0), "{}", out.text());
    // mpirun may close its ranks' output before they have said it; their log has it.
    let said = out.text().matches("stopped by SIGTERM").count();
    assert!(said <= 1, "{}", out.text());
    let lines = lines_with(&leaf, "stopped by SIGTERM");
    assert_eq!(lines.len(), 1, "{lines:?}\n{}", out.text());
    assert_eq!(names(&scratch.path("run")), set(["dlio.log"]));
    let left = std::fs::read_dir(scratch.path("data/train")).unwrap();
    let parts = left.filter(|e| {
        e.as_ref()
            .unwrap()
            .file_name()
            .to_string_lossy()
            .ends_with(".part")
    });
    assert_eq!(parts.count(), 0);
}

#[test]
fn sigterm_while_generating_removes_the_half_written_files() {
    let scratch = Scratch::new();
    harness(&scratch);
    // Larger than what is written before the signal.
    let words = [
        "dataset.num_files_train=64",
        "dataset.record_length_bytes=1073741824",
    ];
    let child = start(patient(launch(&scratch, "unet3d_datagen", "run", &words)));
    let train = scratch.path("data/train");
    let parts = |folder: &Path| {
        let all = if folder.is_dir() {
            names(folder)
        } else {
            BTreeSet::new()
        };
        all.into_iter()
            .filter(|n| n.ends_with(".part"))
            .collect::<Vec<_>>()
    };
    wait_for(60, || !parts(&train).is_empty());
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let out = finish(child, 120);
    assert_ne!(out.status, Some(0), "{}", out.text());
    assert_eq!(parts(&train), Vec::<String>::new());
}

#[test]
fn stdin_is_left_to_others() {
    let scratch = Scratch::new();
    let script = format!(
        "{} workload=quickstart storage.storage_type=null train.epochs=1 train.computation_time=0.001 output.folder={} >/dev/null 2>&1; cat",
        bin(),
        scratch.text("out")
    );
    std::fs::write(scratch.path("input"), "for the next one\n").unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", &format!("( {script} ) < {}", scratch.text("input"))]);
    assert_eq!(run(command).ok().stdout, "for the next one\n");
    assert!(scratch.path("out/summary.json").is_file());
}

#[test]
fn a_dlio_benchmark_of_somebody_else_is_kept() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("bin")).unwrap();
    let theirs = scratch.path("bin/dlio_benchmark");
    std::fs::write(&theirs, "#!/bin/sh\n").unwrap();
    let install = |extra: &[&str]| {
        let mut command = solo();
        command
            .arg("install-shim")
            .arg(scratch.path("bin"))
            .args(extra);
        run(command)
    };
    install(&[]).fails(2, &["dlio_benchmark", "--replace", "remedy"]);
    assert_eq!(std::fs::read_to_string(&theirs).unwrap(), "#!/bin/sh\n");
    install(&["--replace"]).ok();
    assert_eq!(
        std::fs::canonicalize(&theirs).unwrap(),
        std::fs::canonicalize(bin()).unwrap()
    );
    let kept = scratch.path("bin/dlio_benchmark.original");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "#!/bin/sh\n");
    // Again: nothing to do, and nothing lost.
    assert!(install(&[]).ok().stdout.contains("already"));
}

#[test]
fn configs_are_listed_and_printed() {
    let mut command = solo();
    command.arg("configs");
    let list = run(command).ok().stdout;
    for name in [
        "unet3d_b200",
        "retinanet_mi355",
        "flux_datagen",
        "llama3_1t",
    ] {
        assert!(list.lines().any(|l| l.starts_with(name)), "{list}");
    }
    let mut command = solo();
    command.args(["configs", "retinanet_b200"]);
    assert_eq!(
        run(command).ok().stdout,
        std::fs::read_to_string(repo().join("configs/retinanet_b200.yaml")).unwrap()
    );
    let mut command = solo();
    command.args(["configs", "retinanet_b20"]);
    run(command).fails(2, &["retinanet_b200"]);
}
