//! The last layer of a classifying network, whatever its family calls it.

use std::path::Path;

use mbm_weights::WeightFile;

use super::{Family, Layout, PretrainedError, Source, plain};

/// What families call it: torchvision's ResNet, CIFAR's, and MobileNetV2.
const NAMES: [&str; 3] = ["fc.", "linear.", "classifier.1."];

/// The family that a file belongs to by the name of its last layer; the first where it has none of them, so that this is what is
/// said to be missing.
pub(super) fn family(path: &Path) -> Result<Family, PretrainedError> {
    let file = WeightFile::open(path)?;
    let is_there = |prefix: &&str| file.tensors().keys().any(|tensor| plain(tensor) == format!("{prefix}weight"));
    let prefix = NAMES.into_iter().find(is_there).unwrap_or(NAMES[0]);
    Ok(Family { part: "classifier", prefix, source, is_elsewhere: |_| true })
}

fn source(path: &str) -> Option<Source> {
    match path {
        "linear.weight" => Some(Source { name: "weight".to_owned(), layout: Layout::Transposed }),
        "linear.bias" => Some(Source { name: "bias".to_owned(), layout: Layout::Same }),
        _ => None,
    }
}
