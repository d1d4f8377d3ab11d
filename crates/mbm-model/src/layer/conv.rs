//! Convolutions with their normalisation.

use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig1d, PaddingConfig2d};
use burn::tensor::{Device, Tensor};

use crate::operation;

/// A 2-d convolution, perhaps normalised.
#[derive(Module, Debug)]
pub struct Conv {
    conv: Conv2d,
    norm: Option<BatchNorm>,
}

/// A 2-d convolution without bias and its batch norm.
#[derive(Module, Debug)]
pub struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

/// What a normalised convolution is made of; padding keeps the size at stride 1.
pub(crate) struct ConvNormSpec {
    pub channels: [usize; 2],
    pub kernel: usize,
    pub stride: usize,
    pub groups: usize,
}

fn conv2d(channels: [usize; 2], kernel: usize) -> Conv2dConfig {
    let pad = kernel / 2;
    let he = Initializer::KaimingNormal { gain: 2f64.sqrt(), fan_out_only: false };
    Conv2dConfig::new(channels, [kernel, kernel]).with_padding(PaddingConfig2d::Explicit(pad, pad, pad, pad)).with_initializer(he)
}

impl Conv {
    /// A convolution that keeps the size (odd kernels), with batch norm where asked.
    pub fn new(channels: [usize; 2], kernel: usize, norm: bool, device: &Device) -> Self {
        let norm = norm.then(|| BatchNormConfig::new(channels[1]).init(device));
        Self { conv: conv2d(channels, kernel).init(device), norm }
    }

    /// `[batch, in, height, width]` to `[batch, out, height, width]`, not yet normalised.
    pub fn convolve(&self, x: Tensor<4>) -> Tensor<4> {
        convolve(&self.conv, x)
    }

    /// Normalises what comes of [`Conv::convolve`], perhaps pooled.
    pub fn normalize(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.norm {
            Some(norm) => norm.forward(x),
            None => x,
        }
    }
}

impl ConvNormSpec {
    /// A 1 x 1 or 3 x 3 convolution of one group.
    pub fn new(channels: [usize; 2], kernel: usize, stride: usize) -> Self {
        Self { channels, kernel, stride, groups: 1 }
    }

    pub fn init(&self, device: &Device) -> ConvNorm {
        let conv = conv2d(self.channels, self.kernel).with_stride([self.stride; 2]).with_groups(self.groups).with_bias(false);
        ConvNorm { conv: conv.init(device), norm: BatchNormConfig::new(self.channels[1]).init(device) }
    }
}

impl ConvNorm {
    /// `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.norm.forward(convolve(&self.conv, x))
    }
}

/// Whichever is quicker: our own operation for one group, Burn's for several.
fn convolve(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let (PaddingConfig2d::Explicit(top, left, bottom, right), true) = (&conv.padding, operation::ARE_THERE && conv.groups == 1)
    else {
        return conv.forward(x);
    };
    if [left, bottom, right] != [top; 3] || conv.stride[0] != conv.stride[1] || conv.dilation != [1, 1] {
        return conv.forward(x);
    }
    let out = operation::convolve(x, conv.weight.val(), conv.stride[0], *top);
    match &conv.bias {
        Some(bias) => out + bias.val().reshape([1, conv.weight.dims()[0], 1, 1]),
        None => out,
    }
}

/// A convolution over steps that keeps their number, for even kernels too.
pub(crate) fn conv1d(channels: [usize; 2], kernel: usize, device: &Device) -> Conv1d {
    let (before, after) = ((kernel - 1) / 2, kernel / 2);
    Conv1dConfig::new(channels[0], channels[1], kernel).with_padding(PaddingConfig1d::Explicit(before, after)).init(device)
}
