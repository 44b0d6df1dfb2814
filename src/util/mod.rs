//! Small things that every room needs and that know nothing of any room: each written once.
//!
//! | Module | What it is |
//! |---|---|
//! | [`bytes`] | little-endian numbers inside a slice |
//! | [`crc32c`] | CRC-32C by SIMD |
//! | [`hash`] | mixing functions and hashes that are part of what a run writes |
//! | [`json`] | JSON of unknown origin, within a budget of memory |
//! | [`text`] | text that a terminal can be shown |
//! | [`units`] | powers of two |
//! | [`varint`] | numbers of seven bits per byte |

pub(crate) mod bytes;
pub(crate) mod crc32c;
pub(crate) mod hash;
pub(crate) mod json;
pub(crate) mod text;
pub(crate) mod units;
pub(crate) mod varint;

/// Names of what a folder holds, sorted.
#[cfg(test)]
pub(crate) fn names_in(folder: &std::path::Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}
