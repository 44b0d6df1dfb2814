//! Where data lies: a folder of a file system, or a prefix of a bucket or container.
//!
//! DLIO's own form (`storage_type: s3`, `storage_root: bucket`, `data_folder: prefix`) and URIs mean the same.
//! Source: DLIO (MLCommons fork) `storage/obj_store_lib.py` for how root and folder are joined.

use std::path::{Path, PathBuf};

use super::{ConfigError, StorageSection};
use crate::storage::{SYSTEMS, System};

/// Where a folder of a workload is.
#[derive(Debug, Clone, PartialEq)]
pub struct Address {
    pub system: &'static System,
    /// What every other module passes to the storage system: a local path, or a URI.
    pub path: PathBuf,
}

fn forms() -> String {
    let forms: Vec<_> = SYSTEMS
        .iter()
        .filter(|system| !system.form.is_empty())
        .map(|system| system.form)
        .collect();
    format!(
        "{}, or storage.storage_type=s3 with storage.storage_root=bucket and a prefix as folder",
        forms.join(", ")
    )
}

impl Address {
    /// The folder that `folder` (the value of `key`) means under a storage section.
    ///
    /// Errors: a doubled or unknown scheme, a missing or impossible bucket, a local path under an object store, and
    /// a scheme that contradicts `storage.storage_type`.
    pub fn resolve(
        storage: &StorageSection,
        key: &str,
        folder: &str,
    ) -> Result<Address, ConfigError> {
        match folder.split_once("://") {
            Some((scheme, rest)) => of_uri(storage, scheme, rest),
            None => of_section(storage, key, folder)?,
        }
        .map_err(|what| {
            ConfigError::rule(
                key,
                format!("{folder}: {what}"),
                format!("write {}", forms()),
            )
        })
    }
}

fn of_uri(storage: &StorageSection, scheme: &str, rest: &str) -> Result<Address, String> {
    if rest.contains("://") {
        let last = rest.rsplit("://").next().unwrap_or(rest);
        return Err(format!(
            "the scheme is doubled; {scheme}://{last} is probably meant"
        ));
    }
    if matches!(scheme, "http" | "https") {
        return Err(format!(
            "an endpoint is no address of data; {scheme}://… goes to storage.storage_options.endpoint_url"
        ));
    }
    if scheme == "msc" {
        return Err("profiles of the Multi-Storage Client are not read; the address of the store itself is meant".into());
    }
    // The same containers, by the name of their file system.
    let of_file_system = matches!(scheme, "abfs" | "abfss");
    let rest = &match of_file_system {
        true => abfs_of(rest)?,
        false => rest.to_owned(),
    };
    let scheme = if of_file_system { "az" } else { scheme };
    let Some(system) = System::of_scheme(scheme) else {
        return Err(format!("{scheme}:// is no scheme known here"));
    };
    let path = system.path(rest, None)?;
    // What is not on object stores reads no files at all, or reads local ones as it pleases.
    let named = named(storage);
    let is_named = system == named || system == storage.storage_type || named.is_default();
    if !is_named && (system.objects || named.objects) {
        return Err(format!(
            "it contradicts storage.storage_type={}",
            storage.storage_type
        ));
    }
    Ok(Address { system, path })
}

/// `container@account.dfs.core.windows.net/prefix` as `account/container/prefix`.
fn abfs_of(rest: &str) -> Result<String, String> {
    let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    let parts = authority.split_once('@').and_then(|(container, host)| {
        let (account, _) = host.split_once('.')?;
        Some((container, account))
    });
    let (container, account) = parts.ok_or(
        "abfs://container@account.dfs.core.windows.net/prefix is expected, or az://account/container/prefix",
    )?;
    Ok(format!("{account}/{container}/{prefix}"))
}

/// The system that the section names: under `s3` the fork's `uri_scheme` may mean another object store.
fn named(storage: &StorageSection) -> &'static System {
    let scheme = storage.storage_options.uri_scheme.as_deref();
    match scheme.and_then(System::of_scheme) {
        Some(other) if other.objects && storage.storage_type.objects => other,
        _ => storage.storage_type,
    }
}

/// DLIO's form. The outer error is the root's, the inner one the folder's.
fn of_section(
    storage: &StorageSection,
    key: &str,
    folder: &str,
) -> Result<Result<Address, String>, ConfigError> {
    let system = named(storage);
    let at_root = |what: String, remedy: String| {
        ConfigError::rule(
            "storage.storage_root",
            format!("{}: {what}", storage.storage_root),
            remedy,
        )
    };
    if !system.objects {
        // An absolute folder wins.
        let joined = Path::new(&storage.storage_root).join(folder);
        let path = crate::storage::plain_path(&joined);
        return Ok(Ok(Address { system, path }));
    }
    if folder.starts_with('/') {
        return Ok(Err(format!(
            "a local path, but storage.storage_type={} keeps no local files; {} is probably meant",
            storage.storage_type,
            folder.trim_start_matches('/')
        )));
    }
    let root = storage.storage_root.trim_end_matches('/');
    let bare = match root.split_once("://") {
        Some((scheme, rest)) if System::of_scheme(scheme).is_some_and(|s| s.objects) => rest,
        _ => root,
    };
    if bare.contains("://") {
        return Err(at_root(
            "the scheme is doubled".into(),
            "write the bucket's name alone, such as storage.storage_root=my-bucket".into(),
        ));
    }
    if bare.is_empty() || bare.starts_with(['.', '/']) {
        return Err(at_root(
            format!(
                "no bucket, but storage.storage_type={} needs one",
                storage.storage_type
            ),
            format!(
                "set storage.storage_root to the bucket, or write {key} as a URI: {}",
                forms()
            ),
        ));
    }
    let account = storage.storage_options.account_name.as_deref();
    let prefix = crate::storage::plain_prefix(folder);
    let path = system
        .path(&format!("{bare}/{prefix}"), account)
        .map_err(|what| at_root(what, format!("write {}", forms())))?;
    Ok(Ok(Address { system, path }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(kind: &str, root: &str) -> StorageSection {
        StorageSection {
            storage_type: System::of_word(kind).unwrap(),
            storage_root: root.into(),
            ..StorageSection::default()
        }
    }

    fn path(storage: &StorageSection, folder: &str) -> String {
        Address::resolve(storage, "dataset.data_folder", folder)
            .unwrap()
            .path
            .display()
            .to_string()
    }

    #[test]
    fn dlio_form_and_uri_name_the_same_place() {
        let dlio = section("s3", "bucket");
        let local = section("local_fs", "./");
        assert_eq!(path(&dlio, "./data/unet3d/"), "s3://bucket/data/unet3d");
        assert_eq!(path(&dlio, "s3://other/data"), "s3://other/data");
        assert_eq!(
            path(&local, "s3://bucket//data//./unet3d/"),
            "s3://bucket//data//./unet3d"
        );
        assert_eq!(path(&local, "s3://bucket"), "s3://bucket");
        assert_eq!(
            path(&section("s3", "s3://bucket/a"), "b"),
            "s3://bucket/a/b"
        );
        assert_eq!(path(&local, "az://acc/cont/data"), "az://acc/cont/data");
        assert_eq!(
            path(&local, "abfss://cont@acc.dfs.core.windows.net/data/"),
            "az://acc/cont/data"
        );
        assert_eq!(
            path(&section("azure", "acc/cont"), "data"),
            "az://acc/cont/data"
        );
        let mut named = section("azure", "cont");
        named.storage_options.account_name = Some("acc".into());
        assert_eq!(path(&named, "data"), "az://acc/cont/data");
        let mut fork = section("s3", "acc/cont");
        fork.storage_options.uri_scheme = Some("az".into());
        assert_eq!(path(&fork, "data"), "az://acc/cont/data");
        assert_eq!(path(&section("local_fs", "/r"), "./d"), "/r/d");
        assert_eq!(path(&section("local_fs", "/r"), "/d"), "/d");
        assert_eq!(path(&local, "file:///d"), "/d");
        assert_eq!(path(&local, "data/x"), "data/x");
    }

    #[test]
    fn mistakes_are_answered_with_the_right_form() {
        for (kind, root, folder, message) in [
            (
                "local_fs",
                "./",
                "s3://s3://bucket/x",
                "s3://bucket/x is probably meant",
            ),
            ("s3", "bucket", "s3://s3://bucket/x", "doubled"),
            ("s3", "s3://s3://bucket", "x", "doubled"),
            (
                "s3",
                "bucket",
                "/local/data",
                "local/data is probably meant",
            ),
            ("s3", "./", "data", "no bucket"),
            (
                "s3",
                "bucket",
                "az://a/c/x",
                "contradicts storage.storage_type=s3",
            ),
            (
                "s3",
                "bucket",
                "file:///x",
                "contradicts storage.storage_type=s3",
            ),
            ("local_fs", "./", "s3:///x", "the bucket is missing"),
            (
                "local_fs",
                "./",
                "s3://a b/x",
                "cannot be the name of a bucket",
            ),
            (
                "local_fs",
                "./",
                "s3://arn:aws:s3:us-east-1:123456789012:accesspoint/a/x",
                "the alias of an access point",
            ),
            (
                "s3",
                "data--use1-az4--x-s3",
                "x",
                "a directory bucket of S3 Express",
            ),
            ("local_fs", "./", "az://acc", "the container is missing"),
            ("local_fs", "./", "xy://b/x", "xy:// is no scheme"),
            ("local_fs", "./", "abfs://b/x", "abfs://container@account"),
            ("local_fs", "./", "msc://b/x", "Multi-Storage Client"),
            ("local_fs", "./", "http://h:1/b", "endpoint_url"),
            ("azure", "A_cc/cont", "x", "storage account"),
        ] {
            let error = Address::resolve(&section(kind, root), "dataset.data_folder", folder)
                .unwrap_err()
                .to_string();
            assert!(error.contains(message), "{folder}: {error}");
            assert!(error.contains("remedy: "), "{error}");
        }
    }
}
