//! Figures of several runs as comma-separated values: one line per figure, as of one run.

use serde_json::{Value, json};

use super::NOT_CLOSED;
use super::render::title;
use super::results::Figures;
use super::show::csv_table;
use super::table::Table;

/// Each group's result, then its runs. Figures have the names that they have as JSON; those that are absent are left out.
pub fn table(figures: &Figures) -> Table {
    let mut table = csv_table();
    let mut add = |of: &str, line: &str, facts: Value| {
        flat("", &facts, &mut |figure, value| {
            table.row([of, line, figure, &value, "", ""]);
        });
    };
    for g in &figures.groups {
        let of = title(g);
        let facts = json!({
            "complete": g.complete, "reasons": g.reasons, "training": g.training, "checkpointing": g.checkpointing,
            "statement": NOT_CLOSED,
        });
        add(&of, "result", facts);
        for run in &g.runs {
            add(&of, &run.run.path, json!(run));
        }
    }
    table
}

/// Every value below, by its dotted path.
fn flat(path: &str, value: &Value, out: &mut dyn FnMut(&str, String)) {
    let below = |key: &str| match path {
        "" => key.to_owned(),
        _ => format!("{path}.{key}"),
    };
    match value {
        Value::Null => {}
        Value::Object(map) => map
            .iter()
            .for_each(|(key, value)| flat(&below(key), value, out)),
        Value::Array(list) => (0..)
            .zip(list)
            .for_each(|(i, value): (usize, _)| flat(&below(&i.to_string()), value, out)),
        Value::String(text) => out(path, text.clone()),
        other => out(path, other.to_string()),
    }
}
