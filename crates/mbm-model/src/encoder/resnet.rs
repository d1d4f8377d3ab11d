//! Residual networks (He et al. 2016): 18 to 152 layers for large images, 20 to 110 (6n + 2) layers for small ones (section 4.2).

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mbm_config::schema::{Schema, Words};
use mbm_config::{choices, settings};
use mbm_data::Shape;

use super::{Encode, Encoder, EncoderConfig, EncoderOutput, Reduce, expect_input, grid};
use crate::layer::{ConvNorm, ConvNormSpec, MaxPool, Rectifier};
use crate::pretrained::{Family, Implied, Origin, PretrainedEncoder, PretrainedError, resnet};
use crate::{Steps, Tensors};

choices! {
    /// Depth of the network.
    pub enum ResNetVariant {
        V18 = "18",
        V34 = "34",
        V50 = "50",
        V101 = "101",
        V152 = "152",
        Cifar20 = "20",
        Cifar32 = "32",
        Cifar44 = "44",
        Cifar56 = "56",
        Cifar110 = "110",
    }
}

settings! {
    /// Settings of a residual network.
    pub struct ResNetSettings {
        /// Depth: 18, 34, 50, 101 or 152; 20, 32, 44, 56 and 110 are the small networks for images of about 32 x 32 pixels.
        model_variant: ResNetVariantSetting = ResNetVariantSetting(ResNetVariant::V50);
        /// Whether a bottleneck block strides in its first convolution, as in Keras and the paper, instead of its second.
        stride_in_1x1: bool = false;
        ..pretrained: PretrainedEncoder;
        /// `none` returns every position of the feature map instead of their mean.
        reduce_output: Option<Reduce> = None;
    }
}

/// The variant, given as a number or a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct ResNetVariantSetting(pub ResNetVariant);

impl mbm_config::Setting for ResNetVariantSetting {
    fn read(node: &mbm_config::Node, path: &str, diagnostics: &mut mbm_config::Diagnostics) -> Option<Self> {
        let text = String::read(node, path, diagnostics)?;
        let as_text = mbm_config::Node { value: mbm_config::Value::Text(text), line: node.line };
        ResNetVariant::read(&as_text, path, diagnostics).map(Self)
    }

    fn schema() -> Schema {
        match ResNetVariant::schema() {
            Schema::Words(words) => Schema::Words(Words { are_numbers: true, ..words }),
            other => other,
        }
    }
}

/// Residual network without its classification head.
#[derive(Module, Debug)]
pub struct ResNet {
    stem: ConvNorm,
    pool: Option<MaxPool>,
    stages: Vec<Vec<Block>>,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    reduce: Reduce,
}

/// Two or three convolutions with a shortcut connection.
#[derive(Module, Debug)]
struct Block {
    convs: Vec<ConvNorm>,
    shortcut: Option<ConvNorm>,
    #[module(skip)]
    stride: usize,
}

/// Returns the number of blocks per stage, whether they are bottleneck blocks, and whether this is a small network.
fn plan(variant: ResNetVariant) -> (Vec<usize>, bool, bool) {
    match variant {
        ResNetVariant::V18 => (vec![2, 2, 2, 2], false, false),
        ResNetVariant::V34 => (vec![3, 4, 6, 3], false, false),
        ResNetVariant::V50 => (vec![3, 4, 6, 3], true, false),
        ResNetVariant::V101 => (vec![3, 4, 23, 3], true, false),
        ResNetVariant::V152 => (vec![3, 8, 36, 3], true, false),
        ResNetVariant::Cifar20 => (vec![3; 3], false, true),
        ResNetVariant::Cifar32 => (vec![5; 3], false, true),
        ResNetVariant::Cifar44 => (vec![7; 3], false, true),
        ResNetVariant::Cifar56 => (vec![9; 3], false, true),
        ResNetVariant::Cifar110 => (vec![18; 3], false, true),
    }
}

impl EncoderConfig for ResNetSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        let Shape::Image { channels, .. } = *shape else { panic!("resnet takes images, got {shape:?}") };
        let (n_blocks, is_bottleneck, is_small) = plan(self.model_variant.0);
        let base = if is_small { 16 } else { 64 };
        let stem = if is_small { ConvNormSpec::new([channels, base], 3, 1) } else { ConvNormSpec::new([channels, base], 7, 2) };
        let mut width = base;
        let mut stages = Vec::new();
        for (stage, n_blocks) in n_blocks.into_iter().enumerate() {
            let inner = base << stage;
            stages.push(
                (0..n_blocks)
                    .map(|block| {
                        let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                        let from = std::mem::replace(&mut width, if is_bottleneck { 4 * inner } else { inner });
                        if is_bottleneck {
                            Block::bottleneck(from, inner, stride, self.stride_in_1x1, device)
                        } else {
                            Block::basic(from, inner, stride, is_small, device)
                        }
                    })
                    .collect(),
            );
        }
        let reduce = Reduce::choose(self.reduce_output, Reduce::Mean, encoder_output);
        ResNet { stem: stem.init(device), pool: (!is_small).then(|| MaxPool::new(3, 2, 1)), stages, width, reduce }.into()
    }

    fn origin(&self) -> Origin<'_> {
        self.pretrained.origin()
    }

    fn implied(&self, weights: &Path) -> Result<Implied, PretrainedError> {
        resnet::implied(weights)
    }

    fn candidates(&self) -> &'static [&'static str] {
        resnet::CANDIDATES
    }
}

impl Block {
    /// Creates a block of two 3 x 3 convolutions. Small networks use shortcuts without parameters (option A of the paper).
    fn basic(from: usize, to: usize, stride: usize, is_small: bool, device: &Device) -> Self {
        let convs = vec![ConvNormSpec::new([from, to], 3, stride).init(device), ConvNormSpec::new([to, to], 3, 1).init(device)];
        let projects = !is_small && (from != to || stride != 1);
        Self { convs, shortcut: projects.then(|| ConvNormSpec::new([from, to], 1, stride).init(device)), stride }
    }

    /// Creates a block of 1 x 1, 3 x 3 and 1 x 1 convolutions that expands to four times the inner width; the stride is in the
    /// second convolution (as in torchvision) or in the first.
    fn bottleneck(from: usize, inner: usize, stride: usize, in_first: bool, device: &Device) -> Self {
        let to = 4 * inner;
        let (first, second) = if in_first { (stride, 1) } else { (1, stride) };
        let specs = [
            ConvNormSpec::new([from, inner], 1, first),
            ConvNormSpec::new([inner, inner], 3, second),
            ConvNormSpec::new([inner, to], 1, 1),
        ];
        let shortcut = (from != to || stride != 1).then(|| ConvNormSpec::new([from, to], 1, stride).init(device));
        Self { convs: specs.iter().map(|spec| spec.init(device)).collect(), shortcut, stride }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let (last, others) = self.convs.split_last().expect("a block has at least two convolutions");
        let shortcut = match &self.shortcut {
            Some(conv) => conv.forward(x.clone(), Rectifier::None),
            None => subsample_and_pad(x.clone(), self.stride, last.width()),
        };
        let x = others.iter().fold(x, |x, conv| conv.forward(x, Rectifier::Relu));
        last.forward_with_residual(x, shortcut, Rectifier::Relu)
    }
}

/// Takes every `stride`-th position and pads with zero channels on both sides up to `channels`.
fn subsample_and_pad(x: Tensor<4>, stride: usize, channels: usize) -> Tensor<4> {
    let [batch, from, height, width] = x.dims();
    if stride == 1 && from == channels {
        return x;
    }
    let device = x.device();
    let (rows, cols) = (height.div_ceil(stride), width.div_ceil(stride));
    let index = |n: usize| Tensor::<1, burn::tensor::Int>::arange(0..n as i64, &device).mul_scalar(stride as i64);
    let x = x.select(2, index(rows)).select(3, index(cols));
    let pad = |n: usize| Tensor::zeros([batch, n, rows, cols], &device);
    let before = (channels - from) / 2;
    Tensor::cat(vec![pad(before), x, pad(channels - from - before)], 1)
}

impl Encode for ResNet {
    fn width(&self) -> usize {
        self.width
    }

    fn has_batch_norm(&self) -> bool {
        true
    }

    fn families(&self) -> &'static [&'static Family] {
        &[&resnet::TORCHVISION, &resnet::KERAS]
    }

    fn encode(&self, input: Tensors) -> Steps {
        let images = expect_input!(input, Images(images) => images);
        let mut x = self.stem.forward(images, Rectifier::Relu);
        if let Some(pool) = &self.pool {
            x = pool.forward(x);
        }
        let x = self.stages.iter().flatten().fold(x, |x, block| block.forward(x)); // [batch, width, rows, columns]
        self.reduce.apply(Steps::full(grid(x)), None)
    }
}

#[cfg(test)]
mod tests {
    use mbm_data::Shape;

    use crate::testing::check_encoder;

    #[test]
    fn small_resnet_learns() {
        check_encoder("image", "{type: resnet, model_variant: 20}", Shape::Image { channels: 1, height: 16, width: 16 });
    }
}
