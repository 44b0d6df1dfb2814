//! Figures of the report against what must hold whatever the run, and against counters outside the program.

use serde_json::Value;

use crate::support::*;

fn report(scratch: &Scratch) -> Value {
    json(&scratch.path("out/report.json"))
}

fn number(value: &Value) -> f64 {
    value
        .as_f64()
        .unwrap_or_else(|| panic!("no number: {value}"))
}

/// xorshift: cases are the same in every run.
struct Cases(u64);

impl Cases {
    fn below(&mut self, n: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % n
    }
    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len() as u64) as usize]
    }
}

/// A random workload in virtual time.
fn random_words(cases: &mut Cases) -> (usize, Vec<String>) {
    let ranks = 1 + cases.below(3) as usize;
    let batch = 1 + cases.below(4);
    let steps = 1 + cases.below(9);
    let files = steps * batch * ranks as u64 + cases.below(3);
    let loader = cases.of(&["pytorch", "tensorflow", "native"]);
    let framework = if loader == "tensorflow" {
        loader
    } else {
        "pytorch"
    };
    // TensorFlow's threads may drop a batch each.
    let cap = match cases.below(2) {
        1 if loader != "tensorflow" => 1 + cases.below(steps) as i64,
        _ => -1,
    };
    let words = vec![
        format!("framework={framework}"),
        format!("reader.data_loader={loader}"),
        format!("dataset.num_files_train={files}"),
        format!("reader.batch_size={batch}"),
        format!("reader.read_threads={}", 1 + cases.below(4)),
        format!("reader.prefetch_size={}", cases.below(4)),
        format!("train.epochs={}", 1 + cases.below(3)),
        format!("train.total_training_steps={cap}"),
        format!(
            "train.computation_time={}",
            cases.of(&["0", "0.01", "{mean: 0.02, stdev: 0.01}"])
        ),
        format!("reader.preprocess_time={}", cases.of(&["0", "0.015"])),
        format!(
            "storage.storage_options.latency={}",
            cases.of(&["0", "0.001", "0.03"])
        ),
        format!(
            "storage.storage_options.jitter={}",
            cases.of(&["0", "0.0005"])
        ),
        format!(
            "storage.storage_options.bandwidth={}",
            cases.of(&["0", "5e6"])
        ),
        format!("output.metric.exclude_start_steps={}", cases.below(4)),
        format!("output.metric.exclude_end_steps={}", cases.below(3)),
        format!("metric.formula={}", cases.of(&["v3", "v2"])),
    ];
    (ranks, words)
}

fn check_breakdown(b: &Value, au: f64, context: &str) {
    let percent = |part: &Value| number(&part["percent"]);
    assert_eq!(percent(&b["compute"]), au, "compute is AU: {context}");
    let parts = b["wait"]["parts"].as_object().unwrap();
    let wait: f64 = parts.values().map(percent).sum();
    let losses: f64 = ["barrier", "harness", "closing_fetch", "uncounted"]
        .iter()
        .map(|line| percent(&b[line]))
        .sum();
    let rest = 100.0 - au;
    assert!(
        (wait + losses - rest).abs() < 1e-6,
        "{wait} + {losses} != {rest}: {context}"
    );
    assert!((wait - percent(&b["wait"])).abs() < 1e-6, "{context}");
    for (name, part) in parts {
        assert!(percent(part) >= 0.0, "{name}: {context}");
    }
}

#[test]
fn compute_is_au_and_the_parts_add_up_to_100() {
    let mut cases = Cases(0x9e37_79b9_7f4a_7c15);
    for _ in 0..24 {
        let (ranks, words) = random_words(&mut cases);
        let scratch = Scratch::new();
        let mut command = mpirun(ranks);
        command
            .args(["workload=quickstart", "workflow.generate_data=false"])
            .args(["storage.storage_type=model", "--virtual-time", "--output"])
            .arg(scratch.path("out"))
            .args(&words);
        run(command).ok();
        let r = report(&scratch);
        let context = format!("{ranks} ranks, {words:?}");
        check_breakdown(
            &r["breakdown"],
            number(&r["train"]["au_mean"]["value"]),
            &context,
        );
        for epoch in r["epochs"].as_array().unwrap() {
            check_breakdown(&epoch["breakdown"], number(&epoch["au"]["value"]), &context);
        }
        for rank in r["ranks"].as_array().unwrap() {
            check_breakdown(&rank["breakdown"], number(&rank["au"]["value"]), &context);
        }
    }
}

// One thread reads a sample in 20 ms and preprocesses it for 30 ms; computation takes 10 ms. From the second step on a step
// waits 40 ms, of which two fifths are I/O. AU of storage counts only that: 10 / (10 + 16).
#[test]
fn a_wait_is_split_by_what_readers_did() {
    let scratch = Scratch::new();
    let mut command = mpirun(1);
    command
        .args(["workload=quickstart", "workflow.generate_data=false"])
        .args(["storage.storage_type=model", "--virtual-time", "--output"])
        .arg(scratch.path("out"))
        .args([
            "dataset.num_files_train=8",
            "reader.batch_size=1",
            "train.epochs=1",
        ])
        .args(["reader.read_threads=1", "reader.prefetch_size=1"])
        .args(["reader.preprocess_time=0.03", "train.computation_time=0.01"])
        .arg("storage.storage_options.latency=0.02");
    run(command).ok();
    let r = report(&scratch);
    let seconds = |part: &str| number(&r["breakdown"]["wait"]["parts"][part]["seconds"]);
    assert!(
        (seconds("io") - 7.0 * 0.016).abs() < 1e-6,
        "{}",
        r["breakdown"]
    );
    assert!((seconds("preprocess") - 7.0 * 0.024).abs() < 1e-6);
    let au = number(&r["au_storage"]["value"]);
    assert!((au - 100.0 * 10.0 / 26.0).abs() < 1e-6, "{au}");
    // The first step is left out, and named: 50 ms of wait and 10 of computation.
    assert_eq!(number(&r["breakdown"]["left_out"]["steps"]), 1.0);
    assert!((number(&r["breakdown"]["left_out"]["seconds"]) - 0.06).abs() < 1e-9);
}

/// Generates npy files and trains on them.
fn real_run(scratch: &Scratch, words: &[&str]) -> (Value, String) {
    let mut command = mpirun(1);
    command
        .args([
            "workload=quickstart",
            "dataset.format=npy",
            "train.epochs=2",
        ])
        .arg(format!(
            "dataset.data_folder={}",
            scratch.path("data").display()
        ))
        .arg("--output")
        .arg(scratch.path("out"))
        .args(words);
    let done = run(command).ok();
    (report(scratch), done.stdout.clone())
}

fn stage<'a>(r: &'a Value, name: &str) -> &'a Value {
    (r["stages"].as_array().unwrap().iter())
        .find(|s| s["stage"] == name)
        .unwrap_or(&Value::Null)
}

#[test]
fn read_counts_calls_and_sample_counts_samples() {
    let scratch = Scratch::new();
    // 16 files of 10,000 bytes and a header, in calls of 1,000 bytes, twice.
    let words = [
        "dataset.num_files_train=16",
        "dataset.record_length_bytes=10000",
        "reader.transfer_size=1000",
    ];
    let (r, text) = real_run(&scratch, &words);
    let file = std::fs::metadata(scratch.path("data/train")).unwrap();
    assert!(file.is_dir());
    let sizes: u64 = std::fs::read_dir(scratch.path("data/train"))
        .unwrap()
        .map(|f| f.unwrap().metadata().unwrap().len().div_ceil(1000))
        .sum();
    assert_eq!(r["counters"]["reads"]["value"], 2 * sizes);
    assert_eq!(stage(&r, "read")["count"], 2 * sizes);
    assert_eq!(stage(&r, "sample")["count"], 32);
    assert_eq!(stage(&r, "open")["count"], 32);
    assert_eq!(stage(&r, "first_byte"), &Value::Null);
    // 32 values do not say what the 99th of 100 is.
    assert!(stage(&r, "open")["p90"].is_u64());
    assert_eq!(stage(&r, "open")["p99"], Value::Null);
    assert!(stage(&r, "read")["p99"].is_u64());
    assert!(text.contains("latency"), "{text}");
}

// A read takes 0.1 ms, the pause after each sample 50 ms: nobody may blame the storage.
#[test]
fn a_client_that_preprocesses_is_named_and_storage_is_not() {
    let scratch = Scratch::new();
    let mut command = mpirun(1);
    command
        .args(["workload=quickstart", "workflow.generate_data=false"])
        .args(["storage.storage_type=model", "--virtual-time", "--output"])
        .arg(scratch.path("out"))
        .args([
            "storage.storage_options.latency=0.0001",
            "dataset.num_files_train=16",
            "reader.batch_size=2",
            "reader.read_threads=1",
            "reader.preprocess_time=0.05",
            "train.epochs=2",
            "train.computation_time=0.01",
        ]);
    let text = run(command).ok().stdout;
    let r = report(&scratch);
    let b = &r["breakdown"]["wait"]["parts"];
    assert!(
        number(&b["preprocess"]["percent"]) > 100.0 * number(&b["io"]["percent"]),
        "{b}"
    );
    // AU is near 10 %, since every step of 10 ms waits for 100 ms of preprocessing: none of that is the storage's.
    let au = number(&r["breakdown"]["compute"]["percent"]);
    let of_storage = number(&r["au_storage"]["value"]);
    assert!(of_storage > 9.0 * au, "au {au}, au_storage {of_storage}");
    assert!(
        text.contains("Bottleneck: preprocess on the client"),
        "{text}"
    );
}

// A billion steps have records of 32 GB: the run is refused with the sum, before it starts.
#[test]
fn a_run_that_needs_more_memory_than_there_is_is_refused_with_the_sum() {
    let null = |words: &[&str]| {
        let scratch = Scratch::new();
        let mut command = mpirun(1);
        command
            .args(["workload=quickstart", "workflow.generate_data=false"])
            .args([
                "storage.storage_type=null",
                "train.computation_time=0",
                "--output",
            ])
            .arg(scratch.path("out"))
            .args(words);
        run(command)
    };
    let steps = [
        "dataset.num_files_train=1000000000",
        "reader.batch_size=1",
        "train.epochs=1",
        "--memory",
        "16GiB",
    ];
    null(&steps).fails(
        1,
        &[
            "memory per rank",
            "step records 30517.6 MiB",
            "16384.0 MiB of --memory",
        ],
    );
    null(&["--memory", "1MiB"]).fails(1, &["program", "--memory"]);
    null(&["--memory", "1"]).fails(1, &["0.0 MiB of --memory"]);
    null(&["--memory", "x"]).fails(2, &["8GiB"]);
}

/// The kernel's own figure of a process, bytes.
fn peak_by_time(text: &str) -> f64 {
    by_time(text, "Maximum resident set size") * 1024.0
}

/// The binary under GNU time.
fn timed() -> std::process::Command {
    let mut command = std::process::Command::new("/usr/bin/time");
    command.args(["-v", bin()]);
    command
}

/// Runs it with these words, which write to `scratch`: the peak memory is the kernel's, and every place that tells it tells the same.
fn peak_is_the_kernels<T: AsRef<std::ffi::OsStr>>(scratch: &Scratch, words: &[T], more: &[&str]) {
    let done = run({
        let mut command = timed();
        command.args(words).args(more);
        command
    })
    .ok();
    let kernel = peak_by_time(&done.stderr);
    let r = report(scratch);
    let ours = number(&r["memory"]["rank_0"]["value"]);
    assert!(
        (ours / kernel - 1.0).abs() < 0.05,
        "{ours} {kernel} {more:?}"
    );
    assert_eq!(r["counters"]["peak_rss"]["value"], ours as u64);
    let mib = format!("{:.2} MiB", ours / 1048576.0);
    assert!(done.stdout.contains(&mib), "{mib}: {}", done.stdout);
}

#[test]
fn peak_memory_is_the_kernels() {
    for depth in ["reader.io_depth=1", "reader.io_depth=512"] {
        let scratch = Scratch::new();
        let out = format!("--output={}", scratch.text("out"));
        let words = [
            "workload=quickstart",
            "workflow.generate_data=false",
            "storage.storage_type=null",
            "train.computation_time=0",
            "dataset.num_files_train=20000",
            "reader.batch_size=1",
            "train.epochs=1",
            "reader.data_loader=native",
            &out,
        ];
        peak_is_the_kernels(&scratch, &words, &[depth]);
    }
}

/// A short run of few files, in which what makes the results is a large part of the memory.
#[test]
fn peak_memory_of_a_short_run_is_the_kernels() {
    for more in [&[][..], &["output.html=false"], &["reader.decode=full"]] {
        let scratch = Scratch::new();
        peak_is_the_kernels(&scratch, &small(&scratch, 16), more);
    }
}

/// The same reads with and without checkpoints that burn CPU time between them: what reading cost is the readers' own.
#[test]
fn checkpoints_between_steps_are_no_cost_of_reading() {
    let counters = |saves: bool| {
        let scratch = Scratch::new();
        let words = [
            "dataset.num_files_train=16",
            "dataset.record_length_bytes=4096",
            "reader.batch_size=2",
            "train.computation_time=0.001",
            &format!("workflow.checkpoint={saves}"),
            "checkpoint.steps_between_checkpoints=4",
            "checkpoint.compression=zstd",
            "checkpoint.compression_level=9",
            &format!("checkpoint.checkpoint_folder={}", scratch.text("ck")),
            "model.num_layers=2",
            "model.transformer.hidden_size=256",
            "model.transformer.ffn_hidden_size=1024",
            "model.transformer.vocab_size=8000",
            "model.transformer.num_attention_heads=4",
            "model.transformer.num_kv_heads=2",
        ];
        real_run(&scratch, &words).0["counters"].clone()
    };
    let (without, with) = (counters(false), counters(true));
    for count in ["reads", "bytes_read"] {
        assert_eq!(without[count]["value"], with[count]["value"], "{count}");
    }
    let of = |c: &Value, key: &str| number(&c[key]["value"]);
    // Reading 128 KiB takes milliseconds, packing tensors of 100 MB far more.
    let packing = of(&with, "cpu_time") - of(&without, "cpu_time");
    assert!(packing > 0.0, "{with}");
    assert!(of(&with, "reader_cpu_time") < packing / 2.0, "{with}");
}

/// The sum that is made before anything is held, against the kernel's figure: buffers of readers and checkpoints, files that
/// are decoded. Less than the truth by more than a tenth, a job would be killed that was let start; more by a quarter, one
/// would be refused that fits.
#[test]
fn the_planned_memory_is_near_the_kernels() {
    let data = Scratch::on_disk();
    let words = [
        "workload=quickstart",
        "dataset.num_files_train=128",
        "dataset.record_length_bytes=1048576",
        "reader.data_loader=native",
        "reader.batch_size=2",
        "train.epochs=1",
        "train.computation_time=0.001",
        "checkpoint.steps_between_checkpoints=20",
        "model.num_layers=2",
        "model.transformer.hidden_size=256",
        "model.transformer.ffn_hidden_size=512",
        "model.transformer.vocab_size=1000",
        "model.transformer.num_attention_heads=4",
        "model.transformer.num_kv_heads=2",
    ];
    let folder = format!("dataset.data_folder={}", data.text("data"));
    let mut generate = solo();
    generate.arg("generate").args(words).arg(&folder);
    run(generate).ok();
    for (depth, decode, saves) in [
        (1, "none", false),
        (1, "none", true),
        (64, "none", true),
        (64, "full", false),
    ] {
        let scratch = Scratch::on_disk();
        let mut command = timed();
        command
            .args(words)
            .args([&folder, "workflow.generate_data=false"])
            .args([
                format!("reader.io_depth={depth}"),
                format!("reader.decode={decode}"),
                format!("workflow.checkpoint={saves}"),
                format!("checkpoint.checkpoint_folder={}", scratch.text("ck")),
                format!("--output={}", scratch.text("out")),
            ]);
        let done = run(command).ok();
        let kernel = peak_by_time(&done.stderr);
        let planned = number(&report(&scratch)["memory"]["planned"]["value"]);
        let ratio = planned / kernel;
        assert!(
            (0.9..=1.25).contains(&ratio),
            "depth {depth}, decode {decode}, checkpoints {saves}: {planned} planned, {kernel} held\n{}",
            done.stderr
        );
    }
}

// tmpfs has no storage behind it, whatever the counters of devices say.
#[test]
fn evidence_names_its_rule_and_tmpfs_never_passes() {
    let scratch = Scratch(tempfile::tempdir_in("/dev/shm").unwrap());
    let (r, text) = real_run(&scratch, &["dataset.num_files_train=8"]);
    for line in r["evidence"].as_array().unwrap() {
        assert_eq!(line["medium"], "memory");
        assert_eq!(line["verdict"], "UNKNOWN");
        assert_eq!(
            line["delivered"]["value"],
            r["epochs"][0]["bytes_read"]["value"]
        );
    }
    assert_eq!(r["evidence"].as_array().unwrap().len(), 2);
    // Nothing of it can be evicted, so nothing is said to have been.
    let page_cache = &r["page_cache"];
    assert_eq!(
        page_cache["metadata"],
        "in memory, as the files are, which cannot be evicted"
    );
    assert_eq!(page_cache["kept_bytes"], page_cache["resident_bytes"]);
    let lines: Vec<_> = text
        .lines()
        .filter(|l| l.contains("served by storage"))
        .collect();
    assert_eq!(
        lines,
        ["served by storage: UNKNOWN (memory: the file system keeps its files there)"]
    );
}

// The readers' own CPU time is a part of what the whole process burnt.
#[test]
fn cpu_of_reading_is_less_than_all_that_was_burnt() {
    let scratch = Scratch::new();
    let (r, text) = real_run(&scratch, &["dataset.num_files_train=16"]);
    let of = |key: &str| number(&r["counters"][key]["value"]);
    assert!(of("reader_cpu_time") > 0.0);
    assert!(of("reader_cpu_time") < of("cpu_time"));
    assert!(text.contains("CPU burnt, all in"), "{text}");
    let host = &r["hosts"][0];
    assert!(host["reader_cpu_wait"]["value"].is_f64(), "{host}");
    assert!(
        host["limits"].is_object() && host["steal"]["value"].is_f64(),
        "{host}"
    );
}
