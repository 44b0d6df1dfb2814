//! Datasets that dlio-rs did not name: `dataset.listing` reads their names, and order and shards run over them.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::servers::{BUCKET, Seaweed};
use crate::support::*;

/// Names of a dataset as people make them; each is a training file.
fn names() -> Vec<String> {
    let mut names: Vec<String> = (0..23).map(|i| format!("train/shard {i}/x.npz")).collect();
    names.extend((0..9).map(|i| format!("train/b/c/d-{}.npz", i * 7919 % 100)));
    names.extend(
        [
            "z.npz",
            "quo\"te.npz",
            "a.npz",
            "Z.NPZ",
            "a-.npz",
            "a/0.npz",
            "ü/é.npz",
            "b.xnpz",
        ]
        .map(|name| format!("train/{name}")),
    );
    names
}

/// Files beside them that are none of the dataset's.
const OTHERS: [&str; 4] = [
    "train/README.txt",
    "train/x.npz.json",
    "valid/v.npz",
    "w.npz",
];

fn words(c: &Case, folder: &str) -> Vec<String> {
    vec![
        "workload=quickstart".into(),
        "dataset.listing=true".into(),
        format!("framework={}", c.loader),
        format!("reader.data_loader={}", c.loader),
        format!("dataset.data_folder={folder}"),
        format!("dataset.num_files_train={}", c.files),
        "dataset.num_files_eval=0".into(),
        "workflow.evaluation=false".into(),
        "reader.batch_size=2".into(),
        "reader.read_threads=3".into(),
        "train.seed=77".into(),
        "train.seed_change_epoch=true".into(),
        "train.epochs=2".into(),
    ]
}

struct Case {
    loader: &'static str,
    ranks: u64,
    files: usize,
}

fn planned(c: &Case, folder: &str, more: &[String]) -> String {
    let mut command = solo();
    command
        .args(["plan", "--order", "--ranks", &c.ranks.to_string()])
        .args(words(c, folder))
        .args(["reader.file_shuffle=seed", "reader.sample_shuffle=seed"])
        .args(more);
    run(command).ok().stdout
}

fn reference(c: &Case) -> String {
    let input = serde_json::json!({
        "files": c.files, "samples_per_file": 1, "batch": 2, "ranks": c.ranks, "epochs": 2, "threads": 3,
        "loader": c.loader, "file_shuffle": true, "sample_shuffle": true, "seed": 77, "seed_change_epoch": true,
        "subfolders": 0, "prefix": "", "format": "npz", "listed": names(),
    });
    let mut child = Command::new(python())
        .arg(repo().join("tests/python/order_reference.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let text = input.to_string();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    finish(child, 60).ok().stdout
}

#[test]
fn order_over_foreign_names_is_dlios() {
    let scratch = Scratch::new();
    let server = Seaweed::shared();
    let store = server.storage("listed");
    for name in names().iter().map(String::as_str).chain(OTHERS) {
        let path = scratch.path("data").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, b"x").unwrap();
        let mut writer = store
            .create(Path::new(&format!("s3://{BUCKET}/listed/{name}")))
            .unwrap();
        writer.write(b"x").unwrap();
        writer.finish().unwrap();
    }
    let all = names().len();
    for case in [
        Case {
            loader: "pytorch",
            ranks: 1,
            files: all,
        },
        Case {
            loader: "pytorch",
            ranks: 3,
            files: all,
        },
        Case {
            loader: "tensorflow",
            ranks: 2,
            files: all - 7,
        },
    ] {
        let theirs = reference(&case);
        assert!(theirs.lines().count() >= 30, "{theirs}");
        let on_files = planned(&case, &scratch.text("data"), &[]);
        assert_eq!(on_files, theirs, "{} {}", case.loader, case.ranks);
        let on_s3 = planned(&case, &format!("s3://{BUCKET}/listed"), &server.words());
        assert_eq!(on_s3, theirs, "{} {}", case.loader, case.ranks);
    }
}

/// A dataset under names of this program, renamed.
fn renamed(scratch: &Scratch, count: u64) {
    let mut command = solo();
    command.arg("run").args(small(scratch, count)).args([
        "workflow.generate_data=true",
        "workflow.train=false",
        "--quiet",
    ]);
    run(command).ok();
    let train = scratch.path("data/train");
    let mut files: Vec<_> = std::fs::read_dir(&train)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    assert_eq!(files.len() as u64, count);
    for (i, file) in files.iter().enumerate() {
        let folder = train.join(format!("day {}", i % 3));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::rename(file, folder.join(format!("event-{}.npz", i * 31 % 100))).unwrap();
    }
    std::fs::remove_file(scratch.path("data/.dlio-rs-manifest.json")).unwrap();
}

/// Leaves its results in `out`, which goes away before.
fn train(scratch: &Scratch, ranks: usize, files: u64, more: &[&str]) -> Outcome {
    let _ = std::fs::remove_dir_all(scratch.path("out"));
    let mut command = mpirun(ranks);
    command
        .arg("run")
        .args(small(scratch, files))
        .args(["dataset.listing=true", "workflow.generate_data=false"])
        .args(more);
    run(command)
}

#[test]
fn foreign_names_train_and_a_file_keeps_them() {
    let scratch = Scratch::new();
    renamed(&scratch, 12);
    let list = format!("dataset.listing_file={}", scratch.text("names.txt"));
    let outcome = train(&scratch, 2, 8, &[&list]).ok();
    assert!(
        outcome.text().contains("12 training files"),
        "{}",
        outcome.text()
    );
    let report = json(&scratch.path("out/report.json"));
    assert_eq!(
        report["counters"]["samples"]["value"], 16,
        "8 files, two epochs"
    );
    let kept = std::fs::read_to_string(scratch.path("names.txt")).unwrap();
    let lines: Vec<_> = kept.lines().skip(1).collect();
    assert_eq!(lines.len(), 12);
    assert!(lines.is_sorted(), "{kept}");

    // A file that comes later is not in the list, one that went is missed by name.
    std::fs::write(scratch.path("data/train/aaa.npz"), "later").unwrap();
    train(&scratch, 2, 12, &[&list]).ok();
    train(&scratch, 2, 13, &[&list]).fails(
        1,
        &["12 files end with npz", "dataset.num_files_train is 13"],
    );
    std::fs::remove_file(scratch.path("data/train").join(&lines[0]["train/".len()..])).unwrap();
    train(&scratch, 2, 12, &[&list]).fails(1, &[lines[0]]);

    // The list of another dataset is refused.
    let mut other = kept.replacen("npz", "hdf5", 1);
    std::fs::write(scratch.path("names.txt"), &other).unwrap();
    train(&scratch, 1, 8, &[&list]).fails(1, &["names.txt", "its first line"]);
    other = kept.replacen("train/", "test/", 1);
    std::fs::write(scratch.path("names.txt"), &other).unwrap();
    train(&scratch, 1, 8, &[&list]).fails(1, &["names.txt", "below neither split"]);
}

#[test]
fn too_few_files_and_no_folder_are_named() {
    let scratch = Scratch::new();
    renamed(&scratch, 4);
    train(&scratch, 2, 5, &[]).fails(1, &["4 files end with npz", "dataset.num_files_train to 4"]);
    train(&scratch, 1, 4, &["dataset.format=hdf5"])
        .fails(1, &["0 files end with hdf5 or HDF5 or .h5"]);
    train(&scratch, 1, 4, &["dataset.skip_listing=true"])
        .fails(2, &["contradicts dataset.skip_listing"]);
    train(&scratch, 1, 4, &["reader.verify_content=full"])
        .fails(2, &["reader.verify_content compares nothing"]);
    std::fs::remove_dir_all(scratch.path("data/train")).unwrap();
    train(&scratch, 2, 4, &[]).fails(1, &["data/train", "does not exist"]);
}
