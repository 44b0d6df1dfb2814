//! How long each stage took: percentiles, and latency over time.

use super::View;
use super::chart::{Axis, LEVELS, Plot, legend, shades};
use super::markup::{Cell, Figure, list, missing, number, table};
use crate::metrics::timeline::{StageLatency, Timeline};

/// Columns of a heat map.
const COLUMNS: usize = 128;

pub(super) fn section(run: &View) -> Option<String> {
    if list(run.report, "/stages").is_empty() {
        return None;
    }
    let mut out = curves(run)?.html();
    match run.recording.read() {
        Ok(timeline) => {
            let stages = timeline.latency.stages.iter();
            for stage in stages.filter(|s| MAPPED.contains(&s.stage.name())) {
                out += &heat_map(timeline, stage).html();
            }
        }
        Err(why) => out += &missing("latency over time", why),
    }
    Some(out)
}

/// Stages that have a heat map; the others have the same shape or no I/O in them.
const MAPPED: [&str; 3] = ["batch_wait", "read", "first_byte"];

/// A latency on an axis.
pub(super) fn ns(x: f64) -> String {
    match x {
        x if x < 1e3 => format!("{x:.0} ns"),
        x if x < 1e6 => format!("{:.0} us", x / 1e3),
        x if x < 1e9 => format!("{:.0} ms", x / 1e6),
        x => format!("{:.0} s", x / 1e9),
    }
}

/// Percentiles of report.json with the share of values beyond them.
const PERCENTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.1), ("p99", 0.01), ("p99.9", 0.001)];

/// Points of a stage: one in how many values is longer, and how long.
pub(super) fn points(report: &serde_json::Value, stage: usize) -> Vec<(f64, f64)> {
    let at = |key: &str| number(report, &format!("/stages/{stage}/{key}"));
    let mut out: Vec<(f64, f64)> = PERCENTILES
        .iter()
        .filter_map(|(key, beyond)| Some((1.0 / beyond, at(key)?)))
        .collect();
    if let (Some(count), Some(max)) = (at("count"), at("max")) {
        let last = out.last().map_or(1.0, |p| p.0);
        out.push((count.max(last), max));
    }
    out
}

/// The axes of percentile curves.
pub(super) fn axes<'a>(all: impl Iterator<Item = &'a (f64, f64)>) -> (Axis, Axis) {
    let (mut rarest, mut least, mut most) = (10.0_f64, f64::INFINITY, 1.0_f64);
    for (x, y) in all {
        rarest = rarest.max(*x);
        // An axis of logarithms has no 0.
        least = least.min(y.max(1.0));
        most = most.max(*y);
    }
    let least = if least.is_finite() { least } else { 1.0 };
    let x = Axis::log(1.0, rarest, "one of so many is longer", |x| {
        format!("{x:.0}")
    });
    (x, Axis::log(least, most, "latency", ns))
}

fn curves(run: &View) -> Option<Figure> {
    let report = run.report;
    let stages = list(report, "/stages");
    let all: Vec<Vec<(f64, f64)>> = (0..stages.len()).map(|i| points(report, i)).collect();
    let (x, y) = axes(all.iter().flatten());
    let mut plot = Plot::new(x, y, 300.0);
    let mut keys = Vec::new();
    let mut rows = Vec::new();
    for (i, (stage, points)) in stages.iter().zip(&all).enumerate() {
        let name = stage["stage"].as_str()?;
        let class = format!("c{}", i % 8);
        plot.line(&class, points);
        keys.push((format!("line {class}"), name.to_owned()));
        let at = |key: &str| format!("/stages/{i}/{key}");
        let mut row = vec![Cell::word(name), Cell::at(report, &at("count"), "")];
        let keys = ["mean", "p50", "p90", "p99", "p99.9", "max"];
        row.extend(keys.map(|key| Cell::at(report, &at(key), "ns")));
        row.push(Cell::word(stage["doc"].as_str().unwrap_or_default()));
        rows.push(row);
    }
    Some(Figure {
        caption: "Percentiles of every stage".into(),
        reading: "Both axes are logarithmic: at 100 stands the 99th percentile, at 1000 the 99.9th, at the right end of a line the longest. A flat line is a steady stage; one that climbs has a long tail.",
        drawing: plot.svg("percentiles of stages") + &legend(&keys),
        table: table(
            "stage|count|mean|p50|p90|p99|p99.9|max|what it is".split('|'),
            &rows,
        ),
    })
}

fn heat_map(timeline: &Timeline, of: &StageLatency) -> Figure {
    let maps = &timeline.latency;
    let fold = of.counts.len().div_ceil(COLUMNS).max(1);
    let sum = |bins: &[Vec<u64>], b: usize| bins.iter().filter_map(|bin| bin.get(b)).sum();
    let sums = |bins| (0..maps.edges_ns.len()).map(|b| sum(bins, b)).collect();
    let folded: Vec<Vec<u64>> = of.counts.chunks(fold).map(sums).collect();
    let used = |b: usize| folded.iter().any(|column| column[b] > 0);
    let edges = &maps.edges_ns;
    let first = (0..edges.len()).find(|b| used(*b)).unwrap_or(0);
    let last = (0..edges.len()).rfind(|b| used(*b)).unwrap_or(0);
    let edge = |b: usize| match edges.get(b) {
        Some(ns) => *ns as f64,
        None => *edges.last().unwrap_or(&1) as f64 * 2.0,
    };
    let width = maps.bin_ns as f64 * fold as f64 / 1e9;
    // The last column may reach beyond the end of the run.
    let end = (folded.len() as f64 * width).min(timeline.length_ns as f64 / 1e9);
    let y = Axis::log(edge(first), edge(last + 1), "latency", ns);
    let mut plot = Plot::new(Axis::linear(0.0, end, "time", super::seconds), y, 260.0);
    let most = folded.iter().flatten().copied().max().unwrap_or(1).max(1) as f64;
    let mut cells = Vec::new();
    for (t, column) in folded.iter().enumerate() {
        for (b, n) in column.iter().enumerate() {
            if *n > 0 {
                let level = (LEVELS - 1) as f64 * (1.0 + *n as f64).ln() / (1.0 + most).ln();
                let x = (t as f64 * width, (t + 1) as f64 * width);
                cells.push((level.round() as usize, x, (edge(b), edge(b + 1))));
            }
        }
    }
    plot.cells(&cells);
    let rows: Vec<Vec<Cell>> = (first..=last)
        .map(|b| {
            let total: u64 = folded.iter().map(|column| column[b]).sum();
            let peak = (0..folded.len()).max_by_key(|t| folded[*t][b]).unwrap_or(0);
            vec![
                Cell::number(edge(b), "ns"),
                Cell::number(total as f64, ""),
                Cell::number(peak as f64 * width, "s"),
            ]
        })
        .collect();
    let caption = format!("{} over time", of.stage.name());
    Figure {
        reading: "A column is a stretch of time, a row a range of latencies; the brighter a cell, the more happened there (logarithmic shades). A pause of the storage shows as a gap, and above it the few that took as long as the pause.",
        drawing: plot.svg(&caption) + &shades("few", "many"),
        caption,
        table: table("from latency|count|most at".split('|'), &rows),
    }
}
