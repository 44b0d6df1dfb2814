//! Several runs on top of each other.

use super::chart::{Axis, Plot, legend};
use super::latency::{axes, points};
use super::markup::{Cell, Figure, escape, list, number, table, titled};
use super::{View, Words};

/// Runs that are drawn; colours end there.
const RUNS: usize = 8;

pub(super) fn sections(runs: &[View], comparison: &[Words]) -> String {
    let mut out = String::from("<h1>Runs</h1>\n<ol>\n");
    for (i, run) in runs.iter().enumerate() {
        out += &format!(
            "<li><a href=\"#run{}-verdict\">{}</a></li>\n",
            i + 1,
            escape(&run.name)
        );
    }
    out += "</ol>\n<h2>Comparison</h2>\n";
    for words in comparison {
        let head: Vec<&str> = words.columns.iter().map(String::as_str).collect();
        let rows: Vec<Vec<Cell>> = (words.rows.iter())
            .map(|row| row.iter().map(Cell::word).collect())
            .collect();
        out += &titled(&words.title, &table(head, &rows));
    }
    out += &figures(runs);
    let drawn = &runs[..runs.len().min(RUNS)];
    let has_epochs = |run: &View| !list(run.report, "/epochs").is_empty();
    if drawn.iter().any(has_epochs) {
        out += &au(drawn).html();
    }
    for stage in ["batch_wait", "read", "checkpoint_write", "checkpoint_read"] {
        out += &latency(drawn, stage).map_or_else(String::new, |f| f.html());
    }
    out
}

/// The same figures of all runs, one line each.
fn figures(runs: &[View]) -> String {
    const FIGURES: [(&str, &str, &str); 7] = [
        ("AU", "/train/au_mean", "%"),
        ("AU of storage", "/au_storage", "%"),
        ("throughput", "/train/throughput_mean", "samples/s"),
        ("I/O", "/train/throughput_mean_gib", "GiB/s"),
        ("save", "/checkpoint/save/throughput_mean", "GiB/s"),
        ("load", "/checkpoint/load/throughput_mean", "GiB/s"),
        ("CPU", "/cpu_seconds_per_gib", "s/GiB"),
    ];
    let rows: Vec<Vec<Cell>> = runs
        .iter()
        .map(|run| {
            let cell = |(_, place, unit)| Cell::at(run.report, place, unit).elsewhere();
            let name = std::iter::once(Cell::word(&run.name));
            name.chain(FIGURES.map(cell)).collect()
        })
        .collect();
    let mut head = vec!["run"];
    head.extend(FIGURES.map(|(name, ..)| name));
    table(head, &rows)
}

fn key(i: usize, run: &View) -> (String, String) {
    (format!("line c{i}"), format!("{}: {}", i + 1, run.name))
}

fn au(runs: &[View]) -> Figure {
    let epochs = |run: &View| list(run.report, "/epochs").len();
    let most = runs.iter().map(epochs).max().unwrap_or(1);
    let x = Axis::counts(0.5, most as f64 + 0.5, "epoch");
    let mut plot = Plot::new(x, Axis::percent("AU, %"), 240.0);
    let mut rows = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        let at = |e: usize| format!("/epochs/{e}/au");
        let au = |e: usize| number(run.report, &at(e)).unwrap_or(f64::NAN);
        let points = (0..epochs(run)).map(|e| ((e + 1) as f64, au(e)));
        let points: Vec<(f64, f64)> = points.collect();
        plot.line(&format!("c{i}"), &points);
        if let [(x, y)] = points[..] {
            plot.dot(&format!("c{i}"), (x, y), &run.name);
        }
        for e in 0..epochs(run) {
            rows.push(vec![
                Cell::word(&run.name),
                Cell::number((e + 1) as f64, ""),
                Cell::at(run.report, &at(e), "%").elsewhere(),
            ]);
        }
    }
    let keys = runs.iter().enumerate().map(|(i, run)| key(i, run));
    let keys: Vec<(String, String)> = keys.collect();
    Figure {
        caption: "AU per epoch".into(),
        reading: "One line per run. Lines that cross are runs that differ less than their epochs do.",
        drawing: plot.svg("AU per epoch of all runs") + &legend(&keys),
        table: table("run|epoch|AU".split('|'), &rows),
    }
}

/// Percentiles of one stage in all runs that have it; None where fewer than two have.
fn latency(runs: &[View], name: &str) -> Option<Figure> {
    let mut all = Vec::new();
    for (i, run) in runs.iter().enumerate() {
        let stages = list(run.report, "/stages");
        if let Some(stage) = stages.iter().position(|s| s["stage"] == name) {
            all.push((i, run, points(run.report, stage)));
        }
    }
    if all.len() < 2 {
        return None;
    }
    let (x, y) = axes(all.iter().flat_map(|(.., points)| points));
    let mut plot = Plot::new(x, y, 260.0);
    let mut rows = Vec::new();
    for (i, run, points) in &all {
        plot.line(&format!("c{i}"), points);
        rows.extend(points.iter().map(|(x, y)| {
            let (x, y) = (Cell::number(*x, ""), Cell::number(*y, "ns"));
            vec![Cell::word(&run.name), x, y]
        }));
    }
    let keys: Vec<(String, String)> = all.iter().map(|(i, run, _)| key(*i, run)).collect();
    Some(Figure {
        caption: format!("Percentiles of {name}"),
        reading: "One line per run: at 100 the 99th percentile, at the right end the longest. The lower line is the faster storage.",
        drawing: plot.svg(&format!("percentiles of {name} of all runs")) + &legend(&keys),
        table: table("run|one of so many is longer|latency".split('|'), &rows),
    })
}
