//! One finished run, shown again from its folder: the rows of its own console where dlio-rs made it, else those that DLIO's
//! files give.

use std::path::Path;

use serde::Serialize;
use serde_json::{Value, json};

use super::figures::{self, Absence, Checkpoints, Training};
use super::foreign::{Document, PerEpochStats};
use super::leaf::Leaf;
use super::render::{Style, number};
use super::steps::{KINDS, steps};
use super::table::Table;
use crate::report::html::{Recording, View};
use crate::report::shown::{Block, Shown, ShownCell};

/// A run's report.
#[derive(Debug, Serialize)]
pub(crate) struct Run {
    pub(crate) path: String,
    pub(crate) source: &'static str,
    /// What its console printed, or would have.
    pub(crate) shown: Shown,
    /// What the folder does not hold.
    pub(crate) absent: Vec<Absence>,
    /// `report.json`; of DLIO's runs what there is of it.
    #[serde(skip)]
    pub(crate) report: Value,
}

/// What only `report.json` has.
const OURS: [[&str; 2]; 4] = [
    [
        "AU's window by cause",
        "DLIO does not divide the time of a step",
    ],
    ["latency per stage", "DLIO measures whole steps only"],
    [
        "served by storage",
        "DLIO does not ask the kernel where bytes came from",
    ],
    ["hosts, ranks and order digest", "DLIO does not record them"],
];

pub(crate) fn of(leaf: &Leaf) -> Run {
    let report: Document<Value> = Document::json(&leaf.path.join("report.json"));
    let own = report.value().filter(|_| leaf.is_ours());
    if let Some((report, shown)) = own.and_then(|r| Some((r, Shown::read(r)?))) {
        return Run {
            path: leaf.path.display().to_string(),
            source: "report.json",
            shown,
            absent: Vec::new(),
            report: report.clone(),
        };
    }
    let mut run = of_dlio(leaf);
    if let Some(why) = leaf.report.broken() {
        run.lacks("report.json", format!("it cannot be read: {why}"));
    }
    match own {
        Some(report) => {
            let why = "report.json is of a version of dlio-rs that did not keep them";
            run.lacks("rows of the console", why);
            run.report = report.clone();
        }
        None => OURS
            .iter()
            .for_each(|[figure, why]| run.lacks(figure, *why)),
    }
    run
}

impl Run {
    pub(crate) fn view(&self) -> View<'_> {
        let absent = self.absent.iter();
        View {
            name: self.path.clone(),
            report: &self.report,
            shown: &self.shown,
            absent: absent
                .map(|a| (a.figure.clone(), a.reason.clone()))
                .collect(),
            recording: Recording::of_folder(Path::new(&self.path)),
        }
    }

    fn lacks(&mut self, figure: &str, reason: impl Into<String>) {
        self.absent.push(Absence {
            figure: figure.into(),
            reason: reason.into(),
        });
    }

    pub(crate) fn text(&self) -> String {
        let mut out = self.shown.to_text();
        for absence in &self.absent {
            out += &format!("not in this folder: {absence}\n");
        }
        out
    }

    /// As Markdown: figures in one table, then the rest.
    pub(crate) fn markdown(&self) -> String {
        let blocks = self.shown.blocks();
        let mut figures = Table::new(&["figure", "value", "note"]);
        for (label, value, note) in blocks.iter().flat_map(figures_of) {
            figures.row([*label, &value.text(), *note]);
        }
        let mut out = format!("# {}\n\n", self.path);
        if !figures.rows.is_empty() {
            out += &figures.markdown();
        }
        for block in &blocks {
            match block {
                Block::Table {
                    title,
                    head,
                    rows,
                    more,
                } => {
                    let mut table = Table::new(head);
                    table.rows = (rows.iter())
                        .map(|row| row.iter().map(ShownCell::text).collect())
                        .collect();
                    out += &format!("\n## {title}\n\n{}", table.markdown());
                    if *more > 0 {
                        out += &format!("\n{more} more in report.json\n");
                    }
                }
                Block::Text(text) => out += &format!("\n{text}\n"),
                Block::Figures(_) => {}
            }
        }
        if !self.absent.is_empty() {
            out += "\n## Not in this folder\n\n";
        }
        for absence in &self.absent {
            out += &format!("- {absence}\n");
        }
        out
    }

    /// One line per figure and per cell of a table: `table, line, figure, value, unit, note`.
    pub(crate) fn csv(&self) -> String {
        let mut all = csv_table();
        let mut add = |cells: [&str; 6]| all.row(cells);
        for block in self.shown.blocks() {
            for (label, value, note) in figures_of(&block) {
                add(["", "", label, &value.bare(), value.unit, note]);
            }
            let Block::Table {
                title, head, rows, ..
            } = block
            else {
                continue;
            };
            for row in rows {
                let name = row.first().map(ShownCell::bare).unwrap_or_default();
                for (column, cell) in head.iter().zip(&row).skip(1) {
                    add([title, name.trim(), column, &cell.bare(), cell.unit, ""]);
                }
            }
        }
        for absence in &self.absent {
            let why = format!("absent: {}", absence.reason);
            add(["", "", &absence.figure, "", "", &why]);
        }
        all.csv()
    }
}

/// Without rows: what is printed as comma-separated values.
pub(super) fn csv_table() -> Table {
    Table::new(&["table", "line", "figure", "value", "unit", "note"])
}

fn figures_of<'a, 'b>(block: &'b Block<'a>) -> &'b [(&'a str, ShownCell<'a>, &'a str)] {
    match block {
        Block::Figures(figures) => figures,
        _ => &[],
    }
}

/// `text` in the style of groups of runs.
pub(crate) fn render(run: &Run, style: Style) -> String {
    match style {
        Style::Text => run.text(),
        Style::Markdown => run.markdown(),
    }
}

fn of_dlio(leaf: &Leaf) -> Run {
    let mut run = Run {
        path: leaf.path.display().to_string(),
        source: "files of DLIO",
        shown: Shown::default(),
        absent: Vec::new(),
        report: json!({"provenance": {"config": leaf.workload()}}),
    };
    let figures = match figures::of(leaf) {
        Ok(figures) => figures,
        Err(unreadable) => {
            run.lacks("every figure", unreadable.cause);
            return run;
        }
    };
    let count = |n: Option<u64>, what: &str| match n {
        None => format!("an unknown number of {what}"),
        Some(n) => format!("{n} {what}"),
    };
    let ranks = count(figures.accelerators, "accelerator(s)");
    let hosts = count(figures.hosts, "host(s)");
    let epochs = count(figures.epochs, "epoch(s)");
    run.shown
        .text(format!("DLIO   {ranks} on {hosts}   {epochs}"));
    if let Some(seconds) = leaf.duration_s() {
        run.shown.figure("run", seconds, "s", "(from start to end)");
        run.report["provenance"]["start"] = json!(leaf.start().map(|t| t.to_string()));
        run.report["provenance"]["end"] = json!(leaf.end().map(|t| t.to_string()));
    }
    if let Some(training) = &figures.training {
        of_training(&mut run, leaf, training);
    }
    if let Some(checkpoints) = &figures.checkpoints {
        of_checkpoints(&mut run, checkpoints);
    }
    of_steps(&mut run, leaf);
    run.absent.extend(figures.absent);
    run
}

fn of_training(run: &mut Run, leaf: &Leaf, t: &Training) {
    let shown = &mut run.shown;
    let verdict = figures::au_verdict(leaf).map_or_else(
        || "(nothing says what was expected)".into(),
        |v| format!("({v}: {})", v.word()),
    );
    shown.figure("train AU", t.au_mean_percent, "%", verdict);
    let spread = format!("(stdev {})", number(t.samples_per_second_stdev, 2));
    let rate = t.samples_per_second;
    shown.figure("train throughput", rate, "samples/s", spread);
    shown.figure("train I/O", t.io_gib_per_second, "GiB/s", "");
    let stats: Document<PerEpochStats> = Document::json(&leaf.path.join("0_per_epoch_stats.json"));
    let seconds = |epoch: usize| {
        let of = stats.value()?.epochs.get(&epoch.to_string())?;
        of.get("duration")?.number()
    };
    let rates = &t.samples_per_second_values;
    let lines = t.au_percent.iter().enumerate().map(|(i, au)| {
        let rate = rates.get(i).copied().flatten();
        vec![json!(i + 1), json!(au), json!(rate), json!(seconds(i + 1))]
    });
    let lines: Vec<Vec<Value>> = lines.collect();
    let figure =
        |value: &Value, unit: &str| json!({"value": value, "unit": unit, "formula": "DLIO"});
    run.report["epochs"] = lines
        .iter()
        .map(|line| json!({"epoch": line[0], "au": figure(&line[1], "%"), "throughput": figure(&line[2], "samples/s")}))
        .collect();
    run.report["train"] = json!({
        "au_mean": figure(&json!(t.au_mean_percent), "%"),
        "au_meets_expectation": figures::au_verdict(leaf).map(|v| v.is_met),
    });
    let columns = [
        ("epoch", ""),
        ("AU", "%"),
        ("throughput", "samples/s"),
        ("duration", "s"),
    ];
    shown.table("epochs", &columns, lines);
}

fn of_checkpoints(run: &mut Run, c: &Checkpoints) {
    let mode = format!("(mode {})", c.mode);
    run.shown.figure("checkpoint", c.size_gib, "GiB", mode);
    for (word, direction) in [("save", &c.save), ("load", &c.load)] {
        let Some(d) = direction else { continue };
        let label = format!("{word} of {}", d.means.operations);
        run.shown
            .figure(label, d.means.duration_seconds, "s", "(mean of rank 0)");
        let label = format!("{word} throughput");
        run.shown.figure(label, d.means.gib_per_second, "GiB/s", "");
    }
}

/// Percentiles of the times of steps, which DLIO keeps one by one.
fn of_steps(run: &mut Run, leaf: &Leaf) {
    let all = steps(leaf);
    let lines = KINDS.into_iter().filter_map(|(name, key)| {
        let mut seconds = all.get(key).filter(|list| !list.is_empty())?.clone();
        seconds.sort_by(f64::total_cmp);
        let n = seconds.len();
        // Nearest rank.
        let at = |p: f64| seconds[((p * n as f64).ceil() as usize).clamp(1, n) - 1] * 1e9;
        let mut line = vec![json!(name), json!(n)];
        line.extend([at(0.5), at(0.9), at(0.99), at(1.0)].map(Value::from));
        Some(line)
    });
    let lines: Vec<Vec<Value>> = lines.collect();
    if lines.is_empty() {
        return run.lacks("times of steps", "no <rank>_output.json holds any");
    }
    let [step, count] = [("step", ""), ("count", "")];
    let [p50, p90, p99, max] = ["p50", "p90", "p99", "max"].map(|name| (name, "ns"));
    let columns = [step, count, p50, p90, p99, max];
    run.shown.table("steps of all ranks", &columns, lines);
}
