//! Every format: other libraries open what is generated, and it trains on every kind of local storage.

use std::process::Command;

use crate::support::*;

/// One workload: override words, and what they mean for the Python side.
struct Case {
    format: &'static str,
    words: &'static [&'static str],
    json: serde_json::Value,
    /// Bytes that one epoch with evaluation reads; None: the files' own sizes.
    read: Option<u64>,
}

const TRAIN: u64 = 6;
const VALID: u64 = 2;

fn case(
    format: &'static str,
    words: &'static [&'static str],
    json: serde_json::Value,
    read: Option<u64>,
) -> Case {
    Case {
        format,
        words,
        json,
        read,
    }
}

macro_rules! json {
    ($($t:tt)*) => { serde_json::json!({ $($t)* }) };
}

/// Words for samples of 40 x 50, three to a file.
const SMALL: &str = "dataset.record_dims=[40,50]";
const THREE: &str = "dataset.num_samples_per_file=3";

fn cases() -> Vec<Case> {
    let payload = (TRAIN + VALID) * 3 * 2000;
    vec![
        case("npz", &[SMALL, THREE], json!(), None),
        case(
            "npz",
            &[SMALL, "dataset.compression=zip"],
            json!("samples": 1, "compression": "zip"),
            None,
        ),
        case(
            "npy",
            &[SMALL, THREE, "dataset.record_element_type=float64"],
            json!("dtype": "float64"),
            None,
        ),
        case("hdf5", &[SMALL, THREE], json!(), Some(payload)),
        case(
            "hdf5",
            &[
                SMALL,
                THREE,
                "dataset.record_element_type=float16",
                "dataset.hdf5.num_dset_per_record=2",
            ],
            json!("dtype": "float16", "datasets": 2),
            Some(2 * payload),
        ),
        case(
            "hdf5",
            &[
                SMALL,
                THREE,
                "dataset.hdf5.chunk_dims=[1,20,25]",
                "dataset.hdf5.max_shape=[80,90]",
            ],
            json!("chunk": [1, 20, 25], "max_shape": [80, 90]),
            Some(payload),
        ),
        case(
            "hdf5",
            &[
                SMALL,
                THREE,
                "dataset.record_element_type=complex64",
                "dataset.compression=gzip",
            ],
            json!("dtype": "complex64", "compression": "gzip"),
            Some(0),
        ),
        case(
            "hdf5",
            &[SMALL, THREE, "dataset.compression=lzf"],
            json!("compression": "lzf"),
            Some(0),
        ),
        case("tfrecord", &[SMALL, THREE], json!(), None),
        case("csv", &[SMALL, THREE], json!(), None),
        case(
            "csv",
            &[
                SMALL,
                THREE,
                "dataset.record_element_type=float32",
                "dataset.compression=gzip",
            ],
            json!("dtype": "float32", "compression": "gzip"),
            None,
        ),
        case(
            "csv",
            &[
                SMALL,
                THREE,
                "dataset.record_element_type=float64",
                "dataset.compression=xz",
            ],
            json!("dtype": "float64", "compression": "xz"),
            None,
        ),
        case(
            "csv",
            &[
                SMALL,
                THREE,
                "dataset.record_element_type=int16",
                "dataset.compression=bz2",
            ],
            json!("dtype": "int16", "compression": "bz2"),
            None,
        ),
        case(
            "csv",
            &[
                SMALL,
                THREE,
                "dataset.record_element_type=float16",
                "dataset.compression=zip",
            ],
            json!("dtype": "float16", "compression": "zip"),
            None,
        ),
        case(
            "jpeg",
            &["dataset.record_dims=[338,131]"],
            json!("dims": [338, 131], "samples": 1),
            None,
        ),
        case(
            "jpeg",
            &["dataset.record_dims=[61,70,3]"],
            json!("dims": [61, 70, 3], "samples": 1),
            None,
        ),
        case(
            "jpeg",
            &[SMALL, "dataset.image_encoding=raw"],
            json!("samples": 1, "raw": true),
            None,
        ),
        case(
            "png",
            &["dataset.record_dims=[338,431]"],
            json!("dims": [338, 431], "samples": 1),
            None,
        ),
        case(
            "png",
            &["dataset.record_dims=[61,70,3]"],
            json!("dims": [61, 70, 3], "samples": 1),
            None,
        ),
        case("indexed_binary", &[SMALL, THREE], json!(), Some(payload)),
        case(
            "mmap_indexed_binary",
            &[SMALL, THREE],
            json!(),
            Some(payload),
        ),
        case("synthetic", &[SMALL, THREE], json!(), Some(0)),
    ]
}

/// Bytes of all files of this format.
fn bytes_on_disk(scratch: &Scratch, format: &str) -> u64 {
    ["data/train", "data/valid"]
        .iter()
        .flat_map(|folder| std::fs::read_dir(scratch.path(folder)).unwrap())
        .map(|e| e.unwrap())
        .filter(|e| e.path().extension().is_some_and(|x| x == format))
        .map(|e| e.metadata().unwrap().len())
        .sum()
}

fn words(scratch: &Scratch, case: &Case) -> Vec<String> {
    let mut words = small(scratch, TRAIN);
    words.extend([
        format!("dataset.format={}", case.format),
        format!("dataset.num_files_eval={VALID}"),
        "dataset.record_length_bytes=2000".into(),
        "train.epochs=1".into(),
        "reader.batch_size=1".into(),
    ]);
    words.extend(case.words.iter().map(|w| w.to_string()));
    words
}

/// Generates, lets Python judge, then trains through posix, mmap and O_DIRECT with everything verified.
fn check(case: &Case) {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command.arg("generate").args(words(&scratch, case));
    run(command).ok();

    let mut spec = json!(
        "format": case.format, "dims": [40, 50], "samples": 3, "dtype": "uint8",
        "train": TRAIN, "valid": VALID, "seed": 10
    );
    for (key, value) in case.json.as_object().unwrap() {
        spec[key] = value.clone();
    }
    let mut python = Command::new(python());
    python
        .arg(repo().join("tests/python/check_formats.py"))
        .arg(scratch.path("data"))
        .arg(spec.to_string());
    let said = run(python).ok().stdout;
    assert_eq!(
        said.trim(),
        format!("{} files", TRAIN + VALID),
        "{} {:?}",
        case.format,
        case.words
    );

    for storage in ["local_fs", "mmap", "direct_fs"] {
        for decode in ["verify", "full"] {
            let out = format!("out-{storage}-{decode}");
            let mut command = mpirun(2);
            command.arg("run").args(words(&scratch, case)).args([
                format!("storage.storage_type={storage}"),
                "workflow.generate_data=false".into(),
                "workflow.evaluation=true".into(),
                format!("reader.decode={decode}"),
                "reader.verify_content=full".into(),
                format!("output.folder={}", scratch.text(&out)),
            ]);
            run(command).ok();
            let report = json(&scratch.path(&format!("{out}/report.json")));
            let counter = |name: &str| report["counters"][name]["value"].as_u64().unwrap();
            let read = counter("bytes_read") - counter("metadata_bytes");
            let samples = spec["samples"].as_u64().unwrap();
            match case.read {
                // Whole files, once for each of their samples.
                None if case.format == "tfrecord" => {
                    assert_eq!(
                        read,
                        bytes_on_disk(&scratch, case.format),
                        "{storage} {spec}"
                    );
                }
                None => {
                    let whole = bytes_on_disk(&scratch, case.format) * samples;
                    assert_eq!(read, whole, "{storage} {spec}");
                }
                // Compressed chunks: what they take is the library's business, less than the files.
                Some(0) if case.format == "hdf5" => {
                    assert!(read > 0 && read < bytes_on_disk(&scratch, case.format) * samples);
                }
                Some(bytes) => assert_eq!(read, bytes, "{storage} {spec}"),
            }
        }
    }
}

/// A damaged file ends the run with its name and the cause, whatever the format.
#[test]
fn damage_is_named_in_every_format() {
    for (format, truncated, altered) in [
        ("npz", "truncated", "checksum"),
        ("npy", "truncated", "differ from what was generated"),
        ("hdf5", "truncated", "differ from what was generated"),
        ("tfrecord", "end", "checksum of record"),
        ("csv", "", "differ from what was generated"),
        ("jpeg", "truncated", "differ from what was generated"),
        ("png", "truncated", "checksum of chunk IDAT"),
        (
            "indexed_binary",
            "its index places sample",
            "differ from what was generated",
        ),
        (
            "mmap_indexed_binary",
            "its index places sample",
            "differ from what was generated",
        ),
        ("parquet", "", "checksum"),
    ] {
        let case = case(format, &[SMALL, THREE], json!(), None);
        let scratch = Scratch::new();
        let mut command = solo();
        command.arg("generate").args(words(&scratch, &case));
        run(command).ok();
        let path = scratch.path(&format!("data/train/img_4_of_6.{format}"));
        let whole = std::fs::read(&path).unwrap();
        let train = || {
            let mut command = mpirun(2);
            command
                .arg("run")
                .args(words(&scratch, &case))
                .args(["workflow.generate_data=false", "reader.verify_content=full"]);
            run(command)
        };
        let name = format!("img_4_of_6.{format}");
        std::fs::write(&path, &whole[..whole.len() * 2 / 3]).unwrap();
        // Where all files of a dataset have one length, that comes first.
        let short = train().fails(1, &[&name, "remedy"]);
        let said = short.text();
        let is_named = said.contains(truncated) || said.contains("was changed or replaced");
        assert!(is_named, "{said}");
        let mut altered_bytes = whole.clone();
        // A digit of a csv stays one: its structure is as before.
        let is_sample = |&at: &usize| format != "csv" || whole[at].is_ascii_digit();
        let at = (whole.len() / 2..).find(is_sample).unwrap();
        altered_bytes[at] ^= 1;
        std::fs::write(&path, altered_bytes).unwrap();
        train().fails(1, &[&name, altered]);
        std::fs::write(&path, b"").unwrap();
        train().fails(1, &[&name]);
        std::fs::write(&path, &whole).unwrap();
        train().ok();
    }
}

/// Contents can only be compared with what the same options would make.
#[test]
fn comparing_contents_of_another_layout_is_refused() {
    let case = case("csv", &[SMALL, "dataset.compression=gzip"], json!(), None);
    let scratch = Scratch::new();
    let mut command = solo();
    command.arg("generate").args(words(&scratch, &case));
    run(command).ok();
    let train = |word: &str| {
        let mut command = solo();
        command.arg("run").args(words(&scratch, &case)).args([
            "workflow.generate_data=false",
            "dataset.compression=none",
            word,
        ]);
        run(command)
    };
    train("reader.verify_content=off").ok();
    std::fs::remove_dir_all(scratch.path("out")).unwrap();
    train("reader.verify_content=sampled").fails(1, &["other settings", "layout", "gzip"]);
}

macro_rules! formats {
    ($($name:ident: $format:literal,)*) => {
        $(#[test]
        fn $name() {
            let all = cases();
            let mine: Vec<_> = all.iter().filter(|c| c.format == $format).collect();
            assert!(!mine.is_empty());
            for case in mine {
                check(case);
            }
        })*
    };
}

formats! {
    npz: "npz",
    npy: "npy",
    hdf5: "hdf5",
    tfrecord: "tfrecord",
    csv: "csv",
    jpeg: "jpeg",
    png: "png",
    indexed_binary: "indexed_binary",
    mmap_indexed_binary: "mmap_indexed_binary",
    synthetic: "synthetic",
}
