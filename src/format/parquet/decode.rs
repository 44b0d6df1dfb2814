//! The pages of a column chunk, decoded into arrays.
//!
//! Values are decoded in batches into buffers that are used again, so memory is that of a page, its dictionary and a batch,
//! whatever a page announces. A decoder of our own, by measurement: see docs/decisions.md.
//!
//! Source: `Encodings.md` of Apache Parquet.

use super::bits::{Delta, Hybrid, take, take_len};
use super::codec::Codec;
use super::footer::Leaf;
use super::header::{PageHeader, PageKind};
use super::schema::physical;
use crate::format::{FormatError, Result};

/// Values that are decoded at once.
const BATCH: usize = 8192;

/// Values in a page beyond which it is refused: a few bytes can announce any number of equal values.
const MAX_VALUES: u32 = 1 << 25;

fn damaged(cause: impl std::fmt::Display) -> FormatError {
    FormatError::damaged(format!("a page cannot be decoded: {cause}"))
}

/// A physical type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Bits,
    /// So many bytes per value.
    Fixed(usize),
    Bytes,
}

/// What a batch is decoded into. Only one of the buffers is in use.
#[derive(Default)]
struct Arrays {
    /// Numbers, truth values and texts of fixed length, one after another; the bytes of other texts.
    bytes: Vec<u8>,
    /// Where each text ends.
    ends: Vec<usize>,
    /// Numbers that were stored as differences.
    numbers: Vec<i64>,
    /// Which value of the dictionary.
    indices: Vec<u32>,
}

/// The values of one page.
enum Values<'a> {
    Plain(&'a [u8], usize),
    PlainBits(&'a [u8], usize),
    PlainBytes(&'a [u8]),
    Indices(Hybrid<'a>),
    Truths(Hybrid<'a>),
    Numbers(Delta<'a>),
    Lengths(Delta<'a>, &'a [u8]),
    /// Lengths of what a text shares with the one before, and of the rest of it; those rests; the text before.
    Prefixes(Delta<'a>, Delta<'a>, &'a [u8], Vec<u8>),
    /// Bytes of the values, width, values, values that were read.
    Split(&'a [u8], usize, usize, usize),
}

/// The values of a dictionary.
struct Dictionary {
    values: u32,
    bytes: Vec<u8>,
}

/// Decodes one column chunk, page by page.
pub(super) struct ChunkDecoder {
    kind: Kind,
    max_definition: u32,
    max_repetition: u32,
    dictionary: Option<Dictionary>,
    plain: Vec<u8>,
    arrays: Arrays,
    definitions: Vec<u32>,
    repetitions: Vec<u32>,
    rows: u64,
}

/// Bits that the numbers `0..=max` need.
fn width(max: u32) -> u32 {
    32 - max.leading_zeros()
}

impl ChunkDecoder {
    /// Errors: the column's type is unknown.
    pub(super) fn new(leaf: &Leaf) -> Result<Self> {
        let kind = match leaf.physical {
            physical::BOOLEAN => Kind::Bits,
            physical::INT32 | physical::FLOAT => Kind::Fixed(4),
            physical::INT64 | physical::DOUBLE => Kind::Fixed(8),
            physical::INT96 => Kind::Fixed(12),
            physical::BYTE_ARRAY => Kind::Bytes,
            physical::FIXED_LEN_BYTE_ARRAY if leaf.type_length > 0 => {
                Kind::Fixed(leaf.type_length as usize)
            }
            other => {
                return Err(FormatError::unsupported(format!(
                    "column {} has physical type {other} of length {}, which is not supported",
                    leaf.path.join("."),
                    leaf.type_length
                )));
            }
        };
        Ok(ChunkDecoder {
            kind,
            max_definition: leaf.max_definition as u32,
            max_repetition: leaf.max_repetition as u32,
            dictionary: None,
            plain: Vec::new(),
            arrays: Arrays::default(),
            definitions: Vec::new(),
            repetitions: Vec::new(),
            rows: 0,
        })
    }

    /// Rows that were decoded.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Decodes a page, `stored` as it is in the file.
    ///
    /// Errors: it is damaged, or a bomb.
    pub(super) fn page(&mut self, header: &PageHeader, codec: Codec, stored: &[u8]) -> Result<()> {
        let mut plain = std::mem::take(&mut self.plain);
        let outcome = self.unpacked(header, codec, stored, &mut plain);
        self.plain = plain;
        outcome
    }

    fn unpacked(
        &mut self,
        header: &PageHeader,
        codec: Codec,
        stored: &[u8],
        plain: &mut Vec<u8>,
    ) -> Result<()> {
        match header.kind {
            PageKind::Other => Ok(()),
            PageKind::Dictionary { values, encoding } => {
                if self.dictionary.is_some() || !matches!(encoding, 0 | 2) {
                    return Err(damaged("a second dictionary, or one that is not plain"));
                }
                let bytes = unpack(header, codec, stored, plain)?.to_vec();
                check_dictionary(self.kind, values, &bytes)?;
                self.dictionary = Some(Dictionary { values, bytes });
                Ok(())
            }
            PageKind::Data {
                values,
                encoding,
                definition_encoding,
                repetition_encoding,
            } => {
                let mut rest = unpack(header, codec, stored, plain)?;
                let mut levels = |max: u32, encoding: i32| match (max, encoding) {
                    (0, _) => Ok(&[][..]),
                    (_, 3) => {
                        let len = take_len(&mut rest)?;
                        take(&mut rest, len)
                    }
                    (_, other) => Err(FormatError::unsupported(format!(
                        "a page has levels of encoding {other}, which is not supported"
                    ))),
                };
                let repetitions = levels(self.max_repetition, repetition_encoding)?;
                let definitions = levels(self.max_definition, definition_encoding)?;
                self.decode(values, None, encoding, [repetitions, definitions], rest)
            }
            PageKind::DataV2 {
                values,
                nulls,
                encoding,
                definition_len,
                repetition_len,
                is_compressed,
                ..
            } => {
                // Levels are never compressed.
                let mut rest = stored;
                let repetitions = take(&mut rest, repetition_len as usize)?;
                let definitions = take(&mut rest, definition_len as usize)?;
                let levels = repetitions.len() + definitions.len();
                let codec = if is_compressed { codec } else { Codec::None };
                let header = PageHeader {
                    plain_len: header
                        .plain_len
                        .checked_sub(levels)
                        .ok_or_else(|| damaged("levels that are longer than their page"))?,
                    ..*header
                };
                let rest = unpack(&header, codec, rest, plain)?;
                let levels = [repetitions, definitions];
                self.decode(values, Some(nulls), encoding, levels, rest)
            }
        }
    }

    fn decode(
        &mut self,
        values: u32,
        nulls: Option<u32>,
        encoding: i32,
        [repetitions, definitions]: [&[u8]; 2],
        bytes: &[u8],
    ) -> Result<()> {
        if values > MAX_VALUES {
            return Err(FormatError::unsupported(format!(
                "a page announces {values} values: pages of more than {MAX_VALUES} are not supported"
            )));
        }
        let mut repetitions = Hybrid::new(repetitions, width(self.max_repetition))?;
        let mut definitions = Hybrid::new(definitions, width(self.max_definition))?;
        let mut reader = None;
        let (mut left, mut found_nulls) = (values as usize, 0);
        while left > 0 {
            let n = left.min(BATCH);
            left -= n;
            let rows = levels(
                &mut repetitions,
                self.max_repetition,
                n,
                &mut self.repetitions,
            )?;
            // A 0 begins a row; without lists every value does.
            self.rows += if self.max_repetition > 0 {
                rows.iter().filter(|&&level| level == 0).count()
            } else {
                n
            } as u64;
            let there = levels(
                &mut definitions,
                self.max_definition,
                n,
                &mut self.definitions,
            )?;
            let full = there.iter().filter(|&&l| l == self.max_definition).count();
            let there = if self.max_definition > 0 { full } else { n };
            found_nulls += (n - there) as u32;
            if there == 0 {
                continue;
            }
            let reader = match &mut reader {
                Some(reader) => reader,
                // A page of nulls may have no bytes to begin with.
                none => none.insert(Values::new(
                    self.kind,
                    encoding,
                    self.dictionary.is_some(),
                    bytes,
                )?),
            };
            reader.read(there, self.dictionary.as_ref(), self.kind, &mut self.arrays)?;
            std::hint::black_box(&self.arrays);
        }
        match nulls {
            Some(nulls) if nulls != found_nulls => Err(damaged(format!(
                "{found_nulls} nulls where its header says {nulls}"
            ))),
            _ => Ok(()),
        }
    }
}

/// The page's bytes without compression.
fn unpack<'a>(
    header: &PageHeader,
    codec: Codec,
    stored: &'a [u8],
    plain: &'a mut Vec<u8>,
) -> Result<&'a [u8]> {
    // Values that are all null leave nothing to compress.
    if codec != Codec::None && !(stored.is_empty() && header.plain_len == 0) {
        codec.decompress(stored, header.plain_len, plain)?;
        return Ok(plain);
    }
    if stored.len() != header.plain_len {
        return Err(FormatError::damaged(format!(
            "a page without compression has {} bytes and announces {}",
            stored.len(),
            header.plain_len
        )));
    }
    Ok(stored)
}

/// The next `n` levels of a page; none where all are 0.
fn levels<'a>(from: &mut Hybrid, max: u32, n: usize, into: &'a mut Vec<u32>) -> Result<&'a [u32]> {
    if max == 0 {
        return Ok(&[]);
    }
    into.resize(n, 0);
    from.read(into)?;
    match into.iter().find(|&&level| level > max) {
        Some(level) => Err(damaged(format!("level {level} where {max} is the highest"))),
        None => Ok(into),
    }
}

fn check_dictionary(kind: Kind, values: u32, mut bytes: &[u8]) -> Result<()> {
    match kind {
        Kind::Bits => return Err(damaged("a dictionary of truth values")),
        Kind::Fixed(width) => {
            let len = (values as usize).saturating_mul(width);
            take(&mut bytes, len)?;
        }
        Kind::Bytes => {
            for _ in 0..values {
                let len = take_len(&mut bytes)?;
                take(&mut bytes, len)?;
            }
        }
    }
    Ok(())
}

impl<'a> Values<'a> {
    fn new(kind: Kind, encoding: i32, has_dictionary: bool, mut bytes: &'a [u8]) -> Result<Self> {
        Ok(match (encoding, kind) {
            (0, Kind::Fixed(width)) => Values::Plain(bytes, width),
            (0, Kind::Bits) => Values::PlainBits(bytes, 0),
            (0, Kind::Bytes) => Values::PlainBytes(bytes),
            (2 | 8, _) if !has_dictionary => return Err(damaged("there is no dictionary")),
            (2 | 8, _) => {
                let width = take(&mut bytes, 1)?[0];
                Values::Indices(Hybrid::new(bytes, width.into())?)
            }
            (3, Kind::Bits) => {
                let len = take_len(&mut bytes)?;
                Values::Truths(Hybrid::new(take(&mut bytes, len)?, 1)?)
            }
            (5, Kind::Fixed(4 | 8)) => Values::Numbers(bounded(Delta::new(bytes)?)?),
            (6, Kind::Bytes) => {
                let lengths = bounded(Delta::new(bytes)?)?;
                let bytes = lengths.clone().after()?;
                Values::Lengths(lengths, bytes)
            }
            (7, Kind::Bytes | Kind::Fixed(_)) => {
                let prefixes = bounded(Delta::new(bytes)?)?;
                let suffixes = bounded(Delta::new(prefixes.clone().after()?)?)?;
                let bytes = suffixes.clone().after()?;
                Values::Prefixes(prefixes, suffixes, bytes, Vec::new())
            }
            (9, Kind::Fixed(width)) => Values::Split(bytes, width, bytes.len() / width, 0),
            (other, _) => {
                return Err(FormatError::unsupported(format!(
                    "a page has encoding {other} of this type, which is not supported"
                )));
            }
        })
    }

    /// Decodes the next `n` values.
    fn read(
        &mut self,
        n: usize,
        dictionary: Option<&Dictionary>,
        kind: Kind,
        out: &mut Arrays,
    ) -> Result<()> {
        match self {
            Values::Plain(bytes, width) => {
                out.bytes.clear();
                let len = n.saturating_mul(*width);
                out.bytes.extend_from_slice(take(bytes, len)?);
            }
            Values::PlainBits(bytes, at) => {
                if *at + n > bytes.len() * 8 {
                    return Err(damaged("its truth values end too early"));
                }
                out.bytes.clear();
                let bits = *at..*at + n;
                out.bytes.extend(bits.map(|i| bytes[i / 8] >> (i % 8) & 1));
                *at += n;
            }
            Values::PlainBytes(bytes) => {
                out.bytes.clear();
                out.ends.clear();
                for _ in 0..n {
                    let len = take_len(bytes)?;
                    out.bytes.extend_from_slice(take(bytes, len)?);
                    out.ends.push(out.bytes.len());
                }
            }
            Values::Indices(indices) => {
                let dictionary = dictionary.expect("looked for when the page began");
                look_up(n, indices, dictionary, kind, out)?;
            }
            Values::Truths(truths) => {
                out.indices.resize(n, 0);
                truths.read(&mut out.indices)?;
            }
            Values::Numbers(numbers) => {
                out.numbers.resize(n, 0);
                numbers.read(&mut out.numbers)?;
            }
            Values::Lengths(lengths, bytes) => {
                out.numbers.resize(n, 0);
                lengths.read(&mut out.numbers)?;
                out.bytes.clear();
                out.ends.clear();
                for &len in &out.numbers {
                    out.bytes.extend_from_slice(take(bytes, length(len)?)?);
                    out.ends.push(out.bytes.len());
                }
            }
            Values::Prefixes(prefixes, suffixes, bytes, text) => {
                out.numbers.resize(n, 0);
                prefixes.read(&mut out.numbers)?;
                continue_texts(&out.numbers, suffixes, bytes, text)?;
            }
            Values::Split(bytes, width, values, at) => {
                if *at + n > *values {
                    return Err(damaged(format!(
                        "it holds {values} values and more are needed"
                    )));
                }
                out.bytes.clear();
                for i in *at..*at + n {
                    out.bytes
                        .extend((0..*width).map(|byte| bytes[byte * *values + i]));
                }
                *at += n;
            }
        }
        Ok(())
    }
}

/// The next `n` indices of a dictionary, and for numbers what they stand for.
fn look_up(
    n: usize,
    indices: &mut Hybrid,
    dictionary: &Dictionary,
    kind: Kind,
    out: &mut Arrays,
) -> Result<()> {
    out.indices.resize(n, 0);
    indices.read(&mut out.indices)?;
    if let Some(index) = out.indices.iter().find(|&&i| i >= dictionary.values) {
        return Err(damaged(format!(
            "value {index} of a dictionary of {}",
            dictionary.values
        )));
    }
    // Numbers are looked up; a text may be long, so it stays where it is.
    if let Kind::Fixed(width @ ..=16) = kind {
        out.bytes.clear();
        for &index in &out.indices {
            let at = index as usize * width;
            out.bytes
                .extend_from_slice(&dictionary.bytes[at..at + width]);
        }
    }
    Ok(())
}

/// Texts that each begin as the one before: `prefixes` tells how much of it. `text` is the last one, before and after.
fn continue_texts(
    prefixes: &[i64],
    suffixes: &mut Delta,
    bytes: &mut &[u8],
    text: &mut Vec<u8>,
) -> Result<()> {
    let mut len = [0];
    for &shared in prefixes {
        suffixes.read(&mut len)?;
        let shared = length(shared)?;
        if shared > text.len() {
            return Err(damaged(format!(
                "a text shares {shared} bytes with one of {}",
                text.len()
            )));
        }
        // Many texts may be made of few bytes, so only the last one is kept.
        text.truncate(shared);
        text.extend_from_slice(take(bytes, length(len[0])?)?);
    }
    Ok(())
}

fn length(len: i64) -> Result<usize> {
    usize::try_from(len).map_err(|_| damaged(format!("a length of {len}")))
}

/// Refuses more values than a page may have.
fn bounded(delta: Delta) -> Result<Delta> {
    match delta.left() {
        n if n > MAX_VALUES.into() => Err(damaged(format!(
            "{n} differences: pages of more than {MAX_VALUES} are not supported"
        ))),
        _ => Ok(delta),
    }
}
