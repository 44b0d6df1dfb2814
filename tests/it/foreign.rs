//! Files of other writers train here, fully decoded, or are refused with what is not supported.

use std::process::Command;

use crate::support::*;

/// Case of write_foreign.py, samples per file, and the words of the refusal (none: it trains).
type Case = (&'static str, u64, &'static [&'static str]);

const CASES: &[Case] = &[
    ("npz/compressed", 4, &[]),
    ("npz/fortran", 4, &[]),
    ("npz/objects", 4, &["elements of type |O"]),
    ("npz/other_names", 4, &["has no array x"]),
    ("npz/more_samples", 4, &[]),
    ("npz/times", 4, &[]),
    (
        "npz/records",
        4,
        &["elements of type record", "not supported"],
    ),
    ("npz/streamed", 4, &[]),
    ("npz/bzip2", 4, &["not supported"]),
    ("npy/fortran", 4, &[]),
    ("npy/big_endian", 4, &[]),
    ("npy/scalar_types", 4, &[]),
    ("npy/two_arrays", 4, &[]),
    ("npy/version_2", 4, &[]),
    ("npy/zstd", 4, &["compressed as a whole (zstd)"]),
    ("hdf5/old", 4, &[]),
    ("hdf5/gzip", 4, &[]),
    ("hdf5/everything", 4, &[]),
    ("hdf5/lzf", 4, &[]),
    ("hdf5/growing", 4, &[]),
    ("hdf5/user_block", 4, &[]),
    ("hdf5/user_block_chunked", 4, &[]),
    (
        "hdf5/external",
        4,
        &["stored outside of the file", ".raw", "not supported"],
    ),
    (
        "hdf5/scaleoffset",
        4,
        &["ScaleOffset", "gzip, lzf, shuffle"],
    ),
    (
        "hdf5/other_names",
        4,
        &["no dataset records_0", "images, labels"],
    ),
    ("csv/plain", 4, &[]),
    ("csv/savetxt", 4, &[]),
    ("csv/gzip", 4, &[]),
    ("csv/bz2", 4, &[]),
    ("csv/zip", 4, &[]),
    ("csv/xz", 4, &[]),
    ("csv/no_last_line_end", 4, &[]),
    ("csv/blank_lines", 4, &[]),
    ("csv/byte_order_mark", 4, &[]),
    ("csv/windows", 4, &[]),
    ("csv/polars", 4, &[]),
    ("csv/duckdb", 4, &[]),
    ("csv/words", 4, &["cell 1 of row 0 is no number", "word"]),
    ("csv/header", 4, &["5 rows", "header row"]),
    ("jpeg/grey", 1, &[]),
    ("jpeg/baseline", 1, &[]),
    ("jpeg/progressive", 1, &[]),
    ("jpeg/cmyk", 1, &[]),
    ("jpeg/appended", 1, &[]),
    ("jpeg/large", 1, &[]),
    ("jpeg/bare", 1, &[]),
    ("png/interlaced", 1, &[]),
    ("png/palette", 1, &[]),
    ("png/sixteen_bits", 1, &[]),
    ("png/one_bit", 1, &[]),
    ("png/alpha", 1, &[]),
    ("png/bare", 1, &[]),
    ("tfrecord/features", 4, &[]),
    (
        "tfrecord/gzip",
        4,
        &["compressed as a whole (gzip), which is not supported"],
    ),
    ("tfrecord/more", 4, &[]),
    (
        "tfrecord/fewer",
        4,
        &["3", "dataset.num_samples_per_file=4"],
    ),
    (
        "tfrecord/third_is_damaged",
        4,
        &["checksum of record 2 at byte"],
    ),
    ("tfrecord/other_messages", 4, &["no tf.train.Example"]),
    ("parquet/polars", 4, &[]),
    ("parquet/duckdb", 4, &[]),
    ("parquet/zstd", 4, &[]),
    (
        "parquet/brotli",
        4,
        &["codec 4 (brotli) is not supported", "reader.decode=none"],
    ),
    ("parquet/empty_groups", 4, &[]),
    ("parquet/more_rows", 4, &[]),
    (
        "parquet/fewer_rows",
        4,
        &["it holds 3 samples, fewer than dataset.num_samples_per_file=4"],
    ),
    ("parquet/no_rows", 4, &["it holds 0 samples"]),
    ("parquet/without_statistics", 4, &[]),
    ("parquet/nulls", 4, &[]),
    ("indexed_binary/sizes", 4, &[]),
    (
        "indexed_binary/restarting",
        4,
        &["within the sample before"],
    ),
];

fn files_of_others_train_or_are_refused(format: &str) {
    let cases = CASES
        .iter()
        .filter(|(case, ..)| case.split('/').next() == Some(format));
    let mut count = 0;
    for (case, samples, refusal) in cases {
        count += 1;
        let scratch = Scratch::new();
        let mut python = Command::new(python());
        python
            .arg(repo().join("tests/python/write_foreign.py"))
            .arg(scratch.path("data"))
            .arg(case);
        run(python).ok();
        // Sample by sample in any order, and file by file.
        for loader in ["pytorch", "tensorflow"] {
            let out = format!("out-{loader}");
            let mut command = solo();
            command.arg("run").args(small(&scratch, 2)).args([
                format!("dataset.format={format}"),
                format!("dataset.num_samples_per_file={samples}"),
                // Far from what the files hold: nominal sizes count for files of our own only.
                "dataset.record_length_bytes=9216".into(),
                format!("framework={loader}"),
                format!("reader.data_loader={loader}"),
                "reader.batch_size=1".into(),
                "reader.decode=full".into(),
                "workflow.generate_data=false".into(),
                "train.epochs=1".into(),
                format!("output.folder={}", scratch.text(&out)),
            ]);
            let outcome = run(command);
            if refusal.is_empty() {
                assert_eq!(outcome.status, Some(0), "{case}: {}", outcome.text());
                let report = json(&scratch.path(&format!("{out}/report.json")));
                let read = report["counters"]["bytes_read"]["value"].as_u64().unwrap();
                assert!(read > 0, "{case}");
                let is_bare = case.ends_with("/bare");
                let said = outcome.text().matches("hold bare bytes").count();
                assert_eq!(said > 0, is_bare, "{case}: {}", outcome.text());
                let text = outcome.text();
                let would_make = text.split_once("the workload's samples would make ");
                let would_make = would_make.map(|(_, rest)| rest.split(';').next().unwrap());
                if is_bare {
                    assert_eq!(would_make, None, "{case}: they are of the planned size");
                } else if matches!(format, "jpeg" | "png" | "parquet") {
                    let sum = 2 * samples * 9216;
                    let is_right = |n: &str| n == sum.to_string();
                    assert!(would_make.is_none_or(is_right), "{case}: {text}");
                }
            } else {
                // What is not supported, or of another shape, is not called damaged.
                let is_damaged = case.ends_with("_is_damaged");
                assert_eq!(
                    outcome.text().contains("the file is damaged"),
                    is_damaged,
                    "{}",
                    outcome.text()
                );
                let name = format!("_of_2.{format}");
                outcome.fails(1, &[refusal, &[name.as_str()][..]].concat());
            }
        }
    }
    assert!(count > 1, "{format}");
}

macro_rules! formats {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            files_of_others_train_or_are_refused(stringify!($name));
        })*
    };
}

formats! { npz npy hdf5 csv jpeg png tfrecord parquet indexed_binary }

/// What only decoding sees does not hinder the lower levels, and no remedy names a level that would fail the same.
#[test]
fn levels_that_need_less_pass_what_others_refuse() {
    for (case, level, refusal) in [
        ("parquet/brotli", "none", None),
        ("parquet/brotli", "verify", None),
        ("npz/bzip2", "none", None),
        ("npz/streamed", "verify", Some("set reader.decode=full")),
        ("npz/objects", "none", None),
        ("tfrecord/other_messages", "verify", None),
        ("tfrecord/third_is_damaged", "none", None),
    ] {
        let scratch = Scratch::new();
        let mut python = Command::new(python());
        python
            .arg(repo().join("tests/python/write_foreign.py"))
            .arg(scratch.path("data"))
            .arg(case);
        run(python).ok();
        let format = case.split('/').next().unwrap();
        let mut command = solo();
        command.arg("run").args(small(&scratch, 2)).args([
            format!("dataset.format={format}"),
            "dataset.num_samples_per_file=4".into(),
            format!("reader.decode={level}"),
            "workflow.generate_data=false".into(),
            "train.epochs=1".into(),
        ]);
        let outcome = run(command);
        match refusal {
            None => assert_eq!(
                outcome.status,
                Some(0),
                "{case} {level}: {}",
                outcome.text()
            ),
            Some(words) => {
                outcome.fails(1, &[words]);
            }
        }
    }
}

/// A remedy for metadata that is damaged cannot be to look at less.
#[test]
fn damaged_metadata_has_no_remedy_in_decoding_less() {
    let scratch = Scratch::new();
    let mut command = solo();
    command
        .arg("generate")
        .args(small(&scratch, 2))
        .args(["dataset.format=parquet", "dataset.record_length_bytes=400"]);
    run(command).ok();
    let file = scratch.path("data/train/img_0_of_2.parquet");
    let whole = std::fs::read(&file).unwrap();
    std::fs::write(&file, &whole[..whole.len() - 5]).unwrap();
    for decode in ["none", "full"] {
        let mut command = solo();
        command.arg("run").args(small(&scratch, 2)).args([
            "dataset.format=parquet".to_string(),
            "dataset.record_length_bytes=400".into(),
            format!("reader.decode={decode}"),
            "workflow.generate_data=false".into(),
        ]);
        let outcome = run(command);
        assert!(
            !outcome.text().contains("reader.decode"),
            "{}",
            outcome.text()
        );
        outcome.fails(
            1,
            &[
                "truncated",
                "the file is damaged: generate or copy it again",
            ],
        );
    }
}
