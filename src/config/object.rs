//! Rules over where the data lies and over the options of object stores.

use std::collections::BTreeMap;

use super::origin::Origin;
use super::{Address, ConfigError, StorageOptions, Workload};
use crate::storage::Secret;

/// An endpoint with a user name or a query is refused before anything shows it: what stands before @ is a password, and a
/// query may be a signature.
pub(super) fn refuse_credentials(w: &Workload) -> Result<(), ConfigError> {
    let o = &w.storage.storage_options;
    for (name, list) in [
        ("endpoint_url", &o.endpoint_url),
        ("blob_endpoint", &o.blob_endpoint),
    ] {
        if list.0.iter().any(|url| url.contains(['?', '@'])) {
            return Err(ConfigError::rule(
                &format!("storage.storage_options.{name}"),
                "it holds a user name, a password or a query",
                "write http://host:port or https://host; keys and signatures have keys of their own beside it, or come by the environment",
            ));
        }
    }
    Ok(())
}

/// Checks addresses and, where they are used, the options of object stores.
pub(super) fn check(w: &Workload, warnings: &mut Vec<String>) -> Result<(), ConfigError> {
    if w.storage.storage_type.unbuilt().is_some() {
        // Refused as such.
        return Ok(());
    }
    Address::resolve(&w.storage, "dataset.data_folder", &w.dataset.data_folder)?;
    if !w.storage_system().objects {
        return Ok(());
    }
    let o = &w.storage.storage_options;
    secrets(o)?;
    numbers(o)?;
    words(o)?;
    let endpoints = endpoints(o)?;
    warn(w, &endpoints, warnings);
    Ok(())
}

fn key(name: &str) -> String {
    format!("storage.storage_options.{name}")
}

fn secrets(o: &StorageOptions) -> Result<(), ConfigError> {
    let text = |secret: &Option<Secret>| secret.as_ref().map(|s| s.expose().to_string());
    for (name, value) in [
        ("access_key_id", text(&o.access_key_id)),
        ("secret_access_key", text(&o.secret_access_key)),
        ("session_token", text(&o.session_token)),
        ("account_key", text(&o.account_key)),
        ("sas_token", text(&o.sas_token)),
        ("connection_string", text(&o.connection_string)),
        ("client_secret", text(&o.client_secret)),
        ("proxy", text(&o.proxy)),
        ("https_proxy", text(&o.https_proxy)),
        ("http_proxy", text(&o.http_proxy)),
    ] {
        // Blanks and line ends around a value are cut off where it is used.
        if value.is_some_and(|value| value.trim().contains(char::is_control)) {
            return Err(ConfigError::rule(
                &key(name),
                "holds a control character, such as a line end",
                "copy it again, in one line",
            ));
        }
    }
    Ok(())
}

/// Times, counts and sizes.
fn numbers(o: &StorageOptions) -> Result<(), ConfigError> {
    for (name, seconds, may_be_zero) in [
        ("connect_timeout", o.connect_timeout, false),
        ("read_timeout", o.read_timeout, false),
        ("request_timeout", o.request_timeout, true),
        ("retry_delay", o.retry_delay, true),
    ] {
        if let Some(s) = seconds
            && (!s.is_finite() || s < 0.0 || (s == 0.0 && !may_be_zero) || s > 1e6)
        {
            return Err(ConfigError::rule(
                &key(name),
                format!("{s} is no number of seconds to wait"),
                "write seconds, such as 30",
            ));
        }
    }
    for (name, value) in [
        ("s3_max_attempts", o.s3_max_attempts),
        ("connect_ramp", o.connect_ramp),
        ("ranges_in_flight", o.ranges_in_flight),
    ] {
        if value == Some(0) {
            return Err(ConfigError::rule(
                &key(name),
                "is 0",
                "set it to 1 or more, or leave it out",
            ));
        }
    }
    // S3's limits of a part, which every server that speaks its protocol has.
    if let Some(size) = o.part_size
        && !(5 << 20..=5 << 30).contains(&size)
    {
        return Err(ConfigError::rule(
            &key("part_size"),
            format!("{size} bytes is outside 5 MiB to 5 GiB"),
            "leave it out, or set it to 8388608",
        ));
    }
    Ok(())
}

/// Options that choose a way to do something.
fn words(o: &StorageOptions) -> Result<(), ConfigError> {
    if let Some(word) = o.checksum.as_deref()
        && !matches!(word, "none" | "crc32c" | "sdk" | "md5")
    {
        return Err(ConfigError::rule(
            &key("checksum"),
            format!("{word} is unknown"),
            "write none, crc32c, sdk or md5",
        ));
    }
    if o.use_full_object_uri == Some(true) {
        return Err(ConfigError::rule(
            &key("use_full_object_uri"),
            "whole URIs as object keys are not written here",
            "set it to false: the key is the URI's path",
        ));
    }
    Ok(())
}

/// Each endpoint after the name of its option.
fn endpoints(o: &StorageOptions) -> Result<Vec<(&'static str, &str)>, ConfigError> {
    let all: Vec<_> = [
        ("endpoint_url", &o.endpoint_url),
        ("blob_endpoint", &o.blob_endpoint),
    ]
    .into_iter()
    .flat_map(|(name, list)| list.0.iter().map(move |url| (name, url.as_str())))
    .collect();
    for &(name, url) in &all {
        let bare = url.split_once("://").map_or(url, |(_, rest)| rest);
        if url.contains("://") && !url.starts_with("http://") && !url.starts_with("https://")
            || bare.contains("://")
            || bare.is_empty()
        {
            return Err(ConfigError::rule(
                &key(name),
                format!("{url} is no endpoint"),
                "write http://host:port or https://host",
            ));
        }
    }
    Ok(all)
}

/// What weakens the protection of a transfer, or has no effect.
fn warn(w: &Workload, endpoints: &[(&str, &str)], warnings: &mut Vec<String>) {
    let o = &w.storage.storage_options;
    for &(name, url) in endpoints {
        if is_in_clear(url, o.secure) {
            warnings.push(format!(
                "{}={url}: without TLS, requests and what proves their sender can be read on the way; write https:// where the network is not trusted",
                key(name)
            ));
        }
    }
    if o.verify == Some(false) {
        warnings.push(format!(
            "{}=false: any certificate is accepted, so nothing proves which server answers",
            key("verify")
        ));
    }
    if w.reader.odirect {
        warnings.push("reader.odirect has no effect on an object store".into());
    }
}

/// True for an endpoint without TLS on another host.
fn is_in_clear(url: &str, secure: Option<bool>) -> bool {
    let authority = match url.split_once("://") {
        Some(("http", rest)) => rest,
        None if secure == Some(false) => url,
        _ => return false,
    };
    let authority = authority.split('/').next().unwrap_or_default();
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    let address = host.parse::<std::net::IpAddr>();
    !(host == "localhost" || host.ends_with(".localhost") || address.is_ok_and(|a| a.is_loopback()))
}

/// The command line precedes the YAML, it the environment, and that `.env`.
fn rank(origin: Option<&Origin>) -> u8 {
    match origin {
        Some(Origin::CommandLine(_)) => 3,
        Some(Origin::Environment(_)) => 1,
        Some(Origin::DotEnv(_)) => 0,
        _ => 2,
    }
}

/// Credentials come whole from one place: an id of the YAML is never used with a token of the environment. What comes from
/// elsewhere than the first place that has a key of the same set is left out.
pub(super) fn keep_whole_sets(w: &mut Workload, origins: &BTreeMap<String, Origin>) {
    let o = &mut w.storage.storage_options;
    let of_s3 = [
        ("access_key_id", o.access_key_id.is_some()),
        ("secret_access_key", o.secret_access_key.is_some()),
        ("session_token", o.session_token.is_some()),
        ("s3_profile", o.s3_profile.is_some()),
    ];
    let of_azure = [
        ("account_key", o.account_key.is_some()),
        ("sas_token", o.sas_token.is_some()),
        ("connection_string", o.connection_string.is_some()),
        ("client_secret", o.client_secret.is_some()),
    ];
    for set in [&of_s3[..], &of_azure] {
        let ranks: Vec<(&str, u8)> = set
            .iter()
            .filter(|(_, is_there)| *is_there)
            .map(|(name, _)| {
                // A map of the command line or the YAML may hold it.
                let key = format!("storage.storage_options.{name}");
                let origin = [key.as_str(), "storage.storage_options", "storage"]
                    .iter()
                    .find_map(|key| origins.get(*key));
                (*name, rank(origin))
            })
            .collect();
        let first = ranks.iter().map(|(_, rank)| *rank).max().unwrap_or(0);
        for (name, _) in ranks.iter().filter(|(_, rank)| *rank < first) {
            match *name {
                "access_key_id" => o.access_key_id = None,
                "secret_access_key" => o.secret_access_key = None,
                "session_token" => o.session_token = None,
                "s3_profile" => o.s3_profile = None,
                "account_key" => o.account_key = None,
                "sas_token" => o.sas_token = None,
                "connection_string" => o.connection_string = None,
                _ => o.client_secret = None,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_tls_on_another_host_is_a_warning() {
        for (url, secure, is_warned) in [
            ("http://10.1.2.3:9000", None, true),
            ("http://minio.lan/", None, true),
            ("minio.lan:9000", Some(false), true),
            ("http://[fd00::1]:9000", None, true),
            ("http://127.0.0.1:9000", None, false),
            ("http://[::1]:9000", None, false),
            ("http://localhost:9000", None, false),
            ("https://minio.lan", None, false),
            ("minio.lan:9000", None, false),
        ] {
            let mut w = Workload::default();
            w.dataset.data_folder = "s3://bucket/prefix".into();
            w.storage.storage_options.endpoint_url.0 = vec![url.into()];
            w.storage.storage_options.secure = secure;
            let mut warnings = Vec::new();
            check(&w, &mut warnings).unwrap();
            let is_said = warnings.iter().any(|text| text.contains("without TLS"));
            assert_eq!(is_said, is_warned, "{url}: {warnings:?}");
        }
    }

    #[test]
    fn no_credential_is_completed_from_elsewhere() {
        type From = fn(&str) -> Origin;
        type Case<'a> = (&'a [(&'a str, From)], &'a [&'a str]);
        let yaml: From = |_| Origin::File {
            path: "w.yaml".into(),
            line: 1,
            column: 1,
        };
        let environment: From = |key| Origin::Environment(key.to_uppercase());
        let line: From = |key| Origin::CommandLine(format!("{key}=x"));
        let dotenv: From = |key| Origin::DotEnv(key.to_uppercase());
        let cases: [Case; 5] = [
            (
                &[
                    ("access_key_id", yaml),
                    ("secret_access_key", yaml),
                    ("session_token", environment),
                ],
                &["access_key_id", "secret_access_key"],
            ),
            (
                &[
                    ("access_key_id", line),
                    ("secret_access_key", line),
                    ("session_token", yaml),
                    ("account_key", environment),
                ],
                &["access_key_id", "secret_access_key", "account_key"],
            ),
            (
                &[("s3_profile", yaml), ("access_key_id", environment)],
                &["s3_profile"],
            ),
            (
                &[
                    ("sas_token", environment),
                    ("connection_string", dotenv),
                    ("session_token", dotenv),
                ],
                &["session_token", "sas_token"],
            ),
            (
                &[("account_key", environment), ("sas_token", environment)],
                &["account_key", "sas_token"],
            ),
        ];
        for (given, kept) in cases {
            let mut origins = BTreeMap::new();
            let mut options = serde_json::Map::new();
            for (name, from) in given {
                options.insert((*name).into(), "x".into());
                origins.insert(format!("storage.storage_options.{name}"), from(name));
            }
            let mut w = Workload::default();
            w.storage.storage_options = serde_json::from_value(options.into()).unwrap();
            keep_whole_sets(&mut w, &origins);
            let left = serde_json::to_value(&w.storage.storage_options).unwrap();
            let names = [
                "access_key_id",
                "secret_access_key",
                "session_token",
                "s3_profile",
                "account_key",
                "sas_token",
                "connection_string",
            ];
            let left: Vec<_> = names.into_iter().filter(|n| !left[*n].is_null()).collect();
            assert_eq!(left, kept);
        }
    }
}
