//! The rows of a report that people read, as they stand in `report.json` under `shown`: the console, `report.html` and
//! `dlio-rs report RUN` print these, so that a run is shown again in the words and with the numbers of its own console.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::rows::{Item, Report, Row, Table};

pub(crate) use super::rows::human;

/// More lines of a table than this are not shown; `report.json` has them all.
const LINES: usize = 40;

/// One line or table for people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "row", rename_all = "snake_case")]
pub(crate) enum Line {
    Figure {
        label: String,
        /// Number, text or null. In the file every `value` has a formula; a cell is a copy of one.
        #[serde(rename = "cell")]
        value: Value,
        /// Unit; empty for words.
        unit: String,
        note: String,
    },
    Text {
        text: String,
    },
    Table {
        title: String,
        /// Name and unit of each column.
        columns: Vec<(String, String)>,
        /// Cells, as many as columns.
        lines: Vec<Vec<Value>>,
        more: usize,
    },
    Gap,
}

/// A report for people.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Shown(pub(crate) Vec<Line>);

impl Shown {
    /// The rows of a report that have a label or are sentences.
    pub(super) fn of(report: &Report) -> Self {
        let lines = report.0.iter().filter_map(|item| match item {
            Item::Row(row) => of_row(row),
            Item::Table(table) => of_table(table),
            Item::Gap => Some(Line::Gap),
        });
        Shown(lines.collect())
    }

    /// Those of a `report.json`; None where it has none.
    pub(crate) fn read(report: &Value) -> Option<Self> {
        Shown::deserialize(report.get("shown")?).ok()
    }

    pub(crate) fn figure(
        &mut self,
        label: impl Into<String>,
        value: impl Into<Value>,
        unit: &str,
        note: impl Into<String>,
    ) {
        self.0.push(Line::Figure {
            label: label.into(),
            value: value.into(),
            unit: unit.into(),
            note: note.into(),
        });
    }

    /// Adds a table of these columns, by name and unit.
    pub(crate) fn table(&mut self, title: &str, columns: &[(&str, &str)], lines: Vec<Vec<Value>>) {
        let columns = columns.iter();
        let columns = columns.map(|&(name, unit)| (name.into(), unit.into()));
        self.0.push(Line::Table {
            title: title.into(),
            columns: columns.collect(),
            lines,
            more: 0,
        });
    }

    pub(crate) fn text(&mut self, text: impl Into<String>) {
        self.0.push(Line::Text { text: text.into() });
    }

    /// The lines in blocks, without gaps and headlines: what every form but the console shows.
    pub(crate) fn blocks(&self) -> Vec<Block<'_>> {
        let mut out: Vec<Block> = Vec::new();
        for (i, line) in self.0.iter().enumerate() {
            match line {
                Line::Figure {
                    label,
                    value,
                    unit,
                    note,
                } => {
                    let at = format!("/shown/{i}/cell");
                    let figure = (label.as_str(), ShownCell { value, unit, at }, note.as_str());
                    match out.last_mut() {
                        Some(Block::Figures(figures)) => figures.push(figure),
                        _ => out.push(Block::Figures(vec![figure])),
                    }
                }
                Line::Text { text } if !text.starts_with("===") => {
                    out.push(Block::Text(text.trim()));
                }
                Line::Table {
                    title,
                    columns,
                    lines,
                    more,
                } => out.push(Block::Table {
                    title,
                    head: columns.iter().map(|(name, _)| name.as_str()).collect(),
                    rows: cells(columns, lines, &format!("/shown/{i}/lines")),
                    more: *more,
                }),
                Line::Text { .. } | Line::Gap => {}
            }
        }
        out
    }

    /// As the console prints it.
    pub(crate) fn to_text(&self) -> String {
        let mut out = String::new();
        for line in &self.0 {
            // Writing to a String cannot fail.
            let _ = match line {
                Line::Figure {
                    label,
                    value,
                    unit,
                    note,
                } => {
                    let value = human(value, unit);
                    let gap = if note.is_empty() { "" } else { "   " };
                    writeln!(out, "{label:<26}{value:>14}{gap}{note}")
                }
                Line::Text { text } => writeln!(out, "{text}"),
                Line::Table {
                    title,
                    columns,
                    lines,
                    more,
                } => {
                    let _ = writeln!(out, "\n{title}");
                    print(&mut out, columns, lines);
                    match more {
                        0 => Ok(()),
                        n => writeln!(out, "... and {n} more in report.json"),
                    }
                }
                Line::Gap => writeln!(out),
            };
        }
        out
    }
}

/// Lines that belong together.
pub(crate) enum Block<'a> {
    /// Names, values and notes of figures.
    Figures(Vec<(&'a str, ShownCell<'a>, &'a str)>),
    Text(&'a str),
    Table {
        title: &'a str,
        head: Vec<&'a str>,
        /// As many cells as columns.
        rows: Vec<Vec<ShownCell<'a>>>,
        more: usize,
    },
}

pub(crate) struct ShownCell<'a> {
    /// Number, text or null.
    pub(crate) value: &'a Value,
    /// Empty for words.
    pub(crate) unit: &'a str,
    /// JSON pointer of the value in `report.json`.
    pub(crate) at: String,
}

impl ShownCell<'_> {
    pub(crate) fn text(&self) -> String {
        human(self.value, self.unit)
    }

    /// For programs: without its unit, all digits.
    pub(crate) fn bare(&self) -> String {
        match self.value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        }
    }
}

/// The cells of a table, with places below `at`.
fn cells<'a>(
    columns: &'a [(String, String)],
    lines: &'a [Vec<Value>],
    at: &str,
) -> Vec<Vec<ShownCell<'a>>> {
    let of_line = |(l, line): (usize, &'a Vec<Value>)| {
        let cells = line.iter().zip(columns).enumerate();
        let cell = |(c, (value, (_, unit))): (usize, (&'a Value, &'a (String, String)))| {
            let at = format!("{at}/{l}/{c}");
            ShownCell { value, unit, at }
        };
        cells.map(cell).collect()
    };
    lines.iter().enumerate().map(of_line).collect()
}

fn of_row(row: &Row) -> Option<Line> {
    match (row.label.as_str(), row.note.as_str()) {
        ("", "") => None,
        ("", note) => Some(Line::Text { text: note.into() }),
        (label, note) => Some(Line::Figure {
            label: label.into(),
            value: row.value.clone(),
            unit: row.unit.into(),
            note: note.into(),
        }),
    }
}

fn of_table(table: &Table) -> Option<Line> {
    let first = table.lines.first().filter(|_| !table.title.is_empty())?;
    let columns: Vec<usize> = (0..first.len())
        .filter(|&i| !first[i].label.is_empty())
        .collect();
    let shown = table.lines.iter().take(LINES);
    Some(Line::Table {
        title: table.title.clone(),
        columns: columns
            .iter()
            .map(|&i| (first[i].label.clone(), first[i].unit.to_owned()))
            .collect(),
        lines: shown
            .map(|line| columns.iter().map(|&i| line[i].value.clone()).collect())
            .collect(),
        more: table.lines.len().saturating_sub(LINES),
    })
}

/// Aligned columns; the first stands left.
fn print(out: &mut String, columns: &[(String, String)], lines: &[Vec<Value>]) {
    let heads = columns.iter().map(|(name, _)| name.clone()).collect();
    let body = (cells(columns, lines, "").into_iter())
        .map(|line| line.iter().map(ShownCell::text).collect());
    let text: Vec<Vec<String>> = std::iter::once(heads).chain(body).collect();
    let width = |c: usize| {
        let cells = text.iter().filter_map(|line| line.get(c));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for line in &text {
        let mut printed = String::new();
        for (i, (cell, &width)) in line.iter().zip(&widths).enumerate() {
            let width = width.max(if i == 0 { 26 } else { 9 });
            let pad = " ".repeat(width - cell.chars().count());
            let _ = match i {
                0 => write!(printed, "{cell}{pad}"),
                _ => write!(printed, " {pad}{cell}"),
            };
        }
        let _ = writeln!(out, "{}", printed.trim_end());
    }
}
