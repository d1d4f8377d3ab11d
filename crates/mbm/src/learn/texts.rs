//! Texts as other learners than the network read them: TF-IDF values of n-grams, and a few statistics.

use mbm_algo::SparseRows;
use mbm_algo::text::{Ngrams, Tfidf, TfidfOptions, min_document_frequency};
use serde::{Deserialize, Serialize};

/// The n-grams of a text input. Saved in the bundle.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct TextTerms {
    /// Of words.
    words: Tfidf,
    /// Of characters.
    characters: Tfidf,
}

/// How many n-grams an input has at most.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct MaxTerms {
    /// Of words.
    words: usize,
    /// Of characters.
    characters: usize,
}

impl MaxTerms {
    /// Returns the numbers for outputs that take some values together: each n-gram has a weight for each.
    pub fn new(n_values: usize) -> Self {
        let n_values = n_values.max(1);
        Self { words: (1_000_000 / n_values).clamp(20_000, 100_000), characters: (400_000 / n_values).clamp(5_000, 20_000) }
    }
}

/// Number of texts up to which n-grams of words that occur once are used, too: they link rows to few others, such as the same product
/// in another color.
const MAX_WITH_RARE: usize = 20_000;

/// Maximum number of texts that n-grams are fitted to: a sample spread over the rows.
const MAX_TEXTS: usize = 50_000;

impl TextTerms {
    /// Fits n-grams to the texts of training rows.
    pub fn fit(texts: &[String], max: MaxTerms) -> Self {
        let stride = texts.len().div_ceil(MAX_TEXTS).max(1);
        let sample: Vec<&str> = texts.iter().step_by(stride).map(String::as_str).filter(|text| !text.is_empty()).collect();
        let min_df = min_document_frequency(sample.len());
        let min_df_of_words = if sample.len() <= MAX_WITH_RARE { 1 } else { min_df };
        let words = TfidfOptions { ngrams: Ngrams::Words { min: 1, max: 2 }, min_df: min_df_of_words, max_features: max.words };
        let characters = TfidfOptions { ngrams: Ngrams::Characters { min: 3, max: 5 }, min_df, max_features: max.characters };
        Self { words: Tfidf::fit(&sample, words), characters: Tfidf::fit(&sample, characters) }
    }

    /// Returns the number of n-grams.
    pub fn n_cols(&self) -> usize {
        self.words.n_cols() + self.characters.n_cols()
    }

    /// Returns the values of the n-grams of each text.
    pub fn transform(&self, texts: &[&str]) -> SparseRows {
        let (words, characters) = (self.words.transform(texts), self.characters.transform(texts));
        let mut rows = SparseRows::new(self.n_cols());
        for row in 0..texts.len() {
            let of_characters = characters.pairs(row).map(|(column, value)| (words.n_cols() + column, value));
            rows.push_row(words.pairs(row).chain(of_characters).map(|(column, value)| (column as u32, value)));
        }
        rows
    }
}

/// Number of statistics of a text.
pub(crate) const N_STATISTICS: usize = 6;

/// Writes statistics of a text: characters, words, mean length of a word, and the shares of digits, capitals and punctuation.
pub(crate) fn write_statistics(text: &str, out: &mut [f32]) {
    let n_chars = text.chars().count().max(1) as f32;
    let n_words = text.split_whitespace().count() as f32;
    let share = |is: fn(char) -> bool| text.chars().filter(|c| is(*c)).count() as f32 / n_chars;
    let statistics = [
        n_chars,
        n_words,
        n_chars / n_words.max(1.0),
        share(char::is_numeric),
        share(char::is_uppercase),
        share(|c| c.is_ascii_punctuation()),
    ];
    out.copy_from_slice(&statistics);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statistics_count_characters_and_words() {
        let mut statistics = [0.0; N_STATISTICS];
        write_statistics("A b, 12", &mut statistics);
        assert_eq!(statistics, [7.0, 3.0, 7.0 / 3.0, 2.0 / 7.0, 1.0 / 7.0, 1.0 / 7.0]);
    }

    #[test]
    fn equal_texts_have_equal_terms_and_unknown_ones_none() {
        let texts = ["red apple", "green apple", "red pear"].map(str::to_owned);
        let terms = TextTerms::fit(&texts, MaxTerms::new(1));
        let rows = terms.transform(&["red apple", "red apple", "xyzzy", ""]);
        assert_eq!(rows.row(0), rows.row(1));
        assert_eq!((rows.row(2).0.len(), rows.row(3).0.len()), (0, 0));
        assert_eq!(rows.n_cols(), terms.n_cols());
    }
}
