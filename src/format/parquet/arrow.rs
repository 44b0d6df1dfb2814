//! The Arrow schema in the footer: by it, lists are read back as fixed-size lists.
//!
//! Arrow's writers put a message of their IPC format, in base64, under the key `ARROW:schema`. The message is a FlatBuffer,
//! written here field by field: the crate that knows the whole format is more to compile than everything else of Parquet.
//!
//! Source: Apache Arrow, `format/Schema.fbs` and `format/Message.fbs`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use flatbuffers::{FlatBufferBuilder, TableFinishedWIPOffset as Finished, VOffsetT, WIPOffset};

use super::schema::{Column, Logical, physical};

type Table = WIPOffset<Finished>;

/// What a value is: variants of the union `Type`.
enum Type {
    Int { bits: i32, is_signed: bool },
    Float { precision: i16 },
    Binary,
    Utf8,
    Bool,
    FixedSizeList { len: i32 },
}

impl Type {
    /// Of one value of a column.
    fn of(column: &Column) -> Self {
        let signed = |bits| Type::Int {
            bits,
            is_signed: true,
        };
        match (column.logical, column.physical) {
            (Logical::Integer { bits, is_signed }, _) => Type::Int {
                bits: bits.into(),
                is_signed,
            },
            (Logical::Float16, _) => Type::Float { precision: 0 },
            (Logical::Text, _) => Type::Utf8,
            (Logical::None, physical::INT32) => signed(32),
            (Logical::None, physical::INT64) => signed(64),
            (Logical::None, physical::FLOAT) => Type::Float { precision: 1 },
            (Logical::None, physical::DOUBLE) => Type::Float { precision: 2 },
            (Logical::None, physical::BOOLEAN) => Type::Bool,
            (Logical::None, _) => Type::Binary,
        }
    }

    /// Its number in the union.
    fn number(&self) -> u8 {
        match self {
            Type::Int { .. } => 2,
            Type::Float { .. } => 3,
            Type::Binary => 4,
            Type::Utf8 => 5,
            Type::Bool => 6,
            Type::FixedSizeList { .. } => 16,
        }
    }

    fn table(&self, out: &mut FlatBufferBuilder) -> Table {
        let start = out.start_table();
        match *self {
            Type::Int { bits, is_signed } => {
                out.push_slot(slot(1), is_signed, false);
                out.push_slot(slot(0), bits, 0);
            }
            Type::Float { precision } => out.push_slot(slot(0), precision, 0),
            Type::FixedSizeList { len } => out.push_slot(slot(0), len, 0),
            Type::Binary | Type::Utf8 | Type::Bool => {}
        }
        out.end_table(start)
    }
}

/// The place of a table's field, by its number in the schema.
const fn slot(field: VOffsetT) -> VOffsetT {
    4 + 2 * field
}

/// A table `Field`, which may be null; `item` is what a list holds. Its parts lie in the order of Arrow's crate.
fn field(name: &str, kind: &Type, item: Option<&Type>, out: &mut FlatBufferBuilder) -> Table {
    let name = out.create_string(name);
    let item = item.map(|item| field("item", item, None, out));
    let (children, table);
    if matches!(kind, Type::Int { .. } | Type::Float { .. }) {
        children = out.create_vector(item.as_slice());
        table = kind.table(out);
    } else {
        table = kind.table(out);
        children = out.create_vector(item.as_slice());
    }
    let start = out.start_table();
    out.push_slot_always(slot(0), name);
    out.push_slot(slot(2), kind.number(), 0);
    out.push_slot(slot(1), true, false);
    out.push_slot_always(slot(5), children);
    out.push_slot_always(slot(3), table);
    out.end_table(start)
}

/// The schema of these columns, in base64.
pub(super) fn schema(columns: &[Column]) -> String {
    let out = &mut FlatBufferBuilder::new();
    let fields: Vec<Table> = columns
        .iter()
        .map(|column| {
            let value = Type::of(column);
            match column
                .list
                .map(|len| Type::FixedSizeList { len: len as i32 })
            {
                Some(list) => field(&column.name, &list, Some(&value), out),
                None => field(&column.name, &value, None, out),
            }
        })
        .collect();
    let fields = out.create_vector(&fields);
    let start = out.start_table();
    out.push_slot_always(slot(1), fields);
    let schema = out.end_table(start);

    let start = out.start_table();
    // Version 5, which is counted from 0; the header is a schema.
    out.push_slot(slot(0), 4_i16, 0);
    out.push_slot(slot(1), 1_u8, 0);
    out.push_slot_always(slot(2), schema);
    let message = out.end_table(start);
    out.finish_minimal(message);

    let message = out.finished_data();
    let len = (message.len() as u32).to_le_bytes();
    BASE64.encode([&[0xff; 4][..], &len, message].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the crate arrow-ipc 60.1 writes it.
    const OF_EVERY_TYPE: &str = "/////8ADAAAQAAAAAAAKAAwACgAJAAQACgAAABAAAAAAAQQACAAIAAAABAAIAAAABAAAAA8AAABcAwAA2AIAAKgCAAB8AgAATAIAAPABAADAAQAAlAEAAGgBAAAEAQAA2AAAAHwAAABUAAAALAAAAAQAAADw/P//FAAAAAwAAAAAAAEGDAAAAAAAAAC4/v//AQAAAG8AAAAU/f//FAAAAAwAAAAAAAEEDAAAAAAAAADc/v//AQAAAG4AAAA4/f//FAAAAAwAAAAAAAEFDAAAAAAAAAAA////AQAAAG0AAABc/f//GAAAAAwAAAAAAAEQQAAAAAEAAAAMAAAAnv3//wcAAACA/f//EAAAABQAAAAAAAEDEAAAAH7///8AAAEAAAAAAAQAAABpdGVtAAAAAAEAAABsAAAAtP3//xAAAAAUAAAAAAABAxAAAACy////AAACAAAAAAABAAAAawAAANz9//8YAAAADAAAAAAAARBIAAAAAQAAAAwAAAAe/v//BAAAAEz+//8YAAAAHAAAAAAAAQMYAAAAAAAGAAgABgAGAAAAAAABAAAAAAAEAAAAaXRlbQAAAAABAAAAagAAADz+//8UAAAAFAAAAAAAAQMQAAAABAAEAAQAAAAAAAAAAQAAAGkAAABk/v//EAAAABQAAAAAAAECEAAAAJ7+//9AAAAAAAAAAAEAAABoAAAAjP7//xAAAAAYAAAAAAABAhQAAAB8/v//QAAAAAAAAAEAAAAAAQAAAGcAAAC4/v//GAAAAAwAAAAAAAEQQAAAAAEAAAAMAAAA+v7//wIAAADc/v//EAAAABQAAAAAAAECEAAAABb///8gAAAAAAAAAAQAAABpdGVtAAAAAAEAAABmAAAAEP///xAAAAAYAAAAAAABAhQAAAAA////IAAAAAAAAAEAAAAAAQAAAGUAAAA8////EAAAABQAAAAAAAECEAAAAHb///8QAAAAAAAAAAEAAABkAAAAZP///xAAAAAYAAAAAAABAhQAAABU////EAAAAAAAAAEAAAAAAQAAAGMAAACQ////GAAAAAwAAAAAAAEQWAAAAAEAAAAcAAAA0v///wMAAAAQABYAEAAOAA8ABAAAAAgAEAAAABgAAAAcAAAAAAABAhgAAAAAAAYACAAEAAYAAAAIAAAAAAAAAAQAAABpdGVtAAAAAAEAAABiAAAAEAAUABAADgAPAAQAAAAIABAAAAAYAAAAIAAAAAAAAQIcAAAACAAMAAQACwAIAAAACAAAAAAAAAEAAAAAAQAAAGEAAAA=";

    #[test]
    fn the_message_is_the_one_of_arrow_ipc() {
        let columns = [
            ("int8", 1),
            ("uint8", 3),
            ("int16", 1),
            ("uint16", 1),
            ("int32", 1),
            ("uint32", 2),
            ("int64", 1),
            ("uint64", 1),
            ("float16", 1),
            ("float32", 4),
            ("float64", 1),
            ("list", 7),
            ("string", 1),
            ("binary", 9),
            ("bool", 1),
        ];
        let columns = ('a'..)
            .zip(columns)
            .map(|(name, (dtype, size))| Column::new(&name.to_string(), dtype, size).unwrap());
        let columns: Vec<Column> = columns.collect();
        assert_eq!(schema(&columns), OF_EVERY_TYPE);
    }
}
