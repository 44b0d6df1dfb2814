//! The columns of a file that is generated, and where in the fill their values come from.
//!
//! | `dtype` | Arrow type | Fill bytes per row |
//! |---|---|---|
//! | `int8` to `uint64`, `float16` to `float64`, `size` 1 | that number | its bytes |
//! | the same, `size` > 1 | fixed-size list of `size` numbers | `size` x its bytes |
//! | `list`, and any other word | fixed-size list of `size` `float32` | `size` x 4 |
//! | `string` | utf8 `s_<number>` | 4 |
//! | `binary` | `size` bytes | `size` |
//! | `bool` | bool | one bit |
//!
//! Without `dataset.parquet.columns` there is one column `data`, a fixed-size list of as many `uint8` as a sample has elements.
//!
//! The fill is cut into one region per column, in the order of the columns: a region holds the bytes of all rows of
//! the file, one row after another, and ends where the next begins. A number is its bytes, little endian; a string's number
//! is the lower 31 bits of a little-endian word; the truth value of row r is bit `r mod 8` (the lowest is bit 0) of byte
//! `r / 8` of its region, which ends with a whole byte. So the values depend neither on row groups nor on compression.
//!
//! Source: DLIO `data_generator/parquet_generator.py::_build_schema` for the types.

use std::collections::HashSet;

use super::codec::MAX_PAGE;
use crate::config::ParquetColumn;
use crate::format::{FileSpec, FormatError, Result};

/// Physical types, by their numbers in the format.
pub(super) mod physical {
    pub const BOOLEAN: i32 = 0;
    pub const INT32: i32 = 1;
    pub const INT64: i32 = 2;
    pub const INT96: i32 = 3;
    pub const FLOAT: i32 = 4;
    pub const DOUBLE: i32 = 5;
    pub const BYTE_ARRAY: i32 = 6;
    pub const FIXED_LEN_BYTE_ARRAY: i32 = 7;
}

/// How fill bytes become values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Values {
    /// The bytes themselves, so many per value.
    Plain(u64),
    /// One or two bytes, widened to 32 bits.
    Widened {
        bytes: u64,
        is_signed: bool,
    },
    /// `s_<number>`
    Text,
    /// A text of so many bytes.
    Bytes(u64),
    Bits,
}

/// What the schema says of a value beyond its physical type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Logical {
    None,
    Integer {
        bits: i8,
        is_signed: bool,
    },
    /// Half precision.
    Float16,
    /// UTF-8.
    Text,
}

/// A column of a file.
#[derive(Debug, Clone)]
pub(super) struct Column {
    pub name: String,
    /// Number of the physical type.
    pub physical: i32,
    pub logical: Logical,
    /// Values per row of a fixed-size list; None for a column without lists.
    pub list: Option<u64>,
    pub values: Values,
    /// Where its region of the fill begins.
    pub fill_start: u64,
}

fn number(dtype: &str) -> Option<(i32, Logical, Values)> {
    use physical::*;
    let integer = |bits, is_signed| Logical::Integer { bits, is_signed };
    let widened = |bytes, is_signed| Values::Widened { bytes, is_signed };
    Some(match dtype {
        "uint8" => (INT32, integer(8, false), widened(1, false)),
        "int8" => (INT32, integer(8, true), widened(1, true)),
        "uint16" => (INT32, integer(16, false), widened(2, false)),
        "int16" => (INT32, integer(16, true), widened(2, true)),
        "uint32" => (INT32, integer(32, false), Values::Plain(4)),
        "int32" => (INT32, Logical::None, Values::Plain(4)),
        "uint64" => (INT64, integer(64, false), Values::Plain(8)),
        "int64" => (INT64, Logical::None, Values::Plain(8)),
        "float16" => (FIXED_LEN_BYTE_ARRAY, Logical::Float16, Values::Plain(2)),
        "float32" => (FLOAT, Logical::None, Values::Plain(4)),
        "float64" => (DOUBLE, Logical::None, Values::Plain(8)),
        _ => return None,
    })
}

impl Column {
    /// One column of the YAML.
    pub(super) fn new(name: &str, dtype: &str, size: u64) -> Result<Self> {
        let bad = |what: String| {
            Err(FormatError::content(format!(
                "dataset.parquet.columns: column '{name}' {what}"
            )))
        };
        // Arrow counts the values of a list in 32 bits; a text must fit into a page.
        let most = match dtype {
            "string" | "bool" => 1,
            "binary" => MAX_PAGE as u64 / 2,
            _ => i32::MAX as u64,
        };
        if size == 0 || size > most {
            return bad(format!(
                "has dtype {dtype} and size {size}: use 1 to {most}"
            ));
        }
        let own = number(dtype);
        let is_list = !matches!(dtype, "string" | "binary" | "bool") && (own.is_none() || size > 1);
        let (physical, logical, values) = match dtype {
            "string" => (physical::BYTE_ARRAY, Logical::Text, Values::Text),
            "binary" => (physical::BYTE_ARRAY, Logical::None, Values::Bytes(size)),
            "bool" => (physical::BOOLEAN, Logical::None, Values::Bits),
            _ => own.unwrap_or((physical::FLOAT, Logical::None, Values::Plain(4))),
        };
        Ok(Column {
            name: name.into(),
            physical,
            logical,
            list: is_list.then_some(size),
            values,
            fill_start: 0,
        })
    }

    /// The columns of a file.
    ///
    /// Errors: two columns of one name, or a size that is not possible.
    pub(super) fn all(spec: &FileSpec) -> Result<Vec<Column>> {
        let said = &spec.options.parquet.columns;
        let mut columns = said
            .iter()
            .map(
                |ParquetColumn {
                     name, dtype, size, ..
                 }| Column::new(name, dtype, *size),
            )
            .collect::<Result<Vec<_>, _>>()?;
        if columns.is_empty() {
            let size = spec.sample_elements();
            // A list even of one element.
            let mut data = Column::new("data", "uint8", size)?;
            data.list = Some(size);
            columns.push(data);
        }
        let mut names = HashSet::new();
        let mut start = 0;
        for column in &mut columns {
            if column.name.is_empty() || !names.insert(column.name.clone()) {
                return Err(FormatError::content(format!(
                    "dataset.parquet.columns: the name '{}' is empty or given twice",
                    column.name
                )));
            }
            column.fill_start = start;
            start += column.fill_len(spec.samples);
        }
        Ok(columns)
    }

    pub(super) fn values_in(&self, rows: u64) -> u64 {
        rows * self.list.unwrap_or(1)
    }

    fn fill_len(&self, rows: u64) -> u64 {
        let values = self.values_in(rows);
        match self.values {
            Values::Plain(bytes) | Values::Widened { bytes, .. } | Values::Bytes(bytes) => {
                values * bytes
            }
            Values::Text => values * 4,
            Values::Bits => values.div_ceil(8),
        }
    }

    /// Bytes of so many values in a page; None when they depend on the values.
    pub(super) fn stored_len(&self, values: u64) -> Option<u64> {
        Some(match self.values {
            Values::Plain(bytes) => values * bytes,
            Values::Widened { .. } => values * 4,
            Values::Bytes(len) => values * (4 + len),
            Values::Bits => values.div_ceil(8),
            Values::Text => return None,
        })
    }

    /// Definition level of a value that is there.
    pub(super) fn max_definition(&self) -> u8 {
        if self.list.is_some() { 3 } else { 1 }
    }

    /// Bytes per value of a fixed-length physical type.
    pub(super) fn type_length(&self) -> Option<i32> {
        match (self.physical, self.values) {
            (physical::FIXED_LEN_BYTE_ARRAY, Values::Plain(bytes)) => Some(bytes as i32),
            _ => None,
        }
    }

    /// The names from the root to the values.
    pub(super) fn path(&self) -> Vec<&str> {
        match self.list {
            Some(_) => vec![&self.name, "list", "element"],
            None => vec![&self.name],
        }
    }
}
