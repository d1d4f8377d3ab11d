//! Words and labels in the texts of a column, and whether they repeat.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use crate::notation::labels::{Delimiter, DelimiterVotes, PUNCTUATION};

/// Words and labels of a cell that are counted.
const N_WORDS: usize = 8;
const N_LABELS: usize = 16;

/// Longest text whose labels are counted, in bytes; longer ones are no sets.
const N_BYTES_OF_LABELS: usize = 1000;

/// Words and labels in the texts of a column.
#[derive(Debug, Clone, Default)]
pub(super) struct Texts {
    n_cells: usize,
    n_words: usize,
    /// Words at the beginning of cells, and how many of them consist of letters.
    n_counted: usize,
    n_of_letters: usize,
    words: HashSet<u64>,
    /// Number of cells that are lists of words in brackets.
    pub n_lists: usize,
    votes: DelimiterVotes,
    labels: [Labels; PUNCTUATION.len()],
}

/// Labels between the delimiters of one kind.
#[derive(Debug, Clone, Default)]
struct Labels {
    n_cells_of_many: usize,
    n_words: usize,
    counts: HashMap<u64, u32>,
}

impl Texts {
    /// Counts the words and labels of a text that is no number.
    pub fn add(&mut self, text: &str) {
        self.n_cells += 1;
        self.n_words += n_words(text);
        for word in text.split_whitespace().take(N_WORDS) {
            self.n_counted += 1;
            let letters = word.trim_matches(|found: char| !found.is_alphanumeric());
            if letters.chars().count() > 1 && letters.chars().all(char::is_alphabetic) {
                self.n_of_letters += 1;
                self.words.insert(hash(&letters.to_lowercase()));
            }
        }
        self.n_lists += usize::from(text.starts_with(['[', '{']) && text.ends_with([']', '}']));
        if text.len() <= N_BYTES_OF_LABELS {
            self.votes.add(text);
            let delimiters = PUNCTUATION.iter().zip(&mut self.labels);
            delimiters.for_each(|(delimiter, labels)| labels.add(&delimiter.split(text)));
        }
    }

    /// Returns the mean number of words.
    pub fn mean_words(&self) -> f64 {
        self.n_words as f64 / self.n_cells.max(1) as f64
    }

    /// Returns the share of words that occur in more than one place.
    pub fn repeated_words(&self) -> f64 {
        (self.n_of_letters - self.words.len()) as f64 / self.n_counted.max(1) as f64
    }

    /// Returns the delimiter if the cells are sets of labels: some cells have several, they are short, nearly all of them
    /// repeat, and they occur in more combinations than there are labels.
    pub fn delimiter(&self, n_distinct: usize) -> Option<Delimiter> {
        let delimiter = self.votes.delimiter();
        let labels = PUNCTUATION.iter().zip(&self.labels).find(|(listed, _)| **listed == delimiter)?.1;
        labels.repeat(self.n_cells, n_distinct).then_some(delimiter)
    }
}

impl Labels {
    fn add(&mut self, labels: &[&str]) {
        self.n_cells_of_many += usize::from(labels.len() > 1);
        for label in labels.iter().take(N_LABELS) {
            self.n_words += n_words(label);
            *self.counts.entry(hash(label)).or_default() += 1;
        }
    }

    fn repeat(&self, n_cells: usize, n_distinct: usize) -> bool {
        let n_labels: usize = self.counts.values().map(|count| *count as usize).sum();
        let n_repeated: usize = self.counts.values().filter(|count| **count > 1).map(|count| *count as usize).sum();
        self.n_cells_of_many >= 2
            && self.n_cells_of_many * 20 >= n_cells
            && self.n_words <= 4 * n_labels
            && n_repeated * 5 >= n_labels * 4
            && self.counts.len() * 2 <= n_labels
            && self.counts.len() < n_distinct
    }
}

/// Returns the number of words; in scripts without spaces between words, two characters count as one.
fn n_words(text: &str) -> usize {
    let n_without_spaces = if text.is_ascii() { 0 } else { text.chars().filter(|found| has_no_spaces(*found)).count() };
    text.split_whitespace().count() + n_without_spaces / 2
}

/// Whether a character belongs to Thai, Japanese, Chinese or Korean.
fn has_no_spaces(found: char) -> bool {
    matches!(found, '\u{e00}'..='\u{e7f}' | '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{ac00}'..='\u{d7af}')
}

pub(super) fn hash(value: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Texts {
        let mut seen = Texts::default();
        texts.iter().for_each(|text| seen.add(text));
        seen
    }

    #[test]
    fn sets_are_cells_of_short_labels_that_recombine() {
        let delimiter = |cells: &[&str]| texts(cells).delimiter(cells.iter().collect::<HashSet<_>>().len());
        let genres =
            ["Action & Adventure, Comedy", "Comedy", "Comedy, Stand Up", "Action & Adventure", "Stand Up, Action & Adventure"];
        assert_eq!(delimiter(&genres), Some(Delimiter::Comma));
        assert_eq!(delimiter(&["a|b", "b|c", "a|c", "a", "b"]), Some(Delimiter::Bar));
        // Answers, each of which has a comma; names; sentences.
        assert_eq!(delimiter(&["Yes, often", "No, never", "Yes, often", "No, never", "No, never"]), None);
        assert_eq!(delimiter(&["Smith, John", "Brown, John", "White, Ann", "Green, Ann", "Black, Eve"]), None);
        assert_eq!(delimiter(&["I like it, all of it", "No way, all of it", "A, b", "c", "d"]), None);
        assert_eq!(delimiter(&["red", "blue"]), None);
    }

    #[test]
    fn words_are_counted_and_compared() {
        let seen = texts(&["a good house", "a bad house", "12 houses"]);
        assert_eq!((seen.n_words, seen.n_of_letters, seen.words.len()), (8, 5, 4));
        assert_eq!(seen.repeated_words(), 0.125);
        assert_eq!(texts(&["很好吃的餐厅"]).mean_words(), 4.0);
    }
}
