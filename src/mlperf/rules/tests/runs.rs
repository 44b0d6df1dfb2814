//! One run at a time.

use std::fs;

use serde_json::{Value, json};

use super::{Made, assess, assess_folder, builtin, failed, failures, finding, one, verdict};
use crate::mlperf::editions::Edition::{self, V2, V3};
use crate::mlperf::leaf::{Kind, Leaf};
use crate::mlperf::verdict::{Assessment, Category, Standing, Verdict};

/// What is found of the run of unet3d, changed.
fn unet3d(edition: Edition, change: impl FnOnce(&mut Made)) -> Assessment {
    let mut made = Made::unet3d();
    change(&mut made);
    assess(&made, edition)
}

/// The same with one more override.
fn typed(edition: Edition, word: &str) -> Assessment {
    unet3d(edition, |m| m.words.push(word.to_owned()))
}

/// What the first violation of a rule says.
fn what<'a>(assessment: &'a Assessment, rule: &str) -> &'a str {
    &failed(assessment, rule)[0].what
}

fn remedy<'a>(assessment: &'a Assessment, rule: &str) -> &'a str {
    failed(assessment, rule)[0].remedy.as_deref().unwrap()
}

fn llama(ranks: u64, edition: Edition, change: impl FnOnce(&mut Value)) -> Assessment {
    let mut made = Made::llama3_8b(10, 10);
    made.summary["num_accelerators"] = json!(ranks);
    change(&mut made.workload);
    assess(&made, edition)
}

#[test]
fn a_run_by_the_rules_is_open_and_never_closed() {
    for a in [
        unet3d(V2, |_| {}),
        llama(8, V2, |_| {}),
        llama(8, V3, |_| {}),
    ] {
        assert_eq!(failures(&a), [""; 0], "{:#?}", a.findings);
        assert_eq!((a.standing, a.category), (Standing::Closed, Category::Open));
    }
    // v3.0 takes no submissions on h100.
    assert_eq!(unet3d(V3, |_| {}).category, Category::WhatIf);
}

/// Verdicts of mlpstorage's own function, on either side of the number.
#[test]
fn one_file_too_few_is_invalid() {
    for (edition, category) in [(V2, Category::Invalid), (V3, Category::WhatIf)] {
        let a = unet3d(edition, |m| {
            m.workload["dataset"]["num_files_train"] = json!(27999);
            m.summary["num_files_train"] = json!(27999);
        });
        assert_eq!(failures(&a), ["3.1.2"]);
        assert!(what(&a, "3.1.2").starts_with("27999 files, 28000 needed"));
        assert!(remedy(&a, "3.1.2").contains("num_files_train=28000"));
        assert_eq!((a.standing, a.category), (Standing::Invalid, category));
    }
}

/// DLIO has a default, which the formula of the rules does not know.
#[test]
fn a_record_length_that_is_not_set_is_invalid() {
    for length in [json!(null), json!(0), json!("x")] {
        let a = unet3d(V2, |m| {
            m.workload["dataset"]["record_length_bytes"] = length
        });
        assert!(what(&a, "3.1.2").contains("record_length_bytes"));
    }
}

#[test]
fn the_standing_is_the_worst_of_the_overrides() {
    let (closed, open, invalid) = (Standing::Closed, Standing::Open, Standing::Invalid);
    let window = "storage.storage_options.prefetch_window=8";
    for (text, expected) in [
        ("reader.read_threads=8", closed),
        ("reader.prefetch_size=2", closed),
        ("dataset.format=npz", open),
        ("reader.data_loader=dali", open),
        ("train.epochs=5", invalid),
        ("metric.au=0.1", invalid),
        ("dataset.skip_listing=True", invalid),
        (window, invalid),
        ("workflow.profiling=True", closed),
    ] {
        for text in [text.to_owned(), format!("++workload.{text}")] {
            let a = typed(V2, &text);
            assert_eq!(a.standing, expected, "{text} {:#?}", a.findings);
        }
    }
    for text in ["dataset.skip_listing=True", window] {
        let a = typed(V3, text);
        assert_eq!(failures(&a), [""; 0], "{text}");
        assert_eq!(verdict(&a, "3.6.3"), Some(Verdict::Pass), "{text}");
    }
    let a = typed(V2, "train.epochs=5");
    assert_eq!(failures(&a), ["3.6.3"]);
    assert_eq!(remedy(&a, "3.6.3"), "leave the word 'train.epochs=5' out");
}

/// An edited file is judged like an override; the hash leaves its class.
#[test]
fn a_changed_file_is_found() {
    for (key, value, expected) in [
        (
            "batch_size",
            json!(8),
            "reader.batch_size is 8 (unet3d_h100: 7)",
        ),
        ("decode", json!("none"), "reader.decode is \"none\""),
    ] {
        let a = unet3d(V2, |m| m.workload["reader"][key] = value);
        assert!(what(&a, "3.6.3").starts_with(expected));
        assert_eq!(a.standing, Standing::Invalid);
    }
}

#[test]
fn the_comparability_class_is_that_of_the_edition() {
    let a = unet3d(V2, |_| {});
    let what = &finding(&a, "EDN-02").unwrap().what;
    assert!(
        what.ends_with("0f3dd7a4bf6433a3: class unet3d-h100-A"),
        "{what}"
    );
    // Without its checkpoints it is another work.
    let a = unet3d(V2, |m| m.workload["workflow"]["checkpoint"] = json!(false));
    let found = finding(&a, "EDN-02").unwrap();
    let expected = (Verdict::Info, Some(Standing::Open));
    assert_eq!((found.verdict, found.standing), expected);
}

#[test]
fn au_below_fails() {
    for edition in [V2, V3] {
        let of = |expectation: Value, mean: f64| {
            unet3d(edition, |m| {
                m.summary["metric"]["train_au_mean_percentage"] = json!(mean);
                m.summary["metric"]["train_au_meet_expectation"] = expectation;
            })
        };
        assert_eq!(failures(&of(json!("fail"), 10.0)), ["3.3.2"]);
        // A lowered threshold makes the run its own judge; the edition's minimum stays.
        assert_eq!(failures(&of(json!("success"), 60.0)), ["3.3.2"]);
        // Older versions of DLIO left no verdict: metric.au is 0.9.
        assert_eq!(failures(&of(json!(null), 97.99)), [""; 0]);
        let a = of(json!(null), 89.9);
        assert!(what(&a, "3.3.2").contains("against metric.au 90 %"));
    }
}

#[test]
fn v2_takes_the_rounded_down_number_of_files() {
    for (files, edition, is_enough) in [
        (971818, V2, false),
        (971819, V2, true),
        (971819, V3, false),
        (971820, V3, true),
    ] {
        let a = unet3d(edition, |m| {
            m.workload = builtin("cosmoflow_h100", |w| {
                w["dataset"]["num_files_train"] = json!(files);
            });
            m.words = vec![
                "workload=cosmoflow_h100".into(),
                format!("++workload.dataset.num_files_train={files}"),
            ];
            m.summary["num_files_train"] = json!(files);
        });
        assert_eq!(failures(&a).is_empty(), is_enough, "{files} {edition}");
        assert!(is_enough || failures(&a) == ["3.1.2"]);
        let is_warned = verdict(&a, "3.1.2") == Some(Verdict::Warn);
        assert_eq!(is_warned, is_enough && edition == V2);
    }
}

#[test]
fn odirect_is_for_unet3d_only() {
    for (model, is_allowed) in [("unet3d", true), ("resnet50", false)] {
        let a = unet3d(V2, |m| {
            m.workload["reader"]["odirect"] = json!(true);
            m.workload["model"]["name"] = json!(model);
        });
        assert_eq!(failed(&a, "3.6.2").is_empty(), is_allowed, "{model}");
    }
}

#[test]
fn hosts_and_ranks() {
    let of = |ranks: u64, hosts: u64| {
        unet3d(V3, |m| {
            m.summary["num_accelerators"] = json!(ranks);
            m.summary["num_hosts"] = json!(hosts);
        })
    };
    assert_eq!(failures(&of(8, 2)), [""; 0]);
    assert_eq!(verdict(&of(3, 1), "3.3.3"), Some(Verdict::Warn));
    for (ranks, hosts, advice) in [
        (7, 2, "start 6 or 8 accelerators"),
        // One number of the job is too large for the next one that shares evenly.
        (u64::MAX, 2, "start 18446744073709551614 accelerators"),
        (3, 8, "start 8 accelerators"),
    ] {
        assert!(remedy(&of(ranks, hosts), "3.3.6").starts_with(advice));
    }
}

/// The key may be set freely; what reads nothing is no run of a benchmark of storage.
#[test]
fn storage_that_reads_nothing_is_a_violation() {
    for kind in ["null", "model"] {
        let a = unet3d(V2, |m| {
            m.workload["storage"] = json!({"storage_type": kind});
            let word = format!("++workload.storage.storage_type={kind}");
            m.words.push(word);
        });
        assert_eq!(failures(&a), ["storage"]);
        assert_eq!(a.standing, Standing::Invalid);
    }
}

/// What a folder's files say is read by one function, whoever asks.
#[test]
fn kind_and_accelerator_are_read_once() {
    let mut made = Made::unet3d();
    made.words[0] = "workload=unet3d_mytest".into();
    let (_dir, folder) = one(&made);
    assert_eq!(Leaf::read(&folder).accelerator().as_deref(), Some("h100"));
    fs::remove_file(folder.join("training_run_metadata.json")).unwrap();
    assert_eq!(Leaf::read(&folder).accelerator(), None);
    fs::remove_dir_all(folder.join("dlio_config")).unwrap();
    assert_eq!(Leaf::read(&folder).kind(), Kind::TrainingRun);
    let a = assess_folder(&folder, V3);
    assert!(a.facts.starts_with("training run"), "{}", a.facts);
    assert!(what(&a, "kind").contains("only the metrics speak of training"));
}

#[test]
fn only_our_report_makes_a_run_ours() {
    let (_dir, folder) = one(&Made::unet3d());
    let ours = json!({"schema_version": 1, "provenance": {"version": "0.1.0"}});
    for (report, is_ours) in [(json!({"a": 1}), false), (ours, true)] {
        fs::write(folder.join("report.json"), report.to_string()).unwrap();
        assert_eq!(Leaf::read(&folder).is_ours(), is_ours);
    }
}

#[test]
fn checkpoint_process_counts() {
    for (ranks, expected) in [
        (8, Standing::Closed),
        (16, Standing::Open),
        (12, Standing::Invalid),
        (0, Standing::Invalid),
    ] {
        for edition in [V2, V3] {
            assert_eq!(llama(ranks, edition, |_| {}).standing, expected, "{ranks}");
        }
    }
}

/// Text is no truth value of DLIO's.
#[test]
fn fsync_and_counts_of_checkpoints() {
    for (key, value, rule) in [
        ("fsync", json!(false), "4.3.2"),
        ("fsync", json!("True"), "4.3.2"),
        ("num_checkpoints_read", json!(7), "4.7.1"),
        ("num_checkpoints_read", json!([7]), "4.7.1"),
    ] {
        let a = llama(8, V3, |w| w["checkpoint"][key] = value);
        assert!(!failed(&a, rule).is_empty(), "{key}");
    }
    let a = llama(8, V3, |w| w["checkpoint"]["fsync"] = json!(false));
    assert_eq!(failures(&a), ["4.3.2", "4.6.3"]);
    let mut made = Made::llama3_8b(10, 10);
    made.words.push("++workload.checkpoint.fsync=True".into());
    let a = assess(&made, V3);
    assert_eq!(
        (failures(&a), a.standing),
        (vec!["4.6.3"], Standing::Invalid)
    );
}

/// 105 GiB x 10 on one host of 512 GiB: less than three times its memory. What is read counts for nothing.
#[test]
fn caches_must_be_emptied_where_memory_is_large() {
    for (written, gib, expected) in [
        (10, 512.0, Verdict::Warn),
        (10, 256.0, Verdict::Pass),
        (0, 256.0, Verdict::Warn),
    ] {
        let mut made = Made::llama3_8b(written, 10);
        made.summary["host_memory_GB"] = json!([gib]);
        assert_eq!(verdict(&assess(&made, V3), "4.3.1"), Some(expected));
    }
}

/// llama3-70b on 8 ranks: `mlpstorage validate` finds 640 GB of memory for 911 GiB, unless it is a subset.
#[test]
fn eight_accelerators_hold_no_checkpoint_of_70b() {
    let of = |edition, mode: &str, size: f64, accelerator: Value| {
        let mut made = Made::llama3_8b(10, 10);
        made.workload["model"]["name"] = json!("llama_70b");
        made.summary["metric"]["checkpoint_size_GB"] = json!(size);
        made.metadata["accelerator"] = accelerator;
        if mode == "subset" {
            made.workload["model"]["parallelism"]["data"] = json!(8);
        }
        made.workload["checkpoint"]["mode"] = json!(mode);
        assess(&made, edition)
    };
    let a = of(V3, "default", 911.186493, json!(null));
    let held = "8 x 80 GB (h100, assumed: none is recorded) = 640 GB";
    assert!(what(&a, "4.3.4").contains(held));
    let a = of(V3, "default", 911.186493, json!("b200"));
    assert_eq!(verdict(&a, "4.3.4"), Some(Verdict::Pass));
    let a = of(V3, "default", 911.186493, json!("x1"));
    assert!(what(&a, "4.3.4").contains("x1 is no accelerator"));
    // v2.0 has subsets of it, v3.0 has not.
    let a = of(V2, "subset", 114.0, json!(null));
    assert_eq!(verdict(&a, "4.3.4"), Some(Verdict::Pass));
    assert!(failed(&a, "4.3.5").is_empty());
    assert!(!failed(&of(V3, "subset", 114.0, json!(null)), "4.3.5").is_empty());
    let a = of(V2, "default", 911.0, json!(null));
    let advice = "checkpoint.mode=subset model.parallelism.data=8";
    assert_eq!(remedy(&a, "4.3.5"), advice);
}
