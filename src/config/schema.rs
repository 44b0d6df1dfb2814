//! Every key, as its field says it: type, default and description, read once from the structs of the workload.
//!
//! The doc comment of a field is the key's entry. After its text come lines that begin with a name:
//!
//! | Line | What it says |
//! |---|---|
//! | `- Unit:` | unit of a number; every number has one |
//! | `- Most:` | largest value that makes sense, such as `100`, `1e9` or `2^60`; a negative one may be as far from 0 |
//! | `- DLIO:` | what DLIO makes of the key, where that differs |
//! | `- Effect:` | what it does here, where that is not what the text says; `none` for a key that is only accepted |
//! | `- Only:` | `KEY = WORD, WORD`: without effect unless that key, of words or a flag, has one of these; `storage` is the storage system in effect |

use std::sync::OnceLock;

use schemars::generate::SchemaSettings;
use serde_json::Value as Json;

use super::Workload;

/// Format of a schema whose values are times.
pub(super) const TIME: &str = "time";
/// Format of a schema whose values are not shown.
pub(super) const SECRET: &str = "password";
/// Attribute of a schema of words: the word that `true` stands for.
pub(super) const TRUE: &str = "x-true";

/// One word that a key takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Word {
    pub(super) word: String,
    pub(super) meaning: String,
}

/// What a value must be.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind {
    /// A map with keys of its own in the table.
    Section,
    Flag,
    Text,
    /// A whole number within bounds, both included.
    Whole {
        least: i128,
        most: i128,
    },
    Number,
    /// One of a few words; `truth` is the one that `true` stands for.
    Words {
        words: Vec<Word>,
        truth: Option<String>,
    },
    /// Seconds, or a map that names a distribution.
    Time,
    /// Several of the same.
    List(Box<Kind>),
    /// A map of these keys, within a list.
    Map(Vec<(String, Kind)>),
    /// One text or several.
    Texts,
}

impl Kind {
    /// What is expected, as a user would say it.
    pub(super) fn expected(&self) -> String {
        match self {
            Kind::Section => "a map of keys".into(),
            Kind::Flag => "true or false".into(),
            Kind::Text => "a text".into(),
            Kind::Whole { least: 0, .. } => "a whole number from 0".into(),
            Kind::Whole { .. } => "a whole number".into(),
            Kind::Number => "a number".into(),
            Kind::Words { words, .. } => {
                let words: Vec<_> = words.iter().map(|w| w.word.as_str()).collect();
                format!("one of {}", words.join(", "))
            }
            Kind::Time => "seconds, or a map such as {type: normal, mean: 0.3, stdev: 0.01}".into(),
            Kind::List(item) => match &**item {
                Kind::Whole { .. } => "a list of whole numbers, such as [4, 4]".into(),
                Kind::Map(keys) => {
                    let keys: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
                    format!("a list of maps with {}", keys.join(", "))
                }
                _ => "a list of texts, such as [a, b]".into(),
            },
            Kind::Map(keys) => {
                let keys: Vec<_> = keys.iter().map(|(key, _)| key.as_str()).collect();
                format!("a map with {}", keys.join(", "))
            }
            Kind::Texts => "a text, or a list of texts".into(),
        }
    }
}

/// `KEY = WORD, WORD` of a line `Only:`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Condition {
    pub(super) key: String,
    pub(super) words: Vec<String>,
}

/// One key.
#[derive(Debug, Clone)]
pub(super) struct Key {
    /// Dotted, without `workload.`.
    pub(super) path: String,
    pub(super) kind: Kind,
    /// Null where none is set.
    pub(super) default: Json,
    pub(super) meaning: String,
    pub(super) unit: Option<String>,
    /// More is refused: a number in the key's unit, or a power of 2.
    pub(super) most: Option<String>,
    pub(super) dlio: Option<String>,
    pub(super) effect: Option<String>,
    pub(super) only: Option<Condition>,
    /// Its value is not shown.
    pub(super) is_secret: bool,
}

impl Key {
    /// Last part of the path.
    pub(super) fn name(&self) -> &str {
        self.path.rsplit('.').next().unwrap_or(&self.path)
    }

    /// Path without the last part.
    pub(super) fn section(&self) -> &str {
        self.path
            .rsplit_once('.')
            .map_or("", |(section, _)| section)
    }

    /// The largest value that is not refused.
    pub(super) fn largest(&self) -> Option<f64> {
        let most = self.most.as_deref()?;
        let number = match most.strip_prefix("2^") {
            Some(exponent) => exponent.parse().map(f64::exp2),
            None => most.parse(),
        };
        Some(number.expect("a number, or a power of 2"))
    }

    /// The remark behind `Effect: none`, for a key that is only accepted.
    pub(super) fn without_effect(&self) -> Option<&str> {
        let rest = self.effect.as_deref()?.strip_prefix("none")?;
        Some(rest.trim_start_matches([';', '.']).trim())
    }
}

/// All keys, sections before their keys, in the order of the structs.
pub(super) fn keys() -> &'static [Key] {
    static KEYS: OnceLock<Vec<Key>> = OnceLock::new();
    KEYS.get_or_init(|| {
        let generator = SchemaSettings::draft2020_12()
            .with(|s| s.inline_subschemas = true)
            .into_generator();
        let schema = generator.into_root_schema_for::<Workload>();
        let mut keys = Vec::new();
        collect(schema.as_value(), "", &mut keys);
        keys
    })
}

pub(super) fn key(path: &str) -> Option<&'static Key> {
    keys().iter().find(|key| key.path == path)
}

fn collect(schema: &Json, path: &str, out: &mut Vec<Key>) {
    let Some(properties) = schema["properties"].as_object() else {
        return;
    };
    for (name, field) in properties {
        let at = super::tree::join(path, name);
        let (inner, kind) = kind_of(field);
        let description = field["description"]
            .as_str()
            .or_else(|| inner["description"].as_str())
            .unwrap_or_default();
        out.push(entry(&at, kind.clone(), field, inner, description));
        if kind == Kind::Section {
            collect(inner, &at, out);
        }
    }
}

fn entry(path: &str, kind: Kind, field: &Json, inner: &Json, description: &str) -> Key {
    let (mut meaning, mut lines) = (String::new(), Vec::new());
    for line in description.lines().map(str::trim) {
        match (line.strip_prefix("- "), lines.last_mut()) {
            (Some(line), _) => lines.push(line.to_string()),
            (None, Some(last)) => {
                last.push(' ');
                last.push_str(line);
            }
            (None, None) => {
                if !meaning.is_empty() && !line.is_empty() {
                    meaning.push(' ');
                }
                meaning.push_str(line);
            }
        }
    }
    let line = |name: &str| {
        lines
            .iter()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|text| text.trim().to_string())
    };
    let only = line("Only").and_then(|text| {
        let (key, words) = text.split_once('=')?;
        Some(Condition {
            key: key.trim().into(),
            words: words.split(',').map(|word| word.trim().into()).collect(),
        })
    });
    Key {
        path: path.into(),
        kind,
        default: field["default"].clone(),
        meaning,
        unit: line("Unit"),
        most: line("Most"),
        dlio: line("DLIO"),
        effect: line("Effect"),
        only,
        is_secret: inner["format"] == SECRET,
    }
}

/// The schema without its null, and what it describes.
fn kind_of(schema: &Json) -> (&Json, Kind) {
    if let Some(several) = schema["anyOf"].as_array()
        && let Some(inner) = several.iter().find(|s| s["type"] != "null")
    {
        return kind_of(inner);
    }
    let has = |name: &str| match &schema["type"] {
        Json::Array(several) => several.iter().any(|t| t == name),
        one => one == name,
    };
    let words = schema["oneOf"].as_array().map(|several| {
        several
            .iter()
            .map(|s| Word {
                word: s["const"].as_str().unwrap_or_default().into(),
                meaning: s["description"].as_str().unwrap_or_default().into(),
            })
            .collect()
    });
    let kind = if schema["format"] == TIME {
        Kind::Time
    } else if let Some(words) = words {
        let truth = schema[TRUE].as_str().map(String::from);
        Kind::Words { words, truth }
    } else if has("object") {
        Kind::Section
    } else if has("boolean") {
        Kind::Flag
    } else if has("integer") {
        let (least, most) = bounds(schema["format"].as_str().unwrap_or_default());
        Kind::Whole { least, most }
    } else if has("number") {
        Kind::Number
    } else if has("array") {
        match kind_of(&schema["items"]) {
            _ if has("string") => Kind::Texts,
            (item, Kind::Section) => {
                let fields = item["properties"].as_object().into_iter().flatten();
                let fields = fields.map(|(key, field)| (key.clone(), kind_of(field).1));
                Kind::List(Box::new(Kind::Map(fields.collect())))
            }
            (_, item) => Kind::List(Box::new(item)),
        }
    } else {
        Kind::Text
    };
    (schema, kind)
}

/// What an integer of this name holds.
fn bounds(format: &str) -> (i128, i128) {
    match format {
        "uint32" => (0, u32::MAX.into()),
        "int32" => (i32::MIN.into(), i32::MAX.into()),
        "int64" => (i64::MIN.into(), i64::MAX.into()),
        _ => (0, u64::MAX.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_those_of_the_fields() {
        let kind = |path: &str| key(path).unwrap_or_else(|| panic!("{path}")).kind.clone();
        assert_eq!(kind("dataset"), Kind::Section);
        assert_eq!(kind("checkpoint.ksm"), Kind::Section);
        assert_eq!(kind("workflow.debug"), Kind::Flag);
        assert_eq!(kind("model.type"), Kind::Text);
        assert_eq!(kind("dataset.record_length_bytes"), Kind::Number);
        assert_eq!(kind("train.computation_time"), Kind::Time);
        assert_eq!(kind("storage.storage_options.endpoint_url"), Kind::Texts);
        assert!(matches!(kind("dataset.format"), Kind::Words { words, .. } if words.len() == 12));
        assert!(matches!(kind("reader.data_loader"), Kind::Words { .. }));
        assert_eq!(
            kind("reader.read_threads"),
            Kind::Whole {
                least: 0,
                most: u64::MAX.into()
            }
        );
        assert!(
            matches!(kind("dataset.record_dims"), Kind::List(item) if matches!(*item, Kind::Whole { .. }))
        );
        assert!(
            matches!(kind("dataset.parquet.columns"), Kind::List(item) if matches!(&*item, Kind::Map(keys) if keys.len() == 4))
        );
        assert!(
            key("storage.storage_options.secret_access_key")
                .unwrap()
                .is_secret
        );
        assert!(
            key("storage.storage_options.access_key_id")
                .unwrap()
                .is_secret
        );
        assert!(!key("storage.storage_options.region").unwrap().is_secret);
    }

    /// The table has the fields that the defaults have, and no other.
    #[test]
    fn every_field_is_a_key() {
        fn walk(value: &Json, path: &str, out: &mut Vec<String>) {
            for (name, value) in value.as_object().into_iter().flatten() {
                let at = super::super::tree::join(path, name);
                out.push(at.clone());
                if key(&at).is_some_and(|key| key.kind == Kind::Section) {
                    walk(value, &at, out);
                }
            }
        }
        let mut fields = Vec::new();
        walk(
            &serde_json::to_value(Workload::default()).unwrap(),
            "",
            &mut fields,
        );
        let of_table: Vec<_> = keys()
            .iter()
            .filter(|key| !key.path.starts_with("checkpoint.ksm."))
            .map(|key| key.path.clone())
            .collect();
        assert_eq!(of_table, fields);
        assert!(keys().len() > 170, "{}", keys().len());
    }

    #[test]
    fn every_key_is_described() {
        let mut wrong = Vec::new();
        for key in keys() {
            let is_number = match &key.kind {
                Kind::Whole { .. } | Kind::Number | Kind::Time => true,
                Kind::List(item) => matches!(**item, Kind::Whole { .. } | Kind::Number),
                _ => false,
            };
            if key.meaning.len() < 3
                || (key.kind != Kind::Section && key.meaning.contains("dlio-rs:"))
            {
                wrong.push(format!("{}: no description", key.path));
            }
            if key.largest().is_some_and(|most| !is_number || most <= 0.0) {
                wrong.push(format!("{}: at most {:?}", key.path, key.most));
            }
            if is_number != key.unit.is_some() {
                wrong.push(format!(
                    "{}: {:?} as unit of a {:?}",
                    key.path, key.unit, key.kind
                ));
            }
            if let Kind::Words { words, .. } = &key.kind
                && words
                    .iter()
                    .any(|w| w.word.is_empty() || w.meaning.is_empty())
            {
                wrong.push(format!("{}: a word without meaning", key.path));
            }
            if let Some(only) = &key.only {
                let known = match only.key.as_str() {
                    "storage" => super::key("storage.storage_type"),
                    path => super::key(path),
                };
                let words: Vec<&str> = match known.map(|key| &key.kind) {
                    Some(Kind::Words { words, .. }) => {
                        words.iter().map(|w| w.word.as_str()).collect()
                    }
                    Some(Kind::Flag) => vec!["true", "false"],
                    _ => {
                        wrong.push(format!("{}: Only names {}", key.path, only.key));
                        continue;
                    }
                };
                for word in &only.words {
                    if !words.contains(&word.as_str()) {
                        wrong.push(format!("{}: Only says {word}", key.path));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
