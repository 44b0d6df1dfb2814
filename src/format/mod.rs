//! File formats: one file each. A format streams its files, says where samples lie, and checks what was read.
//!
//! It knows no storage system: metadata comes through a [`Source`], bytes of samples through whoever reads the extents
//! that an [`Index`] names. Whoever calls it adds the file's name to an error.
//!
//! | Format | A sample is read as | `verify` checks | `full` decodes |
//! |---|---|---|---|
//! | `npz` | the whole file | zip structure, CRC-32 | inflate, numpy header |
//! | `npy` | the whole file (the sample axis is last, so a sample is spread over all of it) | header, length | the same |
//! | `hdf5` | its bytes or chunks, by libhdf5's metadata | metadata, lengths | gzip, lzf, shuffle and fletcher32 undone |
//! | `tfrecord` | whole records, by the index or a scan of the headers | lengths, CRC-32C | the Example message |
//! | `csv` | the whole file | rows, cells, the compression's checksum | every number |
//! | `jpeg` | the whole file | markers | the image |
//! | `png` | the whole file | chunks, CRC-32 | the image |
//! | `indexed_binary`, `mmap_indexed_binary` | its bytes, by the index | length | the same |
//! | `synthetic` | nothing | nothing | nothing |
//! | `parquet` | the chunks of the wanted columns in its row group | page headers, page CRC-32 | decompress, decode into arrays |

mod chunks;
#[cfg(test)]
mod conformance;
pub(crate) mod container;
pub mod content;
mod csv;
mod csv_check;
mod error;
#[cfg(feature = "hdf5")]
mod hdf5;
mod image;
mod indexed_binary;
mod jpeg;
mod jpeg_check;
mod length;
pub mod memory;
pub mod npy;
pub mod npz;
mod npz_check;
mod npz_full;
mod options;
#[cfg(feature = "parquet")]
pub mod parquet;
mod png;
pub mod source;
mod spans;
mod synthetic;
mod table;
#[cfg(test)]
mod test_support;
mod tfrecord;
mod tfrecord_check;
mod tfrecord_frame;

use std::any::Any;
use std::sync::Arc;

use crate::config::Decode;
use crate::plan::fill::Fill;
use crate::storage::Extent;

pub use crate::config::Element;
pub(crate) use chunks::Chunks;
pub use error::FormatError;
pub(crate) use error::Found;
pub(crate) use length::{LengthChecker, check_len, unpacked_limit};
pub use options::{FormatOptions, Key};
pub use source::{Companion, Source};
pub use table::{Row, Verifies, Walked, built, row};

/// What encoding, reading and checking of files come to.
pub type Result<T, E = FormatError> = std::result::Result<T, E>;

/// What one file holds.
#[derive(Clone)]
pub struct FileSpec<'a> {
    pub sample_dims: &'a [u64],
    pub samples: u64,
    pub element: Element,
    /// The sample bytes, by offset from the first sample.
    pub fill: Fill,
    /// Number of the file over train, then valid.
    pub file: u64,
    /// What the YAML says of the format.
    pub options: &'a FormatOptions,
}

impl FileSpec<'_> {
    pub fn sample_elements(&self) -> u64 {
        self.sample_dims.iter().product()
    }

    pub fn sample_len(&self) -> u64 {
        self.sample_elements() * self.element.bytes
    }

    /// Bytes of all samples.
    pub fn payload_len(&self) -> u64 {
        self.sample_len() * self.samples
    }
}

/// What a reader expects of a file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expect {
    pub samples: u64,
    /// The first sample that is wanted.
    pub sample: u64,
    /// How many are wanted.
    pub count: u64,
    /// Bytes that the file has at least; 1 or less for files of other writers, of which nothing is known.
    pub min_len: u64,
}

impl Expect {
    /// Whether the file was made here.
    pub(crate) fn is_own(&self) -> bool {
        self.min_len > 1
    }
}

/// A file whose bytes are about to come.
#[derive(Clone, Copy)]
pub struct Opened<'a> {
    /// Bytes of the whole file.
    pub file_len: u64,
    /// What its reader expects.
    pub expect: Expect,
    /// The extents whose bytes come, one after another.
    pub extents: &'a [Extent],
    /// Its metadata, where the format has an index.
    pub index: Option<&'a Arc<dyn Index>>,
    /// What the file was made of, when its contents are to be compared.
    pub spec: Option<&'a FileSpec<'a>>,
}

/// Where a writer's bytes go.
pub type Out<'a> = &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>;

/// How the samples of a file are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// In ascending order, each once: a unit of storage that holds several samples is read with its first one.
    Stream,
    /// In any order: the unit is read for every request.
    Random,
}

/// A file's metadata: where its samples lie.
pub trait Index: Send + Sync {
    fn samples(&self) -> u64;
    /// Appends the byte ranges of `count` samples from `first`; `first + count <= samples()`.
    fn extents(&self, first: u64, count: u64, access: Access, out: &mut Vec<Extent>);
    /// Bytes of memory that it holds, about.
    fn memory(&self) -> usize;
    /// One line per array, feature or column, with shape and type, for people.
    fn describe(&self) -> Vec<String>;
    /// For the format's own checker.
    fn as_any(&self) -> &dyn Any;
}

/// Bytes of memory of a file's metadata beside what it has per sample, chunk or column.
const INDEX: u64 = 512;

/// A file format.
pub trait Format: Sync {
    /// The keys of `dataset` that only this format understands, as far as they change its files.
    fn keys(&self, options: &FormatOptions) -> Vec<Key> {
        let _ = options;
        Vec::new()
    }

    /// Whether files of these dimensions and options can be made; says why not.
    fn supports(&self, spec: &FileSpec) -> Result<()> {
        no_compression(spec)
    }

    /// Bytes of a file; None when only encoding tells.
    fn encoded_len(&self, spec: &FileSpec) -> Option<u64>;

    /// Bytes that a file has at least, for a first look at a dataset.
    fn min_len(&self, spec: &FileSpec) -> u64 {
        self.encoded_len(spec).map_or(1, |_| spec.payload_len())
    }

    /// Bytes that a file made here has at least, also where only encoding tells how many it has.
    fn least_len(&self, spec: &FileSpec) -> u64 {
        (self.encoded_len(spec)).unwrap_or_else(|| self.min_len(spec))
    }

    /// What a workload means a file of another writer to hold, bytes: what throughput counts of it. 0: its size says nothing.
    fn nominal_len(&self, spec: &FileSpec) -> u64 {
        self.min_len(spec).max(spec.payload_len())
    }

    /// Streams a file in order through `chunk`-sized writes; memory does not depend on the file's size.
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()>;

    /// Files that belong to each data file. They are written before it.
    fn companions(&self) -> &'static [Companion] {
        &[]
    }

    /// Streams companion number `which`.
    fn encode_companion(
        &self,
        which: usize,
        spec: &FileSpec,
        chunk: &mut [u8],
        out: Out,
    ) -> Result<()> {
        let _ = (which, spec, chunk, out);
        Ok(())
    }

    fn companion_len(&self, which: usize, spec: &FileSpec) -> u64 {
        let _ = (which, spec);
        0
    }

    /// Whether the samples of a read need metadata to be found; otherwise the whole file is read.
    fn needs_index(&self, expect: &Expect, options: &FormatOptions) -> bool {
        let _ = (expect, options);
        false
    }

    /// Whether decoding keeps a whole file and what it decodes to in memory.
    fn holds_whole_file(&self) -> bool {
        false
    }

    /// Whether a loader reads files of this format at all.
    fn has_reads(&self) -> bool {
        true
    }

    /// Reads a file's metadata. Only called where [`Format::needs_index`] says so, and for people.
    ///
    /// Errors: the metadata is damaged, disagrees with the file, or cannot be read.
    fn index(&self, source: &mut dyn Source, options: &FormatOptions) -> Result<Arc<dyn Index>> {
        let _ = (source, options);
        Err(FormatError::content(
            "files of this format are read whole and have no index",
        ))
    }

    /// Bytes of memory that the metadata of a file takes, about: see [`Index::memory`].
    fn index_memory(&self, spec: &FileSpec) -> u64 {
        spec.samples.saturating_mul(16) + INDEX
    }

    /// A checker that is used for one file after another.
    fn checker(&self, decode: Decode, options: &FormatOptions) -> Box<dyn Checker> {
        match decode {
            Decode::None => Box::new(LengthChecker::default()),
            _ => self.content_checker(decode == Decode::Full, options),
        }
    }

    /// The checker of `decode: full`, else of `verify`. A format with neither structure nor checksum names
    /// [`LengthChecker`] itself: one that forgot its checker would verify nothing and say that it had.
    fn content_checker(&self, is_full: bool, options: &FormatOptions) -> Box<dyn Checker>;

    /// Whether `head`, the first bytes of an existing file, is how this file begins.
    fn stamp(&self, spec: &FileSpec, head: &[u8]) -> bool {
        begins_with(head, |chunk, out| self.encode(spec, chunk, out))
    }

    /// Whether files of this format may hold bare bytes of a sample instead, as some generators write them.
    fn may_be_bare(&self, spec: &FileSpec) -> bool {
        let _ = spec;
        false
    }

    /// Whether a file of `file_len` bytes that begins with `head` is bare bytes of a sample.
    fn is_bare(&self, spec: &FileSpec, file_len: u64, head: &[u8]) -> bool {
        let _ = (spec, file_len, head);
        false
    }

    /// Streams what extents of a file made here hold, one after another.
    fn expected(&self, opened: &Opened, spec: &FileSpec, out: Out) -> Result<()> {
        let _ = opened;
        self.encode(spec, &mut vec![0; 1 << 18], out)
    }
}

/// Whether what `encode` streams begins with `head`.
pub(crate) fn begins_with(head: &[u8], encode: impl FnOnce(&mut [u8], Out) -> Result<()>) -> bool {
    let mut chunk = vec![0; head.len().clamp(1, 1 << 16)];
    let mut at = 0;
    let mut same = true;
    let stopped = encode(&mut chunk, &mut |bytes| {
        let n = bytes.len().min(head.len() - at);
        same &= bytes[..n] == head[at..at + n];
        at += n;
        if !same || at == head.len() {
            // Not `Interrupted`: a compressor between would try again.
            return Err(std::io::ErrorKind::BrokenPipe.into());
        }
        Ok(())
    });
    let reached = at == head.len() || stopped.is_ok();
    same && reached && !head.is_empty()
}

/// Refuses `dataset.compression` for a format that has none.
pub(crate) fn no_compression(spec: &FileSpec) -> Result<()> {
    match spec.options.compression {
        crate::config::Compression::None => Ok(()),
        other => Err(FormatError::Content(format!(
            "dataset.compression={other} is not possible for this format"
        ))),
    }
}

/// Looks at the bytes of one file after another as they come.
pub trait Checker: Send {
    /// A file begins.
    fn begin(&mut self, opened: &Opened);
    /// Its next bytes.
    fn push(&mut self, chunk: &[u8]) -> Result<()>;
    fn finish(&mut self) -> Result<()>;
}
