//! Page headers as they are read.

use super::thrift::{Broken, Bytes, Reader, STRUCT, Slice};

/// Bytes of a page header beyond which it is refused: statistics in it may be long.
pub(super) const MAX_HEADER: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PageHeader {
    pub kind: PageKind,
    /// Bytes of the page without compression.
    pub plain_len: usize,
    /// Bytes of the page in the file.
    pub stored_len: u64,
    /// CRC-32 of those.
    pub crc: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PageKind {
    Dictionary {
        values: u32,
        encoding: i32,
    },
    Data {
        values: u32,
        encoding: i32,
        definition_encoding: i32,
        repetition_encoding: i32,
    },
    DataV2 {
        values: u32,
        nulls: u32,
        rows: u32,
        encoding: i32,
        definition_len: u32,
        repetition_len: u32,
        is_compressed: bool,
    },
    /// Holds no values.
    Other,
}

/// Numbers of a structure's fields 1 to 7.
type Numbers = [Option<i32>; 8];

fn numbers<B: Bytes>(reader: &mut Reader<B>) -> Result<(Numbers, Option<bool>), Broken> {
    let (mut numbers, mut flag) = ([None; 8], None);
    reader.structure(&mut |r, id, kind| {
        match (id, kind) {
            (_, 1 | 2) => flag = Some(Reader::<B>::is_true(kind)),
            (1..=7, 4..=6) => numbers[id as usize] = Some(r.int32()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    Ok((numbers, flag))
}

fn get(numbers: &Numbers, id: usize) -> Result<i32, Broken> {
    numbers[id].ok_or_else(|| Broken::because(format!("field {id} of a page header is missing")))
}

fn count(numbers: &Numbers, id: usize) -> Result<u32, Broken> {
    let n = get(numbers, id)?;
    u32::try_from(n).map_err(|_| Broken::because(format!("a page header has the count {n}")))
}

impl PageHeader {
    /// Reads a header from the start of `bytes`; with it comes its length.
    pub(super) fn parse(bytes: &[u8]) -> Result<(PageHeader, usize), Broken> {
        let mut reader = Reader::new(Slice::new(bytes));
        let mut own: Numbers = [None; 8];
        let (mut data, mut dictionary, mut v2) = (None, None, None);
        reader.structure(&mut |r, id, kind| {
            match (id, kind) {
                (1..=4, 4..=6) => own[id as usize] = Some(r.int32()?),
                (5, STRUCT) => data = Some(numbers(r)?.0),
                (7, STRUCT) => dictionary = Some(numbers(r)?.0),
                (8, STRUCT) => v2 = Some(numbers(r)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let missing = || Broken::because("a page header lacks the part that its type needs");
        let kind = match get(&own, 1)? {
            0 => {
                let n = data.ok_or_else(missing)?;
                PageKind::Data {
                    values: count(&n, 1)?,
                    encoding: get(&n, 2)?,
                    definition_encoding: get(&n, 3)?,
                    repetition_encoding: get(&n, 4)?,
                }
            }
            1 => PageKind::Other,
            2 => {
                let n = dictionary.ok_or_else(missing)?;
                PageKind::Dictionary {
                    values: count(&n, 1)?,
                    encoding: get(&n, 2)?,
                }
            }
            3 => {
                let (n, flag) = v2.ok_or_else(missing)?;
                PageKind::DataV2 {
                    values: count(&n, 1)?,
                    nulls: count(&n, 2)?,
                    rows: count(&n, 3)?,
                    encoding: get(&n, 4)?,
                    definition_len: count(&n, 5)?,
                    repetition_len: count(&n, 6)?,
                    is_compressed: flag.unwrap_or(true),
                }
            }
            other => return Err(Broken::because(format!("{other} is no type of a page"))),
        };
        let header = PageHeader {
            kind,
            plain_len: count(&own, 2)? as usize,
            stored_len: count(&own, 3)?.into(),
            crc: own[4].map(|crc| crc as u32),
        };
        Ok((header, reader.bytes.used()))
    }
}
