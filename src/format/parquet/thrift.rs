//! Thrift's compact protocol, as much of it as parquet's metadata needs.
//!
//! The reader allocates nothing by an announced size: a list may have no more elements, and a text no more bytes, than bytes
//! are left. Source: `thrift-compact-protocol.md` of Apache Thrift.

use crate::format::FormatError;
use crate::util::varint::{self, VarintError};

const TRUE: u8 = 1;
const FALSE: u8 = 2;
pub(super) const I32: u8 = 5;
pub(super) const I64: u8 = 6;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

/// No structure of parquet nests deeper.
const MAX_DEPTH: usize = 32;

/// Bytes beyond which a name is refused.
const MAX_TEXT: u64 = 1 << 16;

/// Writes structures into a buffer.
#[derive(Default)]
pub(super) struct Writer {
    /// What was written.
    pub out: Vec<u8>,
    last: Vec<i16>,
}

impl Writer {
    pub(super) fn varint(&mut self, v: u64) {
        varint::put(&mut self.out, v);
    }

    fn zigzag(&mut self, v: i64) {
        self.varint(varint::zigzag(v));
    }

    /// Begins a structure that is no field: the outermost, or an element of a list.
    pub(super) fn begin(&mut self) {
        self.last.push(0);
    }

    /// Ends a structure.
    pub(super) fn end(&mut self) {
        self.last.pop();
        self.out.push(0);
    }

    fn field(&mut self, id: i16, kind: u8) {
        let last = self.last.last_mut().expect("fields stand in structures");
        let delta = id - *last;
        *last = id;
        debug_assert!((1..=15).contains(&delta));
        self.out.push((delta as u8) << 4 | kind);
    }

    pub(super) fn i32(&mut self, id: i16, v: i32) {
        self.field(id, I32);
        self.zigzag(v.into());
    }

    /// The same in five bytes, whatever the value.
    pub(super) fn i32_wide(&mut self, id: i16, v: i32) {
        self.field(id, I32);
        let v = ((v << 1) ^ (v >> 31)) as u32;
        for shift in [0, 7, 14, 21] {
            self.out.push((v >> shift) as u8 | 0x80);
        }
        self.out.push((v >> 28) as u8);
    }

    pub(super) fn i64(&mut self, id: i16, v: i64) {
        self.field(id, I64);
        self.zigzag(v);
    }

    /// An element of a list of numbers.
    pub(super) fn number(&mut self, v: i64) {
        self.zigzag(v);
    }

    pub(super) fn i8(&mut self, id: i16, v: i8) {
        self.field(id, 3);
        self.out.push(v as u8);
    }

    pub(super) fn bool(&mut self, id: i16, v: bool) {
        self.field(id, if v { TRUE } else { FALSE });
    }

    /// An element of a list of texts.
    pub(super) fn text(&mut self, v: &str) {
        self.varint(v.len() as u64);
        self.out.extend_from_slice(v.as_bytes());
    }

    pub(super) fn binary(&mut self, id: i16, v: &str) {
        self.field(id, BINARY);
        self.text(v);
    }

    pub(super) fn list(&mut self, id: i16, kind: u8, len: u64) {
        self.field(id, LIST);
        if len < 15 {
            self.out.push((len as u8) << 4 | kind);
        } else {
            self.out.push(0xf0 | kind);
            self.varint(len);
        }
    }

    /// Begins a structure that is a field.
    pub(super) fn structure(&mut self, id: i16) {
        self.field(id, STRUCT);
        self.begin();
    }
}

/// Why a structure cannot be read. A word long: every byte that is read could be one.
#[derive(Debug)]
pub(super) enum Broken {
    /// Its bytes end too early.
    Short,
    Other(Box<Cause>),
}

#[derive(Debug)]
pub(super) enum Cause {
    /// It is no such structure.
    Because(String),
    /// It holds something that is not supported.
    Unsupported(String),
    /// Its bytes cannot be read.
    Reading(FormatError),
}

impl From<VarintError> for Broken {
    fn from(error: VarintError) -> Self {
        Broken::because(<&str>::from(error))
    }
}

impl Broken {
    #[cold]
    pub(super) fn because(text: impl Into<String>) -> Self {
        Broken::Other(Box::new(Cause::Because(text.into())))
    }

    #[cold]
    pub(super) fn unsupported(text: impl Into<String>) -> Self {
        Broken::Other(Box::new(Cause::Unsupported(text.into())))
    }

    #[cold]
    pub(super) fn reading(error: FormatError) -> Self {
        Broken::Other(Box::new(Cause::Reading(error)))
    }

    /// The error of a structure of which all bytes are there.
    pub(super) fn into_error(self, what: &str) -> FormatError {
        let Broken::Other(cause) = self else {
            return FormatError::damaged(format!("{what} is damaged: it ends too early"));
        };
        match *cause {
            Cause::Because(cause) => FormatError::damaged(format!("{what} is damaged: {cause}")),
            Cause::Unsupported(what) => FormatError::unsupported(what),
            Cause::Reading(error) => error,
        }
    }
}

/// Where bytes come from.
pub(super) trait Bytes {
    /// The next byte.
    fn byte(&mut self) -> Result<u8, Broken>;
    /// Passes over so many bytes, of those that are left.
    fn skip(&mut self, n: usize) -> Result<(), Broken>;
    fn left(&self) -> u64;
}

/// Bytes in memory.
pub(super) struct Slice<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Slice<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Slice { bytes, at: 0 }
    }

    /// Bytes that were read.
    pub(super) fn used(&self) -> usize {
        self.at
    }
}

impl Bytes for Slice<'_> {
    fn byte(&mut self) -> Result<u8, Broken> {
        let byte = *self.bytes.get(self.at).ok_or(Broken::Short)?;
        self.at += 1;
        Ok(byte)
    }
    fn skip(&mut self, n: usize) -> Result<(), Broken> {
        self.at += n;
        Ok(())
    }
    fn left(&self) -> u64 {
        (self.bytes.len() - self.at) as u64
    }
}

/// Reads structures.
pub(super) struct Reader<B> {
    pub bytes: B,
    depth: usize,
}

impl<B: Bytes> Reader<B> {
    pub(super) fn new(bytes: B) -> Self {
        Reader { bytes, depth: 0 }
    }

    fn varint(&mut self) -> Result<u64, Broken> {
        varint::read(|| self.bytes.byte())
    }

    /// A number of any width but a byte.
    pub(super) fn int(&mut self) -> Result<i64, Broken> {
        Ok(varint::unzigzag(self.varint()?))
    }

    /// A number of 32 bits.
    pub(super) fn int32(&mut self) -> Result<i32, Broken> {
        let v = self.int()?;
        i32::try_from(v).map_err(|_| Broken::because(format!("{v} has more than 32 bits")))
    }

    /// A number that counts something.
    pub(super) fn count(&mut self) -> Result<u64, Broken> {
        let v = self.int()?;
        u64::try_from(v).map_err(|_| Broken::because(format!("a size or count is {v}")))
    }

    fn fits(&self, len: u64) -> Result<usize, Broken> {
        if len > self.bytes.left() {
            return Err(Broken::Short);
        }
        Ok(len as usize)
    }

    pub(super) fn text(&mut self) -> Result<String, Broken> {
        let len = self.varint()?;
        if len > MAX_TEXT {
            return Err(Broken::because(format!("a name has {len} bytes")));
        }
        let len = self.fits(len)?;
        let mut text = Vec::with_capacity(len);
        for _ in 0..len {
            text.push(self.bytes.byte()?);
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// The length of a list, whose elements are then read one by one, and their kind.
    pub(super) fn list(&mut self) -> Result<(usize, u8), Broken> {
        let head = self.bytes.byte()?;
        let len = match head >> 4 {
            15 => self.varint()?,
            len => len.into(),
        };
        // Every element takes a byte at least.
        Ok((self.fits(len)?, head & 15))
    }

    /// The length of a list of elements of one kind.
    pub(super) fn list_of(&mut self, kind: u8) -> Result<usize, Broken> {
        match self.list()? {
            (0, _) => Ok(0),
            (len, found) if found == kind => Ok(len),
            (_, found) => Err(Broken::because(format!(
                "a list holds values of type {found} where {kind} belongs"
            ))),
        }
    }

    /// A structure. `field` gets each field's number and kind and says whether it has read it; others are skipped.
    pub(super) fn structure(
        &mut self,
        field: &mut impl FnMut(&mut Self, i16, u8) -> Result<bool, Broken>,
    ) -> Result<(), Broken> {
        self.deeper()?;
        let mut id = 0i16;
        loop {
            let head = self.bytes.byte()?;
            let kind = head & 15;
            if kind == 0 {
                break;
            }
            id = match head >> 4 {
                0 => self.int()? as i16,
                delta => id.wrapping_add(delta.into()),
            };
            if !field(self, id, kind)? {
                self.skip(kind)?;
            }
        }
        self.depth -= 1;
        Ok(())
    }

    fn deeper(&mut self) -> Result<(), Broken> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Broken::because(format!(
                "it nests more than {MAX_DEPTH} levels deep"
            )));
        }
        Ok(())
    }

    fn bytes(&mut self, n: u64) -> Result<(), Broken> {
        let n = self.fits(n)?;
        self.bytes.skip(n)
    }

    fn skip(&mut self, kind: u8) -> Result<(), Broken> {
        match kind {
            TRUE | FALSE => Ok(()),
            3 => self.bytes(1),
            4..=6 => self.varint().map(|_| ()),
            7 => self.bytes(8),
            BINARY => {
                let len = self.varint()?;
                self.bytes(len)
            }
            9 | 10 => {
                let (len, kind) = self.list()?;
                self.deeper()?;
                for _ in 0..len {
                    self.skip_element(kind)?;
                }
                self.depth -= 1;
                Ok(())
            }
            11 => {
                let len = self.varint()?;
                let len = self.fits(len)?;
                if len == 0 {
                    return Ok(());
                }
                let kinds = self.bytes.byte()?;
                self.deeper()?;
                for _ in 0..len {
                    self.skip_element(kinds >> 4)?;
                    self.skip_element(kinds & 15)?;
                }
                self.depth -= 1;
                Ok(())
            }
            STRUCT => self.structure(&mut |_, _, _| Ok(false)),
            other => Err(Broken::because(format!("{other} is no type"))),
        }
    }

    fn skip_element(&mut self, kind: u8) -> Result<(), Broken> {
        match kind {
            // In a list a truth value is a byte.
            TRUE | FALSE => self.bytes(1),
            kind => self.skip(kind),
        }
    }

    /// The truth value of a field.
    pub(super) fn is_true(kind: u8) -> bool {
        kind == TRUE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The bytes of the specification's own examples of zigzag and varint.
    #[test]
    fn numbers_are_zigzag_varints() {
        for (v, bytes) in [
            (0, &[0u8][..]),
            (-1, &[1]),
            (1, &[2]),
            (-2, &[3]),
            (2147483647, &[0xfe, 0xff, 0xff, 0xff, 0x0f]),
            (-2147483648, &[0xff, 0xff, 0xff, 0xff, 0x0f]),
        ] {
            let mut w = Writer::default();
            w.number(v);
            assert_eq!(w.out, bytes);
            assert_eq!(Reader::new(Slice::new(bytes)).int().unwrap(), v);
        }
    }

    #[test]
    fn announced_sizes_beyond_the_bytes_are_errors() {
        // A list of 2^62 structures, a text of 2^62 bytes, and structures without end.
        let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x3f];
        for start in [&[0x19u8, 0xfc][..], &[0x18]] {
            let bytes = [start, &huge, &[0; 16]].concat();
            let outcome = Reader::new(Slice::new(&bytes)).structure(&mut |_, _, _| Ok(false));
            assert!(matches!(outcome, Err(Broken::Short)), "{outcome:?}");
        }
        let outcome = Reader::new(Slice::new(&[0x1c; 1000])).structure(&mut |_, _, _| Ok(false));
        assert!(matches!(outcome, Err(Broken::Other(_))), "{outcome:?}");
    }
}
