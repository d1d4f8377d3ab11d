//! Decoding settings and the hypotheses that a search returns.

use mbm_config::settings;

settings! {
    /// Settings of the search for texts: greedy, beam search or sampling.
    pub struct DecodingSettings {
        /// Number of texts followed in parallel; 1 for greedy search.
        beam_width: usize = 1 => 1..=64;
        /// A text's score is its log-probability divided by its length to this power; values above 0 favor long texts.
        length_penalty: f64 = 1.0 => -10.0..=10.0;
        /// Number of texts to return, best first.
        num_return_sequences: usize = 1 => 1..=64;
        /// Whether to sample tokens according to their probabilities.
        do_sample: bool = false;
        /// Temperature that scores are divided by before sampling.
        temperature: f64 = 1.0 => 0.01..=100.0;
        /// Number of most probable tokens to sample from; 0 for all.
        top_k: usize = 0 => 0..=1_000_000;
        /// Sample only from the most probable tokens whose probabilities add up to this value (Holtzman et al. 2020).
        top_p: f64 = 1.0 => 0.001..=1.0;
        /// Length of n-grams that may occur only once in a text; 0 for no restriction.
        no_repeat_ngram_size: usize = 0 => 0..=100;
        /// Minimum number of tokens of a text.
        min_length: usize = 0 => 0..=16_384;
        /// Maximum number of tokens of a text; defaults to the length of the longest training text.
        max_length: Option<usize> = None => 1..=16_384;
    }
}

/// Decoding settings with all other parameters of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoding {
    /// The settings.
    pub settings: DecodingSettings,
    /// Maximum number of tokens of a text.
    pub max_length: usize,
    /// Tokens that every text starts with.
    pub prefix: Vec<u32>,
    /// Seed for sampling.
    pub seed: u64,
    /// Whether to cache the network's state between tokens; the resulting texts are the same without a cache.
    pub is_cached: bool,
}

/// A text found by a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// The tokens of the text, without the end token.
    pub tokens: Vec<u32>,
    /// Log-probability divided by the length to the power of the length penalty.
    pub score: f64,
}

impl Decoding {
    /// Switches to greedy search: one text with the most probable token at each step.
    pub fn make_greedy(&mut self) {
        let settings = &mut self.settings;
        (settings.beam_width, settings.num_return_sequences, settings.do_sample) = (1, 1, false);
    }

    /// Returns the number of texts that a search follows per context.
    pub(super) fn n_rows(&self) -> usize {
        let DecodingSettings { beam_width, num_return_sequences, do_sample, .. } = self.settings;
        if do_sample { num_return_sequences } else { beam_width.max(num_return_sequences) }
    }
}
