//! What is read of a run's files is the same for every rule, and nothing in them is too large.

use std::fs;

use serde_json::json;

use super::{Made, assess, assess_folder, failed, one};
use crate::mlperf::Edition::V3;
use crate::mlperf::leaf::{Kind, Leaf};
use crate::mlperf::verdict::Verdict;

/// One number of the job is too large for the next one that shares evenly.
#[test]
fn uneven_ranks_of_any_size_have_a_remedy() {
    let remedy = |n: u64, hosts: u64| {
        let mut made = Made::unet3d();
        made.summary["num_accelerators"] = json!(n);
        made.summary["num_hosts"] = json!(hosts);
        let a = assess(&made, V3);
        failed(&a, "3.3.6")[0].remedy.clone().unwrap()
    };
    assert!(remedy(u64::MAX, 2).starts_with("start 18446744073709551614 accelerators"));
    assert!(remedy(3, 8).starts_with("start 8 accelerators"));
    assert!(remedy(9, 8).starts_with("start 8 or 16 accelerators"));
}

/// What a folder's files say is read by one function, whoever asks.
#[test]
fn kind_and_accelerator_are_read_once() {
    let mut made = Made::unet3d();
    made.words[0] = "workload=unet3d_mytest".into();
    let (_dir, folder) = one(&made);
    let leaf = Leaf::read(&folder);
    assert_eq!(leaf.accelerator().as_deref(), Some("h100"));
    fs::remove_file(folder.join("training_run_metadata.json")).unwrap();
    assert_eq!(Leaf::read(&folder).accelerator(), None);
    fs::remove_dir_all(folder.join("dlio_config")).unwrap();
    assert_eq!(Leaf::read(&folder).kind(), Kind::TrainingRun);
    let a = assess_folder(&folder, V3);
    assert!(a.facts.starts_with("training run"), "{}", a.facts);
    assert!(
        failed(&a, "R1")[0]
            .what
            .contains("only the metrics speak of training")
    );
}

#[test]
fn only_our_report_makes_a_run_ours() {
    let (_dir, folder) = one(&Made::unet3d());
    let provenance = json!({"dlio": {"commit": "abc"}});
    fs::write(folder.join("provenance.json"), provenance.to_string()).unwrap();
    for (report, is_ours) in [
        (json!({"a": 1}), false),
        (
            json!({"schema_version": 1, "provenance": {"version": "0.1.0"}}),
            true,
        ),
    ] {
        fs::write(folder.join("report.json"), report.to_string()).unwrap();
        assert_eq!(Leaf::read(&folder).is_ours(), is_ours);
        let a = assess_folder(&folder, V3);
        let found: Vec<_> = a.findings.iter().filter(|f| f.rule == "EDN-03").collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0].verdict == Verdict::Warn, is_ours);
    }
}
