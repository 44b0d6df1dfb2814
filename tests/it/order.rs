use std::io::Write;
use std::process::{Command, Stdio};

use crate::support::*;

struct Case {
    loader: &'static str,
    files: u64,
    samples: u64,
    batch: u64,
    ranks: u64,
    threads: u64,
    file_shuffle: bool,
    sample_shuffle: bool,
    seed: u64,
    seed_change: bool,
    subfolders: u64,
}

fn planned(c: &Case) -> String {
    let shuffle = |on| if on { "seed" } else { "off" };
    let mut command = solo();
    command.args([
        "plan",
        "workload=quickstart",
        "--order",
        "--ranks",
        &c.ranks.to_string(),
    ]);
    command.args([
        format!("framework={}", c.loader),
        format!("reader.data_loader={}", c.loader),
        format!("dataset.num_files_train={}", c.files),
        format!("dataset.num_samples_per_file={}", c.samples),
        format!("dataset.num_subfolders_train={}", c.subfolders),
        format!("reader.batch_size={}", c.batch),
        format!("reader.read_threads={}", c.threads),
        format!("reader.file_shuffle={}", shuffle(c.file_shuffle)),
        format!("reader.sample_shuffle={}", shuffle(c.sample_shuffle)),
        format!("train.seed={}", c.seed),
        format!("train.seed_change_epoch={}", c.seed_change),
        "train.epochs=3".into(),
    ]);
    run(command).ok().stdout
}

fn reference(c: &Case) -> String {
    let input = serde_json::json!({
        "files": c.files, "samples_per_file": c.samples, "batch": c.batch, "ranks": c.ranks, "epochs": 3,
        "threads": c.threads, "loader": c.loader, "file_shuffle": c.file_shuffle, "sample_shuffle": c.sample_shuffle,
        "seed": c.seed, "seed_change_epoch": c.seed_change, "subfolders": c.subfolders, "prefix": "img", "format": "npz",
    });
    let mut child = Command::new(python())
        .arg(repo().join("tests/python/order_reference.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(input.to_string().as_bytes())
        .unwrap();
    finish(child, 60).ok().stdout
}

#[test]
fn plan_order_is_dlios_as_numpy_computes_it() {
    let mut cases = Vec::new();
    for loader in ["pytorch", "tensorflow"] {
        for ranks in [1, 2, 3, 5] {
            for (file_shuffle, sample_shuffle) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                // 47 files leave remainders for every rank count; odd thread counts leave them for every thread.
                let seed = 123 + ranks;
                let case = Case {
                    loader,
                    files: 47,
                    samples: 3,
                    batch: 4,
                    ranks,
                    threads: 3,
                    file_shuffle,
                    sample_shuffle,
                    seed,
                    seed_change: ranks != 3,
                    subfolders: if ranks == 2 { 4 } else { 0 },
                };
                cases.push(case);
            }
        }
    }
    for case in &cases {
        let (ours, theirs) = (planned(case), reference(case));
        assert!(theirs.lines().count() > 300, "{theirs}");
        let differs = ours.lines().zip(theirs.lines()).position(|(a, b)| a != b);
        let name = format!(
            "{} ranks {} shuffles {} {}",
            case.loader, case.ranks, case.file_shuffle, case.sample_shuffle
        );
        assert_eq!(differs, None, "{name}: line {differs:?}");
        assert_eq!(ours.lines().count(), theirs.lines().count(), "{name}");
    }
}

#[test]
fn a_run_reads_what_the_plan_says() {
    // The kernel sees the same opens in the same order as the plan prints, one reader thread per rank.
    let scratch = Scratch::new();
    let mut generate = solo();
    generate.arg("generate").args(small(&scratch, 13));
    run(generate).ok();
    let mut trace = Command::new("strace");
    trace
        .args(["-f", "-e", "trace=openat", "-o"])
        .arg(scratch.path("trace"))
        .arg(bin())
        .args(small(&scratch, 13));
    trace.args([
        "reader.read_threads=1",
        "reader.drop_cache=none",
        "workflow.generate_data=false",
    ]);
    trace.args(["dataset.listing_validation_interval=0"]);
    run(trace).ok();
    let opened: Vec<String> = std::fs::read_to_string(scratch.path("trace"))
        .unwrap()
        .lines()
        // The files whose pages are looked up before an epoch; a pipe in place of one is not waited for.
        .filter(|line| !line.contains("O_NONBLOCK"))
        .filter_map(|line| {
            Some(
                line.split_once("/data/")?
                    .1
                    .split_once(".npz")?
                    .0
                    .to_string(),
            )
        })
        .collect();
    let mut plan = solo();
    plan.args(["plan", "--order"])
        .args(small(&scratch, 13))
        .arg("reader.read_threads=1");
    let planned: Vec<String> = run(plan)
        .ok()
        .stdout
        .lines()
        .map(|line| {
            let value: serde_json::Value = serde_json::from_str(line).unwrap();
            value["file"]
                .as_str()
                .unwrap()
                .trim_end_matches(".npz")
                .to_string()
        })
        .collect();
    assert_eq!(planned.len(), 24);
    assert_eq!(opened, planned);
}
