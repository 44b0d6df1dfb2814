use std::path::Path;
use std::process::Command;

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
    let (few, many) = (peak(100), peak(1100));
    // The record: two steps, two labels of time and the host's memory, 1.3 kB. DLIO's texts: 3 kB, which grow by doubling. The
    // peak holds what it takes to make report.json, too: 4.6 kB of text, 40 kB as a tree of values.
    assert!(many < few + 1000 * 60_000, "{few} {many}");
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
    let mut found = Vec::new();
    let out = scratch.text("out");
    wait_for(60, || {
        found = pids(&format!("^[^ ]*/(dlio-rs|dlio_benchmark) .*{out}"));
        found.len() == count
    });
    found.sort_unstable();
    found
}

/// A long run of two ranks of a binary, without the folder of its results.
fn slow(scratch: &Scratch, program: &Path) -> Command {
    let mut command = mpirun_of(2, program);
    let words = small(scratch, 64);
    command.args(
        words
            .iter()
            .filter(|word| !word.starts_with("output.folder")),
    );
    command.args([
        "storage.storage_type=null",
        "train.computation_time=0.05",
        "train.epochs=10000",
        "--stall-timeout",
        "6",
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
    let mut command = slow(&scratch, Path::new(bin()));
    command.arg("--output").arg(scratch.path("out"));
    let child = start(command);
    let ranks = ranks_of(&scratch, 2);
    wait_for(60, || trains_in(&scratch.path("")));
    signal(ranks[1], "-KILL");
    let out = finish(child, 30);
    assert_ne!(out.status, Some(0), "{}", out.text());
    assert!(!scratch.path("out").exists());
}

#[test]
fn a_stopped_rank_is_named_and_the_job_ends() {
    let scratch = Scratch::new();
    // Under DLIO's name the log stays, whatever the launcher makes of what its ranks print at their end.
    let shim = scratch.path("dlio_benchmark");
    std::os::unix::fs::symlink(bin(), &shim).unwrap();
    let mut command = slow(&scratch, &shim);
    command.arg(format!("hydra.run.dir={}", scratch.text("out")));
    let child = start(command);
    let ranks = ranks_of(&scratch, 2);
    wait_for(60, || trains_in(&scratch.path("")));
    // Not the first rank, which has the log.
    let last = ranks.into_iter().find(|pid| rank_of(*pid) == "1").unwrap();
    signal(last, "-STOP");
    let out = finish(child, 60);
    signal_if_alive(last);
    assert_ne!(out.status, Some(0), "{}", out.text());
    let text = std::fs::read_to_string(scratch.path("out/dlio.log")).unwrap();
    assert!(text.contains("nothing has moved on"), "{text}");
    // Wherever it was stopped, in a barrier too.
    let process = format!(" (process {last}): ");
    let named = text.lines().find(|line| line.contains(&process));
    let named = named.unwrap_or_else(|| panic!("{text}"));
    assert!(named.trim_start().starts_with("silent: rank "), "{text}");
    assert!(
        named.contains(", epoch ") && named.contains("; its process is stopped"),
        "{text}"
    );
    assert!(text.contains("waiting for them: 1 rank(s)"), "{text}");
    assert!(!scratch.path("out/summary.json").exists());
}

/// The rank of a process that Open MPI has started.
fn rank_of(pid: u32) -> String {
    let environment = std::fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let mut variables = environment.split('\0');
    let rank = variables.find_map(|v| v.strip_prefix("OMPI_COMM_WORLD_RANK="));
    rank.unwrap().to_owned()
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
