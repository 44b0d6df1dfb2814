//! Checksums of whole objects that a server sends along.

use crate::util::crc32c;

/// A running checksum and the value that it must have at the end.
#[derive(Clone)]
pub(crate) struct Expected {
    /// Big-endian bytes, as the header's base64 holds them.
    pub value: Vec<u8>,
    /// The header that brought it.
    pub header: String,
    /// Which one.
    pub kind: Kind,
}

/// Checksums that servers send with GET; Azure sends neither.
#[cfg_attr(not(feature = "s3"), allow(dead_code))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `x-amz-checksum-crc32`
    Crc32,
    /// `x-amz-checksum-crc32c`
    Crc32c,
}

/// A checksum under way.
pub(crate) struct Running {
    expected: Expected,
    crc32: crc32fast::Hasher,
    crc32c: u32,
}

impl Running {
    pub(crate) fn new(expected: Expected) -> Self {
        Running {
            expected,
            crc32: crc32fast::Hasher::new(),
            crc32c: 0,
        }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        match self.expected.kind {
            Kind::Crc32 => self.crc32.update(bytes),
            Kind::Crc32c => self.crc32c = crc32c::append(self.crc32c, bytes),
        }
    }

    /// None when it is right, else what is wrong.
    pub(crate) fn finish(self) -> Option<String> {
        let value = match self.expected.kind {
            Kind::Crc32 => self.crc32.finalize(),
            Kind::Crc32c => self.crc32c,
        };
        (value.to_be_bytes() != *self.expected.value).then(|| {
            format!(
                "the bytes that came do not have the checksum of {}",
                self.expected.header
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_seen() {
        // Source: the check values of "123456789" in the catalogue of parametrised CRC algorithms.
        for (kind, check) in [(Kind::Crc32, 0xcbf4_3926_u32), (Kind::Crc32c, 0xe306_9283)] {
            let run = |bytes: &[u8]| {
                let mut running = Running::new(Expected {
                    value: check.to_be_bytes().to_vec(),
                    header: "x".into(),
                    kind,
                });
                bytes.chunks(4).for_each(|part| running.push(part));
                running.finish()
            };
            assert_eq!(run(b"123456789"), None);
            assert!(run(b"123456780").is_some());
        }
    }
}
