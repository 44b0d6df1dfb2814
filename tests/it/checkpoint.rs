//! Checkpoints as PyTorch, numpy and the kernel see them.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::support::*;

/// A model of three layers and a few hundred kilobytes as override words.
pub fn tiny(scratch: &Scratch) -> Vec<String> {
    let model = "model.num_layers=3 model.transformer.hidden_size=64 model.transformer.ffn_hidden_size=192 \
                 model.transformer.vocab_size=512 model.transformer.num_attention_heads=4 \
                 model.transformer.num_kv_heads=2";
    let mut words = vec!["workload=checkpoint_small".to_owned()];
    words.extend(model.split_whitespace().map(Into::into));
    words.push(format!(
        "checkpoint.checkpoint_folder={}",
        scratch.text("ck")
    ));
    words.push(format!("output.folder={}", scratch.text("out")));
    words.push("checkpoint.num_checkpoints_write=1".into());
    words.push("checkpoint.num_checkpoints_read=1".into());
    words.push("checkpoint.verify_content=true".into());
    words
}

fn case(scratch: &Scratch, ranks: usize) -> Value {
    json!({
        "folder": scratch.text("ck/global_epoch1_step1"), "ranks": ranks,
        "layers": 3, "hidden": 64, "ffn": 192, "vocab": 512, "heads": 4, "kv_heads": 2,
        "zero": 1,
    })
}

fn with(mut case: Value, more: Value) -> Value {
    for (key, value) in more.as_object().unwrap() {
        case[key] = value.clone();
    }
    case
}

/// The Python that has PyTorch.
fn torch_python() -> String {
    std::env::var("DLIO_RS_TORCH_PYTHON").unwrap_or_else(|_| python())
}

fn judge(python: String, flags: &[&str], cases: &[Value]) {
    let scratch = Scratch::new();
    let list = scratch.path("cases.json");
    std::fs::write(&list, serde_json::to_string(cases).unwrap()).unwrap();
    let mut command = Command::new(python);
    command.arg(repo().join("tests/python/check_checkpoint.py"));
    command.args(flags).arg(&list);
    run(command).ok();
}

fn job(ranks: usize, words: &[String], more: &[&str]) -> Outcome {
    let mut command = if ranks == 1 { solo() } else { mpirun(ranks) };
    command.args(words).args(more);
    run(command)
}

#[test]
fn sizes_of_the_published_models_to_the_byte() {
    for (model, ranks, more, bytes) in [
        ("llama3_8b", 8, &[][..], 112_425_623_552_u64),
        ("llama3_8b", 1, &[], 112_423_903_232),
        ("llama3_70b", 64, &[], 978_406_572_032),
        (
            "llama3_70b",
            8,
            &["checkpoint.mode=subset", "model.parallelism.data=8"],
            122_300_821_504,
        ),
        ("llama3_405b", 512, &[], 5_682_508_791_808),
        (
            "llama3_405b",
            8,
            &["checkpoint.mode=subset", "model.parallelism.data=2"],
            105_811_532_800,
        ),
        ("llama3_1t", 1024, &[], 16_564_174_094_592),
        (
            "llama3_1t",
            8,
            &["checkpoint.mode=subset", "model.parallelism.data=2"],
            154_322_342_880,
        ),
    ] {
        let mut command = solo();
        command.args(["plan", &format!("workload={model}"), "--ranks"]);
        command.arg(ranks.to_string()).args(more);
        let out = run(command).ok();
        let line = format!("checkpoint           {bytes} bytes");
        assert!(out.stdout.contains(&line), "{model}:\n{}", out.stdout);
    }
}

#[test]
fn pytorch_opens_every_file_of_every_parallelism() {
    let mut scratches = Vec::new();
    let mut cases = Vec::new();
    for zero in 0..4 {
        for (tensor, pipeline) in [(1, 1), (2, 1), (1, 2), (2, 2)] {
            if zero == 3 && pipeline > 1 {
                continue;
            }
            let ranks = 2 * if tensor * pipeline == 4 { 2 } else { 1 };
            let scratch = Scratch::new();
            let words = [
                format!("model.parallelism.zero_stage={zero}"),
                format!("model.parallelism.tensor={tensor}"),
                format!("model.parallelism.pipeline={pipeline}"),
            ];
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            job(ranks, &tiny(&scratch), &words).ok();
            let layout = json!({"zero": zero, "tensor": tensor, "pipeline": pipeline});
            cases.push(with(case(&scratch, ranks), layout));
            scratches.push(scratch);
        }
    }
    assert_eq!(cases.len(), 14);
    for (dtype, ones) in [("bf16", false), ("fp64", true), ("int8", false)] {
        let scratch = Scratch::new();
        let words = [
            format!("model.model_datatype={dtype}"),
            format!("checkpoint.randomize_tensor={}", !ones),
            "dataset.fill_seed=77".into(),
        ];
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        job(1, &tiny(&scratch), &words).ok();
        let more = json!({"model_dtype": dtype, "ones": ones, "seed": 77});
        cases.push(with(case(&scratch, 1), more));
        scratches.push(scratch);
    }
    judge(torch_python(), &[], &cases);
}

#[test]
fn what_torch_saved_is_loaded() {
    let scratch = Scratch::new();
    job(2, &tiny(&scratch), &["checkpoint.num_checkpoints_read=0"]).ok();
    let file = scratch.path("ck/global_epoch1_step1/model_0_model_states.pt");
    let before = std::fs::read(&file).unwrap();
    judge(torch_python(), &["--rewrite"], &[case(&scratch, 2)]);
    assert_ne!(std::fs::read(&file).unwrap(), before);
    std::fs::remove_dir_all(scratch.path("out")).unwrap();
    job(2, &tiny(&scratch), &["checkpoint.num_checkpoints_write=0"]).ok();
}

fn keys(v: &Value) -> Vec<&str> {
    v.as_object().unwrap().keys().map(String::as_str).collect()
}

/// Training on the small dataset with checkpoints; the epoch's entry of rank 0.
fn trained(scratch: &Scratch, more: &[&str]) -> Value {
    let folder = format!("checkpoint.checkpoint_folder={}", scratch.text("ck"));
    let mut words = vec![
        "workflow.checkpoint=true",
        &folder,
        "model.model_size_bytes=3000000",
    ];
    words.extend(more);
    job(2, &small(scratch, 16), &words).ok();
    json(&scratch.path("out/0_per_epoch_stats.json"))
}

#[test]
fn training_saves_after_epochs_with_dlios_keys() {
    let scratch = Scratch::new();
    let stats = trained(
        &scratch,
        &[
            "train.epochs=4",
            "checkpoint.checkpoint_after_epoch=2",
            "checkpoint.epochs_between_checkpoints=2",
        ],
    );
    for (epoch, is_saved) in [("1", false), ("2", true), ("3", false), ("4", true)] {
        let mut expected = vec!["start", "block1", "save_ckpt1", "end", "duration"];
        expected.retain(|key| is_saved || *key != "save_ckpt1");
        assert_eq!(keys(&stats[epoch]), expected, "epoch {epoch}");
    }
    // 16 samples, batches of 2 on 2 ranks: 4 steps; the folder is that of the step after.
    for epoch in [2, 4] {
        let file = format!("ck/global_epoch{epoch}_step5/model_states-0.pt");
        assert!(scratch.path(&file).exists(), "{file}");
    }
    let summary = json(&scratch.path("out/summary.json"));
    let metric = &summary["metric"];
    assert_eq!(
        keys(metric)[..6],
        [
            "save_checkpoint_io_mean_GB_per_second",
            "save_checkpoint_io_stdev_GB_per_second",
            "save_checkpoint_duration_mean_seconds",
            "save_checkpoint_duration_stdev_seconds",
            "checkpoint_size_GB",
            "train_au_percentage",
        ]
    );
    let size = 3e6 / 1073741824.0;
    let close = |a: f64, b: f64| (a / b - 1.0).abs() < 1e-9;
    assert!(close(metric["checkpoint_size_GB"].as_f64().unwrap(), size));
    let entry = &stats["2"]["save_ckpt1"];
    assert_eq!(keys(entry), ["start", "end", "duration", "throughput"]);
    let duration = entry["duration"].as_f64().unwrap();
    assert!(close(
        entry["throughput"].as_f64().unwrap(),
        size / duration
    ));
    let other = stats["4"]["save_ckpt1"]["duration"].as_f64().unwrap();
    let mean = metric["save_checkpoint_duration_mean_seconds"]
        .as_f64()
        .unwrap();
    assert!(close(mean, (duration + other) / 2.0));
}

#[test]
fn training_saves_every_n_steps_and_closes_blocks() {
    let scratch = Scratch::new();
    let stats = trained(&scratch, &["checkpoint.steps_between_checkpoints=2"]);
    // As in DLIO, a checkpoint after the last step opens a block without steps.
    let expected = [
        "start",
        "block1",
        "save_ckpt1",
        "block2",
        "save_ckpt2",
        "block3",
        "end",
        "duration",
    ];
    for epoch in ["1", "2"] {
        assert_eq!(keys(&stats[epoch]), expected, "epoch {epoch}");
    }
    let output = json(&scratch.path("out/1_output.json"));
    for (block, steps) in [("block1", 2), ("block2", 2), ("block3", 0)] {
        assert_eq!(
            output["1"]["load"][block].as_array().unwrap().len(),
            steps,
            "{block}"
        );
    }
    for folder in [
        "global_epoch1_step2",
        "global_epoch1_step4",
        "global_epoch2_step4",
    ] {
        assert!(scratch.path("ck").join(folder).exists(), "{folder}");
    }
    let log = std::fs::read_to_string(scratch.path("out/dlio.log")).unwrap();
    for line in [
        "Starting saving checkpoint 1 after total step 2 for epoch 1",
        "Finished saving checkpoint 2 for epoch 2 in ",
        "[METRIC] Checkpoint save duration (seconds): ",
    ] {
        assert!(log.contains(line), "{line}");
    }
}

#[test]
fn a_checkpoint_job_has_dlios_files() {
    let scratch = Scratch::new();
    let more = [
        "checkpoint.num_checkpoints_write=3",
        "checkpoint.num_checkpoints_read=2",
        "checkpoint.rank_sync=true",
    ];
    job(2, &tiny(&scratch), &more).ok();
    for rank in 0..2 {
        let stats = json(&scratch.path(&format!("out/{rank}_per_epoch_stats.json")));
        assert_eq!(keys(&stats), ["1"]);
        assert_eq!(
            keys(&stats["1"]),
            [
                "start",
                "save_ckpt1",
                "save_ckpt2",
                "save_ckpt3",
                "load_ckpt1",
                "load_ckpt2",
                "end"
            ]
        );
        let output = json(&scratch.path(&format!("out/{rank}_output.json")));
        assert_eq!(output["1"]["load"], json!({}));
    }
    let summary = json(&scratch.path("out/summary.json"));
    assert_eq!(summary["epochs"], 0);
    assert_eq!(keys(&summary["metric"]).len(), 9);
    let report = json(&scratch.path("out/report.json"));
    let save = &report["checkpoint"]["save"];
    assert_eq!(save["count"], 3);
    // Every rank of this layout writes one optimizer file per checkpoint, rank 0 the model as well.
    assert_eq!(
        report["checkpoint"]["ranks"][0]["stages"][1]["stage"],
        "checkpoint_fsync"
    );
    assert_eq!(
        report["checkpoint"]["ranks"][0]["stages"][1]["count"],
        3 * 3
    );
    assert_eq!(
        report["checkpoint"]["ranks"][1]["stages"][1]["count"],
        3 * 2
    );
    let written: u64 = [
        "global_epoch1_step1",
        "global_epoch1_step2",
        "global_epoch1_step3",
    ]
    .iter()
    .flat_map(|f| std::fs::read_dir(scratch.path("ck").join(f)).unwrap())
    .map(|e| e.unwrap().metadata().unwrap().len())
    .sum();
    assert_eq!(save["file_bytes"]["value"], written);
}

#[test]
fn the_kernel_sees_the_fsyncs_that_were_asked_for() {
    for (fsync, expected) in [("true", 3), ("false", 0)] {
        let scratch = Scratch::new();
        let trace = scratch.path("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-e", "trace=fsync,rename,renameat2", "-o"]);
        command.arg(&trace).arg(bin()).args(tiny(&scratch));
        command.args([
            &format!("checkpoint.fsync={fsync}"),
            "checkpoint.num_checkpoints_read=0",
        ]);
        run(command).ok();
        let calls = std::fs::read_to_string(&trace).unwrap();
        // Two files and their folder.
        assert_eq!(calls.matches(" fsync(").count(), expected, "{calls}");
    }
}

#[test]
fn every_local_storage_system_saves_and_loads() {
    for storage in ["direct_fs", "mmap"] {
        let scratch = Scratch::new();
        let word = format!("storage.storage_type={storage}");
        job(2, &tiny(&scratch), &[&word]).ok();
        if storage == "direct_fs" {
            // What O_DIRECT wrote is what buffered reads find.
            std::fs::remove_dir_all(scratch.path("out")).unwrap();
            job(2, &tiny(&scratch), &["checkpoint.num_checkpoints_write=0"]).ok();
        }
    }
    for storage in ["null", "model"] {
        let scratch = Scratch::new();
        let word = format!("storage.storage_type={storage}");
        job(2, &tiny(&scratch), &[&word]).ok();
        assert!(!scratch.path("ck").exists());
        let report = json(&scratch.path("out/report.json"));
        let load = &report["checkpoint"]["load"]["file_bytes"]["value"];
        assert_eq!(load, &report["checkpoint"]["save"]["file_bytes"]["value"]);
    }
}

#[test]
fn tensorflow_gets_npz_and_says_so() {
    let scratch = Scratch::new();
    let out = job(2, &tiny(&scratch), &["framework=tensorflow"]).ok();
    assert!(
        out.stderr
            .contains("checkpoints of framework tensorflow are numpy .npz files")
    );
    judge(
        python(),
        &[],
        &[with(case(&scratch, 2), json!({"container": "npz"}))],
    );
}

#[test]
fn zstd_files_unpack_to_the_plain_ones() {
    let (plain, packed) = (Scratch::new(), Scratch::new());
    job(1, &tiny(&plain), &[]).ok();
    job(
        1,
        &tiny(&packed),
        &[
            "checkpoint.compression=zstd",
            "checkpoint.compression_level=1",
        ],
    )
    .ok();
    let name = "ck/global_epoch1_step1/model_0_model_states.pt";
    let mut command = Command::new("zstd");
    command
        .args(["-q", "-d"])
        .arg(packed.path(&format!("{name}.zst")));
    run(command).ok();
    assert!(std::fs::read(packed.path(name)).unwrap() == std::fs::read(plain.path(name)).unwrap());
}

#[test]
fn keep_deletes_only_what_the_run_saved() {
    let scratch = Scratch::new();
    let old = scratch.path("ck/global_epoch1_step0");
    std::fs::create_dir_all(&old).unwrap();
    let stray = scratch.path("ck/global_epoch1_step1/notes.txt");
    std::fs::create_dir_all(stray.parent().unwrap()).unwrap();
    std::fs::write(&stray, "mine").unwrap();
    let more = [
        "checkpoint.num_checkpoints_write=4",
        "checkpoint.num_checkpoints_read=2",
        "checkpoint.keep=2",
    ];
    job(2, &tiny(&scratch), &more).ok();
    assert!(old.exists());
    assert_eq!(names(stray.parent().unwrap()), ["notes.txt"]);
    assert!(!scratch.path("ck/global_epoch1_step2").exists());
    for step in [3, 4] {
        assert_eq!(
            names(&scratch.path(&format!("ck/global_epoch1_step{step}"))).len(),
            3
        );
    }
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|e| e.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn the_command_between_phases_runs_once_after_the_last_save() {
    let scratch = Scratch::new();
    let list = scratch.text("list");
    let command = format!(
        "checkpoint.between_phases=\"ls {} >> {list}; sleep 0.2\"",
        scratch.text("ck/*")
    );
    job(2, &tiny(&scratch), &[&command]).ok();
    let text = std::fs::read_to_string(&list).unwrap();
    assert_eq!(text.matches("model_0_model_states.pt").count(), 1, "{text}");
    assert!(!text.contains("INCOMPLETE"));
    let report = json(&scratch.path("out/report.json"));
    assert!(
        report["checkpoint"]["between_phases"]["value"]
            .as_f64()
            .unwrap()
            >= 0.2
    );
}
