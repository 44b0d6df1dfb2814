//! AU and throughput in virtual time, against DLIO's formulas worked out by hand.

use crate::support::*;

fn summary(words: &[&str], ranks: usize) -> serde_json::Value {
    let scratch = Scratch::new();
    let mut command = mpirun(ranks);
    command.args([
        "workload=quickstart",
        "workflow.generate_data=false",
        "reader.read_threads=1",
        "reader.prefetch_size=1",
    ]);
    command
        .args(["storage.storage_type=model", "--virtual-time", "--output"])
        .arg(scratch.path("out"))
        .args(words);
    run(command).ok();
    json(&scratch.path("out/summary.json"))
}

fn close(value: &serde_json::Value, expected: f64) {
    let got = value.as_f64().unwrap();
    assert!(
        (got - expected).abs() <= 1e-9 * expected.abs(),
        "{got} != {expected}"
    );
}

// One thread reads a batch of 2 samples in 2 x 20 ms; computation takes 10 ms. With a window of one batch the next
// batch is begun when one is taken, so from the second step on a step takes max(40, 10) ms: load 30, compute 10.
// 8 files, batch 2: 4 steps; the first is excluded. T = 3 x 40 + no fetch after the last step; C = 3 x 10... the last
// step's computation ends the block: the block takes 40 + 3 x 40 + 10 = 170 ms, the first step's proc is 50 ms.
#[test]
fn a_latency_bound_run_has_the_au_of_the_formula() {
    let s = summary(
        &[
            "dataset.num_files_train=8",
            "reader.batch_size=2",
            "train.epochs=3",
            "train.computation_time=0.01",
            "storage.storage_options.latency=0.02",
        ],
        1,
    );
    let (t, c) = (0.170 - 0.050, 0.030);
    for epoch in 0..3 {
        close(&s["metric"]["train_au_percentage"][epoch], 100.0 * c / t);
        close(
            &s["metric"]["train_throughput_samples_per_second"][epoch],
            3.0 * 2.0 / t,
        );
    }
    close(&s["metric"]["train_au_mean_percentage"], 25.0);
    assert_eq!(s["metric"]["train_au_meet_expectation"], "fail");
}

// The same with two ranks that share 1 MB/s: each has 0.5 MB/s. 2 samples of 10000 bytes take 40 ms.
#[test]
fn two_ranks_share_the_bandwidth_and_their_throughput_adds_up() {
    let s = summary(
        &[
            "dataset.num_files_train=16",
            "dataset.record_length_bytes=10000",
            "reader.batch_size=2",
            "train.epochs=1",
            "train.computation_time=0.01",
            "storage.storage_options.bandwidth=1e6",
        ],
        2,
    );
    close(&s["metric"]["train_au_mean_percentage"], 25.0);
    close(
        &s["metric"]["train_throughput_mean_samples_per_second"],
        2.0 * 6.0 / 0.120,
    );
}

// Evaluation of 4 files in batches of 1: load 20 ms, then max(20, 5): wall 20 + 3 x 20 + 5 = 85 ms; without the first
// step (25 ms) 60 ms remain, of which 3 x 5 ms are computation. Throughput counts all steps and the whole wall time.
#[test]
fn evaluation_has_its_own_formula() {
    let s = summary(
        &[
            "dataset.num_files_train=8",
            "dataset.num_files_eval=4",
            "workflow.evaluation=true",
            "evaluation.eval_time=0.005",
            "reader.batch_size=2",
            "train.epochs=2",
            "train.computation_time=0.05",
            "storage.storage_options.latency=0.02",
        ],
        1,
    );
    for epoch in 0..2 {
        close(
            &s["metric"]["eval_au_percentage"][epoch],
            100.0 * 15.0 / 60.0,
        );
        close(
            &s["metric"]["eval_throughput_samples_per_second"][epoch],
            4.0 / 0.085,
        );
    }
    // Training: 40 ms of reads hide behind 50 ms of computation after the first step: all of T is computation.
    close(&s["metric"]["train_au_mean_percentage"], 100.0);
}

// Two steps excluded at the start, one at the end, of 8 steps of 40 ms: T = 8 x 40 + 10 - (50 + 40) - 40 + ... worked out
// from the records: block 40 + 7 x 40 + 10 = 330 ms; procs: first 50, then 40 each. T = 330 - 50 - 40 - 40 = 200, C = 5 x 10.
#[test]
fn excluded_steps_leave_the_window() {
    let words = |formula: &'static str| {
        summary(
            &[
                "dataset.num_files_train=16",
                "reader.batch_size=2",
                "train.epochs=1",
                "train.computation_time=0.01",
                "storage.storage_options.latency=0.02",
                "output.metric.exclude_start_steps=2",
                "output.metric.exclude_end_steps=1",
                formula,
            ],
            1,
        )
    };
    let v3 = words("metric.formula=v3");
    close(&v3["metric"]["train_au_mean_percentage"], 25.0);
    close(
        &v3["metric"]["train_throughput_mean_samples_per_second"],
        5.0 * 2.0 / 0.200,
    );
    // The original counts all steps but two, whatever is excluded.
    let v2 = words("metric.formula=v2");
    close(
        &v2["metric"]["train_throughput_mean_samples_per_second"],
        6.0 * 2.0 / 0.200,
    );
}
