use std::os::unix::fs::symlink;

use crate::support::*;

#[test]
fn help_shows_examples_and_exit_statuses() {
    let mut command = solo();
    command.arg("--help");
    let out = run(command).ok();
    for word in [
        "mpirun -np 8 dlio-rs",
        "Exit status",
        "generate",
        "validate",
        "plan",
        "CLOSED",
    ] {
        assert!(out.stdout.contains(word), "{}", out.stdout);
    }
}

#[test]
fn validate_prints_values_with_origins() {
    let mut command = solo();
    command.args(["validate", "workload=unet3d_h100", "reader.batch_size=3"]);
    let out = run(command).ok();
    assert!(
        out.stdout
            .contains("batch_size: 3  # command line word 'reader.batch_size=3'"),
        "{}",
        out.stdout
    );
    assert!(
        out.stdout
            .contains("num_files_train: 168  # configs/unet3d_h100.yaml:"),
        "{}",
        out.stdout
    );
}

#[test]
fn info_counts_ranks_and_names_the_library() {
    let mut command = mpirun(3);
    command.arg("info");
    let out = run(command).ok();
    assert!(out.stdout.contains("ranks: 3, hosts: 1"), "{}", out.stdout);
    assert!(
        out.stdout.contains("MPI library: Open MPI") || out.stdout.contains("MPICH"),
        "{}",
        out.stdout
    );
    assert_eq!(out.stdout.matches("local rank").count(), 3);
}

/// `--format json` of a verb; its `schema` has the verb's name.
fn facts(words: &[&str]) -> serde_json::Value {
    let mut command = solo();
    command.args(words).args(["--format", "json"]);
    let out = run(command).ok();
    let facts: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    let schema = format!("dlio-rs/{}/1", words[0]);
    assert_eq!(facts["schema"], schema.as_str(), "{}", out.stdout);
    facts
}

#[test]
fn plan_and_validate_print_json() {
    // 168 files of one sample, batches of 7 on 8 ranks: 3 steps.
    let words = ["plan", "workload=unet3d_h100", "workflow.checkpoint=false"];
    let plan = facts(&[&words[..], &["--ranks", "8"]].concat());
    let dataset = &plan["dataset"];
    assert_eq!(
        (&plan["ranks"], &dataset["files_train"]),
        (&8.into(), &168.into())
    );
    assert_eq!(dataset["steps_per_epoch"], 3);
    assert_eq!(dataset["samples_per_epoch"], 168);
    let bytes = dataset["bytes_per_sample"].as_u64().unwrap() * 168;
    assert_eq!(dataset["bytes"], bytes);
    assert!(plan.get("checkpoint").is_none(), "{plan}");

    let plan = facts(&["plan", "workload=llama3_8b", "--ranks", "8"]);
    let checkpoint = &plan["checkpoint"];
    let [all, model, optimizer] =
        ["bytes", "model_bytes", "optimizer_bytes"].map(|part| checkpoint[part].as_u64().unwrap());
    // As sizes_of_the_published_models_to_the_byte has it.
    assert_eq!((all, model + optimizer), (112_425_623_552, all));
    assert!(plan.get("dataset").is_none(), "{plan}");

    let words = [
        "validate",
        "workload=unet3d_h100",
        "reader.batch_size=3",
        "dataset.data_folder=s3://bucket/x",
        "storage.storage_options.access_key_id=id",
        "storage.storage_options.secret_access_key=hidden-7Qz",
    ];
    let validated = facts(&words);
    assert_eq!(validated["config"]["reader"]["batch_size"], 3);
    let origin = validated["origins"]["reader.batch_size"].as_str().unwrap();
    assert_eq!(origin, "command line word 'reader.batch_size=3'");
    assert!(!validated.to_string().contains("hidden-7Qz"), "{validated}");
}

#[test]
fn info_inspect_and_explain_print_json() {
    let info = facts(&["info"]);
    let cpus = std::thread::available_parallelism().unwrap().get();
    let rank = &info["ranks"][0];
    assert!(
        rank["cpus_allowed"].as_u64().unwrap() as usize >= cpus,
        "{info}"
    );
    assert_eq!(info["version"], env!("CARGO_PKG_VERSION"));

    let scratch = Scratch::new();
    let mut command = solo();
    command
        .arg("generate")
        .args(small(&scratch, 2))
        .args(["dataset.format=png", "dataset.record_dims=[30,50]"]);
    run(command).ok();
    let path = scratch.path("data/train/img_0_of_2.png");
    let file = path.to_str().unwrap();
    let found = facts(&["inspect", file]);
    let len = path.metadata().unwrap().len();
    assert_eq!(
        (&found["bytes"], &found["samples"]),
        (&len.into(), &1.into())
    );
    assert_eq!(found["checks"][1]["passed"], true, "{found}");
    // A damaged file: what was found so far, and status 1.
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let mut command = solo();
    command.args(["inspect", file, "--format=json", "--file-format=png"]);
    let out = run(command).fails(1, &["checksum"]);
    let found: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(found["checks"][0]["passed"], false, "{found}");

    let mut command = solo();
    command.args(["check", "--explain", "4.3.4", "--format", "json"]);
    let out = run(command).ok();
    let rules: serde_json::Value = serde_json::from_str(&out.stdout).unwrap();
    assert_eq!(rules["schema"], "dlio-rs/rules/1");
    assert_eq!(
        rules["rules"][0]["name"],
        "checkpointAggregateAcceleratorMemory"
    );
}

#[test]
fn every_config_runs_on_null_storage() {
    for entry in std::fs::read_dir(repo().join("configs")).unwrap() {
        let path = entry.unwrap().path();
        let scratch = Scratch::new();
        let mut command = mpirun(2);
        command.arg(&path).args([
            "storage.storage_type=null",
            "train.computation_time=0.001",
            "evaluation.eval_time=0.001",
        ]);
        command
            .args([
                "--max-epochs",
                "1",
                "--max-steps",
                "5",
                "--quiet",
                "--output",
            ])
            .arg(scratch.path("out"));
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let only_generates = name.ends_with("_datagen");
        if only_generates {
            command.args([
                "dataset.num_files_train=2",
                "dataset.num_samples_per_file=8",
            ]);
        }
        if name.starts_with("llama3_") {
            // Two ranks of many, and no hundreds of gigabytes to make.
            command.args([
                "checkpoint.mode=subset",
                "model.parallelism.data=8",
                "checkpoint.num_checkpoints_write=0",
                "checkpoint.num_checkpoints_read=2",
                "checkpoint.time_between_checkpoints=0",
            ]);
        }
        run(command).ok();
        if only_generates {
            assert!(
                scratch.path("out/dlio_config/config.yaml").is_file(),
                "{name}"
            );
            continue;
        }
        let summary = json(&scratch.path("out/summary.json"));
        assert_eq!(summary["num_accelerators"], 2, "{name}");
    }
}

#[test]
fn an_epoch_without_a_measured_step_is_warned_of() {
    let scratch = Scratch::new();
    let words = |steps: u64| {
        let mut words = small(&scratch, 2 * steps);
        words.push("storage.storage_type=null".into());
        words.push(format!(
            "output.folder={}",
            scratch.text(&format!("out{steps}"))
        ));
        words
    };
    for (steps, is_empty) in [(1, true), (2, false)] {
        let mut command = solo();
        command.args(words(steps));
        let said = run(command)
            .ok()
            .stderr
            .contains("AU and throughput will be 0");
        assert_eq!(said, is_empty, "{steps} steps");
    }
}

#[test]
fn dlio_benchmark_speaks_dlio() {
    let scratch = Scratch::new();
    let config = scratch.path("conf/workload");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(
        config.join("mine.yaml"),
        "model: {name: mine}\nframework: pytorch\nworkflow: {generate_data: True, train: True}\n\
         dataset: {format: npz, num_files_train: 8, record_length_bytes: 4096, no_such_key: 1}\n\
         reader: {data_loader: pytorch, batch_size: 2}\ntrain: {computation_time: 0.001}\n",
    )
    .unwrap();
    symlink(bin(), scratch.path("dlio_benchmark")).unwrap();
    // The leaf exists before the launch, as mlpstorage makes it.
    std::fs::create_dir(scratch.path("leaf")).unwrap();
    let mut command = mpirun(2);
    let args: Vec<_> = command.get_args().map(|a| a.to_owned()).collect();
    command = std::process::Command::new(command.get_program());
    command
        .args(&args[..args.len() - 1])
        .arg(scratch.path("dlio_benchmark"));
    command.args([
        "workload=mine",
        &format!("++hydra.run.dir={}", scratch.text("leaf")),
        "++hydra.output_subdir=dlio_config",
        "++workload.train.epochs=2",
        &format!("++workload.dataset.data_folder={}", scratch.text("data")),
        &format!("--config-dir={}", scratch.text("conf")),
    ]);
    let out = run(command).ok();
    for line in [
        "[OUTPUT]",
        "Running DLIO [Generating data & Training] with 2 process(es)",
        "[METRIC] Number of Simulated Accelerators: 2",
    ] {
        assert!(out.stderr.contains(line), "{}", out.stderr);
    }
    assert!(out.stderr.contains("no_such_key"), "{}", out.stderr);
    let mut check = std::process::Command::new(python());
    check
        .arg(repo().join("tests/python/check_run_dir.py"))
        .arg(scratch.path("leaf"))
        .args(["--ranks", "2", "--subdir", "dlio_config"]);
    run(check).ok();
    let hydra = std::fs::read_to_string(scratch.path("leaf/dlio_config/overrides.yaml")).unwrap();
    assert!(
        hydra.starts_with("- workload=mine\n- ++workload.train.epochs=2\n"),
        "{hydra}"
    );
}

#[test]
fn json_events_are_lines_of_json() {
    let scratch = Scratch::new();
    let mut command = solo();
    command.args(small(&scratch, 8)).arg("--json");
    let out = run(command).ok();
    let events: Vec<serde_json::Value> = out
        .stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert!(events.len() > 5, "{}", out.stdout);
}

#[test]
fn au_below_the_threshold_has_its_own_status() {
    let scratch = Scratch::new();
    let mut command = solo();
    // 1 ms of computation and 10 ms of latency per sample cannot reach 90 %.
    command.args(small(&scratch, 16));
    command.args([
        "storage.storage_type=model",
        "storage.storage_options.latency=0.01",
        "train.computation_time=0.001",
    ]);
    command.args([
        "workflow.generate_data=false",
        "--virtual-time",
        "--require-au",
    ]);
    run(command).fails(3, &["is below the required 90.00 %"]);
}

#[test]
fn the_reference_of_keys_is_current() {
    let mut command = solo();
    command.args(["explain", "--all", "--format", "markdown"]);
    let made = run(command).ok().stdout;
    let path = repo().join("docs/reference/keys.md");
    let there = std::fs::read_to_string(path).unwrap();
    assert!(
        made == there,
        "docs/reference/keys.md is not current; write it again: dlio-rs explain --all --format markdown > docs/reference/keys.md"
    );
}

#[test]
fn explain_prints_the_entry_of_a_key() {
    let explain = |words: &[&str]| {
        let mut command = solo();
        command.arg("explain").args(words);
        run(command)
    };
    let out = explain(&["reader.batch_size"]).ok().stdout;
    for line in [
        "Samples of a step",
        "a whole number from 0",
        "default      1",
        "unit         samples",
        "in DLIO",
    ] {
        assert!(out.contains(line), "{out}");
    }
    let out = explain(&["workload.dataset.format"]).ok().stdout;
    assert!(
        out.contains("tfrecord") && out.contains("Parquet."),
        "{out}"
    );
    // A last word stands for every key of that name; a section lists its keys.
    let out = explain(&["compression"]).ok().stdout;
    assert!(
        out.contains("dataset.compression\n") && out.contains("checkpoint.compression\n"),
        "{out}"
    );
    let out = explain(&["train"]).ok().stdout;
    assert!(
        out.contains("computation_time") && out.contains("seed_change_epoch"),
        "{out}"
    );
    let out = explain(&["storage.storage_options.region"]).ok().stdout;
    assert!(out.contains("AWS_REGION, AWS_DEFAULT_REGION"), "{out}");
    explain(&["reader.epochs"]).fails(2, &["train.epochs is probably meant"]);
    explain(&["reader.batchsize"]).fails(
        2,
        &["there is no key reader.batchsize; reader.batch_size is probably meant"],
    );
    assert!(explain(&[]).ok().stdout.lines().count() > 170);
}

#[test]
fn what_is_probably_meant_is_said() {
    for (words, said) in [
        (
            &["unet3d_h100"][..],
            "unet3d_h100 is a built-in workload: write workload=unet3d_h100",
        ),
        (&["unet3d_h10"], "workload=unet3d_h100 is probably meant"),
        (
            &["validat", "w.yaml"],
            "the verb validate is probably meant",
        ),
        (
            &["run", "workload=default", "--ranks", "8"],
            "mpirun -np N dlio-rs",
        ),
        (&["workload=default", "-np", "8"], "mpirun -np N dlio-rs"),
        (
            &["workload=default", "train.batch_size=4"],
            "reader.batch_size is probably meant",
        ),
        (
            &["workload=default", "reader.batch_size=four"],
            "a whole number from 0 is expected, not 'four'",
        ),
        (
            &["workload=default", "dataset.record_dims=4"],
            "a list of whole numbers, such as [4, 4] is expected, not 4",
        ),
        (
            &["workload=default", "dataset.format=npx"],
            "npz is probably meant",
        ),
        (
            &["workload=default", "train=5"],
            "train: a map of keys is expected, not 5",
        ),
        (&["nothing_like_it"], "there is no such file"),
    ] {
        let mut command = solo();
        command.args(words);
        let out = run(command).fails(2, &[said]);
        assert!(
            !out.text().contains("u64") && !out.text().contains("invalid type"),
            "{}",
            out.text()
        );
    }
}

/// Every verb that prints: a full disk behind its output is an error with a cause, a reader that has gone is none.
#[test]
fn what_is_printed_into_a_full_or_closed_output_is_no_internal_error() {
    let scratch = Scratch::new();
    let shim = scratch.text("shim");
    let verbs: [&[&str]; 9] = [
        &["--help"],
        &["report", "--help"],
        &["check", "--explain"],
        &["check", "--explain", "2.1.11"],
        &["configs"],
        &["explain", "--all"],
        &["info"],
        &["report", &shim],
        &["install-shim", &shim],
    ];
    for verb in verbs {
        let with = |stdout: std::process::Stdio| {
            let mut command = solo();
            command
                .args(verb)
                .stdout(stdout)
                .stderr(std::process::Stdio::piped());
            let done = command.spawn().unwrap().wait_with_output().unwrap();
            let text = String::from_utf8_lossy(&done.stderr).into_owned();
            assert!(!text.contains("internal error"), "{verb:?}: {text}");
            assert!(!text.contains("panicked"), "{verb:?}: {text}");
            (done.status.code(), text)
        };
        let full = std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .unwrap();
        let (status, text) = with(full.into());
        assert_eq!(status, Some(1), "{verb:?}: {text}");
        assert!(
            text.contains("standard output: No space left"),
            "{verb:?}: {text}"
        );
        let (reader, writer) = nix::unistd::pipe().unwrap();
        drop(reader);
        // By SIGPIPE, or as if all had been read.
        let (status, text) = with(writer.into());
        assert!(
            matches!(status, None | Some(0)),
            "{verb:?}: {status:?} {text}"
        );
    }
}
