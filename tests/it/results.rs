//! The folder of results: never shared by two jobs, never lost.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::bad_input::Mount;
use crate::support::*;

/// The small workload without a folder of results, run in the scratch folder as README.md's examples are.
fn plain(scratch: &Scratch, words: &[&str]) -> Command {
    let mut command = solo();
    command.current_dir(scratch.path(""));
    command.args(
        small(scratch, 4)
            .iter()
            .filter(|word| !word.starts_with("output.folder")),
    );
    command.args(["train.epochs=1", "--quiet"]).args(words);
    command
}

fn with_data(scratch: &Scratch) {
    run(plain(scratch, &["workflow.train=false"])).ok();
}

fn folders(at: &Path) -> Vec<PathBuf> {
    let mut all: Vec<_> = std::fs::read_dir(at)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    all.sort();
    all
}

#[test]
fn runs_of_the_same_second_all_keep_their_results() {
    let scratch = Scratch::new();
    with_data(&scratch);
    let words = [
        "workflow.generate_data=false",
        "train.computation_time=0.0001",
    ];
    let at_once: Vec<_> = (0..10).map(|_| start(plain(&scratch, &words))).collect();
    for child in at_once {
        finish(child, 120).ok();
    }
    for _ in 0..20 {
        run(plain(&scratch, &words)).ok();
    }
    let found = folders(&scratch.path("results/quickstart"));
    assert_eq!(found.len(), 30, "{found:?}");
    for folder in found {
        assert!(folder.join("summary.json").exists(), "{folder:?}");
    }
}

#[test]
fn a_folder_that_another_job_writes_to_is_refused_before_anything_is_measured() {
    let scratch = Scratch::new();
    with_data(&scratch);
    let out = format!("output.folder={}", scratch.text("out"));
    let slow = [
        &out,
        "workflow.generate_data=false",
        "train.computation_time=600",
    ];
    let child = start(plain(&scratch, &slow));
    wait_for(60, || scratch.path(".out.lock").exists());
    let second = run(plain(&scratch, &[&out, "workflow.generate_data=false"]));
    let id = format!("(process {})", child.id());
    let seen = format!("`ps -p {}`", child.id());
    let lock = format!("delete {}", scratch.text(".out.lock"));
    let said = "another job is about to write its results there";
    second.fails(1, &[said, &id, "remedy", &seen, &lock]);
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    finish(child, 30);
    // Nothing of a job that was killed stands in the way of the next.
    run(plain(&scratch, &[&out, "workflow.generate_data=false"])).ok();
    assert!(!scratch.path(".out.lock").exists());
}

#[test]
fn results_that_do_not_fit_are_printed_and_kept_elsewhere() {
    let scratch = Scratch::new();
    with_data(&scratch);
    let mount = Mount::new(&scratch, "tmpfs", "size=16k");
    let out = format!("output.folder={}", mount.path().join("out").display());
    std::fs::create_dir(scratch.path("tmp")).unwrap();
    let mut command = plain(&scratch, &[&out, "workflow.generate_data=false"]);
    command.env("TMPDIR", scratch.path("tmp"));
    let outcome = run(command).fails(
        1,
        &[
            "no space left on the file system",
            "what was measured is in",
            "train AU",
        ],
    );
    let kept = scratch.path("tmp/dlio-rs-results");
    assert!(outcome.stderr.contains(&kept.display().to_string()));
    assert!(kept.join("summary.json").exists() && kept.join("report.json").exists());
}

#[test]
fn a_folder_that_is_removed_during_the_run_is_named() {
    let scratch = Scratch::new();
    with_data(&scratch);
    let out = format!("output.folder={}", scratch.text("deep/out"));
    let words = [
        &out,
        "workflow.generate_data=false",
        "train.computation_time=4",
    ];
    let mut command = plain(&scratch, &words);
    std::fs::create_dir(scratch.path("tmp")).unwrap();
    command.env("TMPDIR", scratch.path("tmp"));
    let child = start(command);
    wait_for(60, || trains_in(&scratch.path("deep")));
    std::fs::remove_dir_all(scratch.path("deep")).unwrap();
    finish(child, 60).fails(
        1,
        &[
            "was removed during the run",
            "deep",
            "what was measured is in",
        ],
    );
    assert!(scratch.path("tmp/dlio-rs-results/summary.json").exists());
}

#[test]
fn a_standard_output_that_takes_nothing_costs_no_results() {
    let scratch = Scratch::new();
    with_data(&scratch);
    let with_stdout = |name: &str, stdout: Stdio| {
        let out = format!("output.folder={}", scratch.text(name));
        let mut command = plain(&scratch, &[&out, "workflow.generate_data=false"]);
        command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(stdout);
        let outcome = command.spawn().unwrap().wait_with_output().unwrap();
        assert!(scratch.path(name).join("summary.json").exists());
        let text = String::from_utf8_lossy(&outcome.stderr).into_owned();
        assert!(!text.contains("internal error"), "{text}");
        (outcome.status.code(), text)
    };
    let full = std::fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let (status, text) = with_stdout("full", full.into());
    assert_eq!(status, Some(1), "{text}");
    assert!(text.contains("print the report: No space left"), "{text}");
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop::<OwnedFd>(reader);
    let (status, text) = with_stdout("closed", writer.into());
    assert_eq!(status, Some(0), "{text}");
}

/// The limit of open files is taken away while the job measures: its figures are printed, and it says why nothing is written.
#[test]
fn results_for_which_no_file_can_be_opened_are_printed() {
    let scratch = Scratch::new();
    with_data(&scratch);
    let out = format!("output.folder={}", scratch.text("out"));
    let words = [
        &out,
        "workflow.generate_data=false",
        // What is not opened any more is the results'.
        "storage.storage_type=null",
        "train.computation_time=4",
    ];
    let child = start(plain(&scratch, &words));
    wait_for(60, || trains_in(&scratch.path("")));
    let limited = Command::new("prlimit")
        .args(["--nofile=3:3", "--pid", &child.id().to_string()])
        .status()
        .unwrap();
    assert!(limited.success());
    let outcome = finish(child, 60);
    assert_eq!(outcome.status, Some(1), "{}", outcome.text());
    assert!(outcome.text().contains("EMFILE"), "{}", outcome.text());
    assert!(outcome.stdout.contains("train AU"), "{}", outcome.text());
    assert!(!scratch.path("out/summary.json").exists());
}
