//! MobileNetV2 (Sandler et al. 2018): inverted residual blocks with depthwise convolutions.

use std::path::Path;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mbm_config::settings;
use mbm_data::Shape;

use super::{Encode, Encoder, EncoderConfig, EncoderOutput, Reduce, expect_input, grid};
use crate::layer::{ConvNorm, ConvNormSpec, Rectifier};
use crate::pretrained::{Family, Implied, Origin, PretrainedEncoder, PretrainedError, mobilenet};
use crate::{Steps, Tensors};

settings! {
    /// Settings of MobileNetV2.
    pub struct MobileNetSettings {
        /// Factor for the number of channels.
        width_multiplier: f64 = 1.0 => 0.1..=2.0;
        ..pretrained: PretrainedEncoder;
        /// `none` returns every position of the feature map instead of their mean.
        reduce_output: Option<Reduce> = None;
    }
}

/// Table 2 of the paper: expansion factor, channels, number of blocks, stride of the first block.
const STAGES: [(usize, usize, usize, usize); 7] =
    [(1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1)];

/// MobileNetV2 without its classification head.
#[derive(Module, Debug)]
pub struct MobileNet {
    stem: ConvNorm,
    blocks: Vec<InvertedResidual>,
    head: ConvNorm,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    reduce: Reduce,
}

#[derive(Module, Debug)]
struct InvertedResidual {
    expand: Option<ConvNorm>,
    depthwise: ConvNorm,
    project: ConvNorm,
    #[module(skip)]
    adds_input: bool,
}

/// Rounds to the nearest multiple of 8 that is not below 90 % of the value.
fn rounded(channels: f64) -> usize {
    let nearest = ((channels + 4.0) as usize / 8 * 8).max(8);
    if (nearest as f64) < 0.9 * channels { nearest + 8 } else { nearest }
}

impl EncoderConfig for MobileNetSettings {
    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        let Shape::Image { channels, .. } = *shape else { panic!("mobilenet_v2 takes images, got {shape:?}") };
        let scaled = |channels: usize| rounded(channels as f64 * self.width_multiplier);
        let mut from = scaled(32);
        let stem = ConvNormSpec::new([channels, from], 3, 2).init(device);
        let mut blocks = Vec::new();
        for (expansion, to, n_blocks, stride) in STAGES {
            for block in 0..n_blocks {
                let stride = if block == 0 { stride } else { 1 };
                blocks.push(InvertedResidual::new(from, scaled(to), expansion, stride, device));
                from = scaled(to);
            }
        }
        let width = rounded(1280.0 * self.width_multiplier.max(1.0));
        let head = ConvNormSpec::new([from, width], 1, 1).init(device);
        MobileNet { stem, blocks, head, width, reduce: Reduce::choose(self.reduce_output, Reduce::Mean, encoder_output) }.into()
    }

    fn origin(&self) -> Origin<'_> {
        self.pretrained.origin()
    }

    fn implied(&self, weights: &Path) -> Result<Implied, PretrainedError> {
        mobilenet::implied(weights)
    }

    fn candidates(&self) -> &'static [&'static str] {
        &["{type: mobilenet_v2}"]
    }
}

impl InvertedResidual {
    fn new(from: usize, to: usize, expansion: usize, stride: usize, device: &Device) -> Self {
        let inner = from * expansion;
        Self {
            expand: (expansion > 1).then(|| ConvNormSpec::new([from, inner], 1, 1).init(device)),
            depthwise: ConvNormSpec { channels: [inner, inner], kernel: 3, stride, groups: inner }.init(device),
            project: ConvNormSpec::new([inner, to], 1, 1).init(device),
            adds_input: stride == 1 && from == to,
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let inner = match &self.expand {
            Some(expand) => expand.forward(x.clone(), Rectifier::Relu6),
            None => x.clone(),
        };
        let inner = self.depthwise.forward(inner, Rectifier::Relu6);
        if self.adds_input {
            self.project.forward_with_residual(inner, x, Rectifier::None)
        } else {
            self.project.forward(inner, Rectifier::None)
        }
    }
}

impl Encode for MobileNet {
    fn width(&self) -> usize {
        self.width
    }

    fn has_batch_norm(&self) -> bool {
        true
    }

    fn families(&self) -> &'static [&'static Family] {
        &[&mobilenet::FAMILY]
    }

    fn encode(&self, input: Tensors) -> Steps {
        let images = expect_input!(input, Images(images) => images);
        let x = self.blocks.iter().fold(self.stem.forward(images, Rectifier::Relu6), |x, block| block.forward(x));
        let x = self.head.forward(x, Rectifier::Relu6); // [batch, width, rows, columns]
        self.reduce.apply(Steps::full(grid(x)), None)
    }
}
