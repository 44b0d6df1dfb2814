//! `dlio-rs inspect`.

use std::path::Path;

use crate::servers::{BUCKET, Seaweed};
use crate::support::*;

fn inspect(path: &std::path::Path) -> Outcome {
    let mut command = solo();
    command.arg("inspect").arg(path);
    run(command)
}

fn generate(scratch: &Scratch, format: &str) {
    let mut command = solo();
    command.arg("generate").args(small(scratch, 2)).args([
        format!("dataset.format={format}"),
        "dataset.record_dims=[30,50]".into(),
        "dataset.num_samples_per_file=3".into(),
    ]);
    run(command).ok();
}

#[test]
fn every_format_is_described_and_checked() {
    for (format, words) in [
        (
            "npz",
            &[
                "samples: 3",
                "x: shape [30, 50, 3], dtype |u1",
                "y: shape [3]",
            ][..],
        ),
        ("npy", &["shape [30, 50, 3]", "sample 0: the whole file"]),
        (
            "hdf5",
            &[
                "records_0: shape [3, 30, 50]",
                "labels: shape [3]",
                "sample 0: 1500 bytes at",
            ],
        ),
        // 1500 bytes of image, 38 around it, 16 of framing.
        (
            "tfrecord",
            &["3 records, 1554 bytes each", "sample 0: 1554 bytes at 0"],
        ),
        ("csv", &["3 rows of 1500 numbers"]),
        (
            "jpeg",
            &["image of 50 x 30 pixels", "1 components, sequential"],
        ),
        ("png", &["image of 50 x 30 pixels, 8 bits"]),
        (
            "indexed_binary",
            &["3 samples of 1500 bytes", "sample 0: 1500 bytes at 0"],
        ),
        ("mmap_indexed_binary", &["3 samples of 1500 bytes"]),
        ("synthetic", &["file number 1"]),
        ("parquet", &["samples: 3", "data"]),
    ] {
        let scratch = Scratch::new();
        generate(&scratch, format);
        let path = scratch.path(&format!("data/train/img_1_of_2.{format}"));
        let said = inspect(&path).ok().stdout;
        for word in words {
            assert!(
                said.contains(word),
                "{format}: '{word}' is missing in\n{said}"
            );
        }
        assert!(
            said.contains("verify: passed") && said.contains("full: passed"),
            "{said}"
        );
    }
}

#[test]
fn damage_and_unknown_files_are_named() {
    let scratch = Scratch::new();
    generate(&scratch, "png");
    let path = scratch.path("data/train/img_1_of_2.png");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[500] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    inspect(&path).fails(
        1,
        &["verify: FAILED", "checksum of chunk IDAT", "img_1_of_2.png"],
    );
    inspect(&scratch.path("data/none.npz")).fails(1, &["none.npz", "does not exist"]);
    inspect(&scratch.path("data")).fails(2, &["no extension", "--file-format"]);
    inspect(&scratch.path("data/a.xyz")).fails(2, &["xyz is no format", "npz"]);
}

#[test]
fn bare_bytes_under_the_name_of_an_image_are_named() {
    let scratch = Scratch::new();
    for name in ["a.jpeg", "a.png"] {
        std::fs::write(scratch.path(name), [7; 10_000]).unwrap();
        inspect(&scratch.path(name)).fails(1, &["MLCommons' DLIO writes bare bytes"]);
    }
}

#[test]
fn a_prefix_of_an_object_store_is_counted() {
    let server = Seaweed::shared();
    let store = server.storage("inspected");
    for (name, bytes) in [
        ("a.npz", &b"12345"[..]),
        ("b/c.npz", b"1234567"),
        ("b/README", b"1"),
    ] {
        let path = format!("s3://{BUCKET}/inspected/{name}");
        let mut writer = store.create(Path::new(&path)).unwrap();
        writer.write(bytes).unwrap();
        writer.finish().unwrap();
    }
    let at = |key: &str| {
        let mut command = solo();
        command.args(["inspect", &format!("s3://{BUCKET}/{key}")]);
        command.args(server.words());
        run(command)
    };
    let said = at("inspected").ok().stdout;
    for words in [
        "objects: 3\nbytes: 13\n",
        ".npz: objects 2, bytes 12",
        "without an extension: objects 1, bytes 1",
    ] {
        assert!(said.contains(words), "{said}");
    }
    at("inspected/none.npz").fails(1, &["none.npz", "does not exist"]);
}
