//! Figures and comparison of runs: our own under mpirun, and folders in the shape that DLIO leaves.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::*;

/// What a run of the original leaves in its folder: text, because Python writes `NaN`.
pub struct DlioLeaf {
    /// The workload, as YAML in flow style.
    workload: String,
    summary: String,
    per_epoch_stats: String,
    name: &'static str,
}

const SUMMARY: &str = r#"{
    "start": "START", "num_accelerators": 8, "num_hosts": 2, "hostname": "h1",
    "metric": METRIC,
    "num_files_train": 28000, "num_files_eval": 0, "num_samples_per_file": 1,
    "host_cpu_count": [64, 64], "host_processor_name": "", "potential_caching": [0, 0],
    "host_cpuinfo": {}, "host_meminfo": {}, "host_memory_GB": [1024.0, 0.0],
    "data_size_per_host_GB": 1911.5, "epochs": EPOCHS, "end": "END"
}"#;

fn summary(stamp: &str, metric: &str, epochs: u64) -> String {
    let t = format!(
        "{}-{}-{}T{}:{}:",
        &stamp[..4],
        &stamp[4..6],
        &stamp[6..8],
        &stamp[9..11],
        &stamp[11..13]
    );
    SUMMARY
        .replace("START", &format!("{t}05.000001"))
        .replace("END", &format!("{t}55.000001"))
        .replace("EPOCHS", &epochs.to_string())
        .replace("METRIC", metric)
}

/// unet3d on h100, by DLIO; MiB/s as given.
pub fn training(stamp: &str, mib: &str) -> DlioLeaf {
    let metric = format!(
        r#"{{"train_au_percentage": [97.0, 98.0, 99.0], "train_au_mean_percentage": 98.0,
        "train_au_meet_expectation": "success", "train_au_stdev_percentage": 0.816,
        "train_throughput_samples_per_second": [100.0, 110.0, 120.0],
        "train_throughput_mean_samples_per_second": 110.0, "train_throughput_stdev_samples_per_second": 8.16,
        "train_io_mean_MB_per_second": {mib}, "train_io_stdev_MB_per_second": 9.0}}"#
    );
    DlioLeaf {
        workload: "{model: {name: unet3d}, framework: pytorch, workflow: {generate_data: false, train: true, checkpoint: true}, \
                   dataset: {format: npz, num_files_train: 28000, data_folder: /d}, reader: {batch_size: 7}, train: {epochs: 3}, metric: {au: 0.9}}"
            .into(),
        summary: summary(stamp, &metric, 3),
        per_epoch_stats: r#"{"1": {"start": "x", "block1": {"start": "x", "end": "y", "duration": "175.19"}, "end": "y", "duration": "175.19"}}"#.into(),
        name: "unet3d_h100",
    }
}

/// llama3-8b by DLIO: a job that only loads, for which it writes NaN, or only saves.
pub fn checkpoints(stamp: &str, saves: u64, loads: u64) -> DlioLeaf {
    let figure = |n: u64, value: &str| {
        if n > 0 {
            value.to_owned()
        } else {
            "NaN".into()
        }
    };
    let metric = format!(
        r#"{{"save_checkpoint_io_mean_GB_per_second": {}, "save_checkpoint_io_stdev_GB_per_second": {},
        "save_checkpoint_duration_mean_seconds": {}, "save_checkpoint_duration_stdev_seconds": {},
        {} "checkpoint_size_GB": 105.0}}"#,
        figure(saves, "10.5"),
        figure(saves, "0.0"),
        figure(saves, "10.0"),
        figure(saves, "0.0"),
        if loads > 0 {
            r#""load_checkpoint_io_mean_GB_per_second": 21.0, "load_checkpoint_duration_mean_seconds": 5.0,"#
        } else {
            ""
        }
    );
    let mut epoch = serde_json::Map::new();
    for (word, n, seconds) in [("save", saves, 10.0), ("load", loads, 5.0)] {
        for i in 1..=n {
            epoch.insert(
                format!("{word}_ckpt{i}"),
                json!({"start": "x", "end": "y", "duration": seconds, "throughput": 105.0 / seconds}),
            );
        }
    }
    DlioLeaf {
        workload: format!(
            "{{model: {{name: llama_8b, parallelism: {{tensor: 1, pipeline: 1, zero_stage: 3}}}}, framework: pytorch, \
             workflow: {{generate_data: false, train: false, checkpoint: true}}, \
             checkpoint: {{checkpoint_folder: /c, num_checkpoints_write: {saves}, num_checkpoints_read: {loads}, fsync: true}}}}"
        ),
        summary: summary(stamp, &metric, 0),
        per_epoch_stats: json!({"1": epoch}).to_string(),
        name: "llama3_8b",
    }
}

/// Writes the folder, complete by the rules' list of files.
pub fn lay(folder: &Path, leaf: &DlioLeaf) {
    let config = folder.join("dlio_config");
    fs::create_dir_all(&config).unwrap();
    let put = |path: PathBuf, text: &str| fs::write(path, text).unwrap();
    put(
        config.join("config.yaml"),
        &format!("workload: {}\n", leaf.workload),
    );
    put(
        config.join("overrides.yaml"),
        &format!("- workload={}\n", leaf.name),
    );
    put(config.join("hydra.yaml"), "hydra: {}\n");
    put(folder.join("summary.json"), &leaf.summary);
    put(folder.join("0_per_epoch_stats.json"), &leaf.per_epoch_stats);
    put(folder.join("0_output.json"), r#"{"hostname": "h1"}"#);
    put(folder.join("dlio.log"), "[OUTPUT] x\n");
    let word = if leaf.name.starts_with("llama") {
        "checkpointing_run"
    } else {
        "training_run"
    };
    put(folder.join(format!("{word}.stdout.log")), "");
    put(folder.join(format!("{word}.stderr.log")), "[OUTPUT] x\n");
}

fn verb(words: &[&str]) -> Outcome {
    let mut command = solo();
    command.args(words);
    run(command)
}

fn figures(words: &[&str], scratch: &Scratch) -> Value {
    let file = scratch.text("figures.json");
    verb(&[&["report"], words, &["--format", "json", "--output", &file]].concat()).ok();
    json(Path::new(&file))
}

/// Six folders as mlpstorage lays them: 999 GiB/s to warm up, then 1 to 5.
fn six(scratch: &Scratch) -> String {
    for (i, mib) in [
        "1022976.0",
        "1024.0",
        "2048.0",
        "3072.0",
        "4096.0",
        "5120.0",
    ]
    .iter()
    .enumerate()
    {
        let stamp = format!("20261101_1{i}0000");
        let folder = format!("r/open/Org/results/Sys/training/unet3d/run/{stamp}");
        lay(&scratch.path(&folder), &training(&stamp, mib));
    }
    scratch.text("r")
}

#[test]
fn six_trainings_are_a_warm_up_and_a_mean_of_five() {
    let scratch = Scratch::new();
    let tree = six(&scratch);
    let csv = scratch.text("figures.csv");
    let markdown = scratch.text("figures.md");
    for (form, file) in [("csv", &csv), ("markdown", &markdown)] {
        verb(&["report", &tree, "--format", form, "--output", file]).ok();
    }
    let value = figures(&[&tree], &scratch);
    assert_eq!(value["schema"], "dlio-rs/figures/2");
    let group = &value["groups"][0];
    assert_eq!(group["complete"], true, "{group}");
    assert_eq!(group["organisation"], "Org");
    assert_eq!(group["accelerator"], "h100");
    let bandwidth = &group["training"]["read_gib_per_second"];
    assert_eq!(bandwidth["mean"], 3.0);
    assert_eq!(bandwidth["stdev_population"], 2f64.sqrt());
    assert_eq!(
        group["training"]["means"]["train_mean_of_au_percentage"],
        98.0
    );
    assert_eq!(group["runs"][0]["role"], "warm_up");
    assert_eq!(group["reasons"], json!([]));
    // A spreadsheet program's view, by Python.
    let script = "import csv,sys; r=list(csv.DictReader(open(sys.argv[1]))); \
                  of=lambda figure: [x['value'] for x in r if x['figure']==figure]; \
                  lines={x['line'] for x in r}; \
                  assert len(lines)==7 and 'result' in lines, lines; \
                  assert {x['table'] for x in r}=={'training unet3d on h100, Org, Sys'}; \
                  assert of('training.read_gib_per_second.mean')==['3.0'], r; \
                  assert of('division')==6*['OPEN'] and of('accelerators')==6*['8'], r; \
                  assert of('complete')==['true'] and 'CLOSED not claimable' in of('statement')[0], r; \
                  assert of('role')==['warm_up']+5*['measured'], r";
    let mut python = Command::new(python());
    python.args(["-c", script, &csv]);
    run(python).ok();
    let text = fs::read_to_string(markdown).unwrap();
    assert!(
        text.contains("## training unet3d on h100, Org, Sys"),
        "{text}"
    );
    assert!(text.contains("CLOSED not claimable"), "{text}");
    // With one taken away no figure is publishable, and that is said.
    let one = scratch.path("r/open/Org/results/Sys/training/unet3d/run/20261101_100000");
    fs::remove_dir_all(one).unwrap();
    let five = verb(&["report", &tree]).ok();
    assert!(five.stdout.contains("needs 6 runs"), "{}", five.stdout);
}

#[test]
fn a_pair_of_ten_writes_and_ten_reads_is_one_result() {
    let scratch = Scratch::new();
    lay(
        &scratch.path("c/20261101_100000"),
        &checkpoints("20261101_100000", 10, 0),
    );
    lay(
        &scratch.path("c/20261101_110000"),
        &checkpoints("20261101_110000", 0, 10),
    );
    let value = figures(&[&scratch.text("c")], &scratch);
    let group = &value["groups"][0];
    assert_eq!(group["complete"], true, "{group}");
    let result = &group["checkpointing"];
    assert_eq!(result["write"]["gib_per_second"], 10.5);
    assert_eq!(result["write"]["duration_seconds"], 10.0);
    assert_eq!(result["read"]["gib_per_second"], 21.0);
    assert_eq!(result["dp_instances"], 8);
    assert_eq!(group["runs"][1]["checkpoints"]["save"], Value::Null);
    // DLIO knows rank 0's time only: absent, with the reason.
    let said = verb(&["report", &scratch.text("c")]).ok().stdout;
    assert!(said.contains("DLIO records rank 0's time only"), "{said}");
}

/// DLIO's older versions left no verdict; hydra's folder had its own name.
#[test]
fn without_a_verdict_au_is_compared_with_metric_au() {
    let scratch = Scratch::new();
    let of = |au: &str| {
        let mut leaf = training("20261101_100000", "1.0");
        let verdict = r#""train_au_meet_expectation": "success", "#;
        assert!(leaf.summary.contains(verdict));
        leaf.summary = leaf.summary.replace(verdict, "");
        leaf.workload = leaf.workload.replace("au: 0.9", au);
        let run = scratch.path("run");
        let _ = fs::remove_dir_all(&run);
        lay(&run, &leaf);
        fs::rename(run.join("dlio_config"), run.join(".hydra")).unwrap();
        let value = figures(&[&scratch.text("run")], &scratch);
        let reasons = value["groups"][0]["reasons"].to_string();
        let verdict = value["groups"][0]["runs"][0]["training"]["au_meet_expectation"].clone();
        assert_eq!(
            reasons.contains("AU does not meet"),
            verdict == "fail",
            "{reasons}"
        );
        verdict
    };
    // 98 % in the summary.
    assert_eq!(of("au: 0.98"), "success");
    assert_eq!(of("au: 0.981"), "fail");
    // DLIO's default is 0.9.
    assert_eq!(of("x: 0"), "success");
    let said = verb(&["report", &scratch.text("run")]).ok().stdout;
    assert!(
        said.contains("mean AU 98.00 % against metric.au 90 %"),
        "{said}"
    );
    fs::remove_dir_all(scratch.path("run/.hydra")).unwrap();
    let said = verb(&["report", &scratch.text("run")]).ok().stdout;
    assert!(
        said.contains("nothing says whether AU meets the expectation"),
        "{said}"
    );
}

#[test]
fn nan_and_broken_files_are_named() {
    let scratch = Scratch::new();
    lay(&scratch.path("t/nan"), &training("20261101_100000", "NaN"));
    let said = verb(&["report", &scratch.text("t")]).ok().stdout;
    assert!(said.contains("NaN or null"), "{said}");
    lay(&scratch.path("t/cut"), &training("20261101_110000", "1.0"));
    fs::write(scratch.path("t/cut/summary.json"), "{\"start\": ").unwrap();
    lay(&scratch.path("t/gone"), &training("20261101_120000", "1.0"));
    fs::remove_file(scratch.path("t/gone/summary.json")).unwrap();
    verb(&["report", &scratch.text("t")]).fails(
        1,
        &[
            "t/cut: summary.json cannot be read",
            "t/gone: there is no summary.json",
        ],
    );
    verb(&["report", &scratch.text("nowhere")]).fails(1, &["nowhere", "cannot be listed"]);
    verb(&["report"]).fails(2, &["RUN_DIR"]);
    for file in ["t/nan/summary.json", "t/nan/dlio_config/config.yaml"] {
        let before = fs::read(scratch.path(file)).unwrap();
        let out = verb(&[
            "report",
            &scratch.text("t/nan"),
            "--output",
            &scratch.text(file),
        ]);
        out.fails(2, &[file, "not overwritten", "remedy"]);
        assert_eq!(fs::read(scratch.path(file)).unwrap(), before);
    }
    // What the verb wrote itself may be written again, whatever its name.
    for _ in 0..2 {
        verb(&[
            "report",
            &scratch.text("t/nan"),
            "--output",
            &scratch.text("report.json"),
        ])
        .ok();
    }
}

/// The shape of mlpstorage's own folders: overrides are text, and the hash is that of the template.
#[test]
fn mlpstorages_metadata_decides_the_hash() {
    let scratch = Scratch::new();
    let leaf = scratch.path("m/20260706_143333");
    fs::create_dir_all(&leaf).unwrap();
    let metadata = json!({
        "benchmark_type": "training", "model": "unet3d", "command": "run", "run_datetime": "20260706_143333",
        "num_processes": 30, "accelerator": "b200",
        "parameters": {
            "model": {"name": "unet3d", "type": "cnn", "model_size": 499153191},
            "framework": "pytorch",
            "workflow": {"generate_data": false, "train": true, "checkpoint": false},
            "dataset": {
                "data_folder": "/mnt/data/unet3d", "format": "npz", "num_files_train": "105000",
                "num_samples_per_file": 1, "record_length_bytes": 146600628,
                "record_length_bytes_stdev": 68341808, "record_length_bytes_resize": 2097152,
                "num_subfolders_train": "10", "skip_listing": "False",
            },
            "reader": {
                "data_loader": "pytorch", "batch_size": 7, "read_threads": "18",
                "multiprocessing_context": "fork", "file_shuffle": "seed", "sample_shuffle": "seed",
                "odirect": "False",
            },
            "train": {"epochs": 5, "computation_time": 0.162},
            "checkpoint": {
                "checkpoint_folder": "checkpoints/unet3d", "checkpoint_after_epoch": 5,
                "epochs_between_checkpoints": 2,
            },
            "metric": {"au": 0.9},
        },
    });
    let put = |name: &str, text: String| fs::write(leaf.join(name), text).unwrap();
    put(
        "training_20260706_143333_metadata.json",
        metadata.to_string(),
    );
    put(
        "summary.json",
        training("20260706_143333", "171008.48710327482").summary,
    );
    let other = scratch.path("m/kv");
    fs::create_dir_all(&other).unwrap();
    let kv = json!({"benchmark_type": "kv_cache", "model": "llama3.1-8b", "command": "run"});
    fs::write(
        other.join("kv_cache_20260807_155647_metadata.json"),
        kv.to_string(),
    )
    .unwrap();
    let value = figures(&[&scratch.text("m")], &scratch);
    let run = &value["groups"][0]["runs"][0];
    assert_eq!(run["core_config"]["hash"], "0d3ad0dec188becd");
    assert_eq!(
        run["training"]["io_gib_per_second"],
        171008.48710327482 / 1024.0
    );
    assert_eq!(run["accelerator"], "b200");
    assert_eq!(run["division"], Value::Null);
    assert_eq!(value["without_figures"].as_array().unwrap().len(), 1);
}

#[test]
fn runs_of_other_work_are_not_mixed_in_silence() {
    let scratch = Scratch::new();
    lay(
        &scratch.path("t/20261101_100000"),
        &training("20261101_100000", "1.0"),
    );
    let mut other = training("20261101_110000", "1.0");
    other.workload = other.workload.replace("batch_size: 7", "batch_size: 8");
    lay(&scratch.path("t/20261101_110000"), &other);
    let said = verb(&["report", &scratch.text("t")]).ok().stdout;
    assert!(said.contains("differ in comparability hash"), "{said}");
}

/// What `check` calls no group of six is not published as one.
#[test]
fn six_runs_are_a_result_only_where_they_belong_together() {
    let group = |change: &dyn Fn(usize, &mut DlioLeaf) -> &'static str| {
        let scratch = Scratch::new();
        for i in 0..6 {
            let stamp = format!("20261101_1{i}0000");
            let mut leaf = training(&stamp, "1024.0");
            let folder = change(i, &mut leaf);
            lay(&scratch.path(&format!("t/{folder}/{stamp}")), &leaf);
        }
        figures(&[&scratch.text("t")], &scratch)["groups"].clone()
    };
    let one = group(&|_, _| "all");
    assert_eq!(one[0]["complete"], true, "{one:#}");
    type Change = fn(&mut DlioLeaf);
    let changes: [(Change, &str); 3] = [
        (
            |l| l.workload = l.workload.replace("batch_size: 7", "batch_size: 8"),
            "comparability hash",
        ),
        (
            |l| {
                l.summary = l
                    .summary
                    .replace("\"num_accelerators\": 8", "\"num_accelerators\": 4")
            },
            "accelerators",
        ),
        (
            |l| l.summary = l.summary.replace("\"num_hosts\": 2", "\"num_hosts\": 1"),
            "hosts",
        ),
    ];
    for (change, word) in changes {
        let one = group(&|i, leaf| {
            if i == 3 {
                change(leaf);
            }
            "all"
        });
        assert_eq!(one[0]["complete"], false, "{word}");
        assert!(one[0]["reasons"].to_string().contains(word), "{one:#}");
    }
    // What ran counts, whatever mlpstorage's metadata says.
    let scratch = Scratch::new();
    for i in 0..6 {
        let stamp = format!("20261101_1{i}0000");
        let mut leaf = training(&stamp, "1024.0");
        if i == 3 {
            leaf.workload = leaf.workload.replace("batch_size: 7", "batch_size: 8");
        }
        let folder = scratch.path(&format!("t/{stamp}"));
        lay(&folder, &leaf);
        let metadata = json!({"benchmark_type": "training", "command": "run", "parameters": {"reader": {"batch_size": 7}}});
        fs::write(folder.join("training_metadata.json"), metadata.to_string()).unwrap();
    }
    let one = figures(&[&scratch.text("t")], &scratch)["groups"].clone();
    let reasons = one[0]["reasons"].as_array().unwrap();
    assert_eq!(reasons.len(), 1, "{reasons:?}");
    let first = scratch.text("t/20261101_100000");
    let wanted = format!("differs from {first} in reader.batch_size");
    assert!(
        reasons[0].as_str().unwrap().ends_with(&wanted),
        "{reasons:?}"
    );
    let two = group(&|i, _| if i < 3 { "half/a" } else { "half/b" });
    let counts: Vec<_> = two
        .as_array()
        .unwrap()
        .iter()
        .map(|g| g["runs"].as_array().unwrap().len())
        .collect();
    assert_eq!(counts, [3, 3]);
    assert_eq!(two[0]["complete"], false);
}

/// Two trainings and one checkpointing by two ranks of our own.
fn own_runs(scratch: &Scratch) {
    let words = small(scratch, 64);
    for (out, more) in [
        ("a", "workflow.generate_data=true"),
        ("b", "train.epochs=3"),
    ] {
        let mut command = mpirun(2);
        command
            .args(&words)
            .args([more, &format!("output.folder={}", scratch.text(out))]);
        run(command).ok();
    }
    let mut command = mpirun(2);
    command.args(crate::checkpoint::tiny(scratch));
    command.arg(format!("output.folder={}", scratch.text("c")));
    run(command).ok();
}

#[test]
fn our_own_runs_are_reported_and_compared() {
    let scratch = Scratch::new();
    own_runs(&scratch);
    let (a, b, c) = (scratch.text("a"), scratch.text("b"), scratch.text("c"));
    let value = figures(&[&a, &c], &scratch);
    let groups = value["groups"].as_array().unwrap();
    let training = groups.iter().find(|g| g["kind"] == "training_run").unwrap();
    let of_run = &training["runs"][0]["training"];
    let summary = json(&scratch.path("a/summary.json"));
    assert_eq!(
        of_run["au_mean_percent"],
        summary["metric"]["train_au_mean_percentage"]
    );
    let mib = summary["metric"]["train_io_mean_MB_per_second"]
        .as_f64()
        .unwrap();
    assert_eq!(
        training["training"]["read_gib_per_second"]["mean"],
        mib / 1024.0
    );
    let saved = groups
        .iter()
        .find(|g| g["kind"] == "checkpointing")
        .unwrap();
    let report = json(&scratch.path("c/report.json"));
    assert_eq!(
        saved["checkpointing"]["write"]["slowest_rank_seconds"],
        report["checkpoint"]["save"]["slowest_rank_duration_mean"]["value"]
    );
    // The binary and the run agree about the work.
    let hash = &training["runs"][0]["core_config"]["hash"];
    assert_eq!(hash.as_str().unwrap().len(), 16);

    let same = verb(&["compare", &a, &a]).ok().stdout;
    assert!(
        same.contains("within tolerance") && same.contains("order digest"),
        "{same}"
    );
    verb(&["compare", &c, &c]).ok();
    // Two epochs against three: bytes, samples and the digest differ, whatever the clock says.
    let differ = verb(&["compare", &a, &b, "--format", "json"]);
    assert_eq!(differ.status, Some(1), "{}", differ.text());
    let value: Value = serde_json::from_str(&differ.stdout).unwrap();
    let item = |name: &str| {
        let items = value["comparison"]["items"].as_array().unwrap();
        items.iter().find(|i| i["figure"] == name).unwrap().clone()
    };
    assert_eq!(item("bytes read")["difference"], 50.0);
    assert_eq!(item("samples")["verdict"], "beyond");
    assert_eq!(item("order digest")["verdict"], "beyond");
    assert_eq!(item("AU")["significance"]["n"], json!([2, 3]));
    let parameters = value["comparison"]["parameters"].as_array().unwrap();
    assert!(
        parameters
            .iter()
            .any(|p| p["key"] == "train.epochs" && p["a"] == 2 && p["b"] == 3),
        "{parameters:?}"
    );
    verb(&["compare", &a, &c]).fails(2, &["one trained and the other wrote checkpoints"]);
}

#[test]
fn a_tampered_run_is_beyond_tolerance_until_the_file_allows_it() {
    let scratch = Scratch::new();
    let folder = |name: &str| scratch.text(name);
    lay(&scratch.path("a"), &training("20261101_100000", "1000.0"));
    let mut slower = training("20261101_100000", "900.0");
    slower.summary = slower.summary.replace(
        "110.0, \"train_throughput_stdev",
        "99.0, \"train_throughput_stdev",
    );
    lay(&scratch.path("b"), &slower);
    let same = verb(&["compare", &folder("a"), &folder("a")]).ok().stdout;
    // DLIO's folders hold less than ours: skipped by name.
    assert!(
        same.contains("percentiles per stage: neither run has report.json"),
        "{same}"
    );
    verb(&["compare", &folder("a"), &folder("b")]).fails(
        1,
        &["BEYOND tolerance: throughput, read bandwidth", "-10.00 %"],
    );
    let file = scratch.path("tolerance.yaml");
    let with = |text: &str, x: &str, y: &str| {
        fs::write(&file, text).unwrap();
        verb(&["compare", x, y, "--tolerance", file.to_str().unwrap()])
    };
    with("throughput_percent: 11\n", &folder("a"), &folder("b")).ok();
    with("direction: worse\n", &folder("b"), &folder("a")).ok();
    with("direction: worse\n", &folder("a"), &folder("b")).fails(1, &["BEYOND"]);
    with("throughput: 11\n", &folder("a"), &folder("b")).fails(2, &["unknown field `throughput`"]);
    verb(&["compare", &folder("a"), &folder("none")])
        .fails(2, &["none", "give the folder of a run"]);
    let two = scratch.text("");
    verb(&["compare", &two, &folder("a")]).fails(2, &["2 runs lie below it"]);
    // Welch's test of three epochs each: p and n are said.
    let said = verb(&["compare", &folder("a"), &folder("a")]).ok().stdout;
    assert!(said.contains("Welch: p = 1.000, n = 3 and 3"), "{said}");
}

#[test]
fn our_runs_record_what_made_them() {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command.args(small(&scratch, 8)).args([
        "workflow.generate_data=true",
        &format!("output.folder={}", scratch.text("r/run")),
    ]);
    run(command).ok();
    let provenance = json(&scratch.path("r/run/provenance.json"));
    assert_eq!(provenance["schema"], "mlps-run-provenance/1");
    assert_eq!(provenance["tool"]["name"], "dlio-rs");
    assert_eq!(provenance["storage_library"]["name"], "none");
    assert!(
        provenance["dlio"]["source"]
            .as_str()
            .unwrap()
            .contains("re-implementation")
    );
    // The hash of the workload that the run's own config.yaml holds.
    let report = figures(&[&scratch.text("r")], &scratch);
    assert_eq!(
        report["groups"][0]["runs"][0]["core_config"]["hash"],
        provenance["core_config"]["hash"]
    );
    let mut info = solo();
    info.arg("info");
    let said = run(info).ok().stdout;
    assert!(
        said.contains("libraries: ") && said.contains("mpi "),
        "{said}"
    );
}
