//! Values that are folders or addresses: none is empty, `~` is the home folder, and `gs://` is S3 at Google's endpoint.

use serde_yaml::Value;

use super::Workload;
use super::error::ConfigError;
use super::origin::{Origins, place_of};
use super::tree::lookup;

/// Google Cloud Storage by S3's protocol.
const GOOGLE: &str = "https://storage.googleapis.com";

/// Keys that name a folder and cannot be left without one.
const FOLDERS: [&str; 2] = ["dataset.data_folder", "checkpoint.checkpoint_folder"];

/// Refuses folders that the user set to nothing.
pub(super) fn refuse_none(tree: &Value, origins: &Origins) -> Result<(), ConfigError> {
    for key in FOLDERS {
        let is_none = match lookup(tree, key) {
            Some(Value::Null) => "it has no value (YAML's ~ and null mean none)",
            Some(Value::String(text)) if text.trim().is_empty() => "it is empty",
            _ => continue,
        };
        return Err(ConfigError::Type {
            place: place_of(origins, key),
            key: key.into(),
            what: format!(
                "{is_none}\n  remedy: name a folder or an address, such as ./data, '~/data' or s3://bucket/data"
            ),
        });
    }
    Ok(())
}

/// Brings folders to one form.
///
/// Errors: a home folder that is not known; `gs://` beside addresses of another service.
pub(super) fn normalise(w: &mut Workload, home: Option<&String>) -> Result<(), ConfigError> {
    let folders = [
        ("dataset.data_folder", &mut w.dataset.data_folder),
        (
            "checkpoint.checkpoint_folder",
            &mut w.checkpoint.checkpoint_folder,
        ),
        ("storage.storage_root", &mut w.storage.storage_root),
    ];
    for (key, folder) in folders {
        at_home(key, folder, home)?;
    }
    if let Some(folder) = &mut w.output.folder {
        at_home("output.folder", folder, home)?;
    }
    let folder = &mut w.dataset.data_folder;
    while folder.len() > 1 && folder.ends_with('/') && !folder.ends_with("://") {
        folder.pop();
    }
    google(w)
}

fn at_home(key: &str, folder: &mut String, home: Option<&String>) -> Result<(), ConfigError> {
    let Some(rest) = folder.strip_prefix('~') else {
        return Ok(());
    };
    let home = home.filter(|home| !home.is_empty() && (rest.is_empty() || rest.starts_with('/')));
    let Some(home) = home else {
        return Err(ConfigError::rule(
            key,
            format!("{folder}: the home folder is not known"),
            format!("write the whole path, or ./{folder} for a folder of that name"),
        ));
    };
    *folder = format!("{}{rest}", home.trim_end_matches('/'));
    Ok(())
}

/// `gs://bucket/prefix` becomes `s3://bucket/prefix` at Google's endpoint, unless another one is set.
fn google(w: &mut Workload) -> Result<(), ConfigError> {
    let options = &mut w.storage.storage_options;
    let by_scheme = w.storage.storage_type.schemes.contains(&"s3")
        && options.uri_scheme.as_deref() == Some("gs");
    let mut folders = [
        &mut w.dataset.data_folder,
        &mut w.checkpoint.checkpoint_folder,
    ];
    let is_gs = |folder: &str| folder.starts_with("gs://");
    if !by_scheme && !folders.iter().any(|folder| is_gs(folder)) {
        return Ok(());
    }
    if options.endpoint_url.0.is_empty() {
        if let Some(other) = folders.iter().find(|folder| folder.starts_with("s3://")) {
            return Err(ConfigError::rule(
                "storage.storage_options.endpoint_url",
                format!("gs:// is at {GOOGLE}, and {other} beside it is elsewhere"),
                "keep data and checkpoints at one service, or set the endpoint of both",
            ));
        }
        options.endpoint_url.0.push(GOOGLE.into());
    }
    for folder in &mut folders {
        if let Some(rest) = folder.strip_prefix("gs://") {
            **folder = format!("s3://{rest}");
        }
    }
    Ok(())
}
