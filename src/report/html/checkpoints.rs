//! Saves and loads of checkpoints.

use serde_json::Value;

use super::View;
use super::chart::{Axis, Plot, legend};
use super::markup::{Cell, Figure, list, number, paragraph, table, words};

pub(super) fn section(run: &View) -> Option<String> {
    run.report.get("checkpoint").filter(|c| !c.is_null())?;
    let mut out = String::new();
    for word in ["save", "load"] {
        if number(run.report, &format!("/checkpoint/{word}/count")).is_some_and(|n| n > 0.0) {
            out += &direction(run, word);
        }
    }
    Some(out)
}

fn direction(run: &View, word: &str) -> String {
    let report = run.report;
    let mut out = times(report, word).html() + &over_ranks(report, word);
    if let Some(verdict) = words(report, &format!("/checkpoint/{word}/served_by_storage")) {
        out += &paragraph(&format!("Served by storage: {verdict}."));
    }
    out
}

fn times(report: &Value, word: &str) -> Figure {
    let at = |key: &str| format!("/checkpoint/{word}/{key}");
    let n = list(report, &at("duration_values/value")).len();
    let value = |key: &str, i: usize| number(report, &format!("{}/value/{i}", at(key)));
    let slowest = |i: usize| value("slowest_rank_duration_values", i);
    let fsync = |i: usize| value("fsync_max", i);
    let most = (0..n).filter_map(slowest).fold(0.0, f64::max);
    let x = Axis::counts(0.5, n as f64 + 0.5, "checkpoint");
    let mut plot = Plot::new(x, Axis::amounts(most, "time, s"), 220.0);
    let mut rows = Vec::new();
    let mut has_fsync = false;
    for i in 0..n {
        let place = (i + 1) as f64;
        let bar = (place - 0.35, place + 0.35);
        if let Some(s) = slowest(i) {
            plot.bar("c0", bar, (0.0, s), &format!("{word} {}: {s:.3} s", i + 1));
        }
        if let Some(s) = fsync(i) {
            plot.bar("c1", bar, (0.0, s), &format!("fsync {s:.3} s"));
            has_fsync = true;
        }
        let cell =
            |key: &str, unit: &str| Cell::at(report, &format!("{}/value/{i}", at(key)), unit);
        let times = fsync(i).zip(slowest(i)).filter(|(_, s)| *s > 0.0);
        rows.push(vec![
            Cell::number(place, ""),
            cell("duration_values", "s"),
            cell("slowest_rank_duration_values", "s"),
            cell("throughput_values", "GiB/s"),
            cell("fsync_max", "s"),
            Cell::maybe(times.map(|(f, s)| 100.0 * f / s), "%"),
        ]);
    }
    let mut keys = vec![("c0".to_owned(), "slowest rank".to_owned())];
    if has_fsync {
        keys.push(("c1".into(), "of it fsync, longest of a rank".into()));
    }
    let reading = "A bar is the time of the slowest rank, which is what a training job waits for. The part at its foot is the time in which data went from memory to the storage.";
    let without_fsync = reading.find(" The part").unwrap_or(reading.len());
    let head = "checkpoint|duration (rank 0)|slowest rank|throughput|fsync|fsync of the slowest";
    let caption = format!("{word} of each checkpoint");
    Figure {
        drawing: plot.svg(&caption) + &legend(&keys),
        caption,
        reading: match has_fsync {
            true => reading,
            false => &reading[..without_fsync],
        },
        table: table(head.split('|'), &rows),
    }
}

fn over_ranks(report: &Value, word: &str) -> String {
    let at = |key: &str| format!("/checkpoint/{word}/{key}");
    let mut row = vec![Cell::word(word)];
    row.extend(
        [
            ("rank_duration/over_ranks/min", "s"),
            ("rank_duration/over_ranks/median", "s"),
            ("rank_duration/over_ranks/max", "s"),
            ("generator_stall", "%"),
            ("tensor_bytes", "B"),
            ("file_bytes", "B"),
        ]
        .map(|(key, unit)| Cell::at(report, &at(key), unit)),
    );
    let head = "duration over ranks|fastest|median|slowest|harness (generator stall)|tensors|files";
    table(head.split('|'), &[row])
}
