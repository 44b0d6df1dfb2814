//! The composed YAML as a tree: dotted keys, and walking it.

use serde_yaml::{Mapping, Value};

use super::overrides::{self, Change, Override};

/// `path.key`, or `key` at the root.
pub(super) fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_string()
    } else {
        format!("{path}.{key}")
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

/// Puts `top` over `base` as OmegaConf merges: maps key by key, anything else as a whole.
pub(super) fn merge(base: &mut Value, top: Value) {
    match (base, top) {
        (Value::Mapping(base), Value::Mapping(top)) => {
            for (key, value) in top {
                match base.get_mut(&key) {
                    Some(old) => merge(old, value),
                    None => {
                        base.insert(key, value);
                    }
                }
            }
        }
        (base, top) => *base = top,
    }
}

/// `value` as what stands at `path` of an otherwise empty tree.
pub(super) fn nested(path: &str, value: Value) -> Value {
    path.rsplit('.')
        .filter(|part| !part.is_empty())
        .fold(value, |inner, part| {
            Value::Mapping(Mapping::from_iter([(Value::from(part), inner)]))
        })
}

/// Calls `leaf` with the path of every value that is no map and no list; items of lists are `path[0]`.
///
/// Errors: the first of `leaf`.
pub(super) fn walk<E>(
    value: &Value,
    path: &str,
    leaf: &mut dyn FnMut(&str, &Value) -> Result<(), E>,
) -> Result<(), E> {
    match value {
        Value::Mapping(map) => map
            .iter()
            .try_for_each(|(key, value)| walk(value, &join(path, &as_text(key)), leaf)),
        Value::Sequence(items) => items
            .iter()
            .enumerate()
            .try_for_each(|(i, item)| walk(item, &format!("{path}[{i}]"), leaf)),
        other => leaf(path, other),
    }
}
