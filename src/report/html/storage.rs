//! Who served the bytes: evidence per epoch and host, and the requests of an object store.

use serde_json::Value;

use super::View;
use super::chart::{Axis, Plot, legend};
use super::markup::{Cell, Figure, list, listed, map, missing, paragraph, table, titled, words};
use crate::metrics::timeline::{Column, Timeline};

/// Lines of evidence that are listed.
const LINES: usize = 256;

const EVIDENCE: [(&str, &str, &str); 11] = [
    ("epoch", "epoch", ""),
    ("host", "host", ""),
    ("medium", "medium", ""),
    ("delivered", "delivered", "B"),
    ("device", "device", "B"),
    ("mount", "mount", "B"),
    ("sockets", "sockets", "B"),
    ("network cards", "nic", "B"),
    ("resident before", "resident_before", "B"),
    ("served by storage", "verdict", ""),
    ("rule", "rule", ""),
];

pub(super) fn evidence(run: &View) -> Option<String> {
    let report = run.report;
    if list(report, "/epochs").is_empty() {
        return None;
    }
    let lines = list(report, "/evidence");
    if lines.is_empty() {
        let why = "Only report.json of dlio-rs has the counters";
        return Some(missing("served by storage", why));
    }
    let mut out = paragraph(
        "PASS: counters outside of this program saw the bytes come from the storage. CACHED: a cache of the client answered, and the run measured memory.",
    );
    let places = (0..lines.len().min(LINES)).map(|i| format!("/evidence/{i}"));
    out += &listed(report, places, &EVIDENCE);
    if lines.len() > LINES {
        out += &paragraph(&format!("{} more in report.json", lines.len() - LINES));
    }
    Some(out)
}

pub(super) fn objects(run: &View) -> Option<String> {
    let report = run.report;
    report.get("object_store").filter(|o| !o.is_null())?;
    let mut out = endpoints(report) + &retries(report);
    out += &match run.recording.read() {
        Ok(timeline) => over_time(timeline).map_or_else(String::new, |f| f.html()),
        Err(why) => missing("retries over time", why),
    };
    out += &addresses(report);
    out += &connections(report);
    Some(out)
}

fn endpoints(report: &Value) -> String {
    const COLUMNS: [(&str, &str, &str); 10] = [
        ("endpoint", "url", ""),
        ("GET", "get_requests", ""),
        ("PUT", "put_requests", ""),
        ("control", "control_requests", ""),
        ("read", "bytes_read", ""),
        ("written", "bytes_written", ""),
        ("failures", "failures", ""),
        ("times down", "times_down", ""),
        ("first byte, mean", "first_byte_time_mean", ""),
        ("body, mean", "body_time_mean", ""),
    ];
    let n = list(report, "/object_store/endpoints").len();
    let places = (0..n).map(|i| format!("/object_store/endpoints/{i}"));
    titled("Endpoints", &listed(report, places, &COLUMNS))
}

/// Requests that were repeated, by class of failure.
fn retries(report: &Value) -> String {
    let mut retries: Vec<Vec<Cell>> = Vec::new();
    for i in 0..list(report, "/object_store/endpoints").len() {
        let endpoint = format!("/object_store/endpoints/{i}");
        let url = words(report, &format!("{endpoint}/url")).unwrap_or("-");
        let classes = map(report, &format!("{endpoint}/retries"));
        for class in classes.into_iter().flat_map(|classes| classes.keys()) {
            let key = class.replace('~', "~0").replace('/', "~1");
            let count = Cell::at(report, &format!("{endpoint}/retries/{key}"), "");
            retries.push(vec![Cell::word(class), count, Cell::word(url)]);
        }
    }
    if retries.is_empty() {
        return paragraph("No request was repeated.");
    }
    let table = table("class|retries|endpoint".split('|'), &retries);
    titled("Retries by class", &table)
}

/// Servers by address; nothing where none is known.
fn addresses(report: &Value) -> String {
    const COLUMNS: [(&str, &str, &str); 6] = [
        ("address", "address", ""),
        ("name", "host", ""),
        ("connections", "connections", ""),
        ("connecting", "connect_time", ""),
        ("failures", "failures", ""),
        ("times down", "times_down", ""),
    ];
    let n = list(report, "/object_store/addresses").len().min(LINES);
    if n == 0 {
        return String::new();
    }
    let places = (0..n).map(|i| format!("/object_store/addresses/{i}"));
    titled("Addresses", &listed(report, places, &COLUMNS))
}

fn connections(report: &Value) -> String {
    let connections = "made|reused|tls_handshakes|dns_time|connect_time|tls_time";
    let row = |key: &str| {
        let figure = Cell::at(report, &format!("/object_store/connections/{key}"), "");
        vec![Cell::word(key.replace('_', " ")), figure]
    };
    let rows: Vec<Vec<Cell>> = connections.split('|').map(row).collect();
    let table = table("figure|sum over ranks".split('|'), &rows);
    titled("Connections", &table)
}

/// Bars of retries over time.
const BARS: usize = 128;

/// Colours of classes of failure.
const COLORS: [&str; 7] = ["c1", "c0", "c2", "c3", "c4", "c5", "c6"];

/// None where nothing was repeated.
fn over_time(timeline: &Timeline) -> Option<Figure> {
    let series = &timeline.series;
    let fold = series.bins.div_ceil(BARS).max(1);
    let folded = |column| -> Option<Vec<u64>> {
        let bins = series.get(column)?.chunks(fold);
        Some(bins.map(|bins| bins.iter().sum()).collect())
    };
    let mut classes: Vec<_> = Column::retried()
        .filter_map(|(column, class)| Some((class, folded(column)?)))
        .collect();
    if classes.is_empty() {
        classes.push(("read requests", folded(Column::Retries)?));
    }
    classes.retain(|(_, values)| values.iter().any(|n| *n > 0));
    let at = |values: &[u64], i: usize| values.get(i).copied().unwrap_or(0);
    let total = |i: usize| classes.iter().map(|(_, values)| at(values, i)).sum::<u64>();
    let bars = series.bins.div_ceil(fold);
    let most = (0..bars).map(total).max().filter(|n| *n > 0)? as f64;
    let width = (series.bin_ns * fold as u64) as f64 / 1e9;
    let x = Axis::linear(0.0, timeline.length_ns as f64 / 1e9, "time", super::seconds);
    let mut plot = Plot::new(x, Axis::counts(0.0, most, "retries"), 160.0);
    let mut rows = Vec::new();
    for i in (0..bars).filter(|i| total(*i) > 0) {
        let from = i as f64 * width;
        let mut below = 0;
        for (color, (class, values)) in COLORS.iter().cycle().zip(&classes) {
            let (n, base) = (at(values, i), below);
            below += n;
            if n > 0 {
                let (x, y) = ((from, from + width), (base as f64, below as f64));
                plot.bar(color, x, y, &format!("{n} ({class}) from {from:.1} s"));
            }
        }
        let mut row = vec![Cell::number(from, "s")];
        let counts = classes.iter().map(|(_, values)| at(values, i) as f64);
        row.extend(counts.map(|n| Cell::number(n, "")));
        rows.push(row);
    }
    let keys: Vec<_> = (COLORS.iter().cycle().zip(&classes))
        .map(|(color, (class, _))| ((*color).to_owned(), (*class).to_owned()))
        .collect();
    let mut head = vec!["from"];
    head.extend(classes.iter().map(|(class, _)| *class));
    Some(Figure {
        caption: "Retries over time".into(),
        reading: "A bar is a stretch of time in which requests were repeated; its colours are classes of failure, as in the table above.",
        drawing: plot.svg("retries over time") + &legend(&keys),
        table: table(head, &rows),
    })
}
