//! Files of other writers train here, fully decoded, or are refused with what is not supported.

use std::process::Command;

use crate::support::*;

/// Case of write_foreign.py, samples per file, and the words of the refusal (none: it trains).
type Case = (&'static str, u64, &'static [&'static str]);

const CASES: &[Case] = &[
    ("npz/compressed", 4, &[]),
    ("npz/fortran", 4, &[]),
    ("npz/objects", 4, &["elements of type |O"]),
    ("npz/other_names", 4, &["x"]),
    ("npy/fortran", 4, &[]),
    ("npy/big_endian", 4, &[]),
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
    ("csv/header", 4, &["5 rows", "header row"]),
    ("jpeg/grey", 1, &[]),
    ("jpeg/baseline", 1, &[]),
    ("jpeg/progressive", 1, &[]),
    ("png/interlaced", 1, &[]),
    ("png/palette", 1, &[]),
    ("png/sixteen_bits", 1, &[]),
    ("tfrecord/features", 4, &[]),
    ("tfrecord/gzip", 4, &["tfrecord", "1f, 8b"]),
    ("tfrecord/other_messages", 4, &["no tf.train.Example"]),
    ("indexed_binary/sizes", 4, &[]),
    (
        "indexed_binary/restarting",
        4,
        &["within the sample before"],
    ),
];

fn check(format: &str) {
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
                // Far more than these files hold: the nominal size says nothing of files of other writers.
                "dataset.record_length_bytes=1e8".into(),
                format!("framework={loader}"),
                format!("reader.data_loader={loader}"),
                "reader.batch_size=1".into(),
                "reader.decode=full".into(),
                "workflow.generate_data=false".into(),
                "train.epochs=1".into(),
                format!("output.folder={}", scratch.text(&out)),
            ]);
            if format == "csv" {
                command.arg("dataset.record_dims=[60]");
            }
            let outcome = run(command);
            if refusal.is_empty() {
                assert_eq!(outcome.status, Some(0), "{case}: {}", outcome.text());
                let report = json(&scratch.path(&format!("{out}/report.json")));
                let read = report["counters"]["bytes_read"]["value"].as_u64().unwrap();
                assert!(read > 0, "{case}");
            } else {
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
            check(stringify!($name));
        })*
    };
}

formats! { npz npy hdf5 csv jpeg png tfrecord indexed_binary }
