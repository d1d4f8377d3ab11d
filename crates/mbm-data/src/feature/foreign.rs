//! Validation of untrusted `tokenizer.json` files.
//!
//! A `tokenizer.json` is a small program written by somebody else. Each of its normalizers, pre-tokenizers and decoders may
//! lengthen a text, so that a dozen of them can turn a word into gigabytes; its regular expressions may backtrack exponentially;
//! and where its components contradict each other, the `tokenizers` crate panics. The components are therefore checked before
//! they are built: their number, and the product of the factors by which they may lengthen a text. A tokenizer that passes is
//! tried out on short texts, and every later call is guarded against panics.

use std::str::FromStr;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::Regex;
use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::{
    Encoding, Model, ModelWrapper, OffsetReferential, OffsetType, PostProcessor, PreTokenizedString, PreTokenizer,
    Tokenizer as HfTokenizer, TruncationParams,
};

use super::{Quantity, TokenizerFileError};
use crate::catch_panic::catch_panic;

/// Maximum size of a `tokenizer.json` in bytes; Gemma's, among the largest, has 33 MiB.
const MAX_BYTES: usize = 256 << 20;

/// Maximum number of JSON values in each component; DeepSeek's, among the longest, have about 60.
const MAX_PARTS: usize = 1000;

/// Maximum length of a regular expression in bytes; the longest in use, DeepSeek's, has about 1,500.
const MAX_REGEX: usize = 8 << 10;

/// Maximum factor by which normalizers and pre-tokenizers together may lengthen a text. For NFKC, lowercasing, SentencePiece's
/// character map and a replacement for spaces, each in the worst case, it is 11 x 2 x 11 x 8.
const MAX_GROWTH: usize = 4096;

/// Maximum factor by which decoders may lengthen a token.
const MAX_DECODED_GROWTH: usize = 64;

/// Maximum number of times that post-processors may insert the text. A typical template has it once, and twice for pairs.
const MAX_REPETITIONS: usize = 8;

/// Maximum length of a token in bytes: the search for the best segmentation looks this far ahead from each character.
const MAX_TOKEN: usize = 4096;

/// Number of ids that a vocabulary may skip in addition to as many as it uses: a model has an embedding row for each id up to the
/// highest.
const FREE_IDS: usize = 1024;

/// Maximum length in characters of a word that WordPiece splits, which takes cubic time; BERT's limit is 100.
const MAX_WORD: usize = 1000;

/// Time limit for trying out a tokenizer on texts of up to 4 KiB, about 30 KiB in all; typical ones process a megabyte in less.
const MAX_TRIAL: Duration = Duration::from_secs(5);

/// Number of bytes that a text may expand to in the worst case without its actual expansion being measured.
const FREE: usize = 4 << 20;

/// Number of bytes that are measured at a time.
const CHUNK: usize = 1 << 10;

/// Upper bound on the average number of bytes per token of a text; vocabularies have about four.
const TOKEN: usize = 128;

/// Minimum size of a part of a text, in bytes.
const MIN_PART: usize = 64 << 10;

/// Maximum factor by which a whole text may grow, as measured: NFKC expands a character to at most 11 times its length.
const MAX_MEASURED_GROWTH: usize = 16;

/// The components of the file that can lengthen a text.
#[derive(Deserialize)]
struct Parts {
    #[serde(default)]
    normalizer: Value,
    #[serde(default)]
    pre_tokenizer: Value,
    #[serde(default)]
    post_processor: Value,
    #[serde(default)]
    decoder: Value,
}

/// A tokenizer that has been checked.
#[derive(Debug, Clone)]
pub struct SubwordTokenizer {
    tokenizer: HfTokenizer,
    /// Upper bound on the factor by which its steps lengthen a text.
    growth: usize,
}

impl SubwordTokenizer {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// Describes what is wrong with the file, or which limit it exceeds.
    pub fn read(json: &str) -> Result<Self, TokenizerFileError> {
        if json.len() > MAX_BYTES {
            return Err(TokenizerFileError::TooLarge { found: json.len(), limit: MAX_BYTES });
        }
        mbm_config::check_json_depth(json.as_bytes()).map_err(|at| TokenizerFileError::TooDeep { at })?;
        let growth = check(&serde_json::from_str(json)?)?;
        let tokenizer = catch_panic(|| HfTokenizer::from_str(json)).ok_or(TokenizerFileError::Contradictory)??;
        let mut pieces = Self { tokenizer, growth };
        pieces.tokenizer.with_padding(None);
        pieces.check_truncation()?;
        pieces.check_vocabulary()?;
        pieces.try_out()?;
        Ok(pieces)
    }

    /// Wraps a tokenizer that was trained here.
    pub fn from_trained(tokenizer: HfTokenizer) -> tokenizers::Result<Self> {
        let parts = serde_json::from_str(&serde_json::to_string(&tokenizer)?)?;
        Ok(Self { tokenizer, growth: check(&parts)? })
    }

    /// Returns the underlying tokenizer.
    pub fn inner(&self) -> &HfTokenizer {
        &self.tokenizer
    }

    /// Truncates texts to `max_steps` tokens, keeping a closing token, whatever the file specifies; texts are never padded.
    pub fn truncated_at(mut self, max_steps: usize) -> Result<Self, TokenizerFileError> {
        self.cut(max_steps)?;
        Ok(self)
    }

    fn cut(&mut self, max_length: usize) -> Result<(), TokenizerFileError> {
        // No stride: the parts that truncation yields do not overlap.
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        self.tokenizer.with_truncation(Some(truncation))?;
        Ok(())
    }

    fn check_truncation(&mut self) -> Result<(), TokenizerFileError> {
        let max_length = self.tokenizer.get_truncation().map(|it| it.max_length);
        max_length.map_or(Ok(()), |max_length| self.cut(max_length))
    }

    /// Encodes a text; `None` if the tokenizer fails. Of a text far longer than the truncation limit, only the start is read.
    pub fn encode(&self, text: &str) -> Option<Encoding> {
        self.encode_part(self.parts(text).next()?)
    }

    /// Returns the number of tokens of a text, including truncated and special ones.
    pub fn n_ids(&self, text: &str) -> usize {
        // Encoding stops soon after the truncation limit, so it cannot tell.
        let n_special = self.tokenizer.get_post_processor().map_or(0, |it| it.added_tokens(false));
        n_special
            + self
                .parts(text)
                .filter_map(|part| if self.is_bounded(part) { catch_panic(|| self.n_tokens(part)).flatten() } else { None })
                .sum::<usize>()
    }

    fn n_tokens(&self, text: &str) -> Option<usize> {
        let mut split = self.split(text)?;
        split.tokenize(|part| self.tokenizer.get_model().tokenize(part.get())).ok()?;
        let splits = split.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        Some(splits.iter().map(|(_, _, tokens)| tokens.as_ref().map_or(0, Vec::len)).sum())
    }

    /// Splits a text into parts that each hold more tokens than the truncation limit; a single part without truncation. Tokens
    /// that absorb preceding spaces, such as `<mask>`, take time quadratic in the size of a part.
    fn parts<'a>(&self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let size = self.tokenizer.get_truncation().map_or(usize::MAX, |it| it.max_length.saturating_mul(TOKEN).max(MIN_PART));
        let mut rest = Some(text);
        std::iter::from_fn(move || {
            let (part, after) = rest?.split_at(rest?.floor_char_boundary(size));
            rest = Some(after).filter(|after| !after.is_empty());
            Some(part)
        })
    }

    fn encode_part(&self, text: &str) -> Option<Encoding> {
        if self.is_bounded(text) { catch_panic(|| self.tokenizer.encode(text, true))?.ok() } else { None }
    }

    /// Whether a text expands little enough to be encoded, judged by its length alone or as measured.
    fn is_bounded(&self, text: &str) -> bool {
        let allowed = text.len() * MAX_MEASURED_GROWTH + FREE;
        text.len().saturating_mul(self.growth) <= FREE || self.expands_within(text, allowed)
    }

    /// Decodes ids into a text, which is empty if the decoder fails.
    pub fn decode(&self, ids: &[u32]) -> String {
        catch_panic(|| self.tokenizer.decode(ids, false)).and_then(Result::ok).unwrap_or_default()
    }

    /// Whether a text has at most `allowed` bytes after normalizers and pre-tokenizers, measured chunk by chunk.
    fn expands_within(&self, text: &str, mut allowed: usize) -> bool {
        let mut rest = text;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.floor_char_boundary(CHUNK));
            let left = catch_panic(|| self.expanded_chunk(chunk)).flatten().and_then(|n_bytes| allowed.checked_sub(n_bytes));
            let Some(left) = left else { return false };
            (allowed, rest) = (left, after);
        }
        true
    }

    fn expanded_chunk(&self, chunk: &str) -> Option<usize> {
        let split = self.split(chunk)?;
        Some(split.get_splits(OffsetReferential::Normalized, OffsetType::Byte).iter().map(|(text, _, _)| text.len()).sum())
    }

    /// Applies normalizers and pre-tokenizers to a text.
    fn split(&self, text: &str) -> Option<PreTokenizedString> {
        let mut split = self.tokenizer.get_added_vocabulary().extract_and_normalize(self.tokenizer.get_normalizer(), text);
        if let Some(steps) = self.tokenizer.get_pre_tokenizer() {
            steps.pre_tokenize(&mut split).ok()?;
        }
        Some(split)
    }

    fn check_vocabulary(&self) -> Result<(), TokenizerFileError> {
        let vocabulary = self.tokenizer.get_vocab(true);
        let longest = vocabulary.keys().map(String::len).max().unwrap_or(0);
        Quantity::TokenBytes.at_most(longest, MAX_TOKEN)?;
        let highest = vocabulary.values().max().map_or(0, |id| *id as usize);
        Quantity::HighestId { n_tokens: vocabulary.len() }.at_most(highest, vocabulary.len() * 2 + FREE_IDS)?;
        match self.tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => Quantity::WordLength.at_most(model.max_input_chars_per_word, MAX_WORD),
            ModelWrapper::BPE(_) | ModelWrapper::WordLevel(_) | ModelWrapper::Unigram(_) => Ok(()),
        }
    }

    /// Encodes and decodes texts of increasing length until one takes too long or makes the tokenizer fail.
    fn try_out(&self) -> Result<(), TokenizerFileError> {
        const MIXED: &str = "A dog's größe, 12.5 km\n\t  ﬁn™ 漢字 한국 🐕\u{301} <s> [MASK] ﷺ x";
        let started = Instant::now();
        for n_bytes in [1, 64, 256, 1024, 4096] {
            for unit in [MIXED, "a", " ", "1", "aB ", "é"] {
                let text: String = unit.chars().cycle().take(n_bytes / unit.len().min(4) + 1).collect();
                let encoded = catch_panic(|| self.tokenizer.encode(text.as_str(), true));
                let decoded = encoded.and_then(|it| {
                    it.map_or(Some(()), |it| catch_panic(|| self.tokenizer.decode(it.get_ids(), false)).map(|_| ()))
                });
                if decoded.is_none() {
                    return Err(TokenizerFileError::FailsOnText);
                }
                if started.elapsed() > MAX_TRIAL {
                    return Err(TokenizerFileError::TooSlow { n_bytes: text.len(), limit: MAX_TRIAL });
                }
            }
        }
        Ok(())
    }
}

/// Checks the components and returns the maximum factor by which they lengthen a text.
fn check(parts: &Parts) -> Result<usize, TokenizerFileError> {
    let Parts { normalizer, pre_tokenizer, post_processor, decoder } = parts;
    for (part, component) in
        [(normalizer, "normalizer"), (pre_tokenizer, "pre_tokenizer"), (post_processor, "post_processor"), (decoder, "decoder")]
    {
        Quantity::Values { component }.at_most(n_values(part), MAX_PARTS)?;
        check_regexes(part)?;
    }
    Quantity::Insertions.at_most(n_repetitions(post_processor), MAX_REPETITIONS)?;
    Quantity::DecoderGrowth.at_most(growth(decoder)?, MAX_DECODED_GROWTH)?;
    let growth = growth(normalizer)?.saturating_mul(growth(pre_tokenizer)?);
    Quantity::Growth.at_most(growth, MAX_GROWTH).map(|()| growth)
}

fn children(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(items) => items.iter().collect(),
        Value::Object(entries) => entries.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

fn n_values(value: &Value) -> usize {
    1 + children(value).into_iter().map(n_values).sum::<usize>()
}

/// Counts the positions in a post-processor's templates that the text is inserted at, written as `$A` or as `{"Sequence": ..}`.
fn n_repetitions(value: &Value) -> usize {
    let own = match value {
        Value::String(text) => text.matches('$').count(),
        Value::Object(entries) => usize::from(entries.contains_key("Sequence")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => 0,
    };
    own + children(value).into_iter().map(n_repetitions).sum::<usize>()
}

/// Returns the product of the maximum factors by which the steps in a value lengthen a text.
fn growth(value: &Value) -> Result<usize, TokenizerFileError> {
    let own = value.as_object().map_or(Ok(1), own_growth)?;
    children(value).into_iter().try_fold(own, |product, child| Ok(product.saturating_mul(growth(child)?)))
}

/// Returns the maximum factor by which one step lengthens a text, by its type, or by the settings that identify an unnamed type.
fn own_growth(step: &Map<String, Value>) -> Result<usize, TokenizerFileError> {
    let text = |key: &str| step.get(key).and_then(Value::as_str);
    let by_type = match text("type").unwrap_or_default() {
        "NFKC" | "NFKD" => 11,
        "NFC" | "NFD" | "ByteLevel" => 3,
        "Bert" | "BertNormalizer" => 6,
        "Metaspace" => 8,
        "Lowercase" | "BPEDecoder" => 2,
        _ => 1,
    };
    let by_settings = [
        text("precompiled_charsmap").map_or(Ok(1), longest_replacement)?,
        step.get("pattern").zip(text("content")).map_or(1, |(pattern, content)| replacement(pattern, content)),
        text("prepend").map_or(1, |prefix| 1 + prefix.len()),
        if step.contains_key("handle_chinese_chars") { 6 } else { 1 },
        if step.contains_key("replacement") { 8 } else { 1 },
        if step.contains_key("trim_offsets") { 3 } else { 1 },
    ];
    Ok(by_settings.into_iter().fold(by_type, usize::max))
}

fn replacement(pattern: &Value, content: &str) -> usize {
    match pattern.get("String").and_then(Value::as_str).unwrap_or_default() {
        // The empty pattern matches before each character.
        "" => 1 + content.len(),
        pattern => content.len().div_ceil(pattern.len()).max(1),
    }
}

/// Returns the maximum factor by which SentencePiece's character map lengthens a text. The map is a trie of integers, followed by
/// NUL-terminated replacements; the longest of them replace up to three bytes.
fn longest_replacement(map: &str) -> Result<usize, TokenizerFileError> {
    let map = STANDARD.decode(map).map_err(|_| TokenizerFileError::DamagedCharsmap)?;
    let (length, rest) = map.split_first_chunk::<4>().ok_or(TokenizerFileError::DamagedCharsmap)?;
    let replacements = rest.get(u32::from_le_bytes(*length) as usize / 4 * 4..).ok_or(TokenizerFileError::DamagedCharsmap)?;
    let longest = replacements.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0);
    Ok(longest.div_ceil(3).max(1))
}

fn check_regexes(value: &Value) -> Result<(), TokenizerFileError> {
    if let Some(regex) = value.get("Regex").and_then(Value::as_str) {
        Quantity::RegexBytes.at_most(regex.len(), MAX_REGEX)?;
        if Regex::new(regex).is_err() && may_backtrack_exponentially(regex) {
            return Err(TokenizerFileError::ExponentialRegex { start: regex.chars().take(60).collect() });
        }
    }
    children(value).into_iter().try_for_each(check_regexes)
}

/// Whether a group that contains repetitions or alternatives is itself repeated, so that a text may match in exponentially many
/// ways. Only called for expressions that need backtracking (look-around, backreferences); all others match in linear time.
fn may_backtrack_exponentially(regex: &str) -> bool {
    let mut chars = regex.chars().peekable();
    // For each open group, whether it contains a repetition or an alternative.
    let mut groups = vec![false];
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                chars.next();
            }
            '[' => skip_class(&mut chars),
            '(' => groups.push(false),
            ')' => {
                let holds = groups.pop().unwrap_or_default();
                let is_repeated = matches!(chars.peek(), Some('*' | '+' | '{'));
                let mut after = chars.clone();
                after.next();
                // `(..)*+` is possessive: it never gives back what it matched.
                if holds && is_repeated && after.peek() != Some(&'+') {
                    return true;
                }
                set_last(&mut groups, holds || is_repeated);
            }
            '*' | '+' | '{' | '|' => set_last(&mut groups, true),
            _ => {}
        }
    }
    false
}

fn set_last(groups: &mut Vec<bool>, holds: bool) {
    match groups.last_mut() {
        Some(last) => *last |= holds,
        None => groups.push(holds),
    }
}

/// Skips to the end of `[..]`, whose first `]` may be one of its characters.
fn skip_class(chars: &mut std::iter::Peekable<std::str::Chars>) {
    let mut depth = 1;
    chars.next_if_eq(&'^');
    chars.next_if_eq(&']');
    while let (Some(c), true) = (chars.next(), depth > 0) {
        match c {
            '\\' => {
                chars.next();
            }
            '[' => depth += 1,
            ']' if depth == 1 => return,
            ']' => depth -= 1,
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tokenizer of single letters with additional components.
    fn tokenizer(parts: &str) -> String {
        let letters: Vec<String> = ('a'..='z').enumerate().map(|(id, c)| format!("\"{c}\": {}", id + 1)).collect();
        let model = format!(
            r#"{{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "", "max_input_chars_per_word": 100,
                "vocab": {{"[UNK]": 0, {}}}}}"#,
            letters.join(", ")
        );
        let comma = if parts.is_empty() { "" } else { "," };
        format!(r#"{{"version": "1.0", "added_tokens": [], "model": {model} {comma} {parts}}}"#)
    }

    fn refused(parts: &str) -> String {
        SubwordTokenizer::read(&tokenizer(parts)).expect_err(parts).to_string()
    }

    const DOUBLING: &str = r#"{"type": "Replace", "pattern": {"String": "a"}, "content": "aa"}"#;

    fn sequence(step: &str, n: usize) -> String {
        format!(
            r#"{{"type": "Sequence", "normalizers": [{}], "pretokenizers": [{}], "decoders": [{}]}}"#,
            vec![step; n].join(","),
            "",
            ""
        )
    }

    #[test]
    fn tokenizer_is_read_and_encodes() {
        let pieces = SubwordTokenizer::read(&tokenizer(&format!(r#""normalizer": {}"#, sequence(DOUBLING, 3)))).unwrap();
        assert_eq!(pieces.encode("ab").unwrap().get_ids(), [[1; 8].as_slice(), &[2]].concat());
        assert_eq!((pieces.growth, pieces.decode(&[1, 2]).as_str()), (8, "a b"));
    }

    #[test]
    fn steps_with_excessive_growth_are_rejected() {
        let normalizer = |steps: &str| refused(&format!(r#""normalizer": {steps}"#));
        assert!(normalizer(&sequence(DOUBLING, 13)).contains("growth factor of a text in normalizer and pre_tokenizer: 8192,"));
        let at_each = r#"{"type": "Replace", "pattern": {"Regex": "x*"}, "content": "bbbbbbbbbbbbbbb"}"#;
        assert!(normalizer(&sequence(at_each, 4)).contains(": 65536,"));
        assert!(normalizer(&sequence(r#"{"type": "NFKC"}"#, 5)).contains(": 161051,"));
        assert!(normalizer(&sequence(r#"{"type": "Prepend", "prepend": "aaaaaaa"}"#, 5)).contains(": 32768,"));
        let bytes = sequence(r#"{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false}"#, 9);
        assert!(
            refused(&format!(r#""pre_tokenizer": {}"#, bytes.replace("normalizers", "x").replace("pretokenizers", "y")))
                .contains("growth factor")
        );
        let decoder = format!(r#""decoder": {}"#, sequence(DOUBLING, 7));
        assert!(refused(&decoder).contains("growth factor of a text in decoder: 128, the limit is 64"));
        let template = r#"{"Sequence": {"id": "A", "type_id": 0}}"#;
        let single = [template; 9].join(",");
        let post = format!(
            r#""post_processor": {{"type": "TemplateProcessing", "single": [{single}], "pair": [], "special_tokens": {{}}}}"#
        );
        assert!(refused(&post).contains("insertions of the text in post_processor: 9, the limit is 8"));
    }

    #[test]
    fn long_texts_are_rejected_only_if_they_grow() {
        let pieces = SubwordTokenizer::read(&tokenizer(&format!(r#""normalizer": {}"#, sequence(DOUBLING, 6)))).unwrap();
        assert!(pieces.encode(&"a".repeat(1 << 18)).is_none());
        assert_eq!(pieces.encode(&"b ".repeat(1 << 17)).unwrap().len(), 1);
        assert_eq!(pieces.encode("a").unwrap().len(), 64);
    }

    #[test]
    fn truncated_texts_are_encoded_in_part_and_counted_in_full() {
        let split = r#""pre_tokenizer": {"type": "WhitespaceSplit"}, "padding": {"strategy": {"Fixed": 1000000000000}, "direction": "Right",
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]", "pad_to_multiple_of": null}"#;
        let pieces = SubwordTokenizer::read(&tokenizer(split)).map(|it| it.truncated_at(4)).unwrap().unwrap();
        let text = "ab c ".repeat(40_000);
        assert_eq!(pieces.encode(&text).unwrap().get_ids(), [1, 2, 3, 1]);
        // Parts happen to be split between words or within "ab", which has two tokens either way.
        assert_eq!((pieces.n_ids(&text), pieces.parts(&text).count()), (120_000, 4));
        assert_eq!((pieces.n_ids("ab"), pieces.n_ids("")), (2, 0));
    }

    #[test]
    fn damaged_character_maps_are_rejected() {
        let map = |bytes: &[u8]| {
            refused(&format!(r#""normalizer": {{"type": "Precompiled", "precompiled_charsmap": "{}"}}"#, STANDARD.encode(bytes)))
        };
        assert!(map(b"").contains("precompiled_charsmap is damaged"));
        assert!(map(&[255; 8]).contains("precompiled_charsmap is damaged"));
        // An empty trie, and one whose root points outside of it.
        assert!(map(&[0; 4]).contains("contradict"));
        assert!(map(&[4, 0, 0, 0, 0, 0xfc, 0xff, 0x0f]).contains("contradict"));
        let long = [[0, 1, 0, 0].as_slice(), &[0; 256], &[b'x'; 30_000]].concat();
        assert!(map(&long).contains(": 10000,"));
        assert!(refused(r#""normalizer": {"type": "Precompiled", "precompiled_charsmap": "*"}"#).contains("damaged"));
        assert!(refused(r#""normalizer": {"type": "Precompiled"}"#).contains("contradict"));
    }

    #[test]
    fn exponential_regular_expressions_are_rejected() {
        for (regex, want) in [
            (r"'s|'t| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+", false),
            (r"(?i:'s|'t|'re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+", false),
            (r"(a+)+(?!b)", true),
            (r"((a|aa)x?)*(?=b)", true),
            (r"([a+*|(]x)+(?=b)", false),
            (r"(a*)*+(?=b)", false),
            (r"(?:(?=(a+))\1)+", true),
            (r"[]|(+]+(?=b)", false),
        ] {
            assert_eq!(may_backtrack_exponentially(regex), want, "{regex}");
        }
        let split = |regex: &str| {
            format!(
                r#""pre_tokenizer": {{"type": "Split", "pattern": {{"Regex": "{regex}"}}, "behavior": "Isolated", "invert": false}}"#
            )
        };
        assert!(refused(&split("(a+)+(?!b)")).contains("repeats a group of repetitions"));
        assert!(refused(&split(&"a".repeat(9000))).contains("bytes in a regular expression: 9000"));
        assert!(SubwordTokenizer::read(&tokenizer(&split("(a+)+"))).is_ok(), "matched in linear time");
    }

    #[test]
    fn nesting_lengths_and_ids_are_limited() {
        let nested = format!(r#""normalizer": {}{}"#, r#"{"type": "Sequence", "normalizers": ["#.repeat(2000), "]}".repeat(2000));
        let json = tokenizer(&nested);
        let small = std::thread::Builder::new().stack_size(256 << 10);
        let message = small.spawn(move || SubwordTokenizer::read(&json).unwrap_err().to_string()).unwrap().join().unwrap();
        assert!(message.ends_with("nested deeper than 64 levels"), "{message}");
        let deepest = format!(r#""normalizer": {}{}"#, r#"{"type": "Sequence", "normalizers": ["#.repeat(31), "]}".repeat(31));
        let json = tokenizer(&deepest);
        let small = std::thread::Builder::new().stack_size(256 << 10);
        small
            .spawn(move || assert!(SubwordTokenizer::read(&json).unwrap().clone().encode("a").is_some()))
            .unwrap()
            .join()
            .unwrap();
        assert!(
            refused(&format!(r#""normalizer": {}"#, sequence(r#"{"type": "Strip", "strip_left": true}"#, 400)))
                .contains("values in normalizer")
        );
        let word = tokenizer("").replace("_per_word\": 100", "_per_word\": 1000000");
        assert!(
            SubwordTokenizer::read(&word)
                .unwrap_err()
                .to_string()
                .contains("max_input_chars_per_word: 1000000, the limit is 1000")
        );
        let token = tokenizer("").replace("\"z\"", &format!("\"{}\"", "z".repeat(5000)));
        assert!(SubwordTokenizer::read(&token).unwrap_err().to_string().contains("bytes in a token: 5000, the limit is 4096"));
        let id = tokenizer("").replace("\"z\": 26", "\"z\": 4294967295");
        assert!(
            SubwordTokenizer::read(&id)
                .unwrap_err()
                .to_string()
                .contains("highest id among 27 tokens: 4294967295, the limit is 1078")
        );
        for broken in ["", "{", "[]", "{}", r#"{"model": {"type": "BPE", "vocab": {}, "merges": ["a"]}}"#] {
            assert!(SubwordTokenizer::read(broken).is_err(), "{broken}");
        }
    }

    /// A tokenizer with every kind of component.
    fn rich() -> String {
        let steps = |steps: &[&str]| steps.join(", ");
        let map = STANDARD.encode([[0, 4, 0, 0].as_slice(), &[0; 1024], b"x\0yz\0"].concat());
        let normalizers = steps(&[
            r#"{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": null, "lowercase": true}"#,
            r#"{"type": "Replace", "pattern": {"Regex": "a{2,3}(?!b)"}, "content": "a"}"#,
            r#"{"type": "Prepend", "prepend": "_"}"#,
            r#"{"type": "Strip", "strip_left": true, "strip_right": true}"#,
            &format!(r#"{{"type": "Precompiled", "precompiled_charsmap": "{map}"}}"#),
        ]);
        let before = steps(&[
            r#"{"type": "Split", "pattern": {"String": "b"}, "behavior": "Isolated", "invert": false}"#,
            r#"{"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": true}"#,
            r#"{"type": "Digits", "individual_digits": true}"#,
            r#"{"type": "FixedLength", "length": 9}"#,
        ]);
        let decoders = steps(&[
            r#"{"type": "Strip", "content": " ", "start": 1, "stop": 0}"#,
            r#"{"type": "WordPiece", "prefix": "_", "cleanup": true}"#,
            r#"{"type": "ByteFallback"}"#,
        ]);
        let piece = r#"{"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "z", "type_id": 0}}"#;
        tokenizer(&format!(
            r#""normalizer": {{"type": "Sequence", "normalizers": [{normalizers}]}},
               "pre_tokenizer": {{"type": "Sequence", "pretokenizers": [{before}]}},
               "post_processor": {{"type": "TemplateProcessing", "single": [{piece}], "pair": [],
                    "special_tokens": {{"z": {{"id": "z", "ids": [26], "tokens": ["z"]}}}}}},
               "decoder": {{"type": "Sequence", "decoders": [{decoders}]}}"#
        ))
    }

    #[test]
    fn every_kind_of_component_is_read() {
        let pieces = SubwordTokenizer::read(&rich()).unwrap();
        assert_eq!(pieces.encode("ab 1").map(|it| it.get_ids().last().copied()), Some(Some(26)));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(50))]
        #[test]
        fn corrupted_tokenizers_are_read_or_rejected(changes in proptest::collection::vec((0usize..4000, b' '..127), 1..4)) {
            let mut json = rich().into_bytes();
            for (at, to) in changes {
                let at = at % json.len();
                json[at] = to;
            }
            if let Ok(pieces) = SubwordTokenizer::read(std::str::from_utf8(&json).unwrap()) {
                let ids = pieces.encode("A dog's größe: 12.5 km, aaa  漢字 🐕");
                let _ = pieces.decode(ids.as_ref().map_or(&[1, 2], |ids| ids.get_ids()));
            }
        }
    }
}
