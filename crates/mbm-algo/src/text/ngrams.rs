//! The n-grams of a text.

use serde::{Deserialize, Serialize};

/// Which n-grams of a text are counted. Texts are in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ngrams {
    /// Sequences of words, joined by a space. A word is two or more letters, digits or underscores in a row, of any script.
    Words {
        /// Length of the shortest sequence.
        min: usize,
        /// Length of the longest sequence.
        max: usize,
    },
    /// Sequences of characters within words and the spaces around them; a word is what lies between spaces (`char_wb` of
    /// scikit-learn).
    Characters {
        /// Length of the shortest sequence.
        min: usize,
        /// Length of the longest sequence.
        max: usize,
    },
}

/// The longest n-grams that a stored vectorizer may have.
const MAX_LENGTH: usize = 16;

impl Ngrams {
    /// Whether the lengths are usable: from 1, ascending, at most 16.
    pub(super) fn is_valid(self) -> bool {
        let (Self::Words { min, max } | Self::Characters { min, max }) = self;
        1 <= min && min <= max && max <= MAX_LENGTH
    }

    /// Calls a function with each n-gram of a text, as often as it occurs.
    pub(super) fn for_each(self, text: &str, visit: impl FnMut(&str)) {
        let text = text.to_lowercase();
        match self {
            Self::Words { min, max } => for_each_of_words(&text, min, max, visit),
            Self::Characters { min, max } => for_each_of_characters(&text, min, max, visit),
        }
    }
}

fn for_each_of_words(text: &str, min: usize, max: usize, mut visit: impl FnMut(&str)) {
    let is_separator = |c: char| !(c.is_alphanumeric() || c == '_');
    let words: Vec<&str> = text.split(is_separator).filter(|word| word.chars().nth(1).is_some()).collect();
    let mut joined = String::new();
    for first in 0..words.len() {
        joined.clear();
        for (n, word) in words[first..].iter().enumerate().take(max) {
            joined.extend([if n > 0 { " " } else { "" }, word]);
            if n + 1 >= min {
                visit(&joined);
            }
        }
    }
}

fn for_each_of_characters(text: &str, min: usize, max: usize, mut visit: impl FnMut(&str)) {
    let (mut padded, mut bounds) = (String::new(), Vec::new());
    for word in text.split_whitespace() {
        padded.clear();
        padded.extend([" ", word, " "]);
        bounds.clear();
        bounds.extend(padded.char_indices().map(|(at, _)| at).chain([padded.len()]));
        let n_characters = bounds.len() - 1;
        for n in min..=max {
            // A word that is not longer is counted once.
            if n >= n_characters {
                visit(&padded);
                break;
            }
            bounds.windows(n + 1).for_each(|window| visit(&padded[window[0]..window[n]]));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ngrams(of: Ngrams, text: &str) -> Vec<String> {
        let mut found = Vec::new();
        of.for_each(text, |ngram| found.push(ngram.to_owned()));
        found
    }

    #[test]
    fn words_of_one_letter_are_left_out() {
        let found = ngrams(Ngrams::Words { min: 1, max: 2 }, "A big-blue Haus_2, é 東京!");
        assert_eq!(found, ["big", "big blue", "blue", "blue haus_2", "haus_2", "haus_2 東京", "東京"]);
        assert_eq!(ngrams(Ngrams::Words { min: 2, max: 3 }, "one two three"), ["one two", "one two three", "two three"]);
    }

    #[test]
    fn characters_do_not_cross_words_and_short_words_count_once() {
        let found = ngrams(Ngrams::Characters { min: 2, max: 4 }, "Äb  c");
        assert_eq!(found, [" ä", "äb", "b ", " äb", "äb ", " äb ", " c", "c ", " c "]);
        assert_eq!(ngrams(Ngrams::Characters { min: 5, max: 6 }, "ab"), [" ab "]);
    }

    #[test]
    fn lengths_are_checked() {
        let valid = |min, max| Ngrams::Words { min, max }.is_valid() && Ngrams::Characters { min, max }.is_valid();
        assert!(valid(1, 1) && valid(2, 5) && valid(1, 16));
        assert!(!valid(0, 1) && !valid(3, 2) && !valid(1, 17));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_cut(text: String) {
            for of in [Ngrams::Words { min: 1, max: 2 }, Ngrams::Characters { min: 2, max: 5 }] {
                proptest::prop_assert!(ngrams(of, &text).iter().all(|ngram| !ngram.is_empty()));
            }
        }
    }
}
