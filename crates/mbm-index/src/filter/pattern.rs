//! `LIKE` patterns, in which `%` matches any number of characters and `_` matches one.

use std::collections::HashMap;

/// A pattern compiled to a bit-parallel automaton (Shift-And; Baeza-Yates and Gonnet 1992). State `i` means that `i` characters
/// of the pattern have been matched; a `%` is a state that loops. Matching takes one step of `n_words` words per character of the
/// text, whatever the pattern: there is no backtracking.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pattern {
    /// The pattern as written.
    pub text: String,
    /// Number of characters other than `%`, which is also the final state.
    n_chars: usize,
    n_words: usize,
    /// States that loop on every character.
    stays: Vec<u64>,
    /// For each distinct character of the pattern, the states from which it advances; the first entry is for every other
    /// character.
    steps: Vec<u64>,
    /// The entry of a character in `steps`.
    ascii: [u16; 128],
    others: HashMap<char, u16>,
}

impl Pattern {
    /// Compiles a pattern after converting it to lower case.
    pub fn new(text: &str) -> Self {
        let lower = text.to_lowercase();
        let chars: Vec<char> = lower.chars().filter(|c| *c != '%').collect();
        let n_words = chars.len() / 64 + 1;
        let (mut stays, mut state) = (vec![0; n_words], 0);
        for c in lower.chars() {
            if c == '%' { set(&mut stays, state) } else { state += 1 }
        }
        let mut any = vec![0; n_words];
        chars.iter().enumerate().filter(|(_, c)| **c == '_').for_each(|(state, _)| set(&mut any, state));
        let mut pattern = Self {
            text: text.to_owned(),
            n_chars: chars.len(),
            n_words,
            stays,
            steps: any.clone(),
            ascii: [0; 128],
            others: HashMap::new(),
        };
        for (state, c) in chars.into_iter().enumerate().filter(|(_, c)| *c != '_') {
            let at = pattern.states_of(c, &any) * n_words;
            set(&mut pattern.steps[at..at + n_words], state);
        }
        pattern
    }

    /// Returns the entry of a character in `steps`, adding it if needed.
    fn states_of(&mut self, c: char, any: &[u64]) -> usize {
        let next = (self.steps.len() / self.n_words) as u16;
        let own = match self.ascii.get_mut(c as usize) {
            Some(own) => own,
            None => self.others.entry(c).or_default(),
        };
        if *own == 0 {
            *own = next;
            self.steps.extend_from_slice(any);
        }
        usize::from(*own)
    }

    /// Whether a lower-case text matches.
    pub fn fits(&self, text: &str) -> bool {
        if self.n_words == 1 { self.fits_word(text) } else { self.fits_words(text) }
    }

    fn steps_of(&self, c: char) -> &[u64] {
        let number = self.ascii.get(c as usize).or_else(|| self.others.get(&c));
        let at = number.map_or(0, |number| usize::from(*number)) * self.n_words;
        &self.steps[at..at + self.n_words]
    }

    /// Matches patterns of fewer than 64 characters, which nearly all are.
    fn fits_word(&self, text: &str) -> bool {
        let (stays, mut states) = (self.stays[0], 1u64);
        for c in text.chars() {
            states = (states & self.steps_of(c)[0]) << 1 | states & stays;
            if states == 0 {
                return false;
            }
        }
        states >> self.n_chars & 1 == 1
    }

    fn fits_words(&self, text: &str) -> bool {
        let mut states = vec![0; self.n_words];
        states[0] = 1;
        for c in text.chars() {
            let (mut carry, mut is_over) = (0, true);
            for ((states, stays), steps) in states.iter_mut().zip(&self.stays).zip(self.steps_of(c)) {
                let found = *states & steps;
                *states = found << 1 | carry | *states & stays;
                (carry, is_over) = (found >> 63, is_over && *states == 0);
            }
            if is_over {
                return false;
            }
        }
        states[self.n_chars / 64] >> (self.n_chars % 64) & 1 == 1
    }
}

fn set(states: &mut [u64], state: usize) {
    states[state / 64] |= 1 << (state % 64);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Matches by the definition: % stands for any number of characters.
    fn fits(text: &[char], pattern: &[char]) -> bool {
        match pattern.split_first() {
            None => text.is_empty(),
            Some(('%', rest)) => (0..=text.len()).any(|skip| fits(&text[skip..], rest)),
            Some((it, rest)) => text.split_first().is_some_and(|(c, tail)| (*it == '_' || it == c) && fits(tail, rest)),
        }
    }

    fn chars(text: &str) -> Vec<char> {
        text.chars().collect()
    }

    #[test]
    fn case_is_ignored_in_every_script() {
        assert!(Pattern::new("GRÖ_e%漢").fits("größe von 漢"));
        assert!(!Pattern::new("gr_e").fits("größe"));
        assert!(Pattern::new("%").fits("") && Pattern::new("").fits("") && !Pattern::new("_").fits(""));
    }

    #[test]
    fn long_patterns_match_across_word_boundaries() {
        let text: String = ('a'..='z').cycle().take(300).collect();
        for (pattern, want) in [
            (text.clone(), true),
            (format!("{}%{}", &text[..130], &text[200..]), true),
            (format!("%{}_{}%", &text[60..100], &text[101..170]), true),
            (format!("{}%{}", &text[..130], &text[129..]), false),
            (format!("{text}_"), false),
        ] {
            assert_eq!(Pattern::new(&pattern).fits(&text), want, "{pattern}");
        }
    }

    #[test]
    fn matching_takes_linear_time() {
        // A matcher that backtracks to its last % takes a billion steps here, which is seconds; this one takes a million steps of
        // 16 words.
        let text = "a".repeat(1_000_000);
        let pattern = Pattern::new(&format!("%{}b", "a".repeat(998)));
        let started = std::time::Instant::now();
        assert!(!pattern.fits(&text));
        assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
    }

    proptest! {
        #[test]
        fn like_agrees_with_its_definition(text in "[abß]{0,6}", pattern in "[abß%_]{0,5}", n_before in 0usize..70) {
            let before = "c".repeat(n_before);
            let (text, pattern) = (format!("{before}{text}"), format!("{before}{pattern}"));
            prop_assert_eq!(Pattern::new(&pattern).fits(&text), fits(&chars(&text), &chars(&pattern)));
        }
    }
}
