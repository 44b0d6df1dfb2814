//! JSON and YAML as the tools of the field write them.

use std::fs;
use std::path::Path;

use serde_json::Value;

/// A file larger than this is none of a leaf's.
const MAX_BYTES: u64 = 256 << 20;

/// A file of a leaf.
#[derive(Debug, Clone, Default, PartialEq)]
pub enum Document {
    /// There is none.
    #[default]
    Absent,
    /// It cannot be read; why.
    Broken(String),
    /// Its content.
    Read {
        /// The value; `NaN` and infinities are null.
        value: Value,
        /// How many tokens `NaN`, `Infinity` and `-Infinity` it holds, which are not JSON (Python writes them).
        not_numbers: usize,
    },
}

impl Document {
    /// The content, where it could be read.
    pub fn value(&self) -> Option<&Value> {
        match self {
            Document::Read { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Reads a JSON file, with Python's `NaN` and infinities.
    pub fn json(path: &Path) -> Self {
        Self::read(path, |text| {
            let (strict, not_numbers) = without_nan(text);
            let value = serde_json::from_str(&strict).map_err(|e| e.to_string())?;
            Ok((value, not_numbers))
        })
    }

    /// Reads a YAML file.
    pub fn yaml(path: &Path) -> Self {
        Self::read(path, |text| {
            let (root, _) = crate::config::yaml::parse(text)
                .map_err(|e| format!("line {} column {}: {}", e.line, e.column, e.what))?;
            let value = serde_json::to_value(root).map_err(|e| e.to_string())?;
            Ok((value, 0))
        })
    }

    fn read(path: &Path, parse: impl FnOnce(&str) -> Result<(Value, usize), String>) -> Self {
        let text = match text(path) {
            Ok(Some(text)) => text,
            Ok(None) => return Document::Absent,
            Err(cause) => return Document::Broken(cause),
        };
        match parse(&text) {
            Ok((value, not_numbers)) => Document::Read { value, not_numbers },
            Err(cause) => Document::Broken(cause),
        }
    }
}

/// The text of a file; None where there is none.
///
/// Errors: it is no regular file, larger than any tool writes, not readable, or no text; the cause.
pub fn text(path: &Path) -> Result<Option<String>, String> {
    // A pipe of that name would never end, and a device never say so.
    match fs::metadata(path) {
        Ok(meta) if !meta.is_file() => return Err("it is no regular file".into()),
        Ok(meta) if meta.len() > MAX_BYTES => {
            return Err(format!(
                "it has {} bytes; no tool writes more than {MAX_BYTES}",
                meta.len()
            ));
        }
        _ => {}
    }
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.to_string()),
    };
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text")?;
    Ok(Some(text))
}

/// The text with `NaN`, `Infinity` and `-Infinity` outside of strings replaced by `null`, and their number.
fn without_nan(text: &str) -> (String, usize) {
    let mut out = String::with_capacity(text.len());
    let mut found = 0;
    let mut rest = text;
    let mut in_string = false;
    while let Some(c) = rest.chars().next() {
        if in_string {
            // An escaped character, such as a quote, does not end the string.
            let taken = if c == '\\' {
                1 + rest[1..].chars().next().map_or(0, char::len_utf8)
            } else {
                c.len_utf8()
            };
            in_string = c != '"';
            out.push_str(&rest[..taken]);
            rest = &rest[taken..];
            continue;
        }
        let token = ["NaN", "-Infinity", "Infinity"]
            .into_iter()
            .find(|t| rest.starts_with(t));
        if let Some(token) = token {
            out.push_str("null");
            found += 1;
            rest = &rest[token.len()..];
            continue;
        }
        in_string = c == '"';
        out.push(c);
        rest = &rest[c.len_utf8()..];
    }
    (out, found)
}

/// The value under dotted keys, such as `metric.train_au_percentage`.
pub fn at<'v>(value: &'v Value, dotted: &str) -> Option<&'v Value> {
    dotted
        .split('.')
        .try_fold(value, |value, key| value.get(key))
        .filter(|v| !v.is_null())
}

/// The digits of a number, or of text that should be one; None for anything else.
pub fn number_text(value: &Value) -> Option<String> {
    match value {
        Value::Number(n) => Some(n.to_string()),
        Value::String(text) => Some(text.trim().to_owned()),
        _ => None,
    }
}

/// What Python's `if` makes of a value: text is true whatever it says.
pub fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(b) => *b,
        Value::Number(n) => n.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pythons_numbers_that_are_not_json() {
        let (text, n) =
            without_nan(r#"{"a": NaN, "b": [-Infinity, Infinity, 1], "c": "NaN \" NaN é"}"#);
        assert_eq!(n, 3);
        let value: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            value,
            serde_json::json!({"a": null, "b": [null, null, 1], "c": "NaN \" NaN é"})
        );
        assert_eq!(at(&value, "a"), None);
    }
}
