//! Tokenizers: words or characters by frequency (implemented here), subwords by the `tokenizers` crate.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokenizers::decoders::wordpiece::WordPiece as WordPieceDecoder;
use tokenizers::models::TrainerWrapper;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::models::wordpiece::{WordPiece, WordPieceTrainerBuilder};
use tokenizers::normalizers::replace::ReplacePattern;
use tokenizers::normalizers::{NFC, Replace, Sequence as NormalizerSequence, Strip};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::whitespace::WhitespaceSplit;
use tokenizers::{AddedToken, ModelWrapper, NormalizedString, Normalizer, Tokenizer as HfTokenizer};

use super::foreign::SubwordTokenizer;
use super::{FitError, TokenizerKind};

/// Padding token, id 0.
pub const PAD: &str = "<PAD>";
/// Token for units outside of the vocabulary, id 1.
pub const UNK: &str = "<UNK>";
/// Start token of a generated text, id 2.
pub const BOS: &str = "<BOS>";
/// End token of a generated text, id 3.
pub const EOS: &str = "<EOS>";

/// Maximum amount of text, in bytes, that a subword vocabulary is trained on.
const MAX_TRAINING_TEXT: usize = 64 << 20;

/// A fitted tokenizer.
#[derive(Debug, Clone)]
pub enum Tokenizer {
    /// Whole words or characters.
    Units {
        /// Whether the units are characters instead of words.
        characters: bool,
        /// Tokens in order of their ids.
        vocabulary: Vec<String>,
        /// Ids by token.
        ids: HashMap<String, u32>,
    },
    /// Subwords.
    Subword(Box<SubwordTokenizer>),
}

/// Serialized form in the bundle.
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

    /// Encodes a text into ids.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        match self {
            Self::Units { characters, ids, .. } => {
                units(&tidy(text), *characters).iter().map(|unit| ids.get(*unit).copied().unwrap_or(1)).collect()
            }
            // Our own vocabularies and loaded ones map every text; one that the model rejects has no tokens.
            Self::Subword(pieces) => pieces.encode(text).map(|encoding| encoding.get_ids().to_vec()).unwrap_or_default(),
        }
    }

    /// Returns the number of ids of a text, including those that a `tokenizer.json` truncates.
    pub fn n_ids(&self, text: &str) -> usize {
        match self {
            Self::Units { .. } => self.encode(text).len(),
            Self::Subword(pieces) => pieces.n_ids(text),
        }
    }

    /// Decodes ids into a text, with spaces between words where a writer would put them.
    pub fn decode(&self, ids: &[u32]) -> String {
        let text = match self {
            Self::Units { characters, vocabulary, .. } => {
                let units: Vec<&str> = ids.iter().filter_map(|id| vocabulary.get(*id as usize)).map(String::as_str).collect();
                if *characters { units.concat() } else { joined(&units) }
            }
            // Drop the remains of characters whose other bytes were not generated.
            Self::Subword(pieces) => pieces.decode(ids).replace(char::REPLACEMENT_CHARACTER, ""),
        };
        text.trim().to_owned()
    }

    /// Returns the number of ids.
    pub fn vocab_size(&self) -> usize {
        match self {
            Self::Units { vocabulary, .. } => vocabulary.len(),
            // A loaded vocabulary may have gaps, so the highest id counts.
            Self::Subword(pieces) => pieces.inner().get_vocab(true).values().max().map_or(0, |id| *id as usize + 1),
        }
    }

    /// Returns every token in order of ids; an empty text for unused ids.
    pub fn vocabulary(&self) -> Vec<String> {
        (0..self.vocab_size() as u32).map(|id| self.token(id).unwrap_or_default()).collect()
    }

    /// Returns the token of an id.
    pub fn token(&self, id: u32) -> Option<String> {
        match self {
            Self::Units { vocabulary, .. } => vocabulary.get(id as usize).cloned(),
            Self::Subword(pieces) => pieces.inner().id_to_token(id),
        }
    }
}

impl Serialize for Tokenizer {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::Error;
        let saved = match self {
            Self::Units { characters: true, vocabulary, .. } => Saved::Characters(vocabulary.clone()),
            Self::Units { characters: false, vocabulary, .. } => Saved::Words(vocabulary.clone()),
            Self::Subword(pieces) => Saved::Pieces(Box::new(serde_json::to_value(pieces.inner()).map_err(S::Error::custom)?)),
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
            Saved::Pieces(json) => Self::Subword(Box::new(SubwordTokenizer::read(&json.to_string()).map_err(D::Error::custom)?)),
        })
    }
}

/// Normalizes a text: composed (NFC), without zero-width characters, with single spaces. Joiners are kept, since emoji and some
/// scripts are written with them.
pub(super) fn tidy(text: &str) -> String {
    let mut composed = NormalizedString::from(text);
    // Composing cannot fail.
    let _ = NFC.normalize(&mut composed);
    let visible: String = composed.get().chars().filter(|c| !INVISIBLE.contains(c)).collect();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Zero-width space, word joiner, byte order mark, soft hyphen, directional marks.
const INVISIBLE: [char; 6] = ['\u{200b}', '\u{2060}', '\u{feff}', '\u{ad}', '\u{200e}', '\u{200f}'];

/// Joins words and punctuation marks as they are written: no space before closing, after opening or around joining marks.
fn joined(units: &[&str]) -> String {
    let mut text = String::new();
    let mut is_open = true;
    for unit in units {
        let closes = [".", ",", ";", ":", "!", "?", ")", "]", "}", "%", "'", "’", "-"].contains(unit);
        if !is_open && !closes {
            text.push(' ');
        }
        text.push_str(unit);
        is_open = ["(", "[", "{", "'", "’", "-", "¿", "¡", "$", "#"].contains(unit);
    }
    text
}

/// Splits a text into words and single punctuation marks, or into characters.
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

/// Collects the text that a vocabulary is built from.
pub(super) struct TokenizerFitter {
    kind: TokenizerKind,
    max_size: usize,
    file: Option<PathBuf>,
    max_steps: usize,
    special: &'static [&'static str],
    counts: HashMap<String, usize>,
    texts: Vec<String>,
    n_bytes: usize,
}

impl TokenizerFitter {
    /// Returns a fitter. `max_size` limits the size of our own vocabularies, `max_steps` the tokens per text of loaded ones.
    pub fn new(kind: TokenizerKind, max_size: usize, max_steps: usize, file: Option<PathBuf>) -> Self {
        let (counts, texts) = (HashMap::new(), Vec::new());
        Self { kind, max_size, max_steps, file, special: &[PAD, UNK], counts, texts, n_bytes: 0 }
    }

    /// Adds tokens for the start and end of a text.
    pub fn with_ends(self) -> Self {
        Self { special: &[PAD, UNK, BOS, EOS], ..self }
    }

    pub fn observe(&mut self, text: String) {
        match self.kind {
            TokenizerKind::SpacePunct | TokenizerKind::Characters => {
                for unit in units(&tidy(&text), self.kind == TokenizerKind::Characters) {
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

    pub fn finish(self) -> Result<Tokenizer, FitError> {
        let unreadable = FitError::Unreadable { kind: "text", first: None };
        match self.kind {
            TokenizerKind::SpacePunct | TokenizerKind::Characters if self.counts.is_empty() => Err(unreadable),
            TokenizerKind::Bpe | TokenizerKind::Wordpiece if self.texts.is_empty() => Err(unreadable),
            TokenizerKind::SpacePunct | TokenizerKind::Characters => Ok(self.by_frequency()),
            TokenizerKind::Bpe => Ok(self.bpe()?),
            TokenizerKind::Wordpiece => Ok(self.wordpiece()?),
            TokenizerKind::HfTokenizer => load(self.file, self.max_steps),
        }
    }

    /// Builds a vocabulary of the most frequent units, with ties in lexicographic order.
    fn by_frequency(self) -> Tokenizer {
        let mut counts: Vec<(String, usize)> = self.counts.into_iter().collect();
        counts.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        let special = self.special.iter().map(|token| (*token).to_owned());
        let vocabulary = special.chain(counts.into_iter().map(|(unit, _)| unit)).take(self.max_size).collect();
        Tokenizer::units(self.kind == TokenizerKind::Characters, vocabulary)
    }

    /// Trains byte-level BPE (Radford et al. 2019): no text is unknown.
    fn bpe(self) -> tokenizers::Result<Tokenizer> {
        let trainer = BpeTrainerBuilder::new().vocab_size(self.max_size).show_progress(false);
        let trainer = trainer.special_tokens(self.first_tokens([])).initial_alphabet(ByteLevel::alphabet().into_iter().collect());
        train(BPE::builder().build()?.into(), trainer.build().into(), self.texts)
    }

    fn wordpiece(self) -> tokenizers::Result<Tokenizer> {
        let model = WordPiece::builder().unk_token(UNK.to_owned()).build()?;
        let texts = self.texts.iter().map(|text| tidy(text));
        let characters: BTreeSet<char> =
            texts.flat_map(|text| text.chars().collect::<Vec<_>>()).filter(|c| !c.is_whitespace()).collect();
        let inner = characters.into_iter().map(|c| format!("##{c}"));
        let trainer = WordPieceTrainerBuilder::new().vocab_size(self.max_size).show_progress(false);
        train(model.into(), trainer.special_tokens(self.first_tokens(inner)).build().into(), self.texts)
    }

    /// Returns the tokens that need a fixed id during training, so that ties are broken the same way in every run.
    fn first_tokens(&self, others: impl IntoIterator<Item = String>) -> Vec<AddedToken> {
        let special = self.special.iter().map(|token| (*token).to_owned());
        special.chain(others).map(|token| AddedToken::from(token, true)).collect()
    }
}

fn train(model: ModelWrapper, mut trainer: TrainerWrapper, texts: Vec<String>) -> tokenizers::Result<Tokenizer> {
    let mut pieces = pieces(model)?;
    pieces.train(&mut trainer, texts.into_iter())?;
    // Move the trained model to a new tokenizer: its first tokens are no longer special, and "##a" in a text is plain text.
    Ok(Tokenizer::Subword(Box::new(SubwordTokenizer::from_trained(self::pieces(pieces.get_model().clone())?)?)))
}

fn pieces(model: ModelWrapper) -> tokenizers::Result<HfTokenizer> {
    let is_of_bytes = matches!(model, ModelWrapper::BPE(_));
    let mut pieces = HfTokenizer::new(model);
    pieces.with_normalizer(Some(tidying()?))?;
    if is_of_bytes {
        let bytes = ByteLevel::new(true, false, true);
        pieces.with_pre_tokenizer(Some(bytes));
        pieces.with_decoder(Some(bytes));
    } else {
        pieces.with_pre_tokenizer(Some(WhitespaceSplit));
        pieces.with_decoder(Some(WordPieceDecoder::new("##".to_owned(), false)));
    }
    Ok(pieces)
}

/// Returns normalizers equivalent to [`tidy`], in a form that a `tokenizer.json` can hold.
fn tidying() -> tokenizers::Result<NormalizerSequence> {
    let invisible = format!("[{}]", INVISIBLE.iter().collect::<String>());
    let without = Replace::new(ReplacePattern::Regex(invisible), "")?;
    let single = Replace::new(ReplacePattern::Regex(r"\s+".to_owned()), " ")?;
    Ok(NormalizerSequence::new(vec![NFC.into(), without.into(), single.into(), Strip::new(true, true).into()]))
}

fn load(file: Option<PathBuf>, max_steps: usize) -> Result<Tokenizer, FitError> {
    let path = file.ok_or(FitError::NoVocabFile)?;
    let json = match std::fs::read_to_string(&path) {
        Ok(json) => json,
        Err(source) => return Err(FitError::Io { path, source }),
    };
    match SubwordTokenizer::read(&json).and_then(|pieces| pieces.truncated_at(max_steps)) {
        Ok(pieces) => Ok(Tokenizer::Subword(Box::new(pieces))),
        Err(source) => Err(FitError::TokenizerFile { path, source }),
    }
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
    fn words_and_punctuation_marks_are_split() {
        assert_eq!(units("don't stop—now, 漢字!", false), ["don", "'", "t", "stop", "—", "now", ",", "漢字", "!"]);
        assert_eq!(units("aß🐕", true), ["a", "ß", "🐕"]);
    }

    #[test]
    fn frequent_words_come_first_and_unknown_ones_are_unk() {
        let tokenizer = fitted(TokenizerKind::SpacePunct);
        assert_eq!(tokenizer.token(2).as_deref(), Some("ein"));
        assert_eq!(tokenizer.encode("ein hund schläft"), [2, 3, 1]);
    }

    #[test]
    fn every_script_round_trips() {
        let texts = [
            "Ein großer Hund läuft, nicht?",
            "Un garçon n'est pas là !",
            "一只狗在雪地里跑。",
            "كلب يركض",
            "🐕 👩\u{200d}👧 \"ok\"",
        ];
        for kind in [TokenizerKind::Characters, TokenizerKind::Bpe, TokenizerKind::Wordpiece] {
            let mut fitter = TokenizerFitter::new(kind, 400, 16, None).with_ends();
            texts.iter().for_each(|text| fitter.observe((*text).to_owned()));
            let tokenizer = fitter.finish().unwrap();
            assert_eq!([2, 3].map(|id| tokenizer.token(id).unwrap()), [BOS, EOS], "{kind:?}");
            for text in texts {
                assert_eq!(tokenizer.decode(&tokenizer.encode(text)), text, "{kind:?}");
            }
            // A decomposed letter, zero-width characters, spaces of all kinds.
            let untidy = "\u{feff} Ein gro\u{200b}ßer  Hund\tla\u{308}uft,\u{a0}nicht?\n";
            assert_eq!(tokenizer.decode(&tokenizer.encode(untidy)), texts[0], "{kind:?}");
            assert_eq!(tokenizer.encode("\u{200b} \u{feff}"), [] as [u32; 0], "{kind:?}");
        }
        let mut bytes = TokenizerFitter::new(TokenizerKind::Bpe, 300, 16, None);
        bytes.observe("ab".to_owned());
        let bytes = bytes.finish().unwrap();
        assert_eq!(bytes.decode(&bytes.encode("Ελληνικά 狗")), "Ελληνικά 狗");
    }

    #[test]
    fn words_are_joined_with_natural_spacing() {
        let text = "don't run (fast), well-known dogs!";
        assert_eq!(joined(&units(text, false)), text);
    }

    #[test]
    fn every_kind_round_trips_and_is_deterministic() {
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
