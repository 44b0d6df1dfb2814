//! Nothing that lies in a folder ends the program: every file is somebody else's.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Made, assess_folder, failures, one};
use crate::mlperf::editions::Edition::{V2, V3};
use crate::mlperf::rules::engine::folder;
use crate::mlperf::verdict::{Assessment, Checked, Finding, Verdict};

const FILES: [&str; 4] = [
    "summary.json",
    "training_run_metadata.json",
    "dlio_config/config.yaml",
    "dlio_config/overrides.yaml",
];

fn damaged(file: &str, text: &[u8]) -> (tempfile::TempDir, std::path::PathBuf) {
    let (dir, folder) = one(&Made::unet3d());
    fs::write(folder.join(file), text).unwrap();
    (dir, folder)
}

/// Documents that are whole and hold nothing: where the file matters, the findings differ from those of the good run.
#[test]
fn empty_files_and_other_documents() {
    let found = |folder: &Path| {
        let a = assess_folder(folder, V2);
        let of = |f: &Finding| (f.rule, f.verdict);
        a.findings.iter().map(of).collect::<Vec<_>>()
    };
    for file in [
        "summary.json",
        "dlio_config/config.yaml",
        "dlio_config/overrides.yaml",
    ] {
        for text in ["", "null", "{}", "7", "\"text\"", "[[[[]]]]", "[1, 2]"] {
            let (_good, good) = one(&Made::unet3d());
            let (_dir, folder) = damaged(file, text.as_bytes());
            assert_ne!(found(&good), found(&folder), "{file} {text:?}");
        }
    }
}

/// Nesting and aliases that would need the stack or the memory of a larger machine.
#[test]
fn nesting_without_end_is_refused() {
    let deep = "[".repeat(200_000);
    let mut aliases = String::from("a0: &a0 [1,1,1,1,1,1,1,1,1,1]\n");
    for i in 1..12 {
        let item = format!("*a{}", i - 1);
        aliases += &format!("a{i}: &a{i} [{}]\n", vec![item; 10].join(","));
    }
    for file in FILES {
        for text in [&deep, &aliases, &"{\"a\":".repeat(100_000)] {
            let (_dir, folder) = damaged(file, text.as_bytes());
            let a = assess_folder(&folder, V2);
            assert!(
                a.findings
                    .iter()
                    .any(|f| f.verdict == Verdict::Fail && f.what.contains(file)),
                "{file}: {:#?}",
                a.findings
            );
        }
    }
}

/// Every key of every document takes every type.
#[test]
fn wrong_types_are_findings() {
    let wrong = [
        json!(null),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!("x"),
        json!([]),
        json!({"x": []}),
        json!(true),
        json!([null, "x", -5]),
    ];
    let documents: [fn(&mut Made) -> &mut Value; 3] =
        [|m| &mut m.summary, |m| &mut m.workload, |m| &mut m.metadata];
    let runs: [fn() -> Made; 2] = [Made::unet3d, || Made::llama3_8b(10, 10)];
    for good in runs {
        for document in documents {
            let mut made = good();
            let before = document(&mut made).clone();
            let mut keys = Vec::new();
            paths(&before, String::new(), &mut keys);
            for key in &keys {
                for value in &wrong {
                    *document(&mut made).pointer_mut(key).unwrap() = value.clone();
                    look(&made);
                    *document(&mut made) = before.clone();
                }
            }
        }
    }
}

fn paths(value: &Value, at: String, out: &mut Vec<String>) {
    if let Value::Object(map) = value {
        for (key, value) in map {
            let path = format!("{at}/{key}");
            out.push(path.clone());
            paths(value, path, out);
        }
    }
}

fn look(made: &Made) {
    let dir = tempfile::tempdir().unwrap();
    made.write(&dir.path().join("run/20260131_120000"));
    for edition in [V2, V3] {
        let checked = folder(dir.path(), edition).unwrap();
        assert!(checked.assessments.iter().any(|a| a.kind == "run"));
        serde_json::to_string(&checked).unwrap();
    }
}

fn runs(checked: &Checked) -> impl Iterator<Item = &Assessment> {
    checked.assessments.iter().filter(|a| a.kind == "run")
}

#[test]
fn links_in_circles_and_pipes() {
    use std::os::unix::fs::symlink;
    let (dir, leaf) = one(&Made::unet3d());
    symlink(dir.path(), dir.path().join("circle")).unwrap();
    symlink(leaf.join("loop"), leaf.join("loop")).unwrap();
    fs::remove_file(leaf.join("summary.json")).unwrap();
    nix::unistd::mkfifo(&leaf.join("summary.json"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    let checked = folder(dir.path(), V2).unwrap();
    let runs: Vec<_> = runs(&checked).collect();
    assert_eq!(runs.len(), 1);
    assert!(failures(runs[0]).contains(&"summary"));
}

/// What is not entered is said, unless it is seen elsewhere.
#[test]
fn a_link_out_of_the_folder_is_named() {
    use std::os::unix::fs::symlink;
    let (dir, leaf) = one(&Made::unet3d());
    symlink(&leaf, dir.path().join("latest")).unwrap();
    symlink("nowhere", dir.path().join("broken")).unwrap();
    let trees = |checked: &Checked| {
        let trees = checked.assessments.iter().filter(|a| a.kind == "folder");
        let what = trees.flat_map(|a| &a.findings).map(|f| f.what.clone());
        what.collect::<Vec<_>>()
    };
    assert_eq!(trees(&folder(dir.path(), V3).unwrap()), [""; 0]);
    let (_other, outside) = one(&Made::unet3d());
    symlink(&outside, dir.path().join("more")).unwrap();
    let said = trees(&folder(dir.path(), V3).unwrap());
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("more: a link"), "{said:?}");
}

/// What mlpstorage keeps beside runs is none: its code images, the tests within them, its own files.
#[test]
fn code_and_foreign_files_are_no_runs() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("training/unet3d");
    Made::unet3d().write(&root.join("run/20260131_120000"));
    let image = root.join("code/mlpstorage_py/tests/data");
    Made::unet3d().write(&image);
    fs::write(root.join("code/pyproject.toml"), "[project]").unwrap();
    fs::write(dir.path().join("mlperf-results.yaml"), "org: Acme").unwrap();
    fs::create_dir_all(dir.path().join("systems")).unwrap();
    fs::write(dir.path().join("systems/notes_metadata.json"), "{\"a\": 1}").unwrap();
    let other = dir.path().join("kv_cache/20260131_120000");
    fs::create_dir_all(&other).unwrap();
    let kv = json!({"benchmark_type": "kv_cache", "command": "run"});
    let file = other.join("kv_cache_20260131_120000_metadata.json");
    fs::write(file, kv.to_string()).unwrap();
    let checked = folder(dir.path(), V3).unwrap();
    let subjects: Vec<_> = runs(&checked).map(|a| &a.subject).collect();
    assert_eq!(subjects.len(), 1, "{subjects:?}");
    assert!(subjects[0].ends_with("run/20260131_120000"));
}

fn check_all(path: &Path) {
    for edition in [V2, V3] {
        let checked = folder(path, edition).unwrap();
        assert!(!checked.assessments.is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Bytes of a good leaf's files, changed, cut and doubled.
    #[test]
    fn damaged_leaves_never_end_the_program(
        file in 0..FILES.len(),
        edits in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in proptest::option::of(any::<prop::sample::Index>()),
        checkpoint in any::<bool>(),
    ) {
        let made = if checkpoint { Made::llama3_8b(10, 10) } else { Made::unet3d() };
        let (dir, folder) = one(&made);
        let path = match FILES[file] {
            "training_run_metadata.json" if checkpoint => folder.join("checkpointing_run_metadata.json"),
            name => folder.join(name),
        };
        let mut bytes = fs::read(&path).unwrap();
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        fs::write(&path, bytes).unwrap();
        check_all(&folder);
        check_all(dir.path());
    }
}
