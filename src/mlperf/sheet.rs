//! Figures as comma-separated values: the columns of MLPerf Storage's results, then our own.

use serde_json::Value;

use super::NOT_CLOSED;
use super::figures::RunFigures;
use super::groups::{Figures, Group, Role};
use super::leaf::Kind;
use super::stats::Sample;
use super::table::Table;

const PUBLISHED: [&str; 29] = [
    "Public ID",
    "Organization",
    "Division",
    "Benchmark Type",
    "Model",
    "Name",
    "Description",
    "Type",
    "Access Protocol",
    "Availability",
    "RU's",
    "Integrated Client Storage (TiB)",
    "Usable Capacity (TiB)",
    "Provisioned Power (W)",
    "Training - Accelerator Type",
    "Training - # Client Nodes",
    "Training - Code",
    "Training - Logs",
    "Training - # Simulated Accelerators",
    "Training - Read B/W (GiB/s)",
    "Checkpointing - Checkpoint Mode",
    "Checkpointing - # Client Nodes",
    "Checkpointing - DP Instances",
    "Checkpointing - Code",
    "Checkpointing - Logs",
    "Checkpointing - Write B/W (GiB/s)",
    "Checkpointing - Write Duration (secs)",
    "Checkpointing - Read B/W (GiB/s)",
    "Checkpointing - Read Duration (secs)",
];

const OWN: [&str; 26] = [
    "Row",
    "Path",
    "Timestamp",
    "Part",
    "Runs",
    "Complete",
    "Reasons",
    "Comparability Hash",
    "Epochs",
    "AU (%)",
    "AU stdev (%)",
    "AU per epoch (%)",
    "AU meets expectation",
    "Throughput (samples/s)",
    "Throughput stdev (samples/s)",
    "Read B/W (MiB/s)",
    "Read B/W stdev (GiB/s)",
    "Read B/W spread (%)",
    "Checkpoint size (GiB)",
    "Writes",
    "Reads",
    "Write Duration of the slowest rank (s)",
    "Write B/W by the slowest rank (GiB/s)",
    "Read Duration of the slowest rank (s)",
    "Read B/W by the slowest rank (GiB/s)",
    "Statement",
];

/// Rows of cells: text, whole numbers, numbers, truth values; empty text where there is nothing.
#[derive(Debug, Clone, PartialEq)]
pub struct Sheet {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Cells, as many as columns.
    pub rows: Vec<Vec<Value>>,
}

impl Sheet {
    /// One object per row, in the order of the columns.
    pub fn records(&self) -> Vec<Value> {
        let record = |row: &Vec<Value>| {
            let cells = self.columns.iter().cloned().zip(row.iter().cloned());
            Value::Object(cells.collect())
        };
        self.rows.iter().map(record).collect()
    }

    /// Comma-separated values.
    pub fn csv(&self) -> String {
        let text = |cell: &Value| match cell {
            Value::String(text) => text.clone(),
            // Without the ".0" of a whole one.
            Value::Number(n) if n.is_f64() => n.as_f64().unwrap_or_default().to_string(),
            other => other.to_string(),
        };
        let rows = self.rows.iter();
        Table {
            columns: self.columns.clone(),
            rows: rows.map(|row| row.iter().map(text).collect()).collect(),
        }
        .csv()
    }
}

/// A row under construction: cells by the names of their columns.
struct Row<'a> {
    columns: &'a [String],
    cells: Vec<Value>,
}

impl Row<'_> {
    fn set(&mut self, column: &str, cell: impl Into<Value>) {
        let at = self.columns.iter().position(|c| c == column);
        debug_assert!(at.is_some(), "{column}");
        if let Some(cell_at) = at {
            self.cells[cell_at] = cell.into();
        }
    }

    /// Under our own heading.
    fn own(&mut self, column: &str, cell: impl Into<Value>) {
        self.set(&own(column), cell);
    }

    fn figure(&mut self, column: &str, value: Option<f64>) {
        self.set(column, or_empty(value));
    }
}

fn own(column: &str) -> String {
    format!("dlio-rs - {column}")
}

/// All digits, in a list; empty where there is no figure.
fn float(value: Option<f64>) -> String {
    value.map_or_else(String::new, |v| v.to_string())
}

/// A figure, or an empty cell.
fn or_empty(value: Option<impl Into<Value>>) -> Value {
    value.map_or_else(|| "".into(), Into::into)
}

/// One row per group (`Row` is `result`), each followed by its runs (`run`). Absent figures are empty.
pub fn table(figures: &Figures) -> Sheet {
    let mut columns: Vec<String> = PUBLISHED.iter().map(|&c| c.into()).collect();
    columns.extend(OWN.iter().map(|c| own(c)));
    let names: std::collections::BTreeSet<&String> = figures
        .groups
        .iter()
        .filter_map(|g| g.training.as_ref())
        .flat_map(|t| t.means.keys())
        .collect();
    columns.extend(names.into_iter().cloned());
    let mut rows = Vec::new();
    for group in &figures.groups {
        rows.push(result(group, &columns));
        for run in &group.runs {
            rows.push(single(&run.run, run.role, group.kind, &columns));
        }
    }
    Sheet { columns, rows }
}

fn begin<'a>(columns: &'a [String], run: &RunFigures, kind: Kind) -> Row<'a> {
    let mut row = Row {
        columns,
        cells: vec!["".into(); columns.len()],
    };
    let prefix = if kind == Kind::TrainingRun {
        "Training"
    } else {
        "Checkpointing"
    };
    row.set("Organization", run.organisation.as_deref().unwrap_or(""));
    row.set("Division", run.division.unwrap_or(""));
    row.set("Benchmark Type", prefix.to_lowercase());
    row.set("Model", run.model.as_deref().unwrap_or(""));
    row.set("Name", run.system.as_deref().unwrap_or(""));
    row.set("Access Protocol", run.access);
    row.set(&format!("{prefix} - # Client Nodes"), or_empty(run.hosts));
    if kind == Kind::TrainingRun {
        row.set(
            "Training - Accelerator Type",
            run.accelerator.as_deref().unwrap_or(""),
        );
        row.set(
            "Training - # Simulated Accelerators",
            or_empty(run.accelerators),
        );
    }
    let hash = run.core_config.as_ref().map_or("", |c| c.hash.as_str());
    row.own("Comparability Hash", hash);
    row.own("Statement", NOT_CLOSED);
    row
}

fn result(g: &Group, columns: &[String]) -> Vec<Value> {
    // A group has a run: it is made of them.
    let Some(first) = g.runs.first() else {
        return vec!["".into(); columns.len()];
    };
    let mut row = begin(columns, &first.run, g.kind);
    row.own("Row", "result");
    row.own("Runs", g.runs.len());
    row.own("Complete", g.complete);
    row.own("Reasons", g.reasons.join("; "));
    let hashes: std::collections::BTreeSet<&str> = g
        .runs
        .iter()
        .map(|r| r.run.core_config.as_ref().map_or("unknown", |c| &c.hash))
        .collect();
    row.own(
        "Comparability Hash",
        hashes.into_iter().collect::<Vec<_>>().join(" "),
    );
    if let Some(t) = &g.training {
        let mean = |s: &Option<Sample>| s.as_ref().map(|s| s.mean);
        let stdev = |s: &Option<Sample>| s.as_ref().map(|s| s.stdev_population);
        row.figure("Training - Read B/W (GiB/s)", mean(&t.read_gib_per_second));
        row.figure(
            &own("Read B/W stdev (GiB/s)"),
            stdev(&t.read_gib_per_second),
        );
        let spread = t.read_gib_per_second.as_ref();
        row.figure(
            &own("Read B/W spread (%)"),
            spread.and_then(|s| s.spread_percent),
        );
        row.figure(&own("AU (%)"), mean(&t.au_percent));
        row.figure(&own("AU stdev (%)"), stdev(&t.au_percent));
        row.figure(&own("Throughput (samples/s)"), mean(&t.samples_per_second));
        row.figure(
            &own("Throughput stdev (samples/s)"),
            stdev(&t.samples_per_second),
        );
        row.own("AU meets expectation", t.au_met);
        for (name, value) in &t.means {
            row.figure(name, *value);
        }
    }
    if let Some(c) = &g.checkpointing {
        row.set("Checkpointing - Checkpoint Mode", c.mode.as_str());
        row.set("Checkpointing - DP Instances", or_empty(c.dp_instances));
        row.figure(&own("Checkpoint size (GiB)"), c.size_gib);
        for (word, count, d) in [("Write", "Writes", &c.write), ("Read", "Reads", &c.read)] {
            row.own(count, d.as_ref().map_or(0, |d| d.operations));
            let Some(d) = d else { continue };
            let own_time = [d.gib_per_second, d.duration_seconds];
            let slowest = [d.slowest_rank_gib_per_second, d.slowest_rank_seconds];
            direction(&mut row, word, own_time, slowest);
        }
    }
    row.cells
}

/// GiB/s and seconds of one direction, and the same by the slowest rank.
fn direction(row: &mut Row<'_>, word: &str, own_time: [Option<f64>; 2], slowest: [Option<f64>; 2]) {
    row.figure(&format!("Checkpointing - {word} B/W (GiB/s)"), own_time[0]);
    row.figure(
        &format!("Checkpointing - {word} Duration (secs)"),
        own_time[1],
    );
    row.figure(
        &own(&format!("{word} Duration of the slowest rank (s)")),
        slowest[1],
    );
    row.figure(
        &own(&format!("{word} B/W by the slowest rank (GiB/s)")),
        slowest[0],
    );
}

fn single(run: &RunFigures, role: Role, kind: Kind, columns: &[String]) -> Vec<Value> {
    let mut row = begin(columns, run, kind);
    row.own("Row", "run");
    row.own("Path", run.path.as_str());
    row.own("Timestamp", run.timestamp.as_deref().unwrap_or(""));
    let part = match role {
        Role::WarmUp => "warm-up",
        Role::Measured => "measured",
    };
    row.own("Part", part);
    row.own("Epochs", or_empty(run.epochs));
    if let Some(t) = &run.training {
        row.figure("Training - Read B/W (GiB/s)", t.io_gib_per_second);
        row.figure(&own("Read B/W (MiB/s)"), t.io_mib_per_second);
        row.figure(&own("AU (%)"), t.au_mean_percent);
        let epochs: Vec<String> = t.au_percent.iter().map(|v| float(*v)).collect();
        row.own("AU per epoch (%)", epochs.join(" "));
        row.own(
            "AU meets expectation",
            t.au_meet_expectation.as_deref().unwrap_or(""),
        );
        row.figure(&own("Throughput (samples/s)"), t.samples_per_second);
        row.figure(
            &own("Throughput stdev (samples/s)"),
            t.samples_per_second_stdev,
        );
    }
    if let Some(c) = &run.checkpoints {
        row.set("Checkpointing - Checkpoint Mode", c.mode.as_str());
        row.figure(&own("Checkpoint size (GiB)"), c.size_gib);
        for (word, count, d) in [("Write", "Writes", &c.save), ("Read", "Reads", &c.load)] {
            row.own(count, d.as_ref().map_or(0, |d| d.operations));
            let Some(d) = d else { continue };
            let own_time = [d.gib_per_second, d.duration_seconds];
            let slowest = [d.slowest_rank_gib_per_second, d.slowest_rank_seconds];
            direction(&mut row, word, own_time, slowest);
        }
    }
    row.cells
}
