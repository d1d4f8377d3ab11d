//! Document frequencies: the number of texts in which each n-gram occurs.

use std::collections::HashMap;

use rayon::prelude::*;

use super::Ngrams;

/// Most n-grams that are counted at once, about 100 MB of them.
const MAX_COUNTED: usize = 1 << 20;
/// Number of bytes of text after which a part ends; its n-grams are counted apart and then added to the others.
const PART_BYTES: usize = 1 << 18;
/// Number of parts that are counted in parallel.
const PARALLEL_PARTS: usize = 8;

/// Counts the texts in which each n-gram occurs.
///
/// Beyond about a million different n-grams, the rarest are dropped along the way, so that an n-gram which is rare throughout
/// may have a frequency that is too low (as in lossy counting, Manku and Motwani 2002). The result does not depend on the
/// number of threads.
pub(super) fn document_frequencies(texts: &[&str], ngrams: Ngrams) -> HashMap<Box<str>, u32> {
    count_up_to(MAX_COUNTED, texts, ngrams)
}

fn count_up_to(max_counted: usize, texts: &[&str], ngrams: Ngrams) -> HashMap<Box<str>, u32> {
    let mut frequencies: HashMap<Box<str>, u32> = HashMap::new();
    for group in parts(texts).chunks(PARALLEL_PARTS) {
        let counted: Vec<_> = group.par_iter().map(|texts| count_part(texts, ngrams)).collect();
        for (ngram, seen) in counted.into_iter().flatten() {
            *frequencies.entry(ngram).or_default() += seen.n_texts;
        }
        prune(&mut frequencies, max_counted);
    }
    frequencies
}

/// Splits texts into runs of about [`PART_BYTES`].
fn parts<'a>(texts: &'a [&'a str]) -> Vec<&'a [&'a str]> {
    let (mut parts, mut start, mut n_bytes) = (Vec::new(), 0, 0);
    for (at, text) in texts.iter().enumerate() {
        n_bytes += text.len();
        if n_bytes >= PART_BYTES {
            parts.push(&texts[start..=at]);
            (start, n_bytes) = (at + 1, 0);
        }
    }
    parts.push(&texts[start..]);
    parts
}

/// The number of texts that had an n-gram, and the last of them.
struct Seen {
    n_texts: u32,
    last: usize,
}

fn count_part(texts: &[&str], ngrams: Ngrams) -> HashMap<Box<str>, Seen> {
    let mut counts: HashMap<Box<str>, Seen> = HashMap::new();
    for (at, text) in texts.iter().enumerate() {
        ngrams.for_each(text, |ngram| match counts.get_mut(ngram) {
            Some(seen) if seen.last == at => {}
            Some(seen) => *seen = Seen { n_texts: seen.n_texts + 1, last: at },
            None => {
                counts.insert(ngram.into(), Seen { n_texts: 1, last: at });
            }
        });
    }
    counts
}

/// Drops the rarest n-grams if there are too many, until at most half the limit is left.
fn prune(frequencies: &mut HashMap<Box<str>, u32>, max_counted: usize) {
    if frequencies.len() <= max_counted {
        return;
    }
    let mut rarest = 1;
    while frequencies.len() > max_counted / 2 {
        frequencies.retain(|_, frequency| *frequency > rarest);
        rarest *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: Ngrams = Ngrams::Words { min: 1, max: 1 };

    #[test]
    fn an_ngram_counts_once_per_text() {
        let frequencies = document_frequencies(&["red red blue", "red", ""], WORDS);
        assert_eq!(frequencies.len(), 2);
        assert_eq!((frequencies["red"], frequencies["blue"]), (2, 1));
    }

    #[test]
    fn frequent_ngrams_survive_the_limit() {
        let texts: Vec<String> = (0..20_000).map(|row| format!("common{} rare{row} {}", row % 3, "x".repeat(400))).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let frequencies = count_up_to(1000, &texts, WORDS);
        assert!(frequencies.len() <= 1000, "{}", frequencies.len());
        let n_common: u32 = (0..3).map(|which| frequencies[format!("common{which}").as_str()]).sum();
        assert_eq!(n_common, 20_000);
    }

    #[test]
    fn long_texts_are_split_into_parts() {
        let long = "word ".repeat(PART_BYTES / 5 + 1);
        let texts = [long.as_str(), "a", long.as_str(), "b"];
        assert_eq!(parts(&texts).iter().map(|part| part.len()).collect::<Vec<_>>(), [1, 2, 1]);
        assert_eq!(count_up_to(10, &texts, WORDS)["word"], 2);
    }
}
