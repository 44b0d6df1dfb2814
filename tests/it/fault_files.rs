//! Every file operation of every phase, failing and slow, on a file system that does so on demand
//! (`tests/tools/faultfs.c`): status, message, and what is left.

use std::process::Command;

use nix::sys::signal::Signal;

use crate::checkpoint::tiny;
use crate::fault_fs::{FaultFs, faultfs};
use crate::support::*;

const FILES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Phase {
    Generation,
    Training,
    Checkpoint,
    Results,
}

use Phase::*;

/// Runs one phase with its folder on the file system and everything else beside it.
fn run_phase(fs: &FaultFs, phase: Phase) -> Outcome {
    run_phase_with(fs, phase, &[])
}

fn run_phase_with(fs: &FaultFs, phase: Phase, more: &[&str]) -> Outcome {
    run(job(fs, phase, &Scratch::new(), more))
}

fn job(fs: &FaultFs, phase: Phase, beside: &Scratch, more: &[&str]) -> Command {
    let mut words = match phase {
        Checkpoint => {
            let mut words = tiny(beside);
            words.push(format!("checkpoint.checkpoint_folder={}", fs.at("ck")));
            words.push("checkpoint.fsync=true".into());
            words
        }
        _ => small(beside, FILES as u64),
    };
    let (generates, trains) = match phase {
        Generation => (true, false),
        Training => (false, true),
        Checkpoint => (false, false),
        Results => (true, true),
    };
    if phase != Checkpoint {
        words.push(format!("workflow.generate_data={generates}"));
        words.push(format!("workflow.train={trains}"));
    }
    match phase {
        Generation | Training => words.push(format!("dataset.data_folder={}", fs.at("data"))),
        Results => words.push(format!("output.folder={}", fs.at("out"))),
        Checkpoint => {}
    }
    words.push("--quiet".into());
    let mut command = solo();
    command.args(&words).args(more);
    command
}

/// Prepares what a phase reads, without faults.
fn prepare(fs: &FaultFs, phase: Phase) {
    fs.rule("");
    fs.clear();
    if phase == Training {
        run_phase(fs, Generation).ok();
    }
}

/// What a phase needs of the file system: the operation, and the part of the path that tells its file.
const OPERATIONS: [(Phase, &[(&str, &str)]); 4] = [
    (
        Generation,
        &[
            ("mkdir", "data/train"),
            ("getattr", "img_"),
            ("create", "img_"),
            ("write", "img_"),
            ("flush", "img_"),
            ("rename", "img_"),
            ("create", "manifest"),
            ("write", "manifest"),
            ("flush", "manifest"),
            ("rename", "manifest"),
        ],
    ),
    (
        Training,
        &[
            ("getattr", "img_"),
            ("open", "img_"),
            ("read", "img_"),
            ("open", "manifest"),
            ("read", "manifest"),
        ],
    ),
    (
        Checkpoint,
        &[
            ("mkdir", "ck/"),
            ("create", "ck/"),
            ("write", ".pt"),
            ("fsync", ".pt"),
            ("flush", ".pt"),
            ("rename", ".pt"),
            ("unlink", "ck/"),
            ("open", ".pt"),
            ("read", ".pt"),
        ],
    ),
    (
        Results,
        &[
            ("mkdir", "out"),
            ("create", "summary.json"),
            ("write", "summary.json"),
            ("flush", "summary.json"),
            ("flush", "report.json"),
            ("rename", "out"),
        ],
    ),
];

/// Error numbers and the words that name them.
fn errors(operation: &str) -> &'static [(i32, &'static str)] {
    match operation {
        "write" | "flush" | "create" => &[
            (libc::ENOSPC, "no space left"),
            (libc::EDQUOT, "quota"),
            (libc::EIO, "EIO"),
        ],
        "open" | "read" => &[
            (libc::EIO, "EIO"),
            (libc::ESTALE, "ESTALE"),
            (libc::EACCES, "EACCES"),
        ],
        _ => &[(libc::EIO, "EIO"), (libc::EACCES, "EACCES")],
    }
}

/// No success with loss: a failed job names the cause, and nothing that looks finished is not.
fn left_is_honest(fs: &FaultFs, phase: Phase, what: &str) {
    let files = fs.files();
    let parts: Vec<_> = files
        .iter()
        .filter(|(name, _)| name.ends_with(".part"))
        .collect();
    assert!(parts.is_empty(), "{what}: {parts:?}");
    let empty: Vec<_> = files
        .iter()
        .filter(|(name, len)| *len == 0 && name != "there")
        .collect();
    assert!(empty.is_empty(), "{what}: {empty:?}");
    let has = |word: &str| files.iter().any(|(name, _)| name.contains(word));
    match phase {
        Generation => assert!(!has("manifest"), "{what}: {files:?}"),
        Results => assert!(!has("summary.json"), "{what}: {files:?}"),
        Training | Checkpoint => {}
    }
}

#[test]
fn an_error_of_any_operation_in_any_phase_ends_the_job_and_is_named() {
    let fs = FaultFs::mount();
    for (phase, operations) in OPERATIONS {
        prepare(&fs, phase);
        for &(operation, part) in operations {
            for &(code, word) in errors(operation) {
                let what = format!("{phase:?}: {operation} {part} {word}");
                println!("{what}");
                if phase != Training {
                    fs.clear();
                }
                fs.rule(&format!("{operation} {part} err {code}"));
                let outcome = run_phase(&fs, phase);
                assert!(
                    fs.hits() > 0,
                    "{what}: it was not called\n{}",
                    outcome.text()
                );
                fs.rule("");
                let text = outcome.text();
                assert_eq!(outcome.status, Some(1), "{what}\n{text}");
                assert!(text.contains(word), "{what}\n{text}");
                assert!(text.contains("\n  remedy: "), "{what}\n{text}");
                left_is_honest(&fs, phase, &what);
            }
        }
    }
}

#[test]
fn a_slow_operation_in_any_phase_loses_nothing() {
    let fs = FaultFs::mount();
    for (phase, operations) in OPERATIONS {
        prepare(&fs, phase);
        for &(operation, part) in operations {
            let what = format!("{phase:?}: {operation} {part}");
            println!("{what}");
            if phase != Training {
                fs.clear();
            }
            fs.rule(&format!("{operation} {part} delay 40"));
            let outcome = run_phase(&fs, phase);
            assert!(fs.hits() > 0, "{what}: it was not called");
            assert_eq!(outcome.status, Some(0), "{what}\n{}", outcome.text());
            let files = fs.files();
            assert!(
                files.iter().all(|(name, len)| *len > 0 || name == "there"),
                "{what}: {files:?}"
            );
        }
    }
}

/// Closing a file that was only read loses nothing, whatever close(2) returns.
#[test]
fn an_error_at_the_close_of_a_read_file_is_none() {
    let fs = FaultFs::mount();
    prepare(&fs, Training);
    fs.rule(&format!("flush img_ err {}", libc::EIO));
    run_phase(&fs, Training).ok();
    assert!(fs.hits() > 0);
}

/// One operation that does not come back within the stall timeout, on a mount of its own: nobody else waits for it.
fn hangs(phase: Phase, operation: &str, part: &str) {
    let what = format!("{phase:?}: {operation} {part}");
    let fs = FaultFs::mount();
    prepare(&fs, phase);
    fs.rule(&format!("{operation} {part} delay 60000"));
    let outcome = run_phase_with(&fs, phase, &["--stall-timeout=5"]);
    let text = outcome.text();
    assert!(fs.hits() > 0, "{what}: it was not called\n{text}");
    assert_eq!(outcome.status, Some(1), "{what}\n{text}");
    // The operation would have succeeded: only the watchdog ends the job.
    assert!(text.contains("nothing has moved on"), "{what}\n{text}");
    let silent = text.lines().find(|line| line.contains("silent: "));
    // A checkpoint's files are named by their place in the plan; of results the folder is named.
    let name = match (phase, part) {
        (Checkpoint, ".pt") => "_states",
        (Results, _) => "mounted/out",
        _ => part.trim_end_matches('/'),
    };
    assert!(
        silent.is_some_and(|line| line.contains(name)),
        "{what}: the file is not named\n{text}"
    );
    ends_clean(&fs, phase, &what);
}

/// A part may be held by what hangs; nothing looks finished, and the next run finds a clean folder.
fn ends_clean(fs: &FaultFs, phase: Phase, what: &str) {
    let left = fs.files();
    let finished = |(name, len): &&(String, u64)| {
        let is_named = !name.ends_with(".part") && !name.contains(".partial-");
        *len == 0 && is_named && name != "there"
    };
    assert_eq!(left.iter().find(finished), None, "{what}");
    let has = |word: &str| left.iter().any(|(name, _)| name.ends_with(word));
    assert!(
        !has("-manifest.json") || phase == Training,
        "{what}: {left:?}"
    );
    assert!(!has("out/summary.json"), "{what}: {left:?}");
    fs.rule("");
    run_phase(fs, phase).ok();
    if phase == Generation {
        left_is_complete(fs, what);
    }
}

fn left_is_complete(fs: &FaultFs, what: &str) {
    let files = fs.files();
    assert!(
        files
            .iter()
            .all(|(name, len)| !name.ends_with(".part") && (*len > 0 || name == "there")),
        "{what}: {files:?}"
    );
}

/// Every operation of every phase that hangs is a stall of which the file is named, and nothing half made looks finished.
#[test]
fn an_operation_that_hangs_is_reported_with_its_file() {
    let cases: Vec<_> = OPERATIONS
        .iter()
        .flat_map(|(phase, operations)| {
            operations
                .iter()
                .map(|(operation, part)| (*phase, *operation, *part))
        })
        .collect();
    each(&cases, |&(phase, operation, part)| {
        hangs(phase, operation, part);
    });
}

/// Judges cases that wait more than they work, eight at once.
fn each<T: std::fmt::Debug + Sync + std::panic::RefUnwindSafe>(
    cases: &[T],
    judge: impl Fn(&T) + Sync + std::panic::RefUnwindSafe,
) {
    faultfs();
    let next = std::sync::atomic::AtomicUsize::new(0);
    let failed = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while let Some(case) =
                    cases.get(next.fetch_add(1, std::sync::atomic::Ordering::Relaxed))
                {
                    if std::panic::catch_unwind(|| judge(case)).is_err() {
                        failed.lock().unwrap().push(format!("{case:?}"));
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(failed.is_empty(), "{failed:#?}");
}

/// A job of which a thread is in a read or a write that takes ten minutes ends at once when it is asked to.
fn ends_by(signal: Signal, phase: Phase, operation: &str, part: &str) {
    let what = format!("{signal}: {phase:?}: {operation} {part}");
    let (fs, beside) = (FaultFs::mount_uncached(), Scratch::new());
    prepare(&fs, phase);
    fs.rule(&format!("{operation} {part} delay 600000"));
    let mut command = job(&fs, phase, &beside, &["--stall-timeout=0"]);
    hears_hangup(&mut command);
    let child = start(command);
    wait_for(60, || fs.hits() > 0);
    let pid = nix::unistd::Pid::from_raw(child.id() as i32);
    nix::sys::signal::kill(pid, signal).unwrap();
    // Long before the operation comes back.
    finish(child, 30).fails(128 + signal as i32, &["stopped by", signal.as_str()]);
    // The folder of results in the making, and its lock.
    let left = std::fs::read_dir(beside.path("")).unwrap();
    assert_eq!(left.count(), 0, "{what}");
    ends_clean(&fs, phase, &what);
}

#[test]
fn every_signal_ends_a_job_that_hangs_in_a_read_or_a_write() {
    let places = [
        // The main thread, a reader and a writer.
        (Training, "read", "manifest"),
        (Training, "read", "img_"),
        (Generation, "write", "img_"),
    ];
    let cases: Vec<_> = (SIGNALS.iter())
        .flat_map(|signal| places.map(|place| (*signal, place)))
        .collect();
    each(&cases, |&(signal, (phase, operation, part))| {
        ends_by(signal, phase, operation, part);
    });
}

/// A device that is full in the middle of a block cuts a direct write short: the next one would be refused for its alignment.
#[test]
fn a_direct_write_that_is_cut_short_ends_as_no_space() {
    let fs = FaultFs::mount();
    fs.rule("write img_ short 5000");
    let outcome = run_phase_with(&fs, Generation, &["storage.storage_type=direct_fs"]);
    assert!(fs.hits() > 0, "{}", outcome.text());
    outcome.fails(1, &["img_", "no space left on the file system", "remedy"]);
    left_is_honest(&fs, Generation, "short");
}

/// A record of the run that cannot be written ends with a word of it (`said`); the figures stand.
fn costs_no_figures(file: &str, said: &str) {
    let fs = FaultFs::mount();
    for operation in ["write", "flush"] {
        fs.clear();
        fs.rule(&format!("{operation} {file} err {}", libc::ENOSPC));
        let outcome = run_phase(&fs, Results).ok();
        let text = outcome.text();
        assert!(fs.hits() > 0, "{operation}: {text}");
        let cause = format!("{file}: no space left");
        for word in [said, &cause, "train AU"] {
            assert!(text.contains(word), "{operation}: {word}: {text}");
        }
        assert!(fs.scratch.path("behind/out/summary.json").exists());
    }
}

#[test]
fn a_log_that_cannot_be_written_is_named_and_costs_no_figures() {
    costs_no_figures("dlio.log", "the log ends here: write ");
}

/// Nobody may have read the events before the run has ended.
#[test]
fn events_that_cannot_be_written_are_named_and_cost_no_figures() {
    costs_no_figures("events.jsonl", "the events end here: write ");
}

/// Files that a verb writes beside the results: an error at their close is an error, and no part stays.
#[test]
fn what_verbs_write_is_whole_or_an_error() {
    let fs = FaultFs::mount();
    let beside = Scratch::new();
    let mut listed = small(&beside, 4);
    listed.push("workflow.train=false".into());
    let mut generation = solo();
    run({
        generation.args(&listed);
        generation
    })
    .ok();
    listed.extend([
        "workflow.generate_data=false".into(),
        "workflow.train=true".into(),
    ]);
    listed.extend([
        "dataset.listing=true".into(),
        format!("dataset.listing_file={}", fs.at("lst")),
    ]);
    let mut traced = small(&beside, 4);
    traced.extend(["--trace".into(), fs.at("trace.json.gz")]);
    let mut found: Vec<String> = ["find", "workload=quickstart", "storage.storage_type=null"]
        .map(String::from)
        .into();
    found.extend(
        [
            "workflow.generate_data=false",
            "dataset.num_files_train=64",
            "--virtual-time",
        ]
        .map(String::from),
    );
    found.extend(["--output".into(), fs.at("find.json")]);
    let man = vec!["man".into(), fs.at("man")];
    for (file, words) in [
        ("lst", listed),
        ("trace", traced),
        ("find", found),
        ("man", man),
    ] {
        for operation in ["write", "flush"] {
            fs.clear();
            fs.rule(&format!("{operation} {file} err {}", libc::ENOSPC));
            let mut command = solo();
            command.args(&words);
            if matches!(file, "lst" | "trace") {
                let folder = beside.text(&format!("{file}-{operation}"));
                command.arg(format!("output.folder={folder}"));
            }
            let outcome = run(command);
            assert!(fs.hits() > 0, "{file} {operation}: {}", outcome.text());
            outcome.fails(1, &[file, "pace left"]);
            let files = fs.files();
            let parts = files.iter().filter(|(name, _)| name.ends_with(".part"));
            assert_eq!(parts.count(), 0, "{files:?}");
        }
    }
}

/// A file larger than the shell's limit (ulimit -f) is an error with a name, not the end of the process by a signal.
#[test]
fn a_file_beyond_the_limit_of_its_size_is_named() {
    // In units of 512 bytes: a direct write is cut short in the middle of a block.
    for (storage, limit) in [("local_fs", 32), ("direct_fs", 32), ("direct_fs", 33)] {
        let scratch = Scratch::on_disk();
        let mut command = Command::new("sh");
        let limited = format!("ulimit -f {limit}; exec \"$0\" \"$@\"");
        command
            .args(["-c", &limited, bin()])
            .args(small(&scratch, 2))
            .args(["workflow.generate_data=true", "workflow.train=false"])
            .arg(format!("storage.storage_type={storage}"));
        run(command).fails(1, &["data/train/img_", "EFBIG", "remedy"]);
        let left = std::fs::read_dir(scratch.path("data/train")).unwrap();
        assert_eq!(left.count(), 0, "{storage} {limit}");
    }
}
