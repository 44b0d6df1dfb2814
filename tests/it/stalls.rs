//! What is a stall and what is not, and what the message says of it.

use std::io::Read;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;

use crate::support::*;

/// Seconds in which a job that does not hang moves on, also on a machine that is busy.
const STALL: &str = "5";

fn fifo(path: &std::path::Path) {
    let _ = std::fs::remove_file(path);
    nix::unistd::mkfifo(path, nix::sys::stat::Mode::S_IRWXU).unwrap();
}

fn job(scratch: &Scratch, words: &[&str]) -> Command {
    let mut command = solo();
    command
        .args(small(scratch, 4))
        .args(["train.epochs=1", "--quiet"])
        .args(words);
    command
}

fn generate(scratch: &Scratch) {
    run(job(scratch, &["workflow.train=false"])).ok();
    let _ = std::fs::remove_dir_all(scratch.path("out"));
}

#[test]
fn pauses_that_the_workload_asks_for_are_no_stall() {
    let scratch = Scratch::new();
    // One sample for each of the two readers.
    let words = [
        "dataset.num_files_train=2",
        "reader.batch_size=1",
        "reader.read_threads=2",
        "reader.preprocess_time=8",
        "--stall-timeout",
        STALL,
    ];
    run(job(&scratch, &words)).ok();
}

#[test]
fn a_manifest_that_cannot_be_opened_is_named() {
    let scratch = Scratch::new();
    generate(&scratch);
    let manifest = scratch.path("data/.dlio-rs-manifest.json");
    fifo(&manifest);
    let words = ["workflow.generate_data=false", "--stall-timeout", STALL];
    let out = run(job(&scratch, &words));
    out.fails(1, &[&manifest.display().to_string()]);
    assert!(!scratch.path("out").exists());
}

#[test]
fn a_pipe_in_place_of_a_file_is_named() {
    let scratch = Scratch::new();
    generate(&scratch);
    let file = std::fs::read_dir(scratch.path("data/train"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .min()
        .unwrap();
    fifo(&file);
    let words = [
        "workflow.generate_data=false",
        "dataset.listing_validation_interval=0",
        "reader.drop_cache=none",
        "--stall-timeout",
        STALL,
    ];
    run(job(&scratch, &words)).fails(1, &[&file.display().to_string()]);
}

/// `inspect` has no watchdog: it does not wait.
#[test]
fn what_is_no_file_is_named_at_once() {
    let scratch = Scratch::new();
    let pipe = scratch.path("img.npz");
    fifo(&pipe);
    let mut command = solo();
    command.arg("inspect").arg(&pipe);
    run(command).fails(1, &["a pipe, a socket or a device", "remedy"]);
    generate(&scratch);
    let file = scratch.path("data/train/img_2_of_4.npz");
    std::fs::remove_file(&file).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(&file).unwrap();
    let words = ["workflow.generate_data=false"];
    run(job(&scratch, &words)).fails(1, &["img_2_of_4.npz: a socket", "ENXIO", "remedy"]);
}

#[test]
fn output_that_nobody_reads_for_a_while_is_no_stall() {
    let scratch = Scratch::new();
    generate(&scratch);
    let (reader, writer) = nix::unistd::pipe().unwrap();
    // Full from the beginning.
    let capacity = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETPIPE_SZ).unwrap();
    let filling = vec![b'.'; capacity as usize];
    assert_eq!(
        nix::unistd::write(&writer, &filling).unwrap(),
        filling.len()
    );
    let mut command = job(
        &scratch,
        &["workflow.generate_data=false", "--stall-timeout", STALL],
    );
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::from(writer))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(command);
    wait_for(60, || scratch.path("out/summary.json").exists());
    // Longer than the timeout.
    std::thread::sleep(std::time::Duration::from_secs(8));
    let mut text = String::new();
    std::fs::File::from(reader)
        .read_to_string(&mut text)
        .unwrap();
    let out = child.wait_with_output().unwrap();
    let errors = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(0), "{errors}");
    assert!(text.contains("Results: "), "{text}");
}

#[test]
fn every_signal_that_asks_for_an_end_cleans_up_though_the_main_thread_hangs() {
    let scratch = Scratch::new();
    generate(&scratch);
    fifo(&scratch.path("data/.dlio-rs-manifest.json"));
    for signal in SIGNALS {
        let words = ["workflow.generate_data=false", "--stall-timeout", "0"];
        let mut command = job(&scratch, &words);
        hears_hangup(&mut command);
        let child = start(command);
        let is_partial = |name: &str| name.starts_with(".out.");
        let left = || {
            let all = std::fs::read_dir(scratch.path("")).unwrap();
            all.map(|e| e.unwrap().file_name().into_string().unwrap())
                .filter(|name| is_partial(name))
                .collect::<Vec<_>>()
        };
        // The folder of results in the making, and its lock; then the manifest is opened.
        wait_for(60, || left().len() == 2);
        std::thread::sleep(std::time::Duration::from_millis(300));
        let pid = nix::unistd::Pid::from_raw(child.id() as i32);
        nix::sys::signal::kill(pid, signal).unwrap();
        let name = signal.as_str();
        finish(child, 30).fails(128 + signal as i32, &["stopped by", name]);
        assert_eq!(left(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn a_job_that_was_asked_to_survive_its_terminal_does() {
    let scratch = Scratch::new();
    let mut command = Command::new("nohup");
    command.arg(bin()).args(small(&scratch, 4));
    command.args(["train.epochs=1", "train.computation_time=1", "--quiet"]);
    let child = start(command);
    wait_for(60, || scratch.path("data/.dlio-rs-manifest.json").exists());
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, Signal::SIGHUP).unwrap();
    finish(child, 60).ok();
    assert!(scratch.path("out/summary.json").exists());
}
