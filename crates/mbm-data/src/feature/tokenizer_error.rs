//! What is wrong with a `tokenizer.json`.

use std::time::Duration;

/// A `tokenizer.json` that is malformed or exceeds a limit.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerFileError {
    /// A file that is too large.
    #[error("{found} bytes, the limit for a tokenizer.json is {limit}")]
    TooLarge {
        /// Size in bytes.
        found: usize,
        /// Maximum size in bytes.
        limit: usize,
    },
    /// JSON that is nested too deeply.
    #[error("byte {at}: nested deeper than {} levels", mbm_config::MAX_DEPTH)]
    TooDeep {
        /// Position of the first byte that is too deep, starting at 1.
        at: usize,
    },
    /// Text that is not JSON.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// Components that the `tokenizers` crate rejects.
    #[error(transparent)]
    Rejected(#[from] tokenizers::Error),
    /// Components that the `tokenizers` crate panics on.
    #[error("its components contradict each other")]
    Contradictory,
    /// Components that fail on a text.
    #[error("its components contradict each other: it fails on a text")]
    FailsOnText,
    /// A component that exceeds a limit.
    #[error("{quantity}: {found}, the limit is {limit}")]
    Limit {
        /// What is limited.
        quantity: Quantity,
        /// Its value in the file.
        found: usize,
        /// Its maximum.
        limit: usize,
    },
    /// A character map that is not in SentencePiece's format.
    #[error("its precompiled_charsmap is damaged")]
    DamagedCharsmap,
    /// A regular expression that may take exponential time.
    #[error("the regular expression '{start}' repeats a group of repetitions or alternatives, which may take exponential time")]
    ExponentialRegex {
        /// The beginning of the expression.
        start: String,
    },
    /// A tokenizer that takes too long.
    #[error("texts of up to {n_bytes} bytes take it more than {limit:?}")]
    TooSlow {
        /// Length of the longest text that was tried.
        n_bytes: usize,
        /// The time limit.
        limit: Duration,
    },
}

/// A quantity of a `tokenizer.json` that is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Quantity {
    /// Bytes of the longest token.
    TokenBytes,
    /// The highest id of a vocabulary.
    HighestId {
        /// Number of its tokens.
        n_tokens: usize,
    },
    /// Characters of a word that WordPiece splits.
    WordLength,
    /// JSON values of a component.
    Values {
        /// The component, such as `normalizer`.
        component: &'static str,
    },
    /// Bytes of a regular expression.
    RegexBytes,
    /// Positions of the post-processor at which the text is inserted.
    Insertions,
    /// Factor by which the decoder may lengthen a text.
    DecoderGrowth,
    /// Factor by which normalizer and pre-tokenizer may lengthen a text.
    Growth,
}

impl std::fmt::Display for Quantity {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TokenBytes => out.write_str("bytes in a token"),
            Self::HighestId { n_tokens } => write!(out, "highest id among {n_tokens} tokens"),
            Self::WordLength => out.write_str("max_input_chars_per_word"),
            Self::Values { component } => write!(out, "values in {component}"),
            Self::RegexBytes => out.write_str("bytes in a regular expression"),
            Self::Insertions => out.write_str("insertions of the text in post_processor"),
            Self::DecoderGrowth => out.write_str("growth factor of a text in decoder"),
            Self::Growth => out.write_str("growth factor of a text in normalizer and pre_tokenizer"),
        }
    }
}

impl Quantity {
    /// Returns an error unless `found` is at most `limit`.
    pub(super) fn at_most(self, found: usize, limit: usize) -> Result<(), TokenizerFileError> {
        if found <= limit { Ok(()) } else { Err(TokenizerFileError::Limit { quantity: self, found, limit }) }
    }
}
