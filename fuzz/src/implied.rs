//! Any bytes as the files next to weights: `config.json`, `preprocessor_config.json`, `sentence_bert_config.json`,
//! `tokenizer.json`.

use mbm_model::implied;

const ENCODERS: [(&str, &str); 5] =
    [("image", "vit"), ("image", "clip"), ("text", "clip"), ("text", "bert"), ("audio", "wav2vec2")];

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    for name in ["config.json", "preprocessor_config.json", "sentence_bert_config.json", "tokenizer.json"] {
        if std::fs::write(folder.path().join(name), bytes).is_err() {
            return;
        }
    }
    for (input, encoder) in ENCODERS {
        let _ = implied(input, encoder, folder.path());
    }
}
