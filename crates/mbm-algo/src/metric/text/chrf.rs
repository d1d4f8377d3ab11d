//! chrF and chrF++ (Popović 2015, 2017) as in sacrebleu: F-scores of character n-grams, for chrF++ also of word n-grams.

use rayon::prelude::*;

use super::TextSamples;
use super::ngrams::{n_shared, ngrams};

const CHARACTER_ORDER: usize = 6;
const WORD_ORDER: usize = 2;
const N_ORDERS: usize = CHARACTER_ORDER + WORD_ORDER;

/// Recall is weighted twice as much as precision (beta 2).
const BETA_SQUARED: f64 = 4.0;

/// For each order, the numbers of n-grams of a text, of its reference and of both.
type Counts = [[usize; 3]; N_ORDERS];

/// The characters and words of a text.
struct Text {
    characters: Vec<char>,
    words: Vec<String>,
}

/// Computes chrF over all rows, from 0 to 100; chrF++ with `word_order` 2.
pub fn chrf(written: &TextSamples, word_order: usize) -> Option<f64> {
    let rows = written.hypotheses.par_iter().zip(&written.references);
    let sum = rows
        .filter_map(|(text, references)| best_counts(text, references, word_order))
        .reduce(Counts::default, |a, b| std::array::from_fn(|order| std::array::from_fn(|of| a[order][of] + b[order][of])));
    (!written.hypotheses.is_empty()).then(|| score(&sum))
}

/// Returns the counts of the reference with the highest score; ties go to the first.
fn best_counts(text: &str, references: &[String], word_order: usize) -> Option<Counts> {
    let text = Text::new(text);
    let all = references.iter().map(|reference| counts(&text, &Text::new(reference), word_order));
    all.map(|counts| (score(&counts), counts)).reduce(|best, other| if other.0 > best.0 { other } else { best }).map(|it| it.1)
}

impl Text {
    fn new(text: &str) -> Self {
        let characters = text.chars().filter(|c| !c.is_whitespace()).collect();
        Self { characters, words: text.split_whitespace().flat_map(split_punctuation).collect() }
    }
}

/// Splits a punctuation mark off the end of a word or, failing that, off its start.
fn split_punctuation(word: &str) -> Vec<String> {
    let is_punctuation = |c: Option<char>| c.is_some_and(|c| c.is_ascii_punctuation());
    let (first, last) = (word.chars().next(), word.chars().next_back());
    if word.chars().count() == 1 {
        vec![word.to_owned()]
    } else if is_punctuation(last) {
        vec![word[..word.len() - 1].to_owned(), word[word.len() - 1..].to_owned()]
    } else if is_punctuation(first) {
        vec![word[..1].to_owned(), word[1..].to_owned()]
    } else {
        vec![word.to_owned()]
    }
}

fn counts(text: &Text, reference: &Text, word_order: usize) -> Counts {
    fn of<T: Eq + std::hash::Hash>(text: &[T], reference: &[T], n: usize) -> [usize; 3] {
        let (n_text, n_reference) = ((text.len() + 1).saturating_sub(n), (reference.len() + 1).saturating_sub(n));
        let shared = n_shared(&ngrams(text, n), &ngrams(reference, n));
        // Without reference n-grams, those of the text do not count.
        [if n_reference == 0 { 0 } else { n_text }, n_reference, shared]
    }
    std::array::from_fn(|order| {
        if order < CHARACTER_ORDER {
            of(&text.characters, &reference.characters, order + 1)
        } else if order - CHARACTER_ORDER < word_order {
            of(&text.words, &reference.words, order - CHARACTER_ORDER + 1)
        } else {
            [0; 3]
        }
    })
}

/// Computes the F-score of the mean precision and the mean recall over the orders that both texts have.
fn score(counts: &Counts) -> f64 {
    let both = || counts.iter().filter(|[text, reference, _]| *text > 0 && *reference > 0);
    let n = both().count().max(1) as f64;
    let precision = both().map(|[text, _, shared]| *shared as f64 / *text as f64).sum::<f64>() / n;
    let recall = both().map(|[_, reference, shared]| *shared as f64 / *reference as f64).sum::<f64>() / n;
    let bottom = BETA_SQUARED * precision + recall;
    if bottom > 0.0 { 100.0 * (1.0 + BETA_SQUARED) * precision * recall / bottom } else { 0.0 }
}
