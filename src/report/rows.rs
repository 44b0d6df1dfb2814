//! The one model behind the console and `report.json`: rows of figures and tables, each with its place, unit and formula.
//!
//! A row that has a label is printed; a row that has a path stands in the file. Both show the same value.

pub(super) use crate::util::units::GIB;
use crate::util::units::MIB;
use serde::Serialize;
use serde_json::{Map, Value, json};

/// One figure.
#[derive(Debug, Clone, Default)]
pub(super) struct Row {
    /// Place in `report.json`, keys divided by `/`; empty: not there.
    pub path: String,
    /// Name on the console; empty: not printed.
    pub label: String,
    /// Number, list, text or null.
    pub value: Value,
    /// Unit; empty for words.
    pub unit: &'static str,
    /// Name of the formula in docs/metrics.md; empty: the value stands in the file alone.
    pub formula: String,
    /// What the console says after the value.
    pub note: String,
}

/// A figure for `report.json`.
pub(super) fn row(path: &str, value: impl Serialize, unit: &'static str, formula: &str) -> Row {
    Row {
        path: path.into(),
        value: json!(value),
        unit,
        formula: formula.into(),
        ..Row::default()
    }
}

/// A value that stands in `report.json` as it is.
pub(super) fn plain(path: &str, value: impl Serialize) -> Row {
    row(path, value, "", "")
}

/// A line of text for the console.
pub(super) fn sentence(text: impl Into<String>) -> Row {
    Row {
        note: text.into(),
        ..Row::default()
    }
}

impl Row {
    /// Printed under this name.
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// Printed with this after the value.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.note = note.into();
        self
    }

    fn in_file(self) -> Value {
        match self.formula.as_str() {
            "" => self.value,
            formula => json!({"value": self.value, "unit": self.unit, "formula": formula}),
        }
    }
}

/// A list of like things: one object per line in `report.json`, one line of columns on the console.
#[derive(Debug, Clone, Default)]
pub(super) struct Table {
    /// Place in `report.json`, keys divided by `/`; empty: not there.
    pub path: String,
    /// Above it on the console; empty: not printed.
    pub title: String,
    /// Cells of each line; those with a label are columns of the console. The first column is left-aligned.
    pub lines: Vec<Vec<Row>>,
}

/// A part of the report.
#[derive(Debug, Clone)]
pub(super) enum Item {
    Row(Row),
    Table(Table),
    /// An empty line on the console.
    Gap,
}

/// The whole report.
#[derive(Debug, Clone, Default)]
pub(super) struct Report(pub Vec<Item>);

impl Report {
    pub fn push(&mut self, row: Row) {
        self.0.push(Item::Row(row));
    }

    pub fn extend(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.0.extend(rows.into_iter().map(Item::Row));
    }

    pub fn table(&mut self, table: Table) {
        self.0.push(Item::Table(table));
    }

    /// A table that stands in the file alone.
    pub fn list(&mut self, path: &str, lines: Vec<Vec<Row>>) {
        self.table(Table {
            path: path.into(),
            lines,
            ..Table::default()
        });
    }

    pub fn gap(&mut self) {
        self.0.push(Item::Gap);
    }

    /// For programs. A row is freed once it stands in the result: of many epochs both would be large.
    pub fn into_json(self) -> Value {
        let mut out = Map::new();
        for item in self.0 {
            match item {
                Item::Row(mut row) if !row.path.is_empty() => {
                    let path = std::mem::take(&mut row.path);
                    insert(&mut out, &path, row.in_file());
                }
                Item::Table(table) if !table.path.is_empty() => {
                    let lines = table.lines.into_iter();
                    let lines = lines.map(|line| Value::from(object(line)));
                    insert(&mut out, &table.path, lines.collect());
                }
                _ => {}
            }
        }
        out.into()
    }
}

pub(super) fn object(rows: Vec<Row>) -> Map<String, Value> {
    let mut out = Map::new();
    for mut row in rows.into_iter().filter(|row| !row.path.is_empty()) {
        let path = std::mem::take(&mut row.path);
        insert(&mut out, &path, row.in_file());
    }
    out
}

fn insert(into: &mut Map<String, Value>, path: &str, value: Value) {
    match path.split_once('/') {
        None => drop(into.insert(path.into(), value)),
        Some((head, rest)) => {
            let inner = into.entry(head).or_insert_with(|| Map::new().into());
            if let Value::Object(inner) = inner {
                insert(inner, rest, value);
            }
        }
    }
}

/// A value as people read it.
pub(crate) fn human(value: &Value, unit: &str) -> String {
    let Some(x) = value.as_f64() else {
        return match value {
            Value::Null => "-".into(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
    };
    match unit {
        "" => value.to_string(),
        "%" => format!("{x:.2} %"),
        "B" => bytes(x),
        "s" if x != 0.0 && x.abs() < 1e-3 => duration(x * 1e9),
        "s" => format!("{x:.3} s"),
        "ns" => duration(x),
        "s/GiB" | "GiB/s" | "GB/s" | "GiB" => format!("{x:.3} {unit}"),
        "samples/s" => format!("{x:.2} {unit}"),
        _ if value.is_u64() => format!("{value} {unit}"),
        _ => format!("{x:.2} {unit}"),
    }
}

/// Bytes in MiB or GiB.
pub(super) fn bytes(n: f64) -> String {
    if n >= GIB {
        format!("{:.2} GiB", n / GIB)
    } else {
        format!("{:.2} MiB", n / MIB)
    }
}

fn duration(ns: f64) -> String {
    if ns < 1e3 {
        format!("{ns:.0} ns")
    } else if ns < 1e6 {
        format!("{:.1} us", ns / 1e3)
    } else if ns < 1e9 {
        format!("{:.2} ms", ns / 1e6)
    } else {
        format!("{:.3} s", ns / 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::super::shown::Shown;
    use super::*;

    // A field's width in Rust's formatting ends at 65,535; a table of many epochs has longer lists.
    #[test]
    fn a_table_of_many_lines_is_cut_on_the_console_only() {
        let line = |n: usize| {
            vec![
                plain("n", n).label("n"),
                plain("x", "y".repeat(70_000)).label("x"),
            ]
        };
        let table = Table {
            path: "t".into(),
            title: "many".into(),
            lines: (0..12_000).map(line).collect(),
        };
        let report = Report(vec![Item::Table(table)]);
        assert!(
            Shown::of(&report)
                .to_text()
                .ends_with("... and 11960 more in report.json\n")
        );
        assert_eq!(report.into_json()["t"].as_array().unwrap().len(), 12_000);
    }
}
