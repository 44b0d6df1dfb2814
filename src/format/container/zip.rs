//! The zip container: headers of stored members whose sizes are known beforehand, and reading headers and directories.
//!
//! Source: PKWARE APPNOTE 6.3.9, sections 4.3 to 4.5; [`NUMPY`] and [`TORCH`] say where two writers differ within it.

use crate::util::bytes::{le16, le32, le64};

/// Signatures of the records.
pub(crate) const LOCAL: u32 = 0x0403_4b50;
pub(crate) const CENTRAL: u32 = 0x0201_4b50;
pub(crate) const DESCRIPTOR: u32 = 0x0807_4b50;
pub(crate) const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;

const ID_ZIP64: u16 = 1;
const ID_PADDING: u16 = u16::from_le_bytes(*b"FB");
/// 1980-01-01, the first day that the container knows.
const DATE: u16 = 0x21;
/// What a 32-bit field holds when the 64-bit one counts.
const FULL: u32 = u32::MAX;

/// Sizes and checksum follow the data.
pub(crate) const FLAG_DESCRIPTOR: u16 = 8;
/// Compression methods.
pub(crate) const STORED: u16 = 0;
pub(crate) const DEFLATED: u16 = 8;

/// Bytes of a local header before name and extra field.
pub(crate) const LOCAL_LEN: usize = 30;
/// Bytes of a directory entry before name, extra field and comment.
const CENTRAL_LEN: usize = 46;
/// Bytes of an end-of-directory record before its comment.
pub(crate) const END_LEN: usize = 22;
const LOCATOR_LEN: usize = 20;

/// What is particular to a writer's containers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    flags: u16,
    /// The largest number that is kept in 32 bits.
    narrow: u64,
    /// Whether local headers hold sizes of 64 bits even where 32 would do.
    wide_local: bool,
    /// The data of a member begin at a multiple of this.
    align: u64,
    /// The system of the writer, and attributes of its files.
    system: u16,
    attributes: u32,
}

/// numpy's `savez`: checksums stand before the data.
///
/// Source: Python's `zipfile` with `force_zip64`; it writes 64-bit fields beyond 2^31 - 1, and `rw` for the owner on Unix.
pub(crate) const NUMPY: Style = Style {
    flags: 0,
    narrow: (1 << 31) - 1,
    wide_local: true,
    align: 1,
    system: 3,
    attributes: 0o600 << 16,
};

/// `torch.save`: a checksum follows its member, names are UTF-8, and an extra field of id "FB" moves the data of each member
/// to a multiple of 64 bytes.
///
/// Source: PyTorch `caffe2/serialize/inline_container.h`, `kFieldAlignment`.
pub(crate) const TORCH: Style = Style {
    flags: 0x0800 | FLAG_DESCRIPTOR,
    narrow: FULL as u64 - 1,
    wide_local: false,
    align: 64,
    system: 0,
    attributes: 0,
};

/// One member, as the directory names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Path inside the container.
    pub name: String,
    /// Compression: [`STORED`], [`DEFLATED`] or another.
    pub method: u16,
    /// CRC-32 of its data.
    pub crc: u32,
    /// Bytes of its data in the container.
    pub packed_len: u64,
    pub len: u64,
    /// Where its local header begins.
    pub offset: u64,
}

impl Entry {
    /// A member that is not compressed.
    pub(crate) fn stored(name: impl Into<String>, len: u64, offset: u64, crc: u32) -> Self {
        Entry {
            name: name.into(),
            method: STORED,
            crc,
            packed_len: len,
            len,
            offset,
        }
    }
}

fn put16(out: &mut Vec<u8>, n: u16) {
    out.extend(n.to_le_bytes());
}
fn put32(out: &mut Vec<u8>, n: u32) {
    out.extend(n.to_le_bytes());
}
fn put64(out: &mut Vec<u8>, n: u64) {
    out.extend(n.to_le_bytes());
}

/// `n` in 32 bits, or what stands there when it needs more.
fn short(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(FULL)
}

impl Style {
    /// The field, or what stands there when it is wide.
    fn narrowed(&self, n: u64) -> u32 {
        if n > self.narrow { FULL } else { n as u32 }
    }

    /// The local header of a stored member; its data follow.
    pub(crate) fn local_header(&self, entry: &Entry) -> Vec<u8> {
        let is_wide = self.wide_local || entry.len > self.narrow;
        let wide_len = if is_wide { 20 } else { 0 };
        let bare = LOCAL_LEN + entry.name.len() + wide_len;
        let padding = match self.align {
            1 => None,
            align => {
                let begin = entry.offset + bare as u64 + 4;
                Some((begin.next_multiple_of(align) - begin) as usize)
            }
        };
        let size = if is_wide { FULL } else { entry.len as u32 };
        let has_crc = self.flags & FLAG_DESCRIPTOR == 0;
        let mut out = Vec::with_capacity(bare + 4 + self.align as usize);
        put32(&mut out, LOCAL);
        put16(&mut out, if is_wide { 45 } else { 20 });
        put16(&mut out, self.flags);
        put16(&mut out, STORED);
        // No time.
        put16(&mut out, 0);
        put16(&mut out, DATE);
        put32(&mut out, if has_crc { entry.crc } else { 0 });
        put32(&mut out, size);
        put32(&mut out, size);
        put16(&mut out, entry.name.len() as u16);
        let extra = wide_len + padding.map_or(0, |padding| 4 + padding);
        put16(&mut out, extra as u16);
        out.extend(entry.name.as_bytes());
        if is_wide {
            put16(&mut out, ID_ZIP64);
            put16(&mut out, 16);
            put64(&mut out, entry.len);
            put64(&mut out, entry.len);
        }
        if let Some(padding) = padding {
            put16(&mut out, ID_PADDING);
            put16(&mut out, padding as u16);
            out.resize(out.len() + padding, b'Z');
        }
        out
    }

    pub(crate) fn descriptor_len(&self, len: u64) -> u64 {
        match self.flags & FLAG_DESCRIPTOR {
            0 => 0,
            _ if len > self.narrow => 24,
            _ => 16,
        }
    }

    /// What follows a member's data: checksum and sizes.
    pub(crate) fn descriptor(&self, crc: u32, len: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        put32(&mut out, DESCRIPTOR);
        put32(&mut out, crc);
        for _ in 0..2 {
            if len > self.narrow {
                put64(&mut out, len);
            } else {
                put32(&mut out, len as u32);
            }
        }
        out
    }

    /// The directory of a container and its end, from byte `offset` on. Its length does not depend on the checksums.
    pub(crate) fn directory(&self, entries: &[Entry], offset: u64) -> Vec<u8> {
        let mut out = Vec::with_capacity(entries.len() * 80 + 100);
        for entry in entries {
            self.directory_entry(entry, &mut out);
        }
        let (size, count) = (out.len() as u64, entries.len() as u64);
        if offset > self.narrow || size > self.narrow || count >= 0xffff {
            put32(&mut out, END64);
            put64(&mut out, 44);
            put16(&mut out, 45);
            put16(&mut out, 45);
            put64(&mut out, 0);
            put64(&mut out, count);
            put64(&mut out, count);
            put64(&mut out, size);
            put64(&mut out, offset);
            put32(&mut out, LOCATOR64);
            put32(&mut out, 0);
            put64(&mut out, offset + size);
            put32(&mut out, 1);
        }
        put32(&mut out, END);
        put32(&mut out, 0);
        let few = u16::try_from(count).unwrap_or(u16::MAX);
        put16(&mut out, few);
        put16(&mut out, few);
        put32(&mut out, short(size));
        put32(&mut out, short(offset));
        put16(&mut out, 0);
        out
    }

    fn directory_entry(&self, entry: &Entry, out: &mut Vec<u8>) {
        let (long_len, long_offset) = (entry.len > self.narrow, entry.offset > self.narrow);
        let extra = 16 * u16::from(long_len) + 8 * u16::from(long_offset);
        let version = if self.wide_local || extra > 0 { 45 } else { 20 };
        put32(out, CENTRAL);
        put16(out, version | self.system << 8);
        put16(out, version);
        put16(out, self.flags);
        put16(out, STORED);
        put16(out, 0);
        put16(out, DATE);
        put32(out, entry.crc);
        put32(out, self.narrowed(entry.len));
        put32(out, self.narrowed(entry.len));
        put16(out, entry.name.len() as u16);
        put16(out, if extra > 0 { extra + 4 } else { 0 });
        // Comment, disk, internal attributes.
        out.extend([0; 6]);
        put32(out, self.attributes);
        put32(out, self.narrowed(entry.offset));
        out.extend(entry.name.as_bytes());
        if extra > 0 {
            put16(out, ID_ZIP64);
            put16(out, extra);
            if long_len {
                put64(out, entry.len);
                put64(out, entry.len);
            }
            if long_offset {
                put64(out, entry.offset);
            }
        }
    }
}

/// The 64-bit fields of an extra field, taken in order by those whose 32-bit field is all ones.
struct Wide<'a>(&'a [u8]);

impl<'a> Wide<'a> {
    fn find(mut extra: &'a [u8]) -> Self {
        while let (Some(id), Some(len)) = (le16(extra, 0), le16(extra, 2)) {
            let end = 4 + usize::from(len);
            let Some(body) = extra.get(4..end) else {
                break;
            };
            if id == ID_ZIP64 {
                return Wide(body);
            }
            extra = &extra[end..];
        }
        Wide(&[])
    }

    fn or(&mut self, narrow: u32) -> u64 {
        match le64(self.0, 0) {
            Some(value) if narrow == FULL => {
                self.0 = &self.0[8..];
                value
            }
            _ => u64::from(narrow),
        }
    }
}

/// Bytes of a local header, from its first [`LOCAL_LEN`] bytes; None when they are none.
pub(crate) fn local_len(header: &[u8]) -> Option<usize> {
    if le32(header, 0)? != LOCAL {
        return None;
    }
    Some(LOCAL_LEN + usize::from(le16(header, 26)?) + usize::from(le16(header, 28)?))
}

/// A whole local header: the member, whose `offset` is not in it, and its flags. With [`FLAG_DESCRIPTOR`] sizes and
/// checksum mean nothing.
pub(crate) fn parse_local(header: &[u8]) -> Option<(Entry, u16)> {
    let name_end = LOCAL_LEN + usize::from(le16(header, 26)?);
    let mut wide = Wide::find(header.get(name_end..local_len(header)?)?);
    let len = wide.or(le32(header, 22)?);
    let packed_len = wide.or(le32(header, 18)?);
    let entry = Entry {
        name: String::from_utf8_lossy(&header[LOCAL_LEN..name_end]).into_owned(),
        method: le16(header, 8)?,
        crc: le32(header, 14)?,
        packed_len,
        len,
        offset: 0,
    };
    Some((entry, le16(header, 6)?))
}

/// The directory entry at `at`, and where the next one begins; None when there is none.
pub(crate) fn parse_entry(b: &[u8], at: usize) -> Option<(Entry, usize)> {
    let b = b.get(at..)?;
    if le32(b, 0)? != CENTRAL {
        return None;
    }
    let [name_len, extra_len, comment_len] = [28, 30, 32].map(|i| le16(b, i).map(usize::from));
    let name_end = CENTRAL_LEN + name_len?;
    let extra_end = name_end + extra_len?;
    let end = extra_end + comment_len?;
    if b.len() < end {
        return None;
    }
    let mut wide = Wide::find(&b[name_end..extra_end]);
    let len = wide.or(le32(b, 24)?);
    let packed_len = wide.or(le32(b, 20)?);
    let entry = Entry {
        name: String::from_utf8_lossy(&b[CENTRAL_LEN..name_end]).into_owned(),
        method: le16(b, 10)?,
        crc: le32(b, 16)?,
        packed_len,
        len,
        offset: wide.or(le32(b, 42)?),
    };
    Some((entry, at + end))
}

/// Where a directory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    pub offset: u64,
    pub len: u64,
    pub entries: u64,
}

/// Finds the directory from the last bytes of a container of `file_len` bytes; None when they are no end of one.
pub(crate) fn find_directory(tail: &[u8], file_len: u64) -> Option<Span> {
    let at = (0..=tail.len().checked_sub(END_LEN)?).rev().find(|&at| {
        le32(tail, at) == Some(END)
            && le16(tail, at + 20) == u16::try_from(tail.len() - at - END_LEN).ok()
    })?;
    let short = || {
        Some(Span {
            entries: le16(tail, at + 10)?.into(),
            len: le32(tail, at + 12)?.into(),
            offset: le32(tail, at + 16)?.into(),
        })
    };
    let long = || {
        let locator = at.checked_sub(LOCATOR_LEN)?;
        if le32(tail, locator) != Some(LOCATOR64) {
            return None;
        }
        let begin = le64(tail, locator + 8)?;
        let start = file_len - tail.len() as u64;
        let end64 = usize::try_from(begin.checked_sub(start)?).ok()?;
        if le32(tail, end64) != Some(END64) {
            return None;
        }
        Some(Span {
            entries: le64(tail, end64 + 32)?,
            len: le64(tail, end64 + 40)?,
            offset: le64(tail, end64 + 48)?,
        })
    };
    let span = long().or_else(short)?;
    let end = span.offset.checked_add(span.len)?;
    (end <= file_len).then_some(span)
}
