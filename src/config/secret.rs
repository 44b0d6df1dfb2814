//! What must not be shown: credentials, by their key, known or misspelt.
//!
//! Inside `storage_options` everything is starred but the values of known keys that are no credentials. Elsewhere a key is
//! starred when its name looks like that of a credential and is no known key.

use serde_yaml::Value;

use super::overrides::{self, Change};
use super::schema;
use super::tree::{as_text, join};

/// What stands in place of a credential.
const STARS: &str = "***";

/// The map whose values are starred unless they are known to be harmless.
const OPTIONS: &str = "storage_options";

/// Parts of names of credentials.
const NAMES: [&str; 8] = [
    "secret",
    "token",
    "passw",
    "credential",
    "access_key",
    "account_key",
    "api_key",
    "connection_string",
];

/// True for a dotted key whose value must not be shown.
pub(super) fn is_secret(path: &str) -> bool {
    let path = path.strip_prefix("workload.").unwrap_or(path);
    match schema::key(path) {
        // What stands in place of a map may be anything.
        Some(key) if key.kind == schema::Kind::Section => return key.name() == OPTIONS,
        Some(key) => return key.is_secret,
        None => {}
    }
    // Items of lists and keys below a known harmless key are as harmless.
    let parent = path
        .rsplit_once(['.', '['])
        .map(|(parent, _)| parent)
        .unwrap_or_default();
    if let Some(key) = schema::key(parent)
        && key.kind != schema::Kind::Section
    {
        return key.is_secret;
    }
    let lower = path.to_ascii_lowercase();
    lower.contains(OPTIONS) || NAMES.iter().any(|name| lower.contains(name))
}

/// True for an address that has a name and a password, or a signature in its query.
pub(super) fn holds_credentials(text: &str) -> bool {
    let Some((_, rest)) = text.split_once("://") else {
        return false;
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let signs = |key: &str| {
        let key = key.to_ascii_lowercase();
        key == "sig" || key.starts_with("x-amz-") || NAMES.iter().any(|name| key.contains(name))
    };
    let mut keys = query.split('&').filter_map(|pair| pair.split_once('='));
    // A name alone is none: abfs://CONTAINER@ACCOUNT. A password may hold slashes, a name may not.
    let login = place
        .rsplit_once('@')
        .and_then(|(login, _)| login.split_once(':'));
    let is_login = login.is_some_and(|(name, _)| !name.contains('/'));
    is_login || keys.any(|(key, _)| signs(key))
}

/// Stars the credentials below `path`.
pub(super) fn redact(value: &mut Value, path: &str) {
    match value {
        Value::Mapping(map) => {
            for (key, value) in map.iter_mut() {
                redact(value, &join(path, &as_text(key)));
            }
        }
        Value::Sequence(items) => {
            for (i, item) in items.iter_mut().enumerate() {
                redact(item, &format!("{path}[{i}]"));
            }
        }
        Value::Null => {}
        other => {
            if is_secret(path) || other.as_str().is_some_and(holds_credentials) {
                *other = Value::from(STARS);
            }
        }
    }
}

/// A word of the command line as it may be shown: a credential is starred, and so is a map that holds one.
pub fn redact_word(word: &str) -> String {
    let looks_secret =
        |text: &str| text.contains(OPTIONS) || NAMES.iter().any(|name| text.contains(name));
    let Some((key, text)) = word.split_once('=') else {
        // Meant as KEY=VALUE, perhaps.
        return match word.split_once([':', ' ']) {
            Some((key, _)) if looks_secret(word) => format!("{key}{STARS}"),
            _ => word.to_string(),
        };
    };
    let starred = format!("{key}={STARS}");
    let Ok(change) = overrides::parse(word) else {
        // Not even its key is certain.
        return if is_secret(key.trim_start_matches(['+', '~'])) || looks_secret(text) {
            starred
        } else {
            word.to_string()
        };
    };
    let value = match &change.change {
        Change::Set(value) | Change::Add(value) => value.clone(),
        Change::Delete => Value::from(text),
    };
    let mut shown = value.clone();
    redact(&mut shown, &change.path);
    if shown == value {
        word.to_string()
    } else {
        starred
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_with_credentials_are_starred_however_they_are_spelt() {
        for word in [
            "storage.storage_options.secret_access_key=SEKRET",
            "++workload.storage.storage_options.access_key_id=SEKRET",
            "+storage.storage_options.secret_acces_key=SEKRET",
            "storage.storage_options.sekret=SEKRET",
            "storage.storage_options.nested.thing=SEKRET",
            "storage.storage_optoins.secret_access_key=SEKRET",
            "storage={storage_options: {accesskey: SEKRET}}",
            "storage.storage_options={secret_access_key: SEKRET}",
            "storage.storage_options.secret_access_key='SEKRET",
            "~storage.storage_options.sas_token=SEKRET",
            "sas_token=SEKRET",
            "storage.storage_options=[SEKRET]",
            "storage.storage_options=SEKRET",
            "dataset.data_folder=s3://AK:SEKRET@b/x",
            "dataset.data_folder=s3://AK:SEK/RET/SEKRET@b/x",
            "dataset.data_folder=az://a/b/c?sv=1&sig=SEKRET",
            "checkpoint.checkpoint_folder='az://a/b?sv=1&sig=SEKRET'",
            "+dataset.extra=https://h/b?X-Amz-Signature=SEKRET",
            "storage.storage_options.secret_access_key:SEKRET",
            "storage.storage_options.secret_access_key SEKRET",
            "{secret_access_key: SEKRET}",
        ] {
            let shown = redact_word(word);
            assert!(
                !shown.contains("SEKRET") && shown.ends_with("***"),
                "{shown}"
            );
        }
        for word in [
            "storage.storage_options.endpoint_url=http://h:1",
            "storage.storage_options.endpoint_url=[http://h:1,http://h:2]",
            "storage.storage_options.region=eu",
            "storage.storage_root=b",
            "dataset.data_folder=s3://b/what?is=this",
            "dataset.data_folder=s3://b/at:noon@home",
            "dataset.data_folder=abfs://container@account.dfs.core.windows.net/x",
            "train.epochs=2",
            "workload=x",
            "configs/token_ring.yaml",
            "dataset.parquet.columns=[{name: a, dtype: uint8}]",
        ] {
            assert_eq!(redact_word(word), word);
        }
    }
}
