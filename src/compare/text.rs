//! A comparison for the terminal.

use serde_json::Value;

use super::comparison::{Comparison, Item, Parameter, Verdict};
use crate::mlperf::NOT_CLOSED;
use crate::mlperf::render::ABSENT;
use crate::mlperf::table::Table;

/// The figures that both runs have.
pub fn figures(c: &Comparison) -> Table {
    let mut table = Table::new(&[
        "figure",
        "A",
        "B",
        "difference",
        "tolerance",
        "verdict",
        "significance",
    ]);
    for item in c.items.iter().filter(|i| i.verdict != Verdict::Skip) {
        table.rows.push(row(item, c.tolerance.alpha));
    }
    table
}

/// The tables and the verdict.
pub fn text(c: &Comparison) -> String {
    let mut out = format!("A: {}\nB: {}\n\n", c.a, c.b);
    out += &figures(c).text();
    let of = |verdict: Verdict| c.items.iter().filter(move |i| i.verdict == verdict);
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for item in of(Verdict::Skip) {
        let why = item.note.as_deref().unwrap_or_default();
        match by_reason.iter_mut().find(|(reason, _)| *reason == why) {
            Some((_, figures)) => figures.push(&item.figure),
            None => by_reason.push((why, vec![&item.figure])),
        }
    }
    if !by_reason.is_empty() {
        out.push('\n');
    }
    for (why, figures) in by_reason {
        out += &format!("  SKIP {}: {why}\n", figures.join(", "));
    }
    for (title, list) in [
        ("parameter", &c.parameters),
        ("environment", &c.environment),
    ] {
        if !list.is_empty() {
            out.push('\n');
            out += &parameters(title, list).text();
        }
    }
    let beyond: Vec<&str> = of(Verdict::Beyond).map(|i| i.figure.as_str()).collect();
    out += &match c.within {
        true => "\nwithin tolerance\n".to_owned(),
        false => format!("\nBEYOND tolerance: {}\n", beyond.join(", ")),
    };
    out + NOT_CLOSED + "\n"
}

fn row(item: &Item, alpha: f64) -> Vec<String> {
    let value = |v: &Value| {
        let unit = item.unit;
        match v.as_f64() {
            Some(n) if !unit.is_empty() => format!("{} {unit}", digits(n)),
            _ => word(v),
        }
    };
    let numeric = item.tolerance.is_some();
    let unit = match item.difference_unit {
        "percentage points" => "points",
        other => other,
    };
    vec![
        item.figure.clone(),
        value(&item.a),
        value(&item.b),
        match item.difference {
            Some(d) => format!("{d:+.2} {unit}"),
            None if numeric => "from 0".into(),
            None => item.note.clone().unwrap_or_default(),
        },
        item.tolerance
            .map_or_else(String::new, |t| format!("{t} {unit}")),
        match (item.verdict, &item.note) {
            (Verdict::Beyond, _) => "BEYOND".into(),
            (Verdict::Within, Some(note)) if numeric => format!("within, {note}"),
            (Verdict::Within, _) => "within".into(),
            (Verdict::Noted, _) => "noted".into(),
            (Verdict::Skip, _) => "SKIP".into(),
        },
        match &item.significance {
            None => String::new(),
            Some(Ok(s)) => {
                let name = match s.test {
                    "welch_t" => "Welch",
                    _ => "Mann-Whitney",
                };
                let p = if s.p_value < 0.001 {
                    "p < 0.001".into()
                } else {
                    format!("p = {:.3}", s.p_value)
                };
                let meaning = if s.p_value < alpha {
                    "significant"
                } else {
                    "may be chance"
                };
                format!("{name}: {p}, n = {} and {}, {meaning}", s.n[0], s.n[1])
            }
            Some(Err(why)) => why.clone(),
        },
    ]
}

/// Six significant digits, without an exponent; whole numbers as they are.
fn digits(n: f64) -> String {
    if n.fract() == 0.0 {
        return format!("{n:.0}");
    }
    let whole = n.abs().log10().floor().max(0.0) as usize + 1;
    format!("{n:.*}", 6usize.saturating_sub(whole))
}

fn word(v: &Value) -> String {
    match v {
        Value::Null => ABSENT.into(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn parameters(title: &str, list: &[Parameter]) -> Table {
    let mut table = Table::new(&[title, "A", "B"]);
    let unset = |v: &Value| if v.is_null() { "unset".into() } else { word(v) };
    for p in list {
        table.row([&p.key, &unset(&p.a), &unset(&p.b)]);
    }
    table
}
