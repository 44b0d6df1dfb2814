//! The table of formats. A format is one file (or folder) beside this one, and one row here.

use super::{Format, csv, indexed_binary, jpeg, npy, npz, png, synthetic, tfrecord};

/// How loaders walk the samples of a format's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Walked {
    /// One sample at a time.
    Samples,
    /// As a stream of records by TensorFlow's own dataset; one sample at a time by other loaders.
    Records,
    /// As a stream of row groups, by every loader.
    Groups,
}

/// What `decode: verify` can see of a changed file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verifies {
    /// Nothing: no bytes are read.
    Nothing,
    Length,
    /// Its structure: whatever stands between the elements of samples.
    Structure,
    /// Every byte, by checksums.
    Checksums,
}

/// What can be said of a format without its code.
pub struct Row {
    /// Its word in the YAML, which is also the extension of its files.
    pub word: &'static str,
    /// Extensions that other tools give such files.
    pub extensions: &'static [&'static str],
    /// How loaders walk its samples.
    pub walked: Walked,
    /// What `decode: verify` sees; the conformance suite asks.
    #[cfg_attr(not(test), expect(dead_code))]
    pub verifies: Verifies,
    /// Its code; None where this build leaves it out.
    pub format: Option<&'static dyn Format>,
}

/// The code of a format that a feature of the build brings.
macro_rules! feature {
    ($feature:literal, $format:path) => {{
        #[cfg(feature = $feature)]
        {
            Some(&$format as &dyn Format)
        }
        #[cfg(not(feature = $feature))]
        {
            None
        }
    }};
}

const fn samples(word: &'static str, verifies: Verifies, format: &'static dyn Format) -> Row {
    Row {
        word,
        extensions: &[],
        walked: Walked::Samples,
        verifies,
        format: Some(format),
    }
}

pub static FORMATS: &[Row] = &[
    samples("npz", Verifies::Checksums, &npz::Npz),
    samples("npy", Verifies::Structure, &npy::Npy),
    Row {
        word: "hdf5",
        extensions: &["h5"],
        walked: Walked::Samples,
        verifies: Verifies::Structure,
        format: feature!("hdf5", super::hdf5::Hdf5),
    },
    Row {
        word: "tfrecord",
        extensions: &["tfrecords"],
        walked: Walked::Records,
        verifies: Verifies::Checksums,
        format: Some(&tfrecord::Tfrecord),
    },
    samples("csv", Verifies::Structure, &csv::Csv),
    Row {
        extensions: &["jpg"],
        ..samples("jpeg", Verifies::Structure, &jpeg::Jpeg)
    },
    samples("png", Verifies::Checksums, &png::Png),
    samples(
        "indexed_binary",
        Verifies::Length,
        &indexed_binary::IndexedBinary,
    ),
    samples(
        "mmap_indexed_binary",
        Verifies::Length,
        &indexed_binary::IndexedBinary,
    ),
    samples("synthetic", Verifies::Nothing, &synthetic::Synthetic),
    Row {
        word: "parquet",
        extensions: &[],
        walked: Walked::Groups,
        verifies: Verifies::Checksums,
        format: feature!("parquet", super::parquet::Parquet),
    },
];

/// The row of a format's word or of an extension of its files.
pub fn row(word: &str) -> Option<&'static Row> {
    FORMATS
        .iter()
        .find(|row| row.word == word || row.extensions.contains(&word))
}

/// The words of the formats that this build has.
pub fn built() -> Vec<&'static str> {
    FORMATS
        .iter()
        .filter(|row| row.format.is_some())
        .map(|row| row.word)
        .collect()
}
