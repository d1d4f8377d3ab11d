//! CLIP with Hugging Face parameter names; each tower ignores the tensors of the other.

use std::path::Path;

use serde_json::json;

use super::PretrainedError;
use super::family::{Family, Layout, Source};
use super::implied::{Described, Implied, map, prepared_images, tokenized};
use super::transformer::{LayerNames, leaf_source};

pub(crate) const VISION: Family = Family {
    part: "clip",
    prefixes: &[""],
    source: vision,
    is_elsewhere: |name| is_shared(name) || name.starts_with("text_model.") || name == "text_projection.weight",
};

pub(crate) const TEXT: Family = Family {
    part: "clip",
    prefixes: &[""],
    source: text,
    is_elsewhere: |name| is_shared(name) || name.starts_with("vision_model.") || name == "visual_projection.weight",
};

/// Returns the config keys that the weights of the image encoder imply.
///
/// # Errors
/// If a file cannot be read, or describes another kind of network.
pub(crate) fn implied_by_images(weights: &Path) -> Result<Implied, PretrainedError> {
    let config = Described::required(weights)?;
    config.expect("model_type", &["clip"])?;
    let sizes = json!({"patch_size": 32, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5});
    let mut encoder = config.within("vision_config").sizes(sizes);
    encoder.extend(config.sizes(json!({"projection_dim": 512})));
    let prepared = json!({"height": 224, "width": 224, "num_channels": 3, "resize_shorter_side": 224, "interpolation": "bicubic",
        "standardize_image": "clip"});
    Ok(Implied { encoder, preprocessing: prepared_images(weights)?.unwrap_or(map(prepared)) })
}

/// Returns the config keys that the weights of the text encoder imply.
///
/// # Errors
/// If a file cannot be read, or describes another kind of network.
pub(crate) fn implied_by_texts(weights: &Path) -> Result<Implied, PretrainedError> {
    let config = Described::required(weights)?;
    config.expect("model_type", &["clip"])?;
    let sizes = json!({"vocab_size": 49_408, "hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8,
        "intermediate_size": 2048, "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "max_position_embeddings": 77});
    let mut encoder = config.within("text_config").sizes(sizes);
    encoder.extend(config.sizes(json!({"projection_dim": 512})));
    let preprocessing = tokenized(weights, &encoder)?;
    Ok(Implied { encoder, preprocessing })
}

fn is_shared(name: &str) -> bool {
    name == "logit_scale" || name.ends_with("position_ids")
}

const fn layer(layers: &'static str) -> LayerNames {
    LayerNames {
        layers,
        query: "self_attn.q_proj",
        key: "self_attn.k_proj",
        value: "self_attn.v_proj",
        output: "self_attn.out_proj",
        attention_norm: "layer_norm1",
        widen: "mlp.fc1",
        narrow: "mlp.fc2",
        feed_forward_norm: "layer_norm2",
    }
}

fn vision(path: &str) -> Option<Source> {
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["patches", "weight"] => Some(Source::same("vision_model.embeddings.patch_embedding.weight")),
        ["class_token"] => Some(Source { name: "vision_model.embeddings.class_embedding".to_owned(), layout: Layout::Flat }),
        ["positions"] => {
            Some(Source { name: "vision_model.embeddings.position_embedding.weight".to_owned(), layout: Layout::Places })
        }
        // The name is misspelled in the reference implementation.
        ["first_norm", leaf] => leaf_source("vision_model.pre_layrnorm", leaf),
        ["transformer", "layers", rest @ ..] => layer("vision_model.encoder.layers").source(rest),
        ["transformer", "last_norm", leaf] => leaf_source("vision_model.post_layernorm", leaf),
        ["projection", leaf] => leaf_source("visual_projection", leaf),
        _ => None,
    }
}

fn text(path: &str) -> Option<Source> {
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["tokens", "weight"] => Some(Source::same("text_model.embeddings.token_embedding.weight")),
        ["positions"] => Some(Source::same("text_model.embeddings.position_embedding.weight")),
        ["transformer", "layers", rest @ ..] => layer("text_model.encoder.layers").source(rest),
        ["transformer", "last_norm", leaf] => leaf_source("text_model.final_layer_norm", leaf),
        ["projection", leaf] => leaf_source("text_projection", leaf),
        _ => None,
    }
}
