//! wav2vec 2.0 (Baevski et al. 2020), base architecture: convolutions over audio samples, then a transformer.

use std::path::Path;

use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig1d};
use burn::tensor::{Bool, Device, Int, Tensor};
use mbm_config::{Mistakes, settings};
use mbm_data::Shape;

use super::{Encode, Encoder, EncoderConfig, EncoderOutput, Reduce, expect_input};
use crate::layer::{Activation, Dropout, LayerNorm, NormPosition, Transformer, TransformerSpec, check_heads, linear};
use crate::pretrained::{Family, Implied, Origin, PretrainedEncoder, PretrainedError, wav2vec2};
use crate::{Steps, Tensors};

settings! {
    /// Settings of wav2vec 2.0.
    pub struct Wav2Vec2Settings {
        /// Number of channels of each convolution over the samples.
        conv_dim: Vec<usize> = vec![512; 7] => 1..=4096;
        /// Kernel size of each convolution.
        conv_kernel: Vec<usize> = vec![10, 3, 3, 3, 3, 2, 2] => 1..=63;
        /// Stride of each convolution.
        conv_stride: Vec<usize> = vec![5, 2, 2, 2, 2, 2, 2] => 1..=63;
        /// Width of a step; must be a multiple of the number of heads.
        hidden_size: usize = 768 => 8..=4096;
        /// Number of layers.
        num_hidden_layers: usize = 12 => 1..=64;
        /// Number of attention heads.
        num_attention_heads: usize = 12 => 1..=64;
        /// Hidden width of the feed-forward blocks.
        intermediate_size: usize = 3072 => 8..=16_384;
        /// Kernel size of the positional convolution, in steps.
        num_conv_pos_embeddings: usize = 128 => 2..=1024;
        /// Number of groups of the positional convolution.
        num_conv_pos_embedding_groups: usize = 16 => 1..=64;
        /// Epsilon added to the variance in layer norms.
        layer_norm_eps: f64 = 1e-5 => 0.0..=0.1;
        /// Dropout probability.
        hidden_dropout: f64 = 0.1 => 0.0..=0.9;
        ..pretrained: PretrainedEncoder;
        /// How to reduce the steps to one vector; defaults to `mean`, or to `none` if the combiner attends to steps.
        reduce_output: Option<Reduce> = None;
    }
}

/// wav2vec 2.0 without the parts used only in pretraining.
#[derive(Module, Debug)]
pub struct Wav2Vec2 {
    convs: Vec<Conv1d>,
    first_norm: GroupNorm,
    feature_norm: LayerNorm,
    projection: Linear,
    places: Conv1d,
    norm: LayerNorm,
    dropout: Dropout,
    transformer: Transformer,
    #[module(skip)]
    width: usize,
    #[module(skip)]
    reduce: Reduce,
}

impl EncoderConfig for Wav2Vec2Settings {
    fn check(&self, mistakes: &mut Mistakes) {
        check_heads(self.hidden_size, self.num_attention_heads, mistakes);
        let n = self.conv_dim.len();
        let groups = self.num_conv_pos_embedding_groups;
        if n == 0 || self.conv_kernel.len() != n || self.conv_stride.len() != n {
            mistakes.add("", "conv_dim, conv_kernel and conv_stride must have the same length, at least 1");
        } else if !self.hidden_size.is_multiple_of(groups) {
            let width = self.hidden_size;
            mistakes.add("", format!("hidden_size {width} is not a multiple of num_conv_pos_embedding_groups ({groups})"));
        }
    }

    fn origin(&self) -> Origin<'_> {
        self.pretrained.origin()
    }

    fn implied(&self, weights: &Path) -> Result<Implied, PretrainedError> {
        wav2vec2::implied(weights)
    }

    fn init(&self, shape: &Shape, encoder_output: EncoderOutput, device: &Device) -> Encoder {
        let Shape::Frames { width: from, .. } = *shape else { panic!("wav2vec2 takes frames, got {shape:?}") };
        let convs = (0..self.conv_dim.len()).map(|at| {
            let from = if at == 0 { from } else { self.conv_dim[at - 1] };
            let config = Conv1dConfig::new(from, self.conv_dim[at], self.conv_kernel[at]);
            config.with_stride(self.conv_stride[at]).with_bias(false).init(device)
        });
        let (width, features) = (self.hidden_size, *self.conv_dim.last().unwrap_or(&from));
        let half = self.num_conv_pos_embeddings / 2;
        let places = Conv1dConfig::new(width, width, self.num_conv_pos_embeddings)
            .with_padding(PaddingConfig1d::Explicit(half, half))
            .with_groups(self.num_conv_pos_embedding_groups);
        let transformer = TransformerSpec {
            dropout: self.hidden_dropout,
            norm: NormPosition::Post,
            norm_eps: self.layer_norm_eps,
            ..TransformerSpec::usual(width, self.num_hidden_layers, self.num_attention_heads, self.intermediate_size)
        };
        Wav2Vec2 {
            convs: convs.collect(),
            first_norm: GroupNormConfig::new(self.conv_dim[0], self.conv_dim[0]).init(device),
            feature_norm: LayerNorm::new(features, self.layer_norm_eps, device),
            projection: LinearConfig::new(features, width).init(device),
            places: places.init(device),
            norm: LayerNorm::new(width, self.layer_norm_eps, device),
            dropout: Dropout::new(self.hidden_dropout),
            transformer: transformer.init(device),
            width,
            reduce: Reduce::choose(self.reduce_output, Reduce::Mean, encoder_output),
        }
        .into()
    }
}

impl Encode for Wav2Vec2 {
    fn width(&self) -> usize {
        self.width
    }

    fn families(&self) -> &'static [&'static Family] {
        &[&wav2vec2::OLDER, &wav2vec2::NEWER]
    }

    fn encode(&self, input: Tensors) -> Steps {
        let (samples, mask) = expect_input!(input, Frames(samples, mask) => (samples, mask));
        let Steps { values, mask } = self.features(samples, mask);
        let values = linear(&self.projection, self.feature_norm.forward(values)); // [batch, steps, width]
        let weights = mask.clone().float().unsqueeze_dim::<3>(2);
        let values = values * weights;
        let values = self.norm.forward(values.clone() + self.places(values));
        let steps = Steps { values: self.dropout.forward(values), mask };
        self.reduce.apply(self.transformer.forward(steps), None)
    }
}

impl Wav2Vec2 {
    /// Extracts features: `[batch, samples, 1]` to `[batch, steps, channels]`. Clips too short for a single step are padded with
    /// silence to one.
    fn features(&self, samples: Tensor<3>, mask: Tensor<2, Bool>) -> Steps {
        let mut lengths: Tensor<2, Int> = mask.int().sum_dim(1); // [batch, 1]
        let mut x = pad_to(samples.swap_dims(1, 2), self.shortest()); // [batch, 1, samples]
        for (at, conv) in self.convs.iter().enumerate() {
            x = conv.forward(x);
            let (kernel, stride) = (conv.kernel_size, conv.stride);
            lengths = ((lengths - kernel as i64).clamp_min(0) / stride as i64) + 1;
            if at == 0 {
                x = self.normalize(x, &lengths);
            }
            x = Activation::Gelu.apply(x);
        }
        let mask = valid(&lengths, x.dims()[2]);
        Steps { values: x.swap_dims(1, 2), mask }
    }

    /// Normalizes each channel of each clip to mean 0 and standard deviation 1 over its own steps, so that padding to the length
    /// of a longer clip has no effect.
    fn normalize(&self, x: Tensor<3>, lengths: &Tensor<2, Int>) -> Tensor<3> {
        let [batch, channels, n_steps] = x.dims();
        let weights = valid(lengths, n_steps).float().reshape([batch, 1, n_steps]);
        let count = lengths.clone().float().reshape([batch, 1, 1]);
        let mean = (x.clone() * weights.clone()).sum_dim(2) / count.clone(); // [batch, channels, 1]
        let centered = (x - mean) * weights;
        let variance = centered.clone().powi_scalar(2).sum_dim(2) / count;
        let normed = centered / (variance + self.first_norm.epsilon).sqrt();
        let per_channel =
            |param: &Option<burn::module::Param<Tensor<1>>>| param.as_ref().map(|it| it.val().reshape([1, channels, 1]));
        match (per_channel(&self.first_norm.gamma), per_channel(&self.first_norm.beta)) {
            (Some(gamma), Some(beta)) => normed * gamma + beta,
            _ => normed,
        }
    }

    /// Computes positional embeddings with a long convolution; drops the surplus last step of an even kernel.
    fn places(&self, values: Tensor<3>) -> Tensor<3> {
        let [_, n_steps, _] = values.dims();
        let x = self.places.forward(values.swap_dims(1, 2)).narrow(2, 0, n_steps);
        Activation::Gelu.apply(x).swap_dims(1, 2)
    }

    /// Returns the smallest number of samples that yields one step.
    fn shortest(&self) -> usize {
        self.convs.iter().rev().fold(1, |steps, conv| (steps - 1) * conv.stride + conv.kernel_size)
    }
}

/// Returns a mask, `[batch, steps]`, that is true for steps before each length.
fn valid(lengths: &Tensor<2, Int>, n_steps: usize) -> Tensor<2, Bool> {
    let [batch, _] = lengths.dims();
    let positions = Tensor::<1, Int>::arange(0..n_steps as i64, &lengths.device()).unsqueeze::<2>();
    positions.expand([batch, n_steps]).lower(lengths.clone().expand([batch, n_steps]))
}

/// Pads the last dimension with trailing zeros up to `size`.
fn pad_to(x: Tensor<3>, size: usize) -> Tensor<3> {
    let [batch, channels, from] = x.dims();
    if from >= size {
        return x;
    }
    let device = x.device();
    Tensor::cat(vec![x, Tensor::zeros([batch, channels, size - from], &device)], 2)
}
