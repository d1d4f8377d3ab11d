//! Tokenizers: words or characters by frequency (ours), sub-words by the `tokenizers` crate.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainerBuilder};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::{AddedToken, ModelWrapper, Tokenizer as HfTokenizer, TruncationParams};

use super::TokenizerKind;

/// Padding, id 0.
pub const PAD: &str = "<PAD>";
/// A token that the vocabulary lacks, id 1.
pub const UNK: &str = "<UNK>";

/// The most text, in bytes, that a sub-word vocabulary is trained on.
const MAX_TRAINING_TEXT: usize = 64 << 20;

/// A fitted tokenizer.
#[derive(Debug, Clone)]
pub enum Tokenizer {
    /// Whole words or characters.
    Units {
        /// Characters instead of words.
        characters: bool,
        /// Tokens by id, in order.
        vocabulary: Vec<String>,
        /// Ids by token.
        ids: HashMap<String, u32>,
    },
    /// Sub-words.
    Pieces(Box<HfTokenizer>),
}

/// How a tokenizer stands in the bundle.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Saved {
    Words(Vec<String>),
    Characters(Vec<String>),
    /// A whole `tokenizer.json`.
    Pieces(Box<serde_json::value::Value>),
}

impl Tokenizer {
    fn units(characters: bool, vocabulary: Vec<String>) -> Self {
        let ids = vocabulary.iter().enumerate().map(|(id, token)| (token.clone(), id as u32)).collect();
        Self::Units { characters, vocabulary, ids }
    }

    /// Ids of a text.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        match self {
            Self::Units { characters, ids, .. } => {
                units(text, *characters).iter().map(|unit| ids.get(*unit).copied().unwrap_or(1)).collect()
            }
            // Our own vocabularies and loaded ones map every text; a model that refuses one knows none of it.
            Self::Pieces(pieces) => pieces.encode(text, true).map(|encoding| encoding.get_ids().to_vec()).unwrap_or_default(),
        }
    }

    /// Ids there are.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Units { vocabulary, .. } => vocabulary.len(),
            // A loaded vocabulary may have gaps: what counts is the highest id.
            Self::Pieces(pieces) => pieces.get_vocab(true).values().max().map_or(0, |id| *id as usize + 1),
        }
    }

    /// Every token, by id; empty text for ids that are none.
    pub fn vocabulary(&self) -> Vec<String> {
        (0..self.vocab_size() as u32).map(|id| self.token(id).unwrap_or_default()).collect()
    }

    /// The token of an id.
    pub fn token(&self, id: u32) -> Option<String> {
        match self {
            Self::Units { vocabulary, .. } => vocabulary.get(id as usize).cloned(),
            Self::Pieces(pieces) => pieces.id_to_token(id),
        }
    }
}

impl Serialize for Tokenizer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let saved = match self {
            Self::Units { characters: true, vocabulary, .. } => Saved::Characters(vocabulary.clone()),
            Self::Units { characters: false, vocabulary, .. } => Saved::Words(vocabulary.clone()),
            Self::Pieces(pieces) => Saved::Pieces(Box::new(serde_json::to_value(&**pieces).map_err(S::Error::custom)?)),
        };
        saved.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Tokenizer {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        Ok(match Saved::deserialize(deserializer)? {
            Saved::Words(vocabulary) => Self::units(false, vocabulary),
            Saved::Characters(vocabulary) => Self::units(true, vocabulary),
            Saved::Pieces(json) => Self::Pieces(Box::new(HfTokenizer::from_str(&json.to_string()).map_err(D::Error::custom)?)),
        })
    }
}

/// Words, single punctuation marks, or characters.
fn units(text: &str, characters: bool) -> Vec<&str> {
    if characters {
        return text.char_indices().map(|(at, c)| &text[at..at + c.len_utf8()]).collect();
    }
    let mut found = Vec::new();
    let mut start = None;
    for (at, c) in text.char_indices() {
        let in_word = c.is_alphanumeric() || c == '_';
        match (in_word, start) {
            (true, None) => start = Some(at),
            (false, Some(from)) => {
                found.push(&text[from..at]);
                start = None;
            }
            (true, Some(_)) | (false, None) => {}
        }
        if !in_word && !c.is_whitespace() {
            found.push(&text[at..at + c.len_utf8()]);
        }
    }
    found.extend(start.map(|from| &text[from..]));
    found
}

/// Gathers what a vocabulary is made from.
pub(super) struct TokenizerFitter {
    kind: TokenizerKind,
    max_size: usize,
    file: Option<PathBuf>,
    max_steps: usize,
    counts: HashMap<String, usize>,
    texts: Vec<String>,
    n_bytes: usize,
}

impl TokenizerFitter {
    /// `max_size` tokens at most, of our own vocabularies; texts of at most `max_steps` tokens, of loaded ones.
    pub fn new(kind: TokenizerKind, max_size: usize, max_steps: usize, file: Option<PathBuf>) -> Self {
        Self { kind, max_size, max_steps, file, counts: HashMap::new(), texts: Vec::new(), n_bytes: 0 }
    }

    pub fn observe(&mut self, text: String) {
        match self.kind {
            TokenizerKind::SpacePunct | TokenizerKind::Characters => {
                for unit in units(&text, self.kind == TokenizerKind::Characters) {
                    match self.counts.get_mut(unit) {
                        Some(count) => *count += 1,
                        None => {
                            self.counts.insert(unit.to_owned(), 1);
                        }
                    }
                }
            }
            TokenizerKind::Bpe | TokenizerKind::Wordpiece if self.n_bytes < MAX_TRAINING_TEXT => {
                self.n_bytes += text.len();
                self.texts.push(text);
            }
            TokenizerKind::Bpe | TokenizerKind::Wordpiece | TokenizerKind::HfTokenizer => {}
        }
    }

    pub fn finish(self) -> Result<Tokenizer, String> {
        match self.kind {
            TokenizerKind::SpacePunct | TokenizerKind::Characters if self.counts.is_empty() => {
                Err("no training text can be read".to_owned())
            }
            TokenizerKind::SpacePunct => Ok(by_frequency(false, self.counts, self.max_size)),
            TokenizerKind::Characters => Ok(by_frequency(true, self.counts, self.max_size)),
            TokenizerKind::Bpe => train_bpe(self.texts, self.max_size).map_err(|error| error.to_string()),
            TokenizerKind::Wordpiece => train_wordpiece(self.texts, self.max_size).map_err(|error| error.to_string()),
            TokenizerKind::HfTokenizer => load(self.file, self.max_steps),
        }
    }
}

/// The most frequent units, equals in the order of their characters.
fn by_frequency(characters: bool, counts: HashMap<String, usize>, max_size: usize) -> Tokenizer {
    let mut counts: Vec<(String, usize)> = counts.into_iter().collect();
    counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    let special = [PAD.to_owned(), UNK.to_owned()];
    let vocabulary = special.into_iter().chain(counts.into_iter().map(|(unit, _)| unit)).take(max_size).collect();
    Tokenizer::units(characters, vocabulary)
}

/// Padding, unknown, and what else must have a fixed id while training, so that ties fall the same way on every run.
fn first_tokens(others: impl IntoIterator<Item = String>) -> Vec<AddedToken> {
    [PAD.to_owned(), UNK.to_owned()].into_iter().chain(others).map(|token| AddedToken::from(token, true)).collect()
}

fn train_bpe(texts: Vec<String>, max_size: usize) -> tokenizers::Result<Tokenizer> {
    let model = BPE::builder().unk_token(UNK.to_owned()).build()?;
    let trainer = BpeTrainerBuilder::new().vocab_size(max_size).show_progress(false).special_tokens(first_tokens([]));
    train(model.into(), trainer.build().into(), texts)
}

fn train_wordpiece(texts: Vec<String>, max_size: usize) -> tokenizers::Result<Tokenizer> {
    let model = WordPiece::builder().unk_token(UNK.to_owned()).build()?;
    let characters: BTreeSet<char> = texts.iter().flat_map(|text| text.chars()).filter(|c| !c.is_whitespace()).collect();
    let inner = characters.into_iter().map(|c| format!("##{c}"));
    let trainer = WordPieceTrainerBuilder::new().vocab_size(max_size).show_progress(false).special_tokens(first_tokens(inner));
    train(model.into(), trainer.build().into(), texts)
}

fn train(model: ModelWrapper, mut trainer: TrainerWrapper, texts: Vec<String>) -> tokenizers::Result<Tokenizer> {
    if texts.is_empty() {
        return Err("no training text can be read".into());
    }
    let mut pieces = pieces(model)?;
    pieces.train(&mut trainer, texts.into_iter())?;
    // The trained model in a tokenizer of its own: the first tokens are no longer special, "##a" in a text is text.
    Ok(Tokenizer::Pieces(Box::new(self::pieces(pieces.get_model().clone())?)))
}

fn pieces(model: ModelWrapper) -> tokenizers::Result<HfTokenizer> {
    let mut pieces = HfTokenizer::new(model);
    pieces.with_normalizer(Some(NFC))?;
    pieces.with_pre_tokenizer(Some(Whitespace {}));
    Ok(pieces)
}

/// Texts are cut so that a closing token stays, and never padded, whatever the file says.
fn load(file: Option<PathBuf>, max_steps: usize) -> Result<Tokenizer, String> {
    let file = file.ok_or("preprocessing.vocab_file must name a tokenizer.json for tokenizer: hf_tokenizer")?;
    let failed = |error: tokenizers::Error| format!("{}: {error}", file.display());
    let mut pieces = HfTokenizer::from_file(&file).map_err(failed)?;
    let truncation = TruncationParams { max_length: max_steps, ..TruncationParams::default() };
    pieces.with_truncation(Some(truncation)).map_err(failed)?;
    pieces.with_padding(None);
    Ok(Tokenizer::Pieces(Box::new(pieces)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(kind: TokenizerKind) -> Tokenizer {
        let mut fitter = TokenizerFitter::new(kind, 60, 16, None);
        for text in ["ein großer hund, der läuft", "ein hund läuft.", "два пса 狗 🐕"] {
            fitter.observe(text.to_owned());
        }
        fitter.finish().unwrap()
    }

    #[test]
    fn words_and_marks_are_cut_apart() {
        assert_eq!(units("don't stop—now, 漢字!", false), ["don", "'", "t", "stop", "—", "now", ",", "漢字", "!"]);
        assert_eq!(units("aß🐕", true), ["a", "ß", "🐕"]);
    }

    #[test]
    fn frequent_words_come_first_and_unknown_ones_are_one() {
        let tokenizer = fitted(TokenizerKind::SpacePunct);
        assert_eq!(tokenizer.token(2).as_deref(), Some("ein"));
        assert_eq!(tokenizer.encode("ein hund schläft"), [2, 3, 1]);
    }

    #[test]
    fn every_kind_survives_saving_and_is_the_same_on_every_run() {
        for kind in [TokenizerKind::SpacePunct, TokenizerKind::Characters, TokenizerKind::Bpe, TokenizerKind::Wordpiece] {
            let tokenizer = fitted(kind);
            let saved = serde_json::to_string(&tokenizer).unwrap();
            let loaded: Tokenizer = serde_json::from_str(&saved).unwrap();
            let text = "ein hund 狗 zebra";
            assert_eq!(loaded.encode(text), tokenizer.encode(text), "{kind:?}");
            assert!(!tokenizer.encode(text).is_empty(), "{kind:?}");
            assert_eq!(serde_json::to_string(&fitted(kind)).unwrap(), saved, "{kind:?}");
        }
    }
}
