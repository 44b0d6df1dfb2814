//! Checking npz files in one pass as the bytes come (`verify`).

use flate2::{Decompress, FlushDecompress, Status};

use super::container::npy::Header;
use super::container::zip::{
    CENTRAL, DEFLATED, DESCRIPTOR, END, END_LEN, FLAG_DESCRIPTOR, LOCAL, LOCAL_LEN, STORED,
    local_len, parse_entry, parse_local,
};
use super::npy::check_samples;
use super::{Checker, Expect, FormatError, Opened, Result, check_len};
use crate::util::bytes::{le16, le32};

/// The part of a zip's tail that is kept; npz archives have a handful of members.
const MAX_TAIL: usize = 1 << 20;
/// An npy header is read from the first bytes of a member.
pub(super) const MAX_START: usize = 1 << 10;
/// A member as its local header and its bytes show it.
#[derive(Debug)]
struct Member {
    name: String,
    method: u16,
    offset: u64,
    crc_stored: Option<u32>,
    /// Compressed bytes; None when they follow the data.
    packed_len: Option<u64>,
    unpacked_len: Option<u64>,
    /// Seen so far.
    packed: u64,
    unpacked: u64,
    crc: u32,
}

#[derive(Default)]
enum State {
    /// Collecting a local header, or the first directory entry's magic.
    #[default]
    Between,
    /// In the data of a member.
    Data,
    /// In the directory and what follows it.
    Tail,
}

/// Walks the archive as it comes: structure, lengths and CRC-32 of every member, the array's shape, the directory.
#[derive(Default)]
pub(super) struct VerifyChecker {
    state: State,
    small: Vec<u8>,
    members: Vec<Member>,
    /// First bytes of the member's array.
    start: Vec<u8>,
    crc: crc32fast::Hasher,
    inflate: Option<Decompress>,
    plain: Vec<u8>,
    file_len: u64,
    got: u64,
    expect: Expect,
    saw_samples: bool,
}

impl VerifyChecker {
    /// Takes bytes into `small` until it holds `want`; true when it does.
    fn collect(&mut self, chunk: &mut &[u8], want: usize) -> bool {
        let n = want.saturating_sub(self.small.len()).min(chunk.len());
        self.small.extend_from_slice(&chunk[..n]);
        *chunk = &chunk[n..];
        self.small.len() >= want
    }

    /// File offset of the next unread byte of `chunk`.
    fn at(&self, chunk: &[u8]) -> u64 {
        self.got - chunk.len() as u64
    }

    fn between(&mut self, chunk: &mut &[u8]) -> Result<()> {
        if !self.collect(chunk, 4) {
            return Ok(());
        }
        match le32(&self.small, 0) {
            Some(LOCAL) => {}
            Some(CENTRAL | END) if !self.members.is_empty() => {
                self.state = State::Tail;
                return Ok(());
            }
            _ => {
                let found = self.small[..4].to_vec();
                return Err(match self.members.last() {
                    None => FormatError::magic("an npz archive", &found),
                    Some(member) => FormatError::Damaged(format!(
                        "after member {}, at byte {}, comes neither a member nor the directory: {found:02x?}",
                        member.name,
                        self.at(chunk) - 4
                    )),
                });
            }
        }
        if !self.collect(chunk, LOCAL_LEN) {
            return Ok(());
        }
        let len = local_len(&self.small).unwrap_or(LOCAL_LEN);
        if !self.collect(chunk, len) {
            return Ok(());
        }
        let Some((header, flags)) = parse_local(&self.small) else {
            return Err(FormatError::damaged("the header of a member is damaged"));
        };
        let (name, method) = (header.name, header.method);
        let follows = flags & FLAG_DESCRIPTOR != 0;
        if follows && method == STORED {
            return Err(FormatError::Unsupported(format!(
                "member {name} is stored with its length after the data, which is not supported by reader.decode=verify; set reader.decode=full"
            )));
        }
        if method != STORED && method != DEFLATED {
            return Err(FormatError::Unsupported(format!(
                "member {name} has compression method {method}, which is not supported; stored (0) and deflated (8) are"
            )));
        }
        let offset = self.at(chunk) - len as u64;
        self.members.push(Member {
            name,
            method,
            offset,
            crc_stored: (!follows).then_some(header.crc),
            packed_len: (!follows).then_some(header.packed_len),
            unpacked_len: (!follows).then_some(header.len),
            packed: 0,
            unpacked: 0,
            crc: 0,
        });
        self.small.clear();
        self.start.clear();
        self.crc = crc32fast::Hasher::new();
        if method == DEFLATED {
            match &mut self.inflate {
                Some(inflate) => inflate.reset(false),
                none => *none = Some(Decompress::new(false)),
            }
            self.plain.resize(1 << 16, 0);
        }
        self.state = State::Data;
        Ok(())
    }

    /// Plain bytes of the current member.
    fn plain_bytes(
        crc: &mut crc32fast::Hasher,
        start: &mut Vec<u8>,
        member: &mut Member,
        bytes: &[u8],
    ) {
        crc.update(bytes);
        let n = MAX_START.saturating_sub(start.len()).min(bytes.len());
        start.extend_from_slice(&bytes[..n]);
        member.unpacked += bytes.len() as u64;
    }

    fn data(&mut self, chunk: &mut &[u8]) -> Result<()> {
        let member = self
            .members
            .last_mut()
            .expect("a member is open in this state");
        let left = member
            .packed_len
            .map_or(u64::MAX, |len| len - member.packed);
        let n = left.min(chunk.len() as u64) as usize;
        let mut is_over = false;
        if member.method == STORED {
            Self::plain_bytes(&mut self.crc, &mut self.start, member, &chunk[..n]);
            member.packed += n as u64;
            *chunk = &chunk[n..];
        } else {
            let inflate = self
                .inflate
                .as_mut()
                .expect("made when the member was opened");
            let (before_in, before_out) = (inflate.total_in(), inflate.total_out());
            let status = inflate
                .decompress(&chunk[..n], &mut self.plain, FlushDecompress::None)
                .map_err(|e| {
                    FormatError::Damaged(format!("member {} cannot be inflated: {e}", member.name))
                })?;
            let used = (inflate.total_in() - before_in) as usize;
            let made = (inflate.total_out() - before_out) as usize;
            Self::plain_bytes(&mut self.crc, &mut self.start, member, &self.plain[..made]);
            member.packed += used as u64;
            *chunk = &chunk[used..];
            is_over = status == Status::StreamEnd;
            // All of the member was there, or there is more of it, and nothing comes of it.
            if !is_over && used == 0 && made == 0 && (n > 0 || left == 0) {
                return Err(FormatError::Damaged(format!(
                    "member {} cannot be inflated: its stream does not end within it",
                    member.name
                )));
            }
        }
        if is_over || (member.method == STORED && member.packed_len == Some(member.packed)) {
            self.end_member()?;
        }
        Ok(())
    }

    fn end_member(&mut self) -> Result<()> {
        let member = self
            .members
            .last_mut()
            .expect("a member is open in this state");
        member.crc = std::mem::take(&mut self.crc).finalize();
        if let Some(stored) = member.crc_stored
            && stored != member.crc
        {
            return Err(FormatError::Checksum {
                member: member.name.clone(),
                stored,
                computed: member.crc,
            });
        }
        if member
            .unpacked_len
            .is_some_and(|len| len != member.unpacked)
        {
            return Err(FormatError::Truncated {
                expected: member.unpacked_len.unwrap_or(0),
                got: member.unpacked,
            });
        }
        if member.name == "x.npy" {
            let header = Header::parse(&self.start)?.ok_or(FormatError::Truncated {
                expected: 128,
                got: self.start.len() as u64,
            })?;
            check_samples(&header, self.expect.samples)?;
            if header.file_len > member.unpacked {
                return Err(FormatError::Damaged(format!(
                    "x.npy has {} bytes and its header says {}",
                    member.unpacked, header.file_len
                )));
            }
            self.saw_samples = true;
        }
        self.state = State::Between;
        Ok(())
    }

    /// The data descriptor of a streamed member stands before the next header: its magic is optional.
    fn skip_descriptor(&mut self) -> Result<bool> {
        let Some(member) = self.members.last() else {
            return Ok(false);
        };
        if member.crc_stored.is_some() || self.small.len() < 4 {
            return Ok(false);
        }
        if le32(&self.small, 0) != Some(DESCRIPTOR) {
            return Ok(false);
        }
        // Magic, CRC, and two sizes of 4 or (with ZIP64) 8 bytes: 16 or 24 in all.
        if self.small.len() < 28 {
            return Ok(true);
        }
        let stored = le32(&self.small, 4).unwrap_or(0);
        let computed = member.crc;
        let name = member.name.clone();
        if stored != computed {
            return Err(FormatError::Checksum {
                member: name,
                stored,
                computed,
            });
        }
        let known = |at: usize| matches!(le32(&self.small, at), Some(LOCAL | CENTRAL | END));
        let len = if known(16) { 16 } else { 24 };
        let rest = self.small.split_off(len);
        self.small = rest;
        if let Some(member) = self.members.last_mut() {
            member.crc_stored = Some(stored);
        }
        Ok(false)
    }

    fn check_tail(&self) -> Result<()> {
        let tail = &self.small;
        let truncated = || FormatError::Truncated {
            expected: self.got + 22,
            got: self.got,
        };
        let mut at = 0;
        for member in &self.members {
            let (entry, next) = parse_entry(tail, at).ok_or_else(truncated)?;
            let same = entry.name == member.name
                && entry.len == member.unpacked
                && entry.packed_len == member.packed
                && entry.offset == member.offset
                && entry.crc == member.crc;
            if !same {
                return Err(FormatError::Damaged(format!(
                    "the archive's directory disagrees with member {}",
                    member.name
                )));
            }
            at = next;
        }
        let end = (at..tail.len())
            .find(|&at| le32(tail, at) == Some(END))
            .ok_or_else(truncated)?;
        let comment = le16(tail, end + 20).ok_or_else(truncated)?;
        if tail.len() < end + END_LEN + usize::from(comment) {
            return Err(truncated());
        }
        let count = usize::from(le16(tail, end + 10).ok_or_else(truncated)?);
        if count != self.members.len() {
            return Err(FormatError::Damaged(format!(
                "the archive's end counts {} members; {} are there",
                count,
                self.members.len()
            )));
        }
        Ok(())
    }
}

impl Checker for VerifyChecker {
    fn begin(&mut self, opened: &Opened) {
        self.state = State::Between;
        self.small.clear();
        self.members.clear();
        self.file_len = opened.file_len;
        self.got = 0;
        self.expect = opened.expect;
        self.saw_samples = false;
    }

    fn push(&mut self, mut chunk: &[u8]) -> Result<()> {
        self.got += chunk.len() as u64;
        while !chunk.is_empty() {
            match self.state {
                State::Between => {
                    let streamed = self.members.last().is_some_and(|m| m.crc_stored.is_none());
                    if streamed {
                        self.collect(&mut chunk, 28);
                        if self.skip_descriptor()? || self.small.len() < 4 {
                            continue;
                        }
                    }
                    self.between(&mut chunk)?;
                }
                State::Data => self.data(&mut chunk)?,
                State::Tail => {
                    if self.small.len() + chunk.len() > MAX_TAIL {
                        return Err(FormatError::Unsupported(
                            "the archive's directory is longer than 1 MiB, which is not supported"
                                .into(),
                        ));
                    }
                    self.small.extend_from_slice(chunk);
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<()> {
        check_len(self.got, self.file_len, self.expect.min_len)?;
        if !matches!(self.state, State::Tail) {
            let missing = self
                .members
                .last()
                .and_then(|m| Some(m.packed_len? - m.packed))
                .unwrap_or(0);
            return Err(FormatError::Truncated {
                expected: self.got.saturating_add(missing).saturating_add(22),
                got: self.got,
            });
        }
        self.check_tail()?;
        if !self.saw_samples {
            return Err(FormatError::Content("the archive has no array x".into()));
        }
        Ok(())
    }
}
