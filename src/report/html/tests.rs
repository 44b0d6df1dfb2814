//! Pages of runs that were made up: bounded in size, escaped, and open about what is missing.

use serde_json::json;

use super::super::dlio::tests::{job, workload};
use super::super::json::report_json;
use super::super::provenance::Provenance;
use super::*;

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
    // The table of all ranks stays in report.json.
    assert!(page.contains("without its lists of ranks"));
}
