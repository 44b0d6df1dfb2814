//! The composed YAML as a tree: dotted keys, interpolation, and what must not be shown.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::error::ConfigError;
use super::overrides::{self, Change, Override};
use super::yaml;

pub(super) const SECRET_KEYS: [&str; 6] = [
    "secret_access_key",
    "session_token",
    "account_key",
    "sas_token",
    "connection_string",
    "proxy",
];

/// A word as it may be shown: a credential is starred, and so is a map that may hold one.
pub fn redact_word(word: &str) -> String {
    let Some((key, value)) = word.split_once('=') else {
        return word.to_string();
    };
    let is_secret = SECRET_KEYS
        .iter()
        .any(|secret| key.ends_with(secret) || value.contains(secret));
    if is_secret {
        format!("{key}=***")
    } else {
        word.to_string()
    }
}

pub(super) fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => serde_yaml::to_string(other)
            .unwrap_or_default()
            .trim()
            .to_string(),
    }
}

pub(super) fn redact(value: &mut Value) {
    match value {
        Value::Mapping(map) => {
            for (key, value) in map.iter_mut() {
                if key.as_str().is_some_and(|key| SECRET_KEYS.contains(&key)) {
                    *value = Value::String("***".into());
                } else {
                    redact(value);
                }
            }
        }
        Value::Sequence(items) => items.iter_mut().for_each(redact),
        _ => {}
    }
}

pub(super) fn lookup<'v>(tree: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(tree, |node, part| node.get(part))
}

pub(super) fn set(tree: &mut Value, path: &str, value: Value) {
    let change = Override {
        path: path.into(),
        change: Change::Set(value),
    };
    // Setting never fails; only adding and deleting do.
    let _ = overrides::apply(tree, &change);
}

pub(super) fn take(tree: &mut Value, path: &str) -> Option<Value> {
    let (folder, key) = path
        .rsplit_once('.')
        .map_or((None, path), |(f, k)| (Some(f), k));
    let node = match folder {
        Some(folder) => folder
            .split('.')
            .try_fold(tree, |node, part| node.get_mut(part))?,
        None => tree,
    };
    node.as_mapping_mut()?.shift_remove(key)
}

/// Replaces `${a.b}` by that key's value and `${oc.env:X}` by a variable.
pub(super) fn interpolate(
    tree: &mut Value,
    env: &BTreeMap<String, String>,
) -> Result<(), ConfigError> {
    let root = tree.clone();
    let resolve = |name: &str| -> Option<Value> {
        if let Some(variable) = name.strip_prefix("oc.env:") {
            let (variable, default) = variable
                .split_once(',')
                .map_or((variable, None), |(v, d)| (v, Some(d)));
            return env
                .get(variable.trim())
                .map(String::as_str)
                .or(default)
                .map(|text| yaml::plain(text.trim()));
        }
        lookup(&root, name.strip_prefix("workload.").unwrap_or(name)).cloned()
    };
    walk_text(tree, &mut |text| {
        let mut out = text.to_string();
        // Two levels of references are enough for any workload; more would be a loop.
        for _ in 0..8 {
            let Some(start) = out.find("${") else { break };
            let Some(end) = out[start..].find('}').map(|e| start + e) else {
                break;
            };
            let name = out[start + 2..end].to_string();
            let value = resolve(&name).ok_or_else(|| ConfigError::Word {
                word: out.clone(),
                what: format!("${{{name}}} names no key and no variable that is set"),
            })?;
            if start == 0 && end + 1 == out.len() {
                return Ok(value);
            }
            out.replace_range(start..=end, &as_text(&value));
        }
        Ok(Value::String(out))
    })
}

fn walk_text(
    value: &mut Value,
    change: &mut dyn FnMut(&str) -> Result<Value, ConfigError>,
) -> Result<(), ConfigError> {
    match value {
        Value::String(text) if text.contains("${") => *value = change(text)?,
        Value::Sequence(items) => items
            .iter_mut()
            .try_for_each(|item| walk_text(item, change))?,
        Value::Mapping(map) => map
            .iter_mut()
            .try_for_each(|(_, item)| walk_text(item, change))?,
        _ => {}
    }
    Ok(())
}
