//! parquet: pyarrow judges what is written, what pyarrow writes trains here, and what is damaged is named.

use std::path::Path;
use std::process::Command;

use crate::support::*;

/// Every dtype of the documentation, as (name, dtype, size).
const COLUMNS: [(&str, &str, u64); 19] = [
    ("label", "float32", 1),
    ("i8", "int8", 1),
    ("i16", "int16", 1),
    ("i32", "int32", 1),
    ("i64", "int64", 1),
    ("u8", "uint8", 1),
    ("u16", "uint16", 1),
    ("u32", "uint32", 1),
    ("u64", "uint64", 1),
    ("f16", "float16", 1),
    ("f64", "float64", 1),
    ("text", "string", 1),
    ("bytes", "binary", 33),
    ("flag", "bool", 1),
    ("vector", "float32", 16),
    ("halves", "float16", 3),
    // Longer than a page.
    ("image", "uint8", 70_000),
    ("list", "list", 1),
    ("other", "bfloat16", 5),
];

const ROWS: u64 = 50;

/// Words for 6 files of 50 rows in row groups of 18, for training and evaluation.
fn words(scratch: &Scratch, columns: &[(&str, &str, u64)]) -> Vec<String> {
    let mut words = small(scratch, 4);
    let columns: Vec<String> = columns
        .iter()
        .map(|(name, dtype, size)| format!("{{name: {name}, dtype: {dtype}, size: {size}}}"))
        .collect();
    words.extend([
        "dataset.format=parquet".into(),
        "dataset.num_files_eval=2".into(),
        format!("dataset.num_samples_per_file={ROWS}"),
        "dataset.record_length_bytes=400".into(),
        "dataset.parquet.row_group_size=18".into(),
        format!("dataset.parquet.columns=[{}]", columns.join(",")),
        "reader.batch_size=10".into(),
        "train.computation_time=0".into(),
    ]);
    words
}

fn python_check(args: &[&str]) -> Outcome {
    let mut command = Command::new(python());
    command
        .arg(repo().join("tests/python/check_parquet.py"))
        .args(args);
    run(command)
}

fn pyarrow_confirms(scratch: &Scratch, columns: serde_json::Value, codec: &str) {
    let expect = serde_json::json!({
        "files": {"train": 4, "valid": 2}, "rows": ROWS, "row_group_size": 18, "codec": codec,
        "fill_seed": 10, "columns": columns,
    });
    std::fs::write(scratch.path("expect.json"), expect.to_string()).unwrap();
    let said = python_check(&["check", &scratch.text("data"), &scratch.text("expect.json")]).ok();
    assert!(
        said.stdout.contains("6 files are as expected"),
        "{}",
        said.stdout
    );
}

#[test]
fn pyarrow_confirms_names_types_counts_and_values() {
    for (codec, words_of_codec) in [
        ("UNCOMPRESSED", "dataset.parquet.compression=none"),
        ("SNAPPY", "dataset.parquet.compression=snappy"),
        ("GZIP", "dataset.compression=gzip"),
        ("ZSTD", "dataset.parquet.compression=zstd"),
        ("LZ4", "dataset.parquet.compression=lz4"),
    ] {
        let scratch = Scratch::new();
        let mut command = mpirun(2);
        command
            .arg("generate")
            .args(words(&scratch, &COLUMNS))
            .arg(words_of_codec);
        run(command).ok();
        let columns: Vec<_> = COLUMNS
            .iter()
            .map(|(name, dtype, size)| serde_json::json!({"name": name, "dtype": dtype, "size": size}))
            .collect();
        pyarrow_confirms(&scratch, columns.into(), codec);
    }
}

#[test]
fn without_columns_a_row_is_a_list_of_bytes() {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command.arg("generate").args(words(&scratch, &[]));
    run(command).ok();
    let columns =
        serde_json::json!([{"name": "data", "dtype": "uint8", "size": 400, "is_list": true}]);
    pyarrow_confirms(&scratch, columns, "UNCOMPRESSED");
}

/// Columns as (name, dtype, size).
type Columns = Vec<(String, &'static str, u64)>;

/// Schemas: name, columns (none: the default), rows, rows of a row group.
fn schemas() -> Vec<(&'static str, Columns, u64, u64)> {
    let named = |prefix: &str, columns: &[(&'static str, u64)]| -> Columns {
        (0..)
            .zip(columns)
            .map(|(i, &(dtype, size))| (format!("{prefix}{i}"), dtype, size))
            .collect()
    };
    let tabular: Vec<_> = (0..40)
        .map(|i| (["float16", "float32", "float64", "int8"][i % 4], 1))
        .collect();
    vec![
        ("default, 16 MiB", vec![], 4096, 1024),
        ("default, few rows", vec![], 20, 1024),
        ("features", named("feature_", &tabular), 12_288, 6144),
        (
            "embeddings",
            named(
                "e",
                &[
                    ("float32", 16),
                    ("list", 128),
                    ("float16", 3),
                    ("uint8", 70_000),
                ],
            ),
            300,
            100,
        ),
        (
            "numbers, default row group",
            named(
                "n",
                &[
                    ("float32", 1),
                    ("uint8", 1),
                    ("int8", 1),
                    ("uint16", 1),
                    ("int16", 1),
                    ("uint32", 1),
                    ("int64", 1),
                    ("uint64", 1),
                ],
            ),
            5000,
            1024,
        ),
        (
            "texts",
            named(
                "t",
                &[("string", 1), ("binary", 33), ("binary", 3000), ("bool", 1)],
            ),
            2000,
            1024,
        ),
        (
            "beyond the dictionary",
            named(
                "b",
                &[
                    ("float32", 1),
                    ("float64", 1),
                    ("string", 1),
                    ("binary", 16),
                    ("int16", 1),
                ],
            ),
            400_000,
            400_000,
        ),
    ]
}

fn expect_sizes_of_dlio(codec: &str) {
    let mut table = String::from("schema codec ours theirs ratio\n");
    let mut all_pass = true;
    for (name, columns, rows, group) in schemas() {
        let scratch = Scratch::new();
        let given: Vec<_> = columns
            .iter()
            .map(|(n, d, s)| (n.as_str(), *d, *s))
            .collect();
        let mut command = solo();
        command.arg("generate").args(words(&scratch, &given)).args([
            "dataset.num_files_train=1".to_string(),
            "dataset.num_files_eval=0".into(),
            format!("dataset.num_samples_per_file={rows}"),
            "dataset.record_length_bytes=4096".into(),
            format!("dataset.parquet.row_group_size={group}"),
            format!("dataset.parquet.compression={codec}"),
        ]);
        run(command).ok();
        let columns: Vec<_> = if columns.is_empty() {
            vec![
                serde_json::json!({"name": "data", "dtype": "uint8", "size": 4096, "is_list": true}),
            ]
        } else {
            columns
                .iter()
                .map(|(name, dtype, size)| serde_json::json!({"name": name, "dtype": dtype, "size": size}))
                .collect()
        };
        let expect = serde_json::json!({
            "name": name, "rows": rows, "row_group_size": group, "codec": codec, "columns": columns,
        });
        std::fs::write(scratch.path("expect.json"), expect.to_string()).unwrap();
        let outcome = python_check(&["sizes", &scratch.text("data"), &scratch.text("expect.json")]);
        all_pass &= outcome.status == Some(0);
        table += &outcome.text();
    }
    println!("{table}");
    assert!(all_pass, "{table}");
}

#[test]
fn files_have_the_size_of_those_that_dlio_writes() {
    expect_sizes_of_dlio("none");
}

#[test]
fn compressed_files_have_the_size_of_those_that_pyarrow_writes() {
    for codec in ["snappy", "gzip", "zstd", "lz4"] {
        expect_sizes_of_dlio(codec);
    }
}

/// Bytes of samples.
fn bytes_read(report: &Path) -> u64 {
    let report = json(report);
    let counter = |name: &str| report["counters"][name]["value"].as_u64().unwrap();
    counter("bytes_read") - counter("metadata_bytes")
}

#[test]
fn training_reads_the_bytes_of_the_wanted_chunks_and_compares_them() {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command.arg("generate").args(words(&scratch, &COLUMNS));
    run(command).ok();
    for (n, (more, columns)) in [
        (&["reader.decode=none"][..], &[][..]),
        (&["reader.decode=verify", "storage.storage_type=mmap"], &[]),
        (&["reader.decode=full"], &[]),
        (
            &[
                "reader.decode=full",
                "storage.storage_options.columns=[image,label,flag]",
            ],
            &["image", "label", "flag"],
        ),
    ]
    .iter()
    .enumerate()
    {
        let out = scratch.path(&format!("out{n}"));
        let mut command = mpirun(2);
        command.args(words(&scratch, &COLUMNS)).args(*more);
        command.args(["workflow.generate_data=false", "reader.verify_content=full"]);
        command.arg("--output").arg(&out);
        run(command).ok();
        let data = scratch.text("data");
        let args: Vec<&str> = ["extents", data.as_str()]
            .iter()
            .chain(*columns)
            .copied()
            .collect();
        let chunks: u64 = python_check(&args).ok().stdout.trim().parse().unwrap();
        // Two epochs of all row groups, each once.
        assert_eq!(bytes_read(&out.join("report.json")), 2 * chunks, "{more:?}");
    }
}

#[test]
fn files_of_pyarrow_train_under_every_decode() {
    let scratch = Scratch::new();
    let data = scratch.text("data");
    python_check(&["write", &data, "2000"]).ok();
    let chunks: u64 = python_check(&["extents", &data])
        .ok()
        .stdout
        .trim()
        .parse()
        .unwrap();
    let foreign = |more: &[&str], out: &str| {
        let mut command = mpirun(2);
        command.args(words(&scratch, &[])).args([
            "workflow.generate_data=false",
            "dataset.num_files_train=8",
            "dataset.num_files_eval=0",
            "dataset.num_samples_per_file=2000",
        ]);
        command.args(more).arg("--output").arg(scratch.path(out));
        run(command)
    };
    for decode in ["none", "verify", "full"] {
        foreign(&[&format!("reader.decode={decode}")], decode).ok();
        let read = bytes_read(&scratch.path(decode).join("report.json"));
        assert_eq!(read, 2 * chunks, "{decode}");
    }
    let file = scratch.path("data/train/img_3_of_8.parquet");
    std::fs::copy(scratch.path("data/brotli.parquet"), file).unwrap();
    // Only decoding needs the codec.
    foreign(&["reader.decode=verify"], "brotli").ok();
    foreign(&["reader.decode=full"], "brotli-full").fails(
        1,
        &["img_3_of_8.parquet", "codec 4 (brotli) is not supported"],
    );
}

#[test]
fn damaged_files_are_named() {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command.arg("generate").args(words(&scratch, &COLUMNS[..4]));
    run(command).ok();
    let file = scratch.path("data/train/img_1_of_4.parquet");
    let whole = std::fs::read(&file).unwrap();
    let fails = |bytes: &[u8], more: &[&str], said: &[&str]| {
        std::fs::write(&file, bytes).unwrap();
        let mut command = mpirun(2);
        command
            .args(words(&scratch, &COLUMNS[..4]))
            .arg("workflow.generate_data=false")
            .args(more);
        let said: Vec<&str> = ["img_1_of_4.parquet"].iter().chain(said).copied().collect();
        run(command).fails(1, &said);
        assert!(!scratch.path("out/summary.json").exists());
    };
    let end = whole.len();
    for len in [0, 1, 11] {
        fails(
            &whole[..len],
            &[],
            &[&format!("truncated: {len} bytes where 12 were expected")],
        );
    }
    for len in [end / 2, end - 1] {
        fails(
            &whole[..len],
            &[],
            &["truncated", "where PAR1 belongs", "remedy"],
        );
    }
    let changed = |at: usize, to: &[u8]| {
        let mut bytes = whole.clone();
        bytes[at..at + to.len()].copy_from_slice(to);
        bytes
    };
    fails(&changed(0, b"X"), &[], &["wrong magic: [58, 41, 52, 31]"]);
    fails(
        &changed(end - 8, &[0xff; 4]),
        &[],
        &["its footer is damaged: it announces 4294967295 bytes"],
    );
    // Within the 72 bytes of values of the first dictionary, behind its header.
    let flipped = changed(60, &[whole[60] ^ 1]);
    for decode in ["reader.decode=verify", "reader.decode=full"] {
        fails(
            &flipped,
            &[decode],
            &["checksum of a page of column label in row group 0 differs"],
        );
    }
    fails(
        &flipped,
        &["reader.decode=none", "reader.verify_content=full"],
        &["contents of sample", "differ from what was generated"],
    );
    fails(
        &whole,
        &["storage.storage_options.columns=[label,nose]"],
        &["names nose, which it has not; its columns are label, i8"],
    );
}

#[test]
fn partitions_are_refused() {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command
        .arg("generate")
        .args(words(&scratch, &COLUMNS))
        .arg("dataset.parquet.partition_by=label");
    run(command).fails(2, &["dataset.parquet.partition_by=label is not possible"]);
}
