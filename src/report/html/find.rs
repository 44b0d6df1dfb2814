//! The page of a search: accelerators against AU, with the knee.

use serde_json::Value;

use super::super::find::{By, Document, Limit, Trial};
use super::chart::{Axis, Plot, legend};
use super::document;
use super::markup::{Cell, Figure, escape, missing, paragraph, table, warning};
use crate::metrics::sequential::Outcome;

/// The page of `find.json`; its cells name their places there.
pub(crate) fn page(search: &Document) -> String {
    let json = serde_json::to_value(search).unwrap_or_default();
    let title = format!("find {}", search.workload);
    let mut body = format!("<h1>{}</h1>\n<section id=\"answer\">\n", escape(&title));
    match &search.answer {
        Some(answer) => {
            body += &format!("<p class=\"big\">{}</p>\n", escape(&answer.text));
            if let Some(limit) = answer.limit {
                body += &paragraph(&format!("What limits it: {}", limit.words()));
            }
            for note in &answer.notes {
                body += &warning(note);
            }
        }
        None => body += &missing("the answer", "The search has not ended"),
    }
    body += "</section>\n<section id=\"trials\">\n<h2>Trials</h2>\n";
    match search.trials.is_empty() {
        true => body += &missing("the curve", "No trial has ended"),
        false => body += &curve(search, &json).html(),
    }
    body += &format!(
        "</section>\n<section id=\"command\">\n<h2>Command</h2>\n<pre>{}</pre>\n</section>\n",
        escape(&search.command_line.join(" "))
    );
    document(&title, &body)
}

fn axis_of(by: By) -> &'static str {
    match by {
        By::Ranks => "accelerators",
        By::Hosts => "hosts",
        By::ReadThreads => "reader threads per rank",
    }
}

fn class_of(trial: &Trial) -> (&'static str, &'static str) {
    match trial.outcome {
        Some(Outcome::Pass) => ("c2", "passes"),
        Some(Outcome::Fail) => ("c1", "does not pass"),
        Some(_) => ("c6", "undecided"),
        None => ("c0", "tried"),
    }
}

fn curve(search: &Document, json: &Value) -> Figure {
    let mut order: Vec<usize> = (0..search.trials.len()).collect();
    order.sort_by_key(|i| search.trials[*i].number);
    let trials: Vec<&Trial> = order.iter().map(|i| &search.trials[*i]).collect();
    let threshold = search.question.threshold_percent;
    let y_of = |trial: &Trial| match threshold {
        Some(_) => trial.au_percent.unwrap_or(f64::NAN),
        None => trial.gib_per_second,
    };
    let most = trials.last().map_or(1, |t| t.number) as f64 + 0.5;
    let x = Axis::counts(0.0, most, axis_of(search.question.by));
    let highest = trials.iter().map(|t| y_of(t)).fold(0.0, f64::max);
    let y = match threshold {
        Some(_) => Axis::percent("AU, %"),
        None => Axis::amounts(highest, "GiB/s"),
    };
    let mut plot = Plot::new(x, y, 300.0);
    let mut keys = Vec::new();
    let points = trials.iter().map(|t| (t.number as f64, y_of(t)));
    plot.line("c0", &points.collect::<Vec<_>>());
    if let Some(threshold) = threshold {
        plot.line("c7", &[(0.0, threshold), (most, threshold)]);
        keys.push(("line c7".into(), format!("threshold, {threshold:.2} %")));
    }
    if let Some(knee) = search.answer.as_ref().and_then(|answer| answer.number) {
        plot.tick("", knee as f64, &search.question.by.of(knee));
    }
    for trial in &trials {
        let at = trial.number as f64;
        if let Some([low, high]) = trial.au_interval_percent {
            plot.whisker(at, low, high);
        }
        let (class, word) = class_of(trial);
        let y = y_of(trial);
        if y.is_finite() {
            let text = format!("{}: {y:.2}, {word}", search.question.by.of(trial.number));
            plot.dot(class, (at, y), &text);
        }
        let key = (class.to_owned(), word.to_owned());
        if !keys.contains(&key) {
            keys.push(key);
        }
    }
    let rows: Vec<Vec<Cell>> = (order.iter().zip(&trials))
        .map(|(i, trial)| row(json, *i, trial, threshold.is_some()))
        .collect();
    let mut head = vec![axis_of(search.question.by)];
    if threshold.is_some() {
        head.extend(["AU", "from", "to", "outcome", "steps"]);
    }
    head.extend(["rate", "CPU", "time", "limit"]);
    Figure {
        caption: format!(
            "Every number of {} that was tried",
            axis_of(search.question.by)
        ),
        reading: "The dashed upright line is the answer: the last number before the curve leaves the threshold, or, of checkpoints, the first that reaches the highest rate. Whiskers are the bounds of AU's steady state.",
        drawing: plot.svg("the curve of the search, with its knee") + &legend(&keys),
        table: table(head, &rows),
    }
}

fn row(json: &Value, i: usize, trial: &Trial, has_au: bool) -> Vec<Cell> {
    let at = |key: &str, unit: &str| Cell::at(json, &format!("/trials/{i}/{key}"), unit);
    let mut row = vec![at("number", "")];
    if has_au {
        row.extend([
            at("au_percent", "%"),
            at("au_interval_percent/0", "%"),
            at("au_interval_percent/1", "%"),
            Cell::word(class_of(trial).1),
            at("steps", ""),
        ]);
    }
    row.extend([
        at("gib_per_second", "GiB/s"),
        at("cpu_busy_percent", "%"),
        at("seconds", "s"),
        Cell::word(trial.limit.map_or("-", Limit::words)),
    ]);
    row
}
