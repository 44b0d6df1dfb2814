//! Checking csv bytes as they come: rows, cells, and numbers, through whatever compression the file begins with.

use std::io::{Cursor, Read, Write};

use super::{Checker, FormatError, Opened, Result, check_len, unpacked_limit};

/// No number is longer.
const MAX_CELL: usize = 400;
/// What some writers put before UTF-8 text.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// First bytes that are looked at to see whether a file is text.
const HEAD: usize = 64;

/// Counts rows and cells of text; where it parses, every cell must be a number.
pub(super) struct Table {
    parses: bool,
    rows: u64,
    /// Cells of the first row.
    columns: Option<u64>,
    /// Commas of the row so far, and whether it has nothing else either.
    commas: u64,
    is_blank: bool,
    /// The cell so far.
    cell: Vec<u8>,
    len: u64,
    limit: u64,
    failure: Option<String>,
}

impl Table {
    fn new(parses: bool, limit: u64) -> Self {
        Table {
            parses,
            rows: 0,
            columns: None,
            commas: 0,
            is_blank: true,
            cell: Vec::new(),
            len: 0,
            limit,
            failure: None,
        }
    }

    fn see(&mut self, text: &[u8]) -> Result<(), String> {
        self.len += text.len() as u64;
        if self.len > self.limit {
            return Err(format!(
                "it unpacks to more than {} bytes, which no file of numbers this small does",
                self.limit
            ));
        }
        let mut rest = text;
        while let Some(end) = memchr::memchr(b'\n', rest) {
            self.part_of_row(&rest[..end])?;
            self.end_row()?;
            rest = &rest[end + 1..];
        }
        self.part_of_row(rest)
    }

    /// Some bytes of a row, without its end.
    fn part_of_row(&mut self, text: &[u8]) -> Result<(), String> {
        // The end of a line of Windows is white space.
        self.is_blank &= text.iter().all(|&b| b == b'\r');
        if !self.parses {
            self.commas += commas(text);
            return Ok(());
        }
        let mut rest = text;
        while let Some(at) = memchr::memchr(b',', rest) {
            self.end_cell(&rest[..at])?;
            self.commas += 1;
            rest = &rest[at + 1..];
        }
        if self.cell.len() + rest.len() > MAX_CELL {
            return Err(format!(
                "a cell of row {} is longer than any number",
                self.rows
            ));
        }
        self.cell.extend_from_slice(rest);
        Ok(())
    }

    fn end_cell(&mut self, rest: &[u8]) -> Result<(), String> {
        if self.cell.is_empty() {
            return self.number(rest);
        }
        let mut cell = std::mem::take(&mut self.cell);
        cell.extend_from_slice(rest);
        let outcome = self.number(&cell);
        cell.clear();
        self.cell = cell;
        outcome
    }

    fn end_row(&mut self) -> Result<(), String> {
        // pandas skips blank lines.
        if std::mem::replace(&mut self.is_blank, true) {
            self.cell.clear();
            return Ok(());
        }
        if self.parses {
            self.end_cell(&[])?;
        }
        let found = std::mem::take(&mut self.commas) + 1;
        let columns = *self.columns.get_or_insert(found);
        if found != columns {
            return Err(format!(
                "row {} has {found} cells, the first has {columns}",
                self.rows
            ));
        }
        self.rows += 1;
        Ok(())
    }

    fn number(&self, cell: &[u8]) -> Result<(), String> {
        let cell = cell.trim_ascii();
        // pandas reads an empty cell as NaN.
        let is_number = cell.is_empty()
            || std::str::from_utf8(cell).is_ok_and(|text| text.parse::<f64>().is_ok());
        if is_number {
            return Ok(());
        }
        Err(format!(
            "cell {} of row {} is no number: {:?} (a header row is not expected; DLIO writes none)",
            self.commas,
            self.rows,
            String::from_utf8_lossy(&cell[..cell.len().min(40)])
        ))
    }

    /// Rows and columns. Only files of our own are known to end with a line end.
    fn shape(&mut self, is_own: bool) -> Result<(u64, u64)> {
        if !self.is_blank {
            if is_own {
                return Err(FormatError::damaged(format!(
                    "truncated: row {} has no line end",
                    self.rows
                )));
            }
            self.end_row().map_err(FormatError::content)?;
        }
        Ok((self.rows, self.columns.unwrap_or(0)))
    }
}

fn commas(text: &[u8]) -> u64 {
    bytecount::count(text, b',') as u64
}

impl Write for Table {
    fn write(&mut self, text: &[u8]) -> std::io::Result<usize> {
        match self.see(text) {
            Ok(()) => Ok(text.len()),
            Err(failure) => {
                self.failure = Some(failure);
                Err(std::io::ErrorKind::InvalidData.into())
            }
        }
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What unpacks the bytes on their way to the table.
enum Unpack {
    /// The first bytes are still to come.
    Unknown,
    Plain(Box<Table>),
    Gzip(Box<flate2::write::MultiGzDecoder<Table>>),
    Bz2(Box<bzip2::write::BzDecoder<Table>>),
    Xz(Box<liblzma::write::XzDecoder<Table>>),
    /// An archive is read from its end.
    Zip(Vec<u8>),
}

/// The containers that pandas unpacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    Plain,
    Gzip,
    Bz2,
    Xz,
    Zip,
}

impl Packing {
    /// For people; nothing for plain text.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Packing::Plain => None,
            Packing::Gzip => Some("gzip"),
            Packing::Bz2 => Some("bz2"),
            Packing::Xz => Some("xz"),
            Packing::Zip => Some("zip"),
        }
    }
}

/// Checks a csv file.
pub(super) struct CsvChecker {
    parses: bool,
    file_len: u64,
    got: u64,
    samples: u64,
    is_own: bool,
    head: Vec<u8>,
    unpack: Unpack,
    /// The finished table.
    table: Option<Table>,
}

impl CsvChecker {
    pub(super) fn new(parses: bool) -> Self {
        CsvChecker {
            parses,
            file_len: 0,
            got: 0,
            samples: 0,
            is_own: false,
            head: Vec::new(),
            unpack: Unpack::Unknown,
            table: None,
        }
    }

    /// What packs the rows, by the first bytes.
    pub(super) fn packing(&self) -> Packing {
        match self.head.get(..2) {
            Some([0x1f, 0x8b]) => Packing::Gzip,
            Some(b"BZ") => Packing::Bz2,
            Some([0xfd, b'7']) => Packing::Xz,
            Some(b"PK") => Packing::Zip,
            _ => Packing::Plain,
        }
    }

    fn begin_unpacking(&mut self) -> Result<()> {
        let table = Table::new(self.parses, unpacked_limit(self.file_len));
        self.unpack = match self.packing() {
            Packing::Gzip => Unpack::Gzip(Box::new(flate2::write::MultiGzDecoder::new(table))),
            Packing::Bz2 => Unpack::Bz2(Box::new(bzip2::write::BzDecoder::new(table))),
            Packing::Xz => Unpack::Xz(Box::new(liblzma::write::XzDecoder::new(table))),
            Packing::Zip => Unpack::Zip(Vec::new()),
            Packing::Plain => {
                if self.head.starts_with(BYTE_ORDER_MARK) {
                    self.head.drain(..BYTE_ORDER_MARK.len());
                }
                let is_text = |b: &u8| b.is_ascii_graphic() || b.is_ascii_whitespace();
                if !self.head.iter().all(is_text) {
                    return Err(FormatError::magic(
                        "a csv file, plain or compressed",
                        &self.head,
                    ));
                }
                Unpack::Plain(Box::new(table))
            }
        };
        let head = std::mem::take(&mut self.head);
        let outcome = self.unpack(&head);
        self.head = head;
        outcome
    }

    fn unpack(&mut self, bytes: &[u8]) -> Result<()> {
        let (outcome, table) = match &mut self.unpack {
            Unpack::Unknown => return Ok(()),
            Unpack::Plain(table) => (table.write_all(bytes), &**table),
            Unpack::Gzip(stream) => (stream.write_all(bytes), stream.get_ref()),
            Unpack::Bz2(stream) => (stream.write_all(bytes), stream.get_ref()),
            Unpack::Xz(stream) => (stream.write_all(bytes), stream.get_ref()),
            Unpack::Zip(all) => {
                all.extend_from_slice(bytes);
                return Ok(());
            }
        };
        outcome.map_err(|e| unpacking(table, &e))
    }

    fn end_unpacking(&mut self) -> Result<Table> {
        fn truncated(e: std::io::Error) -> FormatError {
            FormatError::damaged(format!("truncated or damaged: {e}"))
        }
        match std::mem::replace(&mut self.unpack, Unpack::Unknown) {
            Unpack::Unknown => Ok(Table::new(self.parses, 0)),
            Unpack::Plain(table) => Ok(*table),
            Unpack::Gzip(mut stream) => {
                stream
                    .try_finish()
                    .map_err(|e| unpacking(stream.get_ref(), &e))?;
                stream.finish().map_err(truncated)
            }
            Unpack::Bz2(mut stream) => stream.finish().map_err(truncated),
            Unpack::Xz(stream) => stream.finish().map_err(truncated),
            Unpack::Zip(bytes) => self.unzip(&bytes),
        }
    }

    fn unzip(&self, bytes: &[u8]) -> Result<Table> {
        let bad = |e: &dyn std::fmt::Display| {
            FormatError::damaged(format!("the archive cannot be read: {e}"))
        };
        let mut archive = zip::ZipArchive::new(Cursor::new(bytes)).map_err(|e| bad(&e))?;
        if archive.len() != 1 {
            return Err(FormatError::unsupported(format!(
                "the archive has {} members; one is supported, as by pandas",
                archive.len()
            )));
        }
        let mut member = archive.by_index(0).map_err(|e| bad(&e))?;
        let mut table = Table::new(self.parses, unpacked_limit(self.file_len));
        let mut piece = vec![0; 1 << 16];
        loop {
            let n = member.read(&mut piece).map_err(|e| bad(&e))?;
            if n == 0 {
                return Ok(table);
            }
            if let Err(e) = table.write_all(&piece[..n]) {
                return Err(unpacking(&table, &e));
            }
        }
    }

    /// Rows and columns, after the last byte.
    pub(super) fn shape(&mut self) -> Result<(u64, u64)> {
        check_len(self.got, self.file_len, 1)?;
        if matches!(self.unpack, Unpack::Unknown) {
            self.begin_unpacking()?;
        }
        let mut table = self.end_unpacking()?;
        let shape = table.shape(self.is_own);
        self.table = Some(table);
        shape
    }
}

/// The table's own complaint says more than that of the stream in front of it.
fn unpacking(table: &Table, error: &std::io::Error) -> FormatError {
    match &table.failure {
        Some(failure) => FormatError::content(failure.clone()),
        None => FormatError::damaged(format!("it cannot be unpacked: {error}")),
    }
}

impl Checker for CsvChecker {
    fn begin(&mut self, opened: &Opened) {
        self.file_len = opened.file_len;
        self.samples = opened.expect.samples;
        self.is_own = opened.expect.is_own();
        self.got = 0;
        self.head.clear();
        self.unpack = Unpack::Unknown;
        self.table = None;
    }

    fn push(&mut self, mut chunk: &[u8]) -> Result<()> {
        self.got += chunk.len() as u64;
        if matches!(self.unpack, Unpack::Unknown) {
            let n = chunk.len().min(HEAD - self.head.len());
            self.head.extend_from_slice(&chunk[..n]);
            chunk = &chunk[n..];
            if self.head.len() < HEAD {
                return Ok(());
            }
            self.begin_unpacking()?;
        }
        self.unpack(chunk)
    }

    fn finish(&mut self) -> Result<()> {
        let (rows, _) = self.shape()?;
        if rows != self.samples {
            return Err(FormatError::content(format!(
                "it has {rows} rows where dataset.num_samples_per_file={} (a header row is not expected; DLIO writes none)",
                self.samples
            )));
        }
        Ok(())
    }
}
