//! Table cells and their binary form in the row store.

use std::fmt::Write;

use sha2::{Digest, Sha256};

/// A cell as the source provides it, not yet interpreted as any feature.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// No value: an empty field, `null`, or a column that the table lacks.
    Empty,
    /// Text: a word, a sentence, a path, or a number still in digits.
    Text(String),
    /// A number.
    Number(f64),
    /// A boolean.
    Bool(bool),
    /// The content of a media file.
    Bytes(Vec<u8>),
    /// A list of numbers.
    Numbers(Vec<f64>),
    /// Any other list or object as JSON, such as a list of lists of numbers (several series).
    Json(String),
    /// A list of strings.
    Words(Vec<String>),
    /// A field that should be text but is not valid UTF-8.
    NotUtf8(Vec<u8>),
}

impl Cell {
    /// Creates a cell from a text field; blank text is an empty cell.
    pub fn text(value: &str) -> Self {
        if value.trim().is_empty() { Cell::Empty } else { Cell::Text(value.to_owned()) }
    }

    /// Like [`Cell::text`], without copying the text.
    pub(crate) fn of_text(value: String) -> Self {
        if value.trim().is_empty() { Cell::Empty } else { Cell::Text(value) }
    }

    /// Creates a cell from a text field of unknown encoding.
    pub fn field(bytes: &[u8]) -> Self {
        std::str::from_utf8(bytes).map_or_else(|_| Cell::NotUtf8(bytes.to_vec()), Cell::text)
    }

    /// Creates a cell from a JSON value.
    pub fn json(value: serde_json::Value) -> Self {
        use serde_json::Value;
        match value {
            Value::Null => Cell::Empty,
            Value::Bool(value) => Cell::Bool(value),
            Value::Number(number) => number.as_f64().map_or(Cell::Empty, Cell::Number),
            Value::String(text) => Cell::of_text(text),
            Value::Array(items) => Cell::list(items),
            Value::Object(_) => Cell::Json(value.to_string()),
        }
    }

    fn list(items: Vec<serde_json::Value>) -> Self {
        if let Some(numbers) = items.iter().map(|item| item.as_f64()).collect::<Option<Vec<f64>>>() {
            return Cell::Numbers(numbers);
        }
        let words = items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<String>>>();
        words.map_or_else(|| Cell::Json(serde_json::Value::Array(items).to_string()), Cell::Words)
    }

    /// Returns the cell as it would be written in a CSV file.
    pub fn to_text(&self) -> String {
        match self {
            Cell::Empty => String::new(),
            Cell::Text(text) | Cell::Json(text) => text.clone(),
            Cell::Number(value) => value.to_string(),
            Cell::Bool(value) => value.to_string(),
            Cell::Numbers(values) => joined(values),
            Cell::Words(words) => words.join(" "),
            Cell::Bytes(bytes) | Cell::NotUtf8(bytes) => format!("<{} bytes>", bytes.len()),
        }
    }

    /// Returns the size of the content in bytes.
    pub(crate) fn n_bytes(&self) -> usize {
        match self {
            Cell::Empty => 0,
            Cell::Text(text) | Cell::Json(text) => text.len(),
            Cell::Number(_) => 8,
            Cell::Bool(_) => 1,
            Cell::Bytes(bytes) | Cell::NotUtf8(bytes) => bytes.len(),
            Cell::Numbers(values) => 8 * values.len(),
            Cell::Words(words) => words.iter().map(|word| word.len() + 1).sum(),
        }
    }

    /// Returns a number that equal cells share and other cells do not: the first eight bytes of the content's SHA-256; 0 for an
    /// empty cell.
    pub fn item(&self) -> u64 {
        if *self == Cell::Empty {
            return 0;
        }
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        Sha256::digest(&bytes).iter().take(8).fold(0, |item, byte| item << 8 | u64::from(*byte)).max(1)
    }

    /// Appends a tag, the length in four bytes, and the content; see [`crate::Table`] for the limit that the length imposes.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(self.tag());
        let start = out.len();
        out.extend([0; 4]);
        match self {
            Cell::Empty => {}
            Cell::Text(text) | Cell::Json(text) => out.extend(text.as_bytes()),
            Cell::Number(value) => out.extend(value.to_le_bytes()),
            Cell::Bool(value) => out.push(u8::from(*value)),
            Cell::Bytes(bytes) | Cell::NotUtf8(bytes) => out.extend(bytes),
            Cell::Numbers(values) => {
                out.reserve(8 * values.len());
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            Cell::Words(words) => out.extend(words.join("\0").as_bytes()),
        }
        let n_bytes = (out.len() - start - 4) as u32;
        out[start..start + 4].copy_from_slice(&n_bytes.to_le_bytes());
    }

    fn tag(&self) -> u8 {
        match self {
            Cell::Empty => 0,
            Cell::Text(_) => 1,
            Cell::Number(_) => 2,
            Cell::Bool(_) => 3,
            Cell::Bytes(_) => 4,
            Cell::Numbers(_) => 5,
            Cell::Json(_) => 6,
            Cell::Words(_) => 7,
            Cell::NotUtf8(_) => 8,
        }
    }

    /// Reads a cell written by [`Cell::write`] and returns it with the remaining bytes.
    pub(crate) fn read(bytes: &[u8]) -> (Self, &[u8]) {
        let (tag, rest) = (bytes[0], &bytes[1..]);
        let n_bytes = u32::from_le_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
        let (body, rest) = rest[4..].split_at(n_bytes);
        let text = || String::from_utf8_lossy(body).into_owned();
        let numbers = || body.as_chunks::<8>().0.iter().map(|bytes| f64::from_le_bytes(*bytes));
        let cell = match tag {
            1 => Cell::Text(text()),
            2 => Cell::Number(numbers().next().unwrap_or_default()),
            3 => Cell::Bool(body == [1]),
            4 => Cell::Bytes(body.to_vec()),
            5 => Cell::Numbers(numbers().collect()),
            6 => Cell::Json(text()),
            7 => Cell::Words(text().split('\0').map(str::to_owned).collect()),
            8 => Cell::NotUtf8(body.to_vec()),
            _ => Cell::Empty,
        };
        (cell, rest)
    }
}

/// Joins numbers with spaces.
fn joined(values: &[f64]) -> String {
    let mut text = String::new();
    for (at, value) in values.iter().enumerate() {
        let space = if at == 0 { "" } else { " " };
        // Writing to a `String` cannot fail.
        let _ = write!(text, "{space}{value}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_cell_round_trips_through_the_row_store() {
        let cells = [
            Cell::Empty,
            Cell::Text("Größe 漢字".into()),
            Cell::Number(-0.5),
            Cell::Bool(true),
            Cell::Bytes(vec![0, 255]),
            Cell::Numbers(vec![1.0, 2.5]),
            Cell::Json("[[1],[2]]".into()),
            Cell::Words(vec!["a".into(), "b c".into()]),
            Cell::NotUtf8(vec![0xff]),
        ];
        let mut bytes = Vec::new();
        cells.iter().for_each(|cell| cell.write(&mut bytes));
        let mut rest = bytes.as_slice();
        for want in &cells {
            let (got, after) = Cell::read(rest);
            assert_eq!(&got, want);
            rest = after;
        }
        assert!(rest.is_empty());
    }

    #[test]
    fn json_numbers_equal_the_same_numbers_in_csv() {
        // A parser that rounds twice is off by one unit in the last place.
        for text in ["0.9333333333333333", "0.11764705882352941", "1.7976931348623157e308", "5e-324"] {
            let json = Cell::json(serde_json::from_str(text).unwrap());
            assert_eq!(json, Cell::Number(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn json_lists_become_numbers_words_or_stay_json() {
        let cell = |text: &str| Cell::json(serde_json::from_str(text).unwrap());
        assert_eq!(cell("[1, 2.5]"), Cell::Numbers(vec![1.0, 2.5]));
        assert_eq!(cell("[\"a\", \"b\"]"), Cell::Words(vec!["a".into(), "b".into()]));
        assert_eq!(cell("[[1], [2]]"), Cell::Json("[[1],[2]]".into()));
        assert_eq!(cell("\"  \""), Cell::Empty);
    }
}
