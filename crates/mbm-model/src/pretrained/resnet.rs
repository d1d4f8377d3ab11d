//! Residual networks as torchvision names them, and the small ones of `pytorch_resnet_cifar10`, which follow it.

use super::{Family, Source, conv_norm};

pub(super) const FAMILY: Family =
    Family { part: "resnet", prefix: "", source, is_elsewhere: |name| name.starts_with("fc.") || name.starts_with("linear.") };

fn source(path: &str) -> Option<Source> {
    let parts: Vec<&str> = path.split('.').collect();
    let number = |text: &str| text.parse::<usize>().ok().map(|it| it + 1);
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
