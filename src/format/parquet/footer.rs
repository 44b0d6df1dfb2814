//! The footer as it is read: schema and column chunks, in a window of bytes.

use super::encode::MAGIC;
use super::thrift::{BINARY, Broken, Bytes, LIST, Reader, STRUCT};
use crate::format::{FormatError, Result, Source};

/// Bytes of the footer in memory at once.
const WINDOW: u64 = 256 << 10;

/// Columns beyond which a schema is refused.
const MAX_LEAVES: usize = 1 << 16;

/// Bytes of all names from the root to the columns beyond which a schema is refused.
const MAX_NAMES: usize = 16 << 20;

/// A column as a file's schema has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Leaf {
    /// The names from the root to the values.
    pub path: Vec<String>,
    /// Number of the physical type.
    pub physical: i32,
    /// Bytes per value of a fixed-length type.
    pub type_length: i32,
    pub max_definition: i16,
    pub max_repetition: i16,
}

/// A column chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    pub offset: u64,
    pub len: u64,
    /// Which of the leaves.
    pub leaf: u32,
    /// Number of the codec; it may be one that is not supported.
    pub codec: i32,
}

/// What a footer says, as it is read.
pub(super) trait Visitor {
    /// The schema. Comes before the row groups.
    fn schema(&mut self, leaves: Vec<Leaf>) -> Result<(), Broken>;
    /// Whether the chunks of this leaf are wanted.
    fn wants(&self, leaf: usize) -> bool;
    /// A row group and its wanted chunks, in the order of the schema; one without rows has none.
    fn row_group(&mut self, rows: u64, chunks: &mut Vec<Chunk>) -> Result<(), Broken>;
}

/// The footer's bytes, a window at a time.
struct Window<'a> {
    source: &'a mut dyn Source,
    buffer: Vec<u8>,
    at: usize,
    /// Offset in the file of what follows the buffer.
    next: u64,
    end: u64,
}

impl Window<'_> {
    /// Reads the next window.
    #[cold]
    fn refill(&mut self) -> Result<(), Broken> {
        let n = WINDOW.min(self.end - self.next);
        if n == 0 {
            return Err(Broken::Short);
        }
        self.buffer.resize(n as usize, 0);
        self.source
            .read_at(self.next, &mut self.buffer)
            .map_err(Broken::reading)?;
        self.next += n;
        self.at = 0;
        Ok(())
    }
}

impl Bytes for Window<'_> {
    #[inline]
    fn byte(&mut self) -> Result<u8, Broken> {
        if self.at == self.buffer.len() {
            self.refill()?;
        }
        self.at += 1;
        Ok(self.buffer[self.at - 1])
    }

    fn skip(&mut self, mut n: usize) -> Result<(), Broken> {
        loop {
            let here = n.min(self.buffer.len() - self.at);
            self.at += here;
            n -= here;
            if n == 0 {
                return Ok(());
            }
            self.refill()?;
        }
    }

    fn left(&self) -> u64 {
        self.end - self.next + (self.buffer.len() - self.at) as u64
    }
}

/// An element of the schema, which is a tree in pre-order.
#[derive(Default)]
struct Element {
    physical: Option<i32>,
    type_length: i32,
    repetition: i32,
    name: String,
    children: u64,
}

/// Reads a file's footer; returns the number of rows.
///
/// Errors: the file is none of this format, encrypted, or damaged.
pub(super) fn read(source: &mut dyn Source, visitor: &mut dyn Visitor) -> Result<u64> {
    let file_len = source.file_len()?;
    if file_len < 12 {
        return Err(FormatError::Truncated {
            expected: 12,
            got: file_len,
        });
    }
    let mut head = [0; 4];
    source.read_at(0, &mut head)?;
    let mut tail = [0; 8];
    source.read_at(file_len - 8, &mut tail)?;
    let (len, magic) = tail.split_at(4);
    if head == *b"PARE" || magic == b"PARE" {
        return Err(FormatError::unsupported(
            "its footer is encrypted, which is not supported",
        ));
    }
    if head != *MAGIC {
        return Err(FormatError::magic("a parquet file (PAR1)", &head));
    }
    if magic != MAGIC {
        return Err(FormatError::damaged(format!(
            "truncated: it ends with {magic:02x?} where PAR1 belongs"
        )));
    }
    let len = u64::from(u32::from_le_bytes([len[0], len[1], len[2], len[3]]));
    let end = file_len - 8;
    let start = end.checked_sub(len).filter(|&start| start >= 4);
    let Some(start) = start else {
        return Err(FormatError::damaged(format!(
            "its footer is damaged: it announces {len} bytes in a file of {file_len}"
        )));
    };
    let window = Window {
        source,
        buffer: Vec::new(),
        at: 0,
        next: start,
        end,
    };
    metadata(&mut Reader::new(window), start, visitor)
        .map_err(|broken| broken.into_error("its footer"))
}

fn metadata(
    reader: &mut Reader<Window>,
    data_end: u64,
    visitor: &mut dyn Visitor,
) -> Result<u64, Broken> {
    let (mut rows, mut rows_seen) = (None, 0u64);
    let mut leaves = None;
    let mut has_groups = false;
    reader.structure(&mut |r, id, kind| {
        match (id, kind) {
            (2, LIST) => {
                if leaves.is_some() {
                    return Err(Broken::because("it has two schemas"));
                }
                let read = schema(r)?;
                leaves = Some(read.len());
                visitor.schema(read)?;
            }
            (3, _) => rows = Some(r.count()?),
            (4, LIST) => {
                let leaves =
                    leaves.ok_or_else(|| Broken::because("row groups stand before the schema"))?;
                has_groups = true;
                for _ in 0..r.list_of(STRUCT)? {
                    let group_rows = row_group(r, leaves, data_end, visitor)?;
                    rows_seen = rows_seen
                        .checked_add(group_rows)
                        .ok_or_else(|| Broken::because("its rows exceed 64 bits"))?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if !has_groups {
        return Err(Broken::because("it has no list of row groups"));
    }
    match rows {
        Some(rows) if rows == rows_seen => Ok(rows),
        rows => Err(Broken::because(format!(
            "it announces {} rows, its row groups {rows_seen}",
            rows.unwrap_or(0)
        ))),
    }
}

fn schema(reader: &mut Reader<Window>) -> Result<Vec<Leaf>, Broken> {
    // Open groups: children left, name, and levels down to them.
    let mut open: Vec<(u64, String, i16, i16)> = Vec::new();
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut names = 0;
    let len = reader.list_of(STRUCT)?;
    for i in 0..len {
        let mut element = Element::default();
        reader.structure(&mut |r, id, _| {
            match id {
                1 => element.physical = Some(r.int32()?),
                2 => element.type_length = r.int32()?,
                3 => element.repetition = r.int32()?,
                4 => element.name = r.text()?,
                5 => element.children = r.count()?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        if i == 0 {
            open.push((element.children, String::new(), 0, 0));
            continue;
        }
        let Some((left, _, definition, repetition)) = open.last_mut() else {
            return Err(Broken::because(
                "its schema has more elements than its tree",
            ));
        };
        *left = left
            .checked_sub(1)
            .ok_or_else(|| Broken::because("its schema is no tree"))?;
        let definition = *definition + i16::from(element.repetition != 0);
        let repetition = *repetition + i16::from(element.repetition == 2);
        match element.physical {
            Some(physical) if element.children == 0 => {
                names += open.iter().map(|group| group.1.len()).sum::<usize>() + element.name.len();
                if leaves.len() >= MAX_LEAVES || names > MAX_NAMES {
                    return Err(Broken::because(format!(
                        "it has more than {MAX_LEAVES} columns, or names of more than {MAX_NAMES} bytes"
                    )));
                }
                let path = open[1..].iter().map(|group| group.1.clone());
                leaves.push(Leaf {
                    path: path.chain([element.name]).collect(),
                    physical,
                    type_length: element.type_length,
                    max_definition: definition,
                    max_repetition: repetition,
                });
            }
            _ => open.push((element.children, element.name, definition, repetition)),
        }
        if open.len() > 64 {
            return Err(Broken::because("its schema nests more than 64 levels deep"));
        }
        while open.last().is_some_and(|group| group.0 == 0) {
            open.pop();
        }
    }
    if !open.is_empty() {
        return Err(Broken::because("its schema ends too early"));
    }
    Ok(leaves)
}

fn row_group(
    reader: &mut Reader<Window>,
    leaves: usize,
    data_end: u64,
    visitor: &mut dyn Visitor,
) -> Result<u64, Broken> {
    let mut chunks = Vec::new();
    let mut found = None;
    let mut rows = None;
    reader.structure(&mut |r, id, kind| {
        match (id, kind) {
            (1, LIST) => {
                let len = r.list_of(STRUCT)?;
                found = Some(len);
                for leaf in 0..len {
                    let wanted = visitor.wants(leaf);
                    if let Some(chunk) = column_chunk(r, leaf, wanted)? {
                        chunks.push(chunk);
                    }
                }
            }
            (3, _) => rows = Some(r.count()?),
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if found != Some(leaves) {
        return Err(Broken::because(format!(
            "a row group has {} column chunks, the schema {leaves} columns",
            found.unwrap_or(0)
        )));
    }
    let rows = rows.ok_or_else(|| Broken::because("a row group does not say its rows"))?;
    if rows == 0 {
        // Writers leave zeros in chunks that hold nothing.
        chunks.clear();
    }
    chunks
        .iter()
        .try_for_each(|chunk| check_place(chunk, data_end))?;
    visitor.row_group(rows, &mut chunks)?;
    Ok(rows)
}

/// One column chunk; None when it is not wanted.
fn column_chunk(
    reader: &mut Reader<Window>,
    leaf: usize,
    wanted: bool,
) -> Result<Option<Chunk>, Broken> {
    let (mut elsewhere, mut is_encrypted) = (None, false);
    let (mut codec, mut len, mut data, mut dictionary) = (None, None, None, None);
    reader.structure(&mut |r, id, kind| {
        match (id, kind) {
            (1, BINARY) => elsewhere = Some(r.text()?),
            (3, STRUCT) if wanted => r.structure(&mut |r, id, _| {
                match id {
                    4 => codec = Some(r.int32()?),
                    7 => len = Some(r.count()?),
                    9 => data = Some(r.count()?),
                    11 => dictionary = Some(r.count()?),
                    _ => return Ok(false),
                }
                Ok(true)
            })?,
            // Crypto metadata, and encrypted metadata.
            (8 | 9, _) => {
                is_encrypted = true;
                return Ok(false);
            }
            _ => return Ok(false),
        }
        Ok(true)
    })?;
    if !wanted {
        return Ok(None);
    }
    if let Some(path) = elsewhere.filter(|path| !path.is_empty()) {
        return Err(Broken::unsupported(format!(
            "column {leaf} lies in another file, {path}, which is not supported"
        )));
    }
    let (Some(codec), Some(len), Some(data)) = (codec, len, data) else {
        return Err(if is_encrypted {
            Broken::unsupported(format!(
                "column {leaf} is encrypted, which is not supported"
            ))
        } else {
            Broken::because(format!("column {leaf} has no metadata"))
        });
    };
    // Some writers put 0 where there is no page of that kind.
    let offset = match dictionary.filter(|&d| d > 0) {
        Some(dictionary) if data > 0 => dictionary.min(data),
        Some(dictionary) => dictionary,
        None => data,
    };
    Ok(Some(Chunk {
        offset,
        len,
        leaf: leaf as u32,
        codec,
    }))
}

/// Checks that a chunk lies between the magic and the footer.
fn check_place(chunk: &Chunk, data_end: u64) -> Result<(), Broken> {
    let end = chunk.offset.checked_add(chunk.len);
    if chunk.offset < 4 || end.is_none_or(|end| end > data_end) {
        return Err(Broken::because(format!(
            "column {} has {} bytes at {}, and the column chunks end at {data_end}",
            chunk.leaf, chunk.len, chunk.offset
        )));
    }
    Ok(())
}
