//! Any bytes as a `tokenizer.json`, or as a part of a valid one: an error, or ids and a text. No panic may escape, and time and
//! memory must be proportional to the lengths.

use std::path::Path;

use mbm_data::Preprocess;
use mbm_data::feature::{TextPreprocessing, TokenizerKind};
use mbm_data::{Cell, Preprocessor};

const TEXT: &str = "A dog's größe: 12.5 km,\n\t 漢字 ﬁ ™ ﷺ \u{301} 🐕 <s> [MASK] aaaaaaaaaaaaaaaa                 bb";

const MODELS: [&str; 4] = [
    r###"{"type": "WordPiece", "unk_token": "u", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100, "vocab": {"u": 0, "a": 1, "##a": 2, "b": 3}}"###,
    r#"{"type": "BPE", "unk_token": "u", "byte_fallback": false, "vocab": {"u": 0, "a": 1, "b": 2, "aa": 3}, "merges": ["a a"]}"#,
    r#"{"type": "Unigram", "unk_id": 0, "vocab": [["u", 0.0], ["a", -1.0], ["aa", -1.5], ["b", -2.0]], "byte_fallback": false}"#,
    r#"{"type": "WordLevel", "unk_token": "u", "vocab": {"u": 0, "a": 1}}"#,
];

const PARTS: [&str; 5] = ["normalizer", "pre_tokenizer", "post_processor", "decoder", "added_tokens"];

/// Returns the content unchanged, or as a part of a tokenizer.
fn json(kind: u8, content: &str) -> String {
    let (model, part) = (usize::from(kind) % MODELS.len(), usize::from(kind) / MODELS.len() % (PARTS.len() + 2));
    match part.checked_sub(2) {
        None if part == 0 => content.to_owned(),
        None => format!(r#"{{"version": "1.0", "added_tokens": [], "model": {content}}}"#),
        Some(part) => {
            let (model, part) = (MODELS[model], PARTS[part]);
            let tokens = if part == "added_tokens" { "" } else { r#""added_tokens": [],"# };
            format!(r#"{{"version": "1.0", {tokens} "model": {model}, "{part}": {content}}}"#)
        }
    }
}

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else { return };
    let Ok(content) = std::str::from_utf8(content) else { return };
    let Ok(file) = tempfile::NamedTempFile::new() else { return };
    if std::fs::write(file.path(), json(*kind, content)).is_err() {
        return;
    }
    let settings = TextPreprocessing {
        tokenizer: TokenizerKind::HfTokenizer,
        vocab_file: Some(file.path().display().to_string()),
        max_sequence_length: 32,
        ..mbm_config::defaults()
    };
    let Ok(Preprocessor::Text(fitted)) = settings.fitter().finish() else { return };
    for text in [TEXT, &TEXT.repeat(40)] {
        let cell = Cell::text(text);
        if let Ok(payload) = fitted.payload(&cell, Path::new(".")) {
            let _ = fitted.shortened(&cell, &payload);
        }
        let _ = fitted.tokenizer.decode(&fitted.tokenizer.encode(text));
    }
    let saved = serde_json::to_string(&fitted).expect("a fitted tokenizer can be written");
    let _ = serde_json::from_str::<mbm_data::feature::FittedText>(&saved);
}
