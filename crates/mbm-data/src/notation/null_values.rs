//! Words for a missing value, such as `NA`.

use serde::{Deserialize, Serialize};

use crate::Cell;
use crate::feature::text_of;

/// The words that mark a cell as empty if the config does not list any: those of pandas and R, of Excel, and marks that people use.
pub(crate) const USUAL: [&str; 17] =
    ["NA", "N/A", "n/a", "#N/A", "#NA", "<NA>", "NaN", "nan", "NaT", "null", "NULL", "None", "?", "-", "--", ".", "#VALUE!"];

/// The usual words that may also name something: no damage, the strand of a gene.
pub(crate) const MAY_BE_VALUES: [&str; 4] = ["None", "-", "--", "."];

/// The words that mark the cells of a feature as empty.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Vec<String>", into = "Vec<String>")]
pub struct NullValues {
    words: Vec<String>,
    /// Those of the words that are numbers, such as `-999`, for cells that are stored as numbers.
    numbers: Vec<f64>,
}

impl From<Vec<String>> for NullValues {
    fn from(words: Vec<String>) -> Self {
        let numbers = words.iter().filter_map(|word| word.parse().ok()).filter(|value: &f64| value.is_finite()).collect();
        Self { words, numbers }
    }
}

impl From<NullValues> for Vec<String> {
    fn from(null_values: NullValues) -> Self {
        null_values.words
    }
}

impl NullValues {
    /// Returns the words of a setting, or the usual ones.
    pub fn of(setting: Option<&Vec<String>>) -> Self {
        setting.cloned().unwrap_or_else(usual).into()
    }

    /// Whether a word marks a cell as empty.
    pub fn contain(&self, word: &str) -> bool {
        self.words.iter().any(|listed| listed == word)
    }

    /// Returns the word of the list that a cell holds.
    pub fn word_in(&self, cell: &Cell) -> Option<String> {
        match cell {
            Cell::Number(value) => self.numbers.contains(value).then(|| value.to_string()),
            cell => {
                let text = text_of(cell).ok()?;
                self.contain(text.trim()).then(|| text.trim().to_owned())
            }
        }
    }
}

/// Whether a text is a word that stands for a missing value in any column, such as `NA`.
pub fn is_null_word(text: &str) -> bool {
    USUAL.contains(&text) && !MAY_BE_VALUES.contains(&text)
}

/// Returns the usual words.
pub(crate) fn usual() -> Vec<String> {
    USUAL.map(str::to_owned).to_vec()
}

/// Returns the fault of a cell that holds one of the words.
pub(crate) fn fault(word: &str) -> crate::Fault {
    crate::Fault::new(crate::Cause::Empty, format!("'{word}' is one of null_values"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listed_words_and_numbers_are_found_in_cells_of_any_kind() {
        let listed = NullValues::of(Some(&vec!["-999".to_owned(), "unknown".to_owned()]));
        assert_eq!(listed.word_in(&Cell::text(" unknown ")).as_deref(), Some("unknown"));
        assert_eq!(listed.word_in(&Cell::Number(-999.0)).as_deref(), Some("-999"));
        assert_eq!((listed.word_in(&Cell::text("NA")), listed.word_in(&Cell::Number(9.0))), (None, None));
        let usual = NullValues::of(None);
        assert!(USUAL.iter().all(|word| usual.contain(word)) && !usual.contain("unknown"));
        assert!(is_null_word("NA") && !is_null_word("None") && !is_null_word("x"));
        assert_eq!(NullValues::of(Some(&Vec::new())).word_in(&Cell::text("NA")), None);
    }
}
