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

/// Maximum number of n-grams of words, and of characters.
const MAX_TERMS: usize = 20_000;

/// Maximum number of texts that n-grams are fitted to: a sample spread over the rows.
const MAX_TEXTS: usize = 50_000;

impl TextTerms {
    /// Fits n-grams to the texts of training rows.
    pub fn fit(texts: &[String]) -> Self {
        let stride = texts.len().div_ceil(MAX_TEXTS).max(1);
        let sample: Vec<&str> = texts.iter().step_by(stride).map(String::as_str).filter(|text| !text.is_empty()).collect();
        let fit = |ngrams| {
            let min_df = min_document_frequency(sample.len());
            Tfidf::fit(&sample, TfidfOptions { ngrams, min_df, max_features: MAX_TERMS })
        };
        Self { words: fit(Ngrams::Words { min: 1, max: 2 }), characters: fit(Ngrams::Characters { min: 3, max: 5 }) }
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
        let terms = TextTerms::fit(&texts);
        let rows = terms.transform(&["red apple", "red apple", "xyzzy", ""]);
        assert_eq!(rows.row(0), rows.row(1));
        assert_eq!((rows.row(2).0.len(), rows.row(3).0.len()), (0, 0));
        assert_eq!(rows.n_cols(), terms.n_cols());
    }
}
