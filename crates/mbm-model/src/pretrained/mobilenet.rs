//! MobileNetV2 with torchvision parameter names.

use std::path::Path;

use serde_json::Map;

use super::family::{Family, Source};
use super::implied::{Implied, imagenet};
use super::{PretrainedError, conv_norm};

pub(crate) const FAMILY: Family =
    Family { part: "mobilenet_v2", prefixes: &[""], source, is_elsewhere: |name| name.starts_with("classifier.") };

/// Returns the config keys that weights imply.
///
/// # Errors
/// If a file cannot be read, or describes another kind of network.
pub(crate) fn implied(weights: &Path) -> Result<Implied, PretrainedError> {
    Ok(Implied { encoder: Map::new(), preprocessing: imagenet(weights)? })
}

/// `features.0` is the stem, 1 to 17 are the blocks, 18 is the head. The layers of a block are numbered consecutively; the first
/// block has no expansion.
fn source(path: &str) -> Option<Source> {
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["stem", rest @ ..] => numbered("features.0".to_owned(), "0", "1", rest),
        ["head", rest @ ..] => numbered("features.18".to_owned(), "0", "1", rest),
        ["blocks", block, layer, rest @ ..] => {
            let group = format!("features.{}.conv", block.parse::<usize>().ok()? + 1);
            let is_first = *block == "0";
            match *layer {
                "expand" => numbered(group, "0.0", "0.1", rest),
                "depthwise" if is_first => numbered(group, "0.0", "0.1", rest),
                "depthwise" => numbered(group, "1.0", "1.1", rest),
                "project" if is_first => numbered(group, "1", "2", rest),
                "project" => numbered(group, "2", "3", rest),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Returns the source of a parameter of a numbered convolution or of its norm.
fn numbered(group: String, conv: &str, norm: &str, rest: &[&str]) -> Option<Source> {
    conv_norm(rest, format!("{group}.{conv}"), format!("{group}.{norm}"))
}
