//! ROUGE (Lin 2004) as in the package `rouge-score`, without stemming: the mean over rows of the F1 score of the best reference.

use rayon::prelude::*;

use super::TextSamples;
use super::ngrams::{n_shared, ngrams};

/// Computes the F1 score of shared n-grams of `n` words (ROUGE-N).
pub fn rouge_n(written: &TextSamples, n: usize) -> Option<f64> {
    mean_best(written, |text, reference| {
        let shared = n_shared(&ngrams(text, n), &ngrams(reference, n));
        let length = |words: &[String]| (words.len() + 1).saturating_sub(n);
        f(shared, length(text), length(reference))
    })
}

/// Computes the F1 score of the longest common subsequence (ROUGE-L).
pub fn rouge_l(written: &TextSamples) -> Option<f64> {
    mean_best(written, |text, reference| f(common(text, reference), text.len(), reference.len()))
}

fn mean_best(written: &TextSamples, score: impl Fn(&[String], &[String]) -> f64 + Sync) -> Option<f64> {
    let rows = written.hypotheses.par_iter().zip(&written.references);
    let scores = rows.map(|(text, references)| {
        let text = words(text);
        references.iter().map(|reference| score(&text, &words(reference))).fold(0.0, f64::max)
    });
    let sum: f64 = scores.collect::<Vec<_>>().iter().sum();
    (!written.hypotheses.is_empty()).then(|| sum / written.hypotheses.len() as f64)
}

/// Splits a text into lowercase runs of ASCII letters and digits.
fn words(text: &str) -> Vec<String> {
    let text = text.to_lowercase();
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn f(shared: usize, n_text: usize, n_reference: usize) -> f64 {
    let (precision, recall) = (shared as f64 / n_text.max(1) as f64, shared as f64 / n_reference.max(1) as f64);
    if precision + recall > 0.0 { 2.0 * precision * recall / (precision + recall) } else { 0.0 }
}

/// Returns the length of the longest common subsequence.
fn common(a: &[String], b: &[String]) -> usize {
    let mut row = vec![0; b.len() + 1];
    for token in a {
        let mut diagonal = 0;
        for (at, other) in b.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if token == other { diagonal + 1 } else { above.max(row[at]) };
            diagonal = above;
        }
    }
    row[b.len()]
}
