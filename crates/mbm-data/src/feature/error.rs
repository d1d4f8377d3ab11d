//! Errors of features as a whole: those that cannot be fitted, and fitted ones that fitting cannot have produced. A single bad
//! cell is neither: see [`crate::Fault`].

use std::path::PathBuf;

use super::tokenizer_error::TokenizerFileError;
use crate::Fault;

/// Why a feature cannot be fitted on the training rows.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FitError {
    /// No training cell holds a value of the feature's type.
    #[error("no training cell holds a {0}")]
    NoValue(&'static str),
    /// No training cell can be read.
    #[error("no training {kind} can be read{}", first.as_ref().map(|fault| format!("; first error: {fault}")).unwrap_or_default())]
    Unreadable {
        /// What the cells hold, such as `image`.
        kind: &'static str,
        /// The fault of the first cell, if it is known.
        first: Option<Fault>,
    },
    /// A binary feature whose training rows do not have two values.
    #[error("a binary feature needs two values, the training rows have {}", .0.join(", "))]
    NotBinary(Vec<String>),
    /// `tokenizer: hf_tokenizer` without a file.
    #[error("preprocessing.vocab_file must name a tokenizer.json for tokenizer: hf_tokenizer")]
    NoVocabFile,
    /// A tokenizer file that cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The error of the operating system.
        source: std::io::Error,
    },
    /// A tokenizer file that is rejected.
    #[error("{}: {source}", path.display())]
    TokenizerFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: TokenizerFileError,
    },
    /// A vocabulary that cannot be trained.
    #[error(transparent)]
    Training(#[from] tokenizers::Error),
}

/// A fitted value that fitting cannot have produced: a bundle may be untrusted.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidFit {
    /// A value outside of its bounds.
    #[error("{0} is out of bounds")]
    OutOfBounds(&'static str),
    /// Clips that are too large as frames.
    #[error(transparent)]
    FramesTooLarge(#[from] FramesTooLarge),
}

/// Returns an error that names `value` unless the condition holds.
pub(super) fn ensure(holds: bool, value: &'static str) -> Result<(), InvalidFit> {
    if holds { Ok(()) } else { Err(InvalidFit::OutOfBounds(value)) }
}

/// Audio settings whose longest clip has more values than an encoder takes.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error(
    "{seconds} s would be {n_steps} frames of {width} values, the limit is {limit} values in all; increase window_shift_in_s or decrease audio_file_length_limit_in_s"
)]
pub struct FramesTooLarge {
    /// Maximum duration in seconds.
    pub seconds: f64,
    /// Number of frames of that duration.
    pub n_steps: usize,
    /// Number of values of a frame.
    pub width: usize,
    /// Maximum number of values in all.
    pub limit: usize,
}
