//! Residual networks with the parameter names of torchvision, which `pytorch_resnet_cifar10` follows for its small networks, and
//! of Keras' ResNet-50.

use std::path::Path;

use mbm_weights::WeightFile;
use serde_json::{Map, json};

use super::family::{Family, Layout, Source};
use super::implied::{Implied, imagenet, map};
use super::{PretrainedError, conv_norm};

pub(crate) const TORCHVISION: Family = Family {
    part: "resnet",
    prefixes: &[""],
    source: torchvision,
    is_elsewhere: |name| name.starts_with("fc.") || name.starts_with("linear."),
};

/// Keras' original naming (`res2a_branch2a`): kernels are `[height, width, in, out]`, convolutions have biases, and the epsilon
/// of batch norms is 1e-3.
pub(crate) const KERAS: Family =
    Family { part: "resnet", prefixes: &[""], source: keras, is_elsewhere: |name| name.starts_with("fc1000/") };

/// Settings to try for a file of unknown weights.
pub(crate) const CANDIDATES: &[&str] = &[
    "{type: resnet, model_variant: 18}",
    "{type: resnet, model_variant: 34}",
    "{type: resnet, model_variant: 50}",
    "{type: resnet, model_variant: 50, stride_in_1x1: true}",
    "{type: resnet, model_variant: 101}",
    "{type: resnet, model_variant: 152}",
    "{type: resnet, model_variant: 20}",
    "{type: resnet, model_variant: 32}",
    "{type: resnet, model_variant: 44}",
    "{type: resnet, model_variant: 56}",
    "{type: resnet, model_variant: 110}",
];

/// Returns the config keys that weights imply.
///
/// # Errors
/// If a file cannot be read, or describes another kind of network.
pub(crate) fn implied(weights: &Path) -> Result<Implied, PretrainedError> {
    let file = WeightFile::open(weights)?;
    if file.tensors().contains_key("conv1/kernel") {
        let preprocessing = map(json!({"height": 224, "width": 224, "num_channels": 3, "standardize_image": "caffe"}));
        return Ok(Implied { encoder: map(json!({"stride_in_1x1": true})), preprocessing });
    }
    let is_small = file.tensors().iter().any(|(name, info)| name.ends_with("conv1.weight") && info.shape == [16, 3, 3, 3]);
    let preprocessing = if is_small {
        map(json!({"height": 32, "width": 32, "num_channels": 3, "standardize_image": "imagenet1k"}))
    } else {
        imagenet(weights)?
    };
    Ok(Implied { encoder: Map::new(), preprocessing })
}

fn torchvision(path: &str) -> Option<Source> {
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["stem", rest @ ..] => conv_norm(rest, "conv1".to_owned(), "bn1".to_owned()),
        ["stages", stage, block, "convs", at, rest @ ..] => {
            let (layer, at) = (format!("layer{}.{block}", number(stage)?), number(at)?);
            conv_norm(rest, format!("{layer}.conv{at}"), format!("{layer}.bn{at}"))
        }
        ["stages", stage, block, "shortcut", rest @ ..] => {
            let shortcut = format!("layer{}.{block}.downsample", number(stage)?);
            conv_norm(rest, format!("{shortcut}.0"), format!("{shortcut}.1"))
        }
        _ => None,
    }
}

/// torchvision counts stages and convolutions from 1.
fn number(at: &str) -> Option<usize> {
    at.parse::<usize>().ok().map(|at| at + 1)
}

fn keras(path: &str) -> Option<Source> {
    let parts: Vec<&str> = path.split('.').collect();
    match parts.as_slice() {
        ["stem", rest @ ..] => keras_conv_norm(rest, "conv1", "bn_conv1"),
        ["stages", at, block, "convs", conv, rest @ ..] => {
            let name = format!("{}{}_branch2{}", keras_stage(at)?, letter(block)?, letter(conv)?);
            keras_conv_norm(rest, &format!("res{name}"), &format!("bn{name}"))
        }
        ["stages", at, block, "shortcut", rest @ ..] => {
            let name = format!("{}{}_branch1", keras_stage(at)?, letter(block)?);
            keras_conv_norm(rest, &format!("res{name}"), &format!("bn{name}"))
        }
        _ => None,
    }
}

/// Keras counts the stem as stage 1.
fn keras_stage(at: &str) -> Option<usize> {
    at.parse::<usize>().ok().map(|at| at + 2)
}

fn letter(at: &str) -> Option<char> {
    at.parse::<u8>().ok().filter(|at| *at < 26).map(|at| char::from(b'a' + at))
}

/// Our convolutions have no bias and our norms an epsilon of 1e-5: the bias is folded into the running mean, the difference in
/// epsilon into the running variance.
fn keras_conv_norm(parts: &[&str], conv: &str, norm: &str) -> Option<Source> {
    let (name, layout) = match parts {
        ["conv", "weight"] => (format!("{conv}/kernel"), Layout::ChannelsLast),
        ["norm", "gamma"] => (format!("{norm}/gamma"), Layout::Same),
        ["norm", "beta"] => (format!("{norm}/beta"), Layout::Same),
        ["norm", "running_mean"] => (format!("{norm}/moving_mean"), Layout::Less(format!("{conv}/bias"))),
        ["norm", "running_var"] => (format!("{norm}/moving_variance"), Layout::Plus(1e-3 - 1e-5)),
        _ => return None,
    };
    Some(Source { name, layout })
}
