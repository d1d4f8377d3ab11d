//! METEOR (Lavie and Agarwal 2007) with exact and stem matches, as in NLTK: the mean over rows of the best reference's score.

use std::collections::HashMap;

use rayon::prelude::*;
use rust_stemmers::{Algorithm, Stemmer};

use super::{TextSamples, WordCut};

/// Computes METEOR, from 0 to 1, with lowercase `13a` words and the English Snowball stemmer.
pub fn meteor(written: &TextSamples) -> Option<f64> {
    let stemmer = Stemmer::create(Algorithm::English);
    let rows = written.hypotheses.par_iter().zip(&written.references);
    let scores = rows.map(|(text, references)| {
        let text = words(text);
        references.iter().map(|reference| score(&text, &words(reference), &stemmer)).fold(0.0, f64::max)
    });
    let sum: f64 = scores.collect::<Vec<_>>().iter().sum();
    (!written.hypotheses.is_empty()).then(|| sum / written.hypotheses.len() as f64)
}

fn words(text: &str) -> Vec<String> {
    WordCut::Mteval13a.words(&text.to_lowercase())
}

fn score(text: &[String], reference: &[String], stemmer: &Stemmer) -> f64 {
    let matches = matches(text, reference, stemmer);
    if matches.is_empty() {
        return 0.0;
    }
    let n = matches.len() as f64;
    let (precision, recall) = (n / text.len() as f64, n / reference.len() as f64);
    let mean = precision * recall / (0.9 * precision + 0.1 * recall);
    let n_chunks = n - matches.windows(2).filter(|pair| pair[1].0 == pair[0].0 + 1 && pair[1].1 == pair[0].1 + 1).count() as f64;
    (1.0 - 0.5 * (n_chunks / n).powi(3)) * mean
}

/// Returns the positions of matching words, ascending in the text: equal words first, then words with equal stems among the rest.
fn matches(text: &[String], reference: &[String], stemmer: &Stemmer) -> Vec<(usize, usize)> {
    let numbered = |words: &[String]| words.iter().cloned().enumerate().collect::<Vec<_>>();
    let stemmed = |words: Vec<(usize, String)>| {
        words.into_iter().map(|(at, word)| (at, stemmer.stem(&word).into_owned())).collect::<Vec<_>>()
    };
    let (mut found, text, reference) = equals(numbered(text), numbered(reference));
    found.extend(equals(stemmed(text), stemmed(reference)).0);
    found.sort_unstable();
    found
}

type Words = Vec<(usize, String)>;

/// Pairs each word, from the end, with the last unmatched equal word; returns the pairs and the unmatched words of both sides.
fn equals(text: Words, reference: Words) -> (Vec<(usize, usize)>, Words, Words) {
    let mut places: HashMap<&str, Vec<usize>> = HashMap::new();
    reference.iter().enumerate().for_each(|(at, (_, word))| places.entry(word).or_default().push(at));
    let mut taken = vec![false; reference.len()];
    let mut pairs = Vec::new();
    let mut rest = Vec::new();
    for (at, word) in text.iter().rev() {
        match places.get_mut(word.as_str()).and_then(Vec::pop) {
            Some(place) => {
                taken[place] = true;
                pairs.push((*at, reference[place].0));
            }
            None => rest.push((*at, word.clone())),
        }
    }
    rest.reverse();
    let left = reference.iter().zip(&taken).filter(|(_, is_taken)| !**is_taken).map(|(word, _)| word.clone()).collect();
    (pairs, rest, left)
}
