//! Parses JSON text into cells without building a tree of values, which takes sixteen times the bytes of a list of digits.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::Cell;

/// Parses JSON text into the cell that [`Cell::json`] makes of its value.
pub(crate) fn cell(text: &RawValue) -> serde_json::Result<Cell> {
    let text = text.get();
    match text.as_bytes().first() {
        Some(b'"') => Ok(Cell::of_text(serde_json::from_str(text)?)),
        Some(b'[') => list(text),
        _ => Ok(Cell::json(serde_json::from_str(text)?)),
    }
}

fn list(text: &str) -> serde_json::Result<Cell> {
    if let Ok(numbers) = serde_json::from_str(text) {
        return Ok(Cell::Numbers(numbers));
    }
    if let Ok(words) = serde_json::from_str(text) {
        return Ok(Cell::Words(words));
    }
    let mut printed = String::with_capacity(text.len());
    Printed(&mut printed).deserialize(&mut serde_json::Deserializer::from_str(text))?;
    Ok(Cell::Json(printed))
}

/// Appends a value as [`Value`] prints it: without whitespace, with the keys of objects sorted.
struct Printed<'a>(&'a mut String);

impl Printed<'_> {
    fn value<E: Error>(self, value: impl Into<Value>) -> Result<(), E> {
        self.0.push_str(&value.into().to_string());
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Printed<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Printed<'_> {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.value(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.value(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.value(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.value(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.value(value)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.value(text)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Self(out) = self;
        out.push('[');
        let start = out.len();
        loop {
            let end = out.len();
            if end > start {
                out.push(',');
            }
            if items.next_element_seed(Printed(out))?.is_none() {
                out.truncate(end);
                break;
            }
        }
        out.push(']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        let mut object = serde_json::Map::new();
        while let Some((key, value)) = entries.next_entry::<String, Value>()? {
            object.insert(key, value);
        }
        self.value(object)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a\" \\\\\u{e4}]{0,3}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn text_and_value_give_the_same_cell(value in value()) {
            let text = RawValue::from_string(serde_json::to_string_pretty(&value).unwrap()).unwrap();
            let value: Value = serde_json::from_str(text.get()).unwrap();
            prop_assert_eq!(cell(&text).unwrap(), Cell::json(value));
        }
    }
}
