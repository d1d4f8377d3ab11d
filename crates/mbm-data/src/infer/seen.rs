//! Statistics of a column: how many of its cells pass each test, and hashes of the distinct texts.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::integers::Integers;
use super::lists::Lists;
use super::texts::{Texts, hash};
use crate::CellRef;
use crate::feature::{Decimal, as_bool, parse_number};
use crate::notation::date::{self, OrderVotes};
use crate::notation::null_values::USUAL;
use crate::notation::number::DecimalVotes;

/// Bytes of a text that are inspected; of a longer text, the last word is ignored.
const N_BYTES: usize = 1 << 16;

/// Characters of an example.
const N_SHOWN: usize = 40;

/// Statistics of a column. A cell is filled if it is neither empty nor one of the usual words for a missing value.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    pub n_cells: usize,
    pub n_filled: usize,
    /// The number of cells with each of the usual words for a missing value.
    pub null_words: BTreeMap<&'static str, usize>,
    pub n_images: usize,
    pub n_bytes: usize,
    pub n_word_lists: usize,
    pub n_splits: usize,
    pub n_image_names: usize,
    pub n_audio_names: usize,
    /// The number of cells that mean false, and true.
    pub n_booleans: [usize; 2],
    pub numbers: Numbers,
    pub integers: Integers,
    pub dates: Dates,
    pub lists: Lists,
    pub texts: Texts,
    /// A cell that occurs.
    pub example: Option<String>,
    values: HashMap<u64, u32>,
    hasher: DefaultHasher,
}

/// Numbers in either notation.
#[derive(Debug, Clone, Default)]
pub(super) struct Numbers {
    votes: DecimalVotes,
    n_with_point: usize,
    n_with_comma: usize,
    /// Number of those that may be lists: digits with spaces between them, or more than one comma.
    n_spaced: usize,
    n_of_commas: usize,
    /// A number that no program would write.
    pub example: Option<String>,
}

/// Dates in either order of day and month.
#[derive(Debug, Clone, Default)]
pub(super) struct Dates {
    pub votes: OrderVotes,
    pub n: usize,
    /// A date whose day and month may be in either order.
    pub example: Option<String>,
}

impl Seen {
    /// Counts a cell.
    pub fn add(&mut self, row_idx: usize, cell: &CellRef) {
        self.n_cells += 1;
        match cell {
            CellRef::Empty => self.hasher.write_u8(0),
            CellRef::Numbers(values) if values.len() > 1 => self.add_numbers(values),
            CellRef::Bytes(bytes) => self.add_bytes(bytes),
            other => self.add_text(row_idx, other.to_text().trim(), matches!(other, CellRef::Words(_))),
        }
    }

    /// Counts a value by the hash of what makes it different from others.
    fn add_value(&mut self, value: u64) {
        self.n_filled += 1;
        *self.values.entry(value).or_default() += 1;
    }

    fn add_bytes(&mut self, bytes: &[u8]) {
        let value = hash(bytes);
        value.hash(&mut self.hasher);
        self.add_value(value);
        self.n_bytes += 1;
        self.n_images += usize::from(image::guess_format(bytes).is_ok());
    }

    fn add_numbers(&mut self, values: &[f64]) {
        let mut hasher = DefaultHasher::new();
        values.iter().for_each(|value| value.to_bits().hash(&mut hasher));
        let value = hasher.finish();
        value.hash(&mut self.hasher);
        self.add_value(value);
        self.lists.add(values.len());
    }

    fn add_text(&mut self, row_idx: usize, text: &str, is_list: bool) {
        let value = hash(text);
        if let Some(word) = USUAL.iter().find(|word| **word == text) {
            value.hash(&mut self.hasher);
            *self.null_words.entry(word).or_default() += 1;
            return;
        }
        self.add_value(value);
        self.example.get_or_insert_with(|| text.chars().take(N_SHOWN).collect());
        self.n_word_lists += usize::from(is_list);
        if let Some(class) = as_bool(text) {
            self.n_booleans[usize::from(class)] += 1;
        }
        match self.numbers.add(beginning(text)) {
            // Equal numbers have equal hashes, however they are written.
            Some(number) => {
                (number + 0.0).to_bits().hash(&mut self.hasher);
                self.integers.add(row_idx, text, number);
                self.lists.add(1);
            }
            None => {
                value.hash(&mut self.hasher);
                self.add_words(beginning(text));
            }
        }
    }

    /// Counts a text that programs do not read as a number.
    fn add_words(&mut self, text: &str) {
        let is_split = ["train", "val", "validation", "test"].iter().any(|word| word.eq_ignore_ascii_case(text));
        self.n_splits += usize::from(is_split);
        self.n_image_names += usize::from(extension(text).is_some_and(crate::image::is_image));
        self.n_audio_names += usize::from(extension(text).is_some_and(crate::audio::is_sound));
        self.lists.add_text(text);
        self.dates.add(text);
        self.texts.add(text);
    }

    /// Whether nearly all filled cells passed a test.
    pub fn all(&self, n_passed: usize) -> bool {
        n_passed * 20 >= self.n_filled * 19
    }

    /// Returns the number of distinct filled cells.
    pub fn n_distinct(&self) -> usize {
        self.values.len()
    }

    /// Returns the number of filled cells that no other cell equals.
    pub fn n_single(&self) -> usize {
        self.values.values().filter(|count| **count == 1).count()
    }

    /// Returns the share of filled cells that no other cell equals.
    pub fn single_share(&self) -> f64 {
        self.n_single() as f64 / self.n_filled.max(1) as f64
    }

    /// Returns a hash of all cells; equal columns have equal hashes.
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }
}

impl Numbers {
    /// Counts a text, if it is a number in either notation. Returns the number of one that programs write.
    fn add(&mut self, text: &str) -> Option<f64> {
        let [point, comma] =
            [Decimal::Point, Decimal::Comma].map(|decimal| parse_number(text, decimal).filter(|value| value.is_finite()));
        if point.is_none() && comma.is_none() {
            return None;
        }
        self.votes.add(point, comma);
        self.n_with_point += usize::from(point.is_some());
        self.n_with_comma += usize::from(comma.is_some());
        let is_plain = text.parse::<f64>().is_ok();
        if !is_plain {
            let only_digits_and =
                |is_between: fn(char) -> bool| text.chars().all(|found| found.is_ascii_digit() || is_between(found));
            self.n_spaced += usize::from(only_digits_and(char::is_whitespace));
            self.n_of_commas += usize::from(only_digits_and(|found| found == ',') && text.matches(',').count() > 1);
            if self.example.is_none() && text.len() <= N_SHOWN {
                self.example = Some(text.to_owned());
            }
        }
        point.filter(|_| is_plain)
    }

    /// Returns the notation that the cells require.
    pub fn decimal(&self) -> Decimal {
        self.votes.decimal()
    }

    /// Returns the number of cells that are numbers in the notation of the column; 0 if all of them may be lists.
    pub fn n(&self) -> usize {
        let n = match self.decimal() {
            Decimal::Point => self.n_with_point,
            Decimal::Comma => self.n_with_comma,
        };
        if n == self.n_spaced || n == self.n_of_commas { 0 } else { n }
    }
}

impl Dates {
    fn add(&mut self, text: &str) {
        let Some(date) = date::parse(text) else { return };
        self.n += 1;
        self.votes.add(date);
        if date.is_ordered() {
            self.example.get_or_insert_with(|| text.to_owned());
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
