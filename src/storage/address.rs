//! Addresses after their scheme: a local path, a bucket with a prefix, an account with a container and a prefix.

use std::path::{Component, Path, PathBuf};

/// A folder of a mounted file system.
pub(super) fn local(rest: &str, _: Option<&str>) -> Result<PathBuf, String> {
    Ok(plain_path(Path::new(rest)))
}

/// `./` in front changes nothing but the look of every message.
pub(crate) fn plain_path(path: &Path) -> PathBuf {
    let plain: PathBuf = path
        .components()
        .filter(|c| !matches!(c, Component::CurDir))
        .collect();
    if plain.as_os_str().is_empty() {
        ".".into()
    } else {
        plain
    }
}

/// A prefix without empty and `.` parts: what a relative folder means in a bucket.
pub(crate) fn plain_prefix(prefix: &str) -> String {
    prefix
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect::<Vec<_>>()
        .join("/")
}

fn uri(text: String) -> PathBuf {
    text.trim_end_matches('/').into()
}

/// `bucket/prefix`; the prefix is taken as it is written.
pub(super) fn s3(rest: &str, _: Option<&str>) -> Result<PathBuf, String> {
    in_bucket("s3", rest)
}

/// The same at Google's.
pub(super) fn gs(rest: &str, _: Option<&str>) -> Result<PathBuf, String> {
    in_bucket("gs", rest)
}

fn in_bucket(scheme: &str, rest: &str) -> Result<PathBuf, String> {
    let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
    if bucket.is_empty() {
        return Err("the bucket is missing".into());
    }
    if bucket.starts_with("arn:") {
        return Err(
            "ARNs are not supported; the alias of an access point (NAME-s3alias) works as a bucket"
                .into(),
        );
    }
    // Their suffix is Amazon's own: no other bucket has it. They want sessions of their own.
    if bucket.ends_with("--x-s3") {
        return Err(format!(
            "{bucket} is a directory bucket of S3 Express, which is not supported"
        ));
    }
    // Wider than Amazon's rule (older buckets and other servers allow upper case and underscores).
    let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    if !bucket.chars().all(is_name) || bucket.len() > 255 {
        return Err(format!("{bucket} cannot be the name of a bucket"));
    }
    Ok(uri(format!("{scheme}://{bucket}/{prefix}")))
}

/// `account/container/prefix`; a known account may be left out.
pub(super) fn azure(rest: &str, account: Option<&str>) -> Result<PathBuf, String> {
    let is_name = |text: &str| {
        !text.is_empty()
            && text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-$".contains(c))
    };
    let (account, rest) = match (account, rest.split_once('/')) {
        (Some(account), _) if rest.split('/').next() != Some(account) => (account, rest),
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
    Ok(uri(format!("az://{account}/{container}/{prefix}")))
}
