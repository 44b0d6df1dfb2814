//! The dictionary of a column chunk. Files are to have the size of those that DLIO writes with pyarrow, whose defaults put a
//! dictionary before every chunk but truth values, and give it up where it grows to 1 MiB.
//!
//! | Values | Dictionary | Where a value stands |
//! |---|---|---|
//! | 1 or 2 bytes, many | all that the type has, in their order | its index is its bytes |
//! | 1 or 2 bytes, few | those that are there, in their order | found by scanning the chunk |
//! | others | the first of the chunk, until the limit | value k of the chunk has index k; the rest are plain |
//!
//! Values of 4 bytes and more are random, so that hardly one of them is there twice. Source: Apache Arrow
//! `cpp/src/parquet/{column_writer,properties}`: `dictionary_pagesize_limit`, `write_batch_size`.

use super::schema::{Column, Values, physical};

/// Bytes of plain values at which a dictionary is given up.
const LIMIT: u64 = 1 << 20;
/// Values that are written before the limit is looked at again.
const BATCH: u64 = 1024;
/// Chunks of so many values of 1 and of 2 bytes hold all that the type has, nearly always.
const MANY: [u64; 2] = [1 << 11, 1 << 20];

/// The dictionary of one chunk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Dictionary {
    None,
    /// The first values of the chunk; value k has index k.
    First(u64),
    /// Every value of a type of 1 or 2 bytes; the index of a value is its bytes.
    All,
    /// The values of 1 or 2 bytes that are there, ascending by their bytes.
    Present(Vec<u16>),
}

/// Bytes of a value that is looked up by its bytes: 1 or 2.
pub(super) fn narrow_bytes(column: &Column) -> Option<u64> {
    match column.values {
        Values::Widened { bytes, .. } => Some(bytes),
        Values::Plain(bytes @ 1..=2) => Some(bytes),
        _ => None,
    }
}

impl Dictionary {
    /// Of a chunk of `n` values; None when it depends on them.
    pub(super) fn known(column: &Column, n: u64) -> Option<Dictionary> {
        if let Some(bytes) = narrow_bytes(column) {
            return (n >= MANY[bytes as usize - 1]).then_some(Dictionary::All);
        }
        Some(match column.values {
            Values::Bits => Dictionary::None,
            Values::Text => return None,
            // Of 2^18 random numbers of 32 bits a few are there twice, so the limit is reached a batch later.
            Values::Plain(4) => Dictionary::First(n.min(LIMIT / 4 + BATCH)),
            Values::Plain(bytes) => Dictionary::First(n.min(LIMIT / bytes)),
            Values::Bytes(len) => {
                let values = LIMIT.div_ceil(4 + len);
                // Where a batch alone would be far beyond the limit, its indices take no room worth imitating.
                let whole = if BATCH * (4 + len) <= LIMIT {
                    values.next_multiple_of(BATCH)
                } else {
                    values
                };
                Dictionary::First(n.min(whole))
            }
            Values::Widened { .. } => unreachable!("values of 1 or 2 bytes are narrow"),
        })
    }

    /// Of a chunk of texts: the lengths of their values, one after another.
    pub(super) fn of_texts(lengths: impl Iterator<Item = u64>) -> Dictionary {
        let (mut values, mut bytes) = (0, 0);
        for len in lengths {
            values += 1;
            bytes += 4 + len;
            if values % BATCH == 0 && bytes >= LIMIT {
                break;
            }
        }
        Dictionary::First(values)
    }

    /// Values that are in it.
    pub(super) fn len(&self, column: &Column) -> u64 {
        match self {
            Dictionary::None => 0,
            Dictionary::First(values) => *values,
            Dictionary::All => 1 << (8 * narrow_bytes(column).unwrap_or(0)),
            Dictionary::Present(values) => values.len() as u64,
        }
    }

    /// How many values of a chunk of `n`, from the first on, are stored as indices.
    pub(super) fn indexed(&self, n: u64) -> u64 {
        match self {
            Dictionary::None => 0,
            Dictionary::First(values) => *values,
            Dictionary::All | Dictionary::Present(_) => n,
        }
    }
}

/// Which values of 1 or 2 bytes are there.
pub(super) struct Presence {
    there: Vec<bool>,
    bytes: u64,
}

impl Presence {
    /// Of values of so many bytes.
    pub(super) fn new(bytes: u64) -> Self {
        Presence {
            there: vec![false; 1 << (8 * bytes)],
            bytes,
        }
    }

    /// Looks at values.
    pub(super) fn see(&mut self, raw: &[u8]) {
        each(raw, self.bytes, |value| {
            self.there[usize::from(value)] = true
        });
    }

    pub(super) fn end(self) -> Dictionary {
        let values = self.there.iter().enumerate().filter(|(_, there)| **there);
        Dictionary::Present(values.map(|(value, _)| value as u16).collect())
    }
}

/// Each value of 1 or 2 bytes.
pub(super) fn each(raw: &[u8], bytes: u64, mut see: impl FnMut(u16)) {
    if bytes == 1 {
        raw.iter().for_each(|&v| see(v.into()));
    } else {
        let values = raw.as_chunks::<2>().0;
        values.iter().for_each(|v| see(u16::from_le_bytes(*v)));
    }
}

/// Appends a value of 1 or 2 bytes as the column stores it.
pub(super) fn put_narrow(column: &Column, value: u16, out: &mut Vec<u8>) {
    match column.values {
        Values::Widened {
            bytes: 1,
            is_signed: true,
        } => {
            out.extend_from_slice(&i32::from(value as i8).to_le_bytes());
        }
        Values::Widened {
            bytes: 2,
            is_signed: true,
        } => {
            out.extend_from_slice(&i32::from(value as i16).to_le_bytes());
        }
        Values::Widened { .. } => out.extend_from_slice(&u32::from(value).to_le_bytes()),
        _ => {
            debug_assert_eq!(column.physical, physical::FIXED_LEN_BYTE_ARRAY);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}
