//! Transformer layers under the names used by the various publishers.

use super::family::Source;

/// The names of a layer's submodules, relative to the layer.
pub(super) struct LayerNames {
    /// The prefix of the layer's index.
    pub layers: &'static str,
    pub query: &'static str,
    pub key: &'static str,
    pub value: &'static str,
    pub output: &'static str,
    pub attention_norm: &'static str,
    pub widen: &'static str,
    pub narrow: &'static str,
    pub feed_forward_norm: &'static str,
}

impl LayerNames {
    /// Returns the tensor of a parameter, given its path below `layers`.
    pub fn source(&self, parts: &[&str]) -> Option<Source> {
        let (layer, name, leaf) = match parts {
            [layer, "attention", "query", leaf] => (layer, self.query, leaf),
            [layer, "attention", "key", leaf] => (layer, self.key, leaf),
            [layer, "attention", "value", leaf] => (layer, self.value, leaf),
            [layer, "attention", "output", leaf] => (layer, self.output, leaf),
            [layer, "attention_norm", leaf] => (layer, self.attention_norm, leaf),
            [layer, "widen", leaf] => (layer, self.widen, leaf),
            [layer, "narrow", leaf] => (layer, self.narrow, leaf),
            [layer, "feed_forward_norm", leaf] => (layer, self.feed_forward_norm, leaf),
            _ => return None,
        };
        leaf_source(&format!("{}.{layer}.{name}", self.layers), leaf)
    }
}

/// Returns the tensor of a parameter of a linear layer or a norm.
pub(super) fn leaf_source(name: &str, leaf: &str) -> Option<Source> {
    match leaf {
        "weight" => Some(Source::transposed(format!("{name}.weight"))),
        "gamma" => Some(Source::same(format!("{name}.weight"))),
        "bias" | "beta" => Some(Source::same(format!("{name}.bias"))),
        _ => None,
    }
}
