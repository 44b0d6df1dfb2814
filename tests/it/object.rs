//! Generation, training and evaluation on real object stores, judged by the stores' own Python libraries.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::servers::*;
use crate::support::*;

/// 12 training and 4 evaluation files of one sample of 64 KiB, 2 epochs, everything compared with what was generated.
fn words(scratch: &Scratch, folder: &str, server: Vec<String>) -> Vec<String> {
    let more = [
        "dataset.num_files_eval=4",
        "workflow.generate_data=true",
        "workflow.evaluation=true",
    ];
    compared(scratch, 12, folder, &more, server)
}

fn job(ranks: usize, words: &[String]) -> Outcome {
    let mut command = mpirun(ranks);
    command.args(words);
    run(command)
}

fn report(scratch: &Scratch) -> Value {
    json(&scratch.path("out/report.json"))
}

fn value(v: &Value) -> u64 {
    v["value"].as_u64().unwrap()
}

fn sizes(listed: &str) -> BTreeMap<String, u64> {
    serde_json::from_str(listed).unwrap()
}

/// Epochs x training files and evaluations x evaluation files, by the store's own count of their bytes.
fn bytes_to_read(sizes: &BTreeMap<String, u64>, epochs: u64) -> u64 {
    let npz = sizes.iter().filter(|(name, _)| name.ends_with(".npz"));
    npz.map(|(_, len)| len * epochs).sum()
}

/// The objects below a folder by the program's own list.
fn listed_by_us(server: &Seaweed, folder: &str) -> BTreeMap<String, u64> {
    let storage = server.storage(folder);
    let mut found = BTreeMap::new();
    storage
        .list(
            format!("s3://{BUCKET}/{folder}").as_ref(),
            &mut |name, len| {
                found.insert(format!("{folder}/{name}"), len);
            },
        )
        .unwrap();
    found
}

/// No file of a run may hold a secret.
fn assert_hides(scratch: &Scratch, secret: &str) {
    let mut folders = vec![scratch.path("out")];
    let mut files = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(&path).unwrap();
            let text = String::from_utf8_lossy(&bytes);
            assert!(!text.contains(secret), "{} holds a secret", path.display());
            files += 1;
        }
    }
    assert!(files > 3, "only {files} files were looked at");
}

#[test]
fn s3_holds_the_same_dataset_as_a_folder() {
    let server = Seaweed::shared();
    let scratch = Scratch::new();
    let mut on_s3 = words(&scratch, &in_bucket("same"), server.words());
    let outcome = job(2, &on_s3).ok();
    assert!(!outcome.text().contains(SECRET_KEY));
    assert_hides(&scratch, SECRET_KEY);
    let s3 = report(&scratch);

    let listed = sizes(&server.check(&["list", "same/"]));
    assert_eq!(server.check(&["npz", "same/", "256"]).trim(), "16");
    let key = listed.keys().find(|k| k.ends_with(".npz")).unwrap();
    let mut command = solo();
    command
        .arg("inspect")
        .arg(format!("s3://{BUCKET}/{key}"))
        .args(server.words());
    let seen = run(command).ok();
    assert!(seen.stdout.contains("full: passed"), "{}", seen.text());
    assert_eq!(
        value(&s3["counters"]["bytes_read"]),
        bytes_to_read(&listed, 2)
    );
    let endpoint = &s3["object_store"]["endpoints"][0];
    assert_eq!(
        value(&endpoint["bytes_written"]),
        listed.values().sum::<u64>()
    );
    assert_eq!(value(&s3["counters"]["retries"]), 0);
    // One GET per file and epoch, and one per manifest that a rank looks for.
    assert_eq!(value(&endpoint["get_requests"]), 32);

    assert_eq!(listed_by_us(&server, "same"), listed);

    let local = Scratch::new();
    job(2, &words(&local, &local.text("data"), Vec::new())).ok();
    let file = report(&local);
    assert_eq!(s3["order_digest"], file["order_digest"]);
    for key in ["bytes_read", "samples", "bytes_written", "files_written"] {
        assert_eq!(s3["counters"][key], file["counters"][key], "{key}");
    }

    // Generating again finds everything complete.
    on_s3.push("output.folder=".to_string() + &scratch.text("again"));
    job(2, &on_s3).ok();
    let again = json(&scratch.path("again/report.json"));
    assert_eq!(value(&again["counters"]["files_skipped"]), 16);
    assert_eq!(value(&again["counters"]["files_written"]), 0);
}

#[test]
fn large_objects_go_in_parts_and_come_in_ranges() {
    let server = Seaweed::shared();
    for checksum in ["none", "crc32c"] {
        let scratch = Scratch::new();
        let folder = format!("parts-{checksum}");
        let mut on_s3 = words(&scratch, &in_bucket(&folder), server.words());
        on_s3.extend([
            "dataset.num_files_train=2".into(),
            "dataset.num_files_eval=0".into(),
            "dataset.record_length_bytes=16777216".into(),
            "storage.storage_options.part_size=5242880".into(),
            format!("storage.storage_options.checksum={checksum}"),
            "reader.range_size=1000000".into(),
            "storage.storage_options.ranges_in_flight=3".into(),
            "reader.batch_size=1".into(),
            "train.epochs=1".into(),
        ]);
        job(2, &on_s3).ok();
        let listed = sizes(&server.check(&["list", &folder]));
        let endpoint = report(&scratch)["object_store"]["endpoints"][0].clone();
        // Two files of 16 MiB and a header: 17 ranges of 1,000,000 bytes each, and 4 parts each, and the manifest.
        assert_eq!(value(&endpoint["get_requests"]), 34);
        assert_eq!(value(&endpoint["put_requests"]), 9);
        assert_eq!(
            value(&report(&scratch)["counters"]["bytes_read"]),
            bytes_to_read(&listed, 1)
        );
        assert_eq!(server.check(&["uploads"]).trim(), "[]");
    }
}

#[test]
fn a_dataset_is_deleted_and_nothing_else() {
    let server = Seaweed::shared();
    let scratch = Scratch::new();
    server.check(&["write", "gone/beside", "1", "8"]);
    let mut on_s3 = words(&scratch, &in_bucket("gone"), server.words());
    on_s3.push("dataset.keep_files=false".into());
    job(3, &on_s3).ok();
    let left = sizes(&server.check(&["list", "gone/"]));
    assert_eq!(
        left.keys().collect::<Vec<_>>(),
        ["gone/beside/train/img_0_of_1.npz"]
    );
}

#[test]
fn what_boto3_wrote_is_trained_on() {
    let server = Seaweed::shared();
    let scratch = Scratch::new();
    server.check(&["write", "boto3", "8", "256"]);
    let mut on_s3 = small(&scratch, 8);
    on_s3.extend(server.words());
    on_s3.extend([
        // DLIO's own form of the address.
        "storage.storage_type=s3".into(),
        format!("storage.storage_root={BUCKET}"),
        "dataset.data_folder=boto3".into(),
        "workflow.generate_data=false".into(),
        "reader.decode=full".into(),
        "train.epochs=1".into(),
        "--quiet".into(),
    ]);
    job(2, &on_s3).ok();
    let listed = sizes(&server.check(&["list", "boto3/"]));
    assert_eq!(
        value(&report(&scratch)["counters"]["bytes_read"]),
        bytes_to_read(&listed, 1)
    );
}

#[test]
fn azure_holds_the_same_dataset_as_a_folder() {
    let server = Azurite::shared();
    let scratch = Scratch::new();
    let on_azure = words(
        &scratch,
        &format!("az://{ACCOUNT}/{BUCKET}/same"),
        server.words(),
    );
    let outcome = job(2, &on_azure).ok();
    assert!(!outcome.text().contains(ACCOUNT_KEY));
    assert_hides(&scratch, ACCOUNT_KEY);
    let azure = report(&scratch);
    let listed = sizes(&server.check(&["list", "same/"]));
    assert_eq!(server.check(&["npz", "same/", "256"]).trim(), "16");
    assert_eq!(
        value(&azure["counters"]["bytes_read"]),
        bytes_to_read(&listed, 2)
    );

    let local = Scratch::new();
    job(2, &words(&local, &local.text("data"), Vec::new())).ok();
    assert_eq!(azure["order_digest"], report(&local)["order_digest"]);
}

#[test]
fn azure_takes_blocks_ranges_and_every_kind_of_key() {
    let server = Azurite::shared();
    let scratch = Scratch::new();
    let mut on_azure = words(
        &scratch,
        &format!("az://{ACCOUNT}/{BUCKET}/blocks"),
        server.words(),
    );
    on_azure.extend([
        "dataset.num_files_train=2".into(),
        "dataset.num_files_eval=0".into(),
        "dataset.record_length_bytes=16777216".into(),
        "storage.storage_options.part_size=5242880".into(),
        "reader.range_size=1000000".into(),
        "reader.batch_size=1".into(),
        "train.epochs=1".into(),
    ]);
    job(2, &on_azure).ok();
    let endpoint = report(&scratch)["object_store"]["endpoints"][0].clone();
    assert_eq!(value(&endpoint["get_requests"]), 34);
    assert_eq!(value(&endpoint["put_requests"]), 9);

    // The same data again by a SAS, by a connection string, and by the environment of rank 0; then deleted.
    let folder = format!("az://{ACCOUNT}/{BUCKET}/blocks");
    let mut reads = words(&scratch, &folder, Vec::new());
    reads.extend(on_azure[on_azure.len() - 7..].iter().cloned());
    reads.push("workflow.generate_data=false".into());
    let sas = server.check(&["sas", "1"]);
    let connection = format!(
        "BlobEndpoint={};AccountName={ACCOUNT};AccountKey={ACCOUNT_KEY}",
        server.url()
    );
    let by = |words: &[String], variables: &[(&str, &str)]| {
        let out = Scratch::new();
        let mut command = mpirun(2);
        command.args(&reads).args(words);
        command.arg(format!("output.folder={}", out.text("out")));
        for (name, text) in variables {
            command.env(name, text);
        }
        let outcome = run(command).ok();
        for secret in [ACCOUNT_KEY, sas.as_str()] {
            assert!(!outcome.text().contains(secret));
            assert_hides(&out, secret);
        }
    };
    let url = server.url();
    by(
        &[],
        &[
            ("AZURE_STORAGE_SAS_TOKEN", &sas),
            ("AZURE_BLOB_ENDPOINT", &url),
        ],
    );
    by(
        &[format!(
            "storage.storage_options.connection_string='{connection}'"
        )],
        &[],
    );
    by(
        &["dataset.keep_files=false".into()],
        &[
            ("AZURE_STORAGE_KEY", ACCOUNT_KEY),
            ("AZURE_BLOB_ENDPOINT", &url),
        ],
    );
    assert_eq!(server.check(&["list", "blocks/"]).trim(), "{}");
}

#[test]
fn what_azures_library_wrote_is_trained_on() {
    let server = Azurite::shared();
    let scratch = Scratch::new();
    server.check(&["write", "theirs", "8", "256"]);
    let mut on_azure = small(&scratch, 8);
    on_azure.extend(server.words());
    on_azure.extend([
        "storage.storage_type=azure".into(),
        format!("storage.storage_root={ACCOUNT}/{BUCKET}"),
        "dataset.data_folder=theirs".into(),
        "workflow.generate_data=false".into(),
        "reader.decode=full".into(),
        "--quiet".into(),
    ]);
    job(2, &on_azure).ok();
    assert_eq!(value(&report(&scratch)["counters"]["samples"]), 16);
}

#[test]
fn every_format_is_the_same_on_every_storage_system() {
    let (s3, azure) = (Seaweed::shared(), Azurite::shared());
    let formats = [
        "npz",
        "npy",
        "hdf5",
        "tfrecord",
        "csv",
        "jpeg",
        "png",
        "indexed_binary",
        "mmap_indexed_binary",
        "parquet",
    ];
    for format in formats {
        let on = |folder: &str, more: Vec<String>| {
            let scratch = Scratch::new();
            let folder = folder.replace("LOCAL", &scratch.text("data"));
            let mut all = words(&scratch, &folder, more);
            all.extend([
                format!("dataset.format={format}"),
                "dataset.record_dims=[40,50]".into(),
                "train.epochs=1".into(),
            ]);
            if !matches!(format, "jpeg" | "png") {
                all.push("dataset.num_samples_per_file=3".into());
            }
            if format == "tfrecord" {
                all.extend([
                    "framework=tensorflow".into(),
                    "reader.data_loader=tensorflow".into(),
                ]);
            }
            job(2, &all).ok();
            let report = report(&scratch);
            let counters = &report["counters"];
            [
                report["order_digest"].clone(),
                counters["samples"]["value"].clone(),
                counters["bytes_read"]["value"].clone(),
                counters["bytes_written"]["value"].clone(),
            ]
        };
        let local = on("LOCAL", Vec::new());
        assert!(
            local[2].as_u64().unwrap() > 12 * 2000,
            "{format}: {local:?}"
        );
        let folder = format!("s3://{BUCKET}/formats/{format}");
        assert_eq!(local, on(&folder, s3.words()), "{format} on S3");
        let folder = format!("az://{ACCOUNT}/{BUCKET}/formats/{format}");
        assert_eq!(local, on(&folder, azure.words()), "{format} on Azure");
    }
}
