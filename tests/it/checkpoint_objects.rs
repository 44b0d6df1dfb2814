//! Checkpoints on real object stores.

use std::time::{Duration, Instant};

use crate::checkpoint::tiny;
use crate::fault_proxy::{Fault, FaultProxy};
use crate::scripted::{Reply, Scripted};
use crate::servers::*;
use crate::support::*;

/// A checkpoint of a few megabytes in the bucket's folder `name`.
fn words(scratch: &Scratch, bucket: &str, name: &str) -> Vec<String> {
    let mut words = tiny(scratch);
    words.extend([
        format!("checkpoint.checkpoint_folder={bucket}/{name}"),
        "model.transformer.hidden_size=256".into(),
        "model.transformer.ffn_hidden_size=1024".into(),
        "--quiet".into(),
    ]);
    words
}

fn job(words: &[String], more: &[&str]) -> Outcome {
    let mut command = mpirun(2);
    command.args(words).args(more);
    run(command)
}

/// Saves, loads with verification, and lets the store's own library count the objects.
fn saves_and_loads(all: &[String], scratch: &Scratch, listed: impl Fn() -> String) {
    let out = job(
        all,
        &["checkpoint.num_checkpoints_write=2", "checkpoint.keep=1"],
    )
    .ok();
    assert!(!out.text().contains(SECRET_KEY) && !out.text().contains(ACCOUNT_KEY));
    let report = json(&scratch.path("out/report.json"));
    let save = &report["checkpoint"]["save"];
    assert_eq!(save["count"], 2);
    let sizes: std::collections::BTreeMap<String, u64> = serde_json::from_str(&listed()).unwrap();
    // Without the marker, and without the checkpoint that was not to be kept.
    let names: Vec<&String> = sizes.keys().collect();
    assert_eq!(sizes.len(), 3, "{names:?}");
    assert!(
        names
            .iter()
            .all(|n| n.contains("global_epoch1_step2/") && n.ends_with(".pt")),
        "{names:?}"
    );
    assert_eq!(save["file_bytes"]["value"], 2 * sizes.values().sum::<u64>());
    assert_eq!(report["checkpoint"]["load"]["count"], 1);
}

#[test]
fn s3_saves_and_loads() {
    let server = Seaweed::shared();
    let scratch = Scratch::new();
    let mut all = words(&scratch, &format!("s3://{BUCKET}"), "checkpoints");
    all.extend(server.words());
    saves_and_loads(&all, &scratch, || server.check(&["list", "checkpoints/"]));
}

#[test]
fn azure_saves_and_loads() {
    let server = Azurite::shared();
    let scratch = Scratch::new();
    let mut all = words(&scratch, &format!("az://{ACCOUNT}/{BUCKET}"), "checkpoints");
    all.extend(server.words());
    saves_and_loads(&all, &scratch, || server.check(&["list", "checkpoints/"]));
}

#[test]
fn a_server_killed_in_mid_save_leaves_a_marked_checkpoint() {
    let server = Seaweed::start();
    let scratch = Scratch::new();
    let mut all = words(&scratch, &format!("s3://{BUCKET}"), "killed");
    all.extend(server.words());
    // No file of a checkpoint arrives; its marker does.
    let stall = Some(Fault::Stall(Duration::from_secs(5)));
    let proxy = FaultProxy::start(server.port(), "_states.pt", Vec::new(), stall);
    let through = s3_words(&proxy.url());
    let twice = [
        "storage.storage_options.s3_max_attempts=2",
        "storage.storage_options.retry_delay=0.1",
    ];
    let mut command = mpirun(2);
    command.args(&all).args(through).args(twice);
    let child = start(command);
    wait_for(60, || proxy.matched() > 0);
    server.kill();
    let out = finish(child, 60);
    out.fails(1, &["save checkpoint file s3://", "_states.pt", "remedy"]);
    assert!(!scratch.path("out").exists());
    server.run();
    job(&all, &["checkpoint.num_checkpoints_write=0"])
        .fails(1, &["load checkpoint s3://", "is marked incomplete"]);
}

#[test]
fn every_request_of_a_checkpoint_is_in_the_report() {
    use std::sync::atomic::Ordering::SeqCst;

    let server = Scripted::start(|_, _| None);
    let scratch = Scratch::new();
    let mut all = words(&scratch, &format!("s3://{BUCKET}"), "counted");
    all.extend(server.words());
    all.push("storage.storage_options.part_size=5242880".into());
    job(&all, &[]).ok();
    let report = json(&scratch.path("out/report.json"));
    let store = &report["object_store"];
    let number = |v: &serde_json::Value| v["value"].as_u64().unwrap();
    let endpoint = &store["endpoints"][0];
    let of = |method: &str| server.count(|a| a.method == method);
    assert!(of("PUT") > 2 && of("GET") > 2);
    assert_eq!(number(&endpoint["put_requests"]), of("PUT"));
    let kinds = ["get_requests", "put_requests", "control_requests"];
    let reported: u64 = kinds.iter().map(|kind| number(&endpoint[kind])).sum();
    assert_eq!(reported, server.count(|_| true));
    assert_eq!(
        number(&store["connections"]["made"]),
        server.connections.load(SeqCst)
    );
}

/// The names of checkpoint files in the order in which requests that write came for them; one that comes again at once
/// is there once.
fn written(server: &Scripted) -> Vec<String> {
    let seen = server.seen.lock().unwrap();
    let mut names: Vec<String> = (seen.iter())
        .filter(|asked| matches!(asked.method.as_str(), "PUT" | "POST"))
        .filter_map(|asked| asked.target.split('?').next())
        .filter(|name| name.ends_with(".pt"))
        .map(Into::into)
        .collect();
    names.dedup();
    names
}

#[test]
fn two_files_of_a_rank_are_on_their_way_at_once() {
    for files in ["", "checkpoint.write_files=1"] {
        let together = files.is_empty();
        let server = Scripted::start(move |asked, server| {
            let is_state = asked.method == "PUT" && asked.target.contains(".pt");
            // No upload ends before another one has begun.
            let end = Instant::now() + Duration::from_secs(100);
            while together && is_state && written(server).len() < 2 {
                if Instant::now() > end {
                    return Some(Reply::Raw(Reply::error(403, "TheOtherFileNeverCame")));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            None
        });
        let scratch = Scratch::new();
        let mut all = words(&scratch, &format!("s3://{BUCKET}"), "together");
        all.extend(server.words());
        all.push("storage.storage_options.read_timeout=200".into());
        all.extend((!together).then(|| files.to_string()));
        let mut command = solo();
        command.arg("run").args(&all);
        run(command).ok();
        let objects = server.objects.lock().unwrap().len();
        assert_eq!(objects, 2, "{:?}", written(&server));
        if !together {
            assert_eq!(written(&server).len(), 2, "one after the other");
        }
        let report = json(&scratch.path("out/report.json"));
        let endpoint = &report["object_store"]["endpoints"][0];
        let put = server.count(|a| a.method == "PUT");
        assert_eq!(endpoint["put_requests"]["value"], put);
    }
}
