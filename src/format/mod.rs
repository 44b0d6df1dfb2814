//! File formats: one file each. A format streams its files, says where a sample lies, and checks what was read.
//!
//! It knows no path and no storage system; whoever calls it adds the file's name to an error.

pub mod npy;
pub mod npz;
mod npz_check;

use crate::config::{Decode, FormatKind};
use crate::plan::fill::Fill;
use crate::storage::Extent;

pub use crate::config::Element;

/// Every format of this version.
pub static FORMATS: &[&dyn Format] = &[&npz::Npz, &npy::Npy];

/// The format of this name, if this version has it.
pub fn by_kind(kind: FormatKind) -> Option<&'static dyn Format> {
    FORMATS.iter().copied().find(|format| format.kind() == kind)
}

/// The formats that this version has.
pub fn built() -> Vec<FormatKind> {
    FORMATS.iter().map(|format| format.kind()).collect()
}

/// What one file holds.
#[derive(Clone)]
pub struct FileSpec<'a> {
    /// Shape of a sample.
    pub sample_dims: &'a [u64],
    /// Samples.
    pub samples: u64,
    /// Type of an element.
    pub element: Element,
    /// The sample bytes, by offset from the first sample.
    pub fill: Fill,
}

impl FileSpec<'_> {
    /// Bytes of all samples.
    pub fn payload_len(&self) -> u64 {
        self.sample_dims.iter().product::<u64>() * self.samples * self.element.bytes
    }
}

/// What a reader expects of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expect {
    /// Samples in the file.
    pub samples: u64,
    /// The sample that is wanted.
    pub sample: u64,
    /// Bytes that the file has at least.
    pub min_len: u64,
}

/// Where a writer's bytes go.
pub type Out<'a> = &'a mut dyn FnMut(&[u8]) -> std::io::Result<()>;

/// A file format.
pub trait Format: Sync {
    /// Its word in the YAML.
    fn kind(&self) -> FormatKind;
    /// Bytes of a file.
    fn encoded_len(&self, spec: &FileSpec) -> u64;
    /// Streams a file in order through `chunk`-sized writes; memory does not depend on the file's size.
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<(), FormatError>;
    /// Which bytes hold `count` samples from `first`.
    fn locate(&self, first: u64, count: u64) -> Extent;
    /// A checker that is used for one file after another.
    fn checker(&self, decode: Decode) -> Box<dyn Checker>;
    /// Whether `head`, the first bytes of an existing file, is how this file begins.
    fn stamp(&self, spec: &FileSpec, head: &[u8]) -> bool;
}

/// Looks at the bytes of one file after another as they come.
pub trait Checker: Send {
    /// A file of `file_len` bytes begins.
    fn begin(&mut self, file_len: u64, expect: &Expect);
    /// Its next bytes.
    fn push(&mut self, chunk: &[u8]) -> Result<(), FormatError>;
    /// Its end.
    fn finish(&mut self) -> Result<(), FormatError>;
}

/// What is wrong with a file's contents.
#[derive(Debug, thiserror::Error)]
pub enum FormatError {
    /// It ends too early.
    #[error("truncated: {got} bytes where {expected} were expected")]
    Truncated {
        /// Bytes expected.
        expected: u64,
        /// Bytes there.
        got: u64,
    },
    /// It is another kind of file.
    #[error("wrong magic: {found:02x?} is not the start of {what}")]
    Magic {
        /// What it should be.
        what: &'static str,
        /// What is there.
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
    /// It holds something else.
    #[error("{0}")]
    Content(String),
    /// Writing failed.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

/// Gathers bytes into full chunks, so that every write but the last is aligned in the file.
pub(crate) struct Chunks<'a, 'b> {
    chunk: &'a mut [u8],
    used: usize,
    out: Out<'b>,
}

impl<'a, 'b> Chunks<'a, 'b> {
    pub(crate) fn new(chunk: &'a mut [u8], out: Out<'b>) -> Self {
        Chunks {
            chunk,
            used: 0,
            out,
        }
    }

    fn flush_if_full(&mut self) -> std::io::Result<()> {
        if self.used == self.chunk.len() {
            (self.out)(self.chunk)?;
            self.used = 0;
        }
        Ok(())
    }

    pub(crate) fn bytes(&mut self, mut bytes: &[u8]) -> std::io::Result<()> {
        while !bytes.is_empty() {
            let n = bytes.len().min(self.chunk.len() - self.used);
            self.chunk[self.used..self.used + n].copy_from_slice(&bytes[..n]);
            self.used += n;
            bytes = &bytes[n..];
            self.flush_if_full()?;
        }
        Ok(())
    }

    pub(crate) fn fill(&mut self, fill: &Fill, len: u64) -> std::io::Result<()> {
        let mut at = 0;
        while at < len {
            let n = (len - at).min((self.chunk.len() - self.used) as u64) as usize;
            fill.fill(at, &mut self.chunk[self.used..self.used + n]);
            self.used += n;
            at += n as u64;
            self.flush_if_full()?;
        }
        Ok(())
    }

    pub(crate) fn end(self) -> std::io::Result<()> {
        if self.used > 0 {
            (self.out)(&self.chunk[..self.used])
        } else {
            Ok(())
        }
    }
}

/// Counts bytes only: what `decode: none` does.
#[derive(Default)]
pub(crate) struct LengthChecker {
    file_len: u64,
    min_len: u64,
    got: u64,
}

impl Checker for LengthChecker {
    fn begin(&mut self, file_len: u64, expect: &Expect) {
        *self = LengthChecker {
            file_len,
            min_len: expect.min_len,
            got: 0,
        };
    }
    fn push(&mut self, chunk: &[u8]) -> Result<(), FormatError> {
        self.got += chunk.len() as u64;
        Ok(())
    }
    fn finish(&mut self) -> Result<(), FormatError> {
        check_len(self.got, self.file_len, self.min_len)
    }
}

/// All of the file was seen, and it is as long as its samples need.
pub(crate) fn check_len(got: u64, file_len: u64, min_len: u64) -> Result<(), FormatError> {
    let expected = file_len.max(min_len).max(1);
    if got < expected {
        Err(FormatError::Truncated { expected, got })
    } else {
        Ok(())
    }
}
