//! The whole of a run against moto's S3 server, another implementation of the protocol, judged by boto3.

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::process::{Child, Command};

use crate::checkpoint::tiny;
use crate::servers::{BUCKET, free_ports, output, spawn, wait_until};
use crate::support::*;

/// moto takes any keys.
const KEY: &str = "any";

struct Moto {
    _dir: tempfile::TempDir,
    port: u16,
    child: Child,
}

impl Moto {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let [port] = free_ports();
        let mut command = Command::new(python());
        command
            .args([
                "-m",
                "moto.server",
                "-H",
                "127.0.0.1",
                "-p",
                &port.to_string(),
            ])
            .current_dir(dir.path());
        let log = dir.path().join("log");
        let mut child = spawn(command, &log, "run scripts/setup.sh --test");
        wait_until("moto", &log, &mut child, || {
            TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        let this = Moto {
            _dir: dir,
            port,
            child,
        };
        this.check(&["create"]);
        this
    }

    fn words(&self) -> Vec<String> {
        vec![
            format!(
                "storage.storage_options.endpoint_url=http://127.0.0.1:{}",
                self.port
            ),
            format!("storage.storage_options.access_key_id={KEY}"),
            format!("storage.storage_options.secret_access_key={KEY}"),
        ]
    }

    fn check(&self, words: &[&str]) -> String {
        let mut command = Command::new(python());
        command
            .arg(repo().join("tests/python/check_objects.py"))
            .args([
                "s3",
                "--endpoint",
                &format!("http://127.0.0.1:{}", self.port),
            ])
            .args(["--bucket", BUCKET, "--key", KEY, "--secret", KEY]);
        output(command.args(words))
    }

    fn sizes(&self, prefix: &str) -> BTreeMap<String, u64> {
        serde_json::from_str(&self.check(&["list", prefix])).unwrap()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn job(words: &[String], more: &[&str]) -> Outcome {
    let mut command = mpirun(2);
    command.args(words).args(more);
    run(command)
}

fn words(scratch: &Scratch, server: &Moto, folder: &str) -> Vec<String> {
    let mut words = small(scratch, 6);
    words.extend(server.words());
    words.extend([
        format!("dataset.data_folder=s3://{folder}"),
        "dataset.num_files_eval=2".into(),
        "workflow.generate_data=true".into(),
        "workflow.evaluation=true".into(),
        "reader.verify_content=full".into(),
        "--quiet".into(),
    ]);
    words
}

#[test]
fn a_dataset_is_generated_skipped_read_and_deleted() {
    let server = Moto::start();
    let scratch = Scratch::new();
    let all = words(&scratch, &server, &format!("{BUCKET}/whole"));
    job(&all, &[]).ok();
    let listed = server.sizes("whole/");
    let report = json(&scratch.path("out/report.json"));
    let endpoint = &report["object_store"]["endpoints"][0];
    assert_eq!(
        endpoint["bytes_written"]["value"].as_u64().unwrap(),
        listed.values().sum::<u64>()
    );
    assert_eq!(report["counters"]["retries"]["value"], 0);
    assert_eq!(server.check(&["npz", "whole/", "256"]).trim(), "8");

    let again = Scratch::new();
    let out = format!("output.folder={}", again.text("out"));
    job(&all, &[&out, "dataset.keep_files=false"]).ok();
    let report = json(&again.path("out/report.json"));
    assert_eq!(report["counters"]["files_skipped"]["value"], 8);
    assert!(server.sizes("whole/").is_empty());

    let missing = Scratch::new();
    job(&words(&missing, &server, "no-such-bucket/x"), &[]).fails(
        1,
        &["HTTP 404 NoSuchBucket", "create the bucket no-such-bucket"],
    );
}

#[test]
fn uploads_in_parts_and_checkpoints_are_whole() {
    let server = Moto::start();
    for checksum in ["none", "crc32c"] {
        let scratch = Scratch::new();
        let all = words(&scratch, &server, &format!("{BUCKET}/parts-{checksum}"));
        let more = [
            "dataset.num_files_train=2",
            "dataset.num_files_eval=0",
            "workflow.evaluation=false",
            "reader.batch_size=1",
            "dataset.record_length_bytes=16777216",
            "storage.storage_options.part_size=5242880",
            &format!("storage.storage_options.checksum={checksum}"),
            "reader.range_size=1000000",
        ];
        job(&all, &more).ok();
        let report = json(&scratch.path("out/report.json"));
        let puts = &report["object_store"]["endpoints"][0]["put_requests"]["value"];
        assert_eq!(
            puts.as_u64().unwrap(),
            9,
            "two files of four parts, and the manifest"
        );
        assert_eq!(server.check(&["uploads"]).trim(), "[]");
    }

    let scratch = Scratch::new();
    let mut all = tiny(&scratch);
    all.extend(server.words());
    all.extend([
        format!("checkpoint.checkpoint_folder=s3://{BUCKET}/saved"),
        "checkpoint.num_checkpoints_write=2".into(),
        "checkpoint.keep=1".into(),
        "checkpoint.verify_content=true".into(),
        "--quiet".into(),
    ]);
    job(&all, &[]).ok();
    let report = json(&scratch.path("out/report.json"));
    assert_eq!(report["checkpoint"]["load"]["count"], 1);
    let names: Vec<_> = server.sizes("saved/").into_keys().collect();
    assert!(
        names.iter().all(|n| n.contains("global_epoch1_step2/")),
        "{names:?}"
    );
}
