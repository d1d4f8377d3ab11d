//! wav2vec 2.0 with Hugging Face parameter names. The kernel of the positional convolution is weight-normalized, stored as
//! direction and norm under either of two naming schemes.

use std::path::Path;

use serde_json::json;

use super::PretrainedError;
use super::family::{Family, Layout, Source};
use super::implied::{Described, Implied, map};
use super::transformer::{LayerNames, leaf_source};

/// Returns the config keys that weights imply.
///
/// # Errors
/// If a file cannot be read, or describes another kind of network.
pub(crate) fn implied(weights: &Path) -> Result<Implied, PretrainedError> {
    let config = Described::required(weights)?;
    config.expect("model_type", &["wav2vec2"])?;
    // The large variant is normalized differently.
    config.expect("feat_extract_norm", &["group"])?;
    config.expect_false("do_stable_layer_norm")?;
    config.expect_false("conv_bias")?;
    let encoder = config.sizes(json!({"conv_dim": [512, 512, 512, 512, 512, 512, 512], "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2], "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "num_conv_pos_embeddings": 128, "num_conv_pos_embedding_groups": 16, "layer_norm_eps": 1e-5}));
    Ok(Implied { encoder, preprocessing: map(json!({"type": "raw", "sampling_rate": 16_000})) })
}

const PREFIXES: &[&str] = &["", "wav2vec2."];

pub(crate) const OLDER: Family = Family { part: "wav2vec2", prefixes: PREFIXES, source: older, is_elsewhere };

pub(crate) const NEWER: Family = Family { part: "wav2vec2", prefixes: PREFIXES, source: newer, is_elsewhere };

fn is_elsewhere(name: &str) -> bool {
    let above = ["lm_head.", "quantizer.", "project_q.", "project_hid.", "projector.", "classifier."];
    above.iter().any(|start| name.starts_with(start)) || name.ends_with("masked_spec_embed")
}

const LAYER: LayerNames = LayerNames {
    layers: "encoder.layers",
    query: "attention.q_proj",
    key: "attention.k_proj",
    value: "attention.v_proj",
    output: "attention.out_proj",
    attention_norm: "layer_norm",
    widen: "feed_forward.intermediate_dense",
    narrow: "feed_forward.output_dense",
    feed_forward_norm: "final_layer_norm",
};

fn older(path: &str) -> Option<Source> {
    source(path, "weight_v", "weight_g")
}

fn newer(path: &str) -> Option<Source> {
    source(path, "parametrizations.weight.original1", "parametrizations.weight.original0")
}

fn source(path: &str, direction: &str, length: &str) -> Option<Source> {
    const PLACES: &str = "encoder.pos_conv_embed.conv";
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["convs", at, "weight"] => Some(Source::same(format!("feature_extractor.conv_layers.{at}.conv.weight"))),
        ["first_norm", leaf] => leaf_source("feature_extractor.conv_layers.0.layer_norm", leaf),
        ["feature_norm", leaf] => leaf_source("feature_projection.layer_norm", leaf),
        ["projection", leaf] => leaf_source("feature_projection.projection", leaf),
        ["places", "weight"] => {
            Some(Source { name: format!("{PLACES}.{direction}"), layout: Layout::Direction(format!("{PLACES}.{length}")) })
        }
        ["places", "bias"] => Some(Source::same(format!("{PLACES}.bias"))),
        ["norm", leaf] => leaf_source("encoder.layer_norm", leaf),
        ["transformer", "layers", rest @ ..] => LAYER.source(rest),
        _ => None,
    }
}
