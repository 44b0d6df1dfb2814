//! Hydra's override words: `k=v`, `+k=v`, `++k=v`, `~k`, with hydra's value grammar.

use serde_yaml::{Mapping, Value};

use super::error::Wrong;
use super::yaml::float;

/// What a word asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Set or create.
    Set(Value),
    /// Create; an error where the key exists.
    Add(Value),
    Delete,
}

/// One parsed word.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// Dotted path without `workload.`.
    pub path: String,
    pub change: Change,
}

/// Parses a word.
///
/// Errors: what is wrong with it, without its value: that may be a credential.
pub fn parse(word: &str) -> Result<Override, Wrong> {
    let strip = |key: &str| {
        let key = key.trim();
        key.strip_prefix("workload.").unwrap_or(key).to_string()
    };
    if let Some(rest) = word.strip_prefix('~') {
        let key = rest.split('=').next().unwrap_or(rest);
        return Ok(Override {
            path: strip(key),
            change: Change::Delete,
        });
    }
    let Some((key, text)) = word.split_once('=') else {
        return Err(Wrong::new("it has no '='", "write KEY=VALUE"));
    };
    let value = value(text)?;
    let (path, change) = match key.strip_prefix("++") {
        Some(key) => (strip(key), Change::Set(value)),
        None => match key.strip_prefix('+') {
            Some(key) => (strip(key), Change::Add(value)),
            None => (strip(key), Change::Set(value)),
        },
    };
    if path.is_empty() || path.split('.').any(str::is_empty) {
        return Err(Wrong::new(
            "its key is empty",
            "write KEY=VALUE, such as reader.batch_size=4",
        ));
    }
    Ok(Override { path, change })
}

/// A value by hydra's grammar, which is not YAML: `yes`, `off` and `012` stay text.
///
/// Errors: as of [`parse`].
pub fn value(text: &str) -> Result<Value, Wrong> {
    let mut parser = Words { text, at: 0 };
    parser.space();
    if parser.at == text.len() {
        return Ok(Value::String(String::new()));
    }
    let value = parser.value(false)?;
    parser.space();
    if parser.at < text.len() {
        if text[parser.at..].starts_with(',') {
            return Err(Wrong::new(
                "it is a sweep, which runs several jobs",
                "write a list in brackets: [a,b]",
            ));
        }
        let last = text[..parser.at].chars().count();
        return Err(Wrong::new(
            format!("the value ends at its character {last}, and more follows"),
            "put the whole value in quotes, within those of the shell: KEY='\"VALUE\"'",
        ));
    }
    Ok(value)
}

struct Words<'a> {
    text: &'a str,
    at: usize,
}

impl Words<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn space(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn take(&mut self, c: char) -> bool {
        self.space();
        let is_there = self.rest().starts_with(c);
        if is_there {
            self.at += c.len_utf8();
        }
        is_there
    }

    fn value(&mut self, nested: bool) -> Result<Value, Wrong> {
        self.space();
        match self.rest().chars().next() {
            Some('[') => self.list(),
            Some('{') => self.map(),
            Some(quote @ ('\'' | '"')) => self.quoted(quote).map(Value::String),
            _ => Ok(self.plain(nested)),
        }
    }

    fn list(&mut self) -> Result<Value, Wrong> {
        self.take('[');
        let mut items = Vec::new();
        if self.take(']') {
            return Ok(Value::Sequence(items));
        }
        loop {
            self.space();
            if self.rest().starts_with([']', ',']) {
                return Err(Wrong::new(
                    "its list has an empty place",
                    "remove the comma that is too much",
                ));
            }
            items.push(self.value(true)?);
            if self.take(']') {
                return Ok(Value::Sequence(items));
            }
            if !self.take(',') {
                return Err(Wrong::new("its list has no end", "write a ] behind it"));
            }
        }
    }

    fn map(&mut self) -> Result<Value, Wrong> {
        self.take('{');
        let mut map = Mapping::new();
        if self.take('}') {
            return Ok(Value::Mapping(map));
        }
        loop {
            self.space();
            let key = match self.rest().chars().next() {
                Some(quote @ ('\'' | '"')) => self.quoted(quote)?,
                _ => {
                    let end = self
                        .rest()
                        .find([':', ',', '}'])
                        .unwrap_or(self.rest().len());
                    let key = self.rest()[..end].trim().to_string();
                    self.at += end;
                    key
                }
            };
            if !self.take(':') {
                return Err(Wrong::new(
                    "its map has a key without ':'",
                    "write a map as {key: value, key: value}",
                ));
            }
            let value = self.value(true)?;
            map.insert(Value::String(key), value);
            if self.take('}') {
                return Ok(Value::Mapping(map));
            }
            if !self.take(',') {
                return Err(Wrong::new("its map has no end", "write a } behind it"));
            }
        }
    }

    fn quoted(&mut self, quote: char) -> Result<String, Wrong> {
        self.at += 1;
        let mut out = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((i, c)) = chars.next() {
            // Only the quote itself can be escaped; before anything else a backslash is a backslash.
            match chars.clone().next() {
                Some((_, next)) if c == '\\' && next == quote => {
                    out.push(quote);
                    chars.next();
                }
                _ if c == quote => {
                    self.at += i + 1;
                    return Ok(out);
                }
                _ => out.push(c),
            }
        }
        Err(Wrong::new(
            format!("its quote {quote} has no end"),
            format!("write a {quote} behind the text"),
        ))
    }

    fn plain(&mut self, nested: bool) -> Value {
        let stop: &[char] = if nested { &[',', ']', '}'] } else { &[','] };
        let mut word = String::new();
        let mut is_escaped = false;
        let mut chars = self.rest().char_indices();
        let mut end = self.rest().len();
        // What stands within `${...}` belongs to the reference.
        let mut depth = 0usize;
        while let Some((i, c)) = chars.next() {
            let is_inside = depth > 0;
            match c {
                '{' if is_inside || word.ends_with('$') => depth += 1,
                '}' if is_inside => depth -= 1,
                _ => {}
            }
            if stop.contains(&c) && !is_inside {
                end = i;
                break;
            }
            // A backslash takes the grammar's own characters as they are.
            match chars.clone().next() {
                Some((_, next)) if c == '\\' && "\\,=()[]{}: \t".contains(next) => {
                    word.push(next);
                    is_escaped = true;
                    chars.next();
                }
                _ => word.push(c),
            }
        }
        self.at += end;
        if is_escaped {
            Value::String(word)
        } else {
            typed(word.trim())
        }
    }
}

fn typed(word: &str) -> Value {
    let lower = word.to_ascii_lowercase();
    match lower.as_str() {
        "true" => return Value::Bool(true),
        "false" => return Value::Bool(false),
        "null" => return Value::Null,
        "inf" | "+inf" => return Value::from(f64::INFINITY),
        "-inf" => return Value::from(f64::NEG_INFINITY),
        "nan" => return Value::from(f64::NAN),
        _ => {}
    }
    let digits = word.trim_start_matches(['+', '-']);
    let has_lone_underscores = !digits.contains("__") && !digits.ends_with('_');
    let is_integer = has_lone_underscores
        && digits.starts_with(|c: char| c.is_ascii_digit())
        && digits.chars().all(|c| c.is_ascii_digit() || c == '_')
        && (digits == "0" || !digits.starts_with('0'));
    if is_integer && let Ok(value) = word.replace('_', "").parse::<i64>() {
        return Value::from(value);
    }
    let is_octal_look =
        digits.len() > 1 && digits.starts_with('0') && digits.chars().all(|c| c.is_ascii_digit());
    if !is_octal_look
        && has_lone_underscores
        && let Some(value) = float(word)
    {
        return Value::from(value);
    }
    Value::String(word.into())
}

/// Applies a change to the tree.
///
/// Errors: it deletes what is not there, or adds what is.
pub fn apply(tree: &mut Value, change: &Override) -> Result<(), Wrong> {
    let mut node = tree;
    let parts: Vec<&str> = change.path.split('.').collect();
    let (last, folders) = parts.split_last().expect("split gives at least one part");
    for part in folders {
        if !node.is_mapping() {
            *node = Value::Mapping(Mapping::new());
        }
        let map = node.as_mapping_mut().expect("made a mapping above");
        node = map
            .entry(Value::String((*part).into()))
            .or_insert_with(|| Value::Mapping(Mapping::new()));
    }
    if !node.is_mapping() {
        // A scalar gives way to a map: `train.computation_time.mean=1` over `computation_time: 0.5`.
        *node = Value::Mapping(Mapping::new());
    }
    let map = node.as_mapping_mut().expect("made a mapping above");
    let key = Value::String((*last).into());
    match &change.change {
        Change::Delete => map.remove(&key).map(|_| ()).ok_or_else(|| {
            let what = format!("'~{}' deletes a key that is not set", change.path);
            Wrong::new(what, "leave the word out, or correct the name of the key")
        }),
        Change::Add(_) if map.contains_key(&key) => Err(Wrong::new(
            format!("'+{}' adds a key that is already set", change.path),
            format!("write {0}=VALUE or ++{0}=VALUE to change it", change.path),
        )),
        Change::Add(value) | Change::Set(value) => {
            match (map.get_mut(&key), value) {
                (Some(Value::Mapping(old)), Value::Mapping(new)) => {
                    old.extend(new.iter().map(|(k, v)| (k.clone(), v.clone())));
                }
                _ => {
                    map.insert(key, value.clone());
                }
            }
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_merge_as_hydra_merges() {
        let (mut tree, _) =
            crate::config::yaml::parse("train:\n  computation_time: 0.5\n  epochs: 2\n").unwrap();
        let mut change = |word: &str| apply(&mut tree, &parse(word).unwrap());
        change("++workload.train.computation_time.mean=1").unwrap();
        change("train.computation_time={stdev: 2}").unwrap();
        assert!(
            change("+train.epochs=3")
                .unwrap_err()
                .what
                .contains("already set")
        );
        change("~train.epochs").unwrap();
        assert!(change("~train.epochs").is_err());
        assert_eq!(tree["train"]["computation_time"]["mean"], Value::from(1));
        assert_eq!(tree["train"]["computation_time"]["stdev"], Value::from(2));
        assert!(tree["train"].get("epochs").is_none());
    }
}
