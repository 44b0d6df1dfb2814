//! Taking the body of an answer out of its framing.
//!
//! Source: RFC 9112, sections 6 and 7.

use super::failure::{Class, Failure, Result};
use super::head::Framing;

/// The longest line between chunks. Units: bytes.
pub(super) const LONGEST_LINE: usize = 4 << 10;
/// Trailer lines behind the last chunk; more is refused.
const MAX_TRAILERS: usize = 96;

/// Where the bytes of an answer come from.
pub(super) trait Input {
    /// Fills `into` unless the connection ends first; returns how much came.
    fn take(&mut self, into: &mut [u8]) -> Result<usize>;
    /// A line without its end.
    ///
    /// Errors: the connection ended in it, or it is longer than [`LONGEST_LINE`].
    fn line(&mut self) -> Result<String>;
}

/// The rest of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    Done,
    Sized(u64),
    Chunked { left: u64, is_first: bool },
    UntilClose,
}

impl From<Framing> for Body {
    fn from(framing: Framing) -> Self {
        match framing {
            Framing::None | Framing::Sized(0) => Body::Done,
            Framing::Sized(len) => Body::Sized(len),
            Framing::Chunked => Body::Chunked {
                left: 0,
                is_first: true,
            },
            Framing::UntilClose => Body::UntilClose,
        }
    }
}

fn ended() -> Failure {
    Failure::new(Class::Truncated, "the connection ended inside the body")
}

impl Body {
    /// Bytes left, where that is known.
    pub(super) fn left(self) -> Option<u64> {
        match self {
            Body::Done => Some(0),
            Body::Sized(left) => Some(left),
            Body::Chunked { .. } | Body::UntilClose => None,
        }
    }

    /// Reads the next bytes: `into` is filled unless the body, or a chunk of it, ends first. 0: the end.
    ///
    /// Errors: [`Class::Truncated`] when the connection ends before the body, [`Class::Permanent`] for a chunk without
    /// a length.
    pub(super) fn read(&mut self, input: &mut impl Input, into: &mut [u8]) -> Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        match *self {
            Body::Done => Ok(0),
            Body::Sized(left) => {
                let want = usize::try_from(left).map_or(into.len(), |l| l.min(into.len()));
                let got = input.take(&mut into[..want])?;
                let left = left - got as u64;
                if got < want {
                    *self = Body::Done;
                    return Err(Failure::new(
                        Class::Truncated,
                        format!(
                            "the connection ended {left} bytes before the body's announced end"
                        ),
                    ));
                }
                *self = if left == 0 {
                    Body::Done
                } else {
                    Body::Sized(left)
                };
                Ok(got)
            }
            Body::Chunked { left, is_first } => self.read_chunk(left, is_first, input, into),
            Body::UntilClose => {
                let got = input.take(into)?;
                if got < into.len() {
                    *self = Body::Done;
                }
                Ok(got)
            }
        }
    }

    fn read_chunk(
        &mut self,
        mut left: u64,
        is_first: bool,
        input: &mut impl Input,
        into: &mut [u8],
    ) -> Result<usize> {
        if left == 0 {
            if !is_first && !input.line()?.is_empty() {
                return Err(Failure::new(
                    Class::Permanent,
                    "a chunk is longer than its announced length",
                ));
            }
            let line = input.line()?;
            let size = line.split(';').next().unwrap_or("").trim();
            let is_hex = !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit());
            left = Some(size)
                .filter(|_| is_hex)
                .and_then(|size| u64::from_str_radix(size, 16).ok())
                .ok_or_else(|| {
                    Failure::new(Class::Permanent, "a chunk of the answer has no length")
                })?;
            if left == 0 {
                // Trailers end with an empty line.
                for _ in 0..MAX_TRAILERS {
                    if input.line()?.is_empty() {
                        *self = Body::Done;
                        return Ok(0);
                    }
                }
                return Err(Failure::new(
                    Class::Permanent,
                    "the answer's trailers have no end",
                ));
            }
        }
        let want = usize::try_from(left).map_or(into.len(), |l| l.min(into.len()));
        let got = input.take(&mut into[..want])?;
        if got < want {
            return Err(ended());
        }
        *self = Body::Chunked {
            left: left - got as u64,
            is_first: false,
        };
        Ok(got)
    }
}

/// Bytes in memory as an [`Input`], as one answer of a connection that then ends; for tests and fuzzing.
pub(super) struct Recorded<'a>(pub(super) &'a [u8]);

impl Input for Recorded<'_> {
    fn take(&mut self, into: &mut [u8]) -> Result<usize> {
        let (now, later) = self.0.split_at(into.len().min(self.0.len()));
        into[..now.len()].copy_from_slice(now);
        self.0 = later;
        Ok(now.len())
    }

    fn line(&mut self) -> Result<String> {
        let end = self.0.iter().take(LONGEST_LINE).position(|b| *b == b'\n');
        let (line, later) = self.0.split_at(end.ok_or_else(ended)?);
        self.0 = &later[1..];
        Ok(String::from_utf8_lossy(line).trim_end().to_string())
    }
}

/// The head and the body of a recorded answer, the body read in pieces of `piece` bytes.
///
/// Errors: what [`super::connection::Connection`] would refuse.
pub(super) fn decode(bytes: &[u8], piece: usize) -> Result<(super::head::Head, Vec<u8>)> {
    let wrong = |what: String| Failure::new(Class::Permanent, what);
    let parsed = super::head::parse(bytes)
        .map_err(wrong)?
        .ok_or_else(ended)?;
    let mut body = Body::from(parsed.head.framing(true).map_err(wrong)?);
    let mut input = Recorded(&bytes[parsed.len..]);
    let mut all = Vec::new();
    let mut buffer = vec![0; piece.max(1)];
    loop {
        match body.read(&mut input, &mut buffer)? {
            0 => return Ok((parsed.head, all)),
            got => all.extend_from_slice(&buffer[..got]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_are_the_same_in_pieces_of_any_length() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            4\r\nWiki\r\n7;name=value\r\npedia i\r\nB\r\nn \r\nchunks.\r\n0\r\nx: y\r\n\r\n";
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 22\r\n\r\nWikipedia in \r\nchunks.";
        let closed = "HTTP/1.1 200 OK\r\n\r\nWikipedia in \r\nchunks.";
        for text in [chunked, sized, closed] {
            for piece in [1, 2, 3, 7, 22, 23, 1000] {
                let (_, body) = decode(text.as_bytes(), piece).unwrap();
                let body = String::from_utf8(body).unwrap();
                assert_eq!(body, "Wikipedia in \r\nchunks.", "{piece}: {text}");
            }
        }
    }

    #[test]
    fn a_body_that_ends_early_is_never_taken_for_a_whole_one() {
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nWiki\r\n0\r\n\r\n";
        let sized = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nWiki";
        for text in [chunked, sized] {
            let head = text.find("\r\n\r\n").unwrap() + 4;
            for cut in head..text.len() {
                let failure = decode(&text.as_bytes()[..cut], 3).unwrap_err();
                assert_eq!(failure.class, Class::Truncated, "{cut}: {failure}");
            }
        }
    }

    #[test]
    fn chunks_that_are_none_are_refused() {
        for body in [
            "+4\r\nWiki\r\n0\r\n\r\n",
            "\r\n",
            "4\r\nWikip\r\n0\r\n\r\n",
            "xyz\r\n",
        ] {
            let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{body}");
            let failure = decode(text.as_bytes(), 100).unwrap_err();
            assert_eq!(failure.class, Class::Permanent, "{body}: {failure}");
        }
    }
}
