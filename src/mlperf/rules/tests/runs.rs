//! One run at a time. The verdicts named as the tool's are those that mlpstorage's own code gave for such a leaf.

use serde_json::{Value, json};

use super::{Made, assess, assess_folder, failed, failures, one};
use crate::mlperf::Edition::{self, V2, V3};
use crate::mlperf::verdict::{Category, Standing, Verdict};

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
    assert_eq!(a.tool.category, Some(Standing::Closed), "{:#?}", a.findings);
    assert_eq!(a.standing, Standing::Closed);
    assert_eq!(failures(&a), [""; 0]);
    assert_eq!(a.category, Category::Open);
    // v3.0 takes no submissions on h100.
    let a = assess(&Made::unet3d(), V3);
    assert_eq!(a.category, Category::WhatIf);
    assert_eq!(a.tool.category, Some(Standing::Closed));
}

#[test]
fn the_report_generator_of_v2_wants_checkpoints_of_unet3d() {
    let off = changed(|m| m.workload["workflow"]["checkpoint"] = json!(false));
    let a = assess(&off, V2);
    assert_eq!(a.tool.category, Some(Standing::Invalid));
    assert_eq!(failures(&a), ["R5"]);
    // In v3.0 the rule is dead.
    let a = assess(&off, V3);
    assert_eq!(a.tool.category, Some(Standing::Closed));
}

#[test]
fn one_file_too_few_is_invalid() {
    let few = changed(|m| {
        m.workload["dataset"]["num_files_train"] = json!(27999);
        m.summary["num_files_train"] = json!(27999);
    });
    let a = assess(&few, V2);
    assert_eq!(a.tool.category, Some(Standing::Invalid));
    assert_eq!(failures(&a), ["R3"]);
    let finding = failed(&a, "R3")[0];
    assert!(
        finding.what.starts_with("27999 files, 28000 needed"),
        "{}",
        finding.what
    );
    let remedy = finding.remedy.as_deref().unwrap();
    assert!(remedy.contains("num_files_train=28000"), "{remedy}");
    assert_eq!(a.category, Category::Invalid);
    // v3.0's validator counts it too.
    let a = assess(&few, V3);
    assert_eq!(failures(&a), ["R3", "3.1.2"]);
}

/// DLIO has a default, on which the harness stumbles; its verifier takes that for INVALID.
#[test]
fn a_record_length_that_is_not_set_is_invalid() {
    for length in [json!(null), json!(0), json!("x")] {
        let a = assess(
            &changed(|m| m.workload["dataset"]["record_length_bytes"] = length),
            V2,
        );
        assert_eq!(a.tool.category, Some(Standing::Invalid));
        let what = &failed(&a, "R3")[0].what;
        assert!(what.contains("record_length_bytes"), "{what}");
    }
}

#[test]
fn the_category_is_the_worst_of_the_overrides() {
    for (text, edition, expected) in [
        ("++workload.reader.read_threads=8", V2, Standing::Closed),
        ("++workload.reader.prefetch_size=2", V2, Standing::Closed),
        ("++workload.dataset.format=npz", V2, Standing::Open),
        ("++workload.reader.data_loader=dali", V2, Standing::Open),
        ("++workload.train.epochs=5", V2, Standing::Invalid),
        ("++workload.metric.au=0.1", V2, Standing::Invalid),
        (
            "++workload.dataset.skip_listing=True",
            V2,
            Standing::Invalid,
        ),
        ("++workload.dataset.skip_listing=True", V3, Standing::Closed),
        (
            "++workload.storage.storage_options.prefetch_window=8",
            V2,
            Standing::Invalid,
        ),
        (
            "++workload.storage.storage_options.prefetch_window=8",
            V3,
            Standing::Closed,
        ),
        ("++workload.workflow.profiling=True", V2, Standing::Closed),
    ] {
        let a = assess(&changed(word(text)), edition);
        assert_eq!(a.tool.category, Some(expected), "{text} {edition}");
        assert_eq!(a.standing, expected, "{text} {edition}");
    }
    let both = changed(|m| {
        word("++workload.dataset.format=npz")(m);
        word("++workload.train.epochs=5")(m);
    });
    assert_eq!(assess(&both, V2).standing, Standing::Invalid);
}

/// v2.0's tool looks at words with its own prefix only; the rules mean all.
#[test]
fn an_override_without_prefix_is_one() {
    let a = assess(&changed(word("train.epochs=5")), V2);
    assert_eq!(a.tool.category, Some(Standing::Closed));
    assert_eq!(a.standing, Standing::Invalid);
    assert_eq!(failures(&a), ["R4"]);
}

#[test]
fn what_ends_the_report_generator_is_named() {
    let without = |key: &'static str| {
        changed(move |m| {
            m.summary.as_object_mut().unwrap().remove(key);
        })
    };
    let crashing = [
        without("num_accelerators"),
        without("host_memory_GB"),
        without("host_cpu_count"),
        changed(word("++workload.reader.read_threads=a=b")),
        changed(|m| m.summary["host_memory_GB"] = json!(["512"])),
        changed(|m| m.summary["host_memory_GB"] = json!(512.0)),
    ];
    for made in crashing {
        let a = assess(&made, V2);
        assert_eq!(a.tool.category, None);
        let why = a.tool.failure.as_deref().unwrap();
        assert!(why.contains("exception"), "{why}");
        assert!(a.findings.iter().any(|f| f.verdict == Verdict::Fail));
    }
    // v3.0: ranks that are not told are none; memory that is not told leaves the rule out.
    for key in ["num_accelerators", "host_memory_GB"] {
        let a = assess(&without(key), V3);
        assert_eq!(a.tool.category, Some(Standing::Closed), "{key}");
        assert!(
            a.findings
                .iter()
                .any(|f| f.rule == "R3" && f.verdict == Verdict::Skip)
        );
    }
}

/// v2.0's tools never look at AU: their verdict stays, and ours is added.
#[test]
fn au_below_is_left_to_review_in_v2_and_fails_in_v3() {
    let low = changed(|m| {
        m.summary["metric"] = json!({
            "train_au_meet_expectation": "fail",
            "train_au_mean_percentage": 10.0,
        });
    });
    let (_dir, folder) = one(&low);
    let path = folder.join("summary.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("10.0", "NaN")).unwrap();
    let a = assess_folder(&folder, V2);
    assert_eq!(a.tool.category, Some(Standing::Closed));
    assert_eq!(failures(&a), [""; 0]);
    let warned: Vec<_> = a
        .findings
        .iter()
        .filter(|f| f.verdict == Verdict::Warn)
        .map(|f| f.rule)
        .collect();
    assert_eq!(warned, ["summary", "3.3.2", "report"]);
    let au = a.findings.iter().find(|f| f.rule == "3.3.2").unwrap();
    assert!(au.what.contains("review"), "{}", au.what);
    let a = assess(&low, V3);
    assert_eq!(failures(&a), ["3.3.2", "report"]);
    assert!(a.tool.violations > 0);
}

/// A lowered `metric.au` in the file makes the run its own judge; the edition's minimum stays.
#[test]
fn a_lowered_threshold_does_not_help() {
    let lowered = changed(|m| {
        m.workload["metric"]["au"] = json!(0.5);
        m.summary["metric"]["train_au_mean_percentage"] = json!(60.0);
    });
    let a = assess(&lowered, V3);
    assert_eq!(failures(&a), ["EDN-01", "3.3.2"]);
    assert!(failed(&a, "EDN-01")[0].what.contains("metric.au is 0.5"));
}

#[test]
fn v2_takes_the_rounded_down_number_of_files() {
    let cosmoflow = |files: u64| {
        changed(move |m| {
            m.workload = json!({
                "model": {"name": "cosmoflow"},
                "framework": "tensorflow",
                "workflow": {"generate_data": false, "train": true},
                "dataset": {
                    "data_folder": "/data/cosmoflow",
                    "format": "tfrecord",
                    "num_files_train": files,
                    "num_samples_per_file": 1,
                    "record_length_bytes": 2828486,
                    "record_length_bytes_stdev": 71311,
                },
                "reader": {
                    "data_loader": "tensorflow",
                    "batch_size": 1,
                    "read_threads": 4,
                    "file_shuffle": "seed",
                    "sample_shuffle": "seed",
                    "shuffle_size": 2,
                },
                "train": {"epochs": 5, "computation_time": 0.0035},
                "metric": {"au": 0.7},
            });
            m.words = vec![
                "workload=cosmoflow_h100".into(),
                format!("++workload.dataset.num_files_train={files}"),
            ];
            m.summary["num_files_train"] = json!(files);
        })
    };
    let a = assess(&cosmoflow(971819), V2);
    assert_eq!(a.tool.category, Some(Standing::Closed));
    assert_eq!(failures(&a), [""; 0]);
    assert!(
        a.findings
            .iter()
            .any(|f| f.rule == "R3" && f.verdict == Verdict::Warn)
    );
    assert_eq!(
        assess(&cosmoflow(971818), V2).tool.category,
        Some(Standing::Invalid)
    );
    assert_eq!(failures(&assess(&cosmoflow(971819), V3)), ["R3", "3.1.2"]);
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
    let a = assess(&on("resnet50"), V2);
    assert!(!failed(&a, "R6").is_empty());
    assert_eq!(a.tool.category, Some(Standing::Invalid));
}

#[test]
fn runs_that_the_report_generator_leaves_out() {
    for (change, words) in [
        ("training_run_metadata.json", "no *_metadata.json"),
        ("summary.json", "did not finish"),
    ] {
        let (_dir, folder) = one(&Made::unet3d());
        std::fs::remove_file(folder.join(change)).unwrap();
        let a = assess_folder(&folder, V2);
        assert_eq!(a.tool.category, None);
        let why = a.tool.failure.unwrap();
        assert!(
            why.contains("leave the run out") && why.contains(words),
            "{why}"
        );
    }
    let (_dir, folder) = one(&Made::unet3d());
    std::fs::write(folder.join("x_metadata.json"), "{}").unwrap();
    let a = assess_folder(&folder, V2);
    assert!(failed(&a, "metadata")[0].what.contains("2 metadata files"));
    assert_eq!(a.tool.category, None);
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
    let a = assess(&of(7, 2), V3);
    let uneven = failed(&a, "3.3.6");
    assert!(uneven[0].remedy.as_deref().unwrap().contains("6 or 8"));
    let a = assess(&of(3, 1), V3);
    assert!(
        a.findings
            .iter()
            .any(|f| f.rule == "3.3.3" && f.verdict == Verdict::Warn)
    );
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
        assert_eq!(a.tool.category, Some(Standing::Closed));
    }
}

#[test]
fn decoding_left_out_in_the_file_is_found() {
    let a = assess(
        &changed(|m| m.workload["reader"]["decode"] = json!("none")),
        V2,
    );
    assert_eq!(failures(&a), ["EDN-01"]);
}

#[test]
fn hosts_are_alike() {
    let of = |memory: Value| {
        let made = changed(|m| {
            m.summary["num_hosts"] = json!(2);
            m.summary["host_cpu_count"] = json!([64, 64]);
            m.summary["host_memory_GB"] = memory;
        });
        let a = assess(&made, V3);
        let found = a.findings.iter().find(|f| f.rule == "3.3.7").unwrap();
        found.verdict
    };
    assert_eq!(of(json!([200.0, 300.0])), Verdict::Pass);
    assert_eq!(of(json!([200.0, 301.0])), Verdict::Warn);
    // The original's list: the sum is right, the places are not.
    assert_eq!(of(json!([512.0, 0.0])), Verdict::Skip);
}

#[test]
fn files_of_a_leaf_are_counted_exactly() {
    let check = |change: &dyn Fn(&std::path::Path), rule: &str, words: &str| {
        let (_dir, folder) = one(&Made::unet3d());
        change(&folder);
        let a = assess_folder(&folder, V3);
        let found = failed(&a, rule);
        assert!(
            found.iter().any(|f| f.what.contains(words)),
            "{rule} {words}: {:#?}",
            a.findings
        );
        assert_eq!(a.category, Category::WhatIf);
    };
    let remove = |name: &'static str| {
        move |folder: &std::path::Path| std::fs::remove_file(folder.join(name)).unwrap()
    };
    check(&remove("dlio.log"), "2.1.19", "dlio.log");
    check(&remove("training_run.stdout.log"), "2.1.19", "stdout");
    check(&remove("0_output.json"), "2.1.19", "<rank>_output.json");
    check(
        &remove("dlio_config/hydra.yaml"),
        "2.1.20",
        "hydra.yaml missing",
    );
    check(
        &|folder| std::fs::write(folder.join("dlio_config/notes"), "x").unwrap(),
        "2.1.20",
        "notes too many",
    );
    check(
        &|folder| std::fs::remove_dir_all(folder.join("dlio_config")).unwrap(),
        "2.1.20",
        "no dlio_config",
    );
}

fn llama(ranks: u64, edition: Edition, change: impl FnOnce(&mut Value)) -> super::Assessment {
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
        assert_eq!(a.tool.category, Some(Standing::Closed));
        assert_eq!(a.standing, Standing::Closed);
        assert_eq!(a.category, Category::Open);
    }
}

#[test]
fn checkpoint_process_counts() {
    // (ranks, v2.0, v3.0)
    for (ranks, v2, v3) in [
        (8, Standing::Closed, Standing::Closed),
        (16, Standing::Open, Standing::Open),
        (12, Standing::Invalid, Standing::Invalid),
        (0, Standing::Invalid, Standing::Invalid),
    ] {
        assert_eq!(llama(ranks, V2, |_| {}).standing, v2, "{ranks}");
        assert_eq!(llama(ranks, V3, |_| {}).standing, v3, "{ranks}");
        // v2.0's tool takes any number.
        assert_eq!(
            llama(ranks, V2, |_| {}).tool.category,
            Some(Standing::Closed)
        );
        assert_eq!(llama(ranks, V3, |_| {}).tool.category, Some(v3));
    }
}

#[test]
fn fsync_and_counts_of_checkpoints() {
    let a = llama(8, V3, |w| w["checkpoint"]["fsync"] = json!(false));
    assert_eq!(failures(&a), ["EDN-01", "4.3.2"]);
    // Text is no truth value of DLIO's.
    let a = llama(8, V3, |w| w["checkpoint"]["fsync"] = json!("True"));
    assert!(!failed(&a, "4.3.2").is_empty());
    let a = llama(8, V3, |w| {
        w["checkpoint"]["num_checkpoints_read"] = json!(7)
    });
    assert_eq!(failures(&a), ["4.7.1"]);
    let a = llama(8, V3, |w| {
        w["checkpoint"]["num_checkpoints_read"] = json!([7])
    });
    assert!(!failed(&a, "4.7.1").is_empty());
}

/// 105 GiB x 10 on one host of 512 GiB: less than three times its memory.
#[test]
fn caches_must_be_emptied_where_memory_is_large() {
    let verdict = |written: i64, gib: f64| {
        let mut made = Made::llama3_8b(written, 10);
        made.summary["host_memory_GB"] = json!([gib]);
        let a = assess(&made, V3);
        let found = a.findings.iter().find(|f| f.rule == "4.3.1").unwrap();
        found.verdict
    };
    assert_eq!(verdict(10, 512.0), Verdict::Warn);
    assert_eq!(verdict(10, 256.0), Verdict::Pass);
    // What is read counts for nothing.
    assert_eq!(verdict(0, 256.0), Verdict::Warn);
}

#[test]
fn checkpoint_overrides_that_no_tool_looks_at() {
    let mut made = Made::llama3_8b(10, 10);
    made.words
        .push("++workload.checkpoint.fsync=True".to_owned());
    for edition in [V2, V3] {
        let a = assess(&made, edition);
        assert_eq!(failures(&a), ["4.6.3"]);
        assert_eq!(a.tool.category, Some(Standing::Closed));
        assert_eq!(a.standing, Standing::Invalid);
    }
}

/// As DLIO's reports: `llama_8b` on a subset of the larger models.
#[test]
fn a_subset_is_for_v2() {
    let subset = |edition, mode: &str| {
        let mut made = Made::llama3_8b(10, 10);
        made.workload["model"]["name"] = json!("llama_70b");
        if mode == "subset" {
            made.workload["model"]["parallelism"]["data"] = json!(8);
        }
        made.workload["checkpoint"]["mode"] = json!(mode);
        assess(&made, edition)
    };
    assert!(failed(&subset(V2, "subset"), "4.3.5").is_empty());
    assert!(!failed(&subset(V3, "subset"), "4.3.5").is_empty());
    let a = subset(V2, "default");
    let remedy = failed(&a, "4.3.5")[0].remedy.as_deref().unwrap();
    assert_eq!(remedy, "checkpoint.mode=subset model.parallelism.data=8");
    // v3.0 has no subset of it: eight processes are one replica, which is OPEN.
    let a = subset(V3, "default");
    assert!(failed(&a, "4.3.5").is_empty());
    assert_eq!(a.tool.category, Some(Standing::Open));
}
