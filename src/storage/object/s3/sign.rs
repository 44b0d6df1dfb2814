//! Requests as they go out: address, headers and Signature Version 4.

use std::net::IpAddr;
use std::time::SystemTime;

use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SigningSettings,
    UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;

use super::S3;
use crate::storage::object::endpoint::{Endpoint, Operation};
use crate::storage::object::failure::{Class, Failure, Result};
use crate::storage::object::head::Head;
use crate::storage::object::url::{Url, encode_path};
use crate::storage::object::{ObjectName, Prepared};

/// What is asked of an object, or of its bucket where the key is empty.
#[derive(Default)]
pub(super) struct Ask<'a> {
    pub(super) method: &'static str,
    /// With its question mark.
    pub(super) query: &'a str,
    /// Signed too.
    pub(super) headers: &'a [(&'static str, String)],
    /// Of the body, where there is one.
    pub(super) len: Option<usize>,
}

impl<'a> Ask<'a> {
    pub(super) fn get(headers: &'a [(&'static str, String)]) -> Self {
        Ask {
            method: "GET",
            headers,
            ..Ask::default()
        }
    }

    /// As what the report counts it.
    pub(super) fn operation(&self) -> Operation {
        match self.method {
            "PUT" => Operation::Put,
            _ => Operation::Control,
        }
    }
}

impl S3 {
    /// A signed request.
    pub(super) fn prepare(
        &self,
        endpoint: &Endpoint,
        object: &ObjectName,
        ask: &Ask,
    ) -> Result<Prepared> {
        let base = &endpoint.url;
        let virtual_url;
        let mut target = String::with_capacity(object.key.len() + 64);
        target.push_str(&base.path);
        target.push('/');
        let url = if self.path_style || object.bucket.contains('.') {
            encode_path(&object.bucket, &mut target);
            if !object.key.is_empty() {
                target.push('/');
            }
            base
        } else {
            virtual_url = Url {
                host: format!("{}.{}", object.bucket, base.host),
                ..base.clone()
            };
            &virtual_url
        };
        encode_path(&object.key, &mut target);
        target.push_str(ask.query);
        self.signed(url, &target, ask)
    }

    /// The request at an address that is known already. `target`: path and query, encoded.
    fn signed(&self, url: &Url, target: &str, ask: &Ask) -> Result<Prepared> {
        let identity = self.keys.identity(&self.runtime)?;
        let host = self.http.host(url);
        let wrong = |what: String| Failure::new(Class::Permanent, format!("sign: {what}"));
        let mut settings = SigningSettings::default();
        settings.percent_encoding_mode = PercentEncodingMode::Single;
        settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region(&self.region)
            .name("s3")
            .time(SystemTime::now())
            .settings(settings)
            .build()
            .map_err(|e| wrong(e.to_string()))?
            .into();
        let uri = format!("{}{target}", url.origin());
        let own = || {
            ask.headers
                .iter()
                .map(|(name, value)| (*name, value.as_str()))
        };
        let signable = SignableRequest::new(ask.method, uri, own(), SignableBody::UnsignedPayload)
            .map_err(|e| wrong(e.to_string()))?;
        let (signed, _) = sign(signable, &params)
            .map_err(|e| wrong(e.to_string()))?
            .into_parts();
        let mut head = format!(
            "{} {target} HTTP/1.1\r\nhost: {}\r\n",
            ask.method, host.authority
        );
        for (name, value) in own().chain(signed.headers()) {
            for part in [name, ": ", value, "\r\n"] {
                head.push_str(part);
            }
        }
        if let Some(len) = ask.len {
            head.push_str(&format!("content-length: {len}\r\n"));
        }
        head.push_str("\r\n");
        Ok(Prepared {
            host,
            head: head.into_bytes(),
        })
    }

    /// The same request where a cluster's server wants it to go (AIStore's proxies name the target that has the object);
    /// None: that is no such answer, or the place is in no same cluster, where nothing signed is sent.
    pub(super) fn redirected(
        &self,
        endpoint: &Endpoint,
        answer: &Head,
        ask: &Ask,
    ) -> Option<Result<Prepared>> {
        if answer.status != 307 {
            return None;
        }
        let location = answer.get("location")?;
        let url = Url::parse(location, endpoint.url.is_tls).ok()?;
        if !is_same_cluster(&endpoint.url, &url) {
            return None;
        }
        let rest = location
            .split_once("://")
            .map_or(location, |(_, rest)| rest);
        let target = rest.find('/').map_or("/", |at| &rest[at..]);
        Some(self.signed(&url, target, ask))
    }
}

/// True for the same host, hosts of one parent domain, and addresses of one private network; never from https to http.
fn is_same_cluster(from: &Url, to: &Url) -> bool {
    if from.is_tls && !to.is_tls {
        return false;
    }
    if from.host.eq_ignore_ascii_case(&to.host) {
        return true;
    }
    match (from.host.parse::<IpAddr>(), to.host.parse::<IpAddr>()) {
        (Ok(IpAddr::V4(a)), Ok(IpAddr::V4(b))) => {
            a.is_loopback() && b.is_loopback()
                || a.is_private() && b.is_private() && a.octets()[..2] == b.octets()[..2]
        }
        (Err(_), Err(_)) => {
            let parent = |host: &str| {
                let (_, parent) = host.split_once('.')?;
                // One label alone is a whole country or kind of domains.
                parent.contains('.').then(|| parent.to_ascii_lowercase())
            };
            parent(&from.host).is_some_and(|p| Some(p) == parent(&to.host))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signed_requests_follow_a_cluster_and_nobody_else() {
        for (from, to, is_followed) in [
            ("http://10.1.0.1:8080", "http://10.1.0.9:51081", true),
            ("http://10.1.0.1:8080", "http://10.2.0.9:51081", false),
            ("http://127.0.0.1:1", "http://127.0.0.2:2", true),
            (
                "http://ais.cluster.local",
                "http://t7.cluster.local:81",
                true,
            ),
            (
                "https://ais.cluster.local",
                "http://t7.cluster.local",
                false,
            ),
            ("http://ais.example.com", "http://ais.example.org", false),
            ("http://example.com", "http://evil.com", false),
            ("http://10.1.0.1", "http://evil.example.com", false),
            ("http://8.8.8.8", "http://8.8.4.4", false),
        ] {
            let url = |text| Url::parse(text, true).unwrap();
            assert_eq!(
                is_same_cluster(&url(from), &url(to)),
                is_followed,
                "{from} {to}"
            );
        }
    }
}
