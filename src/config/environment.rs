//! Variables of the environment and of `.env` that stand in for keys.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::Workload;
use super::load::{LoadRequest, Origin};
use super::tree::{lookup, set};

/// Environment variables that stand in for keys which neither the command line nor the YAML sets.
const VARIABLES: [(&str, &str); 19] = [
    ("DLIO_OUTPUT_FOLDER", "output.folder"),
    ("DLIO_STORAGE_TYPE", "storage.storage_type"),
    ("DLIO_BUCKET", "storage.storage_root"),
    (
        "DLIO_STORAGE_LIBRARY",
        "storage.storage_options.storage_library",
    ),
    ("AWS_ACCESS_KEY_ID", "storage.storage_options.access_key_id"),
    (
        "AWS_SECRET_ACCESS_KEY",
        "storage.storage_options.secret_access_key",
    ),
    ("AWS_SESSION_TOKEN", "storage.storage_options.session_token"),
    // DLIO: a list of endpoints overrides the single one. The service's own variable wins over the general one.
    ("S3_ENDPOINT_URIS", "storage.storage_options.endpoint_url"),
    (
        "AWS_ENDPOINT_URL_S3",
        "storage.storage_options.endpoint_url",
    ),
    ("AWS_ENDPOINT_URL", "storage.storage_options.endpoint_url"),
    ("AWS_REGION", "storage.storage_options.region"),
    ("AWS_DEFAULT_REGION", "storage.storage_options.region"),
    ("AWS_PROFILE", "storage.storage_options.s3_profile"),
    ("AWS_CA_BUNDLE", "storage.storage_options.ca_bundle"),
    (
        "AZURE_STORAGE_ACCOUNT",
        "storage.storage_options.account_name",
    ),
    ("AZURE_STORAGE_KEY", "storage.storage_options.account_key"),
    (
        "AZURE_STORAGE_SAS_TOKEN",
        "storage.storage_options.sas_token",
    ),
    (
        "AZURE_STORAGE_CONNECTION_STRING",
        "storage.storage_options.connection_string",
    ),
    (
        "AZURE_BLOB_ENDPOINT",
        "storage.storage_options.blob_endpoint",
    ),
];

/// mlpstorage takes `s3://` and the like off the checkpoint folder, and says so in a variable.
pub(super) fn restore_checkpoint_scheme(workload: &mut Workload, env: &BTreeMap<String, String>) {
    let folder = &mut workload.checkpoint.checkpoint_folder;
    if let Some(scheme) = env.get("MLPSTORAGE_CHECKPOINT_URI_SCHEME")
        && !scheme.is_empty()
        && !folder.contains("://")
    {
        *folder = format!("{}://{folder}", scheme.trim_end_matches("://"));
    }
}

pub(super) fn take_environment(
    tree: &mut Value,
    request: &LoadRequest,
    origins: &mut BTreeMap<String, Origin>,
) {
    let dotenv = request
        .dotenv
        .as_deref()
        .map(parse_dotenv)
        .unwrap_or_default();
    for (variable, key) in VARIABLES {
        if lookup(tree, key).is_some_and(|value| !value.is_null()) {
            continue;
        }
        let (text, origin) = if let Some(text) = request.env.get(variable).filter(|t| !t.is_empty())
        {
            (text, Origin::Environment(variable.into()))
        } else if let Some(text) = dotenv.get(variable).filter(|t| !t.is_empty()) {
            (text, Origin::DotEnv(variable.into()))
        } else {
            continue;
        };
        set(tree, key, Value::String(text.clone()));
        origins.insert(key.into(), origin);
    }
}

/// `KEY=VALUE` lines, `#` comments, quotes around values.
fn parse_dotenv(text: &str) -> BTreeMap<String, String> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.strip_prefix("export ").unwrap_or(line).split_once('='))
        .map(|(key, value)| {
            (
                key.trim().into(),
                value.trim().trim_matches(['"', '\'']).into(),
            )
        })
        .collect()
}
