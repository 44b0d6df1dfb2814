//! Metadata of data files: it comes through the storage system like samples, counts, and lives for one epoch.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use crate::servers::*;
use crate::support::*;

const FORMATS: [&str; 4] = ["hdf5", "tfrecord", "indexed_binary", "parquet"];

fn words(scratch: &Scratch, format: &str) -> Vec<String> {
    let mut words = small(scratch, 6);
    words.extend([
        format!("dataset.format={format}"),
        "dataset.record_dims=[40,50]".into(),
        "dataset.num_samples_per_file=3".into(),
        "reader.batch_size=1".into(),
        "reader.read_threads=2".into(),
    ]);
    if format == "hdf5" {
        words.push("dataset.hdf5.chunk_dims=[1,20,25]".into());
    }
    words
}

fn generated(format: &str) -> Scratch {
    let scratch = Scratch::new();
    let mut command = solo();
    command.arg("generate").args(words(&scratch, format));
    run(command).ok();
    scratch
}

/// Runs a training under strace; returns the opens of files whose names hold `.FORMAT`.
fn opens(scratch: &Scratch, format: &str, more: &[&str]) -> Vec<String> {
    let mut trace = Command::new("strace");
    trace
        .args(["-f", "-e", "trace=open,openat", "-o"])
        .arg(scratch.path("trace"))
        .arg(bin())
        .args(words(scratch, format))
        .args(["workflow.generate_data=false", "reader.drop_cache=none"])
        .args(more);
    run(trace).ok();
    let trace = std::fs::read_to_string(scratch.path("trace")).unwrap();
    trace
        .lines()
        .filter(|line| line.contains(&format!(".{format}")))
        .map(String::from)
        .collect()
}

/// Thousands of ranks would ask for the same file at the same time.
#[test]
fn the_manifest_is_read_by_one_rank() {
    let scratch = generated("npz");
    let traces = scratch.path("traces");
    std::fs::create_dir(&traces).unwrap();
    let mut ranks = mpirun_of(4, std::path::Path::new("strace"));
    ranks
        .args(["-ff", "-e", "trace=open,openat", "-o"])
        .arg(traces.join("t"))
        .arg(bin())
        .args(words(&scratch, "npz"))
        .arg("workflow.generate_data=false");
    run(ranks).ok();
    let opens = |entry: std::io::Result<std::fs::DirEntry>| {
        let trace = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        trace.matches(".dlio-rs-manifest.json").count()
    };
    let opens: usize = std::fs::read_dir(&traces).unwrap().map(opens).sum();
    // By rank 0, and once more per host where folders are compared.
    assert!((1..=2).contains(&opens), "{opens} opens by 4 ranks");
}

/// A library that opened files by itself would read their metadata through the page cache.
#[test]
fn direct_fs_opens_every_data_file_with_o_direct() {
    for format in FORMATS {
        let scratch = generated(format);
        let opens = opens(&scratch, format, &["storage.storage_type=direct_fs"]);
        assert!(opens.len() >= 6, "{format}: {opens:?}");
        for open in opens {
            assert!(open.contains("O_DIRECT"), "{open}");
        }
    }
}

/// A scan of headers opened the file again for each of its records.
#[test]
fn a_tfrecord_file_without_index_is_scanned_in_windows() {
    let scratch = generated("tfrecord");
    let more = ["dataset.num_samples_per_file=1251", "train.epochs=1"];
    let mut command = solo();
    std::fs::remove_dir_all(scratch.path("data")).unwrap();
    command
        .arg("generate")
        .args(words(&scratch, "tfrecord"))
        .args(more);
    run(command).ok();
    std::fs::remove_dir_all(scratch.path("data/index")).unwrap();
    let opens = opens(
        &scratch,
        "tfrecord",
        &[
            &more[..],
            &["framework=tensorflow", "reader.data_loader=native"],
        ]
        .concat(),
    );
    // At most one open per sample, and for each file those of a scan: 2.6 MB are at most 11 windows.
    let most = 6 * 1251 + 6 * 13;
    assert!(opens.len() <= most, "{} opens", opens.len());
}

fn epochs(scratch: &Scratch, format: &str, out: &str, more: &[&str]) -> Vec<u64> {
    // One rank: shuffled files move from rank to rank, and what one knows of them the other does not.
    let mut command = solo();
    command
        .args(words(scratch, format))
        .args(["workflow.generate_data=false", "train.epochs=3"])
        .arg(format!("output.folder={}", scratch.text(out)))
        .args(more);
    run(command).ok();
    let report = json(&scratch.path(&format!("{out}/report.json")));
    let epochs = report["epochs"].as_array().unwrap();
    let bytes = |epoch: &serde_json::Value| epoch["bytes_read"]["value"].as_u64().unwrap();
    epochs.iter().map(bytes).collect()
}

/// Epochs of equal work read equally much; kept for the run, metadata is read in the first epoch only.
#[test]
fn metadata_is_read_once_per_epoch_run_or_read() {
    const SAMPLES: u64 = 18 * 2000;
    for (format, metadata) in [("hdf5", None), ("indexed_binary", Some(6 * 48))] {
        let scratch = generated(format);
        let epoch = epochs(&scratch, format, "epoch", &[]);
        let metadata = metadata.unwrap_or(epoch[0] - SAMPLES);
        assert!(metadata > 0);
        assert_eq!(epoch, [SAMPLES + metadata; 3], "{format}");
        let run = epochs(&scratch, format, "run", &["reader.index_cache=run"]);
        assert_eq!(run, [SAMPLES + metadata, SAMPLES, SAMPLES], "{format}");
        let none = epochs(&scratch, format, "none", &["reader.index_cache=none"]);
        assert_eq!(none, [SAMPLES + 3 * metadata; 3], "{format}");
    }
}

/// The histogram of read calls has those for metadata, too, by every way of reading.
#[test]
fn as_many_read_calls_have_a_duration_as_are_counted() {
    for (format, storage) in [
        ("hdf5", "local_fs"),
        ("hdf5", "direct_fs"),
        ("indexed_binary", "local_fs"),
        ("tfrecord", "local_fs"),
    ] {
        let scratch = generated(format);
        let storage = format!("storage.storage_type={storage}");
        epochs(&scratch, format, "out", &[&storage]);
        let report = json(&scratch.path("out/report.json"));
        let counters = &report["counters"];
        assert!(counters["metadata_reads"]["value"].as_u64() > Some(0));
        let stages = report["stages"].as_array().unwrap();
        let read = stages.iter().find(|s| s["stage"] == "read").unwrap();
        assert_eq!(
            read["count"], counters["reads"]["value"],
            "{format} {storage}"
        );
    }
}

/// A relay in front of a server that counts what the server sends.
struct Meter {
    port: u16,
    sent: Arc<AtomicU64>,
}

impl Meter {
    fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let sent = Arc::new(AtomicU64::new(0));
        let counter = sent.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(("127.0.0.1", upstream)).unwrap();
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || relay(from, to, None));
                let counter = counter.clone();
                std::thread::spawn(move || relay(server, client, Some(&counter)));
            }
        });
        Meter { port, sent }
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, counter: Option<&AtomicU64>) {
    let mut buffer = vec![0; 1 << 16];
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        if let Some(counter) = counter {
            counter.fetch_add(n as u64, SeqCst);
        }
        if to.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// What the server sends is what the report says, and nothing is put into the folder of temporary files.
#[test]
fn objects_are_not_downloaded_a_second_time_for_their_metadata() {
    let server = Seaweed::shared();
    for format in FORMATS {
        let scratch = Scratch::new();
        let meter = Meter::start(server.port());
        let on = |port: u16, more: &[&str]| {
            let mut command = solo();
            command
                .args(words(&scratch, format))
                .args(s3_words(&format!("http://127.0.0.1:{port}")))
                .arg(format!(
                    "dataset.data_folder=s3://{BUCKET}/metadata/{format}"
                ))
                .args([
                    "dataset.record_dims=[400,500]",
                    "reader.transfer_size=65536",
                ])
                .args(more);
            if format == "hdf5" {
                command.arg("dataset.hdf5.chunk_dims=[1,200,250]");
            }
            command
        };
        run(on(server.port(), &["workflow.train=false"])).ok();
        let mut train = on(meter.port, &["workflow.generate_data=false"]);
        // Whoever writes there fails.
        train.env("TMPDIR", scratch.path("no-such-folder"));
        run(train).ok();
        let report = json(&scratch.path("out/report.json"));
        let read = report["counters"]["bytes_read"]["value"].as_u64().unwrap();
        let sent = meter.sent.load(SeqCst);
        let payload = 2 * 18 * 200_000;
        assert!(read >= payload, "{format}: {read}");
        // Heads of answers, the manifest, and presence checks: less than 5 % of what is read.
        let extra = sent.checked_sub(read).unwrap();
        assert!(extra < payload / 20, "{format}: {sent} sent, {read} read");
    }
}
