//! Text, tables and figures of `report.html`. Everything that is not markup of ours is escaped here.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::super::shown::human;

/// Text between tags or within quotes.
pub(super) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // HTML has no other control characters.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

/// One cell of a table.
#[derive(Debug, Clone)]
pub(super) struct Cell {
    text: String,
    value: Option<Value>,
    /// JSON pointer of that number in `report.json`.
    at: Option<String>,
}

impl Cell {
    pub(super) fn word(text: impl Into<String>) -> Self {
        Cell {
            text: text.into(),
            value: None,
            at: None,
        }
    }

    /// A number of the recording, which stands in no other file.
    pub(super) fn number(value: f64, unit: &str) -> Self {
        // A count has no decimals.
        let is_count = unit.is_empty() && value >= 0.0 && value.fract() == 0.0;
        let value = match is_count {
            true => serde_json::json!(value as u64),
            false => serde_json::json!(value),
        };
        Cell {
            text: human(&value, unit),
            value: Some(value),
            at: None,
        }
    }

    /// What stands at a place of `report.json`: a figure with its unit, or a number that has `unit`.
    pub(super) fn at(report: &Value, pointer: &str, unit: &str) -> Self {
        let found = report.pointer(pointer).unwrap_or(&Value::Null);
        let (value, unit, at) = match found.get("value") {
            Some(value) => {
                let unit = found.get("unit").and_then(Value::as_str).unwrap_or(unit);
                (value, unit, format!("{pointer}/value"))
            }
            None => (found, unit, pointer.to_owned()),
        };
        let is_number = value.is_number();
        Cell {
            text: human(value, unit),
            value: is_number.then(|| value.clone()),
            at: is_number.then_some(at),
        }
    }

    /// The same of what may not be there.
    pub(super) fn maybe(value: Option<f64>, unit: &str) -> Self {
        value.map_or_else(|| Cell::word("-"), |value| Cell::number(value, unit))
    }

    /// Without its place: that of another run's file.
    pub(super) fn elsewhere(mut self) -> Self {
        self.at = None;
        self
    }

    /// Words, not a number or the dash of one that is missing.
    fn is_word(&self) -> bool {
        self.value.is_none() && !matches!(self.text.as_str(), "" | "-")
    }

    fn html(&self, is_words: bool) -> String {
        let mut attributes = String::from(class(is_words));
        if let Some(value) = &self.value {
            let _ = write!(attributes, " data-value=\"{value}\"");
        }
        if let Some(at) = &self.at {
            let _ = write!(attributes, " data-at=\"{}\"", escape(at));
        }
        format!("<td{attributes}>{}</td>", escape(&self.text))
    }
}

/// Of the cells of a column: words stand on the left, numbers on the right.
fn class(is_words: bool) -> &'static str {
    match is_words {
        true => " class=\"w\"",
        false => "",
    }
}

/// A line for each place of the report; a column is a heading, the key below the place, and the unit where the report has none.
pub(super) fn listed(
    report: &Value,
    places: impl IntoIterator<Item = String>,
    columns: &[(&str, &str, &str)],
) -> String {
    let line = |place: String| {
        let cell =
            |(_, key, unit): &(&str, &str, &str)| Cell::at(report, &format!("{place}/{key}"), unit);
        columns.iter().map(cell).collect()
    };
    let lines: Vec<Vec<Cell>> = places.into_iter().map(line).collect();
    table(columns.iter().map(|column| column.0), &lines)
}

/// Rows under a heading.
pub(super) fn table<'h>(head: impl IntoIterator<Item = &'h str>, rows: &[Vec<Cell>]) -> String {
    let head: Vec<&str> = head.into_iter().collect();
    let mut out = String::from("<div class=\"wide\"><table><thead><tr>");
    let is_words = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .any(Cell::is_word)
    };
    let are_words: Vec<bool> = (0..head.len()).map(is_words).collect();
    for (name, is_words) in head.iter().zip(&are_words) {
        let (class, name) = (class(*is_words), escape(name));
        let _ = write!(out, "<th scope=\"col\"{class}>{name}</th>");
    }
    out += "</tr></thead><tbody>\n";
    for row in rows {
        out += "<tr>";
        for (column, cell) in row.iter().enumerate() {
            out += &cell.html(are_words.get(column).is_some_and(|is| *is));
        }
        out += "</tr>\n";
    }
    out + "</tbody></table></div>\n"
}

/// A chart with its caption, the sentence on how to read it, and its table.
pub(super) struct Figure {
    pub(super) caption: String,
    pub(super) reading: &'static str,
    /// The drawing, with its legend.
    pub(super) drawing: String,
    pub(super) table: String,
}

impl Figure {
    pub(super) fn html(&self) -> String {
        format!(
            "<figure>\n<figcaption>{}</figcaption>\n{}<p class=\"reading\">{}</p>\n{}</figure>\n",
            escape(&self.caption),
            self.drawing,
            escape(self.reading),
            details("Table", &self.table)
        )
    }
}

pub(super) fn paragraph(text: &str) -> String {
    format!("<p>{}</p>\n", escape(text))
}

/// A table under a title.
pub(super) fn titled(title: &str, table: &str) -> String {
    format!("<p><strong>{}</strong></p>\n{table}", escape(title))
}

/// What a reader opens to see.
pub(super) fn details(summary: &str, content: &str) -> String {
    let summary = escape(summary);
    format!("<details><summary>{summary}</summary>\n{content}</details>\n")
}

/// What is not there, and why.
pub(super) fn missing(what: &str, why: &str) -> String {
    warning(&format!("Not shown: {what}. {}", sentence(why)))
}

pub(super) fn warning(text: &str) -> String {
    format!("<p class=\"missing\">{}</p>\n", escape(text))
}

/// A cause as a sentence: a capital letter and a full stop, where it has none.
pub(super) fn sentence(cause: &str) -> String {
    let mut letters = cause.trim_end_matches('.').chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string());
    format!("{}{}.", first.unwrap_or_default(), letters.as_str())
}

/// A number at a place of `report.json`, figure or not.
pub(super) fn number(report: &Value, pointer: &str) -> Option<f64> {
    let found = report.pointer(pointer)?;
    found.get("value").unwrap_or(found).as_f64()
}

/// Words at a place of `report.json`.
pub(super) fn words<'a>(report: &'a Value, pointer: &str) -> Option<&'a str> {
    report.pointer(pointer)?.as_str()
}

/// The list at a place of `report.json`, empty where there is none.
pub(super) fn list<'a>(report: &'a Value, pointer: &str) -> &'a [Value] {
    let found = report.pointer(pointer).and_then(Value::as_array);
    found.map_or(&[], Vec::as_slice)
}

/// The map at a place of `report.json`.
pub(super) fn map<'a>(report: &'a Value, pointer: &str) -> Option<&'a Map<String, Value>> {
    report.pointer(pointer)?.as_object()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(
            escape("<b a='\"'>&\u{1}"),
            "&lt;b a=&#39;&quot;&#39;&gt;&amp;\u{fffd}"
        );
    }

    #[test]
    fn a_cell_names_its_place() {
        let report = json!({"a": {"value": 1.5, "unit": "s", "formula": "max"}, "b": [2, null]});
        let rows = vec![vec![
            Cell::at(&report, "/a", ""),
            Cell::at(&report, "/b/0", "B"),
            Cell::at(&report, "/b/1", "B"),
            Cell::word("<x>"),
        ]];
        let html = table(["a", "b", "c", "d"], &rows);
        assert!(html.contains("<th scope=\"col\">c</th><th scope=\"col\" class=\"w\">d</th>"));
        assert!(
            html.contains(
                "<td data-value=\"1.5\" data-at=\"/a/value\">1.500 s</td><td data-value=\"2\" data-at=\"/b/0\">0.00 MiB</td><td>-</td><td class=\"w\">&lt;x&gt;</td>"
            ),
            "{html}"
        );
    }
}
