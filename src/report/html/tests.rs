//! Pages of runs that were made up: bounded in size, escaped, and open about what is missing.

use serde_json::json;

use super::super::dlio::tests::{job, workload};
use super::super::json::report_json;
use super::super::provenance::Provenance;
use super::*;
use crate::metrics::timeline::{Event, RankEpochs, Series, StageLatency};
use crate::stage::Stage;

fn view<'a>(report: &'a Value, shown: &'a Shown, recording: Recording<'a>) -> View<'a> {
    View {
        name: "run".into(),
        report,
        shown,
        absent: Vec::new(),
        recording,
    }
}

fn missing_recording() -> Recording<'static> {
    Recording::Missing("it was not written".into())
}

#[test]
fn a_page_without_a_recording_says_what_it_lacks() {
    let mut report = report_json(
        &workload(),
        &job(),
        &Provenance::default(),
        &["<script>alert(1)</script>".into()],
    );
    report["hosts"][0]["name"] = json!("a\"><img src=x onerror=1>");
    let shown = Shown::read(&report).unwrap();
    let page = page(&[view(&report, &shown, missing_recording())], &[]);
    assert!(page.contains("There is no recording of this run over time. It was not written"));
    for what in [
        "throughput over time",
        "steps by number",
        "latency over time",
        "AU and waits of every rank and epoch",
    ] {
        assert!(page.contains(&format!("Not shown: {what}")), "{what}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)") && !page.contains("<script>alert"));
    assert!(!page.contains("<img"));
    for address in ["http:", "https:"] {
        assert!(!page.contains(address), "{address}");
    }
    assert!(page.contains("data-at=\"/train/au_mean/value\">AU 40.00 %"));
}

#[test]
fn a_recording_is_drawn_and_the_slow_rank_named() {
    let report = report_json(&workload(), &job(), &Provenance::default(), &[]);
    let shown = Shown::read(&report).unwrap();
    let timeline = crate::metrics::timeline::tests::example();
    let page = page(
        &[view(&report, &shown, Recording::Read(Cow::Owned(timeline)))],
        &[],
    );
    // The made-up run has no command line; all else is there.
    assert_eq!(page.matches("Not shown").count(), 1);
    assert!(page.contains("Not shown: the command"));
    for part in [
        "throughput over time\">",
        "epoch 1 of 1",
        "train/img_3_of_8.npz",
        "node1",
        "AU of every rank and epoch",
        "batch_wait",
    ] {
        assert!(page.contains(part), "{part}");
    }
}

/// 4,096 ranks on 512 hosts, every list of the recording full.
#[test]
fn a_page_of_4096_ranks_has_less_than_two_megabytes() {
    const RANKS: usize = 4096;
    let mut job = job();
    let rank = job.rank_table[0].clone();
    job.ranks = RANKS;
    job.rank_table = (0..RANKS)
        .map(|i| {
            let mut r = rank.clone();
            (r.rank, r.au_percent) = (i, (i % 997) as f64 / 9.97);
            r
        })
        .collect();
    let report = report_json(&workload(), &job, &Provenance::default(), &[]);
    let shown = Shown::read(&report).unwrap();
    let mut t = crate::metrics::timeline::tests::example();
    let random = |i: usize, n: u64| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 20 & (n - 1);
    t.hosts = (0..512)
        .map(|i| format!("node{i:04}.cluster.example"))
        .collect();
    t.host_of_rank = (0..RANKS).map(|i| i / 8).collect();
    let columns: Vec<_> = t.series.columns.keys().copied().collect();
    t.series = Series {
        bin_ns: 100_000_000,
        bins: 2048,
        columns: columns
            .iter()
            .map(|c| (*c, (0..2048).map(|i| random(i, 1 << 34)).collect()))
            .collect(),
    };
    t.length_ns = 204_800_000_000;
    let table = |scale: f32| {
        (0..RANKS)
            .map(|r| {
                (0..64)
                    .map(|e| random(r * 64 + e, 128) as f32 * scale)
                    .collect()
            })
            .collect::<Vec<Vec<f32>>>()
    };
    t.rank_epochs = RankEpochs {
        epochs: 64,
        epochs_per_column: 1,
        au_percent: table(0.78),
        wait_s: table(0.1),
        ..RankEpochs::default()
    };
    t.latency.stages = [Stage::BatchWait, Stage::Read, Stage::FirstByte]
        .map(|stage| StageLatency {
            stage,
            counts: (0..256)
                .map(|b| (0..64).map(|l| random(b * 64 + l, 4096)).collect())
                .collect(),
        })
        .to_vec();
    t.latency.bin_ns = 800_000_000;
    let bins = 4096;
    let list = || (0..bins).map(|i| random(i, 1 << 30)).collect::<Vec<u64>>();
    for e in [
        &mut t.steps.bins.wait,
        &mut t.steps.bins.step,
        &mut t.steps.bins.barrier,
    ] {
        (e.min_ns, e.sum_ns, e.max_ns) = (list(), list(), list());
        e.max_rank = vec![4095; bins];
    }
    t.steps.bins.counts = vec![RANKS as u64; bins];
    t.steps.longest_waits = vec![t.steps.longest_waits[0].clone(); 256];
    t.events.events = (0..4096)
        .map(|i| Event {
            at_ns: i * 50_000_000,
            kind: "retries".into(),
            text: format!("epoch {i}: 12 requests repeated after timeouts"),
            ..Event::default()
        })
        .collect();
    let page = page(
        &[view(&report, &shown, Recording::Read(Cow::Owned(t)))],
        &[],
    );
    assert!(page.len() <= 2_000_000, "{} bytes", page.len());
    println!("{} bytes", page.len());
    // The worst rank has AU 0 and is named; the table of all ranks stays in report.json.
    assert!(page.contains("data-at=\"/ranks/997/au/value\""));
    assert!(page.contains("without its lists of ranks"));
}

/// What 4,096 ranks with 10^6 steps each cost rank 0. `cargo test --release --lib a_million_steps -- --nocapture` prints it.
#[test]
fn four_thousand_ranks_with_a_million_steps_cost_rank_0_little() {
    use crate::host::process::peak_rss_bytes;
    use crate::metrics::timeline::merge_tests::large_job;
    let large = large_job(64, 15_625);
    let before = peak_rss_bytes();
    let began = std::time::Instant::now();
    let packed = large.timeline.to_bytes().unwrap().len();
    let pack_s = began.elapsed().as_secs_f64();
    let mut job = job();
    let rank = job.rank_table[0].clone();
    job.ranks = large.timeline.ranks;
    job.rank_table = vec![rank; job.ranks];
    let report = report_json(&workload(), &job, &Provenance::default(), &[]);
    let shown = Shown::read(&report).unwrap();
    let began = std::time::Instant::now();
    let recording = Recording::Read(Cow::Borrowed(&large.timeline));
    let page = page(&[view(&report, &shown, recording)], &[]);
    println!(
        "steps of each rank   {}\nsent to rank 0       {} bytes\nmerge on rank 0      {:.2} s (all ranks' parts made here, too)\n\
         timeline.json.zst    {packed} bytes in {pack_s:.2} s\nreport.html          {} bytes in {:.2} s\n\
         peak memory          {} bytes before, {} bytes after the files",
        large.timeline.steps.total,
        large.sent,
        large.merge_s,
        page.len(),
        began.elapsed().as_secs_f64(),
        before,
        peak_rss_bytes(),
    );
    assert!(large.sent <= 8 << 20, "{} bytes", large.sent);
    assert!(page.len() <= 2_000_000, "{} bytes", page.len());
}

#[test]
fn several_runs_lie_on_top_of_each_other() {
    let report = report_json(&workload(), &job(), &Provenance::default(), &[]);
    let shown = Shown::read(&report).unwrap();
    let runs = [
        view(&report, &shown, missing_recording()),
        view(&report, &shown, missing_recording()),
    ];
    let words = Words {
        title: "run against run".into(),
        columns: vec!["figure".into(), "A".into()],
        rows: vec![vec!["AU".into(), "40 %".into()]],
    };
    let page = page(&runs, &[words]);
    assert!(page.contains("run against run") && page.contains("AU per epoch of all runs"));
    assert!(page.contains("id=\"run1-verdict\"") && page.contains("id=\"run2-reproduce\""));
}
