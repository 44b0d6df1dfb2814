//! How ranks differ.

use super::View;
use super::chart::{Axis, LEVELS, Plot, shades};
use super::markup::{Cell, Figure, list, listed, missing, number, paragraph, table};
use crate::metrics::timeline::{RankEpochs, Timeline};

/// Rows of the heat map; more ranks are folded, each row then shows its worst rank.
const ROWS: usize = 128;

/// Ranks that are named.
const WORST: usize = 20;

pub(super) fn section(run: &View) -> Option<String> {
    let ranks = list(run.report, "/ranks");
    if ranks.is_empty() || list(run.report, "/epochs").is_empty() {
        return None;
    }
    let mut out = match run.recording.read() {
        Ok(timeline) if timeline.rank_epochs.columns() > 0 => {
            heat_map(timeline, &AU).html() + &heat_map(timeline, &WAIT).html()
        }
        other => {
            let why = other.err().unwrap_or("The recording holds no epoch");
            missing("AU and waits of every rank and epoch", why)
        }
    };
    out += &histogram(run).html();
    out += &paragraph(&format!(
        "The {} ranks that waited longest for batches in AU's window; the map above counts all steps:",
        WORST.min(ranks.len())
    ));
    out += &worst(run);
    Some(out)
}

const WORST_COLUMNS: [(&str, &str, &str); 8] = [
    ("rank", "rank", ""),
    ("host", "host", ""),
    ("AU", "au", "%"),
    ("throughput", "throughput", "samples/s"),
    ("wait", "breakdown/wait/seconds", "s"),
    ("barrier", "breakdown/barrier/seconds", "s"),
    ("wait: I/O", "breakdown/wait/parts/io/seconds", "s"),
    ("wait: CPU", "breakdown/wait/parts/cpu/seconds", "s"),
];

fn worst(run: &View) -> String {
    let report = run.report;
    let ranks = list(report, "/ranks");
    let mut order: Vec<usize> = (0..ranks.len()).collect();
    let au = |i: usize| number(&ranks[i], "/au").unwrap_or(0.0);
    let wait = |i: usize| number(&ranks[i], WAIT_SECONDS).unwrap_or(0.0);
    order.sort_by(|a, b| {
        let waits = wait(*b).total_cmp(&wait(*a));
        waits.then(au(*a).total_cmp(&au(*b)))
    });
    let places = order.into_iter().take(WORST).map(|i| format!("/ranks/{i}"));
    listed(report, places, &WORST_COLUMNS)
}

fn histogram(run: &View) -> Figure {
    let ranks = list(run.report, "/ranks").iter();
    let values: Vec<f64> = ranks.filter_map(|r| number(r, "/au")).collect();
    const BINS: usize = 20;
    let mut counts = [0_u64; BINS];
    for au in &values {
        counts[((au / 100.0 * BINS as f64) as usize).min(BINS - 1)] += 1;
    }
    let most = counts.iter().copied().max().unwrap_or(1).max(1) as f64;
    let mut plot = Plot::new(
        Axis::percent("AU, %"),
        Axis::counts(0.0, most, "ranks"),
        180.0,
    );
    let width = 100.0 / BINS as f64;
    let mut rows = Vec::new();
    for (i, n) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
        let (from, to) = (i as f64 * width, (i + 1) as f64 * width);
        let range = format!("{from:.0} to {to:.0} %");
        plot.bar("c0", (from, to), (0.0, *n as f64), &format!("{range}: {n}"));
        rows.push(vec![Cell::word(range), Cell::number(*n as f64, "")]);
    }
    Figure {
        caption: "AU over ranks".into(),
        reading: "How many ranks had which AU. Two hills mean that some hosts or ranks are served worse than the others.",
        drawing: plot.svg("histogram of AU over ranks"),
        table: table("AU|ranks".split('|'), &rows),
    }
}

/// Place of a rank's wait for batches in its entry of `report.json`.
pub(super) const WAIT_SECONDS: &str = "/breakdown/wait/seconds";

/// What a heat map shows.
struct Measure {
    what: &'static str,
    unit: &'static str,
    of: fn(&RankEpochs) -> &Vec<Vec<f32>>,
    /// Of several ranks in one row the worst is shown.
    worst: fn(f32, f32) -> f32,
    /// 0: worst, 1: best; the second value is the largest of all.
    goodness: fn(f64, f64) -> f64,
    reading: &'static str,
}

const AU: Measure = Measure {
    what: "AU",
    unit: "%",
    of: |table| &table.au_percent,
    worst: f32::min,
    goodness: |au, _| au / 100.0,
    reading: "A row is a rank (grouped by host), a column an epoch; dark is low AU. A dark row is a slow rank, a dark stripe of rows a slow host, a dark column a bad epoch for all. Where all ranks meet after each step, the others lose as much as a slow one: the next map names it.",
};

const WAIT: Measure = Measure {
    what: "wait for batches",
    unit: "s",
    of: |table| &table.wait_s,
    worst: f32::max,
    goodness: |wait, most| 1.0 - wait / most.max(f64::MIN_POSITIVE),
    reading: "The same for the time that a rank waited for its batches in an epoch; dark is long. A dark row is a rank that the storage or its host serves slowly.",
};

fn heat_map(timeline: &Timeline, measure: &Measure) -> Figure {
    let of = &timeline.rank_epochs;
    let columns = of.columns();
    let values = (measure.of)(of);
    let largest = values.iter().flatten().copied().fold(0.0, f32::max);
    // By host, then by rank.
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by_key(|&rank| (host_of(timeline, rank), rank));
    let fold = order.len().div_ceil(ROWS).max(1);
    let groups = groups_of(timeline, &order, fold);
    let worst_of = |group: &[usize], column: usize| {
        let values = group.iter().filter_map(|r| values[*r].get(column));
        values.copied().reduce(measure.worst).unwrap_or(0.0)
    };
    let x = Axis::of(0.0, columns as f64, "epoch", epoch_ticks(of));
    let hosts = host_ticks(timeline, &groups);
    let y = Axis::of(0.0, groups.len() as f64, "ranks by host", hosts);
    let height = (60.0 + 14.0 * groups.len() as f64).clamp(120.0, 520.0);
    let mut plot = Plot::new(x, y, height);
    let mut drawn = Vec::new();
    let mut rows = Vec::new();
    for (i, group) in groups.iter().enumerate() {
        let top = groups.len() as f64 - i as f64;
        let mut cells = Vec::new();
        let shown: Vec<f32> = (0..columns).map(|c| worst_of(group, c)).collect();
        let worst = shown.iter().copied().reduce(measure.worst).unwrap_or(0.0);
        let mut sum = 0.0;
        for (column, value) in shown.into_iter().enumerate() {
            let value = f64::from(value);
            sum += value;
            let goodness = (measure.goodness)(value, f64::from(largest));
            let best = (LEVELS - 1) as f64;
            let level = (goodness * best).round().clamp(0.0, best) as usize;
            let x = (column as f64, column as f64 + 1.0);
            cells.push((level, x, (top - 1.0, top)));
        }
        let ranks = match *group {
            [one] => one.to_string(),
            many => format!("{}-{}", many[0], many[many.len() - 1]),
        };
        let on = host_name(timeline, group[0]);
        let (mean, unit) = (sum / columns as f64, measure.unit);
        drawn.push((cells, mean, format!("{ranks} on {on}: {mean:.2} {unit}")));
        rows.push(vec![
            Cell::word(ranks),
            Cell::word(on),
            Cell::number(mean, unit),
            Cell::number(f64::from(worst), unit),
        ]);
    }
    plot.rows(&drawn);
    let folded = match fold {
        1 => String::new(),
        _ => format!("; a row is the worst of {fold} ranks"),
    };
    let name = format!("{} of every rank and epoch", measure.what);
    let (dark, bright) = match measure.unit {
        "%" => ("0 %".to_owned(), "100 %".to_owned()),
        unit => (format!("{largest:.3} {unit}"), format!("0 {unit}")),
    };
    Figure {
        drawing: plot.svg(&name) + &shades(&dark, &bright),
        caption: name + &folded,
        reading: measure.reading,
        table: table("rank|host|mean of an epoch|worst epoch".split('|'), &rows),
    }
}

fn host_of(timeline: &Timeline, rank: usize) -> usize {
    timeline.host_of_rank.get(rank).copied().unwrap_or(0)
}

fn host_name(timeline: &Timeline, rank: usize) -> String {
    let host = host_of(timeline, rank);
    timeline.hosts.get(host).cloned().unwrap_or_default()
}

/// The ranks of each row: at most `fold`, and of one host where rows suffice.
fn groups_of<'a>(timeline: &Timeline, order: &'a [usize], fold: usize) -> Vec<&'a [usize]> {
    let of_hosts = || order.chunk_by(|a, b| host_of(timeline, *a) == host_of(timeline, *b));
    match of_hosts().count() > ROWS {
        // A row is then the worst rank of several hosts.
        true => order.chunks(fold).collect(),
        false => of_hosts().flat_map(|ranks| ranks.chunks(fold)).collect(),
    }
}

/// Names of hosts at their first rows, as many as can be read.
fn host_ticks(timeline: &Timeline, groups: &[&[usize]]) -> Vec<(f64, String)> {
    let mut ticks: Vec<(f64, String)> = Vec::new();
    let mut previous = None;
    let apart = groups.len() as f64 / 24.0;
    for (i, group) in groups.iter().enumerate() {
        let at = groups.len() as f64 - i as f64 - 0.5;
        let host = host_of(timeline, group[0]);
        let is_new = previous.replace(host) != Some(host);
        if is_new && ticks.last().is_none_or(|(last, _)| last - at >= apart) {
            let text: String = host_name(timeline, group[0]).chars().take(12).collect();
            ticks.push((at, text));
        }
    }
    ticks
}

/// Epochs of columns, as many as can be read.
fn epoch_ticks(of: &RankEpochs) -> Vec<(f64, String)> {
    let epochs = |column: usize| {
        let first = column as u64 * of.epochs_per_column + 1;
        let last = (first + of.epochs_per_column - 1).min(of.epochs);
        match last - first {
            0 => first.to_string(),
            _ => format!("{first}-{last}"),
        }
    };
    let every = of.columns().div_ceil(12).max(1);
    (0..of.columns())
        .step_by(every)
        .map(|c| (c as f64 + 0.5, epochs(c)))
        .collect()
}
