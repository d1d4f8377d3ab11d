//! How texts are searched for.

use mbm_config::settings;

settings! {
    /// How texts are searched for.
    pub struct DecodingSettings {
        /// Texts that are followed side by side; 1 is greedy.
        beam_width: usize = 1 => 1..=64;
        /// A text's score is its log-probability divided by its length to this power; above 0 long texts gain.
        length_penalty: f64 = 1.0 => -10.0..=10.0;
        /// Texts that are given, the best first.
        num_return_sequences: usize = 1 => 1..=64;
        /// Whether tokens are drawn by their probabilities.
        do_sample: bool = false;
        /// What scores are divided by before tokens are drawn.
        temperature: f64 = 1.0 => 0.01..=100.0;
        /// Only so many of the likeliest tokens are drawn from; 0 for all.
        top_k: usize = 0 => 0..=1_000_000;
        /// Only the likeliest tokens that together have this probability are drawn from (Holtzman et al. 2020).
        top_p: f64 = 1.0 => 0.001..=1.0;
        /// Runs of so many tokens that occur once at most; 0 for no such rule.
        no_repeat_ngram_size: usize = 0 => 0..=100;
        /// Tokens that a text has at least.
        min_length: usize = 0 => 0..=16_384;
        /// Tokens that a text has at most; as many as the longest training text where not given.
        max_length: Option<usize> = None => 1..=16_384;
    }
}

/// Settings with all that a search needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoding {
    /// The settings.
    pub settings: DecodingSettings,
    /// Tokens that a text has at most.
    pub max_length: usize,
    /// Tokens that every text begins with.
    pub prefix: Vec<u32>,
    /// What draws are made from.
    pub seed: u64,
    /// Whether what is known of the tokens so far is kept; the same texts come out without.
    pub is_cached: bool,
}

/// A text that was found.
#[derive(Debug, Clone, PartialEq)]
pub struct Hypothesis {
    /// Its tokens, without the end.
    pub tokens: Vec<u32>,
    /// Its log-probability, divided by its length to the power of the penalty.
    pub score: f64,
}

impl Decoding {
    /// One text, the likeliest token at each step.
    pub fn make_greedy(&mut self) {
        let settings = &mut self.settings;
        (settings.beam_width, settings.num_return_sequences, settings.do_sample) = (1, 1, false);
    }

    /// Rows that a text in the making takes.
    pub(super) fn n_rows(&self) -> usize {
        let DecodingSettings { beam_width, num_return_sequences, do_sample, .. } = self.settings;
        if do_sample { num_return_sequences } else { beam_width.max(num_return_sequences) }
    }
}
