//! The parts of an endpoint's URL that a connection and a request line need.

/// `http://host:port/path`
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Url {
    /// https.
    pub is_tls: bool,
    /// Host without brackets.
    pub host: String,
    pub port: u16,
    /// Path without a slash at its end; may be empty.
    pub path: String,
}

impl Url {
    /// Reads a URL; `tls_unless_said`: the scheme of one that has none.
    ///
    /// Errors: what is wrong with it.
    pub fn parse(text: &str, tls_unless_said: bool) -> Result<Url, String> {
        let (is_tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => return Err(format!("{scheme}:// is not http:// or https://")),
            None => (tls_unless_said, text),
        };
        let rest = rest.split(['?', '#']).next().unwrap_or(rest);
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let default = if is_tls { 443 } else { 80 };
        let (host, port) = match authority.strip_prefix('[') {
            Some(six) => {
                let (host, after) = six.split_once(']').ok_or("a ] is missing")?;
                (host, after.strip_prefix(':'))
            }
            None => match authority.rsplit_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (authority, None),
            },
        };
        let port = match port {
            Some(port) => port
                .parse()
                .map_err(|_| format!("{port} is no port number"))?,
            None => default,
        };
        if host.is_empty() {
            return Err("the host is missing".into());
        }
        Ok(Url {
            is_tls,
            host: host.into(),
            port,
            path: path.trim_end_matches('/').into(),
        })
    }

    /// Host, and port where it is not the scheme's own: the Host header.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') {
            format!("[{}]", self.host)
        } else {
            self.host.clone()
        };
        if self.port == if self.is_tls { 443 } else { 80 } {
            host
        } else {
            format!("{host}:{}", self.port)
        }
    }

    /// Scheme and authority.
    pub fn origin(&self) -> String {
        let scheme = if self.is_tls { "https" } else { "http" };
        format!("{scheme}://{}", self.authority())
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}{}", self.origin(), self.path)
    }
}

/// Appends `text` percent-encoded as a path: unreserved characters of RFC 3986 and slashes stay.
pub fn encode_path(text: &str, out: &mut String) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            out.push(char::from(byte));
        } else {
            const HEX: &[u8; 16] = b"0123456789ABCDEF";
            out.push('%');
            out.push(char::from(HEX[usize::from(byte >> 4)]));
            out.push(char::from(HEX[usize::from(byte & 15)]));
        }
    }
}

/// Percent-encodes a value of a query: RFC 3986's unreserved characters stay.
pub fn encode_query(text: &str, out: &mut String) {
    let mut encoded = String::new();
    encode_path(text, &mut encoded);
    out.push_str(&encoded.replace('/', "%2F"));
}

/// Those that the option `key` lists.
///
/// Errors: the first that is wrong, and what to write.
pub(super) fn urls(key: &str, texts: &[String], tls_unless_said: bool) -> Result<Vec<Url>, String> {
    texts
        .iter()
        .map(|text| {
            Url::parse(text, tls_unless_said).map_err(|what| {
                format!(
                    "use storage.storage_options.{key}={text}: {what}\n  remedy: write http://host:port or https://host"
                )
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_written_back() {
        for (text, back) in [
            ("http://127.0.0.1:8333", "http://127.0.0.1:8333"),
            ("https://s3.example.com/", "https://s3.example.com"),
            ("https://h:443/a/b/", "https://h/a/b"),
            ("http://[::1]:9000/x", "http://[::1]:9000/x"),
            ("host:81", "https://host:81"),
        ] {
            assert_eq!(Url::parse(text, true).unwrap().to_string(), back);
        }
        for bad in ["ftp://x", "http://", "http://h:x", "http://[::1"] {
            assert!(Url::parse(bad, true).is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_encoded_as_the_signature_wants_them() {
        let mut out = String::new();
        encode_path("a b/ü+c~._-", &mut out);
        assert_eq!(out, "a%20b/%C3%BC%2Bc~._-");
    }
}
