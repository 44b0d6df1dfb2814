//! JSON of unknown origin: read into memory that is counted while it is taken.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What an entry of a map takes besides its key and its value: its place in a tree of which part is empty. Unit: bytes.
const ENTRY: usize = 32;

/// Reads a document that may take up to `budget` bytes of memory: two bytes of text can take seventy.
///
/// Errors: what is wrong with the text and where, or that it takes more.
pub(crate) fn within(text: &[u8], budget: usize) -> Result<Value, String> {
    let left = Cell::new(budget);
    let mut reader = serde_json::Deserializer::from_slice(text);
    let read = Counted {
        left: &left,
        budget,
    }
    .deserialize(&mut reader);
    read.and_then(|value| reader.end().map(|()| value))
        .map_err(|e| e.to_string())
}

/// Makes one value.
#[derive(Clone, Copy)]
struct Counted<'a> {
    left: &'a Cell<usize>,
    budget: usize,
}

impl Counted<'_> {
    fn take<E: Error>(self, bytes: usize) -> Result<(), E> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => Err(E::custom(format!(
                "the document takes more than {} MiB of memory",
                self.budget >> 20
            ))),
        }
    }
}

impl<'de> DeserializeSeed<'de> for Counted<'_> {
    type Value = Value;
    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.take(size_of::<Value>())?;
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Counted<'_> {
    type Value = Value;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a JSON value")
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }
    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.take(value.len())?;
        Ok(Value::String(value.to_owned()))
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = list.next_element_seed(self)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut values = Map::new();
        while let Some(key) = map.next_key::<String>()? {
            self.take(key.len() + ENTRY)?;
            values.insert(key, map.next_value_seed(self)?);
        }
        Ok(Value::Object(values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_serde_jsons() {
        let text =
            br#"{"b": [1, -2, 1.5, "x\n", null, true, {}], "a": {"c": 18446744073709551615}}"#;
        let ours = within(text, 4096).unwrap();
        assert_eq!(ours, serde_json::from_slice::<Value>(text).unwrap());
        // The order of keys is kept or sorted as serde_json does it.
        let theirs = serde_json::from_slice::<Value>(text).unwrap();
        assert_eq!(ours.to_string(), theirs.to_string());
        for bad in ["", "{", "[1,]", "1 2", "{\"a\" 1}"] {
            let (ours, theirs) = (
                within(bad.as_bytes(), 4096),
                serde_json::from_str::<Value>(bad),
            );
            assert_eq!(ours.unwrap_err(), theirs.unwrap_err().to_string(), "{bad}");
        }
    }

    #[test]
    fn memory_and_not_text_is_counted() {
        let many = format!("[{}0]", "0,".repeat(1 << 20));
        let error = within(many.as_bytes(), 16 << 20).unwrap_err();
        assert!(error.contains("more than 16 MiB of memory"), "{error}");
        assert!(within(many.as_bytes(), 128 << 20).is_ok());
        let maps = format!("[{}0]", "{\"\":0},".repeat(1 << 18));
        assert!(within(maps.as_bytes(), 16 << 20).is_err());
        let long = format!("\"{}\"", "x".repeat(100));
        assert!(within(long.as_bytes(), 64).is_err());
    }
}
