//! Object stores that fail: what is retried and counted, what ends the run, and what the message says.

use std::time::Duration;

use dlio_rs::internal::{Column, Timeline};
use serde_json::Value;

use crate::fault_proxy::{Fault, FaultProxy};
use crate::servers::*;
use crate::support::*;

const ENGINES: [&str; 2] = ["threads", "uring"];

/// 8 files of 256 KiB; retries begin after 50 ms.
fn words(scratch: &Scratch, folder: &str, server: Vec<String>) -> Vec<String> {
    let more = [
        "dataset.record_length_bytes=262144",
        "storage.storage_options.retry_delay=0.05",
        "train.epochs=1",
    ];
    compared(scratch, 8, folder, &more, server)
}

fn job(ranks: usize, words: &[String], more: &[&str]) -> Outcome {
    let mut command = mpirun(ranks);
    command.args(words).args(more);
    run(command)
}

fn generate(server: &Seaweed, folder: &str) {
    let scratch = Scratch::new();
    let all = words(&scratch, &in_bucket(folder), server.words());
    job(
        2,
        &all,
        &["workflow.generate_data=true", "workflow.train=false"],
    )
    .ok();
}

fn retries(report: &Value, class: &str) -> u64 {
    let endpoints = report["object_store"]["endpoints"].as_array().unwrap();
    endpoints
        .iter()
        .map(|e| e["retries"][class]["value"].as_u64().unwrap())
        .sum()
}

/// The retries of `timeline.json.zst` by class, where there are any.
fn retries_over_time(scratch: &Scratch) -> Vec<(&'static str, u64)> {
    let series = Timeline::load(&scratch.path("out/timeline.json.zst"))
        .unwrap()
        .series;
    let sums = Column::retried().filter_map(|(column, class)| Some((class, series.sum(column)?)));
    sums.filter(|(_, n)| *n > 0).collect()
}

#[test]
fn what_passes_is_retried_and_counted_by_class() {
    let server = Seaweed::shared();
    generate(&server, "faults");
    let cases = [
        (vec![Fault::Reset, Fault::Reset], "reset", 2),
        (vec![Fault::Truncate; 3], "truncated", 3),
        (
            vec![Fault::Status(500, "InternalError"); 3],
            "server_error",
            3,
        ),
        (vec![Fault::Status(503, "SlowDown"); 3], "slow_down", 3),
        (
            vec![Fault::Status(429, "TooManyRequests"); 2],
            "slow_down",
            2,
        ),
        (vec![Fault::Stall(Duration::from_secs(60)); 2], "timeout", 2),
        (vec![Fault::Slow(Duration::from_millis(2)); 4], "timeout", 0),
    ];
    std::thread::scope(|scope| {
        let both = ENGINES.map(|engine| cases.clone().map(|case| (engine, case)));
        for (engine, (faults, class, expected)) in both.into_iter().flatten() {
            let server = &server;
            scope.spawn(move || {
                let named = format!("{engine} {faults:?}");
                let count = faults.len() as u64;
                let stalls = matches!(faults[0], Fault::Stall(_));
                let proxy = FaultProxy::start(server.port(), "/train/", faults, None);
                let scratch = Scratch::new();
                let timeout = if stalls { 5 } else { 60 };
                let all = words(&scratch, &in_bucket("faults"), s3_words(&proxy.url()));
                job(
                    1,
                    &all,
                    &[
                        "workflow.generate_data=false",
                        &format!("storage.storage_options.read_timeout={timeout}"),
                        &format!("reader.engine={engine}"),
                        // Only the readers' requests are to meet the faults.
                        "dataset.listing_validation_interval=0",
                    ],
                )
                .ok();
                let report = json(&scratch.path("out/report.json"));
                assert_eq!(proxy.broken(), count, "{named}");
                // A server that is busy may be late once more.
                let late = proxy.matched() - 8 - expected;
                assert!(late == 0 || stalls, "{named}: {late}");
                let expected = expected + late;
                assert_eq!(retries(&report, class), expected, "{named}");
                assert_eq!(report["counters"]["retries"]["value"], expected, "{named}");
                assert_eq!(report["counters"]["samples"]["value"], 8, "{named}");
                let mut over_time = vec![(class, expected)];
                over_time.retain(|(_, n)| *n > 0);
                assert_eq!(retries_over_time(&scratch), over_time, "{named}");
            });
        }
    });
}

#[test]
fn what_does_not_pass_ends_the_run_with_its_cause() {
    let server = Seaweed::shared();
    generate(&server, "storms");
    let url = |proxy: &FaultProxy| proxy.url();
    let cases: [(Fault, &[&str], &[&str]); 7] = [
        (
            Fault::Status(503, "SlowDown"),
            &["storage.storage_options.s3_max_attempts=3"],
            &[
                "HTTP 503 SlowDown",
                "REQ-42",
                "after 3 attempts",
                "overloaded",
            ],
        ),
        (
            Fault::Status(500, "InternalError"),
            &["storage.storage_options.retry_budget=1"],
            &["HTTP 500 InternalError", "retry_budget"],
        ),
        (
            Fault::Status(403, "AccessDenied"),
            &[],
            &[
                "HTTP 403 AccessDenied: injected (request REQ-42)",
                "access_key_id",
            ],
        ),
        (
            Fault::Status(400, "AuthorizationHeaderMalformed"),
            &[],
            &[
                "HTTP 400 AuthorizationHeaderMalformed",
                "storage.storage_options.region",
            ],
        ),
        (
            Fault::Truncate,
            &[
                "storage.storage_options.s3_max_attempts=2",
                "reader.range_size=100000",
            ],
            &["bytes before the body's announced end"],
        ),
        (
            Fault::Stall(Duration::from_secs(60)),
            &[
                "storage.storage_options.read_timeout=5",
                "storage.storage_options.s3_max_attempts=2",
            ],
            &["no byte within read_timeout", "after 2 attempts"],
        ),
        (
            Fault::Slow(Duration::from_secs(1)),
            &[
                "storage.storage_options.request_timeout=5",
                "storage.storage_options.s3_max_attempts=2",
            ],
            &["longer than request_timeout"],
        ),
    ];
    std::thread::scope(|scope| {
        let both = ENGINES.map(|engine| cases.clone().map(|case| (engine, case)));
        for (engine, (fault, more, expected)) in both.into_iter().flatten() {
            let server = &server;
            scope.spawn(move || {
                let proxy = FaultProxy::start(server.port(), "/train/", Vec::new(), Some(fault));
                let scratch = Scratch::new();
                let all = words(&scratch, &in_bucket("storms"), s3_words(&proxy.url()));
                let engine = format!("reader.engine={engine}");
                let more = [
                    more,
                    &[
                        "dataset.listing_validation_interval=0",
                        "workflow.generate_data=false",
                        &engine,
                    ],
                ]
                .concat();
                let object = format!("s3://{BUCKET}/storms/train/img_");
                let endpoint = url(&proxy);
                let all_expected = [expected, &[&object, &endpoint, "remedy: "]].concat();
                job(2, &all, &more).fails(1, &all_expected);
                assert!(!scratch.path("out/summary.json").exists());
            });
        }
    });
}

#[test]
fn an_upload_that_fails_leaves_nothing() {
    let server = Seaweed::shared();
    let proxy = FaultProxy::start(
        server.port(),
        "partNumber=3",
        Vec::new(),
        Some(Fault::Status(403, "AccessDenied")),
    );
    let scratch = Scratch::new();
    let all = words(&scratch, &in_bucket("halves"), s3_words(&proxy.url()));
    let more = [
        "workflow.generate_data=true",
        "dataset.record_length_bytes=16777216",
        "storage.storage_options.part_size=5242880",
    ];
    job(2, &all, &more).fails(1, &["write a part of", "HTTP 403 AccessDenied"]);
    let uploads: Vec<String> = serde_json::from_str(&server.check(&["uploads"])).unwrap();
    assert!(
        uploads.iter().all(|key| !key.starts_with("halves/")),
        "{uploads:?}"
    );
    assert_eq!(server.check(&["list", "halves/"]).trim(), "{}");
}

#[test]
fn a_server_that_comes_back_costs_retries_and_one_that_does_not_ends_the_run() {
    let server = Seaweed::start();
    generate(&server, "killed");
    let scratch = Scratch::new();
    let mut all = words(&scratch, &in_bucket("killed"), server.words());
    all.extend([
        "workflow.generate_data=false".into(),
        "train.epochs=60".into(),
        "train.computation_time=0.05".into(),
        "storage.storage_options.s3_max_attempts=40".into(),
        "storage.storage_options.retry_delay=0.2".into(),
    ]);
    let begin = |more: &[&str]| {
        let mut command = mpirun(2);
        command.args(&all).args(more);
        start(command)
    };
    let child = begin(&[]);
    wait_for(60, || trains_in(&scratch.path("")));
    server.kill();
    // Reads of the next steps find nobody.
    std::thread::sleep(Duration::from_secs(2));
    server.run();
    finish(child, 60).ok();
    let report = json(&scratch.path("out/report.json"));
    assert_eq!(report["counters"]["samples"]["value"], 480);
    assert!(
        retries(&report, "connect") > 0,
        "{}",
        report["object_store"]
    );

    for (class, n) in retries_over_time(&scratch) {
        assert_eq!(retries(&report, class), n, "{class}");
    }
    let timeline = Timeline::load(&scratch.path("out/timeline.json.zst")).unwrap();
    let events = timeline.events.events.iter();
    let named = events.filter(|e| e.kind == "retries");
    let named: u64 = named
        .filter_map(|e| e.fields.get("connect")?.as_u64())
        .sum();
    assert_eq!(named, retries(&report, "connect"));

    let gone = Scratch::new();
    let folder = format!("output.folder={}", gone.text("out"));
    let child = begin(&[&folder, "storage.storage_options.s3_max_attempts=4"]);
    wait_for(60, || trains_in(&gone.path("")));
    server.kill();
    finish(child, 60).fails(
        1,
        &[
            &server.url(),
            "after 4 attempts",
            "remedy: check storage.storage_options.endpoint_url",
        ],
    );
}

#[test]
fn a_dead_endpoint_is_taken_out_and_the_others_go_on() {
    let server = Seaweed::shared();
    generate(&server, "many");
    let (one, two) = (
        FaultProxy::start(server.port(), "/train/", Vec::new(), None),
        FaultProxy::start(server.port(), "/train/", Vec::new(), None),
    );
    let dead = closed_port();
    let scratch = Scratch::new();
    let all = words(
        &scratch,
        &in_bucket("many"),
        s3_words(&format!(
            "'{},http://127.0.0.1:{},{}'",
            one.url(),
            dead.port,
            two.url()
        )),
    );
    job(
        2,
        &all,
        &["workflow.generate_data=false", "train.epochs=10"],
    )
    .ok();
    let report = json(&scratch.path("out/report.json"));
    let endpoints = report["object_store"]["endpoints"].as_array().unwrap();
    let bytes: Vec<u64> = endpoints
        .iter()
        .map(|e| e["bytes_read"]["value"].as_u64().unwrap())
        .collect();
    assert_eq!(bytes[1], 0);
    assert!(endpoints[1]["times_down"]["value"].as_u64().unwrap() > 0);
    assert!(bytes[0] > 0 && bytes[2] > 0);
    assert_eq!(
        bytes[0] + bytes[2],
        report["counters"]["bytes_read"]["value"].as_u64().unwrap()
    );
    let share = bytes[0] as f64 / (bytes[0] + bytes[2]) as f64;
    assert!((0.3..0.7).contains(&share), "{bytes:?}");
    // By address: what failed at the dead one, and every connection.
    let addresses = report["object_store"]["addresses"].as_array().unwrap();
    let number = |a: &serde_json::Value, name: &str| a[name]["value"].as_u64().unwrap();
    for address in addresses {
        let is_dead = address["address"] == format!("127.0.0.1:{}", dead.port).as_str();
        assert_eq!(number(address, "failures") > 0, is_dead, "{address}");
        assert_eq!(number(address, "connections") == 0, is_dead, "{address}");
    }
    let by_address: u64 = addresses.iter().map(|a| number(a, "connections")).sum();
    let made = report["object_store"]["connections"]["made"]["value"].as_u64();
    assert_eq!((addresses.len(), Some(by_address)), (3, made));
}

#[test]
fn wrong_settings_of_s3_are_named() {
    let server = Seaweed::shared();
    let closed = closed_port();
    let cases: [(&[&str], &[&str]); 5] = [
        (
            &["storage.storage_options.secret_access_key=wrong"],
            &["HTTP 403 SignatureDoesNotMatch", "the secret key is wrong"],
        ),
        (
            &["storage.storage_options.access_key_id=nobody"],
            &["HTTP 403 InvalidAccessKeyId", "unknown to this server"],
        ),
        (
            &["dataset.data_folder=s3://no-such-bucket/x"],
            &["HTTP 404 NoSuchBucket", "create the bucket no-such-bucket"],
        ),
        (
            &[&format!(
                "storage.storage_options.endpoint_url=http://127.0.0.1:{}",
                closed.port
            )],
            &["Connection refused", "endpoint_url", "after 2 attempts"],
        ),
        (
            &[&format!(
                "storage.storage_options.endpoint_url=https://127.0.0.1:{}",
                server.port()
            )],
            &["TLS", "endpoint_url"],
        ),
    ];
    for (more, expected) in cases {
        let scratch = Scratch::new();
        let mut all = words(&scratch, &in_bucket("wrong"), server.words());
        all.push("storage.storage_options.s3_max_attempts=2".into());
        let outcome = job(2, &all, more).fails(1, expected);
        assert!(!outcome.text().contains(SECRET_KEY));
    }
}

#[test]
fn wrong_settings_of_azure_are_named() {
    let server = Azurite::start(true);
    let expired = server.check(&["sas", "-24"]);
    let ca = format!("storage.storage_options.ca_bundle={}", server.ca());
    let sas = format!("storage.storage_options.sas_token='{expired}'");
    let folder = format!("az://{ACCOUNT}/{BUCKET}/tls");
    let cases: [(&[&str], &[&str]); 4] = [
        (&[], &["signed by nobody who is trusted", "ca_bundle"]),
        (
            &[&ca, "storage.storage_options.account_key=d3Jvbmc="],
            &["HTTP 403 Auth", "is wrong or has expired", "account_key"],
        ),
        (&[&ca, &sas], &["HTTP 403", "expired"]),
        (
            &[&ca, "dataset.data_folder=az://devstoreaccount1/absent/x"],
            &["HTTP 404 ContainerNotFound", "create the container absent"],
        ),
    ];
    for (more, expected) in cases {
        let scratch = Scratch::new();
        let all = words(&scratch, &folder, server.words());
        job(2, &all, more).fails(1, expected);
    }
    // Trusted, it works; unverified, it works and the report says so.
    for (word, verifies) in [
        (ca.as_str(), true),
        ("storage.storage_options.verify=false", false),
    ] {
        let scratch = Scratch::new();
        let all = words(&scratch, &folder, server.words());
        job(2, &all, &[word, "workflow.generate_data=true"]).ok();
        let report = json(&scratch.path("out/report.json"));
        assert_eq!(report["object_store"]["verifies_certificates"], verifies);
        let made = &report["object_store"]["connections"];
        assert_eq!(made["made"]["value"], made["tls_handshakes"]["value"]);
        let warned = report["warnings"].to_string().contains("any certificate");
        assert_eq!(warned, !verifies);
    }
}

#[test]
fn the_depth_that_the_store_sees_is_the_loaders() {
    let server = Seaweed::shared();
    generate(&server, "depth");
    for (more, depth) in [
        (&["reader.data_loader=native", "reader.io_depth=5"][..], 5),
        (&["reader.data_loader=pytorch", "reader.read_threads=3"], 3),
        (&["reader.data_loader=pytorch", "reader.read_threads=1"], 1),
    ] {
        // Slow bodies, so that requests overlap as far as they may, and none before they do.
        let slow = Some(Fault::Gather(depth));
        let proxy = FaultProxy::start(server.port(), "/train/", Vec::new(), slow);
        let scratch = Scratch::new();
        let all = words(&scratch, &in_bucket("depth"), s3_words(&proxy.url()));
        let fixed = [
            "workflow.generate_data=false",
            "dataset.listing_validation_interval=0",
            "reader.prefetch_size=8",
            "reader.batch_size=1",
        ];
        job(1, &all, &[more, &fixed].concat()).ok();
        assert_eq!(proxy.peak(), depth, "{more:?}");
    }
}
