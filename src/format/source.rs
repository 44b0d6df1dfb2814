//! Where a format reads metadata from: one file and its companions, at any offset.

use std::path::{Path, PathBuf};

use super::Result;

/// Random reads of one file. They go through the storage system but are no part of what is measured as sample bytes.
pub trait Source {
    fn file_len(&mut self) -> Result<u64>;
    /// Reads `buf.len()` bytes at `offset`.
    ///
    /// Errors: [`FormatError::Truncated`] when the file ends before; whatever the storage system says.
    fn read_at(&mut self, offset: u64, buf: &mut [u8]) -> Result<()>;
    /// All bytes of a companion file, at most `limit`; None when it does not exist.
    fn companion(&mut self, companion: &Companion, limit: u64) -> Result<Option<Vec<u8>>>;
    /// A companion's name, for messages.
    fn companion_name(&self, companion: &Companion) -> String {
        format!("the file of its name and {}", companion.suffix())
    }
}

/// A file that belongs to a data file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Companion {
    /// Beside it: its name and this suffix.
    Suffix(&'static str),
    /// `index/<train|valid>/<its name>` and this suffix, beside the split's folder.
    IndexFolder(&'static str),
}

impl Companion {
    /// Its path.
    ///
    /// Source: DLIO `data_generator/{indexed_binary,tf}_generator.py`.
    pub fn path(&self, data_file: &Path) -> PathBuf {
        let name = data_file.file_name().unwrap_or_default().to_string_lossy();
        match self {
            Companion::Suffix(suffix) => data_file.with_file_name(format!("{name}{suffix}")),
            Companion::IndexFolder(suffix) => {
                let split = data_file.ancestors().skip(1).take(2).find(|folder| {
                    matches!(
                        folder.file_name().and_then(|n| n.to_str()),
                        Some("train" | "valid")
                    )
                });
                let split = split.or(data_file.parent()).unwrap_or(Path::new(""));
                let root = split.parent().unwrap_or(Path::new(""));
                root.join("index")
                    .join(split.file_name().unwrap_or_default())
                    .join(format!("{name}{suffix}"))
            }
        }
    }

    /// The suffix of its name.
    pub fn suffix(&self) -> &'static str {
        match self {
            Companion::Suffix(suffix) | Companion::IndexFolder(suffix) => suffix,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn companions_lie_where_dlio_puts_them() {
        let index = Companion::IndexFolder(".idx");
        for (file, expected) in [
            ("/d/train/a.tfrecord", "/d/index/train/a.tfrecord.idx"),
            ("/d/valid/3/a.tfrecord", "/d/index/valid/a.tfrecord.idx"),
        ] {
            assert_eq!(index.path(Path::new(file)), Path::new(expected));
        }
        assert_eq!(
            Companion::Suffix(".off.idx").path(Path::new("/d/train/0/a.indexed_binary")),
            Path::new("/d/train/0/a.indexed_binary.off.idx")
        );
    }
}
