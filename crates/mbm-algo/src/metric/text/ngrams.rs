//! Counts of n-grams.

use std::collections::HashMap;
use std::hash::Hash;

/// Counts the n-grams of order `n`.
pub fn ngrams<T: Eq + Hash>(tokens: &[T], n: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::with_capacity(tokens.len());
    for ngram in tokens.windows(n) {
        *counts.entry(ngram).or_insert(0) += 1;
    }
    counts
}

/// Returns the number of n-grams that both sides have, with multiplicity.
pub fn n_shared<T: Eq + Hash>(one: &HashMap<&[T], usize>, other: &HashMap<&[T], usize>) -> usize {
    one.iter().filter_map(|(ngram, count)| other.get(ngram).map(|others| (*count).min(*others))).sum()
}
