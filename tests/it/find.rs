//! The search for the most accelerators, against knees that are formulas.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::support::*;

/// k accelerators share a link: a batch of 100,000 bytes takes k x 100,000 / bandwidth, behind 10 ms of computation.
fn link(bandwidth: f64) -> Vec<String> {
    vec![
        "workload=quickstart".into(),
        "workflow.generate_data=false".into(),
        "storage.storage_type=model".into(),
        format!("storage.storage_options.bandwidth={bandwidth}"),
        "dataset.num_files_train=512".into(),
        "dataset.record_length_bytes=100000".into(),
        "reader.batch_size=1".into(),
        "reader.read_threads=2".into(),
        "reader.prefetch_size=2".into(),
        "train.computation_time=0.01".into(),
        "metric.au=0.9".into(),
    ]
}

fn find(mut command: Command, words: &[String], options: &[&str]) -> Outcome {
    command.arg("find").args(words).args(options);
    run(command)
}

fn numbers(document: &Value) -> Vec<u64> {
    let trials = document["trials"].as_array().unwrap();
    trials
        .iter()
        .map(|t| t["number"].as_u64().unwrap())
        .collect()
}

/// The search in virtual time, and what it left.
fn searched(
    scratch: &Scratch,
    ranks: usize,
    words: &[String],
    options: &[&str],
) -> (Outcome, Value) {
    let out = scratch.text("out");
    let mut all = vec!["--virtual-time", "--output", &out];
    all.extend(options);
    let outcome = find(mpirun(ranks), words, &all).ok();
    (outcome, json(&scratch.path("out/find.json")))
}

// AU is min(1, 4.95 / k): 5 accelerators have 99 %, 6 have 82.5 %.
#[test]
fn the_knee_of_a_shared_link_is_found_and_named() {
    let scratch = Scratch::new();
    let (outcome, document) = searched(&scratch, 8, &link(4.95e7), &[]);
    assert_eq!(document["schema"], "dlio-rs/find/1");
    assert_eq!(numbers(&document), [1, 2, 4, 8, 6, 5]);
    for trial in document["trials"].as_array().unwrap() {
        let k = trial["number"].as_f64().unwrap();
        let expected = 100.0 * (4.95 / k).min(1.0);
        // The steady state begins after a step or two of the first epoch's start.
        let au = trial["au_percent"].as_f64().unwrap();
        assert!((au - expected).abs() < 0.2, "{au} of {k}, not {expected}");
        let passes = if k <= 5.0 { "pass" } else { "fail" };
        assert_eq!(trial["outcome"], passes, "{k}");
        assert_eq!(trial["ranks"], trial["number"]);
    }
    let answer = &document["answer"];
    assert_eq!(answer["number"], 5);
    assert_eq!(answer["limit"], "storage");
    assert_eq!(answer["confidence_percent"], 99.0);
    let stem = scratch.text("out/find");
    crate::report::check_page(&stem, "find", &["answer", "trials", "command"]);
    let page = std::fs::read_to_string(scratch.path("out/find.html")).unwrap();
    assert!(page.contains("<title>5 accelerators</title>"), "no knee");
    let last = outcome.stdout.lines().last().unwrap();
    assert!(
        last.starts_with("5 accelerators are the most that pass 90 % (AU 99."),
        "{last}"
    );
}

#[test]
fn a_search_that_ended_early_goes_on_and_comes_to_the_same() {
    let scratch = Scratch::new();
    let (_, whole) = searched(&scratch, 8, &link(4.95e7), &[]);
    let mut early = whole.clone();
    early["answer"] = Value::Null;
    early["trials"].as_array_mut().unwrap().truncate(3);
    let file = scratch.path("early.json");
    std::fs::write(&file, early.to_string()).unwrap();
    let file_text = scratch.text("early.json");
    let resume = ["--virtual-time", "--resume", &file_text];
    let outcome = find(mpirun(8), &link(4.95e7), &resume).ok();
    let resumed = json(&file);
    assert_eq!(resumed["trials"], whole["trials"]);
    assert_eq!(resumed["answer"], whole["answer"]);
    // Only what was missing was tried.
    assert_eq!(
        outcome.stderr.matches("trial ").count(),
        3,
        "{}",
        outcome.stderr
    );
    // Another question is not answered by these trials.
    find(mpirun(8), &link(6e7), &resume).fails(2, &["workload_hash was", "remedy"]);
    find(mpirun(4), &link(4.95e7), &resume).fails(2, &["at_most was 8, now it is 4"]);
}

#[test]
fn a_killed_search_leaves_the_trials_that_had_ended() {
    let scratch = Scratch::new();
    let out = scratch.text("out");
    let mut command = mpirun(2);
    command
        .arg("find")
        .args(link(1e9))
        .args(["metric.au=0.000001", "--output", &out]);
    // In real time each trial takes 8 s at least, and passes soon after.
    command.args(["--seconds", "8"]);
    // The rank that takes no part waits longer than that, and is no stall.
    command.args(["--stall-timeout", "5"]);
    let mut child = start(command);
    let file = scratch.path("out/find.json");
    wait_for(60, || {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        serde_json::from_str(&text).is_ok_and(|d: Value| !numbers(&d).is_empty())
    });
    child.kill().unwrap();
    child.wait().unwrap();
    // Where this thread slept meanwhile, the second trial has ended too.
    let ended = numbers(&json(&file));
    assert!(!ended.is_empty() && [1, 2].starts_with(&ended), "{ended:?}");
}

#[test]
fn all_that_the_job_has_may_pass_or_none() {
    let scratch = Scratch::new();
    let (outcome, document) = searched(&scratch, 3, &link(1e9), &[]);
    assert_eq!(numbers(&document), [1, 2, 3]);
    assert_eq!(document["answer"]["number"], 3);
    assert!(
        outcome.stdout.contains("more were not tried"),
        "{}",
        outcome.stdout
    );
    let scratch = Scratch::new();
    let (outcome, document) = searched(&scratch, 3, &link(5e6), &[]);
    assert_eq!(numbers(&document), [1]);
    assert_eq!(document["answer"]["number"], Value::Null);
    assert!(
        outcome
            .stdout
            .contains("none passes 90 %; 1 accelerator: AU 50."),
        "{}",
        outcome.stdout
    );
}

// A batch takes 50 ms of latency, computation 10 ms: n threads have AU n / 5, so 5 are the fewest that pass 90 %.
#[test]
fn the_fewest_reader_threads_are_found() {
    let scratch = Scratch::new();
    let mut words = link(1e12);
    words.push("storage.storage_options.latency=0.05".into());
    let (_, document) = searched(&scratch, 1, &words, &["--by", "read_threads"]);
    assert_eq!(numbers(&document), [1, 2, 4, 8, 6, 5]);
    assert_eq!(document["answer"]["number"], 5);
    for trial in document["trials"].as_array().unwrap() {
        assert_eq!(trial["read_threads"], trial["number"]);
    }
}

#[test]
fn trials_read_the_files_that_the_whole_job_generated() {
    let scratch = Scratch::new();
    let mut words = small(&scratch, 64);
    words.extend([
        "metric.au=0.000001".into(),
        "workflow.generate_data=true".into(),
    ]);
    let out = scratch.text("found");
    let options = ["--output", &out, "--seconds", "0.1", "--json"];
    let outcome = find(mpirun(4), &words, &options).ok();
    let document: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(document, json(Path::new(&out).join("find.json").as_path()));
    assert_eq!(numbers(&document), [1, 2, 4]);
    for trial in document["trials"].as_array().unwrap() {
        assert!(trial["gib_per_second"].as_f64().unwrap() > 0.0, "{trial}");
        assert!(trial["steps"].as_u64().unwrap() >= 128, "{trial}");
    }
}

// A checkpoint of one group of 2 ranks: parts have 2 and 4 ranks.
#[test]
fn checkpoints_are_searched_by_their_rate() {
    let scratch = Scratch::new();
    let words: Vec<String> = [
        "workload=quickstart",
        "workflow.generate_data=false",
        "workflow.train=false",
        "workflow.checkpoint=true",
        "model.parallelism.tensor=2",
        "model.model_size=1048576",
        "checkpoint.time_between_checkpoints=0",
        "checkpoint.num_checkpoints_write=1",
        "checkpoint.num_checkpoints_read=1",
        "reader.drop_cache=none",
    ]
    .map(String::from)
    .into_iter()
    .chain([format!(
        "checkpoint.checkpoint_folder={}",
        scratch.text("ckpt")
    )])
    .collect();
    let out = scratch.text("found");
    let outcome = find(mpirun(4), &words, &["--output", &out]).ok();
    let document = json(&scratch.path("found/find.json"));
    let ranks: Vec<_> = (document["trials"].as_array().unwrap().iter())
        .map(|t| t["ranks"].as_u64().unwrap())
        .collect();
    assert_eq!(ranks, [2, 4], "{}", outcome.text());
    assert!(
        document["answer"]["number"]
            .as_u64()
            .is_some_and(|n| n == 2 || n == 4)
    );
}

#[test]
fn what_cannot_be_searched_is_refused() {
    let words = link(1e9);
    let refused = |options: &[&str], says: &[&str]| {
        find(solo(), &words, options).fails(2, says);
    };
    refused(&["--error", "0.7"], &["above 0 and below 0.5"]);
    refused(&["--minutes", "0"], &["above 0"]);
    refused(
        &["--by", "racks"],
        &["possible values: ranks, hosts, read_threads"],
    );
    refused(
        &["--at-most", "9", "--virtual-time"],
        &["the job has 1 accelerator", "start more ranks"],
    );
    refused(
        &["--resume", "/nowhere/find.json"],
        &["resume /nowhere/find.json: No such file"],
    );
    let with = |word: &str| {
        let mut words = words.clone();
        words.push(word.into());
        words
    };
    find(solo(), &with("workflow.train=false"), &[])
        .fails(2, &["find needs a workload that trains"]);
    find(
        solo(),
        &with("storage.storage_type=local_fs"),
        &["--virtual-time"],
    )
    .fails(2, &["--virtual-time needs"]);
    let scratch = Scratch::new();
    std::fs::write(scratch.path("find.json"), "{}").unwrap();
    let (folder, file) = (
        scratch.0.path().display().to_string(),
        scratch.text("find.json"),
    );
    refused(&["--output", &folder], &["it is there already", "--resume"]);
    refused(&["--resume", &file], &["it is no find.json"]);
}

#[test]
fn a_trial_that_fails_ends_the_search_with_its_cause() {
    let scratch = Scratch::new();
    let mut words = small(&scratch, 8);
    words.push("workflow.generate_data=false".into());
    let out = scratch.text("found");
    find(mpirun(2), &words, &["--output", &out]).fails(1, &["data"]);
}
