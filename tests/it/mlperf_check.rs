//! `size`, `check` and `--rules`, as a user drives them.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::*;

const NOT_CLOSED: &str = "CLOSED not claimable";

fn dlio(words: &[&str]) -> Outcome {
    let mut command = solo();
    command.args(words);
    run(command)
}

fn parsed(out: &Outcome) -> Value {
    serde_json::from_str(&out.stdout).unwrap_or_else(|e| panic!("{e}\n{}", out.text()))
}

/// (rule, verdict, what) of every finding of the assessments of a kind.
fn findings(checked: &Value, kind: &str) -> Vec<(String, String, String)> {
    let of = |f: &Value, key: &str| f[key].as_str().unwrap().to_owned();
    let assessments = checked["assessments"].as_array().unwrap();
    assessments
        .iter()
        .filter(|a| a["kind"] == kind)
        .flat_map(|a| a["findings"].as_array().unwrap())
        .map(|f| (of(f, "rule"), of(f, "verdict"), of(f, "what")))
        .collect()
}

fn failed(checked: &Value, kind: &str) -> Vec<String> {
    let mut rules: Vec<_> = findings(checked, kind)
        .into_iter()
        .filter(|(_, verdict, _)| verdict == "FAIL")
        .map(|(rule, ..)| rule)
        .collect();
    rules.dedup();
    rules
}

/// Figures of mlpstorage's own function.
#[test]
fn sizes_of_the_harness() {
    for (workload, gib, hosts, accelerators, files, bytes, decided) in [
        (
            "unet3d_h100",
            "512",
            "1",
            "8",
            28000u64,
            4_104_817_584_000u64,
            "steps",
        ),
        (
            "cosmoflow_h100",
            "512",
            "1",
            "8",
            971_820,
            2_748_779_264_520,
            "memory",
        ),
        (
            "resnet50_h100",
            "64",
            "1",
            "64",
            10232,
            1_467_675_497_136,
            "steps",
        ),
        (
            "resnet50_h100",
            "512",
            "1",
            "16",
            19164,
            2_748_879_322_431,
            "memory",
        ),
    ] {
        let out = dlio(&[
            "size",
            &format!("workload={workload}"),
            "--accelerators",
            accelerators,
            "--hosts",
            hosts,
            "--host-memory-gib",
            gib,
            "--format",
            "json",
        ])
        .ok();
        let size = parsed(&out);
        let d = &size["dataset"];
        assert_eq!(d["num_files_train"], files, "{workload}");
        assert_eq!(d["total_bytes"], bytes, "{workload}");
        assert_eq!(d["decided_by"], decided, "{workload}");
        assert_eq!(
            d["num_subfolders_train"],
            if files > 10000 { files / 10000 } else { 0 }
        );
        assert!(size["not_closed"].as_str().unwrap().contains(NOT_CLOSED));
        for command in ["generate", "run"] {
            let line = size["commands"][command].as_str().unwrap();
            assert!(line.contains(&format!("num_files_train={files}")), "{line}");
            assert_eq!(
                line.contains("num_subfolders_train="),
                files > 10000,
                "{line}"
            );
        }
    }
}

#[test]
fn size_of_a_checkpoint_is_that_of_the_plan() {
    let out = dlio(&[
        "size",
        "workload=llama3_8b",
        "--accelerators",
        "8",
        "--hosts",
        "2",
        "--host-memory-gib",
        "64",
        "--format",
        "json",
    ])
    .ok();
    let size = parsed(&out);
    let plan = dlio(&["plan", "workload=llama3_8b", "--ranks", "8"]).ok();
    let line = plan
        .stdout
        .lines()
        .find(|l| l.starts_with("checkpoint "))
        .unwrap();
    let bytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    let c = &size["checkpoint"];
    assert_eq!(c["bytes"], bytes);
    assert_eq!(c["bytes_written"], 10 * bytes);
    let hosts = c["bytes_per_host"].as_array().unwrap();
    assert_eq!(
        hosts.iter().map(|h| h.as_u64().unwrap()).sum::<u64>(),
        bytes
    );
    // Half of 105 GiB ten times is more than 3 x 64 GiB.
    assert_eq!(c["caches_must_be_emptied"], false);
}

fn scratch_yaml(text: &str) -> Scratch {
    let scratch = Scratch::new();
    fs::write(scratch.path("a.yaml"), text).unwrap();
    scratch
}

#[test]
fn usage_of_size_and_check() {
    let words = |more: &[&'static str]| {
        let mut all = vec!["size", "workload=unet3d_h100"];
        all.extend(more);
        all
    };
    dlio(&words(&[])).fails(2, &["--accelerators"]);
    dlio(&words(&["--accelerators", "8"])).fails(2, &["--host-memory-gib"]);
    let bad = ["--accelerators", "8", "--host-memory-gib", "lots"];
    dlio(&words(&bad)).fails(2, &["a number of GiB above 0 is expected"]);
    let bad = ["--accelerators", "0", "--host-memory-gib", "1"];
    dlio(&words(&bad)).fails(2, &["--accelerators"]);
    let huge = ["--accelerators", "8", "--host-memory-gib", "1e30"];
    dlio(&words(&huge)).fails(2, &["too large"]);
    // What only generates says nothing of batches.
    let yaml = scratch_yaml("dataset: {format: npz, record_length_bytes: 1000}\n");
    let path = yaml.text("a.yaml");
    let file = [
        "size",
        &path,
        "--accelerators",
        "8",
        "--host-memory-gib",
        "1",
    ];
    dlio(&file).fails(2, &["reader.batch_size is not set", "remedy"]);
    dlio(&["check", "none.yaml"]).fails(2, &["cannot read none.yaml", "remedy"]);
    let scratch = Scratch::new();
    let folder = scratch.text("");
    dlio(&["check", &folder, "train.epochs=2"]).fails(2, &["is checked as it is", "remedy"]);
    dlio(&["check", &folder, "--hosts", "1"]).fails(2, &["summary.json", "remedy"]);
}

const BEFORE: [&str; 8] = [
    "--accelerators",
    "8",
    "--hosts",
    "1",
    "--host-memory-gib",
    "512",
    "--format",
    "json",
];

#[test]
fn a_configuration_is_checked_before_the_run() {
    let check = |more: &[&str]| {
        let mut words = vec!["check", "workload=unet3d_h100", "--edition", "v2.0"];
        words.extend(BEFORE);
        words.extend(more);
        dlio(&words)
    };
    let out = check(&["dataset.num_files_train=28000"]).ok();
    let checked = parsed(&out);
    assert_eq!(checked["violations"], 0);
    assert_eq!(checked["assessments"][0]["standing"], "CLOSED");
    assert_eq!(checked["assessments"][0]["category"], "OPEN");
    let out = check(&["dataset.num_files_train=27999"]).fails(1, &["27999 files, 28000 needed"]);
    assert_eq!(failed(&parsed(&out), "configuration"), ["3.1.2"]);
    let out = check(&["dataset.num_files_train=28000", "reader.batch_size=8"]);
    assert_eq!(out.status, Some(1));
    assert!(failed(&parsed(&out), "configuration").contains(&"3.6.3".to_owned()));
    // What is not known is left out by name.
    let out = dlio(&["check", "workload=unet3d_h100", "--format", "json"]);
    let skipped = findings(&parsed(&out), "configuration");
    assert!(
        skipped.iter().any(|(rule, verdict, what)| rule == "3.1.2"
            && verdict == "SKIP"
            && what.contains("--accelerators")),
        "{skipped:?}"
    );
}

/// Runs the template on two ranks, cut down to 28 files of 64 KiB.
fn tiny(scratch: &Scratch) -> std::path::PathBuf {
    let mut command = mpirun(2);
    command.args(["workload=unet3d_h100", "--output"]);
    command.arg(scratch.path("results/unet3d/20260131_120000"));
    command.arg(format!(
        "++workload.dataset.data_folder={}",
        scratch.text("data")
    ));
    command.args([
        "++workload.workflow.generate_data=True",
        "++workload.workflow.checkpoint=False",
        "++workload.dataset.num_files_train=28",
        "++workload.dataset.record_length_bytes=65536",
        "++workload.dataset.record_length_bytes_stdev=0",
        "++workload.train.epochs=1",
        "++workload.train.computation_time=0.001",
    ]);
    run(command).ok();
    scratch.path("results/unet3d/20260131_120000")
}

fn check_json(folder: &Path, edition: &str) -> (Value, Option<i32>) {
    let mut command = solo();
    command.arg("check").arg(folder);
    command.args(["--edition", edition, "--format", "json"]);
    let out = run(command);
    (parsed(&out), out.status)
}

#[test]
fn a_real_run_is_checked_after_it() {
    let scratch = Scratch::new();
    let leaf = tiny(&scratch);
    let summary = json(&leaf.join("summary.json"));
    let (checked, status) = check_json(&leaf, "v3.0");
    assert_eq!(status, Some(1));
    let mut expected = vec!["3.1.2", "3.4.2", "3.6.3"];
    // How fast this host was: the run's own verdict.
    if summary["metric"]["train_au_meet_expectation"] != "success" {
        expected.insert(1, "3.3.2");
    }
    assert_eq!(failed(&checked, "run"), expected, "{checked:#}");
    let found = findings(&checked, "run");
    let of = |rule: &str| {
        let of = found.iter().filter(|(r, ..)| r == rule);
        of.map(|(.., what)| what.as_str()).collect::<Vec<_>>()
    };
    // Epochs, computation time and two of the record; not the number of files and the folder.
    assert_eq!(of("3.6.3").len(), 4, "{:?}", of("3.6.3"));
    // 5 x the memory of the summary, in files of 64 KiB.
    let memory = summary["host_memory_GB"][0].as_f64().unwrap() * f64::from(1 << 30);
    let files = (5.0 * memory / 65536.0).ceil() as u64;
    assert!(
        of("3.1.2")[0].starts_with(&format!("28 files, {files} needed")),
        "{:?}",
        of("3.1.2")
    );
    // A folder above it holds a group too.
    let (checked, _) = check_json(&scratch.path("results"), "v3.0");
    assert_eq!(failed(&checked, "group"), ["2.1.17", "runs"]);
    assert_eq!(checked["schema"], "dlio-rs/check/2");
    assert!(checked.get("validator").is_none());
    let out = dlio(&["check", &scratch.text("results"), "--edition", "v2.0"]);
    out.fails(
        1,
        &[
            NOT_CLOSED,
            "rules of v2.0: the parameters qualify for no category (INVALID)",
            "remedy: dataset.num_files_train=",
            "violation(s) of the rules of v2.0",
        ],
    );
}

/// The tree of a submission is left to mlpstorage: called where it is installed, named where not.
#[test]
fn a_submission_tree_is_left_to_mlpstorage() {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    fs::create_dir_all(scratch.path("tree/open/Acme/results")).unwrap();
    let check = |status: Option<u32>| {
        let bin = scratch.path("bin");
        fs::create_dir_all(&bin).unwrap();
        let _ = fs::remove_file(bin.join("mlpstorage"));
        if let Some(status) = status {
            let script =
                format!("#!/bin/sh\necho \"got $*\"; echo \"[2.1.7 x] bad\" >&2; exit {status}\n");
            fs::write(bin.join("mlpstorage"), script).unwrap();
            let mode = fs::Permissions::from_mode(0o755);
            fs::set_permissions(bin.join("mlpstorage"), mode).unwrap();
        }
        let mut command = solo();
        command.arg("check").arg(scratch.path("tree"));
        command.args(["--format", "json"]).env("PATH", &bin);
        let out = run(command);
        assert_eq!(out.status, Some(1), "{}", out.text());
        parsed(&out)["validator"].clone()
    };
    let named = format!("mlpstorage validate {}", scratch.text("tree"));
    let absent = check(None);
    assert_eq!(absent["command"], named);
    assert!(absent["status"].is_null() && absent.get("output").is_none());
    let ran = check(Some(3));
    assert_eq!(ran["status"], 3);
    assert_eq!(
        ran["output"],
        format!("got validate {}\n[2.1.7 x] bad\n", scratch.text("tree"))
    );
}

#[test]
fn a_rule_is_explained() {
    let out = dlio(&["check", "--explain", "4.3.4"]).ok();
    for words in [
        "4.3.4 checkpointAggregateAcceleratorMemory",
        "holds the checkpoint",
        "remedy: start more processes",
    ] {
        assert!(out.stdout.contains(words), "{}", out.text());
    }
    let all = dlio(&["check", "--explain"]).ok();
    assert!(all.stdout.contains("| EDN-02 | comparabilityClass |"));
    dlio(&["check", "--explain", "2.1.6"]).fails(2, &["no such rule here", "mlpstorage validate"]);
}

#[test]
fn damaged_runs_are_findings_and_no_crash() {
    let scratch = Scratch::new();
    let good = tiny(&scratch);
    let copy = scratch.path("copy");
    let damaged = |name: &str, change: &dyn Fn(&Path), words: &[&str]| {
        let _ = fs::remove_dir_all(&copy);
        let mut cp = Command::new("cp");
        assert!(
            cp.arg("-r")
                .arg(&good)
                .arg(&copy)
                .status()
                .unwrap()
                .success()
        );
        change(&copy);
        for edition in ["v2.0", "v3.0"] {
            let mut command = solo();
            command.arg("check").arg(&copy).args(["--edition", edition]);
            let out = run(command);
            assert_eq!(out.status, Some(1), "{name}: {}", out.text());
            for word in words {
                assert!(
                    out.stdout.contains(word),
                    "{name}: '{word}' is missing in\n{}",
                    out.text()
                );
            }
            assert!(!out.text().contains("panicked"), "{name}: {}", out.text());
        }
    };
    let edit = |file: &'static str, from: &'static str, to: &'static str| {
        move |leaf: &Path| {
            let path = leaf.join(file);
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.contains(from), "{text}");
            fs::write(path, text.replace(from, to)).unwrap();
        }
    };
    let put = |file: &'static str, text: &'static str| {
        move |leaf: &Path| fs::write(leaf.join(file), text).unwrap()
    };
    damaged(
        "no summary",
        &|leaf| fs::remove_file(leaf.join("summary.json")).unwrap(),
        &["there is no summary.json"],
    );
    damaged(
        "cut summary",
        &put("summary.json", "{\"start\": \"2026"),
        &["summary.json cannot be read: EOF", "remedy"],
    );
    damaged(
        "two metadata files",
        &|leaf| {
            fs::write(leaf.join("a_metadata.json"), "{}").unwrap();
            fs::write(leaf.join("b_metadata.json"), "{}").unwrap();
        },
        &["2 metadata files (a_metadata.json, b_metadata.json)"],
    );
    damaged(
        "wrong types",
        &edit(
            "summary.json",
            "\"num_accelerators\": 2",
            "\"num_accelerators\": \"two\"",
        ),
        &["num_accelerators is \"two\"; a whole number is expected"],
    );
    damaged(
        "a configuration that is a list",
        &put("dlio_config/config.yaml", "- 1\n- 2\n"),
        &["training run", "only the metrics speak of training"],
    );
    damaged(
        "a link to itself",
        &|leaf| {
            fs::remove_file(leaf.join("dlio_config/config.yaml")).unwrap();
            std::os::unix::fs::symlink("config.yaml", leaf.join("dlio_config/config.yaml"))
                .unwrap();
        },
        &["config.yaml: Too many levels of symbolic links"],
    );
    let strangers = scratch.path("strangers/photos");
    fs::create_dir_all(&strangers).unwrap();
    fs::write(strangers.join("a.jpg"), "x").unwrap();
    dlio(&["check", &scratch.text("strangers")]).fails(1, &["no run at or below", "remedy"]);
}

#[test]
fn a_violation_stops_the_run_before_any_io() {
    let scratch = Scratch::new();
    for verb in ["run", "generate"] {
        let mut command = mpirun(2);
        command.args([verb, "workload=unet3d_h100", "--rules", "mlperf-v3"]);
        command.arg("--output").arg(scratch.path("out"));
        command.arg(format!("dataset.data_folder={}", scratch.text("data")));
        command.arg("workflow.generate_data=true");
        command.arg("reader.batch_size=8");
        let out = run(command).fails(
            2,
            &[
                "refused before any I/O",
                "FAIL  3.6.3    trainingOpenSubmissionParameters: reader.batch_size=8",
                "remedy: leave the word 'reader.batch_size=8' out",
                NOT_CLOSED,
            ],
        );
        assert_eq!(out.text().matches("refused before").count(), 1);
        let left: Vec<_> = fs::read_dir(scratch.path("")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}

fn memory_gib() -> f64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap();
    let line = text.lines().find(|l| l.starts_with("MemTotal:")).unwrap();
    let kib: f64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib / 1048576.0
}

/// What `size` says for this host is what `--rules` wants of a run on it, to the file.
#[test]
fn the_size_that_is_advised_is_the_one_that_is_demanded() {
    let scratch = Scratch::new();
    let gib = memory_gib().to_string();
    let out = dlio(&[
        "size",
        "workload=resnet50_h100",
        "--accelerators",
        "2",
        "--host-memory-gib",
        &gib,
        "--format",
        "json",
    ])
    .ok();
    let files = parsed(&out)["dataset"]["num_files_train"].as_u64().unwrap();
    let start = |files: u64, rules: &str| {
        let mut command = mpirun(2);
        command.args(["workload=resnet50_h100", "--rules", rules]);
        command.arg(format!("dataset.num_files_train={files}"));
        command.arg(format!("dataset.data_folder={}", scratch.text("data")));
        command.arg("--output").arg(scratch.path("out"));
        run(command)
    };
    start(files - 1, "mlperf-v3").fails(
        2,
        &[
            "3.1.2 trainingRecalculateDatasetSize",
            &format!("{files} needed"),
        ],
    );
    // By the rules it may start; there is no data to read.
    start(files, "mlperf-v2").fails(
        1,
        &[
            "0 violation(s) of the rules of v2.0",
            "PASS  3.1.2    trainingRecalculateDatasetSize",
            "WARN  3.3.3",
            "PASS  3.3.6    trainingIdenticalAcceleratorsPerNode: 2 accelerators on 1 host(s): [2]",
            "the parameters are those of CLOSED",
            NOT_CLOSED,
            &scratch.text("data"),
        ],
    );
    // What answers without data passes no rules.
    let mut command = mpirun(2);
    command.args([
        "workload=resnet50_h100",
        "--virtual-time",
        "--rules",
        "v2.0",
    ]);
    command.args([
        "storage.storage_type=null",
        &format!("dataset.num_files_train={files}"),
    ]);
    run(command).fails(2, &["storage bytesAreRead"]);
}

/// Whoever gets a workload from somebody else sees what it would run.
#[test]
fn a_command_in_the_workload_is_shown_before_it_runs() {
    let words = [
        "workload=checkpoint_small",
        "checkpoint.between_phases=\"touch /tmp/x\u{1b}[2J\"",
    ];
    for verb in ["check", "plan", "validate"] {
        let mut command = solo();
        command.arg(verb).args(words);
        let out = run(command);
        assert!(
            out.stdout.contains("touch /tmp/x\\u{1b}[2J")
                || out.stdout.contains("touch /tmp/x\\u001b[2J"),
            "{verb}: {}",
            out.text()
        );
    }
}
