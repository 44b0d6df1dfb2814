//! JSON as Python's `json.dump(indent=4)` writes it, so that files can be compared as text.

use std::io::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer as _};
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// A float as Python's `repr`: shortest digits that read back, exponent from 1e16 and below 1e-4.
/// Not-a-number and infinities never reach JSON; they are `nan`, `inf`, `-inf` here.
pub fn float(value: f64) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan".into()
        } else if value > 0.0 {
            "inf".into()
        } else {
            "-inf".into()
        };
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific
        .split_once('e')
        .expect("the e format always writes an exponent");
    let exponent: i32 = exponent
        .parse()
        .expect("the exponent of a float is a small integer");
    if (-4..16).contains(&exponent) || value == 0.0 {
        let plain = format!("{value}");
        if plain.contains('.') {
            plain
        } else {
            plain + ".0"
        }
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{digits}e{sign}{:02}", exponent.abs())
    }
}

/// `value` as Python's `json.dumps(value, indent=4)`.
pub fn to_string<T: Serialize + ?Sized>(value: &T) -> String {
    let mut out = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut out, Python(PrettyFormatter::with_indent(b"    ")));
    value
        .serialize(&mut serializer)
        .expect("report values are maps with string keys, and a Vec takes every byte");
    String::from_utf8(out).expect("serde_json writes UTF-8")
}

/// An object as [`to_string`] writes it, from the entries that `fill` gives one by one: beside the text there is never more than
/// one of them in memory.
pub fn object(fill: impl FnOnce(&mut dyn FnMut(&str, &Value))) -> String {
    let mut out = Vec::new();
    let mut serializer =
        Serializer::with_formatter(&mut out, Python(PrettyFormatter::with_indent(b"    ")));
    let mut map = serializer.serialize_map(None).expect(TAKES_ALL);
    fill(&mut |key, value| map.serialize_entry(key, value).expect(TAKES_ALL));
    map.end().expect(TAKES_ALL);
    String::from_utf8(out).expect("serde_json writes UTF-8")
}

const TAKES_ALL: &str = "keys are strings, and a Vec takes every byte";

struct Python<'a>(PrettyFormatter<'a>);

/// Methods that write what serde_json's indented form has.
macro_rules! as_pretty {
    ($($name:ident($($first:ident)?);)*) => {$(
        fn $name<W: ?Sized + Write>(&mut self, w: &mut W $(, $first: bool)?) -> io::Result<()> {
            self.0.$name(w $(, $first)?)
        }
    )*};
}

impl Formatter for Python<'_> {
    fn write_f64<W: ?Sized + Write>(&mut self, w: &mut W, value: f64) -> io::Result<()> {
        w.write_all(float(value).as_bytes())
    }
    // Python escapes everything outside ASCII's printable characters, as UTF-16 units.
    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        w: &mut W,
        text: &str,
    ) -> io::Result<()> {
        for c in text.chars() {
            if c.is_ascii() && c != '\x7f' {
                w.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(w, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }
    as_pretty! {
        begin_array(); begin_array_value(first); end_array_value(); end_array();
        begin_object(); begin_object_key(first); begin_object_value(); end_object_value(); end_object();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn floats_are_pythons_repr() {
        // Right column: Python's repr.
        for (value, repr) in [
            (0.0, "0.0"),
            (68.0, "68.0"),
            (0.1, "0.1"),
            (0.0001, "0.0001"),
            (0.00001, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (1e16, "1e+16"),
            (1e15, "1000000000000000.0"),
            (123456789.123, "123456789.123"),
            (1e100, "1e+100"),
            (-2.5, "-2.5"),
        ] {
            assert_eq!(float(value), repr);
        }
    }

    #[test]
    fn layout_is_json_dump_indent_4() {
        // json.dumps({"a": [1, 2.0], "b": {}, "c": [], "d": "\u00e9"}, indent=4)
        let v =
            serde_json::json!({"a": [1, 2.0], "b": {}, "c": [], "d": "\u{e9}\u{1f600}", "e": 1e-9});
        assert_eq!(
            to_string(&v),
            "{\n    \"a\": [\n        1,\n        2.0\n    ],\n    \"b\": {},\n    \"c\": [],\n    \"d\": \"\\u00e9\\ud83d\\ude00\",\n    \"e\": 1e-09\n}"
        );
    }
}
