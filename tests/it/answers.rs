//! Servers whose answers are odd, and what the client makes of them; counts on the wire are those of the report.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::scripted::{Asked, Reply, Running, Scripted, range_of};
use crate::servers::BUCKET;
use crate::support::*;

/// 6 files of 256 KiB, generated and read once, compared with what was generated.
fn words(scratch: &Scratch, server: &Running) -> Vec<String> {
    let mut words = small(scratch, 6);
    words.extend(server.words());
    words.extend([
        format!("dataset.data_folder=s3://{BUCKET}/odd"),
        "dataset.record_length_bytes=262144".into(),
        "workflow.generate_data=true".into(),
        "reader.verify_content=full".into(),
        "storage.storage_options.retry_delay=0.01".into(),
        "storage.storage_options.read_timeout=60".into(),
        "train.epochs=1".into(),
        "--quiet".into(),
    ]);
    words
}

fn job(words: &[String], more: &[&str]) -> Outcome {
    let mut command = solo();
    command.arg("run").args(words).args(more);
    run(command)
}

fn number(v: &Value) -> u64 {
    v["value"].as_u64().unwrap()
}

/// One thread each, so that connections can be counted.
const ALONE: &[&str] = &["reader.read_threads=1", "reader.write_threads=1"];

/// Every request and connection that the server saw is in the report, and no other.
fn assert_counts(server: &Running, scratch: &Scratch, case: &str) -> Value {
    let report = json(&scratch.path("out/report.json"));
    let store = &report["object_store"];
    let endpoint = &store["endpoints"][0];
    let reported = number(&endpoint["get_requests"])
        + number(&endpoint["put_requests"])
        + number(&endpoint["control_requests"]);
    assert_eq!(reported, server.count(|_| true), "{case}: requests");
    assert_eq!(
        number(&endpoint["put_requests"]),
        server.count(|a| a.method == "PUT"),
        "{case}: PUTs"
    );
    assert_eq!(
        number(&store["connections"]["made"]),
        server.connections.load(SeqCst),
        "{case}: connections"
    );
    report
}

fn retries(report: &Value, class: &str) -> u64 {
    number(&report["object_store"]["endpoints"][0]["retries"][class])
}

fn is_read(asked: &Asked) -> bool {
    asked.method == "GET" && asked.target.contains("/train/")
}

fn object(server: &Scripted, asked: &Asked) -> Vec<u8> {
    server.objects.lock().unwrap()[&asked.target].clone()
}

fn chunked(body: &[u8], size: usize) -> Vec<u8> {
    let mut all = b"HTTP/1.1 200 OK\r\netag: \"e\"\r\ntransfer-encoding: chunked\r\n\r\n".to_vec();
    for piece in body.chunks(size) {
        all.extend(format!("{:x};ext=1\r\n", piece.len()).bytes());
        all.extend(piece);
        all.extend(b"\r\n");
    }
    all.extend(b"0\r\nx-trailer: 1\r\n\r\n");
    all
}

const RANGES: &[&str] = &["reader.range_size=100000"];

#[test]
fn bodies_without_a_length_are_read_and_their_connection_lives() {
    let server = Scripted::start(|asked, server| {
        is_read(asked).then(|| Reply::Raw(chunked(&object(server, asked), 10_000)))
    });
    let scratch = Scratch::new();
    job(&words(&scratch, &server), ALONE).ok();
    let report = assert_counts(&server, &scratch, "chunked");
    assert_eq!(report["counters"]["samples"]["value"], 6);
    assert!(
        report["warnings"]
            .to_string()
            .contains("without their length")
    );
    let ordinary = Scripted::start(|_, _| None);
    let scratch = Scratch::new();
    job(&words(&scratch, &ordinary), ALONE).ok();
    let made = |server: &Running| server.connections.load(SeqCst);
    assert!(
        made(&server) <= made(&ordinary),
        "{} > {}",
        made(&server),
        made(&ordinary)
    );

    let server = Scripted::start(|asked, server| {
        is_read(asked).then(|| {
            let head = b"HTTP/1.1 200 OK\r\netag: \"e\"\r\n\r\n".to_vec();
            Reply::Last([head, object(server, asked)].concat())
        })
    });
    let scratch = Scratch::new();
    job(&words(&scratch, &server), &[]).ok();
    assert_counts(&server, &scratch, "until close");
}

#[test]
fn a_server_that_ignores_range_delivers_what_it_sent() {
    let server = Scripted::start(|asked, server| {
        is_read(asked)
            .then(|| Reply::Raw(Reply::of(200, "etag: \"e\"\r\n", &object(server, asked))))
    });
    let scratch = Scratch::new();
    job(&words(&scratch, &server), RANGES).ok();
    let report = assert_counts(&server, &scratch, "no ranges");
    assert!(report["warnings"].to_string().contains("ignores Range"));
    assert_eq!(number(&report["counters"]["retries"]), 0);
}

#[test]
fn a_partial_answer_that_is_shorter_is_gone_on_from() {
    for total in ["whole", "*"] {
        let server = Scripted::start(move |asked, server| {
            if !is_read(asked) {
                return None;
            }
            let object = object(server, asked);
            let (from, last) = range_of(asked, object.len())?;
            let last = from + (last - from) / 2;
            let total = match total {
                "*" => "*".to_string(),
                _ => object.len().to_string(),
            };
            let headers = format!("etag: \"e\"\r\ncontent-range: bytes {from}-{last}/{total}\r\n");
            Some(Reply::Raw(Reply::of(206, &headers, &object[from..=last])))
        });
        let scratch = Scratch::new();
        job(&words(&scratch, &server), RANGES).ok();
        let report = assert_counts(&server, &scratch, total);
        assert_eq!(number(&report["counters"]["retries"]), 0);
        assert_eq!(report["counters"]["samples"]["value"], 6);
    }
}

#[test]
fn lengths_that_differ_end_the_run_at_once() {
    let two = |asked: &Asked, server: &Scripted| {
        is_read(asked).then(|| {
            let body = object(server, asked);
            let headers = format!("content-length: {}\r\n", body.len() - 1);
            Reply::Last(Reply::of(200, &headers, &body))
        })
    };
    let server = Scripted::start(two);
    let scratch = Scratch::new();
    job(&words(&scratch, &server), &["reader.read_threads=1"])
        .fails(1, &["two Content-Lengths that differ"]);
    assert_eq!(server.count(is_read), 1, "nothing is asked for again");
}

/// The first answers to reads are these; then the server's own.
fn first(count: u64, reply: impl Fn() -> Reply + Send + Sync + 'static) -> Running {
    let given = AtomicU64::new(0);
    Scripted::start(move |asked, _| {
        (is_read(asked) && given.fetch_add(1, SeqCst) < count).then(&reply)
    })
}

#[test]
fn an_error_under_status_200_is_retried() {
    let server = first(3, || Reply::Raw(Reply::error(200, "InternalError")));
    let scratch = Scratch::new();
    job(&words(&scratch, &server), &["reader.read_threads=1"]).ok();
    let report = assert_counts(&server, &scratch, "200 with an error");
    assert_eq!(retries(&report, "server_error"), 3);
}

#[test]
fn an_error_that_was_read_keeps_its_connection() {
    let ok = first(0, || Reply::Lost);
    let scratch = Scratch::new();
    job(&words(&scratch, &ok), ALONE).ok();
    let slow = first(5, || {
        let mut answer = Reply::error(503, "SlowDown");
        let at = answer.iter().position(|b| *b == b'\n').unwrap() + 1;
        answer.splice(at..at, *b"Retry-After: 0\r\n");
        Reply::Raw(answer)
    });
    let scratch = Scratch::new();
    let more = [
        "reader.read_threads=1",
        "reader.write_threads=1",
        "storage.storage_options.s3_max_attempts=9",
    ];
    job(&words(&scratch, &slow), &more).ok();
    let report = assert_counts(&slow, &scratch, "503");
    assert_eq!(retries(&report, "slow_down"), 5);
    let reads = |server: &Running| server.connections.load(SeqCst);
    assert!(
        reads(&slow) <= reads(&ok),
        "{} > {}",
        reads(&slow),
        reads(&ok)
    );
}

#[test]
fn idle_connections_that_the_server_closed_cost_one_repetition_each() {
    // The connection ends instead of the second answer that it would carry.
    let given = AtomicU64::new(0);
    let server = Scripted::start(move |asked, _| {
        (is_read(asked) && given.fetch_add(1, SeqCst) % 2 == 1).then(|| Reply::Last(Vec::new()))
    });
    let scratch = Scratch::new();
    let more = [
        "reader.read_threads=1",
        "storage.storage_options.s3_max_attempts=1",
    ];
    job(&words(&scratch, &server), &more).ok();
    let report = assert_counts(&server, &scratch, "stale");
    assert!(retries(&report, "reset") >= 3, "{}", report["object_store"]);
    assert_eq!(
        report["object_store"]["endpoints"][0]["times_down"]["value"],
        0
    );
}

/// Objects of 8 MiB, so that a request's body does not fit into a socket's buffers.
const LARGE: &[&str] = &[
    "dataset.num_files_train=1",
    "reader.batch_size=1",
    "dataset.record_length_bytes=7340032",
];

#[test]
fn a_refusal_before_the_body_is_read_is_seen_and_its_connection_is_not_used_again() {
    let server = Scripted::start(|asked, _| {
        (asked.method == "PUT" && asked.target.contains("/train/"))
            .then(|| Reply::Early(Reply::error(403, "AccessDenied")))
    });
    let scratch = Scratch::new();
    job(&words(&scratch, &server), LARGE).fails(1, &["HTTP 403 AccessDenied"]);
    assert_eq!(server.count(|a| a.method == "PUT"), 1);

    let given = AtomicU64::new(0);
    let server = Scripted::start(move |asked, _| {
        (asked.method == "PUT"
            && asked.target.contains("/train/")
            && given.fetch_add(1, SeqCst) == 0)
            .then(|| Reply::Early(Reply::error(503, "SlowDown")))
    });
    let scratch = Scratch::new();
    job(&words(&scratch, &server), LARGE).ok();
    let report = assert_counts(&server, &scratch, "early 503");
    assert_eq!(retries(&report, "slow_down"), 1);
    assert_eq!(report["counters"]["samples"]["value"], 1);
}

/// Objects of three parts.
const PARTS: &[&str] = &[
    "dataset.num_files_train=1",
    "reader.batch_size=1",
    "dataset.record_length_bytes=14680064",
    "storage.storage_options.part_size=5242880",
];

#[test]
fn an_upload_whose_beginning_was_lost_is_looked_for_and_aborted_before_another_begins() {
    let given = AtomicU64::new(0);
    let server = Scripted::start(move |asked, _| {
        (asked.method == "POST"
            && asked.target.ends_with("?uploads")
            && given.fetch_add(1, SeqCst) == 0)
            .then_some(Reply::Lost)
    });
    let scratch = Scratch::new();
    job(&words(&scratch, &server), PARTS).ok();
    assert_counts(&server, &scratch, "lost beginning");
    assert_eq!(
        server.uploads.lock().unwrap().len(),
        0,
        "an upload was left"
    );
    assert_eq!(server.count(|a| a.method == "DELETE"), 1);
}

#[test]
fn a_completion_whose_answer_was_lost_is_a_completion() {
    let given = AtomicU64::new(0);
    let server = Scripted::start(move |asked, _| {
        (asked.method == "POST"
            && asked.target.contains("uploadId=")
            && given.fetch_add(1, SeqCst) == 0)
            .then_some(Reply::Lost)
    });
    let scratch = Scratch::new();
    job(&words(&scratch, &server), PARTS).ok();
    assert_counts(&server, &scratch, "lost completion");
    assert_eq!(server.uploads.lock().unwrap().len(), 0);
}

#[test]
fn as_many_parts_are_on_the_wire_as_may_be() {
    for parts in [1, 8] {
        // No part is answered before as many as may be are on the wire.
        let server = Scripted::start(move |asked, server| {
            let end = Instant::now() + Duration::from_secs(60);
            while asked.target.contains("partNumber")
                && server.peak_puts.load(SeqCst) < parts
                && Instant::now() < end
            {
                std::thread::sleep(Duration::from_millis(5));
            }
            None
        });
        let scratch = Scratch::new();
        let more = [
            "dataset.num_files_train=1",
            "reader.batch_size=1",
            "dataset.record_length_bytes=62914560",
            "storage.storage_options.part_size=5242880",
            &format!("checkpoint.parts_in_flight={parts}"),
            "reader.verify_content=off",
        ];
        job(&words(&scratch, &server), &more).ok();
        assert_counts(&server, &scratch, "parts");
        assert_eq!(server.peak_puts.load(SeqCst), parts);
        let objects = server.objects.lock().unwrap();
        let len: usize = objects.values().map(Vec::len).max().unwrap();
        let sent = server.count(|a| a.target.contains("partNumber"));
        assert_eq!(sent, len.div_ceil(5 << 20) as u64);
    }
}

#[test]
fn datasets_are_deleted_where_the_server_knows_no_batches() {
    for (status, code) in [
        (501, "NotImplemented"),
        (400, "MissingContentMD5"),
        (200, ""),
    ] {
        let server = Scripted::start(move |asked, _| {
            (asked.method == "POST" && asked.target.contains("?delete") && status != 200)
                .then(|| Reply::Raw(Reply::error(status, code)))
        });
        let scratch = Scratch::new();
        job(&words(&scratch, &server), &["dataset.keep_files=false"]).ok();
        let left: Vec<_> = server.objects.lock().unwrap().keys().cloned().collect();
        assert!(left.is_empty(), "{status}: {left:?}");
        let batches = |a: &Asked| a.method == "POST" && a.target.contains("?delete");
        assert_eq!(server.count(batches), 1, "{status}: asked once");
        let seen = server.seen.lock().unwrap();
        let batch = seen.iter().find(|a| batches(a)).unwrap();
        assert_eq!(batch.header("content-md5").len(), 24);
        let mut singles = seen.iter().filter(|a| a.method == "DELETE");
        if status == 200 {
            // The manifest, which goes by itself.
            let manifest = singles.next().unwrap();
            assert!(manifest.target.contains("manifest"), "{}", manifest.target);
            assert!(singles.next().is_none());
        } else {
            assert!(singles.count() >= 6);
        }
    }
}

#[test]
fn a_cluster_that_names_its_targets_is_followed_and_a_stranger_is_not() {
    let target = Scripted::start(|_, _| None);
    let to = target.url();
    let elsewhere = |to: String| {
        move |asked: &Asked, _: &Scripted| {
            asked.target.contains("/train/").then(|| {
                let headers = format!("location: {to}{}?pid=p1\r\n", asked.target);
                Reply::Raw(Reply::of(307, &headers, b""))
            })
        }
    };
    let proxy = Scripted::start(elsewhere(to));
    let scratch = Scratch::new();
    job(&words(&scratch, &proxy), RANGES).ok();
    let report = json(&scratch.path("out/report.json"));
    let endpoint = &report["object_store"]["endpoints"][0];
    let reported = ["get_requests", "put_requests", "control_requests"]
        .map(|kind| number(&endpoint[kind]))
        .iter()
        .sum::<u64>();
    assert_eq!(reported, proxy.count(|_| true) + target.count(|_| true));
    assert_eq!(target.count(|a| a.method == "PUT"), 6);
    assert!(target.count(is_read) >= 18, "three ranges of six files");

    let stranger = Scripted::start(elsewhere("http://store.example.com".into()));
    let scratch = Scratch::new();
    job(&words(&scratch, &stranger), &["reader.write_threads=1"]).fails(1, &["HTTP 307"]);
    assert_eq!(stranger.count(|a| a.target.contains("/train/")), 1);
}
