//! Text features: sequences of token ids.

use std::path::{Path, PathBuf};

use mbm_config::{choices, settings};
use serde::{Deserialize, Serialize};

use super::tokenizer::{Tokenizer, TokenizerFitter};
use super::{FitError, Fitter, InvalidFit, Preprocess, Preprocessor, Shape, ensure, text_of};
use crate::{Cause, Cell, Fault, Payload};

choices! {
    /// How text is split into tokens.
    pub enum TokenizerKind {
        /// Words and single punctuation marks.
        SpacePunct = "space_punct",
        /// Single characters.
        Characters = "characters",
        /// Byte-level byte-pair encoding, trained on the training rows: no text is unknown.
        Bpe = "bpe",
        /// WordPiece within whitespace-separated words, trained on the training rows.
        Wordpiece = "wordpiece",
        /// A Hugging Face `tokenizer.json` at `vocab_file`.
        HfTokenizer = "hf_tokenizer",
    }
}

settings! {
    /// Preprocessing settings for texts.
    pub struct TextPreprocessing {
        /// The tokenizer.
        tokenizer: TokenizerKind = TokenizerKind::SpacePunct;
        /// Path of the `tokenizer.json` for `hf_tokenizer`.
        vocab_file: Option<String> = None;
        /// Maximum vocabulary size; `bpe` always includes the 256 bytes.
        most_common: usize = 20_000 => 4..=1_000_000;
        /// Maximum number of tokens per text; the rest is cut off.
        max_sequence_length: usize = 256 => 1..=16_384;
        /// Whether texts are lowercased.
        lowercase: bool = true;
    }
}

/// A fitted text preprocessor: `Tokens [steps]`, where 0 is padding and 1 an unknown token.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FittedText {
    /// The tokenizer with its vocabulary.
    pub tokenizer: Tokenizer,
    /// Maximum number of tokens per text.
    pub max_steps: usize,
    /// Whether texts are lowercased.
    pub lowercase: bool,
    /// Whether payloads hold the text, too, for learners other than the network.
    #[serde(default)]
    pub keeps_text: bool,
}

struct TextFitter {
    tokenizer: TokenizerFitter,
    settings: TextPreprocessing,
}

impl TextPreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        let file = self.vocab_file.as_ref().map(PathBuf::from);
        Box::new(TextFitter {
            tokenizer: TokenizerFitter::new(self.tokenizer, self.most_common, self.max_sequence_length, file),
            settings: self.clone(),
        })
    }
}

/// Bytes of a text that are read per token that it may have, and the minimum for any text. English words have five or six
/// letters; if a text is a whole file, everything beyond would be truncated as tokens anyway.
const BYTES_OF_TOKEN: usize = 64;
const MIN_READ: usize = 1 << 20;

/// Bytes of a text that are kept for learners other than the network.
const MAX_KEPT: usize = 1 << 14;

/// Returns the part of a text that is read to obtain at most `max_steps` tokens.
pub(super) fn beginning(text: &str, max_steps: usize) -> &str {
    &text[..text.floor_char_boundary(MIN_READ.max(max_steps * BYTES_OF_TOKEN))]
}

/// Returns a fault if only the beginning of a text was read.
pub(super) fn cut_off(text: &str, max_steps: usize) -> Option<Fault> {
    let n_read = beginning(text, max_steps).len();
    (n_read < text.len()).then(|| Fault::new(Cause::Shortened, format!("{} bytes, {n_read} of them read", text.len())))
}

pub(super) fn cased(text: &str, lowercase: bool) -> String {
    if lowercase { text.to_lowercase() } else { text.to_owned() }
}

/// Returns a fault if a text has more than `max_steps` tokens; they are counted only if the payload has that many.
pub(super) fn shortened(max_steps: usize, payload: &Payload, count: impl FnOnce() -> usize) -> Option<Fault> {
    let n_tokens = Some(payload.n_steps()).filter(|n_steps| *n_steps >= max_steps).map(|_| count())?;
    let detail = format!("{n_tokens} tokens, {max_steps} of them read");
    (n_tokens > max_steps).then(|| Fault::new(Cause::Shortened, detail))
}

impl Fitter for TextFitter {
    fn observe(&mut self, cell: &Cell, _folder: &Path) {
        if let Ok(text) = text_of(cell) {
            let text = beginning(&text, self.settings.max_sequence_length);
            self.tokenizer.observe(cased(text, self.settings.lowercase));
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let tokenizer = self.tokenizer.finish()?;
        Ok(Preprocessor::Text(FittedText {
            tokenizer,
            max_steps: self.settings.max_sequence_length,
            lowercase: self.settings.lowercase,
            keeps_text: false,
        }))
    }
}

impl Preprocess for FittedText {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        let text = text_of(cell)?;
        let mut tokens = self.tokenizer.encode(&cased(beginning(&text, self.max_steps), self.lowercase));
        tokens.truncate(self.max_steps);
        if tokens.is_empty() {
            return Err(Fault::new(Cause::Empty, "no tokens"));
        }
        let kept = || text[..text.floor_char_boundary(MAX_KEPT)].to_owned();
        Ok(if self.keeps_text { Payload::Text { tokens, text: kept() } } else { Payload::Tokens(tokens) })
    }

    fn shortened(&self, cell: &Cell, payload: &Payload) -> Option<Fault> {
        let text = text_of(cell).ok()?;
        cut_off(&text, self.max_steps)
            .or_else(|| shortened(self.max_steps, payload, || self.tokenizer.n_ids(&cased(&text, self.lowercase))))
    }

    fn shape(&self) -> Shape {
        Shape::Tokens { vocab_size: self.tokenizer.vocab_size(), max_steps: self.max_steps }
    }

    fn check(&self) -> Result<(), InvalidFit> {
        ensure(self.tokenizer.vocab_size() >= 2, "the size of the vocabulary")?;
        ensure((1..=16_384).contains(&self.max_steps), "the length limit")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn huge_text_is_shortened_with_a_fault() {
        let settings: TextPreprocessing = mbm_config::defaults();
        let cell = Cell::text(&"a dog barks ".repeat(2_000_000));
        let mut fitter = settings.fitter();
        fitter.observe(&cell, Path::new(""));
        let Ok(Preprocessor::Text(fitted)) = fitter.finish() else { panic!() };
        let payload = fitted.payload(&cell, Path::new("")).unwrap();
        assert_eq!((payload.n_steps(), fitted.tokenizer.vocab_size()), (256, 6), "with padding, unknown and a truncated word");
        let fault = fitted.shortened(&cell, &payload).unwrap();
        assert_eq!(fault.to_string(), "shortened: 24000000 bytes, 1048576 of them read");
        assert_eq!(beginning("aä", 1), "aä");
    }
}
