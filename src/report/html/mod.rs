//! `report.html`: a run to look at. One file that asks for nothing else, readable without JavaScript and on paper.
//!
//! Its figures are those of `report.json`, each cell with the place of its number (`data-at`), and its sentences are the
//! console's. What needs the recording (`timeline.json.zst`) is stated where there is none.

mod chart;
mod checkpoints;
mod epochs;
pub(crate) mod find;
mod latency;
mod markup;
mod ranks;
mod reproduce;
mod several;
mod storage;
mod time;
mod verdict;

use std::borrow::Cow;

use serde_json::Value;

use self::markup::{escape, missing, paragraph, sentence};
use super::shown::Shown;
use crate::metrics::timeline::Timeline;

/// Name of the file within a folder of results.
pub(crate) const FILE: &str = "report.html";

/// What is known of a run over time.
// There are as many of them as runs on a page.
#[allow(clippy::large_enum_variant)]
pub(crate) enum Recording<'a> {
    /// All of it.
    Read(Cow<'a, Timeline>),
    /// Nothing; why.
    Missing(String),
}

impl Recording<'_> {
    /// Of a folder of results.
    pub(crate) fn of_folder(folder: &std::path::Path) -> Self {
        let path = folder.join(crate::metrics::timeline::FILE);
        if !path.exists() {
            return Recording::Missing(format!(
                "The folder has no {}",
                crate::metrics::timeline::FILE
            ));
        }
        match Timeline::load(&path) {
            Ok(timeline) => Recording::Read(Cow::Owned(timeline)),
            Err(error) => Recording::Missing(error.to_string()),
        }
    }

    fn read(&self) -> Result<&Timeline, &str> {
        match self {
            Recording::Read(timeline) => Ok(timeline),
            Recording::Missing(why) => Err(why),
        }
    }
}

/// A run.
pub(crate) struct View<'a> {
    /// Its name, as a rule its folder.
    pub(crate) name: String,
    /// `report.json`, or what there is of it.
    pub(crate) report: &'a Value,
    pub(crate) shown: &'a Shown,
    /// What is not there: which figure, and why.
    pub(crate) absent: Vec<(String, String)>,
    pub(crate) recording: Recording<'a>,
}

/// Rows of words.
pub(crate) struct Words {
    pub(crate) title: String,
    pub(crate) columns: Vec<String>,
    pub(crate) rows: Vec<Vec<String>>,
}

/// The page of one run, or of several with their comparison on top.
pub(crate) fn page(runs: &[View], comparison: &[Words]) -> String {
    let title = match runs {
        [one] => one.name.clone(),
        many => format!("{} runs", many.len()),
    };
    let mut body = String::new();
    if runs.len() > 1 {
        body += &several::sections(runs, comparison);
    }
    for (number, run) in runs.iter().enumerate() {
        body += &of_run(run, (runs.len() > 1).then_some(number + 1));
    }
    document(&title, &body)
}

/// A whole page.
fn document(title: &str, body: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:\">\n\
         <title>{} - dlio-rs</title>\n<link rel=\"icon\" href=\"data:,\">\n<style>\n{}</style>\n</head>\n<body>\n{body}\
         <script>\n{}</script>\n</body>\n</html>\n",
        escape(title),
        include_str!("style.css"),
        include_str!("sort.js"),
    )
}

/// Makes a section; None where a run of its kind has none.
type Section = fn(&View) -> Option<String>;

const SECTIONS: [(&str, &str, Section); 10] = [
    ("verdict", "Verdict", verdict::section),
    ("epochs", "Epochs", epochs::section),
    ("time", "Throughput over time", time::throughput),
    ("steps", "Steps", time::steps),
    ("latency", "Latency", latency::section),
    ("ranks", "Ranks", ranks::section),
    ("evidence", "Evidence", storage::evidence),
    ("checkpoints", "Checkpoints", checkpoints::section),
    ("objects", "Object store", storage::objects),
    ("reproduce", "Reproduce", reproduce::section),
];

fn of_run(run: &View, number: Option<usize>) -> String {
    let prefix = number.map_or(String::new(), |n| format!("run{n}-"));
    let mut links = String::new();
    let mut body = String::new();
    for (id, title, section) in SECTIONS {
        let Some(html) = section(run) else { continue };
        links += &format!("<a href=\"#{prefix}{id}\">{title}</a>\n");
        body += &format!("<section id=\"{prefix}{id}\">\n<h2>{title}</h2>\n{html}</section>\n");
    }
    let absent: String = (run.absent.iter())
        .map(|(what, why)| missing(what, why))
        .collect();
    let recording = match &run.recording {
        Recording::Missing(why) => paragraph(&format!(
            "There is no recording of this run over time. {} What needs it is marked as not shown.",
            sentence(why)
        )),
        Recording::Read(_) => String::new(),
    };
    format!(
        "<h1>{}</h1>\n<nav>\n{links}</nav>\n{recording}{absent}{body}",
        escape(&run.name)
    )
}

/// A time axis's word, seconds.
fn seconds(x: f64) -> String {
    if x >= 120.0 {
        format!("{:.0} min", x / 60.0)
    } else {
        format!("{} s", (x * 1000.0).round() / 1000.0)
    }
}

#[cfg(test)]
mod tests;
