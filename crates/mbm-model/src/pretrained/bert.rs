//! BERT, MiniLM and DistilBERT with Hugging Face parameter names.

use std::path::Path;

use serde_json::json;

use super::PretrainedError;
use super::family::{Family, Source};
use super::implied::{Described, Implied, map, tokenized};
use super::transformer::{LayerNames, leaf_source};

/// Returns the config keys that weights imply.
///
/// # Errors
/// If a file cannot be read, or describes another kind of network.
pub(crate) fn implied(weights: &Path) -> Result<Implied, PretrainedError> {
    let config = Described::required(weights)?;
    config.expect("model_type", &["bert", "distilbert"])?;
    config.expect("position_embedding_type", &["absolute"])?;
    let encoder = if config.values.get("model_type") == Some(&json!("distilbert")) {
        let sizes = config.sizes(json!({"vocab_size": 30_522, "dim": 768, "n_layers": 6, "n_heads": 12, "hidden_dim": 3072,
            "activation": "gelu", "max_position_embeddings": 512}));
        map(json!({"vocab_size": sizes["vocab_size"], "hidden_size": sizes["dim"], "num_hidden_layers": sizes["n_layers"],
            "num_attention_heads": sizes["n_heads"], "intermediate_size": sizes["hidden_dim"], "hidden_act": sizes["activation"],
            "max_position_embeddings": sizes["max_position_embeddings"], "type_vocab_size": 0, "layer_norm_eps": 1e-12}))
    } else {
        config.sizes(json!({"vocab_size": 30_522, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
            "intermediate_size": 3072, "hidden_act": "gelu", "max_position_embeddings": 512, "type_vocab_size": 2,
            "layer_norm_eps": 1e-12}))
    };
    let preprocessing = tokenized(weights, &encoder)?;
    Ok(Implied { encoder, preprocessing })
}

/// Whether a tensor belongs to pretraining heads or to layers above the encoder. The pooler belongs to BERT's pretraining task.
fn is_elsewhere(name: &str) -> bool {
    ["cls.", "classifier.", "pre_classifier.", "qa_outputs.", "vocab_"].iter().any(|start| name.starts_with(start))
        || name.contains("pooler.")
        || name.ends_with("position_ids")
}

pub(crate) const BERT: Family = Family { part: "bert", prefixes: &["", "bert."], source: bert, is_elsewhere };

pub(crate) const DISTILBERT: Family = Family { part: "bert", prefixes: &["", "distilbert."], source: distilbert, is_elsewhere };

const BERT_LAYER: LayerNames = LayerNames {
    layers: "encoder.layer",
    query: "attention.self.query",
    key: "attention.self.key",
    value: "attention.self.value",
    output: "attention.output.dense",
    attention_norm: "attention.output.LayerNorm",
    widen: "intermediate.dense",
    narrow: "output.dense",
    feed_forward_norm: "output.LayerNorm",
};

const DISTILBERT_LAYER: LayerNames = LayerNames {
    layers: "transformer.layer",
    query: "attention.q_lin",
    key: "attention.k_lin",
    value: "attention.v_lin",
    output: "attention.out_lin",
    attention_norm: "sa_layer_norm",
    widen: "ffn.lin1",
    narrow: "ffn.lin2",
    feed_forward_norm: "output_layer_norm",
};

fn bert(path: &str) -> Option<Source> {
    source(path, &BERT_LAYER)
}

fn distilbert(path: &str) -> Option<Source> {
    source(path, &DISTILBERT_LAYER)
}

fn source(path: &str, layer: &LayerNames) -> Option<Source> {
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["tokens", "weight"] => Some(Source::same("embeddings.word_embeddings.weight")),
        ["positions"] => Some(Source::same("embeddings.position_embeddings.weight")),
        ["segments"] => Some(Source::same("embeddings.token_type_embeddings.weight")),
        ["first_norm", leaf] => leaf_source("embeddings.LayerNorm", leaf),
        ["transformer", "layers", rest @ ..] => layer.source(rest),
        _ => None,
    }
}
