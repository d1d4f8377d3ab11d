//! TF-IDF: texts as sparse vectors of unit length, in which frequent n-grams count less.

use std::collections::HashMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::Ngrams;
use super::frequencies::document_frequencies;
use crate::{AlgoError, SparseRows};

/// Options of a vectorizer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TfidfOptions {
    /// Which n-grams are counted.
    pub ngrams: Ngrams,
    /// An n-gram that occurs in fewer texts gets no column.
    pub min_df: usize,
    /// Most columns; the n-grams that occur in most texts are kept, in alphabetical order where as many texts have them.
    pub max_features: usize,
}

/// Returns the usual [`TfidfOptions::min_df`] for a number of texts: 2, or 1 for fewer than 300, of which every word counts.
pub fn min_document_frequency(n_texts: usize) -> usize {
    if n_texts < 300 { 1 } else { 2 }
}

/// A fitted vectorizer, `TfidfVectorizer(sublinear_tf=True)` of scikit-learn: the value of an n-gram is
/// `(1 + ln(count)) * idf`, `idf = ln((1 + texts) / (1 + texts with it)) + 1`, and each row is divided by its length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Vocabulary", into = "Vocabulary")]
pub struct Tfidf {
    vocabulary: Vocabulary,
    /// The column of each n-gram.
    columns: HashMap<Box<str>, u32>,
}

/// What a vectorizer learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Vocabulary {
    /// Which n-grams are counted.
    pub ngrams: Ngrams,
    /// The n-gram of each column, in ascending order.
    pub terms: Vec<Box<str>>,
    /// The inverse document frequency of each column.
    pub idf: Vec<f32>,
}

impl TryFrom<Vocabulary> for Tfidf {
    type Error = AlgoError;

    fn try_from(vocabulary: Vocabulary) -> Result<Self, AlgoError> {
        vocabulary.check().map_err(AlgoError::StoredModel)?;
        let columns = vocabulary.terms.iter().cloned().zip(0..).collect();
        Ok(Self { vocabulary, columns })
    }
}

impl From<Tfidf> for Vocabulary {
    fn from(tfidf: Tfidf) -> Self {
        tfidf.vocabulary
    }
}

impl Vocabulary {
    fn check(&self) -> Result<(), &'static str> {
        if !self.ngrams.is_valid() {
            return Err("n-grams have from 1 to 16 words or characters");
        }
        if self.terms.len() != self.idf.len() || self.terms.len() > u32::MAX as usize {
            return Err("each n-gram needs one inverse document frequency");
        }
        if !self.terms.is_sorted_by(|a, b| a < b) {
            return Err("n-grams are not in ascending order");
        }
        let is_valid = |idf: &f32| idf.is_finite() && *idf > 0.0;
        if self.idf.iter().all(is_valid) { Ok(()) } else { Err("an inverse document frequency is not positive") }
    }
}

impl Tfidf {
    /// Counts the n-grams of the texts and chooses those that get a column.
    ///
    /// At most about a million different n-grams are counted at once; beyond, the rarest are dropped along the way.
    ///
    /// # Panics
    /// If the lengths of n-grams are not ascending, below 1 or above 16.
    pub fn fit(texts: &[&str], options: TfidfOptions) -> Self {
        let ngrams = options.ngrams;
        assert!(ngrams.is_valid(), "{ngrams:?}");
        let mut found: Vec<(Box<str>, u32)> = document_frequencies(texts, ngrams).into_iter().collect();
        found.retain(|(_, frequency)| *frequency as usize >= options.min_df);
        found.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        found.truncate(options.max_features.min(u32::MAX as usize));
        found.sort_unstable();
        let idf = |frequency: u32| ((1.0 + texts.len() as f64) / (1.0 + f64::from(frequency))).ln() as f32 + 1.0;
        let (terms, idf): (Vec<_>, Vec<_>) = found.into_iter().map(|(term, frequency)| (term, idf(frequency))).unzip();
        let columns = terms.iter().cloned().zip(0..).collect();
        Self { vocabulary: Vocabulary { ngrams, terms, idf }, columns }
    }

    /// Returns the n-grams and their inverse document frequencies.
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// Returns the number of columns.
    pub fn n_cols(&self) -> usize {
        self.vocabulary.terms.len()
    }

    /// Turns each text into a row, `[texts, n_cols]`. A text without known n-grams is a row of zeros.
    pub fn transform(&self, texts: &[&str]) -> SparseRows {
        let vectors: Vec<Vec<(u32, f32)>> = texts.par_iter().map(|text| self.vector(text)).collect();
        let mut rows = SparseRows::new(self.n_cols());
        vectors.into_iter().for_each(|vector| rows.push_row(vector));
        rows
    }

    /// Returns the columns and values of one text.
    fn vector(&self, text: &str) -> Vec<(u32, f32)> {
        let mut columns = Vec::new();
        self.vocabulary.ngrams.for_each(text, |ngram| columns.extend(self.columns.get(ngram)));
        columns.sort_unstable();
        let value = |column: u32, count: usize| (1.0 + (count as f32).ln()) * self.vocabulary.idf[column as usize];
        let runs = columns.chunk_by(|a, b| a == b);
        let mut vector: Vec<(u32, f32)> = runs.map(|run| (run[0], value(run[0], run.len()))).collect();
        let length = vector.iter().map(|(_, value)| f64::from(value * value)).sum::<f64>().sqrt() as f32;
        vector.iter_mut().for_each(|(_, value)| *value /= length);
        vector
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: TfidfOptions = TfidfOptions { ngrams: Ngrams::Words { min: 1, max: 2 }, min_df: 1, max_features: 100 };

    #[test]
    fn columns_are_the_most_frequent_ngrams_in_alphabetical_order() {
        let texts = ["red blue", "red green", "red blue"];
        let terms = |options| Tfidf::fit(&texts, options).vocabulary().terms.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(terms(WORDS), ["blue", "green", "red", "red blue", "red green"]);
        assert_eq!(terms(TfidfOptions { min_df: 2, ..WORDS }), ["blue", "red", "red blue"]);
        assert_eq!(terms(TfidfOptions { max_features: 2, ..WORDS }), ["blue", "red"]);
    }

    #[test]
    fn rows_have_unit_length_and_unknown_texts_are_zero() {
        let tfidf = Tfidf::fit(&["red red blue", "green"], WORDS);
        let rows = tfidf.transform(&["red red red", "violet", "blue green"]);
        assert_eq!(rows.row(1), (&[][..], &[][..]));
        for row in [0, 2] {
            let length: f32 = rows.row(row).1.iter().map(|value| value * value).sum();
            assert!((length - 1.0).abs() < 1e-6, "{length}");
        }
    }

    #[test]
    fn texts_without_ngrams_give_no_columns() {
        let tfidf = Tfidf::fit(&["", "?!"], WORDS);
        assert_eq!((tfidf.n_cols(), tfidf.transform(&["a text"]).n_values()), (0, 0));
    }

    #[test]
    fn a_stored_vectorizer_is_checked() {
        let tfidf = Tfidf::fit(&["red blue", "red"], WORDS);
        let stored = serde_json::to_string(&tfidf).unwrap();
        assert_eq!(serde_json::from_str::<Tfidf>(&stored).unwrap(), tfidf);
        let refused = |change: &dyn Fn(&mut Vocabulary)| {
            let mut vocabulary = tfidf.vocabulary().clone();
            change(&mut vocabulary);
            let stored = serde_json::to_string(&vocabulary).unwrap();
            serde_json::from_str::<Tfidf>(&stored).unwrap_err().to_string()
        };
        assert!(refused(&|it| it.terms.swap(0, 1)).contains("n-grams are not in ascending order"));
        assert!(refused(&|it| it.idf.clear()).contains("each n-gram needs one"));
        assert!(refused(&|it| it.idf[0] = -1.0).contains("not positive"));
        assert!(refused(&|it| it.ngrams = Ngrams::Words { min: 1, max: 1 << 40 }).contains("from 1 to 16"));
    }

    #[test]
    fn few_texts_keep_words_that_occur_once() {
        assert_eq!((min_document_frequency(299), min_document_frequency(300)), (1, 2));
    }
}
