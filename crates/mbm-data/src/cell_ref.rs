//! Cells that borrow their content from a table or a source, and the binary form in which cells are hashed.

use std::borrow::Cow;
use std::fmt::Write;

use sha2::{Digest, Sha256};

use crate::Cell;

/// A [`Cell`] that borrows its content, so that large media and texts are not copied.
#[derive(Debug, Clone, PartialEq)]
pub enum CellRef<'a> {
    /// See [`Cell::Empty`].
    Empty,
    /// See [`Cell::Text`].
    Text(&'a str),
    /// See [`Cell::Number`].
    Number(f64),
    /// See [`Cell::Bool`].
    Bool(bool),
    /// See [`Cell::Bytes`].
    Bytes(&'a [u8]),
    /// See [`Cell::Numbers`]; owned where the source does not hold the numbers next to each other.
    Numbers(Cow<'a, [f64]>),
    /// See [`Cell::Json`].
    Json(&'a str),
    /// See [`Cell::Words`].
    Words(Vec<&'a str>),
    /// See [`Cell::NotUtf8`].
    NotUtf8(&'a [u8]),
}

impl<'a> CellRef<'a> {
    /// Creates a cell from a text field; blank text is an empty cell.
    pub fn text(value: &'a str) -> Self {
        if value.trim().is_empty() { CellRef::Empty } else { CellRef::Text(value) }
    }

    /// Creates a cell from a text field of unknown encoding.
    pub fn field(bytes: &'a [u8]) -> Self {
        std::str::from_utf8(bytes).map_or(CellRef::NotUtf8(bytes), CellRef::text)
    }

    /// Copies the content.
    pub fn into_owned(self) -> Cell {
        match self {
            CellRef::Empty => Cell::Empty,
            CellRef::Text(text) => Cell::Text(text.to_owned()),
            CellRef::Number(value) => Cell::Number(value),
            CellRef::Bool(value) => Cell::Bool(value),
            CellRef::Bytes(bytes) => Cell::Bytes(bytes.to_vec()),
            CellRef::Numbers(values) => Cell::Numbers(values.into_owned()),
            CellRef::Json(text) => Cell::Json(text.to_owned()),
            CellRef::Words(words) => Cell::Words(words.into_iter().map(str::to_owned).collect()),
            CellRef::NotUtf8(bytes) => Cell::NotUtf8(bytes.to_vec()),
        }
    }

    /// Returns the cell as it would be written in a CSV file.
    pub fn to_text(&self) -> Cow<'a, str> {
        match self {
            CellRef::Empty => Cow::Borrowed(""),
            CellRef::Text(text) | CellRef::Json(text) => Cow::Borrowed(text),
            CellRef::Number(value) => Cow::Owned(value.to_string()),
            CellRef::Bool(value) => Cow::Owned(value.to_string()),
            CellRef::Numbers(values) => Cow::Owned(joined(values)),
            CellRef::Words(words) => Cow::Owned(words.join(" ")),
            CellRef::Bytes(bytes) | CellRef::NotUtf8(bytes) => Cow::Owned(format!("<{} bytes>", bytes.len())),
        }
    }

    /// Returns the size of the content in bytes.
    pub(crate) fn n_bytes(&self) -> usize {
        match self {
            CellRef::Empty => 0,
            CellRef::Text(text) | CellRef::Json(text) => text.len(),
            CellRef::Number(_) => 8,
            CellRef::Bool(_) => 1,
            CellRef::Bytes(bytes) | CellRef::NotUtf8(bytes) => bytes.len(),
            CellRef::Numbers(values) => 8 * values.len(),
            CellRef::Words(words) => words.iter().map(|word| word.len() + 1).sum(),
        }
    }

    /// Returns a number that equal cells share and other cells do not: the first eight bytes of the content's SHA-256; 0 for an
    /// empty cell.
    pub fn item(&self) -> u64 {
        if *self == CellRef::Empty {
            return 0;
        }
        let mut bytes = Vec::new();
        self.write(&mut bytes);
        Sha256::digest(&bytes).iter().take(8).fold(0, |item, byte| item << 8 | u64::from(*byte)).max(1)
    }

    /// Appends a tag, the length in four bytes, and the content: the form that is hashed, in which a cell takes less than 4 GiB.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            CellRef::Words(words) => {
                let text = words.join("\0");
                out.extend(self.header(text.len()));
                out.extend(text.as_bytes());
            }
            cell => {
                out.extend(self.header(cell.n_bytes()));
                cell.write_content(out);
            }
        }
    }

    /// Returns the tag and the length.
    pub(crate) fn header(&self, n_bytes: usize) -> [u8; 5] {
        let [a, b, c, d] = (n_bytes as u32).to_le_bytes();
        [self.tag(), a, b, c, d]
    }

    /// Appends the content; that of a list of words has the length of each word in front of it.
    pub(crate) fn write_content(&self, out: &mut Vec<u8>) {
        match self {
            CellRef::Empty => {}
            CellRef::Text(text) | CellRef::Json(text) => out.extend(text.as_bytes()),
            CellRef::Number(value) => out.extend(value.to_le_bytes()),
            CellRef::Bool(value) => out.push(u8::from(*value)),
            CellRef::Bytes(bytes) | CellRef::NotUtf8(bytes) => out.extend(*bytes),
            CellRef::Numbers(values) => {
                out.reserve(8 * values.len());
                out.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            }
            CellRef::Words(words) => words.iter().for_each(|word| {
                out.extend((word.len() as u32).to_le_bytes());
                out.extend(word.as_bytes());
            }),
        }
    }

    /// Reads the content of a cell with a tag; `None` if it is not what [`CellRef::write_content`] writes.
    pub(crate) fn read_content(tag: u8, bytes: &'a [u8]) -> Option<Self> {
        match tag {
            1 => std::str::from_utf8(bytes).ok().map(CellRef::Text),
            2 => Some(CellRef::Number(f64::from_le_bytes(bytes.try_into().ok()?))),
            3 => matches!(bytes, [0 | 1]).then_some(CellRef::Bool(bytes == [1])),
            4 => Some(CellRef::Bytes(bytes)),
            5 => {
                let (values, rest) = bytes.as_chunks::<8>();
                rest.is_empty().then(|| CellRef::Numbers(values.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()))
            }
            6 => std::str::from_utf8(bytes).ok().map(CellRef::Json),
            7 => words(bytes).map(CellRef::Words),
            8 => Some(CellRef::NotUtf8(bytes)),
            _ => None,
        }
    }

    /// Returns the number of the cell's kind.
    pub(crate) fn tag(&self) -> u8 {
        match self {
            CellRef::Empty => 0,
            CellRef::Text(_) => 1,
            CellRef::Number(_) => 2,
            CellRef::Bool(_) => 3,
            CellRef::Bytes(_) => 4,
            CellRef::Numbers(_) => 5,
            CellRef::Json(_) => 6,
            CellRef::Words(_) => 7,
            CellRef::NotUtf8(_) => 8,
        }
    }
}

/// Reads words with the length of each in front of it.
pub(crate) fn words(mut bytes: &[u8]) -> Option<Vec<&str>> {
    let mut words = Vec::new();
    while !bytes.is_empty() {
        let (n_bytes, rest) = bytes.split_first_chunk::<4>()?;
        let (word, rest) = rest.split_at_checked(u32::from_le_bytes(*n_bytes) as usize)?;
        words.push(std::str::from_utf8(word).ok()?);
        bytes = rest;
    }
    Some(words)
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
    fn content_of_every_kind_is_read_as_it_was_written() {
        let cells = [
            CellRef::Text("Größe 漢字"),
            CellRef::Number(-0.5),
            CellRef::Bool(true),
            CellRef::Bytes(&[0, 255]),
            CellRef::Numbers(vec![1.0, 2.5].into()),
            CellRef::Json("[[1],[2]]"),
            CellRef::Words(vec!["a", "", "b\0c"]),
            CellRef::Words(vec![]),
            CellRef::NotUtf8(&[0xff]),
        ];
        for cell in cells {
            let mut bytes = Vec::new();
            cell.write_content(&mut bytes);
            assert_eq!(CellRef::read_content(cell.tag(), &bytes), Some(cell));
        }
    }

    proptest::proptest! {
        #[test]
        fn arbitrary_content_never_panics(tag in 0u8..10, bytes in proptest::collection::vec(proptest::num::u8::ANY, 0..40)) {
            let _ = CellRef::read_content(tag, &bytes);
        }
    }
}
