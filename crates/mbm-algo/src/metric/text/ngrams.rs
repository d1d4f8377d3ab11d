//! Counts of n-grams.

use std::collections::HashMap;
use std::hash::Hash;

/// How often each run of `n` tokens occurs.
pub fn ngrams<T: Eq + Hash>(tokens: &[T], n: usize) -> HashMap<&[T], usize> {
    let mut counts = HashMap::with_capacity(tokens.len());
    for ngram in tokens.windows(n) {
        *counts.entry(ngram).or_insert(0) += 1;
    }
    counts
}

/// N-grams of one that the other has, too, as often as both have them.
pub fn n_shared<T: Eq + Hash>(one: &HashMap<&[T], usize>, other: &HashMap<&[T], usize>) -> usize {
    one.iter().filter_map(|(ngram, count)| other.get(ngram).map(|others| (*count).min(*others))).sum()
}
