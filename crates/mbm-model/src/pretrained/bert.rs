//! BERT, MiniLM and DistilBERT with Hugging Face parameter names.

use super::family::{Family, Source};
use super::transformer::{LayerNames, leaf_source};

/// Whether a tensor belongs to pretraining heads or to layers above the encoder. The pooler belongs to BERT's pretraining task.
fn is_elsewhere(name: &str) -> bool {
    ["cls.", "classifier.", "pre_classifier.", "qa_outputs.", "vocab_"].iter().any(|start| name.starts_with(start))
        || name.contains("pooler.")
        || name.ends_with("position_ids")
}

pub(super) const BERT: Family = Family { part: "bert", prefixes: &["", "bert."], source: bert, is_elsewhere };

pub(super) const DISTILBERT: Family = Family { part: "bert", prefixes: &["", "distilbert."], source: distilbert, is_elsewhere };

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
