//! Cold means cold: what a reader does about the page cache, by the kernel's own counts.

use std::path::Path;
use std::process::Command;

use crate::support::*;

/// A dataset of small npy files on a disk, written by a job of its own; what it wrote is still in memory.
fn generated(scratch: &Scratch, files: u64) -> Vec<String> {
    let mut words = small(scratch, files);
    words.extend([
        "dataset.format=npy".into(),
        "dataset.record_length_bytes=4096".into(),
        "reader.read_threads=2".into(),
        "train.computation_time=0.0".into(),
        "--quiet".into(),
    ]);
    let mut command = solo();
    command
        .args(&words)
        .args(["workflow.generate_data=true", "workflow.train=false"]);
    run(command).ok();
    words.push("workflow.generate_data=false".into());
    words
}

/// Each run has a folder of results of its own.
fn trains(words: &[String], more: &[&str]) -> Outcome {
    let scratch = Scratch::new();
    let mut command = solo();
    command.args(words);
    if !more.iter().any(|word| word.starts_with("--output=")) {
        command.arg(format!("--output={}", scratch.text("results")));
    }
    command.args(more);
    run(command)
}

fn report(scratch: &Scratch, out: &str) -> serde_json::Value {
    json(&scratch.path(out).join("report.json"))
}

/// Bytes of the files of a folder that are in memory, by util-linux's fincore.
fn resident(folder: &Path) -> u64 {
    let files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    let out = Command::new("fincore")
        .args(["--bytes", "--noheadings", "--output", "RES"])
        .args(&files)
        .output()
        .unwrap();
    assert!(out.status.success(), "{out:?}");
    String::from_utf8(out.stdout)
        .unwrap()
        .lines()
        .map(|line| line.trim().parse::<u64>().unwrap())
        .sum()
}

/// Runs the job under strace; how often each system call named a training file, or was made at all where it names none.
fn traced(scratch: &Scratch, words: &[String], more: &[&str], calls: &[&str]) -> Vec<usize> {
    let log = scratch.text("trace");
    let mut command = Command::new("strace");
    command
        .args(["-f", "-o", &log, "-e"])
        .arg(format!("trace={}", calls.join(",")))
        .arg(bin())
        .args(words)
        .args(more);
    if !more.iter().any(|word| word.starts_with("--output=")) {
        command.arg(format!("--output={}", scratch.text("traced")));
    }
    run(command).ok();
    let text = std::fs::read_to_string(&log).unwrap();
    calls
        .iter()
        .map(|call| {
            text.lines()
                .filter(|line| line.contains(&format!(" {call}(")))
                .filter(|line| *call != "openat" || line.contains("/data/train/"))
                .count()
        })
        .collect()
}

const FILES: u64 = 300;

#[test]
fn a_file_is_opened_once_per_read_and_never_flushed() {
    let scratch = Scratch::on_disk();
    let words = generated(&scratch, FILES);
    let train = scratch.path("data/train");
    assert!(resident(&train) > 0, "the generating job left its pages");
    // The first run finds them, and says what finding and forgetting them did to the metadata.
    trains(&words, &[&format!("--output={}", scratch.text("one"))]).ok();
    let first = report(&scratch, "one");
    assert_eq!(first["page_cache"]["metadata"], "warmed by eviction");
    assert_eq!(first["page_cache"]["sampled_files"]["value"], 32);
    assert_eq!(resident(&train), 0);

    let calls = ["openat", "fdatasync", "fsync", "fadvise64"];
    let out = format!("--output={}", scratch.text("two"));
    let counts = traced(&scratch, &words, &[&out], &calls);
    // Two epochs, and the sample; the manifest is forgotten too.
    let reads = 2 * FILES as usize;
    assert_eq!(counts, [reads + 32, 0, 0, reads + 1]);
    let second = report(&scratch, "two");
    assert_eq!(second["page_cache"]["metadata"], "untouched");
    assert_eq!(second["page_cache"]["resident_bytes"]["value"], 0);
    assert_eq!(resident(&train), 0);
}

#[test]
fn files_that_the_run_itself_generated_leave_no_pages() {
    let scratch = Scratch::on_disk();
    let mut words = small(&scratch, 20);
    words.extend(["workflow.generate_data=true".into(), "--quiet".into()]);
    trains(&words, &[&format!("--output={}", scratch.text("out"))]).ok();
    let page_cache = &report(&scratch, "out")["page_cache"];
    assert_eq!(page_cache["metadata"], "untouched", "{page_cache}");
    assert_eq!(page_cache["sampled_files"]["value"], 20);
    assert_eq!(resident(&scratch.path("data/train")), 0);
}

#[test]
fn without_dropping_the_pages_stay_and_each_epoch_is_sampled() {
    let scratch = Scratch::on_disk();
    let words = generated(&scratch, 20);
    let counts = traced(
        &scratch,
        &words,
        &["reader.drop_cache=none"],
        &["openat", "fadvise64"],
    );
    // Two epochs, and a look at each file before each.
    assert_eq!(counts, [80, 0]);
    assert!(report(&scratch, "traced")["page_cache"].is_null());
    assert!(resident(&scratch.path("data/train")) > 0);
}

/// Half of the files are put into the page cache. What the devices delivered meanwhile can not make a PASS of that.
#[test]
fn a_half_cached_dataset_does_not_pass() {
    let scratch = Scratch::on_disk();
    let mut words = generated(&scratch, 40);
    words.extend(["reader.drop_cache=none".into(), "train.epochs=1".into()]);
    let train = scratch.path("data/train");
    let mut files: Vec<_> = std::fs::read_dir(&train)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    let verdict = |warm: usize, out: &str| {
        // Every file is flushed and forgotten, then some are read.
        for (number, path) in files.iter().enumerate() {
            let advice = if number < warm { "cat" } else { "true" };
            let script = format!(
                "sync \"$0\"; dd if=\"$0\" iflag=nocache count=0 status=none; {advice} \"$0\" > /dev/null"
            );
            let done = Command::new("sh")
                .args(["-c", &script])
                .arg(path)
                .status()
                .unwrap();
            assert!(done.success());
        }
        assert_eq!(resident(&train) > 0, warm > 0);
        trains(&words, &[&format!("--output={}", scratch.text(out))]).ok();
        report(&scratch, out)["evidence"][0].clone()
    };
    let cold = verdict(0, "cold");
    assert_eq!(cold["resident_before"]["value"], 0.0, "{cold}");
    let half = verdict(files.len() / 2, "half");
    assert_eq!(half["resident_before"]["value"], 50.0, "{half}");
    assert_ne!(half["verdict"], "PASS", "{half}");
    // The run itself has left all of them in memory.
    trains(&words, &[&format!("--output={}", scratch.text("warm"))]).ok();
    let warm = &report(&scratch, "warm")["evidence"][0];
    assert_eq!(warm["resident_before"]["value"], 100.0, "{warm}");
    assert_eq!(warm["verdict"], "CACHED", "{warm}");
}

/// Metadata and samples of a file go over one descriptor, whatever its format: opens are reads of files.
#[test]
fn metadata_and_samples_share_a_descriptor() {
    for (format, more) in [
        ("hdf5", &["dataset.hdf5.num_dset_per_record=1"][..]),
        ("parquet", &[]),
        ("npz", &["reader.decode=full"]),
        ("csv", &[]),
        ("png", &["reader.decode=verify"]),
        ("tfrecord", &["dataset.num_samples_per_file=3"]),
        ("indexed_binary", &["dataset.num_samples_per_file=3"]),
    ] {
        let scratch = Scratch::on_disk();
        let mut words = generated(&scratch, 20);
        words.extend([
            format!("dataset.format={format}"),
            format!("dataset.data_folder={}", scratch.text("more/data")),
            "reader.drop_cache=none".into(),
            "train.epochs=1".into(),
            "reader.read_threads=1".into(),
            "reader.file_shuffle=off".into(),
            "reader.sample_shuffle=off".into(),
        ]);
        words.extend(more.iter().map(|word| word.to_string()));
        trains(
            &words,
            &["workflow.generate_data=true", "workflow.train=false"],
        )
        .ok();
        let counts = traced(
            &scratch,
            &words,
            &["storage.storage_type=direct_fs"],
            &["openat"],
        );
        let expected = match format {
            // The first file is looked at before the run: others write bare bytes under the names of images.
            "png" => 21,
            // Two companions with offsets and sizes lie beside each file.
            "indexed_binary" => 60,
            _ => 20,
        };
        assert_eq!(counts, [expected], "{format}");
    }
}

#[test]
fn direct_reads_advise_nothing() {
    let scratch = Scratch::on_disk();
    let words = generated(&scratch, 20);
    let counts = traced(
        &scratch,
        &words,
        &["storage.storage_type=direct_fs"],
        &["openat", "fadvise64"],
    );
    assert_eq!(counts, [40, 0]);
    assert!(report(&scratch, "traced")["page_cache"].is_null());
}

/// Samples of one file that follow each other are read through one descriptor.
#[test]
fn samples_that_follow_each_other_share_a_descriptor() {
    let scratch = Scratch::on_disk();
    let mut words = generated(&scratch, 2);
    // Small records of two files, one after the other by one thread.
    words.extend([
        "dataset.format=indexed_binary".into(),
        "dataset.num_samples_per_file=200".into(),
        "dataset.record_length_bytes=512".into(),
        "reader.read_threads=1".into(),
        "reader.drop_cache=none".into(),
        "train.epochs=1".into(),
        format!("dataset.data_folder={}", scratch.text("more/data")),
    ]);
    trains(
        &words,
        &["workflow.generate_data=true", "workflow.train=false"],
    )
    .ok();
    let counts = traced(&scratch, &words, &[], &["openat", "pread64"]);
    assert!(counts[1] >= 400, "{counts:?}");
    assert!(counts[0] <= 10, "{counts:?}");
}

/// The release of the running kernel: major, minor.
fn kernel() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map(|n| n.trim().parse().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn dontcache_leaves_no_pages_or_is_refused() {
    let scratch = Scratch::on_disk();
    let words = generated(&scratch, 20);
    let dontcache = "reader.drop_cache=dontcache";
    let outcome = trains(&words, &[dontcache]);
    let refused = ["RWF_DONTCACHE", "remedy: set reader.drop_cache=fadvise"];
    if kernel() >= (6, 14) && outcome.status == Some(0) {
        assert_eq!(resident(&scratch.path("data/train")), 0);
        let flagged = traced(&scratch, &words, &[dontcache], &["preadv2", "pread64"]);
        assert!(flagged[0] >= 40, "{flagged:?}");
    } else {
        // An old kernel, or a file system without it.
        outcome.fails(1, &refused);
    }
    // Memory file systems have it on no kernel.
    let memory = Path::new("/dev/shm");
    assert!(memory.is_dir());
    let folder = tempfile::tempdir_in(memory).unwrap();
    let data = format!("dataset.data_folder={}/data", folder.path().display());
    trains(
        &words,
        &[&data, "workflow.generate_data=true", "workflow.train=false"],
    )
    .ok();
    trains(&words, &[&data, dontcache]).fails(1, &refused);
    trains(&words, &[dontcache, "storage.storage_type=mmap"])
        .fails(2, &["reader.drop_cache", "mmap", "remedy: "]);
}

/// The limit of open files is raised as far as it may be; one that cannot hold the readers is reported before the run.
#[test]
fn the_limit_of_open_files_is_raised_or_reported() {
    let scratch = Scratch::new();
    let words = generated(&scratch, 64);
    let limited = |limits: &str| {
        let mut command = Command::new("sh");
        let script = format!("{limits}; exec \"$0\" \"$@\"");
        command
            .args(["-c", &script, bin()])
            .args(&words)
            .args(["reader.read_threads=32", "reader.batch_size=1"])
            .arg(format!("--output={}", scratch.text(limits)));
        run(command)
    };
    limited("ulimit -Hn 4096; ulimit -Sn 80").ok();
    limited("ulimit -n 200").fails(1, &["the limit of this process is 200", "remedy: "]);
}
