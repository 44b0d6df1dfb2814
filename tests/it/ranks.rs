use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::*;

#[test]
fn sixty_four_ranks_complete_a_null_run() {
    let scratch = Scratch::new();
    let mut command = mpirun(64);
    command.args(small(&scratch, 256)).args([
        "storage.storage_type=null",
        "train.epochs=1",
        "--quiet",
    ]);
    run(command).ok();
    assert_eq!(
        json(&scratch.path("out/summary.json"))["num_accelerators"],
        64
    );
}

#[test]
fn the_order_digest_does_not_depend_on_storage_or_threads() {
    let digest = |words: &[&str]| {
        let scratch = Scratch::new();
        let mut command = mpirun(3);
        command.args(small(&scratch, 31)).args(words).arg("--quiet");
        run(command).ok();
        json(&scratch.path("out/report.json"))["order_digest"].clone()
    };
    let base = digest(&[]);
    assert_eq!(
        base,
        digest(&["storage.storage_type=null", "reader.read_threads=5"])
    );
    assert_eq!(
        base,
        digest(&["reader.data_loader=native", "reader.io_depth=4"])
    );
    assert_eq!(
        base,
        digest(&["storage.storage_type=direct_fs", "reader.prefetch_size=7"])
    );
    assert_ne!(base, digest(&["storage.storage_type=null", "train.seed=1"]));
    assert_ne!(
        base,
        digest(&["storage.storage_type=null", "reader.order=permutation"])
    );
}

#[test]
fn memory_does_not_grow_with_the_number_of_files() {
    let peak = |files: u64| {
        let scratch = Scratch::new();
        let mut command = mpirun(2);
        command
            .args(small(&scratch, files))
            .args(["storage.storage_type=null", "train.epochs=1"]);
        command.args(["reader.file_shuffle=off", "--max-steps", "20", "--quiet"]);
        run(command).ok();
        json(&scratch.path("out/report.json"))["counters"]["peak_rss"]["value"]
            .as_u64()
            .unwrap()
    };
    let (few, many) = (peak(1000), peak(100_000_000));
    assert!(many < few + (8 << 20), "{few} {many}");
}

#[test]
fn memory_of_an_epoch_is_its_record() {
    let peak = |epochs: u64| {
        let scratch = Scratch::new();
        let mut command = solo();
        command.args(small(&scratch, 4)).args([
            "storage.storage_type=null",
            "train.computation_time=0",
            &format!("train.epochs={epochs}"),
            "--quiet",
        ]);
        run(command).ok();
        json(&scratch.path("out/report.json"))["counters"]["peak_rss"]["value"]
            .as_u64()
            .unwrap()
    };
    let (few, many) = (peak(100), peak(2100));
    // Two steps, two labels of time and the host's memory: 1.3 kB. Text of /proc/meminfo alone would be 5 kB.
    assert!(many < few + 2000 * 3000, "{few} {many}");
}

fn pids(of: &str) -> Vec<u32> {
    let out = Command::new("pgrep").args(["-f", of]).output().unwrap();
    String::from_utf8_lossy(&out.stdout)
        .lines()
        .filter_map(|l| l.parse().ok())
        .collect()
}

/// The ranks' own processes of a run whose output folder is unique.
pub fn ranks_of(scratch: &Scratch, count: usize) -> Vec<u32> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let mut found: Vec<u32> = pids(&format!("^{BIN} .*{}", scratch.text("out")));
        found.sort_unstable();
        if found.len() == count {
            return found;
        }
        assert!(Instant::now() < deadline, "found {found:?}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn slow(scratch: &Scratch) -> Command {
    let mut command = mpirun(2);
    command.args(small(scratch, 64));
    command.args([
        "storage.storage_type=null",
        "train.computation_time=0.05",
        "train.epochs=100",
        "--stall-timeout",
        "3",
    ]);
    command
}

pub fn signal(pid: u32, name: &str) {
    assert!(
        Command::new("kill")
            .args([name, &pid.to_string()])
            .status()
            .unwrap()
            .success()
    );
}

#[test]
fn a_killed_rank_ends_the_job_and_leaves_no_result() {
    let scratch = Scratch::new();
    let child = start(slow(&scratch));
    let ranks = ranks_of(&scratch, 2);
    std::thread::sleep(Duration::from_millis(500));
    signal(ranks[1], "-KILL");
    let out = finish(child, 30);
    assert_ne!(out.status, Some(0), "{}", out.text());
    assert!(!scratch.path("out").exists());
}

#[test]
fn a_stopped_rank_is_named_and_the_job_ends() {
    let scratch = Scratch::new();
    let child = start(slow(&scratch));
    let ranks = ranks_of(&scratch, 2);
    // Its log grows in the folder that becomes the results.
    wait_for(60, || {
        let parts = std::fs::read_dir(scratch.path("")).unwrap();
        let logs = parts.map(|part| part.unwrap().path().join("dlio.log"));
        logs.filter_map(|log| std::fs::read_to_string(log).ok())
            .any(|log| log.contains("Starting block 1"))
    });
    std::thread::sleep(Duration::from_millis(500));
    signal(ranks[1], "-STOP");
    let out = finish(child, 60);
    signal_if_alive(ranks[1]);
    let text = out.text();
    assert_ne!(out.status, Some(0), "{text}");
    assert!(text.contains("nothing has moved on"), "{text}");
    assert!(
        text.contains("silent: rank ") && text.contains("no sign of life"),
        "{text}"
    );
    assert!(
        text.contains("epoch ") && text.contains("waiting for them: 1 rank(s)"),
        "{text}"
    );
    assert!(!scratch.path("out").exists());
}

fn signal_if_alive(pid: u32) {
    // The launcher has usually ended it already.
    let _ = Command::new("kill")
        .args(["-KILL", &pid.to_string()])
        .output();
}

#[test]
fn a_launcher_of_another_mpi_is_named() {
    // What the other library's launcher leaves in the environment of four processes that this one cannot see.
    let scratch = Scratch::new();
    let mut command = solo();
    command
        .args(small(&scratch, 8))
        .env("PMI_SIZE", "4")
        .env("PMI_RANK", "0");
    let out = run(command);
    out.fails(
        1,
        &[
            "the launcher meant 4 ranks (PMI_SIZE=4)",
            "the MPI library is: Open MPI",
            "mpirun",
        ],
    );
}
