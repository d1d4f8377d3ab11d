//! The last layer of classification networks, under the names used by the various families.

use super::family::{Family, Source};
use super::transformer::leaf_source;

/// torchvision's ResNet, the CIFAR ResNets, MobileNetV2, and the ViTs of torchvision and Hugging Face.
pub(crate) const PYTORCH: Family = Family {
    part: "classifier",
    prefixes: &["fc", "linear", "classifier.1", "heads.head", "classifier"],
    source: |path| leaf_source("", path.strip_prefix("linear.")?),
    is_elsewhere: |_| true,
};

pub(crate) const KERAS: Family = Family { part: "classifier", prefixes: &["fc1000/"], source: keras, is_elsewhere: |_| true };

fn keras(path: &str) -> Option<Source> {
    match path {
        "linear.weight" => Some(Source::same("kernel")),
        "linear.bias" => Some(Source::same("bias")),
        _ => None,
    }
}
