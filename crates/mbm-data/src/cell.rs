//! Table cells.

use crate::CellRef;

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
        CellRef::text(value).into_owned()
    }

    /// Like [`Cell::text`], without copying the text.
    pub(crate) fn of_text(value: String) -> Self {
        if value.trim().is_empty() { Cell::Empty } else { Cell::Text(value) }
    }

    /// Creates a cell from a text field of unknown encoding.
    pub fn field(bytes: &[u8]) -> Self {
        CellRef::field(bytes).into_owned()
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

    /// Returns a cell that borrows this one's content.
    pub fn borrowed(&self) -> CellRef<'_> {
        match self {
            Cell::Empty => CellRef::Empty,
            Cell::Text(text) => CellRef::Text(text),
            Cell::Number(value) => CellRef::Number(*value),
            Cell::Bool(value) => CellRef::Bool(*value),
            Cell::Bytes(bytes) => CellRef::Bytes(bytes),
            Cell::Numbers(values) => CellRef::Numbers(values.into()),
            Cell::Json(text) => CellRef::Json(text),
            Cell::Words(words) => CellRef::Words(words.iter().map(String::as_str).collect()),
            Cell::NotUtf8(bytes) => CellRef::NotUtf8(bytes),
        }
    }

    /// Returns the cell as it would be written in a CSV file.
    pub fn to_text(&self) -> String {
        self.borrowed().to_text().into_owned()
    }

    /// Returns a number that equal cells share and other cells do not: the first eight bytes of the content's SHA-256; 0 for an
    /// empty cell.
    pub fn item(&self) -> u64 {
        self.borrowed().item()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
