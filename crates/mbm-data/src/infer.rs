//! Infers feature types from a table, for runs without a config.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::feature::{as_bool, parse_date};
use crate::{CellRef, DataError, Table};

/// The inferred role of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inferred {
    /// A feature of this type.
    Feature(&'static str),
    /// Integers with few distinct values: a number as an input, a category as a target.
    Codes,
    /// A column of `train`, `validation` and `test`.
    Split,
    /// An uninformative column: empty, constant, or with a different value in every row.
    Ignored(&'static str),
}

/// Number of rows that are inspected, and of cells in total: a wide table shows its types in fewer rows, and memory holds a hash
/// per cell.
const N_LOOKED_AT: usize = 2000;
const MIN_LOOKED_AT: usize = 200;
const N_CELLS: usize = 1 << 22;

/// Bytes of a text that are inspected; of a longer text, the last word is ignored.
const N_BYTES: usize = 1 << 16;

/// The longest list of numbers that is inspected as text.
const N_WRITTEN: usize = 64;

/// Maximum number of distinct integers that may be class codes.
const N_CODES: usize = 20;

/// Infers the type of every column, in order.
///
/// # Errors
/// Fails if the temporary file cannot be read.
pub fn infer_types(table: &Table) -> Result<Vec<Inferred>, DataError> {
    let n_columns = table.columns.len();
    let n_rows = table.n_rows().min((N_CELLS / n_columns.max(1)).clamp(MIN_LOOKED_AT, N_LOOKED_AT));
    let mut columns = vec![Seen::default(); n_columns];
    table.visit(0..n_rows, 0..n_columns, |column, cell| columns[column].add(&cell))?;
    Ok(columns.iter().zip(&table.columns).map(|(seen, name)| seen.inferred(name)).collect())
}

/// Statistics of a column: how many of its cells pass each test, and hashes of the distinct texts.
#[derive(Debug, Clone, Default)]
struct Seen {
    n_filled: usize,
    n_images: usize,
    n_bytes: usize,
    n_word_lists: usize,
    n_splits: usize,
    n_image_names: usize,
    n_audio_names: usize,
    n_booleans: usize,
    n_integers: usize,
    n_numbers: usize,
    n_dates: usize,
    n_number_lists: usize,
    n_words: usize,
    distinct: HashSet<u64>,
}

impl Seen {
    fn add(&mut self, cell: &CellRef) {
        if *cell == CellRef::Empty {
            return;
        }
        self.n_filled += 1;
        self.n_images += usize::from(matches!(cell, CellRef::Bytes(bytes) if image::guess_format(bytes).is_ok()));
        self.n_bytes += usize::from(matches!(cell, CellRef::Bytes(_)));
        self.n_word_lists += usize::from(matches!(cell, CellRef::Words(_)));
        match cell {
            CellRef::Numbers(values) if values.len() > N_WRITTEN => self.add_numbers(values),
            other => self.add_text(other.to_text().trim()),
        }
    }

    fn add_numbers(&mut self, values: &[f64]) {
        let mut hasher = DefaultHasher::new();
        values.iter().for_each(|value| value.to_bits().hash(&mut hasher));
        self.distinct.insert(hasher.finish());
        self.n_words += values.len();
        self.n_number_lists += 1;
    }

    fn add_text(&mut self, text: &str) {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        self.distinct.insert(hasher.finish());
        let text = beginning(text);
        let is_split = ["train", "val", "validation", "test"].iter().any(|word| word.eq_ignore_ascii_case(text));
        self.n_splits += usize::from(is_split);
        self.n_image_names += usize::from(has_extension(text, &["png", "jpg", "jpeg", "webp", "bmp", "gif", "tif", "tiff"]));
        self.n_audio_names += usize::from(extension(text).is_some_and(crate::audio::is_sound));
        self.n_booleans += usize::from(as_bool(text).is_some());
        self.n_words += text.split_whitespace().count();
        let is_number = text.parse::<f64>().is_ok();
        self.n_numbers += usize::from(is_number);
        self.n_integers += usize::from(is_number && text.parse::<i64>().is_ok());
        // The only numbers that may be dates have eight digits, such as `20241231`.
        let may_be_date = !is_number || text.len() == 8;
        self.n_dates += usize::from(may_be_date && parse_date(text, None).is_some());
        self.n_number_lists += usize::from(is_number || is_numbers(text));
    }

    fn inferred(&self, name: &str) -> Inferred {
        let all = |n_passed: usize| n_passed * 20 >= self.n_filled * 19;
        let n_distinct = self.distinct.len();
        let n_words = self.n_words as f64 / self.n_filled.max(1) as f64;
        match () {
            () if self.n_filled == 0 => Inferred::Ignored("it is empty"),
            () if all(self.n_images) => Inferred::Feature("image"),
            () if all(self.n_bytes) => Inferred::Feature("audio"),
            () if all(self.n_word_lists) => Inferred::Feature("set"),
            () if name.to_ascii_lowercase().contains("split") && all(self.n_splits) => Inferred::Split,
            () if all(self.n_image_names) => Inferred::Feature("image"),
            () if all(self.n_audio_names) => Inferred::Feature("audio"),
            () if n_distinct < 2 => Inferred::Ignored("it has only one value"),
            () if n_distinct == 2 && all(self.n_booleans) => Inferred::Feature("binary"),
            () if n_distinct <= N_CODES.min(self.n_filled / 2) && self.n_integers == self.n_filled => Inferred::Codes,
            () if all(self.n_numbers) => Inferred::Feature("number"),
            () if all(self.n_dates) => Inferred::Feature("date"),
            () if all(self.n_number_lists) => Inferred::Feature(if n_words >= 8.0 { "timeseries" } else { "vector" }),
            () if n_distinct <= 20.max(self.n_filled / 20) => Inferred::Feature("category"),
            () if n_words >= 2.0 => Inferred::Feature("text"),
            () if n_distinct * 10 >= self.n_filled * 9 && self.n_filled > 20 => {
                Inferred::Ignored("nearly every row has a different value, as with names and row numbers")
            }
            () => Inferred::Feature("category"),
        }
    }
}

/// Returns the first words of a long text.
fn beginning(text: &str) -> &str {
    let start = &text[..text.floor_char_boundary(N_BYTES)];
    if start.len() == text.len() { text } else { start.rsplit_once([' ', ',', ';', '\n']).map_or(start, |(words, _)| words) }
}

fn extension(text: &str) -> Option<&str> {
    text.rsplit_once('.').map(|(_, extension)| extension)
}

fn has_extension(text: &str, extensions: &[&str]) -> bool {
    extension(text).is_some_and(|found| extensions.contains(&found.to_ascii_lowercase().as_str()))
}

fn is_numbers(text: &str) -> bool {
    let mut words = text.trim_matches(['[', ']']).split([' ', ',', ';']).filter(|word| !word.is_empty()).peekable();
    words.peek().is_some() && words.all(|word| word.parse::<f64>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn infer<'a>(name: &str, texts: impl Iterator<Item = &'a str>) -> Inferred {
        let mut seen = Seen::default();
        texts.for_each(|text| seen.add(&CellRef::text(text)));
        seen.inferred(name)
    }

    #[test]
    fn types_are_inferred_from_cells() {
        let cases: [(&str, &[&str], Inferred); 10] = [
            ("photo", &["a/x.png", "b.JPG", ""], Inferred::Feature("image")),
            ("sound", &["x.wav", "y.wav"], Inferred::Feature("audio")),
            ("price", &["1", "2.5", "1e3"], Inferred::Feature("number")),
            ("digit", &["7", "0", "3", "7", "0", "3"], Inferred::Codes),
            ("ok", &["yes", "no", "yes"], Inferred::Feature("binary")),
            ("day", &["2024-01-01", "2024-01-02"], Inferred::Feature("date")),
            ("curve", &["1 2 3 4 5 6 7 8", "1 2 3 4 5 6 7 9"], Inferred::Feature("timeseries")),
            ("colour", &["red", "blue", "red"], Inferred::Feature("category")),
            ("split", &["train", "test"], Inferred::Split),
            ("nothing", &["", ""], Inferred::Ignored("it is empty")),
        ];
        for (name, texts, want) in cases {
            assert_eq!(infer(name, texts.iter().copied()), want, "{name}");
        }
        let notes: Vec<String> = (0..50).map(|i| format!("a note about row {i}")).collect();
        assert_eq!(infer("notes", notes.iter().map(String::as_str)), Inferred::Feature("text"));
        let ids: Vec<String> = (0..50).map(|i| format!("id{i}")).collect();
        assert!(matches!(infer("id", ids.iter().map(String::as_str)), Inferred::Ignored(_)));
    }

    #[test]
    fn long_cells_are_inferred_from_their_beginning() {
        let series = ["1.5 ", "-2.25,", "3;"].map(|word| word.repeat(1 << 18));
        assert_eq!(infer("series", series.iter().map(String::as_str)), Inferred::Feature("timeseries"));
        let texts: Vec<String> = (0..30).map(|i| format!("{i} words ").repeat(1 << 12)).collect();
        assert_eq!(infer("texts", texts.iter().map(String::as_str)), Inferred::Feature("text"));
    }
}
