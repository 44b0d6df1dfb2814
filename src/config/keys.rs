//! The tree against the known keys: unknown ones are named, with what is probably meant.

use serde_yaml::Value;

use super::error::ConfigError;
use super::foreign;
use super::origin::{Origins, place_of};
use super::schema::{self, Key, Kind};
use super::source::{NEAR, best, likeness};
use super::tree::{as_text, join};

/// Most names that a hint offers.
const OFFERED: usize = 3;

/// Most unknown keys that are named: a file of something else has any number of them.
const NAMED: usize = 20;

/// Refuses keys that nobody knows, or warns of them where they are allowed.
pub(super) fn check_keys(
    tree: &Value,
    origins: &Origins,
    allow: bool,
    warnings: &mut Vec<String>,
) -> Result<(), ConfigError> {
    let mut unknown = Vec::new();
    find_unknown(tree, "", &mut unknown);
    let more = unknown.len().saturating_sub(NAMED);
    let mut messages: Vec<_> = unknown
        .into_iter()
        .take(NAMED)
        .map(|key| {
            let place = place_of(origins, &key);
            format!("{place}unknown key {key}{}", hint(&key))
        })
        .collect();
    if more > 0 {
        messages.push(format!("and {more} more unknown keys"));
    }
    if messages.is_empty() || allow {
        warnings.append(&mut messages);
        return Ok(());
    }
    Err(ConfigError::UnknownKeys(messages))
}

fn find_unknown(tree: &Value, path: &str, out: &mut Vec<String>) {
    for (key, value) in tree.as_mapping().into_iter().flatten() {
        let at = join(path, &as_text(key));
        match schema::key(&at).map(|key| &key.kind) {
            None => out.push(at),
            Some(Kind::Section) => find_unknown(value, &at, out),
            Some(Kind::List(item)) => find_unknown_in_maps(item, value, &at, out),
            Some(_) => {}
        }
    }
}

/// Keys of the maps in a list.
fn find_unknown_in_maps(item: &Kind, list: &Value, path: &str, out: &mut Vec<String>) {
    let Kind::Map(known) = item else { return };
    for (i, value) in list.as_sequence().into_iter().flatten().enumerate() {
        for (key, _) in value.as_mapping().into_iter().flatten() {
            let key = as_text(key);
            if !known.iter().any(|(name, _)| *name == key) {
                out.push(format!("{path}[{i}].{key}"));
            }
        }
    }
}

/// What is probably meant by an unknown key, as the end of a message; empty where nothing is near.
pub(super) fn hint(unknown: &str) -> String {
    if let Some(advice) = foreign::advice(unknown) {
        return format!(": {advice}");
    }
    let near = nearest(unknown);
    match near.as_slice() {
        [] => String::new(),
        names => format!("; {} is probably meant", names.join(" or ")),
    }
}

/// Known keys that an unknown one may mean: first those of the same last word, then the nearest of the same section, then
/// the nearest of all.
fn nearest(unknown: &str) -> Vec<String> {
    let (section, last) = unknown.rsplit_once('.').unwrap_or(("", unknown));
    let paths = |keys: Vec<&Key>| -> Vec<String> {
        keys.iter()
            .take(OFFERED)
            .map(|key| key.path.clone())
            .collect()
    };
    let same: Vec<_> = schema::keys()
        .iter()
        .filter(|key| key.name() == last)
        .collect();
    if !same.is_empty() {
        return paths(same);
    }
    let scored = |key: &'static Key| (alike(last, key.name()), key);
    let of_section = schema::keys().iter().filter(|key| key.section() == section);
    best(of_section.map(scored))
        .or_else(|| best(schema::keys().iter().map(scored)))
        .map(|key| paths(vec![key]))
        .unwrap_or_default()
}

/// How alike two names are; a name that is a whole part of the other is near.
fn alike(a: &str, b: &str) -> f64 {
    let is_part = |short: &str, long: &str| short.len() >= 4 && long.split('_').any(|p| p == short);
    let part = if is_part(a, b) || is_part(b, a) {
        NEAR
    } else {
        0.0
    };
    likeness(a, b).max(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_are_near_and_the_same_word_elsewhere_comes_first() {
        for (unknown, meant) in [
            ("train.batch_size", "reader.batch_size"),
            ("dataset.epochs", "train.epochs"),
            ("reader.batchsize", "reader.batch_size"),
            ("dataset.num_files_trian", "dataset.num_files_train"),
            ("trian", "train"),
            ("epoch", "train.epochs"),
            ("reader.threads", "reader.read_threads"),
            (
                "storage.endpoint_url",
                "storage.storage_options.endpoint_url",
            ),
            ("reader.fsync", "checkpoint.fsync"),
        ] {
            assert_eq!(
                hint(unknown),
                format!("; {meant} is probably meant"),
                "{unknown}"
            );
        }
        assert_eq!(
            hint("reader.compression"),
            "; dataset.compression or dataset.parquet.compression or checkpoint.compression is probably meant"
        );
        for unknown in [
            "default_list_x",
            "spf",
            "dataset.x",
            "foo.bar",
            "au_goal_of_run",
        ] {
            assert_eq!(hint(unknown), "", "{unknown}");
        }
        assert!(hint("pytorch_config").contains("dl-driver"));
        assert!(hint("storage.storage_options.anon").contains("without a signature"));
    }
}
