//! Options for datasets that do not say everything about themselves, and the words by which a command line names them.

use std::str::FromStr;

use super::TableFormat;

/// How a dataset is read. The defaults suit files whose names and contents say what they are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TableOptions {
    /// The format, if it is not the one that the file's name declares.
    pub format: Option<TableFormat>,
    /// The delimiter of a CSV file, if it is not the one that its first rows show.
    pub delimiter: Option<Delimiter>,
    /// What is done about rows with more or fewer fields than the header.
    pub ragged: RaggedRows,
    /// What is done about columns with the same name.
    pub duplicate_columns: DuplicateColumns,
    /// The sheet of an Excel workbook, if it is not the first one.
    pub sheet: Option<String>,
}

/// What is done about rows with more or fewer fields than the header.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RaggedRows {
    /// They are an error: a quote may be missing, or a line break may have split a row.
    #[default]
    Error,
    /// Missing fields are empty cells, surplus fields are dropped, and a note counts the rows.
    Pad,
}

/// What is done about columns with the same name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DuplicateColumns {
    /// The second `x` becomes `x_2`, the third `x_3`, and a note says so.
    #[default]
    Rename,
    /// They are an error.
    Error,
}

/// The character between the fields of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delimiter(u8);

/// A word that names no option.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OptionError {
    /// None of the words.
    #[error("'{found}' is not one of {available}")]
    Word {
        /// The word that was found.
        found: String,
        /// The allowed ones.
        available: String,
    },
    /// A delimiter that cannot be told from the content of fields.
    #[error("'{0}' cannot delimit fields; use a single punctuation mark such as ';', a space, or 'tab'")]
    Delimiter(String),
}

impl Delimiter {
    /// Returns the byte.
    pub fn byte(self) -> u8 {
        self.0
    }
}

impl FromStr for Delimiter {
    type Err = OptionError;

    fn from_str(text: &str) -> Result<Self, OptionError> {
        match (text, text.as_bytes()) {
            ("tab" | "\\t", _) => Ok(Self(b'\t')),
            (_, [byte @ (b'\t' | b' ')]) => Ok(Self(*byte)),
            (_, [byte]) if byte.is_ascii_punctuation() && *byte != b'"' => Ok(Self(*byte)),
            _ => Err(OptionError::Delimiter(text.to_owned())),
        }
    }
}

impl FromStr for RaggedRows {
    type Err = OptionError;

    fn from_str(word: &str) -> Result<Self, OptionError> {
        named(word, &[("error", Self::Error), ("pad", Self::Pad)])
    }
}

impl FromStr for DuplicateColumns {
    type Err = OptionError;

    fn from_str(word: &str) -> Result<Self, OptionError> {
        named(word, &[("rename", Self::Rename), ("error", Self::Error)])
    }
}

/// Returns the value with a name.
pub(super) fn named<T: Copy>(word: &str, values: &[(&str, T)]) -> Result<T, OptionError> {
    let found = values.iter().find(|(name, _)| *name == word);
    let names = || values.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    found.map(|(_, value)| *value).ok_or_else(|| OptionError::Word { found: word.to_owned(), available: names() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_name_options() {
        assert_eq!("pad".parse(), Ok(RaggedRows::Pad));
        assert_eq!("error".parse(), Ok(DuplicateColumns::Error));
        let error = "drop".parse::<RaggedRows>().unwrap_err().to_string();
        assert_eq!(error, "'drop' is not one of error, pad");
    }

    #[test]
    fn delimiters_are_single_punctuation_marks_or_blanks() {
        let byte = |text: &str| text.parse().map(Delimiter::byte).ok();
        assert_eq!(["tab", "\\t", "\t", " ", ";", "|"].map(byte), [b'\t', b'\t', b'\t', b' ', b';', b'|'].map(Some));
        assert_eq!(["", "a", "\"", "\n", ";;", "ä"].map(byte), [None; 6]);
    }
}
