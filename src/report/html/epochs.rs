//! AU per epoch, and where the time of its window went.

use super::View;
use super::chart::{Axis, Plot, legend};
use super::markup::{Cell, Figure, list, missing, number, table};
use crate::metrics::timeline::RankEpochs;

/// More points than this are not drawn one by one.
pub(super) const DOTS: usize = 200;

pub(super) fn section(run: &View) -> Option<String> {
    let epochs = list(run.report, "/epochs");
    if epochs.is_empty() {
        return None;
    }
    let mut out = au(run).html();
    if let Err(why) = run.recording.read() {
        out += &missing("least and most AU of a rank in each epoch", why);
    }
    match window(run) {
        Some(figure) => out += &figure.html(),
        None => out += &missing("AU's window by cause", "report.json of dlio-rs has it"),
    }
    Some(out)
}

/// Least and most AU of the ranks in a column of the recording; None without any.
fn ends(of: &RankEpochs, column: usize) -> Option<(f64, f64)> {
    let values = || of.au_percent.iter().filter_map(|rank| rank.get(column));
    let (least, most) = values().fold((f32::INFINITY, f32::NEG_INFINITY), |(least, most), x| {
        (least.min(*x), most.max(*x))
    });
    (least <= most).then_some((f64::from(least), f64::from(most)))
}

/// Least and most AU of a rank in an epoch (from 0), where the recording has every epoch by itself.
fn extremes(run: &View, epoch: usize) -> Option<(f64, f64)> {
    let of = &run.recording.read().ok()?.rank_epochs;
    (of.epochs_per_column == 1)
        .then(|| ends(of, epoch))
        .flatten()
}

/// Least and most AU of a rank as lines, where the recording has means of several epochs; false where it has not.
fn folded_extremes(run: &View, plot: &mut Plot, keys: &mut Vec<(String, String)>) -> bool {
    let of = match run.recording.read() {
        Ok(timeline) if timeline.rank_epochs.epochs_per_column > 1 => &timeline.rank_epochs,
        _ => return false,
    };
    let fold = of.epochs_per_column;
    let (mut least, mut most) = (Vec::new(), Vec::new());
    for (i, (low, high)) in (0..of.columns()).filter_map(|i| Some((i as u64, ends(of, i)?))) {
        let (first, last) = (i * fold + 1, ((i + 1) * fold).min(of.epochs));
        let middle = (first + last) as f64 / 2.0;
        least.push((middle, low));
        most.push((middle, high));
    }
    for (class, word, points) in [("c2", "highest", most), ("c3", "lowest", least)] {
        plot.line(class, &points);
        let name = format!("{word} rank, mean of {fold} epochs");
        keys.push((format!("line {class}"), name));
    }
    true
}

fn au(run: &View) -> Figure {
    let report = run.report;
    let n = list(report, "/epochs").len();
    let x = Axis::counts(0.5, n as f64 + 0.5, "epoch");
    let mut plot = Plot::new(x, Axis::percent("AU, %"), 240.0);
    let mut rows = Vec::new();
    let mut points = Vec::new();
    for i in 0..n {
        let at = |key: &str| format!("/epochs/{i}/{key}");
        let place = (i + 1) as f64;
        let au = number(report, &at("au"));
        points.push((place, au.unwrap_or(f64::NAN)));
        let ends = extremes(run, i);
        if let Some((least, most)) = ends.filter(|_| n <= DOTS) {
            plot.whisker(place, least, most);
        }
        if let Some(au) = au.filter(|_| n <= DOTS) {
            plot.dot("c0", (place, au), &format!("epoch {}: {au:.2} %", i + 1));
        }
        rows.push(vec![
            Cell::at(report, &at("epoch"), ""),
            Cell::at(report, &at("au"), "%"),
            Cell::maybe(ends.map(|e| e.0), "%"),
            Cell::maybe(ends.map(|e| e.1), "%"),
            Cell::at(report, &at("throughput"), "samples/s"),
            Cell::at(report, &at("steps"), ""),
            Cell::at(report, &at("train_time"), "s"),
        ]);
    }
    plot.line("c0", &points);
    let mut keys = vec![("line c0".to_owned(), "AU of the job".to_owned())];
    let fold = folded_extremes(run, &mut plot, &mut keys);
    if let Some(expected) = number(report, "/train/au_expected") {
        plot.line("c1", &[(0.5, expected), (n as f64 + 0.5, expected)]);
        keys.push(("line c1".into(), format!("threshold {expected:.2} %")));
    }
    Figure {
        caption: "AU per epoch".into(),
        reading: match fold {
            false => {
                "A point is the share of an epoch in which the accelerators computed; the whisker reaches from the lowest to the highest rank. Below the threshold the storage or the client held them back."
            }
            true => {
                "The line is the share of each epoch in which the accelerators computed. The recording has the ranks' AU as means of several epochs: the lowest and the highest of them are the other lines. Below the threshold the storage or the client held the accelerators back."
            }
        },
        drawing: plot.svg("AU per epoch") + &legend(&keys),
        table: table(HEAD.split('|'), &rows),
    }
}

const HEAD: &str = "epoch|AU|lowest rank|highest rank|throughput|steps|time";

/// Parts of the window: place in a breakdown, name, class.
const PARTS: [(&str, &str, &str); 11] = [
    ("compute", "compute (= AU)", "c0"),
    ("wait/parts/io", "wait: device or network I/O", "c1"),
    ("wait/parts/metadata", "wait: metadata", "c5"),
    ("wait/parts/decode", "wait: decode", "c2"),
    ("wait/parts/preprocess", "wait: preprocess", "c4"),
    ("wait/parts/cpu", "wait: waiting for CPU", "c3"),
    ("wait/parts/idle", "wait: nothing to do", "q8"),
    ("barrier", "barrier", "c6"),
    ("harness", "harness", "c7"),
    ("closing_fetch", "closing fetch", "q6"),
    ("uncounted", "blocks without a counted step", "q2"),
];

fn window(run: &View) -> Option<Figure> {
    let report = run.report;
    number(report, "/breakdown/window_seconds")?;
    let n = list(report, "/epochs").len();
    // Of many epochs the whole run alone, and every so many of them.
    let step = n.div_ceil(24).max(1);
    let mut bars = vec![("all".to_owned(), "/breakdown".to_owned())];
    let one = |i: usize| ((i + 1).to_string(), format!("/epochs/{i}/breakdown"));
    bars.extend((0..n).step_by(step).map(one));
    let ticks = bars.iter().enumerate();
    let ticks = ticks.map(|(i, (name, _))| (i as f64 + 0.5, name.clone()));
    let x = Axis::of(0.0, bars.len() as f64, "epoch", ticks.collect());
    let mut plot = Plot::new(x, Axis::percent("share of AU's window, %"), 260.0);
    let mut rows = Vec::new();
    for (i, (name, place)) in bars.iter().enumerate() {
        let mut from = 0.0;
        let window = Cell::at(report, &format!("{place}/window_seconds"), "s");
        let mut row = vec![Cell::word(name), window];
        for (part, label, class) in PARTS {
            let pointer = format!("{place}/{part}/percent");
            let share = number(report, &pointer).unwrap_or(0.0);
            if share > 0.0 {
                let x = (i as f64 + 0.1, i as f64 + 0.9);
                let text = format!("{name}: {label} {share:.2} %");
                plot.bar(class, x, (from, from + share), &text);
            }
            from += share;
            row.push(Cell::at(report, &pointer, "%"));
        }
        rows.push(row);
    }
    let mut head = vec!["epoch", "window"];
    head.extend(PARTS.map(|(_, label, _)| label));
    let keys = PARTS.map(|(_, label, class)| (class.to_owned(), label.to_owned()));
    Some(Figure {
        caption: "Where the time of AU's window went".into(),
        reading: match step {
            1 => {
                "Each bar is 100 % of the time that AU counts, mean per rank. The lowest part is AU itself; the parts above it are the losses, by what the accelerators waited for."
            }
            _ => {
                "The first bar is the whole run, each of the others one epoch; epochs between them are not drawn. Each is 100 % of the time that AU counts, mean per rank. The lowest part is AU itself; the parts above it are the losses, by what the accelerators waited for."
            }
        },
        drawing: plot.svg("AU's window by cause") + &legend(&keys),
        table: table(head, &rows),
    })
}
