//! Values that are folders or addresses: none is empty, and `~` is the home folder.

use serde_yaml::Value;

use super::Workload;
use super::error::{ConfigError, Wrong};
use super::origin::{Origins, place_of};
use super::secret::holds_credentials;
use super::tree::lookup;

/// Keys that name a folder and cannot be left without one.
const FOLDERS: [&str; 2] = ["dataset.data_folder", "checkpoint.checkpoint_folder"];

/// Refuses folders that the user set to nothing, and addresses with credentials in them.
pub(super) fn refuse_none(tree: &Value, origins: &Origins) -> Result<(), ConfigError> {
    for key in FOLDERS {
        if lookup(tree, key)
            .and_then(Value::as_str)
            .is_some_and(holds_credentials)
        {
            return Err(ConfigError::Type {
                place: place_of(origins, key),
                key: key.into(),
                wrong: Wrong::new(
                    "the address holds credentials, which is why it is not shown",
                    "give the plain address here, and credentials in the environment or in storage.storage_options (access_key_id and secret_access_key, or sas_token)",
                ),
            });
        }
        let is_none = match lookup(tree, key) {
            Some(Value::Null) => "it has no value (YAML's ~ and null mean none)",
            Some(Value::String(text)) if text.trim().is_empty() => "it is empty",
            _ => continue,
        };
        return Err(ConfigError::Type {
            place: place_of(origins, key),
            key: key.into(),
            wrong: Wrong::new(
                is_none,
                "name a folder or an address, such as ./data, '~/data' or s3://bucket/data",
            ),
        });
    }
    Ok(())
}

/// Brings folders to one form.
///
/// Errors: a home folder that is not known.
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
    Ok(())
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
