//! YAML text to values with their places, by the scalar rules that DLIO's users have: YAML 1.1 as PyYAML reads it,
//! with OmegaConf's wider floats.

use std::collections::{BTreeMap, HashMap};

use saphyr_parser::{Event, Parser, ScalarStyle, Span};
use serde_yaml::{Mapping, Value};

use super::error::Wrong;
use super::tree::join;

/// Line and column (both from 1) of a key, by its dotted path.
pub type Places = BTreeMap<String, (usize, usize)>;

/// Text that is no YAML.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct YamlError {
    /// From 1.
    pub line: usize,
    /// From 1.
    pub column: usize,
    pub wrong: Wrong,
}

/// Deeper than any configuration: what nests without end would need the whole stack.
const MAX_DEPTH: usize = 100;

/// More than any configuration has, in bytes of memory once aliases are expanded: aliases of aliases would need all of it.
const MAX_BYTES: u64 = 64 << 20;

/// What a value takes beside its text.
const VALUE_BYTES: u64 = 48;

struct Reader<'a> {
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// With the bytes of each.
    anchors: HashMap<usize, (Value, u64)>,
    places: Places,
    depth: usize,
    bytes: u64,
}

/// The document of `text`, and where its keys are. An empty text is an empty mapping; a second document is an error.
pub fn parse(text: &str) -> Result<(Value, Places), YamlError> {
    let mut reader = Reader {
        parser: Parser::new_from_str(text.strip_prefix('\u{feff}').unwrap_or(text)),
        anchors: HashMap::new(),
        places: Places::new(),
        depth: 0,
        bytes: 0,
    };
    let mut document = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamStart | Event::DocumentEnd | Event::Nothing => {}
            Event::StreamEnd => break,
            Event::DocumentStart(_) if document.is_some() => {
                return Err(wrong(
                    &span,
                    "one document is expected, and a second begins here",
                    "remove it, or the line ---",
                ));
            }
            Event::DocumentStart(_) => document = Some(Value::Null),
            event => document = Some(reader.value(event, span, "")?),
        }
    }
    let value = match document {
        None | Some(Value::Null) => Value::Mapping(Mapping::new()),
        Some(value) => value,
    };
    Ok((value, reader.places))
}

fn wrong(span: &Span, what: impl Into<String>, remedy: &str) -> YamlError {
    YamlError {
        line: span.start.line(),
        column: span.start.col() + 1,
        wrong: Wrong::new(what, remedy),
    }
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), YamlError> {
        match self.parser.next() {
            Some(Ok(pair)) => Ok(pair),
            Some(Err(e)) => Err(YamlError {
                line: e.marker().line(),
                column: e.marker().col() + 1,
                wrong: Wrong::new(
                    e.info(),
                    "correct the text there, or just before; what has a colon, #, quotes or brackets in it stands in quotes",
                ),
            }),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// Counts memory that the document takes.
    fn take_memory(&mut self, bytes: u64, span: &Span) -> Result<(), YamlError> {
        self.bytes = self.bytes.saturating_add(bytes);
        if self.bytes > MAX_BYTES {
            let what = format!(
                "the document takes more than {} MiB of memory, aliases expanded",
                MAX_BYTES >> 20
            );
            return Err(wrong(
                span,
                what,
                "write what the aliases (*NAME) stand for, as often as it is needed",
            ));
        }
        Ok(())
    }

    /// Notes that everything below `path` stands at `span`: what an alias brings.
    fn place_below(&mut self, value: &Value, path: &str, span: &Span) -> Result<(), YamlError> {
        let Value::Mapping(map) = value else {
            return Ok(());
        };
        for (key, value) in map {
            let at = join(path, &super::tree::as_text(key));
            self.take_memory(at.len() as u64, span)?;
            self.place_below(value, &at, span)?;
            let place = (span.start.line(), span.start.col() + 1);
            self.places.entry(at).or_insert(place);
        }
        Ok(())
    }

    fn value(&mut self, event: Event<'a>, span: Span, path: &str) -> Result<Value, YamlError> {
        let before = self.bytes;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            let what = format!("values are nested deeper than {MAX_DEPTH}");
            return Err(wrong(&span, what, "name the YAML of a workload"));
        }
        let own = match &event {
            Event::Alias(id) => self.anchors.get(id).map_or(0, |(_, bytes)| *bytes),
            Event::Scalar(text, ..) => text.len() as u64,
            _ => 0,
        };
        self.take_memory(VALUE_BYTES + own, &span)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|t| t.suffix == "str");
                let value = if style == ScalarStyle::Plain && !is_text {
                    plain(&text)
                } else {
                    Value::String(text.into())
                };
                (value, anchor)
            }
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    let (event, span) = self.next()?;
                    if matches!(event, Event::SequenceEnd) {
                        break;
                    }
                    let at = format!("{path}[{}]", items.len());
                    self.places
                        .insert(at.clone(), (span.start.line(), span.start.col() + 1));
                    items.push(self.value(event, span, &at)?);
                }
                (Value::Sequence(items), anchor)
            }
            Event::MappingStart(anchor, _) => (self.mapping(path)?, anchor),
            Event::Alias(id) => {
                let known = self.anchors.get(&id);
                let value = known.map_or(Value::Null, |(value, _)| value.clone());
                self.place_below(&value, path, &span)?;
                (value, 0)
            }
            _ => {
                return Err(wrong(
                    &span,
                    "a value is expected here",
                    "write one, or leave the key out",
                ));
            }
        };
        self.depth -= 1;
        if anchor > 0 {
            self.anchors
                .insert(anchor, (value.clone(), self.bytes - before));
        }
        Ok(value)
    }

    fn mapping(&mut self, path: &str) -> Result<Value, YamlError> {
        let mut own = Mapping::new();
        // What `<<` brings stands before the keys of the map itself, which win.
        let mut merged = Mapping::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                merged.extend(own);
                return Ok(Value::Mapping(merged));
            }
            let Event::Scalar(key, ..) = event else {
                return Err(wrong(
                    &span,
                    "a key must be plain text",
                    "write the name of a key, such as num_files_train, and a colon",
                ));
            };
            if own.contains_key(&*key) {
                let what = format!("the key {key} stands here twice");
                return Err(wrong(&span, what, "remove one of the two"));
            }
            let at = join(path, &key);
            let (event, value_span) = self.next()?;
            if key == "<<" {
                let bases = match self.value(event, value_span, &at)? {
                    Value::Sequence(items) => items,
                    one => vec![one],
                };
                // The first of a list wins: it comes last.
                for base in bases.into_iter().rev() {
                    let Value::Mapping(base) = base else {
                        return Err(wrong(
                            &span,
                            "<< takes a map or a list of maps",
                            "write <<: *NAME, where &NAME stands before a map",
                        ));
                    };
                    self.place_below(&Value::Mapping(base.clone()), path, &span)?;
                    merged.extend(base);
                }
                continue;
            }
            self.places
                .insert(at.clone(), (span.start.line(), span.start.col() + 1));
            let value = self.value(event, value_span, &at)?;
            own.insert(Value::String(key.into()), value);
        }
    }
}

/// A plain scalar by YAML 1.1: `on`/`off`/`yes`/`no` are booleans, `010` is octal, `12:30` sexagesimal, `1_000` a number.
pub fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => {
            return Value::Bool(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => {
            return Value::Bool(false);
        }
        _ => {}
    }
    let number = integer_11(text).map(Value::from);
    let number = number.or_else(|| {
        is_float(text)
            .then(|| float(text))
            .flatten()
            .map(Value::from)
    });
    number
        .or_else(|| sexagesimal(text).map(Value::from))
        .unwrap_or_else(|| Value::String(text.into()))
}

/// OmegaConf's pattern: a point or an exponent; before a leading point no sign, after it only a signed exponent.
fn is_float(text: &str) -> bool {
    let rest = text.trim_start_matches(['+', '-']);
    if let Some(fraction) = rest.strip_prefix('.') {
        let is_word = fraction.starts_with(|c: char| c.is_ascii_alphabetic());
        let exponent = fraction
            .split_once(['e', 'E'])
            .map(|(_, e)| e.starts_with(['+', '-']));
        return is_word || (rest.len() == text.len() && exponent != Some(false));
    }
    // Python's integers have no end; what does not fit 64 bits becomes a float here.
    let is_huge = rest.len() > 18 && rest.chars().all(|c| c.is_ascii_digit());
    is_huge || rest.contains(['.', 'e', 'E'])
}

/// `1:30.5` is 90.5.
fn sexagesimal(text: &str) -> Option<f64> {
    let (parts, fraction) = text.split_once('.')?;
    let digits = parts.trim_start_matches(['+', '-']);
    let whole = digits.contains(':').then(|| base_60(digits)).flatten()?;
    let whole = if text.starts_with('-') { -whole } else { whole };
    let fraction: f64 = format!("0.{fraction}").parse().ok()?;
    Some(
        whole as f64
            + if text.starts_with('-') {
                -fraction
            } else {
                fraction
            },
    )
}

/// `1:30` is 90.
fn base_60(digits: &str) -> Option<i64> {
    digits
        .split(':')
        .enumerate()
        .try_fold(0i64, |sum, (i, part)| {
            let part = part.parse::<i64>().ok().filter(|&n| i == 0 || n < 60)?;
            sum.checked_mul(60)?.checked_add(part)
        })
}

fn integer_11(text: &str) -> Option<i64> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let plain: String = digits.chars().filter(|&c| c != '_').collect();
    let value = if let Some(hex) = plain.strip_prefix("0x") {
        i64::from_str_radix(hex, 16).ok()?
    } else if let Some(bits) = plain.strip_prefix("0b") {
        i64::from_str_radix(bits, 2).ok()?
    } else if plain.contains(':') {
        // A number of this kind begins with 1 to 9; `0:01` is a text.
        if plain.starts_with('0') {
            return None;
        }
        base_60(&plain)?
    } else if plain.len() > 1 && plain.starts_with('0') {
        i64::from_str_radix(&plain, 8).ok()?
    } else {
        plain.parse().ok()?
    };
    Some(sign * value)
}

/// A float as OmegaConf reads it: also `1e-3`, which YAML 1.1 takes for text.
pub fn float(text: &str) -> Option<f64> {
    match text.trim_start_matches(['+', '-']) {
        ".inf" | ".Inf" | ".INF" => {
            return Some(if text.starts_with('-') {
                f64::NEG_INFINITY
            } else {
                f64::INFINITY
            });
        }
        ".nan" | ".NaN" | ".NAN" => return Some(f64::NAN),
        rest if !rest.starts_with(|c: char| c.is_ascii_digit() || c == '.') => return None,
        _ => {}
    }
    let plain: String = text.chars().filter(|&c| c != '_').collect();
    if !plain.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    plain.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bad_text_is_placed() {
        let error = parse("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
        assert!(error.line >= 2, "{error:?}");
        assert_eq!(parse("a: 1\na: 2\n").unwrap_err().line, 2);
    }
}
