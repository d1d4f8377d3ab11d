//! The vision transformer with torchvision and Hugging Face parameter names.

use std::path::Path;

use mbm_weights::WeightFile;
use serde_json::json;

use super::family::{Family, Layout, Source};
use super::implied::{Described, Implied, imagenet, map};
use super::transformer::{LayerNames, leaf_source};
use super::{Incompatibility, PretrainedError};

pub(crate) const TORCHVISION: Family =
    Family { part: "vit", prefixes: &[""], source: torchvision, is_elsewhere: |name| name.starts_with("heads.") };

pub(crate) const HUGGING_FACE: Family = Family {
    part: "vit",
    prefixes: &["", "vit."],
    source: hugging_face,
    is_elsewhere: |name| name.starts_with("classifier.") || name.contains("pooler."),
};

/// Returns the config keys that weights imply.
///
/// # Errors
/// If a file cannot be read, or describes another kind of network.
pub(crate) fn implied(weights: &Path) -> Result<Implied, PretrainedError> {
    let Some(config) = Described::read_sibling(weights, "config.json")? else { return implied_by_tensors(weights) };
    config.expect("model_type", &["vit"])?;
    let sizes = json!({"patch_size": 16, "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12,
        "intermediate_size": 3072, "hidden_act": "gelu", "layer_norm_eps": 1e-12});
    let mut preprocessing = imagenet(weights)?;
    if let Some(size) = config.values.get("image_size").filter(|_| !config.has_sibling("preprocessor_config.json")) {
        let standardize = preprocessing.remove("standardize_image");
        preprocessing = map(json!({"height": size, "width": size, "num_channels": 3, "standardize_image": standardize}));
    }
    Ok(Implied { encoder: config.sizes(sizes), preprocessing })
}

/// torchvision's files contain only tensors. Their shapes determine everything but the number of heads, which is taken from the
/// published sizes.
fn implied_by_tensors(path: &Path) -> Result<Implied, PretrainedError> {
    let file = WeightFile::open(path)?;
    let shape = |name: &str| file.tensors().get(name).map(|info| info.shape.clone()).unwrap_or_default();
    let (patches, widen) = (shape("conv_proj.weight"), shape("encoder.layers.encoder_layer_0.mlp.0.weight"));
    let ([hidden, _, patch, _], [inner, _]) = (patches.as_slice(), widen.as_slice()) else {
        return Err(PretrainedError::Incompatible { path: path.to_path_buf(), source: Incompatibility::NotTorchvision });
    };
    let n_layers = file.tensors().keys().filter(|name| name.ends_with("self_attention.in_proj_weight")).count();
    let n_heads = if *hidden == 1280 { 16 } else { hidden / 64 };
    let encoder = json!({"patch_size": patch, "hidden_size": hidden, "num_hidden_layers": n_layers,
        "num_attention_heads": n_heads.max(1), "intermediate_size": inner, "hidden_act": "gelu", "layer_norm_eps": 1e-6});
    Ok(Implied { encoder: map(encoder), preprocessing: imagenet(path)? })
}

/// Query, key and value are one tensor, which [`torchvision`] handles.
const TORCHVISION_LAYER: LayerNames = LayerNames {
    layers: "encoder.layers",
    query: "",
    key: "",
    value: "",
    output: "self_attention.out_proj",
    attention_norm: "ln_1",
    widen: "mlp.0",
    narrow: "mlp.3",
    feed_forward_norm: "ln_2",
};

const HUGGING_FACE_LAYER: LayerNames = LayerNames {
    layers: "encoder.layer",
    query: "attention.attention.query",
    key: "attention.attention.key",
    value: "attention.attention.value",
    output: "attention.output.dense",
    attention_norm: "layernorm_before",
    widen: "intermediate.dense",
    narrow: "output.dense",
    feed_forward_norm: "layernorm_after",
};

fn torchvision(path: &str) -> Option<Source> {
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["patches", leaf] => Some(Source::same(format!("conv_proj.{leaf}"))),
        ["class_token"] => Some(Source::same("class_token")),
        ["positions"] => Some(Source { name: "encoder.pos_embedding".to_owned(), layout: Layout::Places }),
        ["transformer", "layers", layer, "attention", which, leaf] if third(which).is_some() => Some(Source {
            name: format!("encoder.layers.encoder_layer_{layer}.self_attention.in_proj_{leaf}"),
            layout: Layout::Third(third(which)?),
        }),
        ["transformer", "layers", layer, rest @ ..] => {
            let layer = format!("encoder_layer_{layer}");
            TORCHVISION_LAYER.source(&[&[layer.as_str()], rest].concat())
        }
        ["transformer", "last_norm", leaf] => leaf_source("encoder.ln", leaf),
        _ => None,
    }
}

/// Returns which third of the tensor of queries, keys and values a projection is.
fn third(which: &str) -> Option<usize> {
    ["query", "key", "value"].iter().position(|it| *it == which)
}

fn hugging_face(path: &str) -> Option<Source> {
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["patches", leaf] => Some(Source::same(format!("embeddings.patch_embeddings.projection.{leaf}"))),
        ["class_token"] => Some(Source::same("embeddings.cls_token")),
        ["positions"] => Some(Source { name: "embeddings.position_embeddings".to_owned(), layout: Layout::Places }),
        ["transformer", "layers", rest @ ..] => HUGGING_FACE_LAYER.source(rest),
        ["transformer", "last_norm", leaf] => leaf_source("layernorm", leaf),
        _ => None,
    }
}
