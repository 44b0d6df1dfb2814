//! DLIO's profilers, read by DFTracer's own tools and compared with the kernel's counters.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;

use dlio_rs::internal::Timeline;
use serde_json::Value;

use crate::support::*;

/// A command of DFTracer's tools, which lie beside Python.
fn dftracer(tool: &str) -> Command {
    let tool = Path::new(&python()).with_file_name(tool);
    assert!(
        tool.exists(),
        "{}: scripts/setup.sh --test installs it",
        tool.display()
    );
    Command::new(tool)
}

/// Count and sum of the durations, us, of the events of a file, by name and category.
fn grouped(scratch: &Scratch, file: &Path) -> BTreeMap<String, (u64, f64)> {
    let mut command = dftracer("dftracer_stats");
    command
        .args(["--json", "--report", "detailed", "--log-level", "off"])
        .args(["--index-dir", &scratch.text("index")])
        .arg("--files")
        .arg(file)
        .args(["--group-by", "name", "cat"]);
    let said = run(command).ok().stdout;
    let json = said.find('[').map(|at| &said[at..]);
    let all: Value = serde_json::from_str(json.unwrap_or_default()).unwrap_or_else(|e| {
        panic!("{e} in what dftracer_stats said: {said}");
    });
    let groups = all[0]["detailed"]["grouped_duration"].as_object();
    let groups = groups.unwrap_or_else(|| panic!("no groups in {said}"));
    let of = |v: &Value| (v["count"].as_u64().unwrap(), v["sum"].as_f64().unwrap());
    groups.iter().map(|(k, v)| (k.clone(), of(v))).collect()
}

#[test]
fn dftracers_own_tools_read_the_trace_of_every_rank() {
    let scratch = Scratch::new();
    let mut command = mpirun(2);
    command.args(small(&scratch, 16)).args([
        "workflow.generate_data=true",
        "workflow.profiling=true",
        "profiling.profiler=dftracer",
        "train.epochs=2",
    ]);
    run(command).ok();
    let report = json(&scratch.path("out/report.json"));
    let mut validate = dftracer("dftracer_validate");
    validate.arg("--files");
    validate.args((0..2).map(|rank| scratch.path(&format!("out/trace-{rank}-of-2.pfw.gz"))));
    let said = run(validate).ok().stdout;
    assert!(said.contains("2 passed, 0 failed"), "{said}");
    let mut waited_us = 0.0;
    for rank in 0..2 {
        let file = scratch.path(&format!("out/trace-{rank}-of-2.pfw.gz"));
        let groups = grouped(&scratch, &file);
        let count = |name: &str| groups.get(name).map_or(0, |(count, _)| *count);
        let own = &report["ranks"][rank];
        // 16 files, 2 ranks, batches of 2: 4 steps in each of 2 epochs.
        for name in [
            "train.step|pipeline",
            "fetch.iter|dataloader",
            "compute|compute",
        ] {
            assert_eq!(count(name), 8, "{name} of rank {rank} in {groups:?}");
        }
        assert_eq!(count("epoch.block|pipeline"), 2);
        assert_eq!(Some(count("read|POSIX")), own["counters"]["reads"].as_u64());
        waited_us += groups["fetch.iter|dataloader"].1;
    }
    let stages = report["stages"].as_array().unwrap();
    let wait = stages.iter().find(|s| s["stage"] == "batch_wait").unwrap();
    let expected_us = wait["mean"].as_f64().unwrap() * 16.0 / 1e3;
    // Both ends of each of the 16 waits are cut to whole microseconds.
    assert_eq!(wait["count"], 16);
    assert!(
        (waited_us - expected_us).abs() <= 16.0,
        "{waited_us} us in the traces, {expected_us} us in the report"
    );
}

#[test]
fn profilers_that_would_record_nothing_are_refused() {
    let scratch = Scratch::new();
    for (words, parts) in [
        (
            &["profiling.profiler=darshan"][..],
            &["profiling.profiler", "darshan", "iostat or dftracer"][..],
        ),
        (
            &["profiling.iostat_devices=[nosuch0]"],
            &["no block device 'nosuch0'", "/proc/diskstats", "remedy"],
        ),
        (
            &["output.timeline=false"],
            &["output.timeline is false", "remedy"],
        ),
        (
            &[
                "--virtual-time",
                "storage.storage_type=null",
                "workflow.generate_data=false",
            ],
            &["virtual time", "remedy"],
        ),
    ] {
        let mut command = mpirun(2);
        command
            .args(small(&scratch, 4))
            .arg("workflow.profiling=true")
            .args(words);
        let outcome = run(command);
        assert!(outcome.status.is_some_and(|s| s > 0), "{words:?}");
        for part in parts {
            assert!(
                outcome.stderr.contains(part),
                "{words:?}: {}",
                outcome.stderr
            );
        }
    }
    assert!(!scratch.path("out").exists());
}

/// The line of a device in `/proc/diskstats`: reads, bytes read, writes, bytes written.
fn counters(device: &str) -> [u64; 4] {
    let text = std::fs::read_to_string("/proc/diskstats").unwrap();
    let line = text.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        (words[2] == device).then(|| {
            let at = |i: usize| words[i].parse::<u64>().unwrap();
            [at(3), at(5) * 512, at(7), at(9) * 512]
        })
    });
    line.unwrap_or_else(|| panic!("{device} is not in /proc/diskstats"))
}

/// The block device that a folder lies on, or else the one with most I/O.
fn device_of(folder: &Path) -> (String, bool) {
    let number = std::fs::metadata(folder).unwrap().dev();
    let (major, minor) = (nix::sys::stat::major(number), nix::sys::stat::minor(number));
    let text = std::fs::read_to_string("/proc/diskstats").unwrap();
    let lines: Vec<Vec<&str>> = (text.lines())
        .map(|line| line.split_whitespace().collect())
        .collect();
    let own = [major.to_string(), minor.to_string()];
    let found = lines.iter().find(|w| w[0] == own[0] && w[1] == own[1]);
    let busiest = || lines.iter().max_by_key(|w| w[5].parse::<u64>().unwrap());
    let line = found.or_else(busiest).expect("a block device");
    (line[2].to_owned(), found.is_some())
}

#[test]
fn watched_devices_have_the_kernels_counts() {
    let scratch = Scratch::on_disk();
    let (device, holds_data) = device_of(&scratch.path(""));
    let mut generate = mpirun(1);
    generate.args(small(&scratch, 16));
    generate.args(["workflow.generate_data=true", "workflow.train=false"]);
    run(generate).ok();
    let before = counters(&device);
    let mut command = mpirun(2);
    command.args(small(&scratch, 16)).args([
        "workflow.generate_data=false",
        "storage.storage_type=direct_fs",
        "workflow.profiling=true",
        &format!("profiling.iostat_devices=[/dev/{device}]"),
    ]);
    run(command).ok();
    let after = counters(&device);
    let timeline = Timeline::load(&scratch.path("out/timeline.json.zst")).unwrap();
    let [recorded] = &timeline.devices[..] else {
        panic!("{:?}", timeline.devices);
    };
    assert_eq!((recorded.name.as_str(), recorded.host), (&*device, 0));
    let sums = [
        &recorded.reads,
        &recorded.bytes_read,
        &recorded.writes,
        &recorded.bytes_written,
    ]
    .map(|column| column.iter().sum::<u64>());
    for i in 0..4 {
        assert!(
            sums[i] <= after[i] - before[i],
            "{i}: {sums:?} of {before:?} to {after:?}"
        );
    }
    let report = json(&scratch.path("out/report.json"));
    let read = report["counters"]["bytes_read"]["value"].as_u64().unwrap();
    let html = std::fs::read_to_string(scratch.path("out/report.html")).unwrap();
    assert!(html.contains(&format!(
        "<td class=\"w\">{device}</td><td data-value=\"{:?}\"",
        sums[1] as f64
    )));
    // Without the page cache every byte comes from the device that holds the files.
    if holds_data {
        assert!(sums[1] >= read, "{} of {read} bytes", sums[1]);
    }
}
