//! Any bytes as the files next to weights: `config.json`, `preprocessor_config.json`, `sentence_bert_config.json`,
//! `tokenizer.json`.

use mbm_model::{Modality, implied};

const ENCODERS: [(Modality, &str); 5] = [
    (Modality::Image, "vit"),
    (Modality::Image, "clip"),
    (Modality::Text, "clip"),
    (Modality::Text, "bert"),
    (Modality::Audio, "wav2vec2"),
];

/// Runs the target on an input.
pub fn run(bytes: &[u8]) {
    let Ok(folder) = tempfile::tempdir() else { return };
    for name in ["config.json", "preprocessor_config.json", "sentence_bert_config.json", "tokenizer.json"] {
        if std::fs::write(folder.path().join(name), bytes).is_err() {
            return;
        }
    }
    for (modality, encoder) in ENCODERS {
        let _ = implied(modality, encoder, folder.path());
    }
}
