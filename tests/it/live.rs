//! A run while it goes on: the live line under script(1), events, and `watch`.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use crate::fault_fs::FaultFs;
use crate::scripted::{Reply, Scripted};
use crate::servers::in_bucket;
use crate::support::{Outcome, Scratch, bin, finish, mpirun, run, small, solo, start, wait_for};

/// Two epochs of some seconds.
fn slow(scratch: &Scratch) -> Vec<String> {
    let mut words = small(scratch, 32);
    words.push("workflow.generate_data=true".into());
    words.push("train.computation_time=0.3".into());
    words
}

/// A command line under a terminal of script(1), which says no size; its 40 columns stand in the environment.
fn on_terminal(command: &str, term: &str) -> Command {
    let mut script = Command::new("script");
    script
        .args(["-qec", command, "/dev/null"])
        .env("TERM", term);
    script
}

/// The same without a terminal.
fn without_terminal(command: &str) -> Command {
    let mut words = command.split_whitespace();
    let mut plain = Command::new(words.next().unwrap());
    plain.args(words);
    plain
}

/// What was drawn over itself: the texts between carriage returns that no line break ends.
fn drawn(text: &str) -> Vec<&str> {
    let lines = text
        .split('\n')
        .flat_map(|line| line.trim_end_matches('\r').split('\r').skip(1));
    lines.filter(|part| !part.trim().is_empty()).collect()
}

/// The binary of two ranks on a command line.
fn launched() -> String {
    let launcher = std::env::var("MPIRUN").unwrap_or_else(|_| "mpirun".into());
    format!(
        "{launcher} --allow-run-as-root --bind-to none --oversubscribe -np 2 {}",
        bin()
    )
}

/// How a run shows that it goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Shown {
    Live,
    Lines,
    Nothing,
}

impl Shown {
    fn check(self, text: &str, case: &str) {
        let drawn = drawn(text);
        let is_so = match self {
            Shown::Live => drawn
                .iter()
                .any(|part| part.starts_with("epoch 1/1 step") && part.contains("ETA")),
            Shown::Lines => drawn.is_empty() && text.contains("epoch 1/1 step"),
            Shown::Nothing => drawn.is_empty() && !text.contains("epoch 1/1 step"),
        };
        assert!(is_so, "{case}: {text:?}");
        assert!(
            drawn.iter().all(|part| part.chars().count() < 40),
            "{case}: {drawn:?}"
        );
        assert!(!text.contains('\u{1b}'), "{case}: {text:?}");
        assert!(text.contains("epoch 1: "), "{case}: {text:?}");
        // The report begins on a line of its own.
        assert!(
            text.contains("\n====") || text.contains("\r===="),
            "{case}: {text:?}"
        );
    }
}

#[test]
fn progress_is_shown_as_asked_with_and_without_a_launcher() {
    use Shown::*;
    // The terminal, `--progress`, and what is to be seen. Two steps a second.
    let cases = [
        (Some("xterm"), "auto", Live),
        (Some("xterm"), "live", Live),
        (Some("xterm"), "lines", Lines),
        (Some("xterm"), "none", Nothing),
        (Some("dumb"), "auto", Lines),
        (None, "auto", Lines),
        (None, "live", Live),
        (None, "none", Nothing),
    ];
    for (program, ranks) in [(bin().to_owned(), 1), (launched(), 2)] {
        let begun: Vec<_> = (cases.iter())
            .map(|&(term, progress, shown)| {
                let scratch = Scratch::new();
                let mut words = small(&scratch, 8 * ranks);
                words.extend(
                    [
                        "workflow.generate_data=true",
                        "train.computation_time=0.5",
                        "train.epochs=1",
                        "--progress",
                        progress,
                    ]
                    .map(Into::into),
                );
                let line = format!("{program} {}", words.join(" "));
                let mut command = match term {
                    Some(term) => on_terminal(&line, term),
                    None => without_terminal(&line),
                };
                command.env("COLUMNS", "40").env("NO_COLOR", "1");
                let case = format!("{ranks} rank(s), {term:?}, --progress {progress}");
                (scratch, case, shown, start(command))
            })
            .collect();
        for (_scratch, case, shown, child) in begun {
            let outcome = finish(child, 60).ok();
            shown.check(&format!("{}\n{}", outcome.stderr, outcome.stdout), &case);
        }
    }
}

/// Jobs that drop, file by file, what another job and saving left in the page cache.
fn drop_caches(scratch: &Scratch, data: &FaultFs, saved: &FaultFs) -> [Vec<String>; 2] {
    let mut reads = small(scratch, 24);
    reads.extend(["reader.read_threads=1", "train.epochs=1"].map(Into::into));
    reads.push(format!("dataset.data_folder={}", data.at("data")));
    let mut earlier = solo();
    earlier.args(&reads).arg("workflow.train=false");
    earlier.arg(format!("output.folder={}", scratch.text("earlier")));
    run(earlier).ok();
    reads.push("workflow.generate_data=false".into());
    data.rule("open img_ delay 150");
    let mut loads = crate::checkpoint::tiny(scratch);
    let of_four = ["write", "read"].map(|what| format!("checkpoint.num_checkpoints_{what}=4"));
    loads.extend(of_four);
    loads.push(format!("checkpoint.checkpoint_folder={}", saved.at("ck")));
    loads.push(format!("output.folder={}", scratch.text("loads")));
    saved.rule("open .pt delay 300");
    [reads, loads]
}

/// Work that has no steps of training shows how far it is and how long it takes on, in 40 columns too.
#[test]
fn all_long_work_has_progress_and_an_end_in_sight() {
    let server = Scripted::start(|asked, _| {
        let late = match asked.target.as_str() {
            t if t.contains("img_") => 150,
            t if t.contains("/ck/") => 400,
            _ => return None,
        };
        Some(Reply::Late(Duration::from_millis(late)))
    });
    let at = |key: &str, name: &str| format!("{key}={}", in_bucket(name));
    let scratch = Scratch::new();
    let mut training = small(&scratch, 16);
    training.extend(
        [
            "workflow.generate_data=true",
            "reader.write_threads=1",
            "train.epochs=1",
            "dataset.listing_validation_interval=1",
            "workflow.evaluation=true",
            "dataset.num_files_eval=12",
            "evaluation.eval_time=0.7",
        ]
        .map(Into::into),
    );
    training.push(at("dataset.data_folder", "live"));
    let other = Scratch::new();
    let mut checkpoint = crate::checkpoint::tiny(&other);
    checkpoint.extend(
        [
            "model.transformer.hidden_size=256",
            "model.transformer.ffn_hidden_size=1024",
            "checkpoint.parts_in_flight=1",
            "storage.storage_options.part_size=5242880",
        ]
        .map(Into::into),
    );
    checkpoint.push(at("checkpoint.checkpoint_folder", "ck"));
    for words in [&mut training, &mut checkpoint] {
        words.extend(server.words());
    }
    let (data, saved) = (FaultFs::mount_cached(), FaultFs::mount_cached());
    let third = Scratch::new();
    let [reads, loads] = drop_caches(&third, &data, &saved);
    let jobs: [(_, &[&str]); 4] = [
        (
            training,
            &["generate", "check of the dataset", "evaluation"],
        ),
        (
            checkpoint,
            &["save of a checkpoint", "load of a checkpoint"],
        ),
        (reads, &["drop of the page cache"]),
        (loads, &["drop of the page cache"]),
    ];
    let begun = jobs.map(|(words, expected)| {
        let line = format!("{} {}", launched(), words.join(" "));
        let mut command = on_terminal(&line, "xterm");
        command.env("COLUMNS", "40").env("NO_COLOR", "1");
        (start(command), expected)
    });
    for (child, expected) in begun {
        let text = finish(child, 60).ok().stdout;
        let drawn = drawn(&text);
        for what in expected {
            let is_there = |part: &&str| {
                part.starts_with(what) && part.contains(" % ") && part.contains("ETA")
            };
            assert!(drawn.iter().any(is_there), "{what}: {text:?}");
        }
        let too_wide = |part: &&str| part.contains(" %  ") && part.chars().count() >= 40;
        assert!(!drawn.iter().any(too_wide), "{drawn:?}");
    }
}

fn events(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}")))
        .collect()
}

/// Every line names its schema, its run and both clocks.
fn check(events: &[Value]) {
    let mut last = 0.0;
    for event in events {
        assert_eq!(event["schema"], "dlio-rs/event/1", "{event}");
        assert_eq!(event["run"], events[0]["run"], "{event}");
        let now = event["monotonic_s"].as_f64().unwrap();
        assert!(now >= last, "{event}");
        last = now;
        assert!(event["time"].as_str().unwrap().contains('T'), "{event}");
    }
}

#[test]
fn events_name_their_run_and_both_clocks() {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command.args(slow(&scratch)).args([
        "--json",
        "workflow.evaluation=true",
        "dataset.num_files_eval=16",
        "evaluation.eval_time=0.5",
    ]);
    let all = events(&run(command).ok().stdout);
    check(&all);
    let of = |name: &str| {
        all.iter()
            .filter(|e| e["event"] == name)
            .collect::<Vec<_>>()
    };
    // 16 files on 2 ranks, one a step: eight steps of half a second, looked at once a second.
    let evaluation = of("working")
        .into_iter()
        .find(|e| e["what"] == "evaluation")
        .unwrap();
    assert_eq!(evaluation["total"], 8, "{evaluation}");
    assert!(!of("progress").is_empty());
    // The file beside the report has the same run, and that run stands in the report.
    let kept = std::fs::read_to_string(scratch.path("out/events.jsonl")).unwrap();
    let kept = events(&kept);
    check(&kept);
    let report = crate::support::json(&scratch.path("out/report.json"));
    assert_eq!(report["provenance"]["run"], kept[0]["run"]);
    assert_eq!(all[0]["run"], kept[0]["run"]);
    assert_eq!(kept.last().unwrap()["event"], "outputs_saved");
    assert!(
        kept.iter()
            .any(|e| e["event"] == "block_ended" && !e["record"]["steps"].is_array())
    );
}

#[test]
fn an_error_of_configuration_is_an_event() {
    let scratch = Scratch::new();
    let mut command = solo();
    command
        .args(small(&scratch, 4))
        .args(["--json", "reader.batch_size=none"]);
    let outcome: Outcome = run(command).fails(2, &["batch_size"]);
    let all = events(&outcome.stdout);
    check(&all);
    assert_eq!(all.len(), 1);
    assert_eq!(all[0]["event"], "failed");
    assert!(
        all[0]["message"].as_str().unwrap().contains("batch_size"),
        "{}",
        all[0]
    );
}

fn watch(words: &[&str]) -> Outcome {
    let mut command = solo();
    command.arg("watch").args(words);
    run(command)
}

#[test]
fn a_running_job_is_watched_from_elsewhere() {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    // AU is there after the first epoch; more follow, so that it is seen in time.
    command.args(slow(&scratch)).arg("train.epochs=5");
    let job = start(command);
    let folder = scratch.text("out");
    // It finds the job in its hidden folder, before the folder itself is there.
    wait_for(60, || {
        let mut command = solo();
        command.args(["watch", &folder, "--once"]);
        let seen = run(command).stdout;
        assert!(!seen.contains("results in"), "{seen}");
        seen.contains("epoch ") && seen.contains("GiB/s") && seen.contains("AU")
    });
    let to_its_end = watch(&[&folder]).ok().stdout;
    assert!(to_its_end.contains("results in"), "{to_its_end}");
    finish(job, 60).ok();
    let after = watch(&[&folder]).ok().stdout;
    assert!(
        after.contains("epoch 5/5") && after.contains("results in"),
        "{after}"
    );
    // The file of events will do.
    let of_file = watch(&[&scratch.text("out/events.jsonl")]).ok().stdout;
    assert!(
        of_file.contains("epoch 5/5") && of_file.contains("results in"),
        "{of_file}"
    );
    watch(&[&scratch.text("nothing")]).fails(2, &["no events.jsonl", "remedy"]);
}
