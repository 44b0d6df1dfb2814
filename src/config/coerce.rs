//! Values to the types of their keys, where the key leaves no doubt; the rest is refused in the user's words.

use serde_yaml::{Mapping, Number, Value};

use super::error::{ConfigError, Wrong};
use super::foreign;
use super::origin::{Origins, place_of};
use super::schema::{self, Key, Kind, Word};
use super::secret::is_secret;
use super::source::near;
use super::tree::{as_text, join};
use super::{Workload, yaml};

/// Whole numbers that a float holds exactly.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Longest text of a value that a message shows.
const SHOWN: usize = 60;

/// Brings every value to the type of its key: `4.0` for a count, `True` in quotes for a flag, a number for a name, YAML's
/// `off` for a word, one text for a list of texts.
///
/// Errors: all values that do not fit, each with its place.
pub(super) fn coerce(
    tree: &mut Value,
    origins: &Origins,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let mut walk = Walk {
        origins,
        warnings,
        wrong: Vec::new(),
    };
    walk.section(tree, "");
    match walk.wrong.is_empty() {
        true => Ok(()),
        false => Err(ConfigError::Types(walk.wrong)),
    }
}

struct Walk<'a> {
    origins: &'a Origins,
    warnings: &'a mut Vec<String>,
    wrong: Vec<ConfigError>,
}

impl Walk<'_> {
    fn section(&mut self, tree: &mut Value, path: &str) {
        let Some(map) = tree.as_mapping_mut() else {
            return;
        };
        // A null section or key is an absent one.
        map.retain(|_, value| !value.is_null());
        for (key, value) in map.iter_mut() {
            let at = join(path, &as_text(key));
            let Some(key) = schema::key(&at) else {
                continue;
            };
            if key.kind == Kind::Section && value.is_mapping() {
                self.section(value, &at);
            } else if let Err(wrong) = self.value(value, key) {
                let place = place_of(self.origins, &at);
                let key = at;
                self.wrong.push(ConfigError::Type { place, key, wrong });
            }
        }
    }

    fn value(&mut self, value: &mut Value, key: &Key) -> Result<(), Wrong> {
        if key.path == "reader.file_shuffle" && is_off(value) {
            let place = place_of(self.origins, &key.path);
            self.warnings.push(format!(
                "{place}reader.file_shuffle=off is off here; DLIO takes any explicit value, also off, for shuffling"
            ));
        }
        let shown = shown(value, &key.path);
        let Some(typed) = fitted(value, &key.kind) else {
            return Err(misfit(key, value, &shown));
        };
        *value = typed;
        Ok(())
    }
}

fn is_off(value: &Value) -> bool {
    *value == Value::Bool(false)
        || value
            .as_str()
            .is_some_and(|t| matches!(t.to_ascii_lowercase().as_str(), "off" | "false"))
}

/// The value as `kind`; None where it is no such thing.
fn fitted(value: &Value, kind: &Kind) -> Option<Value> {
    match (kind, value) {
        (Kind::Section | Kind::Map(_), _) => None,
        (Kind::Flag, Value::Bool(_)) => Some(value.clone()),
        (Kind::Flag, Value::Number(n)) => match n.as_u64() {
            Some(n @ (0 | 1)) => Some(Value::Bool(n == 1)),
            _ => None,
        },
        (Kind::Flag, Value::String(text)) => match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Some(Value::Bool(true)),
            "false" | "0" | "no" | "off" => Some(Value::Bool(false)),
            _ => None,
        },
        (Kind::Text, Value::String(_)) => Some(value.clone()),
        (Kind::Text, Value::Number(_) | Value::Bool(_)) => Some(Value::String(as_text(value))),
        (Kind::Whole { least, most }, _) => {
            let n = whole(&number(value)?)?;
            let fits = *least <= n && n <= *most;
            let n = u64::try_from(n)
                .map(Number::from)
                .or_else(|_| i64::try_from(n).map(Number::from));
            n.ok().filter(|_| fits).map(Value::Number)
        }
        (Kind::Number, _) => number(value).filter(is_finite).map(Value::Number),
        (Kind::Words { words, truth }, _) => word(value, words, truth.as_deref()),
        (Kind::Time, Value::Mapping(map)) => time(map),
        (Kind::Time, _) => number(value).filter(is_finite).map(Value::Number),
        (Kind::List(item), Value::Sequence(items)) => items
            .iter()
            .map(|value| match (&**item, value) {
                (Kind::Map(keys), Value::Mapping(map)) => fields(map, keys),
                (item, value) => fitted(value, item),
            })
            .collect::<Option<_>>()
            .map(Value::Sequence),
        (Kind::List(item), Value::String(text)) if **item == Kind::Text => {
            Some(Value::Sequence(vec![Value::from(text.as_str())]))
        }
        (Kind::Texts, Value::Sequence(items)) => items
            .iter()
            .map(|item| fitted(item, &Kind::Text))
            .collect::<Option<_>>()
            .map(Value::Sequence),
        (Kind::Texts, _) => fitted(value, &Kind::Text),
        _ => None,
    }
}

/// A number, or a text that is one by itself, as variables of the environment are.
fn number(value: &Value) -> Option<Number> {
    match value {
        Value::Number(n) => Some(n.clone()),
        Value::String(text) => match yaml::plain(text.trim()) {
            Value::Number(n) => Some(n),
            _ => None,
        },
        _ => None,
    }
}

fn is_finite(n: &Number) -> bool {
    n.as_f64().is_some_and(f64::is_finite)
}

/// A number without a fraction.
fn whole(n: &Number) -> Option<i128> {
    if let Some(n) = n.as_i64() {
        return Some(n.into());
    }
    if let Some(n) = n.as_u64() {
        return Some(n.into());
    }
    let float = n.as_f64()?;
    (float.fract() == 0.0 && float.abs() <= EXACT).then_some(float as i128)
}

/// One of the words, in any case. YAML's booleans stand for the words that mean them.
fn word(value: &Value, words: &[Word], truth: Option<&str>) -> Option<Value> {
    let has = |word: &str| words.iter().any(|w| w.word == word);
    let found = match value {
        Value::Bool(flag) if has(&flag.to_string()) => Some(flag.to_string()),
        Value::Bool(true) => truth.map(String::from),
        Value::Bool(false) => ["off", "none"]
            .iter()
            .find(|w| has(w))
            .map(|w| w.to_string()),
        Value::String(text) if has(text) => Some(text.clone()),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            lower if has(lower) => Some(lower.into()),
            "false" => return word(&Value::Bool(false), words, truth),
            "true" => return word(&Value::Bool(true), words, truth),
            // The same thing under the name of a fork of DLIO.
            "adls_gen2" if has("azure") => Some("azure".into()),
            _ => None,
        },
        _ => None,
    };
    found.map(Value::String)
}

/// The parameters of a distribution.
fn time(map: &Mapping) -> Option<Value> {
    map.iter()
        .map(|(key, value)| {
            let value = match key.as_str() {
                Some("type") => value.clone(),
                _ if value.is_null() => Value::Null,
                _ => Value::Number(number(value).filter(is_finite)?),
            };
            Some((key.clone(), value))
        })
        .collect::<Option<Mapping>>()
        .map(Value::Mapping)
}

/// A map of known keys; unknown ones stay as they are.
fn fields(map: &Mapping, keys: &[(String, Kind)]) -> Option<Value> {
    map.iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(name, value)| {
            let kind = keys
                .iter()
                .find(|(key, _)| Some(key.as_str()) == name.as_str());
            match kind {
                Some((_, kind)) => Some((name.clone(), fitted(value, kind)?)),
                None => Some((name.clone(), value.clone())),
            }
        })
        .collect::<Option<Mapping>>()
        .map(Value::Mapping)
}

/// A value as a message shows it.
fn shown(value: &Value, path: &str) -> String {
    if is_secret(path) {
        return "another kind of value (not shown)".into();
    }
    match value {
        Value::Null => "nothing".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(_) => as_text(value),
        Value::String(text) if text.is_empty() => "an empty text".into(),
        Value::String(text) => {
            let short: String = text.escape_debug().take(SHOWN).collect();
            let dots = if short.len() < text.len() { "..." } else { "" };
            format!("'{short}{dots}'")
        }
        Value::Sequence(_) => "a list".into(),
        _ => "a map".into(),
    }
}

/// What is wrong with a value, and what is expected.
fn misfit(key: &Key, value: &Value, shown: &str) -> Wrong {
    let text = value.as_str().unwrap_or_default();
    if let Some(advice) = foreign::word_advice(&key.path, text) {
        return Wrong::new(format!("{text} is none of its words"), advice);
    }
    let what = format!("{} is expected, not {shown}", key.kind.expected());
    if let Kind::Words { words, .. } = &key.kind
        && let Some(near) = near(text, words.iter().map(|w| w.word.as_str()))
    {
        return Wrong::new(what, format!("{near} is probably meant"));
    }
    if let (Kind::Whole { least, most }, Some(n)) = (&key.kind, number(value)) {
        let n = n.as_f64().unwrap_or(f64::NAN);
        if n.fract() == 0.0 && n > 0.0 {
            let most = (*most).min(EXACT as i128);
            let what = format!("{shown} is more than the largest number that it takes, {most}");
            return Wrong::new(what, "lower it");
        }
        if n.fract() == 0.0 && n < *least as f64 {
            let what = format!("{shown} is less than the smallest number that it takes, {least}");
            return Wrong::new(what, "raise it, or leave the key out");
        }
    }
    let path = &key.path;
    Wrong::new(
        what,
        format!("write that, or leave the key out; `dlio-rs explain {path}` describes it"),
    )
}

/// The tree as a workload. What does not fit here is a distribution without its parameters.
pub(super) fn typed(tree: &Value, origins: &Origins) -> Result<Workload, ConfigError> {
    serde_path_to_error::deserialize(tree).map_err(|e| {
        let key = e.path().to_string();
        let what = if is_secret(&key) {
            "a text is expected".into()
        } else {
            e.inner().to_string()
        };
        let remedy = format!("write what it takes: `dlio-rs explain {key}` describes it");
        ConfigError::Type {
            place: place_of(origins, &key),
            key,
            wrong: Wrong::new(what, remedy),
        }
    })
}
