//! Variables of the environment and of `.env` that stand in for keys.

use std::collections::BTreeMap;

use serde_yaml::Value;

use super::Workload;
use super::dotenv;
use super::error::ConfigError;
use super::origin::{Origin, Origins};
use super::tree::{lookup, set};

/// Environment variables that stand in for keys which neither the command line nor the YAML sets.
const VARIABLES: [(&str, &str); 30] = [
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
    ("AZURE_TENANT_ID", "storage.storage_options.tenant_id"),
    ("AZURE_CLIENT_ID", "storage.storage_options.client_id"),
    (
        "AZURE_CLIENT_SECRET",
        "storage.storage_options.client_secret",
    ),
    (
        "AZURE_FEDERATED_TOKEN_FILE",
        "storage.storage_options.federated_token_file",
    ),
    (
        "AZURE_BLOB_ENDPOINT",
        "storage.storage_options.blob_endpoint",
    ),
    (
        "AZURE_AUTHORITY_HOST",
        "storage.storage_options.authority_host",
    ),
    // As curl does, the small letters first.
    ("https_proxy", "storage.storage_options.https_proxy"),
    ("HTTPS_PROXY", "storage.storage_options.https_proxy"),
    ("http_proxy", "storage.storage_options.http_proxy"),
    ("HTTP_PROXY", "storage.storage_options.http_proxy"),
    ("no_proxy", "storage.storage_options.no_proxy"),
    ("NO_PROXY", "storage.storage_options.no_proxy"),
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

/// Fills keys that nobody set. Every variable of the environment precedes every line of `.env`.
///
/// Errors: `.env` cannot be parsed.
pub(super) fn take_environment(
    tree: &mut Value,
    env: &BTreeMap<String, String>,
    dotenv: Option<&[u8]>,
    origins: &mut Origins,
) -> Result<(), ConfigError> {
    let dotenv = parse_dotenv(dotenv.unwrap_or_default(), env)?;
    fill(tree, origins, env, Origin::Environment);
    fill(tree, origins, &dotenv, Origin::DotEnv);
    Ok(())
}

/// The HMAC keys of Google Cloud Storage, by the names that boto and others read.
const OF_GOOGLE: [(&str, &str); 4] = [
    ("GS_ACCESS_KEY_ID", "storage.storage_options.access_key_id"),
    ("GCS_ACCESS_KEY_ID", "storage.storage_options.access_key_id"),
    (
        "GS_SECRET_ACCESS_KEY",
        "storage.storage_options.secret_access_key",
    ),
    (
        "GCS_SECRET_ACCESS_KEY",
        "storage.storage_options.secret_access_key",
    ),
];

/// The key that a variable stands in for.
pub(super) fn key_of(variable: &str) -> Option<&'static str> {
    let mut all = VARIABLES.iter().chain(&OF_GOOGLE);
    all.find(|(name, _)| *name == variable).map(|(_, key)| *key)
}

/// True when the dataset lies at Google's.
fn is_at_google(tree: &Value) -> bool {
    let text = |key| {
        lookup(tree, key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    text("dataset.data_folder").starts_with("gs://")
        || text("storage.storage_type") == "gcs"
        || text("storage.storage_options.uri_scheme") == "gs"
}

/// Sets keys that have no value yet.
fn fill(
    tree: &mut Value,
    origins: &mut Origins,
    variables: &BTreeMap<String, String>,
    origin: fn(String) -> Origin,
) {
    let of_google: &[_] = if is_at_google(tree) { &OF_GOOGLE } else { &[] };
    let has_google = of_google
        .iter()
        .any(|(name, _)| variables.get(*name).is_some_and(|text| !text.is_empty()));
    // Amazon's token and profile do not belong to Google's keys.
    let is_meant = |name: &str| {
        !has_google
            || !matches!(
                name,
                "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" | "AWS_SESSION_TOKEN" | "AWS_PROFILE"
            )
    };
    for &(variable, key) in of_google.iter().chain(&VARIABLES) {
        if !is_meant(variable) || lookup(tree, key).is_some_and(|value| !value.is_null()) {
            continue;
        }
        let Some(text) = variables.get(variable).filter(|text| !text.is_empty()) else {
            continue;
        };
        set(tree, key, Value::String(text.clone()));
        origins.insert(key.into(), origin(variable.into()));
    }
}

/// Variables that stand in for a key.
pub(super) fn variables_of(key: &str) -> Vec<&'static str> {
    VARIABLES
        .iter()
        .filter(|(_, k)| *k == key)
        .map(|(variable, _)| *variable)
        .collect()
}

/// Variables that a job obeys beside keys: read by rank 0 alone, so that no rank differs.
const OF_JOBS: [&str; 3] = [
    "DLIO_LOG_LEVEL",
    "DLIO_DROP_CACHES_TIMEOUT",
    "DLIO_MAX_AUTO_THREADS",
];

pub(super) fn job_variables(env: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    OF_JOBS
        .iter()
        .filter_map(|name| Some((name.to_string(), env.get(*name)?.clone())))
        .collect()
}

/// Lines of a `.env` file.
///
/// Errors: a line that is no assignment, by its number: what it holds may be a secret.
fn parse_dotenv(
    bytes: &[u8],
    env: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, String>, ConfigError> {
    let failed = |line: usize, what: &str| ConfigError::Unreadable {
        path: format!(".env, line {line}"),
        cause: what.into(),
        remedy: "write KEY=VALUE, with quotes around a value that has # or line ends in it".into(),
    };
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let before = &bytes[..e.valid_up_to()];
        let line = before.iter().filter(|&&b| b == b'\n').count() + 1;
        failed(line, "it is no UTF-8 text")
    })?;
    dotenv::parse(text, env).map_err(|line| failed(line, "it is no assignment"))
}
