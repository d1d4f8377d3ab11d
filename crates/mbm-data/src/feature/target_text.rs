//! Target texts: token sequences that a model learns to generate.

use std::path::Path;

use mbm_config::settings;
use serde::{Deserialize, Serialize};

use super::text::{beginning, cased, cut_off, shortened};
use super::tokenizer::{Tokenizer, TokenizerFitter, tidy};
use super::{FitError, Fitter, InvalidFit, Preprocess, Preprocessor, Shape, TokenizerKind, ensure, text_of};
use crate::{Cause, Cell, Fault, Payload};

settings! {
    /// Preprocessing settings for target texts.
    pub struct TargetTextPreprocessing {
        /// The tokenizer.
        tokenizer: TokenizerKind = TokenizerKind::Bpe;
        /// Maximum vocabulary size; `bpe` always includes the 256 bytes.
        most_common: usize = 8_000 => 8..=1_000_000;
        /// Maximum number of tokens per text, including the end token; the rest is cut off.
        max_sequence_length: usize = 256 => 2..=16_384;
        /// Whether texts are lowercased.
        lowercase: bool = false;
        /// A text input that uses the same vocabulary, which is then trained on the texts of both.
        share_vocabulary_with: Option<String> = None;
    }
}

/// A fitted target text preprocessor: `Tokens [steps]`, ending with [`FittedTargetText::END`] unless truncated.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct FittedTargetText {
    /// The tokenizer with its vocabulary.
    pub tokenizer: Tokenizer,
    /// Maximum number of tokens per text, including the end token.
    pub max_steps: usize,
    /// Number of tokens of the longest training text, including the end token.
    pub longest: usize,
    /// Whether texts are lowercased.
    pub lowercase: bool,
}

struct TargetTextFitter {
    tokenizer: TokenizerFitter,
    texts: Vec<String>,
    settings: TargetTextPreprocessing,
}

impl TargetTextPreprocessing {
    /// Returns a fitter with these settings.
    pub fn fitter(&self) -> Box<dyn Fitter> {
        let tokenizer = TokenizerFitter::new(self.tokenizer, self.most_common, self.max_sequence_length, None).with_ends();
        Box::new(TargetTextFitter { tokenizer, texts: Vec::new(), settings: self.clone() })
    }
}

impl FittedTargetText {
    /// Id of the start token, which generation begins from.
    pub const BEGIN: u32 = 2;
    /// Id of the end token.
    pub const END: u32 = 3;
    /// Number of special ids; ids from here on are text.
    pub const N_SPECIAL: u32 = 4;

    /// Returns the reference text of a cell, normalized for comparison with generated texts.
    pub fn reference(&self, cell: &Cell) -> Option<String> {
        let text = tidy(&cased(beginning(&text_of(cell).ok()?, self.max_steps), self.lowercase));
        Some(text).filter(|text| !text.is_empty())
    }

    /// Returns the tokens of a text, without the end token.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        self.tokenizer.encode(&cased(beginning(text, self.max_steps), self.lowercase))
    }
}

impl Fitter for TargetTextFitter {
    fn observe(&mut self, cell: &Cell, folder: &Path) {
        self.observe_shared(cell, folder);
        if let Ok(text) = text_of(cell) {
            self.texts.push(beginning(&text, self.settings.max_sequence_length).to_owned());
        }
    }

    fn observe_shared(&mut self, cell: &Cell, _folder: &Path) {
        if let Ok(text) = text_of(cell) {
            let text = beginning(&text, self.settings.max_sequence_length);
            self.tokenizer.observe(cased(text, self.settings.lowercase));
        }
    }

    fn finish(self: Box<Self>) -> Result<Preprocessor, FitError> {
        let TargetTextPreprocessing { max_sequence_length, lowercase, .. } = self.settings;
        let mut fitted =
            FittedTargetText { tokenizer: self.tokenizer.finish()?, max_steps: max_sequence_length, longest: 0, lowercase };
        let longest = self.texts.iter().map(|text| fitted.encode(text).len() + 1).max();
        fitted.longest = longest.unwrap_or(2).clamp(2, max_sequence_length);
        Ok(Preprocessor::TargetText(fitted))
    }
}

impl Preprocess for FittedTargetText {
    fn payload(&self, cell: &Cell, _folder: &Path) -> Result<Payload, Fault> {
        let mut ids = self.encode(&text_of(cell)?);
        if ids.is_empty() {
            return Err(Fault::new(Cause::Empty, "no tokens"));
        }
        ids.push(Self::END);
        ids.truncate(self.max_steps);
        Ok(Payload::Tokens(ids))
    }

    fn shortened(&self, cell: &Cell, payload: &Payload) -> Option<Fault> {
        let text = text_of(cell).ok()?;
        cut_off(&text, self.max_steps).or_else(|| shortened(self.max_steps, payload, || self.encode(&text).len() + 1))
    }

    fn shape(&self) -> Shape {
        Shape::Tokens { vocab_size: self.tokenizer.vocab_size(), max_steps: self.max_steps }
    }

    fn check(&self) -> Result<(), InvalidFit> {
        ensure(self.tokenizer.vocab_size() > Self::N_SPECIAL as usize, "the size of the vocabulary")?;
        ensure((2..=16_384).contains(&self.max_steps), "the length limit")?;
        ensure((2..=self.max_steps).contains(&self.longest), "the longest text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(settings: &TargetTextPreprocessing) -> FittedTargetText {
        let mut fitter = settings.fitter();
        ["ein Hund", "eine Katze läuft"].iter().for_each(|text| fitter.observe(&Cell::text(text), Path::new(".")));
        fitter.observe_shared(&Cell::text("a dog 狗"), Path::new("."));
        let Ok(Preprocessor::TargetText(fitted)) = fitter.finish() else { panic!() };
        fitted
    }

    #[test]
    fn text_round_trips_and_ends_with_the_end_token() {
        let settings = TargetTextPreprocessing { tokenizer: TokenizerKind::Characters, ..mbm_config::defaults() };
        let fitted = fitted(&settings);
        assert_eq!(fitted.longest, "eine Katze läuft".chars().count() + 1);
        let Ok(Payload::Tokens(ids)) = fitted.payload(&Cell::text("läuft 狗"), Path::new(".")) else { panic!() };
        assert_eq!(ids.last(), Some(&FittedTargetText::END));
        assert_eq!(fitted.tokenizer.decode(&ids[..ids.len() - 1]), "läuft 狗");
        assert!(fitted.payload(&Cell::text(" \u{200b}"), Path::new(".")).is_err());
        fitted.check().unwrap();
    }

    #[test]
    fn overlong_text_is_truncated_without_end_token() {
        let settings = TargetTextPreprocessing { max_sequence_length: 3, ..mbm_config::defaults() };
        let (fitted, cell) = (fitted(&settings), Cell::text("ein Hund läuft"));
        let payload = fitted.payload(&cell, Path::new(".")).unwrap();
        let Payload::Tokens(ids) = &payload else { panic!() };
        assert!(ids.len() == 3 && !ids.contains(&FittedTargetText::END), "{ids:?}");
        let n_tokens = fitted.encode("ein Hund läuft").len() + 1;
        let want = Fault::new(Cause::Shortened, format!("{n_tokens} tokens, 3 of them read"));
        assert_eq!(fitted.shortened(&cell, &payload), Some(want));
        let just = Cell::text("x"); // a space, a byte and the end token
        assert_eq!(fitted.shortened(&just, &fitted.payload(&just, Path::new(".")).unwrap()), None);
    }
}
