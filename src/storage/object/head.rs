//! The head of an HTTP/1.1 answer: status, headers, and what they say of its body.
//!
//! Source: RFC 9112 (framing), RFC 9110 (Content-Range, Retry-After).

use std::time::{Duration, SystemTime};

/// The longest head that is accepted. Units: bytes.
pub(super) const LONGEST: usize = 16 << 10;

/// Header lines of one answer; more is refused.
const MAX_HEADERS: usize = 96;

/// The longest wait that a server may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Status line and header lines of an answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Head {
    /// HTTP status.
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, String)>,
}

/// Where a body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// There is none.
    None,
    /// After so many bytes.
    Sized(u64),
    /// After the last chunk.
    Chunked,
    /// Where the connection does.
    UntilClose,
}

/// A head, and where it ends.
pub(super) struct Parsed {
    pub(super) head: Head,
    /// Its length in bytes.
    pub(super) len: usize,
    /// The connection may be used again.
    pub(super) keeps_alive: bool,
}

/// The bytes of an object that a partial answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ContentRange {
    pub(super) from: u64,
    /// One past the last byte.
    pub(super) end: u64,
    /// Length of the object; None: `*`.
    pub(super) total: Option<u64>,
}

/// Reads a head; None: it has not come whole.
///
/// Errors: what makes it no HTTP/1.1.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Parsed>, String> {
    let mut lines = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut answer = httparse::Response::new(&mut lines);
    match answer.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => {
            let headers = answer.headers.iter().map(|h| {
                let value = String::from_utf8_lossy(h.value).into_owned();
                (h.name.to_ascii_lowercase(), value)
            });
            let head = Head {
                status: answer.code.unwrap_or(0),
                headers: headers.collect(),
            };
            // HTTP/1.0 closes unless a header keeps it open, HTTP/1.1 the other way round.
            let connection = head.get("connection").unwrap_or("").to_ascii_lowercase();
            let keeps_alive = match answer.version {
                Some(1) => !connection.contains("close"),
                _ => connection.contains("keep-alive"),
            };
            Ok(Some(Parsed {
                head,
                len,
                keeps_alive,
            }))
        }
        Ok(httparse::Status::Partial) if bytes.len() < LONGEST => Ok(None),
        Ok(httparse::Status::Partial) => Err("its head is longer than 16 KiB".into()),
        Err(e) => Err(e.to_string()),
    }
}

impl Head {
    /// The first value of a header.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }

    /// The length in `Content-Length`; None: there is no such header.
    ///
    /// Errors: it is no number, or there are two that differ.
    pub(super) fn content_length(&self) -> Result<Option<u64>, String> {
        let mut found = None;
        let values = self.headers.iter().filter(|(n, _)| n == "content-length");
        // One line may hold a list (RFC 9112, 6.3).
        for value in values.flat_map(|(_, value)| value.split(',')) {
            let value = value.trim();
            let is_number = !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit());
            let len: u64 = Some(value)
                .filter(|_| is_number)
                .and_then(|v| v.parse().ok())
                .ok_or_else(|| format!("its Content-Length is no number: {value:?}"))?;
            match found {
                Some(other) if other != len => {
                    return Err(format!(
                        "it has two Content-Lengths that differ, {other} and {len}"
                    ));
                }
                _ => found = Some(len),
            }
        }
        Ok(found)
    }

    /// Where its body ends. `has_body`: false after HEAD.
    ///
    /// Errors: as [`Head::content_length`].
    pub(super) fn framing(&self, has_body: bool) -> Result<Framing, String> {
        let len = self.content_length()?;
        if !has_body || matches!(self.status, 100..200 | 204 | 304) {
            return Ok(Framing::None);
        }
        let coding = self.get("transfer-encoding").map(str::to_ascii_lowercase);
        Ok(match (coding, len) {
            (Some(coding), _) if coding.contains("chunked") => Framing::Chunked,
            (_, Some(len)) => Framing::Sized(len),
            (_, None) => Framing::UntilClose,
        })
    }

    /// `Content-Range: bytes 0-9/100`, or `bytes 0-9/*`.
    pub(super) fn content_range(&self) -> Option<ContentRange> {
        let value = self.get("content-range")?.trim();
        let (range, total) = value.strip_prefix("bytes ")?.split_once('/')?;
        let (from, last) = range.split_once('-')?;
        let (from, last) = (from.trim().parse().ok()?, last.trim().parse::<u64>().ok()?);
        let total = match total.trim() {
            "*" => None,
            total => Some(total.parse().ok()?),
        };
        let end = last.checked_add(1)?;
        (from < end && total.is_none_or(|total| end <= total)).then_some(ContentRange {
            from,
            end,
            total,
        })
    }

    /// The length in `Content-Range: bytes */100` of a 416.
    pub(super) fn unsatisfied_total(&self) -> Option<u64> {
        let (_, total) = self.get("content-range")?.rsplit_once('/')?;
        total.trim().parse().ok()
    }

    /// How long `Retry-After` asks to stay away, up to a minute.
    pub(super) fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        let value = self.get("retry-after")?.trim();
        let wait = match value.parse() {
            Ok(seconds) => Duration::from_secs(seconds),
            Err(_) => {
                let at = chrono::DateTime::parse_from_rfc2822(value).ok()?;
                let now = chrono::DateTime::<chrono::Utc>::from(now);
                (at.to_utc() - now).to_std().unwrap_or_default()
            }
        };
        Some(wait.min(LONGEST_WAIT))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Head {
        let text = format!("HTTP/1.1 {text}\r\n\r\n");
        parse(text.as_bytes()).unwrap().unwrap().head
    }

    #[test]
    fn bodies_end_where_rfc_9112_says() {
        for (text, has_body, framing) in [
            ("200 OK\r\nContent-Length: 7", true, Framing::Sized(7)),
            ("200 OK\r\nContent-Length: 7, 7", true, Framing::Sized(7)),
            ("200 OK\r\nContent-Length: 7", false, Framing::None),
            ("204 No\r\nContent-Length: 7", true, Framing::None),
            (
                "200 OK\r\nContent-Length: 7\r\nTransfer-Encoding: Chunked",
                true,
                Framing::Chunked,
            ),
            ("200 OK", true, Framing::UntilClose),
        ] {
            assert_eq!(head(text).framing(has_body).unwrap(), framing, "{text}");
        }
    }

    #[test]
    fn lengths_that_contradict_each_other_are_refused() {
        for bad in [
            "200 OK\r\nContent-Length: 7\r\nContent-Length: 8",
            "200 OK\r\nContent-Length: 7, 8",
            "200 OK\r\nContent-Length: +7",
            "200 OK\r\nContent-Length: 99999999999999999999",
            "200 OK\r\nContent-Length: ",
        ] {
            assert!(head(bad).framing(true).is_err(), "{bad}");
        }
    }

    #[test]
    fn content_ranges_are_read() {
        let of = |value: &str| head(&format!("206 OK\r\nContent-Range: {value}")).content_range();
        let some = |from, end, total| Some(ContentRange { from, end, total });
        assert_eq!(of("bytes 5-9/100"), some(5, 10, Some(100)));
        assert_eq!(of("bytes 0-9/*"), some(0, 10, None));
        for bad in [
            "bytes */100",
            "0-9/1",
            "bytes 9-5/100",
            "bytes 0-100/100",
            "bytes 0-18446744073709551615/*",
        ] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(
            head("416 No\r\nContent-Range: bytes */0").unsatisfied_total(),
            Some(0)
        );
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        // Source: RFC 9110, 10.2.3 and its date format.
        let now = chrono::DateTime::parse_from_rfc3339("1999-12-31T23:59:49Z").unwrap();
        let wait = |value: &str| {
            head(&format!("503 Slow\r\nRetry-After: {value}")).retry_after(now.to_utc().into())
        };
        assert_eq!(wait("7"), Some(Duration::from_secs(7)));
        assert_eq!(
            wait("Fri, 31 Dec 1999 23:59:59 GMT"),
            Some(Duration::from_secs(10))
        );
        assert_eq!(
            wait("Fri, 31 Dec 1999 23:59:00 GMT"),
            Some(Duration::ZERO),
            "a date in the past"
        );
        assert_eq!(wait("100000"), Some(LONGEST_WAIT));
        assert_eq!(wait("soon"), None);
    }

    #[test]
    fn a_head_is_read_when_it_is_whole() {
        let text = b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n\r\nbody";
        for cut in 0..text.len() - 4 {
            assert!(parse(&text[..cut]).unwrap().is_none(), "{cut}");
        }
        let parsed = parse(text).unwrap().unwrap();
        assert_eq!(parsed.len, text.len() - 4);
        assert!(parsed.keeps_alive);
        assert!(
            !parse(b"HTTP/1.0 200 OK\r\n\r\n")
                .unwrap()
                .unwrap()
                .keeps_alive
        );
        assert!(parse(&[b'a'; 20]).is_err());
        let long = [&b"HTTP/1.1 200 OK\r\nx: "[..], &vec![b'a'; LONGEST]].concat();
        assert!(parse(&long).is_err());
    }
}
