//! Objects by threads and by a ring of io_uring: the same bytes by the same requests, with far fewer threads.

use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;

use crate::fault_proxy::{Fault, FaultProxy};
use crate::scripted::{Running, Scripted, tls_of};
use crate::servers::{BUCKET, closed_port, s3_words};
use crate::support::*;

const ENGINES: [&str; 2] = ["threads", "uring"];

/// A job over 24 objects of a server, which holds them already, where `more` does not give other words.
fn job(scratch: &Scratch, words: &[String], engine: &str, more: &[&str]) -> Command {
    let mut command = solo();
    command
        .args(small(scratch, 24))
        .args(words)
        .args([
            &format!("dataset.data_folder=s3://{BUCKET}/engines"),
            "train.computation_time=0.0",
            "dataset.listing_validation_interval=0",
            "reader.verify_content=full",
            "storage.storage_options.retry_delay=0.01",
            "storage.storage_options.read_timeout=60",
            "--quiet",
            &format!("reader.engine={engine}"),
        ])
        .args(more);
    command
}

fn generate(server: &Running, more: &[&str]) {
    let scratch = Scratch::new();
    let mut command = job(&scratch, &server.words(), "threads", more);
    command.args(["workflow.train=false", "workflow.generate_data=true"]);
    run(command).ok();
}

/// What was read in which order and by which requests: by report.json, and on the wire.
fn read_by(server: &Running, engine: &str, more: &[&str]) -> serde_json::Value {
    let scratch = Scratch::new();
    server.seen.lock().unwrap().clear();
    server.connections.store(0, SeqCst);
    let words = [
        &server.words()[..],
        &["workflow.generate_data=false".into()],
    ]
    .concat();
    run(job(&scratch, &words, engine, more)).ok();
    let report = json(&scratch.path("out/report.json"));
    assert_eq!(report["provenance"]["reader_engine"], engine);
    let made = &report["object_store"]["connections"]["made"]["value"];
    assert_eq!(*made, server.connections.load(SeqCst), "{engine}");
    let mut asked: Vec<_> = (server.seen.lock().unwrap().iter())
        .map(|asked| [&*asked.method, &*asked.target, asked.header("range")].join(" "))
        .collect();
    asked.sort();
    serde_json::json!([crate::engine::what_was_read(&report, &[]), asked])
}

#[test]
fn both_engines_read_the_same_objects_by_the_same_requests() {
    let shapes: [&[&str]; 4] = [
        &["reader.data_loader=native", "reader.io_depth=12"],
        &["reader.data_loader=pytorch", "reader.read_threads=5"],
        &[
            "reader.data_loader=native",
            "reader.io_depth=6",
            "reader.range_size=20000",
            "reader.preprocess_time=0.001",
        ],
        &[
            "reader.data_loader=native",
            "reader.io_depth=6",
            "reader.transfer_size=4096",
            "storage.storage_options.request_timeout=600",
        ],
    ];
    for format in [
        &["dataset.format=npz"][..],
        // Several readers want the index of one object at the same time.
        &[
            "dataset.format=tfrecord",
            "dataset.num_files_train=4",
            "dataset.num_samples_per_file=6",
            "dataset.record_length_bytes=10000",
        ],
    ] {
        let server = Scripted::start(|_, _| None);
        generate(&server, format);
        for shape in shapes {
            let more = [shape, format].concat();
            let [threads, uring] = ENGINES.map(|engine| read_by(&server, engine, &more));
            assert_eq!(threads, uring, "{more:?}");
        }
    }
}

#[test]
fn tls_and_names_with_several_addresses_are_the_same_to_both_engines() {
    let scratch = Scratch::new();
    let made = Command::new(python())
        .arg(repo().join("tests/python/make_certificate.py"))
        .args([&scratch.text(""), "self"])
        .output()
        .unwrap();
    assert!(made.status.success());
    let server = Scripted::start_with(Some(tls_of(&scratch.path(""))), |_, _| None);
    let ca = scratch.text("server.pem");
    let trusts = format!("storage.storage_options.ca_bundle={ca}");
    let more = [&trusts, "reader.data_loader=native", "reader.io_depth=8"];
    generate(&server, &more);
    let [threads, uring] = ENGINES.map(|engine| read_by(&server, engine, &more));
    assert_eq!(threads, uring);
    // Where the name has an address of each family they are tried side by side; at one of them nobody listens.
    let server = Scripted::start(|_, _| None);
    generate(&server, &[]);
    let named = format!("http://localhost:{}", server.port());
    let named = format!("storage.storage_options.endpoint_url={named}");
    let more = [&named, "reader.data_loader=native", "reader.io_depth=8"];
    let [threads, uring] = ENGINES.map(|engine| read_by(&server, engine, &more));
    assert_eq!(threads, uring);
    let closed = closed_port();
    for engine in ENGINES {
        let out = Scratch::new();
        let words = s3_words(&format!("http://localhost:{}", closed.port));
        let once = ["storage.storage_options.s3_max_attempts=1"];
        run(job(&out, &words, engine, &once)).fails(1, &["connect to localhost", "remedy: "]);
    }
}

/// Threads of a process.
fn threads_of(pid: u32) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task"));
    tasks.map_or(0, Iterator::count)
}

#[test]
fn a_ring_has_64_requests_in_flight_with_few_threads() {
    let server = Scripted::start(|_, _| None);
    let files = ["dataset.num_files_train=192"];
    generate(&server, &files);
    for engine in ENGINES {
        // No answer comes before all are asked for; then bodies come slowly.
        let gather = Some(Fault::Gather(64));
        let proxy = FaultProxy::start(server.port(), "/train/", Vec::new(), gather);
        let scratch = Scratch::new();
        let more = [
            "dataset.num_files_train=192",
            "reader.data_loader=native",
            "reader.io_depth=64",
            "reader.prefetch_size=64",
            "train.epochs=1",
            "workflow.generate_data=false",
        ];
        let child = start(job(&scratch, &s3_words(&proxy.url()), engine, &more));
        wait_for(60, || proxy.peak() >= 64);
        let threads = threads_of(child.id());
        finish(child, 60).ok();
        assert_eq!(proxy.peak(), 64, "{engine}");
        let few = std::thread::available_parallelism().unwrap().get() + 16;
        println!("{engine}: {threads} threads");
        assert_eq!(threads > 64, engine == "threads", "{threads} threads");
        assert!(engine == "threads" || threads <= few, "{threads} threads");
    }
}

#[test]
fn a_request_that_hangs_is_named_with_both_engines() {
    for engine in ENGINES {
        let server = Scripted::start(|_, _| None);
        generate(&server, &[]);
        let stall = vec![Fault::Stall(std::time::Duration::from_secs(600))];
        let proxy = FaultProxy::start(server.port(), "/train/", stall, None);
        let scratch = Scratch::new();
        let more = [
            "reader.data_loader=native",
            "reader.io_depth=4",
            "workflow.generate_data=false",
            "--stall-timeout",
            "5",
        ];
        run(job(&scratch, &s3_words(&proxy.url()), engine, &more))
            .fails(1, &[&format!("s3://{BUCKET}/engines/train/img_")]);
    }
}

#[test]
fn an_sdk_moves_no_bytes_through_a_ring() {
    let scratch = Scratch::new();
    let sdk = ["storage.storage_options.client=sdk"];
    run(job(
        &scratch,
        &s3_words("http://127.0.0.1:1"),
        "uring",
        &sdk,
    ))
    .fails(
        2,
        &["reader.engine", "storage.storage_options.client=native"],
    );
}
