//! CIDEr-D (Vedantam, Zitnick and Parikh 2015) as in the package `pycocoevalcap`.

use std::collections::{HashMap, HashSet};

use rayon::prelude::*;

use super::TextSamples;
use super::ngrams::ngrams;

const MAX_N: usize = 4;

/// The standard deviation of the Gaussian length penalty, in words.
const SIGMA: f64 = 6.0;

/// TF-IDF weights of the n-grams of each order, the norm of each weight vector, and the number of word bigrams.
struct Weighted<'a> {
    weights: [HashMap<&'a [String], f64>; MAX_N],
    norms: [f64; MAX_N],
    n_pairs: usize,
}

/// Computes ten times the mean cosine similarity of TF-IDF weighted n-grams; `None` for fewer than two rows, where all weights
/// are zero.
pub fn cider_d(written: &TextSamples) -> Option<f64> {
    let n_rows = written.hypotheses.len();
    if n_rows < 2 {
        return None;
    }
    let texts: Vec<Vec<String>> = written.hypotheses.par_iter().map(|text| words(text)).collect();
    let references: Vec<Vec<Vec<String>>> =
        written.references.par_iter().map(|row| row.iter().map(|reference| words(reference)).collect()).collect();
    let rarity = Rarity::of(&references);
    let scores: Vec<f64> = texts
        .par_iter()
        .zip(&references)
        .map(|(text, references)| {
            let text = rarity.weigh(text);
            let sum: f64 = references.iter().map(|reference| similarity(&text, &rarity.weigh(reference))).sum();
            10.0 * sum / references.len().max(1) as f64
        })
        .collect();
    Some(scores.iter().sum::<f64>() / n_rows as f64)
}

/// Splits a text into lowercase words without punctuation.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    let cut = text.split(|c: char| !(c.is_alphanumeric() || c == '\'' || c == '-')).map(|word| word.trim_matches(['\'', '-']));
    cut.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Document frequencies: the number of rows whose references contain an n-gram.
struct Rarity<'a> {
    n_rows_with: HashMap<&'a [String], f64>,
    log_n_rows: f64,
}

impl<'a> Rarity<'a> {
    fn of(references: &'a [Vec<Vec<String>>]) -> Self {
        let mut n_rows_with = HashMap::new();
        for row in references {
            let all = row.iter().flat_map(|reference| (1..=MAX_N).flat_map(|n| reference.windows(n)));
            all.collect::<HashSet<_>>().into_iter().for_each(|ngram| *n_rows_with.entry(ngram).or_insert(0.0) += 1.0);
        }
        Self { n_rows_with, log_n_rows: (references.len() as f64).ln() }
    }

    fn weigh<'b>(&self, words: &'b [String]) -> Weighted<'b> {
        let weights = std::array::from_fn(|n| {
            let counts = ngrams(words, n + 1).into_iter();
            counts.map(|(ngram, count)| (ngram, count as f64 * self.inverse_frequency(ngram))).collect::<HashMap<_, _>>()
        });
        let norms = std::array::from_fn(|n| {
            let weights: &HashMap<&[String], f64> = &weights[n];
            weights.values().map(|weight| weight * weight).sum::<f64>().sqrt()
        });
        Weighted { weights, norms, n_pairs: words.len().saturating_sub(1) }
    }

    /// Returns the inverse document frequency of an n-gram.
    fn inverse_frequency(&self, ngram: &[String]) -> f64 {
        let n_rows = self.n_rows_with.get(ngram).copied().unwrap_or(0.0).max(1.0);
        self.log_n_rows - n_rows.ln()
    }
}

/// Computes the mean over orders of the clipped cosine similarity times the length penalty.
fn similarity(text: &Weighted, reference: &Weighted) -> f64 {
    let difference = text.n_pairs as f64 - reference.n_pairs as f64;
    let penalty = (-difference * difference / (2.0 * SIGMA * SIGMA)).exp();
    penalty * (0..MAX_N).map(|n| cosine(text, reference, n)).sum::<f64>() / MAX_N as f64
}

/// Computes the clipped cosine similarity of the n-grams of one order.
fn cosine(text: &Weighted, reference: &Weighted, n: usize) -> f64 {
    let sum: f64 = text.weights[n]
        .iter()
        .map(|(ngram, weight)| {
            let other = reference.weights[n].get(*ngram).copied().unwrap_or(0.0);
            weight.min(other) * other
        })
        .sum();
    let norms = text.norms[n] * reference.norms[n];
    if norms > 0.0 { sum / norms } else { sum }
}
