//! One job per folder, and no step out of it: locks and links.

use std::os::unix::fs::symlink;
use std::path::Path;

use crate::support::*;

fn words(scratch: &Scratch, files: u64) -> Vec<String> {
    let mut words = small(scratch, files);
    words.extend([
        "workflow.generate_data=true".into(),
        "workflow.train=false".into(),
        "reader.write_threads=1".into(),
        "--quiet".into(),
    ]);
    words
}

fn generate(words: &[String], more: &[&str]) -> Outcome {
    let scratch = Scratch::new();
    let mut command = solo();
    command
        .args(words)
        .arg(format!("--output={}", scratch.text("results")))
        .args(more);
    run(command)
}

/// Names below a folder that are no finished files.
fn unfinished(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                folders.push(path);
            } else if name.ends_with(".part") || name.contains("lock") {
                found.push(name);
            }
        }
    }
    found
}

#[test]
fn two_generations_into_one_folder_do_not_meet() {
    let scratch = Scratch::new();
    let words = words(&scratch, 4);
    let lock = scratch.path("data/.dlio-rs-lock");
    // So large that it is still at it.
    let mut slow = solo();
    slow.args(&words)
        .args(["dataset.record_length_bytes=4000000000"]);
    let mut first = start(slow);
    wait_for(60, || lock.exists());
    wait_for(60, || unfinished(&scratch.path("data")).len() == 2);
    let pid = first.id().to_string();
    // It writes no more than it has to.
    let process = nix::unistd::Pid::from_raw(first.id() as i32);
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGSTOP).unwrap();
    generate(&words, &[]).fails(
        1,
        &["write into", &pid, "since", ".dlio-rs-lock", "remedy: "],
    );
    // Killed, it leaves its lock and a part of a file; the next job finds both.
    first.kill().unwrap();
    first.wait().unwrap();
    assert_eq!(unfinished(&scratch.path("data")).len(), 2);
    let mut command = solo();
    command.args(words.iter().filter(|w| *w != "--quiet"));
    command.arg(format!("--output={}", scratch.text("second")));
    let outcome = run(command).ok();
    assert!(
        outcome.text().contains("no longer runs"),
        "{}",
        outcome.text()
    );
    assert_eq!(unfinished(&scratch.path("data")), [""; 0]);
    assert_eq!(
        std::fs::read_dir(scratch.path("data/train"))
            .unwrap()
            .count(),
        4
    );
}

#[test]
fn nothing_is_generated_or_deleted_through_a_link() {
    let scratch = Scratch::new();
    let words = words(&scratch, 4);
    let (data, elsewhere) = (scratch.path("data"), scratch.path("elsewhere"));
    std::fs::create_dir_all(&data).unwrap();
    std::fs::create_dir_all(&elsewhere).unwrap();
    symlink(&elsewhere, data.join("train")).unwrap();
    generate(&words, &[]).fails(1, &["data/train", "symbolic link", "ELOOP", "remedy: "]);
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 0);

    // A dataset whose folder became a link: what it leads to is not this job's.
    std::fs::remove_file(data.join("train")).unwrap();
    generate(&words, &[]).ok();
    std::fs::remove_dir(&elsewhere).unwrap();
    std::fs::rename(data.join("train"), &elsewhere).unwrap();
    symlink(&elsewhere, data.join("train")).unwrap();
    let trains = [
        "workflow.generate_data=false",
        "workflow.train=true",
        "dataset.keep_files=false",
    ];
    generate(&words, &trains).fails(1, &["delete", "symbolic link"]);
    assert_eq!(std::fs::read_dir(&elsewhere).unwrap().count(), 4);
    // The data folder itself may be one: it is the user's word.
    symlink(scratch.path("real"), scratch.path("linked")).unwrap();
    std::fs::create_dir(scratch.path("real")).unwrap();
    let linked = format!("dataset.data_folder={}", scratch.text("linked"));
    generate(&words, &[&linked]).ok();
    assert_eq!(
        std::fs::read_dir(scratch.path("real/train"))
            .unwrap()
            .count(),
        4
    );
}

/// A job of a container has process ids of its own: that its id is none of this system's does not mean that it is gone.
#[test]
fn a_job_in_another_pid_namespace_is_not_taken_for_dead() {
    let scratch = Scratch::new();
    let words = words(&scratch, 4);
    let mut inside = std::process::Command::new("unshare");
    inside.args(["--pid", "--fork", "--kill-child", "--mount-proc", bin()]);
    inside
        .args(&words)
        .args(["dataset.record_length_bytes=4000000000"]);
    let mut first = start(inside);
    wait_for(60, || {
        scratch.path("data").exists() && unfinished(&scratch.path("data")).len() == 2
    });
    generate(&words, &[]).fails(
        1,
        &[
            "write into",
            "another PID namespace",
            ".dlio-rs-lock",
            "remedy: ",
        ],
    );
    assert_eq!(unfinished(&scratch.path("data")).len(), 2);
    first.kill().unwrap();
    first.wait().unwrap();
}

#[test]
fn two_jobs_do_not_save_into_one_folder_of_checkpoints() {
    let scratch = Scratch::new();
    let words = crate::checkpoint::tiny(&scratch);
    let job = |more: &[&str]| {
        let mut command = solo();
        command.args(&words).args(more);
        command
    };
    let lock = scratch.path("ck/.dlio-rs-lock");
    // It has saved one and rests before the next.
    let rests = [
        "checkpoint.num_checkpoints_write=2",
        "checkpoint.time_between_checkpoints=500",
    ];
    let first = start(job(&rests));
    wait_for(60, || lock.exists());
    let second = format!("output.folder={}", scratch.text("second"));
    let refused = run(job(&[&second]));
    let ck = scratch.text("ck");
    refused.fails(1, &[&ck, &first.id().to_string(), "since", "remedy: "]);
    assert!(lock.exists());
    let process = nix::unistd::Pid::from_raw(first.id() as i32);
    nix::sys::signal::kill(process, nix::sys::signal::Signal::SIGTERM).unwrap();
    finish(first, 60).fails(143, &[]);
    assert!(!lock.exists());
    run(job(&[&second])).ok();
    assert!(!lock.exists());
}
