//! csv: one row per sample, no header, numbers parted by commas; compressed where `dataset.compression` says so, under the
//! plain name `.csv`, as DLIO names it.
//!
//! | dtype | Value of an element |
//! |---|---|
//! | integers | the element itself |
//! | float16, float32, float64 | the upper 11, 24 or 53 bits of the element as a fraction: uniform in [0, 1), written as the shortest decimal of that type (float16: of float32) |
//!
//! Source: DLIO `data_generator/csv_generator.py`; what pandas' `to_csv(index=False, header=False)` writes.

use std::io::Write;
use std::sync::Arc;

use super::csv_check::CsvChecker;
use super::npz::zip_options;
use super::spans::SpanIndex;
use super::{
    Checker, Chunks, Element, Expect, FileSpec, Format, FormatError, FormatOptions, Index, Opened,
    Out, Result, Source,
};
use crate::config::Compression;
use crate::storage::Extent;

pub struct Csv;

/// Bytes of the fill that are turned to text at once; a multiple of every element's size.
const PIECE: usize = 1 << 15;
/// Characters of the longest number, with its comma.
const MAX_CELL: usize = 26;

/// Each byte in decimal with a comma, and how long that is.
const BYTE_CELLS: [([u8; 4], u8); 256] = {
    let mut cells = [([b','; 4], 0); 256];
    let mut value = 0;
    while value < 256 {
        let digits = [
            b'0' + (value / 100) as u8,
            b'0' + (value / 10 % 10) as u8,
            b'0' + (value % 10) as u8,
        ];
        let skip = if value >= 100 {
            0
        } else if value >= 10 {
            1
        } else {
            2
        };
        let mut i = skip;
        while i < 3 {
            cells[value].0[i - skip] = digits[i];
            i += 1;
        }
        cells[value].1 = 4 - skip as u8;
        value += 1;
    }
    cells
};

/// Writes elements as cells, each with a comma after it, from byte `at` of `text`; returns the end.
type Cells = fn(elements: &[u8], text: &mut [u8], at: usize) -> usize;

fn bytes_as_cells(elements: &[u8], text: &mut [u8], mut at: usize) -> usize {
    for &byte in elements {
        let (cell, len) = &BYTE_CELLS[byte as usize];
        text[at..at + 4].copy_from_slice(cell);
        at += *len as usize;
    }
    at
}

fn put(text: &mut [u8], at: usize, number: &str) -> usize {
    let end = at + number.len();
    text[at..end].copy_from_slice(number.as_bytes());
    text[end] = b',';
    end + 1
}

macro_rules! integers {
    ($type:ty) => {
        |elements, text, mut at| {
            let mut digits = itoa::Buffer::new();
            for element in elements.as_chunks::<{ size_of::<$type>() }>().0 {
                at = put(text, at, digits.format(<$type>::from_le_bytes(*element)));
            }
            at
        }
    };
}

macro_rules! fractions {
    ($bits:ty, $drop:expr, $float:ty, $digits:expr) => {
        |elements, text, mut at| {
            let mut digits = zmij::Buffer::new();
            for element in elements.as_chunks::<{ size_of::<$bits>() }>().0 {
                let kept = <$bits>::from_le_bytes(*element) >> $drop;
                at = put(
                    text,
                    at,
                    digits.format_finite(kept as $float / (1u64 << $digits) as $float),
                );
            }
            at
        }
    };
}

/// How elements become cells; None for complex numbers.
fn cells(element: Element) -> Option<Cells> {
    Some(match element.name {
        "uint8" => bytes_as_cells,
        "int8" => integers!(i8),
        "uint16" => integers!(u16),
        "int16" => integers!(i16),
        "uint32" => integers!(u32),
        "int32" => integers!(i32),
        "uint64" => integers!(u64),
        "int64" => integers!(i64),
        "float16" => fractions!(u16, 5, f32, 11),
        "float32" => fractions!(u32, 8, f32, 24),
        "float64" => fractions!(u64, 11, f64, 53),
        _ => return None,
    })
}

/// Streams the rows as text.
fn rows(spec: &FileSpec, out: &mut dyn Write) -> Result<()> {
    let Some(cells) = cells(spec.element) else {
        return Err(no_cells(spec.element));
    };
    let size = spec.element.bytes as usize;
    let mut elements = vec![0; PIECE];
    let mut text = vec![0; PIECE / size * MAX_CELL];
    let row_len = spec.sample_len();
    for row in 0..spec.samples {
        let mut done = 0;
        while done < row_len {
            let n = (row_len - done).min(PIECE as u64) as usize;
            spec.fill.fill(row * row_len + done, &mut elements[..n]);
            done += n as u64;
            let end = cells(&elements[..n], &mut text, 0);
            if done == row_len {
                text[end - 1] = b'\n';
            }
            out.write_all(&text[..end])?;
        }
    }
    Ok(())
}

fn no_cells(element: Element) -> FormatError {
    FormatError::content(format!(
        "dataset.record_element_type={}: csv holds integers and floats",
        element.name
    ))
}

impl Format for Csv {
    fn supports(&self, spec: &FileSpec) -> Result<()> {
        if cells(spec.element).is_none() {
            return Err(no_cells(spec.element));
        }
        match spec.options.compression {
            Compression::Lzf => Err(FormatError::content(
                "dataset.compression=lzf is for hdf5; csv takes none, gzip, bz2, zip and xz",
            )),
            _ => Ok(()),
        }
    }
    fn encoded_len(&self, _: &FileSpec) -> Option<u64> {
        None
    }
    fn encode(&self, spec: &FileSpec, chunk: &mut [u8], out: Out) -> Result<()> {
        let mut chunks = Chunks::new(chunk, out);
        let level = spec.options.compression_level;
        let mut to = chunks.writer();
        match spec.options.compression {
            Compression::Gzip => {
                let level = flate2::Compression::new(level);
                let mut packer = flate2::write::GzEncoder::new(to, level);
                rows(spec, &mut packer)?;
                packer.finish()?;
            }
            Compression::Bz2 => {
                let level = bzip2::Compression::new(level.clamp(1, 9));
                let mut packer = bzip2::write::BzEncoder::new(to, level);
                rows(spec, &mut packer)?;
                packer.finish()?;
            }
            Compression::Xz => {
                let mut packer = liblzma::write::XzEncoder::new(to, level);
                rows(spec, &mut packer)?;
                packer.finish()?;
            }
            Compression::Zip => {
                let mut archive = zip::ZipWriter::new_stream(to);
                let name = format!("{}.csv", spec.file);
                let packed = |e: zip::result::ZipError| FormatError::Io(e.into());
                archive
                    .start_file(name, zip_options(level))
                    .map_err(packed)?;
                rows(spec, &mut archive)?;
                archive.finish().map_err(packed)?;
            }
            Compression::None | Compression::Lzf => {
                rows(spec, &mut to)?;
            }
        }
        Ok(chunks.end()?)
    }
    fn index(&self, source: &mut dyn Source, _: &FormatOptions) -> Result<Arc<dyn Index>> {
        let file_len = source.file_len()?;
        let mut checker = CsvChecker::new(false);
        checker.begin(&Opened {
            file_len,
            expect: Expect {
                min_len: 1,
                ..Expect::default()
            },
            extents: &[Extent::Whole],
            index: None,
            spec: None,
        });
        let mut piece = vec![0; 1 << 20];
        let mut at = 0;
        while at < file_len {
            let n = (file_len - at).min(piece.len() as u64) as usize;
            source.read_at(at, &mut piece[..n])?;
            checker.push(&piece[..n])?;
            at += n as u64;
        }
        let (rows, columns) = checker.shape()?;
        Ok(SpanIndex::whole(
            rows,
            vec![format!(
                "{rows} rows of {columns} numbers{}",
                checker
                    .packing()
                    .name()
                    .map_or_else(String::new, |name| format!(", {name}"))
            )],
        ))
    }
    fn min_len(&self, spec: &FileSpec) -> u64 {
        match spec.options.compression {
            // A digit and a comma or line end for each element.
            Compression::None | Compression::Lzf => 2 * spec.samples * spec.sample_elements(),
            _ => 1,
        }
    }
    fn least_len(&self, spec: &FileSpec) -> u64 {
        // Fractions drop bits of their elements.
        let kept = match spec.element.name {
            "float16" => 11.0 / 16.0,
            "float32" => 24.0 / 32.0,
            "float64" => 53.0 / 64.0,
            _ => 1.0,
        };
        let bytes = spec.fill.incompressible(spec.payload_len()) as f64 * kept;
        match spec.options.compression {
            // Of its 16 characters each holds four bits.
            Compression::None | Compression::Lzf => self.min_len(spec).max((2.0 * bytes) as u64),
            _ => bytes as u64,
        }
    }
    fn content_checker(&self, is_full: bool, _: &FormatOptions) -> Box<dyn Checker> {
        Box::new(CsvChecker::new(is_full))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_its_decimal() {
        let all: Vec<u8> = (0..=255).collect();
        let mut text = vec![0; 256 * MAX_CELL];
        let end = bytes_as_cells(&all, &mut text, 0);
        let expected: String = (0..256).map(|v| format!("{v},")).collect();
        assert_eq!(&text[..end], expected.as_bytes());
    }
}
