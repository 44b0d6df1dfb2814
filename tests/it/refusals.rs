//! `validate`, `plan` and `run` refuse the same values with the same words, and say nothing of one rank alone.

use std::process::Command;
use std::sync::Mutex;

use serde_json::Value;

use crate::support::*;

/// Values of each class for a key of this type, refused ones and others.
fn values(key: &Value) -> Vec<String> {
    let kind = key["type"].as_str().unwrap();
    let own = |values: &[&str]| values.iter().map(|v| v.to_string()).collect();
    if let [first, .., last] = key["words"].as_array().unwrap().as_slice() {
        let word = |w: &Value| w["word"].as_str().unwrap().to_string();
        return vec![word(first), word(last), "nonsense".into(), "[a]".into()];
    }
    match kind {
        "true or false" => own(&["true", "false", "maybe"]),
        "a map of keys" => own(&["text", "[1]"]),
        "a number" => own(&["0", "-1", "nan", "1e300", "few"]),
        _ if kind.starts_with("a whole number") => own(&["0", "1", "-1", "1e19", "1.5", "few"]),
        _ if kind.starts_with("seconds") => own(&["-1", "1e300", "{type: gamma}", "fast"]),
        _ if kind.starts_with("a list of whole") => own(&[
            "[]",
            "[0]",
            "[9223372036854775807,9223372036854775807]",
            "[a]",
        ]),
        _ => own(&["", "x", "../x", "{a: 1}"]),
    }
}

/// The lines of an error, without warnings.
fn error_of(out: &Outcome) -> String {
    let at = out.stderr.find("dlio-rs: ").unwrap_or(out.stderr.len());
    out.stderr[at..].trim().to_string()
}

fn compare(scratch: &Scratch, word: &str) -> Option<String> {
    let base = [
        "workload=quickstart",
        "storage.storage_type=null",
        "dataset.num_files_train=4",
        "train.computation_time=0",
        "workflow.generate_data=false",
    ];
    let verb = |verb: &str, more: &[&str]| {
        let mut command = Command::new(bin());
        command.current_dir(scratch.path(".")).arg(verb);
        command.args(base).arg(word).args(more);
        finish(start(command), 60)
    };
    let validated = verb("validate", &[]);
    let planned = verb("plan", &[]);
    // A run stops at its first step; what it cannot read is no matter of its configuration.
    let ran = verb(
        "run",
        &[
            "--max-epochs=1",
            "--max-steps=1",
            "--quiet",
            "--stall-timeout=20",
        ],
    );
    let status = validated.status;
    let is_same = match status {
        Some(2) => {
            let said = error_of(&validated);
            planned.status == Some(2)
                && ran.status == Some(2)
                && said == error_of(&planned)
                && said == error_of(&ran)
        }
        Some(0) => planned.status == Some(0) && matches!(ran.status, Some(0 | 1)),
        _ => false,
    };
    let panicked = [&validated, &planned, &ran]
        .iter()
        .any(|out| out.text().contains("internal error"));
    (!is_same || panicked).then(|| {
        format!(
            "{word}:\n  validate {:?} {}\n  plan {:?} {}\n  run {:?} {}",
            status,
            error_of(&validated),
            planned.status,
            error_of(&planned),
            ran.status,
            error_of(&ran)
        )
    })
}

#[test]
fn every_key_and_class_of_value_is_refused_by_all_verbs_alike() {
    let mut command = solo();
    command.args(["explain", "--all", "--format", "json"]);
    let all: Value = serde_json::from_str(&run(command).ok().stdout).unwrap();
    let words: Vec<String> = all["keys"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|key| {
            let name = key["key"].as_str().unwrap();
            values(key)
                .into_iter()
                .map(move |value| format!("++{name}={value}"))
        })
        // Words of a real store would connect to it.
        .filter(|word| !word.contains("between_phases"))
        .collect();
    assert!(words.len() > 500, "{}", words.len());
    let (next, wrong) = (Mutex::new(words.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let scratch = Scratch::new();
                loop {
                    let Some(word) = next.lock().unwrap().next() else {
                        return;
                    };
                    if let Some(what) = compare(&scratch, word) {
                        wrong.lock().unwrap().push(what);
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(
        wrong.is_empty(),
        "{} of {}:\n{}",
        wrong.len(),
        words.len(),
        wrong.join("\n")
    );
}

#[test]
fn what_contradicts_itself_is_refused_by_all_verbs_alike() {
    let scratch = Scratch::new();
    for words in [
        "workflow.profiling=true",
        "reader.data_loader=dali",
        "dataset.record_length_bytes=1e19",
        "dataset.record_dims=[4294967296,4294967296]",
        "model.transformer={hidden_size: 4294967295, vocab_size: 4294967295}",
        "output.log_file=../x",
        "reader.batch_size=5",
    ] {
        assert_eq!(compare(&scratch, words), None);
    }
}

#[test]
fn a_variable_of_one_rank_alone_deadlocks_nobody() {
    let scratch = Scratch::new();
    let with = |command: &mut Command, level: &str, out: &str| {
        command.arg("env").arg(format!("DLIO_LOG_LEVEL={level}"));
        command.args(["DLIO_DROP_CACHES_TIMEOUT=20", bin()]);
        command.args(small(&scratch, 8)).arg("--quiet");
        command.arg(format!("output.folder={}", scratch.text(out)));
    };
    let launch = |first: &str, second: &str, out: &str| {
        let mpirun = mpirun(1);
        let mut command = Command::new(mpirun.get_program());
        let args: Vec<_> = mpirun.get_args().collect();
        command.args(&args[..args.len() - 1]);
        with(&mut command, first, out);
        command.args([":", "-np", "1"]);
        with(&mut command, second, out);
        run(command)
    };
    launch("info", "loud", "out1").ok();
    launch("loud", "info", "out2").fails(2, &["DLIO_LOG_LEVEL", "is no level"]);
}

#[test]
fn threads_that_nobody_set_are_sized_by_the_machine() {
    let scratch = Scratch::new();
    let cpus = std::thread::available_parallelism().unwrap().get() as u64;
    let threads = |binary: &str, words: &[&str], cap: Option<&str>, ranks: u64| {
        let out = scratch.path(&format!(
            "out{}",
            std::fs::read_dir(scratch.path(".")).unwrap().count()
        ));
        let mpirun = mpirun(ranks as usize);
        let mut command = Command::new(mpirun.get_program());
        let args: Vec<_> = mpirun.get_args().collect();
        command.args(&args[..args.len() - 1]).arg(binary);
        command.args([
            "workload=quickstart",
            "++workload.storage.storage_type=null",
            "++workload.train.computation_time=0",
        ]);
        command.args([
            "++workload.workflow.generate_data=false",
            "~workload.reader.read_threads",
        ]);
        command
            .args(words)
            .arg(format!("++hydra.run.dir={}", out.display()));
        match cap {
            Some(cap) => command.env("DLIO_MAX_AUTO_THREADS", cap),
            None => command.env_remove("DLIO_MAX_AUTO_THREADS"),
        };
        run(command).ok();
        let log = std::fs::read_to_string(out.join("report.json")).ok();
        log.map(|text| {
            let report: Value = serde_json::from_str(&text).unwrap();
            report["provenance"]["config"]["reader"]["read_threads"]
                .as_u64()
                .unwrap()
        })
    };
    let _ = cpus;
    let sized = |ranks: u64, cap: u64| (cpus / ranks).max(1).min(cap);
    assert_eq!(threads(bin(), &[], None, 1), Some(sized(1, 8)));
    assert_eq!(threads(bin(), &[], None, 2), Some(sized(2, 8)));
    assert_eq!(threads(bin(), &[], Some("1"), 1), Some(1));
    assert_eq!(
        threads(bin(), &["++workload.reader.read_threads=1"], None, 1),
        Some(1)
    );
    assert_eq!(
        threads(bin(), &["++workload.reader.read_threads=3"], None, 1),
        Some(3)
    );
    // Under DLIO's name a 1 is taken for not set, as there; the job says what it took.
    let shim = scratch.path("dlio_benchmark");
    std::os::unix::fs::symlink(bin(), &shim).unwrap();
    let mut command = Command::new(&shim);
    command.env("DLIO_LOG_LEVEL", "info");
    command.env_remove("DLIO_MAX_AUTO_THREADS").args([
        "workload=quickstart",
        "++workload.storage.storage_type=null",
        "++workload.train.computation_time=0",
        "++workload.workflow.generate_data=False",
        "++workload.reader.read_threads=1",
        &format!("++hydra.run.dir={}", scratch.path("dlio").display()),
    ]);
    let text = run(command).ok().text();
    let words = format!("at most 8, makes {}", sized(1, 8));
    let line = text
        .lines()
        .find(|line| line.contains("reader.read_threads: "));
    assert!(line.is_some_and(|line| line.contains(&words)), "{text}");
}

/// Whatever is wrong with a command line: the last line says what to do.
#[test]
fn every_refusal_of_a_command_line_ends_with_a_remedy() {
    let scratch = Scratch::new();
    let wrong = Mutex::new(Vec::new());
    let cases = [
        "--none",
        "run --trace-ranks x",
        "run workload=none",
        "run workload=quickstart --require-au=x",
        "run workload=quickstart --virtual-time",
        "run workload=quickstart --stall-timeout x",
        "run workload=quickstart --memory x",
        "run workload=quickstart --progress x",
        "run workload=quickstart --output /proc/x",
        "run workload=quickstart reader.batch_size=0",
        "report",
        "report none",
        "report none --html page.html",
        "compare none",
        "compare none none",
        "compare none none --tolerance none.yaml",
        "watch none",
        "check none",
        "check --explain none",
        "size",
        "size workload=quickstart --hosts 9 --accelerators 2 --host-memory-gib 4",
        "find --resume none",
        "find workload=quickstart --resume none",
        "find workload=quickstart --tolerance 3",
        "inspect none",
        "inspect none.npz",
        "clean none",
        "configs none",
        "explain none",
        "explain reader.batchsize",
        "install-shim",
        "install-shim /proc/x",
        "completions none",
        "man /proc/x",
        "plan --ranks 0",
        "validate none.yaml",
        "info none",
    ];
    std::thread::scope(|scope| {
        for words in cases {
            let (scratch, wrong) = (&scratch, &wrong);
            scope.spawn(move || {
                let mut command = solo();
                command.current_dir(scratch.path("")).args(words.split(' '));
                let outcome = run(command);
                let last = outcome.stderr.lines().last().unwrap_or_default();
                if outcome.status == Some(0) || !last.starts_with("  remedy: ") {
                    let said = format!("{words}: {:?} {}", outcome.status, outcome.text());
                    wrong.lock().unwrap().push(said);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
