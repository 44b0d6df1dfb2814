//! The entries of keys, for people: `dlio-rs explain` and docs/reference/keys.md.

use std::fmt::Write as _;

use serde_json::{Value as Json, json};

use super::environment::variables_of;
use super::keys::hint;
use super::schema::{self, Condition, Key, Kind};

/// How entries are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    Text,
    /// As docs/reference/keys.md.
    Markdown,
    Json,
}

/// The entry of `name`, and of what is below it where it is a section; of all keys where it is None. A last word alone stands
/// for every key of that name.
///
/// Errors: a sentence that says which key is probably meant.
pub fn explain(name: Option<&str>, format: Format) -> Result<String, String> {
    let all = schema::keys();
    let keys: Vec<&Key> = match name {
        None => all.iter().collect(),
        Some(name) => {
            let path = name.trim_end_matches('=');
            let path = path.strip_prefix("workload.").unwrap_or(path);
            let mut keys: Vec<_> = all.iter().filter(|key| key.path == path).collect();
            if keys.is_empty() {
                keys = all.iter().filter(|key| key.name() == path).collect();
            }
            if keys.is_empty() {
                return Err(format!(
                    "there is no key {path}{}\n  remedy: `dlio-rs explain` lists all keys",
                    hint(path)
                ));
            }
            keys
        }
    };
    Ok(match format {
        Format::Text if name.is_none() => list(&keys),
        Format::Text => keys
            .iter()
            .map(|key| text(key))
            .collect::<Vec<_>>()
            .join("\n"),
        Format::Markdown => markdown(&keys),
        Format::Json => {
            let keys: Vec<_> = keys.iter().map(|key| json_entry(key)).collect();
            let all = json!({"schema": "dlio-rs/keys/1", "keys": keys});
            format!("{all:#}\n")
        }
    })
}

/// One line per key.
fn list(keys: &[&Key]) -> String {
    let width = keys.iter().map(|key| key.path.len()).max().unwrap_or(0);
    let mut out = String::new();
    for key in keys {
        let _ = writeln!(
            out,
            "{:<width$}  {}",
            key.path,
            first_sentence(&key.meaning)
        );
    }
    out
}

fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}

/// A default as the YAML writes it.
fn default_of(key: &Key) -> String {
    match (&key.default, &key.kind) {
        (Json::Null, _) => "not set".into(),
        (Json::String(text), _) if text.is_empty() => "an empty text".into(),
        (Json::String(text), _) => text.clone(),
        (Json::Number(n), _) => match n.as_f64() {
            // Whole floats of counts in bytes.
            Some(f) if n.is_f64() && f.fract() == 0.0 => format!("{f}"),
            _ => n.to_string(),
        },
        (value, Kind::Time) => value["mean"]
            .as_f64()
            .map_or_else(|| value.to_string(), |m| m.to_string()),
        (value, _) => value.to_string(),
    }
}

/// Name and text of each line of an entry, without its words.
fn lines(key: &Key) -> Vec<(&'static str, String)> {
    let mut lines = Vec::new();
    let kind = match &key.kind {
        Kind::Words { .. } => "a word".into(),
        _ if key.is_secret => "a text that is never shown".into(),
        kind => kind.expected(),
    };
    lines.push(("type", kind));
    if key.kind != Kind::Section {
        lines.push(("default", default_of(key)));
    }
    if let Some(unit) = &key.unit {
        lines.push(("unit", unit.clone()));
    }
    if let Some(most) = &key.most {
        lines.push(("at most", most.clone()));
    }
    let variables = variables_of(&key.path);
    if !variables.is_empty() {
        lines.push(("environment", variables.join(", ")));
    }
    if key.kind != Kind::Section || key.dlio.is_some() {
        lines.push((
            "in DLIO",
            key.dlio.clone().unwrap_or_else(|| "the same.".into()),
        ));
    }
    let effect = key.effect.clone().or_else(|| {
        let Condition { key, words } = key.only.as_ref()?;
        let name = if key == "storage" {
            "the storage system"
        } else {
            key
        };
        Some(format!("where {name} is {}.", words.join(" or ")))
    });
    match effect {
        Some(effect) => lines.push(("effect", effect)),
        None if key.kind != Kind::Section => lines.push(("effect", "as described.".into())),
        None => {}
    }
    lines
}

fn text(key: &Key) -> String {
    let mut out = format!("{}\n  {}\n", key.path, key.meaning);
    for (name, line) in lines(key) {
        let _ = writeln!(out, "  {name:<12} {line}");
    }
    if let Kind::Words { words, .. } = &key.kind {
        let width = words.iter().map(|w| w.word.len()).max().unwrap_or(0);
        for w in words {
            let _ = writeln!(out, "    {:<width$}  {}", w.word, w.meaning);
        }
    }
    if key.kind == Kind::Section {
        let below: Vec<_> = schema::keys()
            .iter()
            .filter(|k| k.section() == key.path)
            .collect();
        let width = below.iter().map(|k| k.name().len()).max().unwrap_or(0);
        for k in below {
            let _ = writeln!(
                out,
                "    {:<width$}  {}",
                k.name(),
                first_sentence(&k.meaning)
            );
        }
    }
    out
}

/// docs/reference/keys.md.
fn markdown(keys: &[&Key]) -> String {
    let mut out = String::from(
        "# Keys\n\nEvery key of a workload, in the order of the YAML. Made by `dlio-rs explain --all --format markdown`; do not edit.\n\nOn the command line a key is written `section.key=value`. `in DLIO` says what DLIO makes of a key; `effect` says what it does\nhere.\n",
    );
    for key in keys {
        let level = if key.kind == Kind::Section {
            "##"
        } else {
            "###"
        };
        let _ = write!(out, "\n{level} {}\n\n{}\n\n", key.path, key.meaning);
        for (name, line) in lines(key) {
            if key.kind == Kind::Section && name == "type" {
                continue;
            }
            let _ = writeln!(out, "- {name}: {}", line.trim_end_matches('.'));
        }
        if let Kind::Words { words, .. } = &key.kind {
            for w in words {
                let _ = writeln!(out, "  - `{}`: {}", w.word, w.meaning.trim_end_matches('.'));
            }
        }
    }
    // A section without lines leaves its blank ones.
    let mut tidy = String::with_capacity(out.len());
    for line in out.lines() {
        if !(line.is_empty() && tidy.ends_with("\n\n")) {
            tidy.push_str(line);
            tidy.push('\n');
        }
    }
    tidy
}

fn json_entry(key: &Key) -> Json {
    let words = match &key.kind {
        Kind::Words { words, .. } => words
            .iter()
            .map(|w| json!({"word": w.word, "meaning": w.meaning}))
            .collect(),
        _ => Vec::new(),
    };
    json!({
        "key": key.path,
        "meaning": key.meaning,
        "type": key.kind.expected(),
        "words": words,
        "default": key.default,
        "unit": key.unit,
        "most": key.largest(),
        "environment": variables_of(&key.path),
        "dlio": key.dlio.as_deref().unwrap_or("the same."),
        "effect": key.effect,
        "only": key.only.as_ref().map(|c| json!({"key": c.key, "words": c.words})),
    })
}
