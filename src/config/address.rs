//! Where data lies: a folder of a file system, or a prefix of a bucket or container.
//!
//! DLIO's own form (`storage_type: s3`, `storage_root: bucket`, `data_folder: prefix`) and URIs mean the same.
//! Source: DLIO (MLCommons fork) `storage/obj_store_lib.py` for how root and folder are joined.

use std::path::{Component, Path, PathBuf};

use super::{ConfigError, StorageSection, StorageType};

/// Where a folder of a workload is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// A folder of a mounted file system.
    File(PathBuf),
    /// The same, read without the page cache.
    Direct(PathBuf),
    /// `s3://bucket/prefix`
    S3 {
        /// Bucket.
        bucket: String,
        /// Key prefix without a slash at either end; may be empty.
        prefix: String,
    },
    /// `az://account/container/prefix`
    Azure {
        /// Storage account.
        account: String,
        /// Container.
        container: String,
        /// Name prefix without a slash at either end; may be empty.
        prefix: String,
    },
}

/// The forms that a message shows.
const FORMS: &str = "s3://bucket/prefix, gs://bucket/prefix, az://account/container/prefix, file:///folder, direct:///folder, or storage.storage_type=s3 with storage.storage_root=bucket and a prefix as folder";

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
        let wrong = |what: String| {
            Err(ConfigError::rule(
                key,
                format!("{folder}: {what}"),
                format!("write {FORMS}"),
            ))
        };
        if let Some((scheme, rest)) = folder.split_once("://") {
            if rest.contains("://") {
                let last = rest.rsplit("://").next().unwrap_or(rest);
                return wrong(format!(
                    "the scheme is doubled; {scheme}://{last} is probably meant"
                ));
            }
            let address = match scheme {
                "s3" => bucket_of(rest).map(|(bucket, prefix)| Address::S3 { bucket, prefix }),
                "az" | "azure" => azure_of(rest, storage, false),
                // The same containers, by the name of their file system.
                "abfs" | "abfss" => abfs_of(rest).and_then(|rest| azure_of(&rest, storage, false)),
                "msc" => Err("profiles of the Multi-Storage Client are not read; the address of the store itself is meant".into()),
                "file" => Ok(Address::File(local(rest))),
                "direct" => Ok(Address::Direct(local(rest))),
                "http" | "https" => Err(format!(
                    "an endpoint is no address of data; {scheme}://… goes to storage.storage_options.endpoint_url"
                )),
                other => Err(format!("{other}:// is no scheme known here")),
            };
            let address = match address {
                Ok(address) => address,
                Err(what) => return wrong(what),
            };
            let named = storage.storage_type;
            let fits = match address {
                Address::S3 { .. } => matches!(named, StorageType::S3 | StorageType::LocalFs),
                Address::Azure { .. } => match named {
                    StorageType::S3 => is_azure_scheme(storage),
                    other => matches!(other, StorageType::Azure | StorageType::LocalFs),
                },
                // The simulated systems and the map read no files at all, or read them as they please.
                _ => !matches!(named, StorageType::S3 | StorageType::Azure),
            };
            if !fits {
                return wrong(format!("it contradicts storage.storage_type={named}"));
            }
            return Ok(address);
        }
        let is_azure = storage.storage_type == StorageType::Azure
            || storage.storage_type == StorageType::S3 && is_azure_scheme(storage);
        if !is_azure && storage.storage_type != StorageType::S3 {
            let path = local(&format!("{}\u{0}{folder}", storage.storage_root));
            return Ok(match storage.storage_type {
                StorageType::DirectFs => Address::Direct(path),
                _ => Address::File(path),
            });
        }
        if folder.starts_with('/') {
            return wrong(format!(
                "a local path, but storage.storage_type={} keeps no local files; {} is probably meant",
                storage.storage_type,
                folder.trim_start_matches('/')
            ));
        }
        let root = storage.storage_root.trim_end_matches('/');
        let bare = root
            .strip_prefix("s3://")
            .or_else(|| root.strip_prefix("az://"))
            .unwrap_or(root);
        if bare.contains("://") {
            return Err(ConfigError::rule(
                "storage.storage_root",
                format!("{root}: the scheme is doubled"),
                "write the bucket's name alone, such as storage.storage_root=my-bucket",
            ));
        }
        if bare.is_empty() || bare.starts_with(['.', '/']) {
            return Err(ConfigError::rule(
                "storage.storage_root",
                format!(
                    "{}: no bucket, but storage.storage_type={} needs one",
                    storage.storage_root, storage.storage_type
                ),
                format!("set storage.storage_root to the bucket, or write {key} as a URI: {FORMS}"),
            ));
        }
        let joined = format!("{bare}/{}", plain(folder));
        let address = if is_azure {
            azure_of(&joined, storage, true)
        } else {
            bucket_of(&joined).map(|(bucket, prefix)| Address::S3 { bucket, prefix })
        };
        address.map_err(|what| {
            ConfigError::rule(
                "storage.storage_root",
                format!("{}: {what}", storage.storage_root),
                format!("write {FORMS}"),
            )
        })
    }

    /// The address as a path: what every other module passes to the storage system. URIs stay URIs.
    pub fn to_path(&self) -> PathBuf {
        let uri = |text: String| PathBuf::from(text.trim_end_matches('/'));
        match self {
            Address::File(path) | Address::Direct(path) => path.clone(),
            Address::S3 { bucket, prefix } => uri(format!("s3://{bucket}/{prefix}")),
            Address::Azure {
                account,
                container,
                prefix,
            } => uri(format!("az://{account}/{container}/{prefix}")),
        }
    }
}

fn is_azure_scheme(storage: &StorageSection) -> bool {
    storage
        .storage_options
        .uri_scheme
        .as_deref()
        .is_some_and(|scheme| matches!(scheme, "az" | "azure"))
}

/// A prefix without empty and `.` parts.
fn plain(prefix: &str) -> String {
    prefix
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect::<Vec<_>>()
        .join("/")
}

/// A local path; `root NUL folder` are joined, and an absolute folder wins.
fn local(text: &str) -> PathBuf {
    let joined = match text.split_once('\u{0}') {
        Some((root, folder)) => Path::new(root).join(folder),
        None => PathBuf::from(text),
    };
    // `./` in front changes nothing but the look of every message.
    let plain: PathBuf = joined
        .components()
        .filter(|c| !matches!(c, Component::CurDir))
        .collect();
    if plain.as_os_str().is_empty() {
        ".".into()
    } else {
        plain
    }
}

fn bucket_of(rest: &str) -> Result<(String, String), String> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err("the bucket is missing".into());
    }
    // Wider than Amazon's rule (older buckets and other servers allow upper case and underscores).
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !bucket.chars().all(is_name) || bucket.len() > 255 {
        return Err(format!("{bucket} cannot be the name of a bucket"));
    }
    Ok((bucket.into(), plain(prefix)))
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

/// `account/container/prefix`; under DLIO's form the account may come from the options instead.
fn azure_of(rest: &str, storage: &StorageSection, may_omit: bool) -> Result<Address, String> {
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-$".contains(c))
    };
    let known = storage.storage_options.account_name.as_deref();
    let (account, rest) = match (known, rest.split_once('/')) {
        (Some(account), _) if may_omit && rest.split('/').next() != Some(account) => {
            (account, rest)
        }
        (_, Some((account, rest))) => (account, rest),
        _ => return Err("the container is missing: az://account/container/prefix".into()),
    };
    let (container, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if !is_name(account) {
        return Err(format!("{account} cannot be the name of a storage account"));
    }
    if !is_name(container) {
        return Err(format!("{container} cannot be the name of a container"));
    }
    Ok(Address::Azure {
        account: account.into(),
        container: container.into(),
        prefix: plain(prefix),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(kind: StorageType, root: &str) -> StorageSection {
        StorageSection {
            storage_type: kind,
            storage_root: root.into(),
            ..StorageSection::default()
        }
    }

    fn path(storage: &StorageSection, folder: &str) -> String {
        Address::resolve(storage, "dataset.data_folder", folder)
            .unwrap()
            .to_path()
            .display()
            .to_string()
    }

    #[test]
    fn dlio_form_and_uri_name_the_same_place() {
        let dlio = section(StorageType::S3, "bucket");
        let local = section(StorageType::LocalFs, "./");
        assert_eq!(path(&dlio, "./data/unet3d/"), "s3://bucket/data/unet3d");
        assert_eq!(path(&dlio, "s3://other/data"), "s3://other/data");
        assert_eq!(
            path(&local, "s3://bucket/data//unet3d"),
            "s3://bucket/data/unet3d"
        );
        assert_eq!(path(&local, "s3://bucket"), "s3://bucket");
        assert_eq!(
            path(&section(StorageType::S3, "s3://bucket/a"), "b"),
            "s3://bucket/a/b"
        );
        assert_eq!(path(&local, "az://acc/cont/data"), "az://acc/cont/data");
        assert_eq!(
            path(&local, "abfss://cont@acc.dfs.core.windows.net/data/"),
            "az://acc/cont/data"
        );
        assert_eq!(
            path(&section(StorageType::Azure, "acc/cont"), "data"),
            "az://acc/cont/data"
        );
        let mut named = section(StorageType::Azure, "cont");
        named.storage_options.account_name = Some("acc".into());
        assert_eq!(path(&named, "data"), "az://acc/cont/data");
        let mut fork = section(StorageType::S3, "acc/cont");
        fork.storage_options.uri_scheme = Some("az".into());
        assert_eq!(path(&fork, "data"), "az://acc/cont/data");
        assert_eq!(path(&section(StorageType::LocalFs, "/r"), "./d"), "/r/d");
        assert_eq!(path(&section(StorageType::LocalFs, "/r"), "/d"), "/d");
        assert_eq!(path(&local, "file:///d"), "/d");
        assert_eq!(path(&local, "data/x"), "data/x");
    }

    #[test]
    fn mistakes_are_told_with_the_right_form() {
        for (kind, root, folder, message) in [
            (
                StorageType::LocalFs,
                "./",
                "s3://s3://bucket/x",
                "s3://bucket/x is probably meant",
            ),
            (StorageType::S3, "bucket", "s3://s3://bucket/x", "doubled"),
            (StorageType::S3, "s3://s3://bucket", "x", "doubled"),
            (
                StorageType::S3,
                "bucket",
                "/local/data",
                "local/data is probably meant",
            ),
            (StorageType::S3, "./", "data", "no bucket"),
            (
                StorageType::S3,
                "bucket",
                "az://a/c/x",
                "contradicts storage.storage_type=s3",
            ),
            (
                StorageType::S3,
                "bucket",
                "file:///x",
                "contradicts storage.storage_type=s3",
            ),
            (
                StorageType::LocalFs,
                "./",
                "s3:///x",
                "the bucket is missing",
            ),
            (
                StorageType::LocalFs,
                "./",
                "s3://a b/x",
                "cannot be the name of a bucket",
            ),
            (
                StorageType::LocalFs,
                "./",
                "az://acc",
                "the container is missing",
            ),
            (StorageType::LocalFs, "./", "xy://b/x", "xy:// is no scheme"),
            (
                StorageType::LocalFs,
                "./",
                "abfs://b/x",
                "abfs://container@account",
            ),
            (
                StorageType::LocalFs,
                "./",
                "msc://b/x",
                "Multi-Storage Client",
            ),
            (StorageType::LocalFs, "./", "http://h:1/b", "endpoint_url"),
            (StorageType::Azure, "A_cc/cont", "x", "storage account"),
        ] {
            let error = Address::resolve(&section(kind, root), "dataset.data_folder", folder)
                .unwrap_err()
                .to_string();
            assert!(error.contains(message), "{folder}: {error}");
            assert!(error.contains("remedy: "), "{error}");
        }
    }
}
