//! Estimates how much memory a JSON text takes once parsed, before any value is allocated: `[{"":0},{"":0},..]` takes a hundred
//! times its length.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use crate::api_error::{ApiError, ApiErrorKind};

/// Bytes of a value, in a list whose capacity has grown to twice its length.
const VALUE: usize = 2 * size_of::<serde_json::Value>();

/// Bytes of an object's first node: a B-tree leaf with eleven slots for keys and values.
const NODE: usize = 11 * (size_of::<String>() + size_of::<serde_json::Value>()) + 16;

/// Bytes of each further entry of an object; the nodes of a B-tree are at least half full.
const ENTRY: usize = NODE / 5;

/// Bytes of a string in addition to its content, for the rounding of the allocator.
const TEXT: usize = 16;

/// Returns the bytes that the values of a JSON text take in memory.
///
/// # Errors
/// Returns an error if the text is not JSON or its values take more than `limit` bytes.
pub(crate) fn parsed_size(text: &[u8], limit: usize) -> Result<usize, ApiError> {
    let mut counter = SizeCounter { total: 0, limit };
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    match counter.deserialize(&mut deserializer).and_then(|()| deserializer.end()) {
        Ok(()) => Ok(counter.total),
        Err(_) if counter.total > limit => Err(ApiError::new(
            ApiErrorKind::TooLarge,
            format!("the parsed JSON takes more than {limit} bytes; send fewer values per request, or numbers as a file"),
        )),
        Err(error) => Err(ApiError::validation(error.to_string())),
    }
}

struct SizeCounter {
    total: usize,
    limit: usize,
}

impl SizeCounter {
    fn add<E: Error>(&mut self, n_bytes: usize) -> Result<(), E> {
        self.total += n_bytes;
        if self.total > self.limit { Err(E::custom("too large")) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for &mut SizeCounter {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut SizeCounter {
    type Value = ();

    fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.write_str("JSON")
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        self.add(VALUE)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        self.add(VALUE)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        self.add(VALUE)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        self.add(VALUE)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.add(VALUE)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        self.add(VALUE + TEXT + text.len())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut values: A) -> Result<(), A::Error> {
        self.add(VALUE)?;
        while values.next_element_seed(&mut *self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<(), A::Error> {
        self.add(VALUE)?;
        let mut size = NODE;
        while entries.next_key_seed(&mut *self)?.is_some() {
            self.add(size)?;
            size = ENTRY;
            entries.next_value_seed(&mut *self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> usize {
        parsed_size(text.as_bytes(), usize::MAX).unwrap()
    }

    #[test]
    fn weight_is_the_memory_of_values_not_of_text() {
        assert_eq!([of("1"), of("null"), of("\"abc\"")], [64, 64, 64 + 16 + 3]);
        assert_eq!(of("[1,1,1]"), 4 * 64);
        let objects = format!("[{}]", vec!["{\"\":0}"; 1000].join(","));
        // Seven bytes each, and each becomes a node of a B-tree.
        assert!(of(&objects) > 90 * objects.len(), "{}", of(&objects));
        let image = format!("{{\"photo\":\"{}\"}}", "A".repeat(100_000));
        assert!(of(&image) < image.len() + 2000);
    }

    #[test]
    fn values_over_the_limit_are_rejected() {
        let api_error = parsed_size(b"[[],[],[],[],[],[]]", 300).unwrap_err();
        assert_eq!(api_error.kind, ApiErrorKind::TooLarge);
        assert!(api_error.message.contains("300 bytes"), "{}", api_error.message);
        assert_eq!(parsed_size(b"[1, 2", 300).unwrap_err().kind, ApiErrorKind::Validation);
        assert!(parsed_size(b"[1] 2", 300).unwrap_err().message.contains("line 1 column 5"));
        let deep = "[".repeat(100_000);
        assert!(parsed_size(deep.as_bytes(), usize::MAX).unwrap_err().message.contains("recursion"));
    }
}
