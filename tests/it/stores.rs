//! What servers and clients differ in: requests that one knows and another refuses, keys as they are written, the SDK's
//! own data path; counted on the wire.

#[cfg(feature = "sdk")]
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dlio_rs::internal::{Client, Storage};

use crate::fault_proxy::{Fault, FaultProxy};
use crate::scripted::{Asked, Reply, Scripted};
#[cfg(feature = "sdk")]
use crate::servers::Seaweed;
use crate::servers::{ACCOUNT, Azurite, BUCKET, in_bucket};
use crate::support::*;

fn control_requests(store: &dyn Storage) -> u64 {
    store.telemetry().unwrap().endpoints[0].control_requests
}

/// A batch of deletions that is answered with status 500, as Azurite answers one signed for the account: it is tried
/// once, and the blobs go one by one.
#[test]
fn a_batch_that_is_refused_is_tried_once() {
    let azurite = Azurite::shared();
    let refused = Some(Fault::Status(500, ""));
    let proxy = FaultProxy::start(azurite.port(), "comp=batch", Vec::new(), refused);
    let url = format!("{}/{ACCOUNT}", proxy.url());
    let store = azurite.storage_at(&url, Client::Native, "batches");
    let root = Path::new("az://").join(format!("{ACCOUNT}/{BUCKET}/batches"));
    for more in [1, 0] {
        let paths: Vec<PathBuf> = (0..5).map(|i| root.join(i.to_string())).collect();
        for path in &paths {
            let mut writer = store.create(path).unwrap();
            writer.write(b"x").unwrap();
            writer.finish().unwrap();
        }
        let counted = control_requests(&*store);
        let all: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
        store.remove_many(&all).unwrap();
        assert_eq!(control_requests(&*store) - counted, 5 + more);
        assert!(paths.iter().all(|path| store.len(path).unwrap().is_none()));
    }
    assert_eq!(proxy.matched(), 1, "batches on the wire");
    let telemetry = store.telemetry().unwrap();
    assert_eq!(telemetry.endpoints[0].failures, 0);
    assert!(telemetry.endpoints[0].retries.values().all(|n| *n == 0));
}

/// Four files of 128 KiB, generated and read once, compared with what was generated.
fn words(scratch: &Scratch, folder: &str, server: Vec<String>) -> Vec<String> {
    let more = [
        "dataset.record_length_bytes=131072",
        "workflow.generate_data=true",
        "storage.storage_options.retry_delay=0.01",
        "train.epochs=1",
    ];
    compared(scratch, 4, folder, &more, server)
}

fn job(words: &[String], more: &[&str]) -> Outcome {
    let mut command = solo();
    command.env_remove("AWS_PROFILE").arg("run");
    command.args(words).args(more);
    run(command)
}

fn is_train(asked: &Asked) -> bool {
    asked.target.contains("/train/")
}

/// Keys whose names a file system would make plain, on the wire as they are in the address.
#[test]
fn keys_reach_the_store_as_they_are_written() {
    let server = Scripted::start(|_, _| None);
    for prefix in ["a//b", "/a", "a/./b", "a/../b", ".", "//"] {
        let scratch = Scratch::new();
        let all = words(&scratch, &in_bucket(prefix), server.words());
        job(
            &all,
            &[
                "dataset.keep_files=false",
                "dataset.num_files_train=1",
                "reader.batch_size=1",
            ],
        )
        .ok();
        let begins = match prefix.trim_end_matches('/') {
            "" => format!("/{BUCKET}/train/"),
            prefix => format!("/{BUCKET}/{prefix}/train/"),
        };
        let mut seen = server.seen.lock().unwrap();
        for method in ["PUT", "GET", "DELETE"] {
            assert!(
                seen.iter()
                    .any(|a| a.method == method && a.target.starts_with(&begins)),
                "{prefix}: {method} {begins}: {seen:?}"
            );
        }
        seen.clear();
    }
    assert!(server.objects.lock().unwrap().is_empty());
}

/// Google's interoperability with S3: its own variables, no deletion of several objects, Content-MD5, `x-goog-hash`.
#[test]
fn google_is_asked_in_the_words_that_it_knows() {
    let server = Scripted::start(|_, _| None);
    let scratch = Scratch::new();
    let endpoint = format!("storage.storage_options.endpoint_url={}", server.url());
    let all = words(&scratch, &format!("gs://{BUCKET}/x"), vec![endpoint]);
    let run_with = |more: &[&str]| {
        let mut command = solo();
        command
            .env("GS_ACCESS_KEY_ID", "GOOG1E")
            .env("GS_SECRET_ACCESS_KEY", "hmac-secret")
            .env("AWS_ACCESS_KEY_ID", "AKIA")
            .env("AWS_SECRET_ACCESS_KEY", "amazons")
            .env("AWS_SESSION_TOKEN", "amazons-token")
            .arg("run")
            .args(&all)
            .args(more);
        run(command)
    };
    run_with(&[
        "dataset.keep_files=false",
        "storage.storage_options.checksum=md5",
    ])
    .ok();
    assert!(server.objects.lock().unwrap().is_empty());
    assert_eq!(server.count(|a| a.method == "POST"), 0, "no batch");
    assert!(server.count(|a| a.method == "DELETE") >= 4);
    {
        let seen = server.seen.lock().unwrap();
        for asked in seen.iter() {
            let signed = asked.header("authorization");
            assert!(signed.contains("Credential=GOOG1E/"), "{signed}");
            assert_eq!(asked.header("x-amz-security-token"), "");
        }
        let puts: Vec<_> = seen
            .iter()
            .filter(|a| a.method == "PUT" && is_train(a))
            .collect();
        assert_eq!(puts.len(), 4);
        assert!(puts.iter().all(|a| a.header("content-md5").len() == 24));
    }
    let other = format!("output.folder={}", scratch.text("other"));
    run_with(&["storage.storage_options.checksum=crc32c", &other])
        .fails(1, &["checksum=crc32c on gs://", "md5 or none"]);

    // Google's checksum of a whole object is compared; this one is another object's.
    let wrong = Scripted::start(|asked, server| {
        (asked.method == "GET" && is_train(asked)).then(|| {
            let object = server.objects.lock().unwrap()[&asked.target].clone();
            let hash = "etag: \"e\"\r\nx-goog-hash: crc32c=ipE2qg==,md5=AAAA\r\n";
            Reply::Raw(Reply::of(200, hash, &object))
        })
    });
    let scratch = Scratch::new();
    let all = words(&scratch, &format!("gs://{BUCKET}/x"), wrong.words());
    job(&all, &[]).fails(1, &["x-goog-hash"]);
}

/// The requests of a run with the SDK's own data path: as many as the report says, retries too.
#[cfg(feature = "sdk")]
#[test]
fn the_sdk_moves_the_bytes_and_every_request_is_counted() {
    let failed = std::sync::Mutex::new(BTreeSet::new());
    // The first GET of each object ends inside its body, the first PUT is answered with 503.
    let server = Scripted::start(move |asked, server| {
        // The SDK adds a query to the path.
        let path = asked.target.split('?').next().unwrap();
        let object = server.objects.lock().unwrap().get(path).cloned();
        let is_meant = match asked.method.as_str() {
            "PUT" => is_train(asked),
            "GET" => is_train(asked) && object.is_some(),
            _ => false,
        };
        let name = (asked.method.clone(), path.to_owned());
        if !is_meant || !failed.lock().unwrap().insert(name) {
            return None;
        }
        Some(match (asked.method.as_str(), object) {
            ("GET", Some(object)) => {
                let mut answer = Reply::of(200, "etag: \"e\"\r\n", &object);
                answer.truncate(answer.len() - 1000);
                Reply::Last(answer)
            }
            _ => Reply::Raw(Reply::error(503, "SlowDown")),
        })
    });
    let scratch = Scratch::new();
    let mut all = words(&scratch, &in_bucket("sdk"), server.words());
    all.push("storage.storage_options.client=sdk".into());
    job(&all, &[]).ok();
    let report = json(&scratch.path("out/report.json"));
    assert_eq!(
        report["provenance"]["storage_library"]["name"],
        "aws-sdk-s3"
    );
    let store = &report["object_store"];
    assert!(store.get("connections").is_none(), "absent, not 0");
    let endpoint = &store["endpoints"][0];
    let number = |name: &str| endpoint[name]["value"].as_u64().unwrap();
    let of = |method: &str| server.count(|a| a.method == method);
    assert_eq!(number("put_requests"), of("PUT"));
    let all = number("get_requests") + number("put_requests") + number("control_requests");
    assert_eq!(all, server.count(|_| true));
    let retries = |class: &str| endpoint["retries"][class]["value"].as_u64().unwrap();
    assert!(retries("slow_down") >= 4, "{endpoint}");
    assert_eq!(retries("truncated"), 4, "{endpoint}");
    // Each went on where it broke off.
    let resumed = server.count(|a| {
        let range = a.header("range");
        a.method == "GET" && is_train(a) && !range.is_empty() && !range.starts_with("bytes=0-")
    });
    assert!(resumed >= 3, "{resumed}");
    let seen = server.seen.lock().unwrap();
    let agent = seen[0].header("user-agent");
    assert!(agent.contains("aws-sdk-rust"), "{agent}");
}

/// The SDK works in threads of its own: what they burn is cost of reading, and all that is burnt is what the kernel counts.
#[cfg(feature = "sdk")]
#[test]
fn what_the_sdks_threads_burn_is_a_cost_of_reading() {
    let server = Scripted::start(|_, _| None);
    let scratch = Scratch::new();
    let mut all = words(&scratch, &in_bucket("sdk-cpu"), server.words());
    all.extend([
        "storage.storage_options.client=sdk".into(),
        "dataset.num_files_train=32".into(),
        "dataset.record_length_bytes=4194304".into(),
        "reader.verify_content=off".into(),
        "train.computation_time=0".into(),
    ]);
    let mut generate = solo();
    run({
        generate.env_remove("AWS_PROFILE");
        generate.arg("generate").args(&all);
        generate
    })
    .ok();
    // (by the kernel, all that was burnt, of reading, spun and of reports), seconds
    let burnt = |epochs: u64| {
        let mut command = std::process::Command::new("/usr/bin/time");
        command.env_remove("AWS_PROFILE").args(["-v", bin(), "run"]);
        command.args(&all).args([
            format!("train.epochs={epochs}"),
            "workflow.generate_data=false".into(),
            format!("--output={}", scratch.text(&format!("out{epochs}"))),
        ]);
        let said = run(command).ok().stderr;
        let kernel = by_time(&said, "User time") + by_time(&said, "System time");
        let report = json(&scratch.path(&format!("out{epochs}/report.json")));
        let of = |name: &str| report["counters"][name]["value"].as_f64().unwrap();
        let other = of("spin_time") + of("report_cpu_time");
        (kernel, of("cpu_time"), of("reader_cpu_time"), other)
    };
    let (short, long) = (burnt(1), burnt(9));
    println!("{short:?} {long:?}");
    let (kernel, all, reading, other) = long;
    assert!(reading > 0.8 * (all - other), "{long:?}");
    // Starting and ending cost both the same, and are not in our figure.
    let (by_kernel, by_us) = (kernel - short.0, all - short.1);
    assert!((by_us / by_kernel - 1.0).abs() < 0.1, "{short:?} {long:?}");
}

/// Without the feature the key is refused by name, and nothing falls back.
#[cfg(not(feature = "sdk"))]
#[test]
fn a_build_without_the_sdks_transport_says_how_to_get_it() {
    let server = Scripted::start(|_, _| None);
    let scratch = Scratch::new();
    let all = words(&scratch, &in_bucket("sdk"), server.words());
    job(&all, &["storage.storage_options.client=sdk"]).fails(1, &["--features sdk"]);
    assert_eq!(server.count(|_| true), 0);
}

/// What one client wrote, in parts too, the other reads, on real servers; TLS with an authority of the user's.
#[cfg(feature = "sdk")]
#[test]
fn what_one_client_wrote_the_other_reads() {
    let (s3, azure) = (Seaweed::shared(), Azurite::start(true));
    let mut on_azure = azure.words();
    on_azure.push(format!("storage.storage_options.ca_bundle={}", azure.ca()));
    for (name, folder, more) in [
        ("s3", format!("s3://{BUCKET}/both"), s3.words()),
        ("azure", format!("az://{ACCOUNT}/{BUCKET}/both"), on_azure),
    ] {
        for (writer, reader) in [("sdk", "native"), ("native", "sdk")] {
            println!("{name} {writer} {reader}");
            let client = |word: &str| format!("storage.storage_options.client={word}");
            let scratch = Scratch::new();
            let mut all = words(&scratch, &format!("{folder}-{writer}"), more.clone());
            all.extend([
                "dataset.record_length_bytes=14680064".into(),
                "dataset.num_files_train=2".into(),
                "storage.storage_options.part_size=5242880".into(),
                "reader.range_size=4000000".into(),
            ]);
            job(&all, &["workflow.train=false", &client(writer)]).ok();
            job(
                &all,
                &[
                    "workflow.generate_data=false",
                    "dataset.keep_files=false",
                    &client(reader),
                ],
            )
            .ok();
        }
    }
}

/// Whichever moves the bytes: every upload and every part carries the checksum that was asked for, and it is the same.
#[cfg(feature = "sdk")]
#[test]
fn both_clients_send_the_checksum_that_was_asked_for() {
    for (word, header) in [
        ("none", ""),
        ("crc32c", "x-amz-checksum-crc32c"),
        ("sdk", "x-amz-checksum-crc32"),
        ("md5", "content-md5"),
    ] {
        let sent = ["native", "sdk"].map(|client| {
            let server = Scripted::start(|_, _| None);
            let scratch = Scratch::new();
            let mut all = words(&scratch, &in_bucket("sums"), server.words());
            all.extend([
                format!("storage.storage_options.client={client}"),
                format!("storage.storage_options.checksum={word}"),
                // Two parts a file.
                "dataset.record_length_bytes=6000000".into(),
                "storage.storage_options.part_size=5242880".into(),
                "dataset.num_files_train=2".into(),
            ]);
            job(&all, &["workflow.train=false"]).ok();
            let seen = server.seen.lock().unwrap();
            let puts = seen.iter().filter(|a| a.method == "PUT" && is_train(a));
            let mut sums: Vec<_> = puts
                .map(|a| {
                    let names = a.headers.keys().filter(|name| {
                        name.starts_with("x-amz-checksum-") || *name == "content-md5"
                    });
                    let names: Vec<_> = names.cloned().collect();
                    (names.join(" "), a.header(header).to_string())
                })
                .collect();
            sums.sort();
            sums
        });
        assert_eq!(sent[0].len(), 4, "{sent:?}");
        assert!(sent[0].iter().all(|(names, _)| names == header), "{sent:?}");
        assert_eq!(sent[0], sent[1], "{word}");
    }
}

/// A proxy that the SDK's transport cannot use is refused, never passed by.
#[cfg(feature = "sdk")]
#[test]
fn the_sdk_does_not_pass_a_proxy_by() {
    let server = Scripted::start(|_, _| None);
    let scratch = Scratch::new();
    let all = words(&scratch, &in_bucket("x"), server.words());
    let more = [
        "storage.storage_options.client=sdk",
        "storage.storage_options.endpoint_url=http://store.example.com",
        "storage.storage_options.proxy=http://127.0.0.1:9",
    ];
    job(&all, &more).fails(1, &["client=sdk", "proxy", "client=native"]);
}

/// One server of scripts/matrix_stores.py, every cell of it; `known`: cells that it cannot do, and why.
fn matrix(server: &str, known: &[(&str, &str)]) {
    let npm = std::env::var("CARGO_TARGET_DIR")
        .map_or_else(|_| repo().join("target"), PathBuf::from)
        .join("npm");
    let mut command = std::process::Command::new(python());
    command.arg(repo().join("scripts/matrix_stores.py")).args([
        "--bin",
        bin(),
        "--npm",
        npm.to_str().unwrap(),
        "--json",
        server,
    ]);
    let outcome = run(command).ok();
    let table: serde_json::Value = serde_json::from_str(&outcome.stdout).unwrap();
    let cells = table[server].as_object().unwrap();
    assert_eq!(cells.len(), 14);
    for (cell, outcome) in cells {
        let outcome = outcome.as_str().unwrap();
        match known.iter().find(|(name, _)| name == cell) {
            Some((_, why)) => assert!(outcome.contains(why), "{server}, {cell}: {outcome}"),
            None => assert!(
                outcome.starts_with("ok") || outcome == "n/a",
                "{server}, {cell}: {outcome}"
            ),
        }
    }
}

#[test]
fn s3rver_does_all_of_the_matrix() {
    matrix("s3rver", &[]);
}

#[test]
fn localbucket_does_all_of_the_matrix() {
    matrix("localbucket", &[]);
}

#[test]
fn nanio_does_all_of_the_matrix() {
    matrix("nanio", &[]);
}

#[test]
fn google_cloud_storage_does_all_of_the_matrix_on_moto() {
    matrix("moto as gs://", &[]);
}
