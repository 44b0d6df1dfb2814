//! YAML as OmegaConf dumps it, for hydra's files: what PyYAML would read as another type than text is quoted.
//!
//! PyYAML reads YAML 1.1, where `yes`, `012`, `12:30`, `2026-11-21` and even a lone `=` are no text; a dump by the rules of
//! YAML 1.2 would be read as something else, or not at all.

use serde_yaml::{Number, Value};

use super::python;

/// The document, with a line end.
pub fn to_string(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Mapping(map) if !map.is_empty() => block(&mut out, value, 0),
        Value::Sequence(list) if !list.is_empty() => block(&mut out, value, 0),
        other => {
            out.push_str(&scalar(other));
            out.push('\n');
        }
    }
    out
}

/// A mapping or sequence that is not empty; the cursor stands at the place of its first entry.
fn block(out: &mut String, value: &Value, indent: usize) {
    let mut first = true;
    let mut start = |out: &mut String| {
        if !std::mem::take(&mut first) {
            out.push_str(&" ".repeat(indent));
        }
    };
    match value {
        Value::Mapping(map) => {
            for (key, entry) in map {
                start(out);
                out.push_str(&scalar(key));
                out.push(':');
                child(out, entry, indent, false);
            }
        }
        Value::Sequence(list) => {
            for entry in list {
                start(out);
                out.push('-');
                child(out, entry, indent, true);
            }
        }
        other => out.push_str(&scalar(other)),
    }
}

fn child(out: &mut String, entry: &Value, indent: usize, in_list: bool) {
    let holds_entries = match entry {
        Value::Mapping(map) => !map.is_empty(),
        Value::Sequence(list) => !list.is_empty(),
        _ => false,
    };
    if !holds_entries {
        out.push(' ');
        out.push_str(&scalar(entry));
        out.push('\n');
    } else if in_list {
        // The first entry shares the dash's line.
        out.push(' ');
        block(out, entry, indent + 2);
    } else {
        // Lists stand at their key's indentation, as PyYAML has it.
        let deeper = if entry.is_sequence() {
            indent
        } else {
            indent + 2
        };
        out.push('\n');
        out.push_str(&" ".repeat(deeper));
        block(out, entry, deeper);
    }
}

fn scalar(value: &Value) -> String {
    match value {
        Value::Null => "null".into(),
        Value::Bool(b) => b.to_string(),
        Value::Number(n) => number(n),
        Value::String(text) => string(text),
        Value::Sequence(_) => "[]".into(),
        Value::Mapping(_) => "{}".into(),
        Value::Tagged(tagged) => scalar(&tagged.value),
    }
}

fn number(n: &Number) -> String {
    let Some(float) = n.as_f64().filter(|_| n.is_f64()) else {
        return n.to_string();
    };
    match python::float(float).as_str() {
        "inf" => ".inf".into(),
        "-inf" => "-.inf".into(),
        "nan" => ".nan".into(),
        // YAML 1.1 wants a point in a float.
        text => match text.split_once('e') {
            Some((digits, exponent)) if !digits.contains('.') => format!("{digits}.0e{exponent}"),
            _ => text.into(),
        },
    }
}

fn string(text: &str) -> String {
    if text.chars().any(is_special) {
        return double_quoted(text);
    }
    if is_plain(text) && !reads_as_other_type(text) {
        text.into()
    } else {
        format!("'{}'", text.replace('\'', "''"))
    }
}

/// Characters that YAML takes for line ends, or does not take at all.
fn is_special(c: char) -> bool {
    c.is_control() || "\u{2028}\u{2029}\u{feff}".contains(c)
}

fn double_quoted(text: &str) -> String {
    // A JSON string is a double-quoted YAML scalar, but for characters that JSON leaves as they are.
    let json = serde_json::Value::from(text).to_string();
    let escaped = json.chars().map(|c| {
        if is_special(c) {
            format!("\\u{:04x}", u32::from(c))
        } else {
            c.to_string()
        }
    });
    escaped.collect()
}

/// True where YAML's grammar lets the text stand without quotes in a block. Source: YAML 1.1, 9.1.3, and PyYAML's emitter.
fn is_plain(text: &str) -> bool {
    let mut chars = text.chars();
    let (Some(first), second) = (chars.next(), chars.next()) else {
        return false;
    };
    let indicator = "#,[]{}&*!|>'\"%@`".contains(first)
        || ("?:-".contains(first) && second.is_none_or(|c| c == ' '));
    let spaced = text.starts_with(' ') || text.ends_with(' ');
    let marker = text.starts_with("---") || text.starts_with("...");
    let inner = text.contains(": ") || text.ends_with(':') || text.contains(" #");
    !(indicator || spaced || marker || inner)
}

/// True where PyYAML or OmegaConf would not read text. Source: YAML 1.1's types bool, null, int, float, timestamp, merge, value.
fn reads_as_other_type(text: &str) -> bool {
    const WORDS: [&str; 10] = [
        "yes", "no", "true", "false", "on", "off", "y", "n", "null", "~",
    ];
    let lower = text.to_ascii_lowercase();
    let capital = |word: &str| {
        let mut rest = word.chars();
        let first = rest.next().map(|c| c.to_ascii_uppercase());
        first.into_iter().chain(rest).collect::<String>()
    };
    let is_cased = text == lower || text == capital(&lower) || text == text.to_ascii_uppercase();
    if text == "=" || text == "<<" || (is_cased && WORDS.contains(&lower.as_str())) {
        return true;
    }
    is_number(&lower) || is_date(text)
}

fn is_number(lower: &str) -> bool {
    let unsigned = lower.strip_prefix(['+', '-']).unwrap_or(lower);
    let digits = unsigned.replace('_', "");
    let all = |text: &str, radix: u32| !text.is_empty() && text.chars().all(|c| c.is_digit(radix));
    if ["inf", ".inf", "nan", ".nan"].contains(&unsigned) || all(&digits, 10) {
        return true;
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return all(hex, 16);
    }
    if let Some(binary) = digits.strip_prefix("0b") {
        return all(binary, 2);
    }
    if digits.contains(':') {
        // Sexagesimal: 12:30 is 750.
        let mut parts = digits.split(':');
        return parts
            .all(|part| all(part.trim_end_matches('.'), 10) || part.parse::<f64>().is_ok());
    }
    let starts = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    starts && digits.parse::<f64>().is_ok()
}

/// `YYYY-M-D`, with or without a time.
fn is_date(text: &str) -> bool {
    let day = text.split(['T', 't', ' ']).next().unwrap_or_default();
    let parts: Vec<&str> = day.split('-').collect();
    let digits = |part: &str, most: usize| {
        (1..=most).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit())
    };
    matches!(parts.as_slice(), [y, m, d] if y.len() == 4 && digits(y, 4) && digits(m, 2) && digits(d, 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_as_omegaconf_writes_them() {
        let vectors = include_str!("../../tests/data/hydra/omegaconf_dump.jsonl");
        let mut seen = 0;
        for line in vectors.lines() {
            let (value, expected): (serde_json::Value, String) =
                serde_json::from_str(line).unwrap();
            let value = match value.get("float") {
                Some(text) => Value::from(text.as_str().unwrap().parse::<f64>().unwrap()),
                None => Value::from(value.as_str().unwrap()),
            };
            let map = Value::Mapping([(Value::from("k"), value)].into_iter().collect());
            assert_eq!(to_string(&map), expected);
            seen += 1;
        }
        assert!(seen > 130, "{seen}");
    }

    #[test]
    fn collections_as_omegaconf_writes_them() {
        // OmegaConf.to_yaml(OmegaConf.create({"a": {}, "b": [], "c": [1, {"x": 1, "y": [2, 3]}],
        //     "d": {"e": [[1, 2], [3]]}, "n": None, "t": True, "1": 2, "on": 5})), omegaconf 2.3.
        let expected = "a: {}\nb: []\nc:\n- 1\n- x: 1\n  'y':\n  - 2\n  - 3\nd:\n  e:\n  - - 1\n    - 2\n  - - 3\n'n': null\nt: true\n'1': 2\n'on': 5\n";
        let value: Value = serde_json::from_str(
            r#"{"a": {}, "b": [], "c": [1, {"x": 1, "y": [2, 3]}], "d": {"e": [[1, 2], [3]]}, "n": null, "t": true, "1": 2, "on": 5}"#,
        )
        .unwrap();
        assert_eq!(to_string(&value), expected);
        assert_eq!(to_string(&Value::Sequence(Vec::new())), "[]\n");
        assert_eq!(to_string(&Value::from("a\nb")), "\"a\\nb\"\n");
        // yaml.safe_load of PyYAML 6 gives the same text back.
        assert_eq!(
            to_string(&Value::from("\u{7f}\u{85}\u{feff}é")),
            "\"\\u007f\\u0085\\ufeffé\"\n"
        );
        for plain in ["ÄrzteData", "éA", "日本A"] {
            assert_eq!(to_string(&Value::from(plain)), format!("{plain}\n"));
        }
    }
}
