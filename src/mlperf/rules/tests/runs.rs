//! One run at a time.

use std::fs;

use serde_json::{Value, json};

use super::{Made, assess, assess_folder, builtin, failed, failures, finding, one, verdict};
use crate::mlperf::editions::Edition::{self, V2, V3};
use crate::mlperf::leaf::{Kind, Leaf};
use crate::mlperf::verdict::{Assessment, Category, Standing, Verdict};

fn changed(change: impl FnOnce(&mut Made)) -> Made {
    let mut made = Made::unet3d();
    change(&mut made);
    made
}

fn word(text: &str) -> impl FnOnce(&mut Made) + '_ {
    move |made| made.words.push(text.to_owned())
}

#[test]
fn a_run_by_the_rules_is_open_and_never_closed() {
    let a = assess(&Made::unet3d(), V2);
    assert_eq!(a.standing, Standing::Closed, "{:#?}", a.findings);
    assert_eq!(failures(&a), [""; 0]);
    assert_eq!(a.category, Category::Open);
    // v3.0 takes no submissions on h100.
    assert_eq!(assess(&Made::unet3d(), V3).category, Category::WhatIf);
}

/// Verdicts of mlpstorage's own function, on either side of the number.
#[test]
fn one_file_too_few_is_invalid() {
    let few = changed(|m| {
        m.workload["dataset"]["num_files_train"] = json!(27999);
        m.summary["num_files_train"] = json!(27999);
    });
    for edition in [V2, V3] {
        let a = assess(&few, edition);
        assert_eq!(failures(&a), ["3.1.2"]);
        let finding = failed(&a, "3.1.2")[0];
        assert!(
            finding.what.starts_with("27999 files, 28000 needed"),
            "{}",
            finding.what
        );
        let remedy = finding.remedy.as_deref().unwrap();
        assert!(remedy.contains("num_files_train=28000"), "{remedy}");
        assert_eq!(a.standing, Standing::Invalid);
    }
    assert_eq!(assess(&few, V2).category, Category::Invalid);
}

/// DLIO has a default, which the formula of the rules does not know.
#[test]
fn a_record_length_that_is_not_set_is_invalid() {
    for length in [json!(null), json!(0), json!("x")] {
        let a = assess(
            &changed(|m| m.workload["dataset"]["record_length_bytes"] = length),
            V2,
        );
        let what = &failed(&a, "3.1.2")[0].what;
        assert!(what.contains("record_length_bytes"), "{what}");
    }
}

#[test]
fn the_standing_is_the_worst_of_the_overrides() {
    for (text, edition, expected) in [
        ("++workload.reader.read_threads=8", V2, Standing::Closed),
        ("++workload.reader.prefetch_size=2", V2, Standing::Closed),
        ("++workload.dataset.format=npz", V2, Standing::Open),
        ("++workload.reader.data_loader=dali", V2, Standing::Open),
        ("++workload.train.epochs=5", V2, Standing::Invalid),
        ("train.epochs=5", V2, Standing::Invalid),
        ("++workload.metric.au=0.1", V2, Standing::Invalid),
        (
            "++workload.dataset.skip_listing=True",
            V2,
            Standing::Invalid,
        ),
        (
            "++workload.storage.storage_options.prefetch_window=8",
            V2,
            Standing::Invalid,
        ),
        ("++workload.workflow.profiling=True", V2, Standing::Closed),
    ] {
        let a = assess(&changed(word(text)), edition);
        assert_eq!(a.standing, expected, "{text} {edition} {:#?}", a.findings);
    }
    for text in [
        "dataset.skip_listing=True",
        "storage.storage_options.prefetch_window=8",
    ] {
        let a = assess(&changed(word(text)), V3);
        assert_eq!(failures(&a), [""; 0], "{text}");
        assert_eq!(verdict(&a, "3.6.3"), Some(Verdict::Pass), "{text}");
    }
    let a = assess(&changed(word("train.epochs=5")), V2);
    assert_eq!(failures(&a), ["3.6.3"]);
    assert_eq!(
        failed(&a, "3.6.3")[0].remedy.as_deref(),
        Some("leave the word 'train.epochs=5' out")
    );
}

/// An edited file is judged like an override; the hash leaves its class.
#[test]
fn a_changed_file_is_found() {
    for (change, what) in [
        (
            json!({"batch_size": 8}),
            "reader.batch_size is 8 (unet3d_h100: 7)",
        ),
        (json!({"decode": "none"}), "reader.decode is \"none\""),
    ] {
        let a = assess(
            &changed(|m| {
                let map = m.workload["reader"].as_object_mut().unwrap();
                map.extend(change.as_object().unwrap().clone());
            }),
            V2,
        );
        let found = &failed(&a, "3.6.3")[0].what;
        assert!(found.starts_with(what), "{found}");
        assert_eq!(a.standing, Standing::Invalid);
    }
}

#[test]
fn the_comparability_class_is_that_of_the_edition() {
    let a = assess(&Made::unet3d(), V2);
    let what = &finding(&a, "EDN-02").unwrap().what;
    let class = "0f3dd7a4bf6433a3: class unet3d-h100-A";
    assert!(what.ends_with(class), "{what}");
    // Without its checkpoints it is another work.
    let off = changed(|m| m.workload["workflow"]["checkpoint"] = json!(false));
    let a = assess(&off, V2);
    let found = finding(&a, "EDN-02").unwrap();
    assert_eq!(
        (found.verdict, found.standing),
        (Verdict::Info, Some(Standing::Open))
    );
}

#[test]
fn au_below_fails() {
    let low = |expectation: Value, mean: f64| {
        changed(move |m| {
            let metric = m.summary["metric"].as_object_mut().unwrap();
            metric.insert("train_au_mean_percentage".into(), json!(mean));
            metric.remove("train_au_meet_expectation");
            if !expectation.is_null() {
                metric.insert("train_au_meet_expectation".into(), expectation);
            }
        })
    };
    for edition in [V2, V3] {
        assert_eq!(
            failures(&assess(&low(json!("fail"), 10.0), edition)),
            ["3.3.2"]
        );
        // A lowered threshold makes the run its own judge; the edition's minimum stays.
        assert_eq!(
            failures(&assess(&low(json!("success"), 60.0), edition)),
            ["3.3.2"]
        );
        // Older versions of DLIO left no verdict: metric.au is 0.9.
        assert_eq!(
            failures(&assess(&low(json!(null), 97.99), edition)),
            [""; 0]
        );
        let a = assess(&low(json!(null), 89.9), edition);
        assert!(
            failed(&a, "3.3.2")[0]
                .what
                .contains("against metric.au 90 %")
        );
    }
}

#[test]
fn v2_takes_the_rounded_down_number_of_files() {
    let cosmoflow = |files: u64| {
        changed(move |m| {
            m.workload = builtin("cosmoflow_h100", |w| {
                w["dataset"]["num_files_train"] = json!(files);
            });
            m.words = vec![
                "workload=cosmoflow_h100".into(),
                format!("++workload.dataset.num_files_train={files}"),
            ];
            m.summary["num_files_train"] = json!(files);
        })
    };
    let a = assess(&cosmoflow(971819), V2);
    assert_eq!(failures(&a), [""; 0]);
    assert_eq!(verdict(&a, "3.1.2"), Some(Verdict::Warn));
    assert_eq!(failures(&assess(&cosmoflow(971818), V2)), ["3.1.2"]);
    assert_eq!(failures(&assess(&cosmoflow(971819), V3)), ["3.1.2"]);
    assert_eq!(failures(&assess(&cosmoflow(971820), V3)), [""; 0]);
}

#[test]
fn odirect_is_for_unet3d_only() {
    let on = |model: &'static str| {
        changed(move |m| {
            m.workload["reader"]["odirect"] = json!(true);
            m.workload["model"]["name"] = json!(model);
        })
    };
    assert_eq!(failures(&assess(&on("unet3d"), V2)), [""; 0]);
    assert!(!failed(&assess(&on("resnet50"), V2), "3.6.2").is_empty());
}

#[test]
fn hosts_and_ranks() {
    let of = |ranks: u64, hosts: u64| {
        changed(move |m| {
            m.summary["num_accelerators"] = json!(ranks);
            m.summary["num_hosts"] = json!(hosts);
        })
    };
    assert_eq!(failures(&assess(&of(8, 2), V3)), [""; 0]);
    assert_eq!(
        verdict(&assess(&of(3, 1), V3), "3.3.3"),
        Some(Verdict::Warn)
    );
    let remedy = |n, hosts| {
        failed(&assess(&of(n, hosts), V3), "3.3.6")[0]
            .remedy
            .clone()
            .unwrap()
    };
    assert!(remedy(7, 2).contains("6 or 8"));
    // One number of the job is too large for the next one that shares evenly.
    assert!(remedy(u64::MAX, 2).starts_with("start 18446744073709551614 accelerators"));
    assert!(remedy(3, 8).starts_with("start 8 accelerators"));
}

/// The key may be set freely; what reads nothing is no run of a benchmark of storage.
#[test]
fn storage_that_reads_nothing_is_a_violation() {
    for kind in ["null", "model"] {
        let a = assess(
            &changed(|m| {
                m.workload["storage"] = json!({"storage_type": kind});
                word(&format!("++workload.storage.storage_type={kind}"))(m);
            }),
            V2,
        );
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
    assert!(
        failed(&a, "kind")[0]
            .what
            .contains("only the metrics speak of training")
    );
}

#[test]
fn only_our_report_makes_a_run_ours() {
    let (_dir, folder) = one(&Made::unet3d());
    for (report, is_ours) in [
        (json!({"a": 1}), false),
        (
            json!({"schema_version": 1, "provenance": {"version": "0.1.0"}}),
            true,
        ),
    ] {
        fs::write(folder.join("report.json"), report.to_string()).unwrap();
        assert_eq!(Leaf::read(&folder).is_ours(), is_ours);
    }
}

fn llama(ranks: u64, edition: Edition, change: impl FnOnce(&mut Value)) -> Assessment {
    let mut made = Made::llama3_8b(10, 10);
    made.summary["num_accelerators"] = json!(ranks);
    change(&mut made.workload);
    assess(&made, edition)
}

#[test]
fn checkpoints_of_ten_and_ten_on_eight_ranks() {
    for edition in [V2, V3] {
        let a = llama(8, edition, |_| {});
        assert_eq!(failures(&a), [""; 0], "{:#?}", a.findings);
        assert_eq!((a.standing, a.category), (Standing::Closed, Category::Open));
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

#[test]
fn fsync_and_counts_of_checkpoints() {
    let a = llama(8, V3, |w| w["checkpoint"]["fsync"] = json!(false));
    assert_eq!(failures(&a), ["4.3.2", "4.6.3"]);
    // Text is no truth value of DLIO's.
    let a = llama(8, V3, |w| w["checkpoint"]["fsync"] = json!("True"));
    assert!(!failed(&a, "4.3.2").is_empty());
    for read in [json!(7), json!([7])] {
        let a = llama(8, V3, |w| w["checkpoint"]["num_checkpoints_read"] = read);
        assert!(!failed(&a, "4.7.1").is_empty());
    }
    let mut made = Made::llama3_8b(10, 10);
    made.words
        .push("++workload.checkpoint.fsync=True".to_owned());
    let a = assess(&made, V3);
    assert_eq!(
        (failures(&a), a.standing),
        (vec!["4.6.3"], Standing::Invalid)
    );
}

/// 105 GiB x 10 on one host of 512 GiB: less than three times its memory.
#[test]
fn caches_must_be_emptied_where_memory_is_large() {
    let of = |written: i64, gib: f64| {
        let mut made = Made::llama3_8b(written, 10);
        made.summary["host_memory_GB"] = json!([gib]);
        verdict(&assess(&made, V3), "4.3.1").unwrap()
    };
    assert_eq!(of(10, 512.0), Verdict::Warn);
    assert_eq!(of(10, 256.0), Verdict::Pass);
    // What is read counts for nothing.
    assert_eq!(of(0, 256.0), Verdict::Warn);
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
    let what = &failed(&a, "4.3.4")[0].what;
    assert!(
        what.contains("8 x 80 GB (h100, assumed: none is recorded) = 640 GB"),
        "{what}"
    );
    let a = of(V3, "default", 911.186493, json!("b200"));
    assert_eq!(verdict(&a, "4.3.4"), Some(Verdict::Pass));
    let a = of(V3, "default", 911.186493, json!("x1"));
    assert!(failed(&a, "4.3.4")[0].what.contains("x1 is no accelerator"));
    // v2.0 has subsets of it, v3.0 has not.
    let a = of(V2, "subset", 114.0, json!(null));
    assert_eq!(verdict(&a, "4.3.4"), Some(Verdict::Pass));
    assert!(failed(&a, "4.3.5").is_empty());
    assert!(!failed(&of(V3, "subset", 114.0, json!(null)), "4.3.5").is_empty());
    let a = of(V2, "default", 911.0, json!(null));
    let remedy = failed(&a, "4.3.5")[0].remedy.as_deref().unwrap();
    assert_eq!(remedy, "checkpoint.mode=subset model.parallelism.data=8");
}
