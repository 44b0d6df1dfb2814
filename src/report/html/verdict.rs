//! What came of the run, and what endangers the number.

use std::fmt::Write as _;

use serde_json::Value;

use super::super::shown::{Block, ShownCell};
use super::View;
use super::markup::{Cell, escape, list, number, paragraph, table, titled, warning, words};
use super::ranks::WAIT_SECONDS;

/// Fewer steps per epoch than this say little.
const FEW_STEPS: f64 = 50.0;

/// Spread of AU over ranks or hosts that is worth a look, percentage points.
const UNEVEN: f64 = 5.0;

/// Share of AU's window, or of the time computed, that is worth a look, percent.
const TRIFLE: f64 = 2.0;

pub(super) fn section(run: &View) -> Option<String> {
    let report = run.report;
    let mut out = String::new();
    if let Some(au) = number(report, "/train/au_mean") {
        out += &headline(report, au);
    }
    for badge in badges(report) {
        let _ = writeln!(out, "<span class=\"badge\">{}</span>", escape(&badge));
    }
    // Other verdicts are badges.
    let epochs = list(report, "/epochs");
    if !epochs.is_empty() && epochs.iter().all(|e| e["served_by_storage"] == "PASS") {
        out += &paragraph("Served by storage: PASS.");
    }
    if let Some(sentence) = words(report, "/bottleneck") {
        out += &paragraph(sentence);
    }
    for text in list(report, "/warnings").iter().filter_map(Value::as_str) {
        out += &warning(&format!("Warning: {text}"));
    }
    out += &rows(run);
    Some(out)
}

fn headline(report: &Value, au: f64) -> String {
    let expected = number(report, "/train/au_expected");
    let is_met = report.pointer("/train/au_meets_expectation");
    let (class, verdict) = match is_met.and_then(Value::as_bool) {
        Some(true) => ("good", "meets the threshold"),
        Some(false) => ("bad", "misses the threshold"),
        None => ("dim", "no threshold is recorded"),
    };
    let threshold = expected.map_or(String::new(), |x| format!(" of {x:.2} %"));
    let ends = ["min", "max"].map(|end| number(report, &format!("{SPREAD}/{end}")));
    let spread = match ends {
        [Some(min), Some(max)] => format!(", {min:.2} % to {max:.2} % over ranks"),
        _ => String::new(),
    };
    let stdev = number(report, "/train/au_stdev")
        .map_or(String::new(), |x| format!(", stdev {x:.2} over epochs"));
    format!(
        "<p class=\"big\" data-value=\"{au}\" data-at=\"/train/au_mean/value\">AU {au:.2} %</p>\n<p class=\"{class}\">{verdict}{threshold}{stdev}{spread}</p>\n"
    )
}

/// Place of the least and the most AU of a rank.
const SPREAD: &str = "/spreads/over_ranks/au_percent";

/// What endangers the number, in words.
pub(super) fn badges(report: &Value) -> Vec<String> {
    let mut out = Vec::new();
    let epochs = list(report, "/epochs");
    let steps = epochs.iter().filter_map(|e| e["steps"].as_f64());
    if let Some(fewest) = steps.min_by(f64::total_cmp).filter(|n| *n < FEW_STEPS) {
        out.push(format!("few steps: {fewest} in an epoch"));
    }
    let served = epochs
        .iter()
        .filter_map(|e| e["served_by_storage"].as_str());
    let all = served.clone().count();
    for word in ["CACHED", "SUSPECT", "UNKNOWN"] {
        let n = served.clone().filter(|s| *s == word).count();
        if n > 0 {
            out.push(format!(
                "served by storage: {word} in {n} of {all} epoch(s)"
            ));
        }
    }
    if let Some(idle) = cpu_idle(report).filter(|idle| *idle < 10.0) {
        out.push(format!("CPU idle {idle:.0} %"));
    }
    let waited = number(report, "/breakdown/wait/parts/cpu/percent");
    if let Some(share) = waited.filter(|x| *x >= TRIFLE) {
        out.push(format!(
            "readers waited for a CPU: {share:.1} % of AU's window"
        ));
    }
    if let Some(over) = number(report, "/overshoot").filter(|x| *x > TRIFLE) {
        out.push(format!(
            "computation took {over:.1} % longer than configured"
        ));
    }
    for host in list(report, "/hosts") {
        let name = host["name"].as_str().unwrap_or("a host");
        if let Some(s) = number(host, "/throttled").filter(|s| *s >= 0.1) {
            out.push(format!("throttled: {name} for {s:.1} s"));
        }
        if let Some(s) = number(host, "/steal").filter(|s| *s >= 0.1) {
            out.push(format!("the hypervisor took {s:.1} s of {name}"));
        }
    }
    let hosts = list(report, "/hosts").iter();
    let hosts = hosts
        .filter_map(|h| number(h, "/spreads/au_percent/median"))
        .collect();
    for (what, values) in [("hosts", hosts), ("ranks", rank_au(report))] {
        let least = values.iter().copied().min_by(f64::total_cmp);
        let most = values.iter().copied().max_by(f64::total_cmp);
        if let (Some(least), Some(most)) = (least, most)
            && most - least > UNEVEN
        {
            out.push(format!("uneven {what}: AU {least:.1} % to {most:.1} %"));
        }
    }
    out.extend(slow_rank(report));
    if let Some(retries) = number(report, "/counters/retries").filter(|n| *n > 0.0) {
        out.push(format!("{retries} retries"));
    }
    out
}

/// The rank that waited for batches at least twice as long as the median one, by more than a trifle of AU's window. Where
/// ranks meet after each step AU does not tell it: all lose the same.
fn slow_rank(report: &Value) -> Option<String> {
    let ranks = list(report, "/ranks");
    let mut waits: Vec<(f64, usize)> = (ranks.iter().enumerate())
        .filter_map(|(i, rank)| Some((number(rank, WAIT_SECONDS)?, i)))
        .collect();
    waits.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (median, _) = waits.get(waits.len() / 2)?;
    let (longest, i) = waits.last().filter(|_| waits.len() > 1)?;
    let window = number(report, "/breakdown/window_seconds")?;
    let stands_out = *longest > 2.0 * median && longest - median > window * TRIFLE / 100.0;
    stands_out.then(|| {
        format!(
            "slow rank: {} on {} waited {longest:.3} s for batches, the median rank {median:.3} s",
            ranks[*i]["rank"],
            ranks[*i]["host"].as_str().unwrap_or("its host")
        )
    })
}

fn rank_au(report: &Value) -> Vec<f64> {
    if list(report, "/epochs").is_empty() {
        return Vec::new();
    }
    let ends = ["min", "max"].map(|end| number(report, &format!("{SPREAD}/{end}")));
    ends.into_iter().flatten().collect()
}

/// What the job's own processes left of its hosts' CPUs in training, percent.
fn cpu_idle(report: &Value) -> Option<f64> {
    let used = number(report, "/counters/cpu_time")?;
    let epochs = list(report, "/epochs").iter();
    let seconds: f64 = epochs.filter_map(|e| number(e, "/train_time")).sum();
    let hosts = list(report, "/hosts").iter();
    let cpus: f64 = hosts.filter_map(|h| number(h, "/cpu_count")).sum();
    (seconds * cpus > 0.0).then(|| (100.0 - 100.0 * used / (seconds * cpus)).max(0.0))
}

/// Everything that the console printed.
fn rows(run: &View) -> String {
    let mut out = String::from("<h3>Figures</h3>\n");
    let cell = |cell: &ShownCell| match run.report.pointer(&cell.at) {
        Some(_) => Cell::at(run.report, &cell.at, cell.unit),
        None => Cell::word(cell.text()),
    };
    for block in run.shown.blocks() {
        match block {
            Block::Figures(figures) => {
                let rows = figures.iter().map(|(label, value, note)| {
                    vec![Cell::word(*label), cell(value), Cell::word(*note)]
                });
                let rows: Vec<Vec<Cell>> = rows.collect();
                out += &table("figure|value|note".split('|'), &rows);
            }
            // It stands above.
            Block::Text(text) if words(run.report, "/bottleneck").map(str::trim) == Some(text) => {}
            Block::Text(text) => out += &paragraph(text),
            Block::Table {
                title,
                head,
                rows,
                more,
            } => {
                let rows = rows.iter().map(|row| row.iter().map(cell).collect());
                let rows: Vec<Vec<Cell>> = rows.collect();
                out += &titled(title, &table(head, &rows));
                if more > 0 {
                    out += &paragraph(&format!("{more} more in report.json"));
                }
            }
        }
    }
    out
}
