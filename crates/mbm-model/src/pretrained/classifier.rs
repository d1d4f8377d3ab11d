//! The last layer of a classifying network, whatever its family calls it.

use super::family::{Family, Source};
use super::transformer::leaf_source;

/// torchvision's ResNet, CIFAR's, MobileNetV2, torchvision's ViT and Hugging Face's.
pub(super) const PYTORCH: Family = Family {
    part: "classifier",
    prefixes: &["fc", "linear", "classifier.1", "heads.head", "classifier"],
    source: |path| leaf_source("", path.strip_prefix("linear.")?),
    is_elsewhere: |_| true,
};

pub(super) const KERAS: Family = Family { part: "classifier", prefixes: &["fc1000/"], source: keras, is_elsewhere: |_| true };

fn keras(path: &str) -> Option<Source> {
    match path {
        "linear.weight" => Some(Source::same("kernel")),
        "linear.bias" => Some(Source::same("bias")),
        _ => None,
    }
}
