//! The pages of a column chunk, decoded into arrays.

use std::collections::VecDeque;
use std::sync::Arc;

use ::parquet::basic::{Encoding, Repetition, Type as Physical};
use ::parquet::column::page::{Page, PageMetadata, PageReader};
use ::parquet::column::reader::{ColumnReader, ColumnReaderImpl, get_column_reader};
use ::parquet::data_type::DataType;
use ::parquet::errors::ParquetError;
use ::parquet::schema::types::{ColumnDescriptor, ColumnPath, Type};
use bytes::Bytes;
use parking_lot::Mutex;

use super::codec::Codec;
use super::footer::Leaf;
use super::header::{PageHeader, PageKind};
use crate::format::FormatError;

/// Rows that are decoded at once.
const BATCH: usize = 8192;

/// Values in a page beyond which it is refused: a few bytes can announce any number of equal values.
const MAX_VALUES: u32 = 1 << 25;

/// Pages on their way to the column reader.
type Pages = Arc<Mutex<VecDeque<Page>>>;

/// Hands pages to the column reader; it sees the end of the column when none is left, and looks again later.
struct Feed(Pages);

impl Iterator for Feed {
    type Item = Result<Page, ParquetError>;
    fn next(&mut self) -> Option<Self::Item> {
        self.0.lock().pop_front().map(Ok)
    }
}

impl PageReader for Feed {
    fn get_next_page(&mut self) -> Result<Option<Page>, ParquetError> {
        Ok(self.0.lock().pop_front())
    }
    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>, ParquetError> {
        Ok(None)
    }
    fn skip_next_page(&mut self) -> Result<(), ParquetError> {
        self.0.lock().pop_front();
        Ok(())
    }
    // The next page may go on with the last list of this one.
    fn at_record_boundary(&mut self) -> Result<bool, ParquetError> {
        Ok(false)
    }
}

/// The arrays of one column, reused from batch to batch.
struct Arrays<T: DataType> {
    reader: ColumnReaderImpl<T>,
    values: Vec<T::T>,
    definitions: Vec<i16>,
    repetitions: Vec<i16>,
    has_lists: bool,
}

/// Decodes whatever pages there are; says how many rows begin in them and how many values, or nulls, they hold.
trait Drain: Send {
    fn drain(&mut self) -> Result<(u64, u64), ParquetError>;
}

impl<T: DataType> Drain for Arrays<T>
where
    ColumnReaderImpl<T>: Send,
    T::T: Send,
{
    fn drain(&mut self) -> Result<(u64, u64), ParquetError> {
        let (mut rows, mut all) = (0, 0);
        loop {
            self.values.clear();
            self.definitions.clear();
            self.repetitions.clear();
            let (_, _, levels) = self.reader.read_records(
                BATCH,
                Some(&mut self.definitions),
                Some(&mut self.repetitions),
                &mut self.values,
            )?;
            if levels == 0 {
                return Ok((rows, all));
            }
            std::hint::black_box(&self.values);
            all += levels as u64;
            rows += if self.has_lists {
                self.repetitions.iter().filter(|&&level| level == 0).count()
            } else {
                levels
            } as u64;
        }
    }
}

/// Decodes one column chunk, page by page.
pub(super) struct ChunkDecoder {
    pages: Pages,
    arrays: Box<dyn Drain>,
    levels: (i16, i16),
    has_dictionary: bool,
    plain: Vec<u8>,
    rows: u64,
}

fn damaged(error: ParquetError) -> FormatError {
    FormatError::content(format!("a page cannot be decoded: {error}"))
}

fn descriptor(leaf: &Leaf) -> Result<ColumnDescriptor, FormatError> {
    let physical = match leaf.physical {
        0 => Physical::BOOLEAN,
        1 => Physical::INT32,
        2 => Physical::INT64,
        3 => Physical::INT96,
        4 => Physical::FLOAT,
        5 => Physical::DOUBLE,
        6 => Physical::BYTE_ARRAY,
        7 => Physical::FIXED_LEN_BYTE_ARRAY,
        other => {
            return Err(FormatError::content(format!(
                "column {} has physical type {other}, which is unknown",
                leaf.path.join(".")
            )));
        }
    };
    let name = leaf.path.last().map_or("", String::as_str);
    let primitive = Type::primitive_type_builder(name, physical)
        .with_repetition(Repetition::OPTIONAL)
        .with_length(leaf.type_length)
        .build()
        .map_err(damaged)?;
    Ok(ColumnDescriptor::new(
        Arc::new(primitive),
        leaf.max_definition,
        leaf.max_repetition,
        ColumnPath::new(leaf.path.clone()),
    ))
}

impl ChunkDecoder {
    /// Errors: the column's type is unknown.
    pub(super) fn new(leaf: &Leaf) -> Result<Self, FormatError> {
        let pages = Pages::default();
        let feed = Box::new(Feed(pages.clone()));
        let has_lists = leaf.max_repetition > 0;
        let arrays = match get_column_reader(Arc::new(descriptor(leaf)?), feed) {
            ColumnReader::BoolColumnReader(reader) => arrays(reader, has_lists),
            ColumnReader::Int32ColumnReader(reader) => arrays(reader, has_lists),
            ColumnReader::Int64ColumnReader(reader) => arrays(reader, has_lists),
            ColumnReader::Int96ColumnReader(reader) => arrays(reader, has_lists),
            ColumnReader::FloatColumnReader(reader) => arrays(reader, has_lists),
            ColumnReader::DoubleColumnReader(reader) => arrays(reader, has_lists),
            ColumnReader::ByteArrayColumnReader(reader) => arrays(reader, has_lists),
            ColumnReader::FixedLenByteArrayColumnReader(reader) => arrays(reader, has_lists),
        };
        Ok(ChunkDecoder {
            pages,
            arrays,
            levels: (leaf.max_definition, leaf.max_repetition),
            has_dictionary: false,
            plain: Vec::new(),
            rows: 0,
        })
    }

    /// Rows that were decoded.
    pub(super) fn rows(&self) -> u64 {
        self.rows
    }

    /// Decodes a page; its bytes are taken out of `stored`.
    ///
    /// Errors: it is damaged, or a bomb.
    pub(super) fn page(
        &mut self,
        header: &PageHeader,
        codec: Codec,
        stored: &mut Vec<u8>,
    ) -> Result<(), FormatError> {
        let (page, values) = match header.kind {
            PageKind::Other => return Ok(()),
            PageKind::Dictionary { values, encoding } => {
                if self.has_dictionary {
                    return Err(FormatError::content("it has two dictionary pages"));
                }
                self.has_dictionary = true;
                let buf = self.unpack(header, codec, stored, 0)?;
                // A value takes a byte at least, but those of a type of no bytes.
                if u64::from(values) > buf.len() as u64 {
                    return Err(FormatError::content(format!(
                        "a dictionary of {values} values is announced in {} bytes",
                        buf.len()
                    )));
                }
                let page = Page::DictionaryPage {
                    buf,
                    num_values: values,
                    encoding: known(encoding)?,
                    is_sorted: false,
                };
                self.pages.lock().push_back(page);
                return Ok(());
            }
            PageKind::Data {
                values,
                encoding,
                definition_encoding,
                repetition_encoding,
            } => {
                let page = Page::DataPage {
                    buf: self.unpack(header, codec, stored, 0)?,
                    num_values: values,
                    encoding: known(encoding)?,
                    def_level_encoding: known(definition_encoding)?,
                    rep_level_encoding: known(repetition_encoding)?,
                    statistics: None,
                };
                (page, values)
            }
            PageKind::DataV2 {
                values,
                nulls,
                rows,
                encoding,
                definition_len,
                repetition_len,
                is_compressed,
            } => {
                let levels = u64::from(definition_len) + u64::from(repetition_len);
                let codec = if is_compressed { codec } else { Codec::None };
                let is_valid = levels <= header.stored_len.min(header.plain_len as u64)
                    && (self.levels.0 > 0 || definition_len == 0)
                    && (self.levels.1 > 0 || repetition_len == 0);
                if !is_valid {
                    return Err(FormatError::content(format!(
                        "a page of {} bytes announces {levels} bytes of levels",
                        header.stored_len
                    )));
                }
                let page = Page::DataPageV2 {
                    buf: self.unpack(header, codec, stored, levels as usize)?,
                    num_values: values,
                    encoding: known(encoding)?,
                    num_nulls: nulls,
                    num_rows: rows,
                    def_levels_byte_len: definition_len,
                    rep_levels_byte_len: repetition_len,
                    is_compressed: false,
                    statistics: None,
                };
                (page, values)
            }
        };
        if values > MAX_VALUES {
            return Err(FormatError::content(format!(
                "a page announces {values} values: more than {MAX_VALUES} are refused"
            )));
        }
        if values == 0 {
            return Ok(());
        }
        self.pages.lock().push_back(page);
        let (rows, decoded) = self.arrays.drain().map_err(damaged)?;
        if decoded != u64::from(values) {
            return Err(FormatError::content(format!(
                "a page announces {values} values and holds {decoded}"
            )));
        }
        self.rows += rows;
        Ok(())
    }

    /// The page's bytes without compression, which its first `levels` bytes never have.
    fn unpack(
        &mut self,
        header: &PageHeader,
        codec: Codec,
        stored: &mut Vec<u8>,
        levels: usize,
    ) -> Result<Bytes, FormatError> {
        if codec == Codec::None {
            if stored.len() != header.plain_len {
                return Err(FormatError::content(format!(
                    "a page without compression has {} bytes and announces {}",
                    stored.len(),
                    header.plain_len
                )));
            }
            return Ok(std::mem::take(stored).into());
        }
        let (levels, packed) = stored.split_at(levels);
        let len = header.plain_len - levels.len();
        // Values that are all null leave nothing to compress.
        if packed.is_empty() && len == 0 {
            return Ok(Bytes::copy_from_slice(levels));
        }
        codec.decompress(packed, len, &mut self.plain)?;
        if levels.is_empty() {
            return Ok(std::mem::take(&mut self.plain).into());
        }
        Ok([levels, &self.plain].concat().into())
    }
}

fn arrays<T: DataType>(reader: ColumnReaderImpl<T>, has_lists: bool) -> Box<dyn Drain>
where
    ColumnReaderImpl<T>: Send,
    T::T: Send,
{
    Box::new(Arrays {
        reader,
        values: Vec::new(),
        definitions: Vec::new(),
        repetitions: Vec::new(),
        has_lists,
    })
}

fn known(encoding: i32) -> Result<Encoding, FormatError> {
    Ok(match encoding {
        0 => Encoding::PLAIN,
        2 => Encoding::PLAIN_DICTIONARY,
        3 => Encoding::RLE,
        #[allow(deprecated)]
        4 => Encoding::BIT_PACKED,
        5 => Encoding::DELTA_BINARY_PACKED,
        6 => Encoding::DELTA_LENGTH_BYTE_ARRAY,
        7 => Encoding::DELTA_BYTE_ARRAY,
        8 => Encoding::RLE_DICTIONARY,
        9 => Encoding::BYTE_STREAM_SPLIT,
        other => {
            return Err(FormatError::content(format!(
                "a page has encoding {other}, which is not supported"
            )));
        }
    })
}
