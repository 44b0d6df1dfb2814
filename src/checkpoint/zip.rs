//! The zip container: headers of stored members whose sizes are known beforehand, and reading a directory.
//!
//! Source: PKWARE APPNOTE 6.3.9, sections 4.3 to 4.5. As in PyTorch's files a checksum follows its member (general purpose
//! bit 3), and an extra field of id "FB" moves the data of each member to a multiple of 64 bytes.

/// Alignment of every member's data, bytes. Source: PyTorch `caffe2/serialize/inline_container.h`, `kFieldAlignment`.
pub const ALIGNMENT: u64 = 64;

const LOCAL: u32 = 0x0403_4b50;
const CENTRAL: u32 = 0x0201_4b50;
const DESCRIPTOR: u32 = 0x0807_4b50;
const END: u32 = 0x0605_4b50;
const END64: u32 = 0x0606_4b50;
const LOCATOR64: u32 = 0x0706_4b50;
const ID_ZIP64: u16 = 1;
const ID_PADDING: u16 = u16::from_le_bytes(*b"FB");
/// A checksum follows the data; the name is UTF-8.
const FLAGS: u16 = 0x0808;
/// 1980-01-01, the first day that the container knows.
const DATE: u16 = 0x21;
/// What a 32-bit field holds when the 64-bit one counts.
const FULL: u32 = u32::MAX;

/// Bytes of a local header before name and extra field.
pub const LOCAL_LEN: u64 = 30;
/// Bytes of an end-of-directory record.
const END_LEN: usize = 22;
const LOCATOR_LEN: usize = 20;

fn put16(out: &mut Vec<u8>, n: u16) {
    out.extend(n.to_le_bytes());
}
fn put32(out: &mut Vec<u8>, n: u32) {
    out.extend(n.to_le_bytes());
}
fn put64(out: &mut Vec<u8>, n: u64) {
    out.extend(n.to_le_bytes());
}

fn is_large(len: u64) -> bool {
    len >= u64::from(FULL)
}

/// One member, as the directory names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Path inside the container.
    pub name: String,
    /// Bytes of its data; nothing is compressed.
    pub len: u64,
    /// Where its local header begins.
    pub offset: u64,
    /// CRC-32 of its data.
    pub crc: u32,
}

/// The local header of a member that begins at `offset`; its data follow at a multiple of [`ALIGNMENT`].
pub fn local_header(name: &str, len: u64, offset: u64) -> Vec<u8> {
    let zip64 = if is_large(len) { 20 } else { 0 };
    let bare = offset + LOCAL_LEN + name.len() as u64 + zip64 + 4;
    let padding = (bare.next_multiple_of(ALIGNMENT) - bare) as usize;
    let size = u32::try_from(len).unwrap_or(FULL);
    let mut out = Vec::with_capacity(192);
    put32(&mut out, LOCAL);
    put16(&mut out, if zip64 > 0 { 45 } else { 20 });
    put16(&mut out, FLAGS);
    put16(&mut out, 0);
    put16(&mut out, 0);
    put16(&mut out, DATE);
    put32(&mut out, 0);
    put32(&mut out, size);
    put32(&mut out, size);
    put16(&mut out, name.len() as u16);
    put16(&mut out, zip64 as u16 + 4 + padding as u16);
    out.extend(name.as_bytes());
    if zip64 > 0 {
        put16(&mut out, ID_ZIP64);
        put16(&mut out, 16);
        put64(&mut out, len);
        put64(&mut out, len);
    }
    put16(&mut out, ID_PADDING);
    put16(&mut out, padding as u16);
    out.resize(out.len() + padding, b'Z');
    out
}

/// Bytes of [`descriptor`].
pub fn descriptor_len(len: u64) -> u64 {
    if is_large(len) { 24 } else { 16 }
}

/// What follows a member's data: checksum and sizes.
pub fn descriptor(crc: u32, len: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(24);
    put32(&mut out, DESCRIPTOR);
    put32(&mut out, crc);
    for _ in 0..2 {
        if is_large(len) {
            put64(&mut out, len);
        } else {
            put32(&mut out, len as u32);
        }
    }
    out
}

/// The directory of a container and its end, from byte `offset` on. Its length does not depend on the checksums.
pub fn directory(entries: &[Entry], offset: u64) -> Vec<u8> {
    let mut out = Vec::with_capacity(entries.len() * 80 + 100);
    for e in entries {
        let (long_len, long_offset) = (is_large(e.len), is_large(e.offset));
        let extra = 16 * u16::from(long_len) + 8 * u16::from(long_offset);
        let version = if extra > 0 { 45 } else { 20 };
        let size = if long_len { FULL } else { e.len as u32 };
        put32(&mut out, CENTRAL);
        put16(&mut out, version);
        put16(&mut out, version);
        put16(&mut out, FLAGS);
        put16(&mut out, 0);
        put16(&mut out, 0);
        put16(&mut out, DATE);
        put32(&mut out, e.crc);
        put32(&mut out, size);
        put32(&mut out, size);
        put16(&mut out, e.name.len() as u16);
        put16(&mut out, if extra > 0 { extra + 4 } else { 0 });
        // Comment, disk, attributes.
        out.extend([0; 10]);
        put32(&mut out, if long_offset { FULL } else { e.offset as u32 });
        out.extend(e.name.as_bytes());
        if extra > 0 {
            put16(&mut out, ID_ZIP64);
            put16(&mut out, extra);
            if long_len {
                put64(&mut out, e.len);
                put64(&mut out, e.len);
            }
            if long_offset {
                put64(&mut out, e.offset);
            }
        }
    }
    let (size, count) = (out.len() as u64, entries.len() as u64);
    if is_large(offset) || is_large(size) || count >= 0xffff {
        put32(&mut out, END64);
        put64(&mut out, 44);
        put16(&mut out, 45);
        put16(&mut out, 45);
        put32(&mut out, 0);
        put32(&mut out, 0);
        put64(&mut out, count);
        put64(&mut out, count);
        put64(&mut out, size);
        put64(&mut out, offset);
        put32(&mut out, LOCATOR64);
        put32(&mut out, 0);
        put64(&mut out, offset + size);
        put32(&mut out, 1);
    }
    let short = |n: u64| u32::try_from(n).unwrap_or(FULL);
    put32(&mut out, END);
    put16(&mut out, 0);
    put16(&mut out, 0);
    let few = u16::try_from(count).unwrap_or(0xffff);
    put16(&mut out, few);
    put16(&mut out, few);
    put32(&mut out, short(size));
    put32(&mut out, short(offset));
    put16(&mut out, 0);
    out
}

fn get16(b: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(b.get(at..at + 2)?.try_into().ok()?))
}
fn get32(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(b.get(at..at + 4)?.try_into().ok()?))
}
fn get64(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(b.get(at..at + 8)?.try_into().ok()?))
}

/// Where a directory lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub offset: u64,
    /// Bytes.
    pub len: u64,
    /// Members.
    pub entries: u64,
}

/// Finds the directory from the last bytes of a container of `file_len` bytes.
///
/// Errors: what is wrong, as a clause after the file's name.
pub fn find_directory(tail: &[u8], file_len: u64) -> Result<Span, String> {
    let not = || "it does not end as a zip container does: truncated, or no checkpoint".to_string();
    let at = (0..=tail.len().checked_sub(END_LEN).ok_or_else(not)?)
        .rev()
        .find(|&at| {
            get32(tail, at) == Some(END)
                && get16(tail, at + 20) == u16::try_from(tail.len() - at - END_LEN).ok()
        })
        .ok_or_else(not)?;
    let short = || {
        Some(Span {
            entries: get16(tail, at + 10)?.into(),
            len: get32(tail, at + 12)?.into(),
            offset: get32(tail, at + 16)?.into(),
        })
    };
    let long = || {
        let locator = at.checked_sub(LOCATOR_LEN)?;
        if get32(tail, locator) != Some(LOCATOR64) {
            return None;
        }
        let begin = get64(tail, locator + 8)?;
        let start = file_len - tail.len() as u64;
        let end64 = usize::try_from(begin.checked_sub(start)?).ok()?;
        if get32(tail, end64) != Some(END64) {
            return None;
        }
        Some(Span {
            entries: get64(tail, end64 + 32)?,
            len: get64(tail, end64 + 40)?,
            offset: get64(tail, end64 + 48)?,
        })
    };
    let span = long().or_else(short).ok_or_else(not)?;
    match span.offset.checked_add(span.len) {
        Some(end) if end <= file_len => Ok(span),
        _ => Err(not()),
    }
}

/// Reads a directory.
///
/// Errors: what is wrong, as a clause after the file's name.
pub fn parse_directory(bytes: &[u8], span: Span) -> Result<Vec<Entry>, String> {
    let mut out = Vec::new();
    let mut at = 0;
    while (out.len() as u64) < span.entries {
        let (entry, next) =
            parse_entry(bytes, at).ok_or("the directory of its zip container is damaged")??;
        out.push(entry);
        at = next;
    }
    Ok(out)
}

fn parse_entry(b: &[u8], at: usize) -> Option<Result<(Entry, usize), String>> {
    if get32(b, at)? != CENTRAL {
        return None;
    }
    let method = get16(b, at + 10)?;
    let crc = get32(b, at + 16)?;
    let mut len = u64::from(get32(b, at + 24)?);
    let [name_len, extra_len, comment_len] =
        [28, 30, 32].map(|i| get16(b, at + i).map(usize::from));
    let (name_len, extra_len, comment_len) = (name_len?, extra_len?, comment_len?);
    let mut offset = u64::from(get32(b, at + 42)?);
    let name = b.get(at + 46..at + 46 + name_len)?;
    let name = String::from_utf8_lossy(name).into_owned();
    if method != 0 {
        return Some(Err(format!(
            "its member {name} is compressed (method {method})"
        )));
    }
    let extra = b.get(at + 46 + name_len..at + 46 + name_len + extra_len)?;
    let mut field = 0;
    while field + 4 <= extra.len() {
        let size = usize::from(get16(extra, field + 2)?);
        if get16(extra, field)? == ID_ZIP64 {
            let mut words = (field + 4..field + 4 + size).step_by(8);
            let mut take = |is_used: bool| {
                if is_used {
                    words.next().and_then(|at| get64(extra, at))
                } else {
                    None
                }
            };
            let is_long = len == u64::from(FULL);
            len = take(is_long).unwrap_or(len);
            take(is_long);
            offset = take(offset == u64::from(FULL)).unwrap_or(offset);
        }
        field += 4 + size;
    }
    let entry = Entry {
        name,
        len,
        offset,
        crc,
    };
    Some(Ok((entry, at + 46 + name_len + extra_len + comment_len)))
}

/// Where the data of a member begin, from the first [`LOCAL_LEN`] bytes of its local header at `offset`.
pub fn data_offset(header: &[u8], offset: u64) -> Option<u64> {
    if get32(header, 0)? != LOCAL {
        return None;
    }
    let name = u64::from(get16(header, 26)?);
    let extra = u64::from(get16(header, 28)?);
    Some(offset + LOCAL_LEN + name + extra)
}
