//! What a `tokenizer.json` may ask for: it is a small program, and one that somebody else has written.
//!
//! Its normalizers, pre-tokenizers and decoders are steps that each may lengthen a text, so that a dozen of them can make gigabytes of a
//! word; its regular expressions may go back without end; and where its parts contradict each other, the `tokenizers` crate panics. So the
//! parts are looked at before they are built: how many there are, and how much longer they may make a text, multiplied. What is left is
//! tried on short texts, and every later call is guarded against panics.

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

use crate::catch_panic::guarded;

/// Bytes of a `tokenizer.json`, at most; that of Gemma, among the largest, has 33 MiB.
const MAX_BYTES: usize = 256 << 20;

/// Values in the lists of steps, at most; DeepSeek's, among the longest, have about 60.
const MAX_PARTS: usize = 1000;

/// Bytes of a regular expression, at most; the longest in use, DeepSeek's, has about 1,500.
const MAX_REGEX: usize = 8 << 10;

/// How much longer steps may make a text, multiplied. Of NFKC, small letters, SentencePiece's map and a sign for spaces, each at its worst,
/// that is 11 x 2 x 11 x 8.
const MAX_GROWTH: usize = 4096;

/// How much longer decoders may make a token.
const MAX_DECODED_GROWTH: usize = 64;

/// Times that the text may stand in what post-processors make of it. A usual template has it once alone and twice for pairs.
const MAX_REPETITIONS: usize = 8;

/// Bytes of a token, at most: the search for the best tokens looks so far ahead from each character.
const MAX_TOKEN: usize = 4096;

/// Ids that a vocabulary may leave out besides as many as it has: a model has a row of numbers for each id up to the highest.
const FREE_IDS: usize = 1024;

/// Characters of a word, at most, that WordPiece takes apart, which takes time by their cube; BERT has 100.
const MAX_WORD: usize = 1000;

/// What texts of up to 4 KiB may take together, about 30 KiB of them, when a tokenizer is tried; usual ones read a megabyte in less.
const MAX_TRIAL: Duration = Duration::from_secs(5);

/// Bytes that a text may become at its worst without a look at how long it does become.
const FREE: usize = 4 << 20;

/// Bytes that are looked at together.
const CHUNK: usize = 1 << 10;

/// Bytes of a token that no text has more of on average; vocabularies have about four.
const TOKEN: usize = 128;

/// Bytes of a part of a text, at least.
const MIN_PART: usize = 64 << 10;

/// How much longer a whole text may become, as measured: NFKC's longest answer is 11 times as long as its character.
const MAX_MEASURED_GROWTH: usize = 16;

/// The parts of the file that make texts longer.
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

/// A tokenizer that has been looked at.
#[derive(Debug, Clone)]
pub struct Pieces {
    tokenizer: HfTokenizer,
    /// How much longer its steps make a text at most.
    growth: usize,
}

impl Pieces {
    /// Reads a `tokenizer.json`.
    ///
    /// # Errors
    /// What is wrong with it, or what it asks for that is not done.
    pub fn read(json: &str) -> Result<Self, String> {
        if json.len() > MAX_BYTES {
            return Err(format!("{} bytes; a tokenizer.json has at most {MAX_BYTES}", json.len()));
        }
        let deepest = mbm_config::MAX_DEPTH;
        mbm_config::check_json_depth(json.as_bytes()).map_err(|at| format!("byte {at}: nested deeper than {deepest} levels"))?;
        let growth = check(&serde_json::from_str(json).map_err(|error| error.to_string())?)?;
        let tokenizer = guarded(|| HfTokenizer::from_str(json)).ok_or("its parts contradict each other")?;
        let mut pieces = Self { tokenizer: tokenizer.map_err(|error| error.to_string())?, growth };
        pieces.tokenizer.with_padding(None);
        pieces.check_truncation()?;
        pieces.check_vocabulary()?;
        pieces.try_out()?;
        Ok(pieces)
    }

    /// One of our own making.
    pub fn own(tokenizer: HfTokenizer) -> tokenizers::Result<Self> {
        let parts = serde_json::from_str(&serde_json::to_string(&tokenizer)?)?;
        Ok(Self { tokenizer, growth: check(&parts)? })
    }

    /// The tokenizer as it is.
    pub fn inner(&self) -> &HfTokenizer {
        &self.tokenizer
    }

    /// Texts are cut so that a closing token stays, whatever the file says; they are never padded.
    pub fn cut_at(mut self, max_steps: usize) -> Result<Self, String> {
        self.cut(max_steps)?;
        Ok(self)
    }

    fn cut(&mut self, max_length: usize) -> Result<(), String> {
        // Parts that are cut off do not overlap.
        let truncation = TruncationParams { max_length, ..TruncationParams::default() };
        self.tokenizer.with_truncation(Some(truncation)).map(|_| ()).map_err(|error| error.to_string())
    }

    fn check_truncation(&mut self) -> Result<(), String> {
        let max_length = self.tokenizer.get_truncation().map(|it| it.max_length);
        max_length.map_or(Ok(()), |max_length| self.cut(max_length))
    }

    /// The tokens of a text; nothing for one that the tokenizer cannot take. Of a text far longer than what is kept of it, only the
    /// beginning is looked at.
    pub fn encode(&self, text: &str) -> Option<Encoding> {
        self.encode_part(self.parts(text).next()?)
    }

    /// How many tokens a text has, those that are cut off and special ones included.
    pub fn n_ids(&self, text: &str) -> usize {
        // Encoding ends soon behind what is kept, so it cannot tell.
        let n_own = |part| if self.is_bounded(part) { guarded(|| self.n_tokens(part)).flatten() } else { None };
        let n_special = self.tokenizer.get_post_processor().map_or(0, |it| it.added_tokens(false));
        n_special + self.parts(text).filter_map(n_own).sum::<usize>()
    }

    fn n_tokens(&self, text: &str) -> Option<usize> {
        let mut split = self.split(text)?;
        split.tokenize(|part| self.tokenizer.get_model().tokenize(part.get())).ok()?;
        let splits = split.get_splits(OffsetReferential::Normalized, OffsetType::Byte);
        Some(splits.iter().map(|(_, _, tokens)| tokens.as_ref().map_or(0, Vec::len)).sum())
    }

    /// The text in parts that each hold more tokens than are kept; one where nothing is cut off. Tokens that take spaces before them along,
    /// such as `<mask>`, take time by the square of a part.
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
        if self.is_bounded(text) { guarded(|| self.tokenizer.encode(text, true))?.ok() } else { None }
    }

    /// Whether a text becomes little enough to be encoded, by its length alone or as measured.
    fn is_bounded(&self, text: &str) -> bool {
        let allowed = text.len() * MAX_MEASURED_GROWTH + FREE;
        text.len().saturating_mul(self.growth) <= FREE || self.unfolds_within(text, allowed)
    }

    /// The text of tokens; nothing where the decoder fails.
    pub fn decode(&self, ids: &[u32]) -> String {
        guarded(|| self.tokenizer.decode(ids, false)).and_then(Result::ok).unwrap_or_default()
    }

    /// Whether a text takes so many bytes at most behind normalizers and pre-tokenizers, measured chunk by chunk.
    fn unfolds_within(&self, text: &str, mut allowed: usize) -> bool {
        let mut rest = text;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.floor_char_boundary(CHUNK));
            let left = guarded(|| self.unfolded_chunk(chunk)).flatten().and_then(|n_bytes| allowed.checked_sub(n_bytes));
            let Some(left) = left else { return false };
            (allowed, rest) = (left, after);
        }
        true
    }

    fn unfolded_chunk(&self, chunk: &str) -> Option<usize> {
        let split = self.split(chunk)?;
        Some(split.get_splits(OffsetReferential::Normalized, OffsetType::Byte).iter().map(|(text, _, _)| text.len()).sum())
    }

    /// A text behind normalizers and pre-tokenizers.
    fn split(&self, text: &str) -> Option<PreTokenizedString> {
        let mut split = self.tokenizer.get_added_vocabulary().extract_and_normalize(self.tokenizer.get_normalizer(), text);
        if let Some(steps) = self.tokenizer.get_pre_tokenizer() {
            steps.pre_tokenize(&mut split).ok()?;
        }
        Some(split)
    }

    fn check_vocabulary(&self) -> Result<(), String> {
        let vocabulary = self.tokenizer.get_vocab(true);
        let longest = vocabulary.keys().map(String::len).max().unwrap_or(0);
        at_most(longest, MAX_TOKEN, "bytes of a token")?;
        let highest = vocabulary.values().max().map_or(0, |id| *id as usize);
        at_most(highest, vocabulary.len() * 2 + FREE_IDS, &format!("as an id among {} tokens", vocabulary.len()))?;
        match self.tokenizer.get_model() {
            ModelWrapper::WordPiece(model) => at_most(model.max_input_chars_per_word, MAX_WORD, "max_input_chars_per_word"),
            ModelWrapper::BPE(_) | ModelWrapper::WordLevel(_) | ModelWrapper::Unigram(_) => Ok(()),
        }
    }

    /// Encodes and decodes texts that grow until one takes too long or makes the tokenizer fail.
    fn try_out(&self) -> Result<(), String> {
        const MIXED: &str = "A dog's größe, 12.5 km\n\t  ﬁn™ 漢字 한국 🐕\u{301} <s> [MASK] ﷺ x";
        let started = Instant::now();
        for n_bytes in [1, 64, 256, 1024, 4096] {
            for unit in [MIXED, "a", " ", "1", "aB ", "é"] {
                let text: String = unit.chars().cycle().take(n_bytes / unit.len().min(4) + 1).collect();
                let encoded = guarded(|| self.tokenizer.encode(text.as_str(), true));
                let decoded = encoded
                    .and_then(|it| it.map_or(Some(()), |it| guarded(|| self.tokenizer.decode(it.get_ids(), false)).map(|_| ())));
                if decoded.is_none() {
                    return Err("its parts contradict each other: it fails on a text".to_owned());
                }
                if started.elapsed() > MAX_TRIAL {
                    return Err(format!("texts of up to {} bytes took it more than {MAX_TRIAL:?}", text.len()));
                }
            }
        }
        Ok(())
    }
}

fn at_most(found: usize, allowed: usize, what: &str) -> Result<(), String> {
    if found <= allowed { Ok(()) } else { Err(format!("{found} {what}, at most {allowed} are allowed")) }
}

/// Looks at the parts; how much longer they make a text at most.
fn check(parts: &Parts) -> Result<usize, String> {
    let Parts { normalizer, pre_tokenizer, post_processor, decoder } = parts;
    for (part, name) in
        [(normalizer, "normalizer"), (pre_tokenizer, "pre_tokenizer"), (post_processor, "post_processor"), (decoder, "decoder")]
    {
        at_most(n_values(part), MAX_PARTS, &format!("values in {name}"))?;
        check_regexes(part)?;
    }
    at_most(n_repetitions(post_processor), MAX_REPETITIONS, "times the text in post_processor")?;
    at_most(growth(decoder)?, MAX_DECODED_GROWTH, "times as long a text by its decoder")?;
    let growth = growth(normalizer)?.saturating_mul(growth(pre_tokenizer)?);
    at_most(growth, MAX_GROWTH, "times as long a text by its normalizer and pre_tokenizer").map(|()| growth)
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

/// Places of a post-processor's templates that the text is put into, written as `$A` or as `{"Sequence": ..}`.
fn n_repetitions(value: &Value) -> usize {
    let own = match value {
        Value::String(text) => text.matches('$').count(),
        Value::Object(entries) => usize::from(entries.contains_key("Sequence")),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => 0,
    };
    own + children(value).into_iter().map(n_repetitions).sum::<usize>()
}

/// How much longer the steps in a value make a text at most, multiplied.
fn growth(value: &Value) -> Result<usize, String> {
    let own = value.as_object().map_or(Ok(1), own_growth)?;
    children(value).into_iter().try_fold(own, |product, child| Ok(product.saturating_mul(growth(child)?)))
}

/// How much longer one step makes a text: by its type, or by the settings that a type without a name is told by.
fn own_growth(step: &Map<String, Value>) -> Result<usize, String> {
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
        // Found before each character.
        "" => 1 + content.len(),
        pattern => content.len().div_ceil(pattern.len()).max(1),
    }
}

/// How much longer the map of SentencePiece makes a character: a tree of numbers, and behind it replacements that end with a zero. What is
/// replaced is up to three bytes long where its replacement is the longest.
fn longest_replacement(map: &str) -> Result<usize, String> {
    let damaged = || "its precompiled_charsmap is damaged".to_owned();
    let map = STANDARD.decode(map).map_err(|_| damaged())?;
    let (length, rest) = map.split_first_chunk::<4>().ok_or_else(damaged)?;
    let replacements = rest.get(u32::from_le_bytes(*length) as usize / 4 * 4..).ok_or_else(damaged)?;
    let longest = replacements.split(|byte| *byte == 0).map(<[u8]>::len).max().unwrap_or(0);
    Ok(longest.div_ceil(3).max(1))
}

fn check_regexes(value: &Value) -> Result<(), String> {
    if let Some(regex) = value.get("Regex").and_then(Value::as_str) {
        at_most(regex.len(), MAX_REGEX, "bytes of a regular expression")?;
        if Regex::new(regex).is_err() && goes_back_without_end(regex) {
            let start: String = regex.chars().take(60).collect();
            return Err(format!(
                "the regular expression '{start}' repeats a group of repetitions or choices, which may take for ever"
            ));
        }
    }
    children(value).into_iter().try_for_each(check_regexes)
}

/// Whether a group is repeated without end that has repetitions or choices in it, so that a text may fit in exponentially many ways. Only
/// what needs going back at all (looking around, references) is asked; everything else is matched in linear time.
fn goes_back_without_end(regex: &str) -> bool {
    let mut chars = regex.chars().peekable();
    // For each open group whether it holds a repetition or a choice.
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
                // `(..)*+` takes what it takes.
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

/// Goes to the end of `[..]`, whose first `]` may be one of its characters.
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

    /// A tokenizer of letters with parts of its own.
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
        Pieces::read(&tokenizer(parts)).expect_err(parts)
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
    fn a_tokenizer_is_read_and_gives_its_ids() {
        let pieces = Pieces::read(&tokenizer(&format!(r#""normalizer": {}"#, sequence(DOUBLING, 3)))).unwrap();
        assert_eq!(pieces.encode("ab").unwrap().get_ids(), [[1; 8].as_slice(), &[2]].concat());
        assert_eq!((pieces.growth, pieces.decode(&[1, 2]).as_str()), (8, "a b"));
    }

    #[test]
    fn steps_that_make_a_text_longer_without_end_are_refused() {
        let normalizer = |steps: &str| refused(&format!(r#""normalizer": {steps}"#));
        assert!(normalizer(&sequence(DOUBLING, 13)).contains("8192 times as long a text by its normalizer and pre_tokenizer"));
        let at_each = r#"{"type": "Replace", "pattern": {"Regex": "x*"}, "content": "bbbbbbbbbbbbbbb"}"#;
        assert!(normalizer(&sequence(at_each, 4)).contains("65536 times"));
        assert!(normalizer(&sequence(r#"{"type": "NFKC"}"#, 5)).contains("161051 times"));
        assert!(normalizer(&sequence(r#"{"type": "Prepend", "prepend": "aaaaaaa"}"#, 5)).contains("32768 times"));
        let bytes = sequence(r#"{"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": false}"#, 9);
        assert!(
            refused(&format!(r#""pre_tokenizer": {}"#, bytes.replace("normalizers", "x").replace("pretokenizers", "y")))
                .contains("times")
        );
        let decoder = format!(r#""decoder": {}"#, sequence(DOUBLING, 7));
        assert!(refused(&decoder).contains("128 times as long a text by its decoder, at most 64"));
        let template = r#"{"Sequence": {"id": "A", "type_id": 0}}"#;
        let single = [template; 9].join(",");
        let post = format!(
            r#""post_processor": {{"type": "TemplateProcessing", "single": [{single}], "pair": [], "special_tokens": {{}}}}"#
        );
        assert!(refused(&post).contains("9 times the text in post_processor, at most 8"));
    }

    #[test]
    fn a_long_text_that_grows_is_not_taken_and_one_that_does_not_is() {
        let pieces = Pieces::read(&tokenizer(&format!(r#""normalizer": {}"#, sequence(DOUBLING, 6)))).unwrap();
        assert!(pieces.encode(&"a".repeat(1 << 18)).is_none());
        assert_eq!(pieces.encode(&"b ".repeat(1 << 17)).unwrap().len(), 1);
        assert_eq!(pieces.encode("a").unwrap().len(), 64);
    }

    #[test]
    fn of_a_text_that_is_cut_only_the_beginning_is_looked_at_and_all_is_counted() {
        let split = r#""pre_tokenizer": {"type": "WhitespaceSplit"}, "padding": {"strategy": {"Fixed": 1000000000000}, "direction": "Right",
            "pad_id": 0, "pad_type_id": 0, "pad_token": "[UNK]", "pad_to_multiple_of": null}"#;
        let pieces = Pieces::read(&tokenizer(split)).map(|it| it.cut_at(4)).unwrap().unwrap();
        let text = "ab c ".repeat(40_000);
        assert_eq!(pieces.encode(&text).unwrap().get_ids(), [1, 2, 3, 1]);
        // The seams of parts lie between words by chance or within "ab", which has two tokens anyhow.
        assert_eq!((pieces.n_ids(&text), pieces.parts(&text).count()), (120_000, 4));
        assert_eq!((pieces.n_ids("ab"), pieces.n_ids("")), (2, 0));
    }

    #[test]
    fn a_damaged_map_of_characters_is_refused() {
        let map = |bytes: &[u8]| {
            refused(&format!(r#""normalizer": {{"type": "Precompiled", "precompiled_charsmap": "{}"}}"#, STANDARD.encode(bytes)))
        };
        assert!(map(b"").contains("precompiled_charsmap is damaged"));
        assert!(map(&[255; 8]).contains("precompiled_charsmap is damaged"));
        // An empty tree, and one whose root leads outside of it.
        assert!(map(&[0; 4]).contains("contradict"));
        assert!(map(&[4, 0, 0, 0, 0, 0xfc, 0xff, 0x0f]).contains("contradict"));
        let long = [[0, 1, 0, 0].as_slice(), &[0; 256], &[b'x'; 30_000]].concat();
        assert!(map(&long).contains("10000 times as long"));
        assert!(refused(r#""normalizer": {"type": "Precompiled", "precompiled_charsmap": "*"}"#).contains("damaged"));
        assert!(refused(r#""normalizer": {"type": "Precompiled"}"#).contains("contradict"));
    }

    #[test]
    fn regular_expressions_that_may_take_for_ever_are_refused() {
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
            assert_eq!(goes_back_without_end(regex), want, "{regex}");
        }
        let split = |regex: &str| {
            format!(
                r#""pre_tokenizer": {{"type": "Split", "pattern": {{"Regex": "{regex}"}}, "behavior": "Isolated", "invert": false}}"#
            )
        };
        assert!(refused(&split("(a+)+(?!b)")).contains("repeats a group of repetitions"));
        assert!(refused(&split(&"a".repeat(9000))).contains("9000 bytes of a regular expression"));
        assert!(Pieces::read(&tokenizer(&split("(a+)+"))).is_ok(), "matched in linear time");
    }

    #[test]
    fn nesting_lengths_and_words_have_limits() {
        let nested = format!(r#""normalizer": {}{}"#, r#"{"type": "Sequence", "normalizers": ["#.repeat(2000), "]}".repeat(2000));
        let json = tokenizer(&nested);
        let small = std::thread::Builder::new().stack_size(256 << 10);
        let message = small.spawn(move || Pieces::read(&json).unwrap_err()).unwrap().join().unwrap();
        assert!(message.ends_with("nested deeper than 64 levels"), "{message}");
        let deepest = format!(r#""normalizer": {}{}"#, r#"{"type": "Sequence", "normalizers": ["#.repeat(31), "]}".repeat(31));
        let json = tokenizer(&deepest);
        let small = std::thread::Builder::new().stack_size(256 << 10);
        small.spawn(move || assert!(Pieces::read(&json).unwrap().clone().encode("a").is_some())).unwrap().join().unwrap();
        assert!(
            refused(&format!(r#""normalizer": {}"#, sequence(r#"{"type": "Strip", "strip_left": true}"#, 400)))
                .contains("values in normalizer")
        );
        let word = tokenizer("").replace("_per_word\": 100", "_per_word\": 1000000");
        assert!(Pieces::read(&word).unwrap_err().contains("1000000 max_input_chars_per_word, at most 1000"));
        let token = tokenizer("").replace("\"z\"", &format!("\"{}\"", "z".repeat(5000)));
        assert!(Pieces::read(&token).unwrap_err().contains("5000 bytes of a token, at most 4096"));
        let id = tokenizer("").replace("\"z\": 26", "\"z\": 4294967295");
        assert!(Pieces::read(&id).unwrap_err().contains("4294967295 as an id among 27 tokens, at most 1078"));
        for broken in ["", "{", "[]", "{}", r#"{"model": {"type": "BPE", "vocab": {}, "merges": ["a"]}}"#] {
            assert!(Pieces::read(broken).is_err(), "{broken}");
        }
    }

    /// A tokenizer with a part of every kind.
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
    fn every_kind_of_part_is_read() {
        let pieces = Pieces::read(&rich()).unwrap();
        assert_eq!(pieces.encode("ab 1").map(|it| it.get_ids().last().copied()), Some(Some(26)));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(50))]
        #[test]
        fn a_tokenizer_with_changed_bytes_is_read_or_refused(changes in proptest::collection::vec((0usize..4000, b' '..127), 1..4)) {
            let mut json = rich().into_bytes();
            for (at, to) in changes {
                let at = at % json.len();
                json[at] = to;
            }
            if let Ok(pieces) = Pieces::read(std::str::from_utf8(&json).unwrap()) {
                let ids = pieces.encode("A dog's größe: 12.5 km, aaa  漢字 🐕");
                let _ = pieces.decode(ids.as_ref().map_or(&[1, 2], |ids| ids.get_ids()));
            }
        }
    }
}
