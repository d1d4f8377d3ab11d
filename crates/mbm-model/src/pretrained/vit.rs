//! The vision transformer with torchvision and Hugging Face parameter names.

use super::family::{Family, Layout, Source};
use super::transformer::{LayerNames, leaf_source};

pub(super) const TORCHVISION: Family =
    Family { part: "vit", prefixes: &[""], source: torchvision, is_elsewhere: |name| name.starts_with("heads.") };

pub(super) const HUGGING_FACE: Family = Family {
    part: "vit",
    prefixes: &["", "vit."],
    source: hugging_face,
    is_elsewhere: |name| name.starts_with("classifier.") || name.contains("pooler."),
};

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
    let third = |which: &str| ["query", "key", "value"].iter().position(|it| *it == which);
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
