//! Checking tfrecord bytes as they come: lengths, checksums, and the Example messages.

use super::length::file_offset;
use super::tfrecord_frame::{FOOTER, HEADER, masked, record_len};
use super::{Checker, Extent, FormatError, LengthChecker, Opened, Result};
use crate::util::bytes::le32;
use crate::util::{crc32c, varint};

/// Fields that a message may nest before it is taken for damaged; an Example needs five.
const MAX_FEATURES: usize = 1 << 20;

/// Checks whole records.
pub(super) struct TfrecordChecker {
    /// Whether messages are parsed.
    parses: bool,
    length: u64,
    got: u64,
    extents: Vec<Extent>,
    /// Number of the first record that is read.
    first: u64,
    wanted: u64,
    found: u64,
    /// The header or footer that is being gathered.
    small: Vec<u8>,
    /// Where the record begins in what is read.
    began: u64,
    /// Bytes of the payload that are still to come.
    left: u64,
    crc: u32,
    in_payload: bool,
    message: Vec<u8>,
}

impl TfrecordChecker {
    pub(super) fn new(parses: bool) -> Self {
        TfrecordChecker {
            parses,
            length: 0,
            got: 0,
            extents: Vec::new(),
            first: 0,
            wanted: 0,
            found: 0,
            small: Vec::with_capacity(HEADER as usize),
            began: 0,
            left: 0,
            crc: 0,
            in_payload: false,
            message: Vec::new(),
        }
    }

    fn gather(&mut self, chunk: &mut &[u8], len: u64) -> bool {
        let n = (len as usize - self.small.len()).min(chunk.len());
        self.small.extend_from_slice(&chunk[..n]);
        self.got += n as u64;
        *chunk = &chunk[n..];
        self.small.len() as u64 == len
    }

    /// Number and offset of the record that is being read.
    fn place(&self) -> String {
        let offset = file_offset(&self.extents, self.began);
        format!("record {} at byte {offset}", self.first + self.found)
    }

    fn end_record(&mut self) -> Result<()> {
        let stored = le32(&self.small, 0).unwrap_or(0);
        let computed = masked(self.crc);
        if stored != computed {
            return Err(FormatError::Checksum {
                member: self.place(),
                stored,
                computed,
            });
        }
        if self.parses {
            example(&self.message).map_err(|what| {
                FormatError::content(format!("{} is no tf.train.Example: {what}", self.place()))
            })?;
        }
        self.small.clear();
        self.in_payload = false;
        self.found += 1;
        Ok(())
    }
}

impl Checker for TfrecordChecker {
    fn begin(&mut self, opened: &Opened) {
        self.length = LengthChecker::expected(opened);
        self.extents.clear();
        self.extents.extend_from_slice(opened.extents);
        self.first = opened.expect.sample;
        if opened.extents == [Extent::Whole] {
            self.first = 0;
        }
        self.wanted = opened.expect.count;
        self.got = 0;
        self.began = 0;
        self.found = 0;
        self.small.clear();
        self.in_payload = false;
    }

    fn push(&mut self, mut chunk: &[u8]) -> Result<()> {
        while !chunk.is_empty() {
            if !self.in_payload {
                if !self.gather(&mut chunk, HEADER) {
                    return Ok(());
                }
                let header = self.small[..]
                    .try_into()
                    .expect("twelve bytes were gathered");
                self.began = self.got - HEADER;
                let left = self.length.saturating_sub(self.began);
                let offset = file_offset(&self.extents, self.began);
                self.left = record_len(header, offset, left)? - HEADER - FOOTER;
                self.small.clear();
                self.in_payload = true;
                self.crc = 0;
                self.message.clear();
                continue;
            }
            if self.left > 0 {
                let n = self.left.min(chunk.len() as u64) as usize;
                self.crc = crc32c::append(self.crc, &chunk[..n]);
                if self.parses {
                    self.message.extend_from_slice(&chunk[..n]);
                }
                self.left -= n as u64;
                self.got += n as u64;
                chunk = &chunk[n..];
                continue;
            }
            if self.gather(&mut chunk, FOOTER) {
                self.end_record()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        if self.in_payload || !self.small.is_empty() || self.got < self.length {
            return Err(FormatError::Truncated {
                expected: self.length.max(self.got + self.left + 1),
                got: self.got,
            });
        }
        // A file may hold more records than the workload wants: only the first ones are samples.
        let is_whole = self.extents == [Extent::Whole];
        if self.found < self.wanted || (self.found > self.wanted && !is_whole) {
            return Err(FormatError::content(format!(
                "it holds {} records where dataset.num_samples_per_file={}",
                self.found, self.wanted
            )));
        }
        Ok(())
    }
}

/// A field of a protobuf message.
enum Field<'a> {
    Bytes(&'a [u8]),
    Other,
}

/// Takes the next field off `message`.
fn field<'a>(message: &mut &'a [u8]) -> Result<(u64, Field<'a>), &'static str> {
    let key = varint::take(message)?;
    let take = |message: &mut &'a [u8], len: u64| {
        if len > message.len() as u64 {
            return Err("a field is longer than its message");
        }
        let (field, rest) = message.split_at(len as usize);
        *message = rest;
        Ok(field)
    };
    let value = match key & 7 {
        0 => {
            varint::take(message)?;
            Field::Other
        }
        1 => take(message, 8).map(|_| Field::Other)?,
        2 => {
            let len = varint::take(message)?;
            Field::Bytes(take(message, len)?)
        }
        5 => take(message, 4).map(|_| Field::Other)?,
        _ => return Err("an unknown wire type"),
    };
    Ok((key >> 3, value))
}

/// Walks Example > Features > map entries > Feature > list, as TensorFlow's parser does.
///
/// Returns names and element counts of the features.
pub(super) fn example(mut message: &[u8]) -> Result<Vec<(String, u64)>, &'static str> {
    let mut features = Vec::new();
    while !message.is_empty() {
        let (1, Field::Bytes(mut entries)) = field(&mut message)? else {
            continue;
        };
        while !entries.is_empty() {
            let (1, Field::Bytes(mut entry)) = field(&mut entries)? else {
                continue;
            };
            let (mut name, mut count) = (String::new(), 0);
            while !entry.is_empty() {
                match field(&mut entry)? {
                    (1, Field::Bytes(key)) => {
                        name = std::str::from_utf8(key)
                            .map_err(|_| "the name of a feature is not UTF-8")?
                            .into();
                    }
                    (2, Field::Bytes(feature)) => count = values(feature)?,
                    _ => {}
                }
            }
            features.push((name, count));
            if features.len() > MAX_FEATURES {
                return Err("more than a million features");
            }
        }
    }
    if features.is_empty() {
        return Err("it has no feature");
    }
    Ok(features)
}

/// Values in a Feature: the one list of bytes, floats or integers.
fn values(mut feature: &[u8]) -> Result<u64, &'static str> {
    let mut count = 0;
    while !feature.is_empty() {
        let (kind, Field::Bytes(mut list)) = field(&mut feature)? else {
            continue;
        };
        while !list.is_empty() {
            match (kind, field(&mut list)?) {
                (2, (1, Field::Bytes(packed))) => {
                    if packed.len() % 4 != 0 {
                        return Err("a list of floats is cut off");
                    }
                    count += packed.len() as u64 / 4;
                }
                (3, (1, Field::Bytes(mut packed))) => {
                    while !packed.is_empty() {
                        varint::take(&mut packed)?;
                        count += 1;
                    }
                }
                (1..=3, (1, _)) => count += 1,
                _ => return Err("a list of an unknown kind"),
            }
        }
    }
    Ok(count)
}
