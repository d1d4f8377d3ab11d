//! Texts as sparse vectors: the n-grams of words or characters, weighted by TF-IDF.

mod frequencies;
mod ngrams;
mod tfidf;

pub use ngrams::Ngrams;
pub use tfidf::{Tfidf, TfidfOptions, Vocabulary, min_document_frequency};
