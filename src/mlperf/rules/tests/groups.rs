//! Runs that belong together.

use serde_json::json;

use super::{Made, failed, failures};
use crate::mlperf::editions::Edition::{self, V2, V3};
use crate::mlperf::rules::engine::folder;
use crate::mlperf::verdict::{Assessment, Standing, Verdict};

/// Runs of ten minutes, one every `every` minutes.
fn training(runs: u32, every: u32, change: impl Fn(u32, &mut Made)) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for run in 0..runs {
        let start = run * every;
        let clock = |minutes: u32| format!("{:02}:{:02}:00", 10 + minutes / 60, minutes % 60);
        let mut made = Made::unet3d().at(
            &format!("2026-01-31T{}.000000", clock(start)),
            &format!("2026-01-31T{}.000000", clock(start + 10)),
        );
        change(run, &mut made);
        let name = format!("20260131_{}", clock(start).replace(':', ""));
        made.write(&dir.path().join("training/unet3d/run").join(name));
    }
    dir
}

fn group(dir: &tempfile::TempDir, edition: Edition) -> Assessment {
    let checked = folder(dir.path(), edition).unwrap();
    let groups = checked.assessments.into_iter();
    let mut groups = groups.filter(|a| a.kind == "group");
    let group = groups.next().unwrap();
    assert!(groups.next().is_none(), "one group");
    group
}

#[test]
fn six_runs_without_pause_are_a_submission() {
    let dir = training(6, 11, |_, _| {});
    for edition in [V2, V3] {
        let g = group(&dir, edition);
        assert_eq!(failures(&g), [""; 0], "{:#?}", g.findings);
        assert!(g.facts.contains("6 run(s)"), "{}", g.facts);
    }
    for (runs, remedy) in [(5, "run until"), (7, "keep 6")] {
        let dir = training(runs, 11, |_, _| {});
        let g = group(&dir, V3);
        assert_eq!(failures(&g), ["2.1.17"]);
        let finding = failed(&g, "2.1.17")[0];
        assert!(finding.what.starts_with(&format!("{runs} run(s)")));
        assert!(finding.remedy.as_deref().unwrap().contains(remedy));
    }
}

/// Directory timestamps of neighbours differ by less than twice the shorter run: 20 minutes of 10.
#[test]
fn pauses_are_shorter_than_a_run() {
    assert_eq!(failures(&group(&training(6, 19, |_, _| {}), V3)), [""; 0]);
    let g = group(&training(6, 20, |_, _| {}), V3);
    assert_eq!(failures(&g), ["2.1.18"]);
    assert_eq!(failed(&g, "2.1.18").len(), 5);
}

#[test]
fn all_runs_are_configured_alike() {
    let dir = training(6, 11, |run, made| {
        // Free to choose, so no part of the hash.
        made.workload["reader"]["read_threads"] = json!(run);
        made.workload["checkpoint"]["checkpoint_after_epoch"] = json!(if run == 3 { 4 } else { 5 });
        made.workload["output"] = json!({"folder": format!("/results/{run}")});
    });
    let g = group(&dir, V3);
    assert_eq!(failures(&g), ["same-work"]);
    let what = &failed(&g, "same-work")[0].what;
    assert!(
        what.contains("checkpoint.checkpoint_after_epoch is 4, not 5"),
        "{what}"
    );
    let dir = training(6, 11, |run, made| {
        made.summary["num_accelerators"] = json!(if run == 5 { 7 } else { 8 });
    });
    assert_eq!(failures(&group(&dir, V3)), ["same-work"]);
}

/// A group takes the worst of its runs.
#[test]
fn one_bad_run_spoils_the_group() {
    for (word, bad, standing) in [
        ("++workload.dataset.format=npz", vec![], Standing::Open),
        ("++workload.train.epochs=5", vec!["runs"], Standing::Invalid),
    ] {
        let dir = training(6, 11, |run, made| {
            if run == 2 {
                made.words.push(word.to_owned());
            }
        });
        let g = group(&dir, V2);
        assert_eq!((failures(&g), g.standing), (bad, standing));
    }
}

#[test]
fn measured_runs_that_differ_are_left_to_review() {
    let verdict = |last: f64, first: f64| {
        let dir = training(6, 11, |run, made| {
            let rate = match run {
                0 => first,
                5 => last,
                _ => 1000.0,
            };
            made.summary["metric"]["train_io_mean_MB_per_second"] = json!(rate);
        });
        super::verdict(&group(&dir, V3), "spread").unwrap()
    };
    // The first is the warm-up.
    assert_eq!(verdict(1049.0, 500.0), Verdict::Pass);
    assert_eq!(verdict(1051.0, 1000.0), Verdict::Warn);
}

/// The writes end at 12:10:00.
fn pair(first: (i64, i64), second: (i64, i64), start: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("llama3-8b");
    for (name, counts, start, end) in [
        (
            "20260131_120000",
            first,
            "2026-01-31T12:00:00.000000",
            "12:10",
        ),
        ("20260131_121010", second, start, "12:20"),
    ] {
        let made = Made::llama3_8b(counts.0, counts.1);
        let end = format!("2026-01-31T{end}:00.000000");
        made.at(start, &end).write(&root.join(name));
    }
    dir
}

#[test]
fn reads_follow_writes_within_30_seconds() {
    // Clocks that differ are no violation.
    for (start, expected) in [
        ("12:10:30.000000", vec![]),
        ("12:10:30.100000", vec!["4.7.1"]),
        ("12:09:59.000000", vec![]),
    ] {
        let dir = pair((10, 0), (0, 10), &format!("2026-01-31T{start}"));
        assert_eq!(failures(&group(&dir, V3)), expected, "{start}");
    }
}

#[test]
fn reads_before_writes_and_wrong_sums() {
    for (first, second, expected) in [
        ((0, 10), (10, 0), "20260131_120000 writes 0 and reads 10"),
        ((10, 0), (0, 9), "10 written and 9 read"),
        ((10, 10), (10, 10), "20 written and 20 read"),
    ] {
        let g = group(&pair(first, second, "2026-01-31T12:10:10.000000"), V3);
        let found = failed(&g, "4.7.1");
        assert!(found.iter().any(|f| f.what.contains(expected)), "{found:?}");
    }
    let dir = tempfile::tempdir().unwrap();
    Made::llama3_8b(1, 0).write(&dir.path().join("llama3-8b/20260131_120000"));
    assert_eq!(failures(&group(&dir, V2)), ["4.7.1", "runs"]);
}
