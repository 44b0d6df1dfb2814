//! HTTP proxies: which requests go through one, and how.
//!
//! Source: RFC 9110, 9.3.6 (CONNECT) and 7.1 (absolute form); curl's reading of `NO_PROXY`.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::url::Url;
use crate::storage::{Secret, StorageOptions};

#[derive(Clone, PartialEq, Eq)]
pub(super) struct Proxy {
    pub(super) url: Url,
    /// Value of `Proxy-Authorization`.
    pub(super) authorization: Option<String>,
}

/// The proxies of a rank.
#[derive(Default)]
pub(super) struct Proxies {
    https: Option<Proxy>,
    http: Option<Proxy>,
    /// Names and addresses that are reached without one.
    direct: Vec<String>,
}

impl Proxy {
    /// `http://[user:password@]host:port`
    ///
    /// Errors: what is wrong with it; never the text, which may hold a password.
    fn parse(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        if scheme != "http" {
            return Err(format!("{scheme}:// proxies are not supported"));
        }
        let (user, host) = match rest.rsplit_once('@') {
            Some((user, host)) => (Some(user), host),
            None => (None, rest),
        };
        let authorization = user.map(|user| format!("Basic {}", STANDARD.encode(decoded(user))));
        Ok(Proxy {
            url: Url::parse(&format!("http://{host}"), false)?,
            authorization,
        })
    }
}

/// Percent-encoding undone.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let hex = more
            .get(..2)
            .filter(|_| *first == b'%')
            .and_then(|two| u8::from_str_radix(std::str::from_utf8(two).ok()?, 16).ok());
        bytes.push(hex.unwrap_or(*first));
        rest = if hex.is_some() { &more[2..] } else { more };
    }
    bytes
}

impl Proxies {
    /// Errors: the key of what cannot be used, and why.
    pub(super) fn new(options: &StorageOptions) -> Result<Self, String> {
        let proxy = |key: &str, text: &Option<Secret>| {
            let text = options
                .proxy
                .as_ref()
                .or(text.as_ref())
                .map(|text| text.expose().trim());
            let parsed = text.filter(|text| !text.is_empty()).map(Proxy::parse);
            parsed.transpose().map_err(|what| {
                format!(
                    "use storage.storage_options.{key} (or proxy, or the environment's {}): {what}\n  remedy: write http://host:port",
                    key.to_uppercase()
                )
            })
        };
        let direct = options.no_proxy.as_deref().unwrap_or_default();
        Ok(Proxies {
            https: proxy("https_proxy", &options.https_proxy)?,
            http: proxy("http_proxy", &options.http_proxy)?,
            direct: direct
                .split([',', ' '])
                .filter(|name| !name.is_empty())
                .map(|name| name.trim_start_matches('.').to_ascii_lowercase())
                .collect(),
        })
    }

    /// The proxy for a host; this host itself and metadata of clouds are never reached through one.
    pub(super) fn of(&self, url: &Url) -> Option<&Proxy> {
        let proxy = if url.is_tls { &self.https } else { &self.http };
        let host = url.host.to_ascii_lowercase();
        let is_local = host == "localhost"
            || host
                .parse::<IpAddr>()
                // Link-local addresses are those of clouds' metadata.
                .is_ok_and(|address| match address {
                    IpAddr::V4(four) => four.is_loopback() || four.is_link_local(),
                    IpAddr::V6(six) => six.is_loopback(),
                });
        let is_direct = self.direct.iter().any(|name| {
            let name = name
                .strip_suffix(&format!(":{}", url.port))
                .unwrap_or(name.as_str());
            name == "*"
                || host == name
                || host
                    .strip_suffix(name)
                    .is_some_and(|rest| rest.ends_with('.'))
        });
        proxy.as_ref().filter(|_| !is_local && !is_direct)
    }
}

/// The head of the request for a tunnel to `authority`, which names its port.
pub(super) fn connect_head(proxy: &Proxy, host: &str, port: u16) -> String {
    let host = if host.contains(':') {
        format!("[{host}]")
    } else {
        host.to_string()
    };
    let mut head = format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n");
    if let Some(value) = &proxy.authorization {
        head.push_str(&format!("proxy-authorization: {value}\r\n"));
    }
    head.push_str("\r\n");
    head
}

/// A request's head as a proxy wants it: its target is absolute.
pub(super) fn absolute(head: &[u8], origin: &str, proxy: &Proxy) -> Vec<u8> {
    let target = head.iter().position(|b| *b == b' ').map_or(0, |at| at + 1);
    let line = head
        .windows(2)
        .position(|two| two == b"\r\n")
        .map_or(head.len(), |at| at + 2);
    let mut all = Vec::with_capacity(head.len() + origin.len() + 64);
    all.extend_from_slice(&head[..target]);
    all.extend_from_slice(origin.as_bytes());
    all.extend_from_slice(&head[target..line]);
    if let Some(value) = &proxy.authorization {
        all.extend_from_slice(format!("proxy-authorization: {value}\r\n").as_bytes());
    }
    all.extend_from_slice(&head[line..]);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text, true).unwrap()
    }

    fn of(https: Option<&str>, http: Option<&str>, no_proxy: &str) -> Proxies {
        let options = StorageOptions {
            https_proxy: https.map(Secret::new),
            http_proxy: http.map(Secret::new),
            no_proxy: Some(no_proxy.into()),
            ..StorageOptions::default()
        };
        Proxies::new(&options).ok().unwrap()
    }

    #[test]
    fn proxies_are_chosen_as_curl_chooses_them() {
        let proxies = of(
            Some("http://secure:1"),
            Some("plain:2"),
            "in.example.com, .other.net,10.0.0.7,named:444",
        );
        let host = |text: &str| proxies.of(&url(text)).map(|p| p.url.host.clone());
        assert_eq!(host("https://s3.example.com").as_deref(), Some("secure"));
        assert_eq!(host("http://s3.example.com").as_deref(), Some("plain"));
        for direct in [
            "https://in.example.com",
            "https://bucket.IN.example.com",
            "https://a.other.net",
            "http://10.0.0.7:9000",
            "https://named:444",
            "http://127.0.0.1:1",
            "http://169.254.169.254",
            "http://localhost:1",
            "http://[::1]:1",
        ] {
            assert_eq!(host(direct), None, "{direct}");
        }
        assert!(host("https://notin.example.com").is_some());
        assert!(host("https://named:445").is_some());
        assert!(of(Some(" "), None, "").of(&url("https://x")).is_none());
    }
}
