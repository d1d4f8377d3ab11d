//! Corpus BLEU (Papineni et al. 2002) as in sacrebleu (Post 2018): n-grams up to order 4, `exp` smoothing.

use std::collections::HashMap;

use rayon::prelude::*;

use super::TextSamples;
use super::ngrams::{n_shared, ngrams};

const MAX_N: usize = 4;

/// A BLEU score with its signature.
#[derive(Debug, Clone, PartialEq)]
pub struct Bleu {
    /// From 0 to 100.
    pub score: f64,
    /// The settings that make scores comparable, in sacrebleu's format.
    pub signature: String,
}

/// Counts that are summed over rows.
#[derive(Default, Clone, Copy)]
struct Counts {
    n_words: usize,
    n_reference_words: usize,
    shared: [usize; MAX_N],
    all: [usize; MAX_N],
}

/// Computes the score of all rows; `None` for no rows.
pub fn bleu(written: &TextSamples) -> Option<Bleu> {
    let rows = written.hypotheses.par_iter().zip(&written.references);
    let counts = rows.map(|(text, references)| row(written, text, references)).reduce(Counts::default, Counts::add);
    (!written.hypotheses.is_empty()).then(|| Bleu { score: counts.score(), signature: signature(written) })
}

fn signature(written: &TextSamples) -> String {
    let mut numbers = written.references.iter().map(Vec::len);
    let first = numbers.next().unwrap_or(1);
    let n_references = if numbers.all(|n| n == first) { first.to_string() } else { "var".to_owned() };
    let (words, version) = (written.words.name(), env!("CARGO_PKG_VERSION"));
    format!("nrefs:{n_references}|case:mixed|eff:no|tok:{words}|smooth:exp|version:mbm-{version}")
}

fn row(written: &TextSamples, text: &str, references: &[String]) -> Counts {
    let words = written.words.words(text);
    let references: Vec<Vec<String>> = references.iter().map(|reference| written.words.words(reference)).collect();
    let mut counts = Counts { n_words: words.len(), n_reference_words: nearest(words.len(), &references), ..Counts::default() };
    for n in 1..=MAX_N {
        let mut most: HashMap<&[String], usize> = HashMap::new();
        for (ngram, count) in references.iter().flat_map(|reference| ngrams(reference, n)) {
            let most = most.entry(ngram).or_insert(0);
            *most = count.max(*most);
        }
        counts.all[n - 1] = (words.len() + 1).saturating_sub(n);
        counts.shared[n - 1] = n_shared(&ngrams(&words, n), &most);
    }
    counts
}

/// Returns the length of the reference closest in length; ties go to the shorter.
fn nearest(n_words: usize, references: &[Vec<String>]) -> usize {
    references.iter().map(Vec::len).min_by_key(|length| (length.abs_diff(n_words), *length)).unwrap_or(0)
}

impl Counts {
    fn add(self, other: Self) -> Self {
        Self {
            n_words: self.n_words + other.n_words,
            n_reference_words: self.n_reference_words + other.n_reference_words,
            shared: std::array::from_fn(|n| self.shared[n] + other.shared[n]),
            all: std::array::from_fn(|n| self.all[n] + other.all[n]),
        }
    }

    /// The geometric mean of the precisions times the brevity penalty. Orders without a match count 1/2, 1/4, ... of a match.
    fn score(&self) -> f64 {
        if self.shared.iter().all(|shared| *shared == 0) {
            return 0.0;
        }
        let (mut log_sum, mut smoothing) = (0.0, 1.0);
        for (shared, all) in self.shared.iter().zip(&self.all) {
            if *all == 0 {
                return 0.0;
            }
            let shared = if *shared == 0 {
                smoothing *= 2.0;
                1.0 / smoothing
            } else {
                *shared as f64
            };
            log_sum += (shared / *all as f64).ln();
        }
        let brevity = (1.0 - self.n_reference_words as f64 / self.n_words as f64).min(0.0).exp();
        100.0 * brevity * (log_sum / MAX_N as f64).exp()
    }
}
