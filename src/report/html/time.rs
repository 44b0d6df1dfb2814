//! What the recording shows: throughput over time, and steps.

use super::View;
use super::chart::{Axis, Plot, legend};
use super::latency::ns;
use super::markup::{Cell, Figure, details, list, missing, paragraph, table, titled};
use crate::metrics::timeline::{Column, Device, Extremes, StepBins, Timeline};
use crate::util::units::GIB;

/// Points of a line.
const POINTS: usize = 512;

/// Lines of a table.
const LINES: usize = 64;

/// Waits that are listed before the fold.
const LONGEST: usize = 20;

/// True where the run measured something over time.
fn has_time(run: &View) -> bool {
    !list(run.report, "/epochs").is_empty()
        || run.report.get("checkpoint").is_some_and(|c| !c.is_null())
}

pub(super) fn throughput(run: &View) -> Option<String> {
    if !has_time(run) {
        return None;
    }
    Some(match run.recording.read() {
        Ok(timeline) => series(timeline).html() + &devices(timeline) + &events(timeline),
        Err(why) => missing("throughput over time", why),
    })
}

/// Columns of the chart, with name and class.
const RATES: [(Column, &str, &str); 6] = [
    (Column::Bytes, "delivered to readers", "c0"),
    (Column::DeviceBytes, "from devices", "c1"),
    (Column::NicBytes, "received by network cards", "c2"),
    (Column::BytesWritten, "generated", "c4"),
    (Column::CheckpointBytesWritten, "checkpoints written", "c3"),
    (Column::CheckpointBytesRead, "checkpoints read", "c5"),
];

/// Sums of a column over `fold` bins, as a rate per second. The last bin ends with the run.
fn rates(timeline: &Timeline, column: Column, fold: usize) -> Option<Vec<f64>> {
    let series = &timeline.series;
    let rate = |(i, bins): (usize, &[u64])| {
        let from = (i * fold) as u64 * series.bin_ns;
        let whole = bins.len() as u64 * series.bin_ns;
        let until = (from + whole).min(timeline.length_ns);
        // Where the end lies within the first hundredth of a bin, the rate would say nothing.
        let ns = until.saturating_sub(from).max(whole / 100);
        bins.iter().sum::<u64>() as f64 / (ns.max(1) as f64 / 1e9)
    };
    let bins = series.get(column)?.chunks(fold).enumerate();
    Some(bins.map(rate).collect())
}

fn series(timeline: &Timeline) -> Figure {
    let series = &timeline.series;
    let fold = series.bins.div_ceil(POINTS).max(1);
    let width = series.bin_ns as f64 / 1e9;
    let end = timeline.length_ns as f64 / 1e9;
    let lines: Vec<(&str, &str, Vec<f64>)> = RATES
        .iter()
        .filter_map(|(column, name, class)| Some((*name, *class, rates(timeline, *column, fold)?)))
        .filter(|(.., values)| values.iter().any(|v| *v > 0.0))
        .collect();
    let most = lines
        .iter()
        .flat_map(|(.., v)| v)
        .copied()
        .fold(0.0, f64::max);
    let x = Axis::linear(0.0, end, "time", super::seconds);
    let mut plot = Plot::new(x, Axis::amounts(most / GIB, "GiB/s"), 280.0);
    let mut keys = Vec::new();
    marks(&mut plot, timeline, &mut keys);
    for (name, class, values) in &lines {
        let at = |i: usize| (i as f64 + 0.5) * width * fold as f64;
        let points = values.iter().enumerate().map(|(i, v)| (at(i), v / GIB));
        plot.line(class, &points.collect::<Vec<_>>());
        keys.push((format!("line {class}"), (*name).to_owned()));
    }
    let wide = series.bins.div_ceil(LINES).max(1);
    let columns: Vec<(&str, Vec<f64>)> = RATES
        .iter()
        .filter_map(|(column, name, _)| Some((*name, rates(timeline, *column, wide)?)))
        .collect();
    let mut head = vec!["from"];
    head.extend(columns.iter().map(|(name, _)| *name));
    let rows: Vec<Vec<Cell>> = (0..series.bins.div_ceil(wide))
        .map(|i| {
            let mut row = vec![Cell::number(i as f64 * wide as f64 * width, "s")];
            let rates = columns.iter().map(|(_, v)| v[i] / GIB);
            row.extend(rates.map(|rate| Cell::number(rate, "GiB/s")));
            row
        })
        .collect();
    Figure {
        caption: "Throughput over time, all ranks".into(),
        reading: "Delivered above devices and network cards means that a cache of the client answered. A gap in an epoch is a pause of the storage or of the job; bands are epochs, evaluations and checkpoints, dashed ticks are events.",
        drawing: plot.svg("throughput over time") + &legend(&keys),
        table: table(head, &rows),
    }
}

/// Kinds of events that are bands: class, and name. The last one is for all others.
const BANDS: [(&str, &str); 4] = [
    ("c6", "epoch"),
    ("c2", "evaluation"),
    ("c3", "checkpoint"),
    ("c5", "other (generation, cache drop, long wait, retries)"),
];

/// A band, or the mark of something without a duration; of several that are too narrow to be told apart, the first and last.
struct Mark<'a> {
    from: f64,
    until: f64,
    first: &'a str,
    last: &'a str,
}

impl Mark<'_> {
    fn text(&self) -> String {
        match self.first == self.last {
            true => self.first.into(),
            false => format!("{} to {}", self.first, self.last),
        }
    }
}

/// Bands and ticks of what happened.
fn marks(plot: &mut Plot, timeline: &Timeline, keys: &mut Vec<(String, String)>) {
    let s = |ns: u64| ns as f64 / 1e9;
    // Narrower than this is not seen.
    let narrow = s(timeline.length_ns) / POINTS as f64;
    let mut kinds: [Vec<Mark>; BANDS.len() + 1] = Default::default();
    for event in timeline.events.events.iter().filter(|e| e.kind != "info") {
        let kind = match (event.until_ns, event.kind.as_str()) {
            (None, _) => BANDS.len(),
            (_, "epoch") => 0,
            (_, "evaluation") => 1,
            (_, "checkpoint_save" | "checkpoint_load") => 2,
            _ => 3,
        };
        let mark = Mark {
            from: s(event.at_ns),
            until: s(event.until_ns.unwrap_or(event.at_ns)),
            first: &event.text,
            last: &event.text,
        };
        match kinds[kind].last_mut() {
            Some(last) if mark.until - last.from < narrow => {
                last.until = last.until.max(mark.until);
                last.last = mark.last;
            }
            _ => kinds[kind].push(mark),
        }
    }
    for ((class, name), marks) in BANDS.iter().zip(&kinds) {
        for mark in marks {
            plot.band(class, (mark.from, mark.until), &mark.text());
        }
        if !marks.is_empty() {
            keys.push((format!("band {class}"), (*name).into()));
        }
    }
    for mark in &kinds[BANDS.len()] {
        plot.tick("", mark.from, &mark.text());
    }
}

/// Block devices that were watched (`workflow.profiling`), over the whole run; empty where none was.
fn devices(timeline: &Timeline) -> String {
    if timeline.devices.is_empty() {
        return String::new();
    }
    let sum = |column: &[u64]| column.iter().sum::<u64>() as f64;
    let length = timeline.length_ns.max(1) as f64;
    let row = |d: &Device| {
        let mean = |ns: &[u64], count: &[u64]| match sum(count) {
            0.0 => Cell::word("-"),
            n => Cell::number(sum(ns) / n, "ns"),
        };
        let busiest = d.busy_ns.iter().copied().max().unwrap_or(0) as f64;
        vec![
            Cell::word(timeline.hosts.get(d.host).map_or("", String::as_str)),
            Cell::word(&d.name),
            Cell::number(sum(&d.bytes_read), "B"),
            Cell::number(sum(&d.reads), ""),
            mean(&d.read_ns, &d.reads),
            Cell::number(sum(&d.bytes_written), "B"),
            Cell::number(sum(&d.writes), ""),
            mean(&d.write_ns, &d.writes),
            Cell::number(100.0 * sum(&d.busy_ns) / length, "%"),
            Cell::number(100.0 * busiest / d.bin_ns.max(1) as f64, "%"),
        ]
    };
    let rows: Vec<Vec<Cell>> = timeline.devices.iter().map(row).collect();
    let head = "host|device|read|reads|read, mean|written|writes|write, mean|busy|busiest bin";
    titled("Block devices", &table(head.split('|'), &rows))
}

fn events(timeline: &Timeline) -> String {
    let log = &timeline.events;
    let rows: Vec<Vec<Cell>> = (log.events.iter().take(400))
        .map(|e| {
            let seconds = |ns: u64| ns as f64 / 1e9;
            let length = e.until_ns.map(|until| until.saturating_sub(e.at_ns));
            vec![
                Cell::word(&e.kind),
                Cell::number(seconds(e.at_ns), "s"),
                Cell::maybe(length.map(seconds), "s"),
                Cell::word(&e.text),
            ]
        })
        .collect();
    let more: u64 = log.dropped.values().sum::<u64>() + log.events.len().saturating_sub(400) as u64;
    let mut content = table("event|at|lasted|what".split('|'), &rows);
    if more > 0 {
        content += &paragraph(&format!("{more} more are not listed"));
    }
    details(&format!("Events ({})", log.events.len()), &content)
}

pub(super) fn steps(run: &View) -> Option<String> {
    if list(run.report, "/epochs").is_empty() {
        return None;
    }
    Some(match run.recording.read() {
        Ok(timeline) if timeline.steps.total > 0 => {
            durations(&timeline.steps.bins).html() + &longest(timeline)
        }
        Ok(_) => missing("steps", "The recording holds none"),
        Err(why) => missing("steps by number, and the longest waits", why),
    })
}

/// Bins folded to at most `most`: first step, counts, and of each duration least, sum, most and its rank.
struct Folded {
    from: u64,
    count: u64,
    wait: Of,
    step: Of,
    barrier: Of,
}

struct Of {
    min: u64,
    sum: u64,
    max: u64,
    rank: u32,
}

fn folded(bins: &StepBins, most: usize) -> Vec<Folded> {
    let fold = bins.counts.len().div_ceil(most).max(1);
    let of = |e: &Extremes, range: std::ops::Range<usize>| {
        let slowest = range.clone().max_by_key(|i| e.max_ns.get(*i)).unwrap_or(0);
        let used = range.clone().filter(|i| bins.counts[*i] > 0);
        Of {
            min: used
                .filter_map(|i| e.min_ns.get(i).copied())
                .min()
                .unwrap_or(0),
            sum: range.filter_map(|i| e.sum_ns.get(i)).sum(),
            max: e.max_ns.get(slowest).copied().unwrap_or(0),
            rank: e.max_rank.get(slowest).copied().unwrap_or(0),
        }
    };
    (0..bins.counts.len())
        .step_by(fold)
        .map(|i| {
            let range = i..(i + fold).min(bins.counts.len());
            Folded {
                from: i as u64 * bins.width + 1,
                count: bins.counts[range.clone()].iter().sum(),
                wait: of(&bins.wait, range.clone()),
                step: of(&bins.step, range.clone()),
                barrier: of(&bins.barrier, range),
            }
        })
        .filter(|f| f.count > 0)
        .collect()
}

fn durations(bins: &StepBins) -> Figure {
    let all = folded(bins, POINTS);
    type Get = fn(&Folded) -> f64;
    let lines: [(&str, &str, Get); 6] = [
        ("c1", "step, longest", |f| f.step.max as f64),
        ("c0", "step, mean", |f| f.step.sum as f64 / f.count as f64),
        ("c2", "step, shortest", |f| f.step.min as f64),
        ("c3", "wait, mean", |f| f.wait.sum as f64 / f.count as f64),
        ("c4", "compute, mean", |f| {
            f.step.sum.saturating_sub(f.wait.sum) as f64 / f.count as f64
        }),
        ("c6", "barrier, mean", |f| {
            f.barrier.sum as f64 / f.count as f64
        }),
    ];
    // Less than a microsecond makes no difference.
    let floor = |ns: f64| ns.max(1e3);
    let of = |f| lines.iter().map(move |(.., get)| floor(get(f)));
    let values = || all.iter().flat_map(of);
    let least = values().fold(f64::INFINITY, f64::min);
    let most = values().fold(1e3, f64::max);
    let end = |f: &Folded| f.from as f64 + bins.width as f64;
    let last = all.last().map_or(1.0, end);
    let x = Axis::counts(1.0, last, "step of the job");
    let y = Axis::log(least.min(most), most, "time", ns);
    let mut plot = Plot::new(x, y, 280.0);
    for (class, _, get) in lines {
        let points: Vec<(f64, f64)> = all.iter().map(|f| (f.from as f64, floor(get(f)))).collect();
        plot.line(class, &points);
    }
    let rows: Vec<Vec<Cell>> = folded(bins, LINES)
        .iter()
        .map(|f| {
            let mut row = vec![
                Cell::number(f.from as f64, ""),
                Cell::number(f.count as f64, ""),
            ];
            row.extend(lines.iter().map(|(.., get)| Cell::number(get(f), "ns")));
            row.push(Cell::number(f.wait.max as f64, "ns"));
            row.push(Cell::number(f64::from(f.wait.rank), ""));
            row
        })
        .collect();
    let mut head = vec!["from step", "steps of all ranks"];
    head.extend(lines.iter().map(|(_, name, _)| *name));
    head.extend(["wait, longest", "of rank"]);
    let keys = lines.map(|(c, name, _)| (format!("line {c}"), name.to_owned()));
    Figure {
        caption: "Time of steps, all ranks".into(),
        reading: "Logarithmic. Where the longest step leaves the mean, one rank is slow and the barrier of the others grows; where wait grows for all, the storage does.",
        drawing: plot.svg("time of steps") + &legend(&keys),
        table: table(head, &rows),
    }
}

fn longest(timeline: &Timeline) -> String {
    let waits = &timeline.steps.longest_waits;
    let row = |w: &crate::metrics::timeline::LongWait| {
        let host = timeline.hosts.get(w.host).cloned().unwrap_or_default();
        vec![
            Cell::number(w.wait_ns as f64, "ns"),
            Cell::number(w.at_ns as f64 / 1e9, "s"),
            Cell::number(w.epoch as f64, ""),
            Cell::number(w.step as f64, ""),
            Cell::number(w.rank as f64, ""),
            Cell::word(host),
            Cell::word(w.file.as_deref().unwrap_or("-")),
        ]
    };
    let head = ["wait", "at", "epoch", "step", "rank", "host", "file"];
    let rows: Vec<Vec<Cell>> = waits.iter().map(row).collect();
    let (first, rest) = rows.split_at(LONGEST.min(rows.len()));
    let mut out = titled("Longest waits for a batch", &table(head, first));
    if !rest.is_empty() {
        out += &details(&format!("{} more", rest.len()), &table(head, rest));
    }
    out
}
