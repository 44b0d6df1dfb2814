//! What is wrong with a file, by what is proven.

use crate::storage::StorageError;

/// Where something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// In metadata, without which no sample can be found.
    InMetadata,
    /// In the bytes of samples, which only `reader.decode` other than none looks at.
    InContents,
}

/// What is wrong with a file's contents.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    #[error("truncated: {got} bytes where {expected} were expected")]
    Truncated { expected: u64, got: u64 },
    /// It is another kind of file.
    #[error("wrong magic: {found:02x?} is not the start of {what}")]
    Magic {
        /// What it should be.
        what: &'static str,
        found: Vec<u8>,
    },
    /// Its bytes changed.
    #[error("checksum of {member} differs: stored {stored:08x}, computed {computed:08x}")]
    Checksum {
        /// Which part.
        member: String,
        /// As the file says.
        stored: u32,
        /// As its bytes say.
        computed: u32,
    },
    /// Its samples are not those that were generated.
    #[error(
        "contents of {samples} differ from what was generated, within bytes {from}..{to} of the file"
    )]
    Altered {
        /// `sample 3` or `samples 3..7`.
        samples: String,
        /// First byte of the block that differs.
        from: u64,
        /// End of that block.
        to: u64,
    },
    /// Its structure contradicts itself, so it is damaged whoever wrote it.
    #[error("{0}")]
    Damaged(String),
    /// It may be sound, but holds what is not supported here.
    #[error("{0}")]
    Unsupported(String),
    /// It holds something else than the workload says.
    #[error("{0}")]
    Content(String),
    /// Writing failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
    /// Reading metadata failed.
    #[error("{0}")]
    Storage(#[from] Box<StorageError>),
}

impl FormatError {
    /// It holds something else than it should.
    pub(crate) fn content(text: impl Into<String>) -> Self {
        FormatError::Content(text.into())
    }

    /// It does not begin as `what` does; a file that is compressed as a whole is named.
    pub(crate) fn magic(what: &'static str, head: &[u8]) -> Self {
        const PACKINGS: [(&[u8], &str); 5] = [
            (&[0x1f, 0x8b], "gzip"),
            (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
            (b"BZh", "bzip2"),
            (&[0xfd, b'7', b'z', b'X', b'Z'], "xz"),
            (&[0x04, 0x22, 0x4d, 0x18], "lz4"),
        ];
        // A format looks at as many bytes as its own beginning has: two of a JPEG.
        let is_begun = |magic: &[u8]| {
            let known = magic.len().min(head.len());
            known >= 2 && magic[..known] == head[..known]
        };
        match PACKINGS.iter().find(|(magic, _)| is_begun(magic)) {
            Some((_, name)) => FormatError::Unsupported(format!(
                "it is compressed as a whole ({name}), which is not supported: {what} was expected"
            )),
            None => FormatError::Magic {
                what,
                found: head[..head.len().min(8)].to_vec(),
            },
        }
    }

    /// Its structure contradicts itself.
    pub(crate) fn damaged(text: impl Into<String>) -> Self {
        FormatError::Damaged(text.into())
    }

    /// It may be sound, but is not supported; `what` says so.
    pub(crate) fn unsupported(what: impl Into<String>) -> Self {
        FormatError::Unsupported(what.into())
    }

    /// What to do about it.
    pub(crate) fn remedy(&self, found: Found) -> String {
        let cause = match self {
            FormatError::Truncated { .. }
            | FormatError::Checksum { .. }
            | FormatError::Damaged(_) => "the file is damaged: generate or copy it again",
            FormatError::Magic { .. } => {
                "it is no file of dataset.format: check dataset.format and dataset.data_folder"
            }
            FormatError::Unsupported(_) => "write the file without it",
            FormatError::Altered { .. } => {
                "the file was changed, or generated with other settings: generate it again, or set reader.verify_content=off"
            }
            FormatError::Content(_) => {
                "the file is not what the workload describes: correct the workload, or generate the file again"
            }
            FormatError::Io(_) | FormatError::Storage(_) => "check that the file can be read",
        };
        let is_optional = match self {
            FormatError::Truncated { .. } | FormatError::Altered { .. } => false,
            _ => found == Found::InContents,
        };
        if is_optional {
            format!("{cause}, or set reader.decode=none to measure reads only")
        } else {
            cause.into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_files_are_named_by_as_many_bytes_as_a_format_looks_at() {
        for (magic, name) in [
            (&b"\x1f\x8b\x08\0\0\0"[..], "gzip"),
            (b"\x28\xb5\x2f\xfd\0\0", "zstd"),
            (b"BZh91A", "bzip2"),
            (b"\xfd7zXZ\0", "xz"),
            (b"\x04\x22\x4d\x18\0\0", "lz4"),
        ] {
            for known in 2..=magic.len() {
                let error = FormatError::magic("an image", &magic[..known]);
                assert!(error.to_string().contains(name), "{known}: {error}");
            }
        }
        for head in [&b""[..], b"B", b"ab", b"BM"] {
            let error = FormatError::magic("an image", head);
            assert!(matches!(error, FormatError::Magic { .. }), "{error}");
        }
    }
}
