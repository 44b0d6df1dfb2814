//! Runs that belong together, and trees.

use std::fs;
use std::path::Path;

use serde_json::json;

use super::{Made, failed, failures};
use crate::mlperf::Edition::{self, V2, V3};
use crate::mlperf::rules::folder;
use crate::mlperf::verdict::{Assessment, Standing, Verdict};

/// Runs of ten minutes, one every `every` minutes.
fn training(root: &Path, runs: u32, every: u32, change: impl Fn(u32, &mut Made)) {
    for run in 0..runs {
        let start = run * every;
        let clock = |minutes: u32| format!("{:02}:{:02}:00", 10 + minutes / 60, minutes % 60);
        let mut made = Made::unet3d().at(
            &format!("2026-01-31T{}.000000", clock(start)),
            &format!("2026-01-31T{}.000000", clock(start + 10)),
        );
        change(run, &mut made);
        let name = format!("20260131_{}", clock(start).replace(':', ""));
        made.write(&root.join("training/unet3d/run").join(name));
    }
}

fn group(root: &Path, edition: Edition) -> Assessment {
    let checked = folder(root, edition).unwrap();
    let mut groups = checked
        .assessments
        .into_iter()
        .filter(|a| a.kind == "group");
    let group = groups.next().unwrap();
    assert!(groups.next().is_none(), "one group");
    group
}

fn scratch() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn six_runs_without_pause_are_a_submission() {
    let dir = scratch();
    training(dir.path(), 6, 11, |_, _| {});
    for edition in [V2, V3] {
        let g = group(dir.path(), edition);
        assert_eq!(failures(&g), [""; 0], "{:#?}", g.findings);
        assert!(g.facts.contains("6 leaf(s)"), "{}", g.facts);
    }
}

#[test]
fn five_or_seven_runs_are_not() {
    for (runs, remedy) in [(5, "until"), (7, "keep 6")] {
        let dir = scratch();
        training(dir.path(), runs, 11, |_, _| {});
        let g = group(dir.path(), V3);
        assert_eq!(failures(&g), ["2.1.17"]);
        let finding = failed(&g, "2.1.17")[0];
        assert!(finding.what.starts_with(&format!("{runs} run(s)")));
        assert!(finding.remedy.as_deref().unwrap().contains(remedy));
        // v2.0's tool counts no runs.
        assert_eq!(group(dir.path(), V2).tool.category, Some(Standing::Closed));
    }
}

/// Directory timestamps of neighbours differ by less than twice the shorter run: 20 minutes of 10.
#[test]
fn pauses_are_shorter_than_a_run() {
    let dir = scratch();
    training(dir.path(), 6, 19, |_, _| {});
    assert_eq!(failures(&group(dir.path(), V3)), [""; 0]);
    let dir = scratch();
    training(dir.path(), 6, 20, |_, _| {});
    let g = group(dir.path(), V3);
    assert_eq!(failures(&g), ["2.1.18"]);
    assert_eq!(failed(&g, "2.1.18").len(), 5);
}

#[test]
fn all_runs_are_configured_alike() {
    let dir = scratch();
    training(dir.path(), 6, 11, |run, made| {
        // Free to choose, so no part of the hash.
        made.workload["reader"]["read_threads"] = json!(run);
        made.workload["checkpoint"]["checkpoint_after_epoch"] = json!(if run == 3 { 4 } else { 5 });
        made.workload["output"] = json!({"folder": format!("/results/{run}")});
    });
    let g = group(dir.path(), V3);
    assert_eq!(failures(&g), ["group"]);
    let what = &failed(&g, "group")[0].what;
    assert!(
        what.contains("checkpoint.checkpoint_after_epoch is 4, not 5"),
        "{what}"
    );
    let dir = scratch();
    training(dir.path(), 6, 11, |run, made| {
        made.summary["num_accelerators"] = json!(if run == 5 { 7 } else { 8 });
    });
    assert_eq!(failures(&group(dir.path(), V3)), ["group"]);
}

/// A group takes the worst of its runs.
#[test]
fn one_bad_run_spoils_the_group() {
    let spoiled = |word: &'static str| {
        let dir = scratch();
        training(dir.path(), 6, 11, move |run, made| {
            if run == 2 {
                made.words.push(word.to_owned());
            }
        });
        group(dir.path(), V2)
    };
    let g = spoiled("++workload.dataset.format=npz");
    assert_eq!(failures(&g), [""; 0]);
    assert_eq!(g.tool.category, Some(Standing::Open));
    assert_eq!(g.standing, Standing::Open);
    let g = spoiled("++workload.train.epochs=5");
    assert_eq!(failures(&g), ["group"]);
    assert_eq!(g.tool.category, Some(Standing::Invalid));
    // One leaf on which the report generator stumbles takes the whole tree with it.
    let g = spoiled("++workload.reader.read_threads=4=4");
    assert_eq!(g.tool.category, None);
}

#[test]
fn measured_runs_that_differ_are_left_to_review() {
    let verdict = |last: f64, first: f64| {
        let dir = scratch();
        training(dir.path(), 6, 11, |run, made| {
            let rate = match run {
                0 => first,
                5 => last,
                _ => 1000.0,
            };
            made.summary["metric"]["train_io_mean_MB_per_second"] = json!(rate);
        });
        let g = group(dir.path(), V3);
        let found = g.findings.iter().find(|f| f.rule == "prose").unwrap();
        found.verdict
    };
    assert_eq!(verdict(1050.0, 10.0), Verdict::Pass);
    assert_eq!(verdict(1051.0, 1000.0), Verdict::Warn);
}

#[test]
fn runs_read_what_was_generated() {
    let dir = scratch();
    training(dir.path(), 6, 11, |_, _| {});
    let mut made = Made::unet3d();
    made.workload["workflow"] = json!({"generate_data": true, "train": false, "checkpoint": false});
    made.workload["dataset"]["num_files_train"] = json!(20000);
    made.words[0] = "workload=unet3d_datagen".into();
    made.metadata["command"] = json!("datagen");
    made.prefix = "training_datagen";
    let phases = dir.path().join("training/unet3d");
    made.write(&phases.join("datagen/20260130_120000"));
    fs::remove_file(phases.join("datagen/20260130_120000/summary.json")).unwrap();
    let g = group(dir.path(), V3);
    assert_eq!(failures(&g), ["3.2.1"]);
    made.metadata["command"] = json!("datasize");
    made.workload["dataset"]["num_files_train"] = json!(30000);
    made.write(&phases.join("datasize/20260129_120000"));
    let g = group(dir.path(), V3);
    assert_eq!(failures(&g), ["3.2.1", "3.3.1"]);
    made.metadata["command"] = json!("datagen");
    made.write(&phases.join("datagen/20260130_130000"));
    let g = group(dir.path(), V3);
    assert_eq!(failures(&g), ["2.1.13", "3.3.1"]);
}

fn pair(first: (i64, i64), second: (i64, i64), start: &str) -> tempfile::TempDir {
    let dir = scratch();
    let root = dir.path().join("checkpointing/llama3-8b");
    Made::llama3_8b(first.0, first.1)
        .at("2026-01-31T12:00:00.000000", "2026-01-31T12:10:00.000000")
        .write(&root.join("20260131_120000"));
    Made::llama3_8b(second.0, second.1)
        .at(start, "2026-01-31T12:25:00.000000")
        .write(&root.join("20260131_121000"));
    dir
}

#[test]
fn ten_writes_and_ten_reads_in_two_runs_within_thirty_seconds() {
    let dir = pair((10, 0), (0, 10), "2026-01-31T12:10:30.000000");
    for edition in [V2, V3] {
        let g = group(dir.path(), edition);
        assert_eq!(failures(&g), [""; 0], "{:#?}", g.findings);
        assert_eq!(g.tool.category, Some(Standing::Closed));
    }
    let dir = pair((10, 0), (0, 10), "2026-01-31T12:10:31.000000");
    let g = group(dir.path(), V3);
    assert_eq!(failures(&g), ["4.7.1"]);
    assert_eq!(failed(&g, "4.7.1")[0].name, "writeReadGap");
    // Its clock went back.
    let dir = pair((10, 0), (0, 10), "2026-01-31T12:09:59.000000");
    assert_eq!(failures(&group(dir.path(), V3)), [""; 0]);
}

#[test]
fn reads_before_writes_and_wrong_sums() {
    let dir = pair((0, 10), (10, 0), "2026-01-31T12:10:10.000000");
    let g = group(dir.path(), V3);
    assert_eq!(failed(&g, "4.7.1")[0].name, "writeThenRead");
    // The sum alone decides in v2.0.
    assert_eq!(g.findings[0].rule, "4.7.1");
    assert_eq!(group(dir.path(), V2).tool.category, Some(Standing::Closed));
    let dir = pair((10, 0), (0, 9), "2026-01-31T12:10:10.000000");
    let g = group(dir.path(), V2);
    assert_eq!(g.tool.category, Some(Standing::Invalid));
    let dir = pair((10, 10), (10, 10), "2026-01-31T12:10:10.000000");
    assert!(failed(&group(dir.path(), V3), "4.7.1").len() >= 2);
}

/// v2.0's tool verifies a single leaf as a single run, and so counts nothing.
#[test]
fn a_single_write_is_a_hole_of_v2() {
    let dir = scratch();
    Made::llama3_8b(1, 0).write(&dir.path().join("llama3-8b/20260131_120000"));
    let g = group(dir.path(), V2);
    assert_eq!(failures(&g), ["4.7.1", "group"]);
    assert_eq!(g.tool.category, Some(Standing::Closed));
    let g = group(dir.path(), V3);
    assert!(g.tool.violations > 0);
}
