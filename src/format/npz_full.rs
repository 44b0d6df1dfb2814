//! Opening npz files as the Python library would: checking them (`full`), and describing them.

use std::io::{Cursor, Read, Seek, SeekFrom};
use std::sync::Arc;

use super::container::npy::Header;
use super::container::zip::LOCAL;
use super::npy::check_samples;
use super::npz_check::MAX_START;
use super::spans::SpanIndex;
use super::{
    Checker, Expect, FormatError, Index, Opened, Result, Source, check_len, unpacked_limit,
};

/// Collects the file and opens it as numpy would: directory, inflate, array.
#[derive(Default)]
pub(super) struct FullChecker {
    bytes: Vec<u8>,
    array: Vec<u8>,
    file_len: u64,
    expect: Expect,
}

impl Checker for FullChecker {
    fn begin(&mut self, opened: &Opened) {
        self.bytes.clear();
        self.bytes.reserve(opened.file_len as usize);
        self.file_len = opened.file_len;
        self.expect = opened.expect;
    }
    fn push(&mut self, chunk: &[u8]) -> Result<()> {
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }
    fn finish(&mut self) -> Result<()> {
        let expect = self.expect;
        check_len(self.bytes.len() as u64, self.file_len, expect.min_len)?;
        if !self.bytes.starts_with(&LOCAL.to_le_bytes()) {
            return Err(FormatError::magic("an npz archive", &self.bytes));
        }
        let mut archive = zip::ZipArchive::new(Cursor::new(&self.bytes[..])).map_err(unreadable)?;
        let mut member = archive.by_name("x.npy").map_err(unreadable)?;
        let limit = unpacked_limit(self.file_len);
        if member.size() > limit {
            return Err(FormatError::Unsupported(format!(
                "x.npy announces {} bytes, which is not supported in an archive of {} bytes",
                member.size(),
                self.file_len
            )));
        }
        self.array.clear();
        // All of it at once: growing step by step would hold up to twice as much.
        self.array.reserve_exact(member.size() as usize);
        let unpacked = (&mut member).take(limit + 1).read_to_end(&mut self.array);
        if unpacked.map_err(|e| unreadable(e.into()))? as u64 > limit {
            return Err(FormatError::Unsupported(format!(
                "x.npy unpacks to more than {limit} bytes, which is not supported in an archive of {} bytes",
                self.file_len
            )));
        }
        let header = Header::parse(&self.array)?.ok_or(FormatError::Truncated {
            expected: 128,
            got: self.array.len() as u64,
        })?;
        check_samples(&header, expect.samples)?;
        if header.file_len > self.array.len() as u64 {
            return Err(FormatError::Truncated {
                expected: header.file_len,
                got: self.array.len() as u64,
            });
        }
        Ok(())
    }
}

/// What the zip library says.
fn unreadable(error: zip::result::ZipError) -> FormatError {
    use zip::result::ZipError;
    match error {
        ZipError::FileNotFound => FormatError::content("the archive has no array x"),
        ZipError::UnsupportedArchive(_) => FormatError::unsupported(format!(
            "the archive cannot be read: {error}, which is not supported"
        )),
        ZipError::Io(ref io) if io.kind() == std::io::ErrorKind::Unsupported => {
            FormatError::unsupported(format!("the archive cannot be read: {error}"))
        }
        _ => FormatError::damaged(format!("the archive cannot be read: {error}")),
    }
}

/// Names, shapes and types of the arrays, for people.
pub(super) fn describe(source: &mut dyn Source) -> Result<Arc<dyn Index>> {
    let len = source.file_len()?;
    let mut magic = vec![0; len.min(4) as usize];
    source.read_at(0, &mut magic)?;
    if magic != LOCAL.to_le_bytes() {
        return Err(FormatError::magic("an npz archive", &magic));
    }
    let mut archive = zip::ZipArchive::new(Reader { source, len, at: 0 }).map_err(unreadable)?;
    let (mut samples, mut lines) = (1, Vec::new());
    for number in 0..archive.len() {
        let member = archive.by_index(number).map_err(unreadable)?;
        let name = member.name().map_err(unreadable)?;
        let name = name.trim_end_matches(".npy").to_string();
        let mut start = Vec::new();
        member
            .take(MAX_START as u64)
            .read_to_end(&mut start)
            .map_err(|e| unreadable(e.into()))?;
        let header = Header::parse(&start)?.ok_or(FormatError::Truncated {
            expected: 128,
            got: start.len() as u64,
        })?;
        if name == "x" {
            samples = header.shape.last().copied().unwrap_or(1);
        }
        lines.push(format!("{name}: {}", header.describe()));
    }
    Ok(SpanIndex::whole(samples, lines))
}

/// A source as the zip library wants it.
struct Reader<'a> {
    source: &'a mut dyn Source,
    len: u64,
    at: u64,
}

impl Read for Reader<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let n = self.len.saturating_sub(self.at).min(buf.len() as u64) as usize;
        self.source
            .read_at(self.at, &mut buf[..n])
            .map_err(std::io::Error::other)?;
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for Reader<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.len.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}
