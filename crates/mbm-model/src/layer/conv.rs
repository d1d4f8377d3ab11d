//! Convolutions with normalization.

use burn::module::Module;
use burn::nn::conv::{Conv1d, Conv1dConfig, Conv2d, Conv2dConfig};
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, PaddingConfig1d, PaddingConfig2d};
use burn::tensor::{Device, Tensor, activation};

use crate::operation;

/// A 2-d convolution, optionally followed by batch norm.
#[derive(Module, Debug)]
pub struct Conv {
    conv: Conv2d,
    norm: Option<BatchNorm>,
}

/// A 2-d convolution without bias, followed by batch norm.
#[derive(Module, Debug)]
pub struct ConvNorm {
    conv: Conv2d,
    norm: BatchNorm,
}

/// Hyperparameters of a [`ConvNorm`]; padding preserves the size at stride 1.
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
    /// Creates a convolution that preserves the size (for odd kernels), with batch norm if `norm` is set.
    pub fn new(channels: [usize; 2], kernel: usize, norm: bool, device: &Device) -> Self {
        let norm = norm.then(|| BatchNormConfig::new(channels[1]).init(device));
        Self { conv: conv2d(channels, kernel).init(device), norm }
    }

    /// Convolves `[batch, in, height, width]` to `[batch, out, height, width]`, without normalization.
    pub fn convolve(&self, x: Tensor<4>) -> Tensor<4> {
        convolve(&self.conv, x)
    }

    /// Normalizes the output of [`Conv::convolve`], possibly after pooling.
    pub fn normalize(&self, x: Tensor<4>) -> Tensor<4> {
        match &self.norm {
            Some(norm) => normalize(norm, x, Rectifier::None),
            None => x,
        }
    }
}

impl ConvNormSpec {
    /// A 1 x 1 or 3 x 3 convolution with one group.
    pub fn new(channels: [usize; 2], kernel: usize, stride: usize) -> Self {
        Self { channels, kernel, stride, groups: 1 }
    }

    pub fn init(&self, device: &Device) -> ConvNorm {
        let conv = conv2d(self.channels, self.kernel).with_stride([self.stride; 2]).with_groups(self.groups).with_bias(false);
        ConvNorm { conv: conv.init(device), norm: BatchNormConfig::new(self.channels[1]).init(device) }
    }
}

impl ConvNorm {
    /// Maps `[batch, in, height, width]` to `[batch, out, height / stride, width / stride]`.
    pub fn forward(&self, x: Tensor<4>, rectifier: Rectifier) -> Tensor<4> {
        match square(&self.conv).filter(|_| !x.device().is_autodiff()) {
            Some(sides) => self.infer(x, None, rectifier, sides),
            None => normalize(&self.norm, convolve(&self.conv, x), rectifier),
        }
    }

    /// The same with a residual connection, added before the rectifier.
    pub fn forward_with_residual(&self, x: Tensor<4>, residual: Tensor<4>, rectifier: Rectifier) -> Tensor<4> {
        match square(&self.conv).filter(|_| !x.device().is_autodiff()) {
            Some(sides) => self.infer(x, Some(residual), rectifier, sides),
            None => rectifier.apply(normalize(&self.norm, convolve(&self.conv, x), Rectifier::None) + residual),
        }
    }

    /// Number of output channels.
    pub fn width(&self) -> usize {
        self.conv.weight.dims()[0]
    }

    /// Inference: convolution, normalization, residual and rectifier in one operation.
    fn infer(&self, x: Tensor<4>, residual: Option<Tensor<4>>, rectifier: Rectifier, sides: [usize; 2]) -> Tensor<4> {
        let scale = self.norm.gamma.val() / (self.norm.running_var.value() + self.norm.epsilon).sqrt();
        let shift = self.norm.beta.val() - self.norm.running_mean.value() * scale.clone();
        let affine = Tensor::stack(vec![scale, shift], 0);
        operation::convolve_with_epilogue(x, self.conv.weight.val(), affine, residual, rectifier.bounds(), sides)
    }
}

/// The rectifier after a normalization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rectifier {
    None,
    Relu,
    /// Clamps to `[0, 6]`.
    Relu6,
}

impl Rectifier {
    fn bounds(self) -> [f32; 2] {
        match self {
            Self::None => [f32::NEG_INFINITY, f32::INFINITY],
            Self::Relu => [0.0, f32::INFINITY],
            Self::Relu6 => [0.0, 6.0],
        }
    }

    fn apply(self, x: Tensor<4>) -> Tensor<4> {
        match self {
            Self::None => x,
            Self::Relu => activation::relu(x),
            Self::Relu6 => activation::relu6(x),
        }
    }
}

/// Normalizes with our own operation where possible, else with Burn's layer, for example for a frozen batch norm during training.
fn normalize(norm: &BatchNorm, x: Tensor<4>, rectifier: Rectifier) -> Tensor<4> {
    let is_training = x.device().is_autodiff();
    let is_trained = is_training && norm.training.is_enabled();
    if !operation::AVAILABLE || (is_training && !is_trained) {
        let normed = norm.forward(x);
        sync_statistics(norm);
        return rectifier.apply(normed);
    }
    let moments = if is_trained {
        let moments = operation::moments(x.clone());
        let [mean, variance] = [0, 1].map(|row| moments.clone().narrow(0, row, 1).squeeze_dim::<1>(0));
        let next = |now: Tensor<1>, new: Tensor<1>| (now * (1.0 - norm.momentum) + new * norm.momentum).detach();
        norm.running_mean.update(next(norm.running_mean.value_sync(), mean));
        norm.running_var.update(next(norm.running_var.value_sync(), variance));
        sync_statistics(norm);
        moments
    } else {
        Tensor::stack(vec![norm.running_mean.value(), norm.running_var.value()], 0)
    };
    operation::normalize(x, norm.gamma.val(), norm.beta.val(), moments, norm.epsilon, rectifier.bounds())
}

/// Synchronizes the running statistics, so that any thread can process the next batch: Burn buffers updates per thread.
fn sync_statistics(norm: &BatchNorm) {
    norm.running_mean.value_sync();
    norm.running_var.value_sync();
}

/// Convolves with the faster implementation: our own operation for one group, Burn's for several.
fn convolve(conv: &Conv2d, x: Tensor<4>) -> Tensor<4> {
    let Some([stride, padding]) = square(conv) else { return conv.forward(x) };
    let out = operation::convolve(x, conv.weight.val(), stride, padding);
    match &conv.bias {
        Some(bias) => out + bias.val().reshape([1, conv.weight.dims()[0], 1, 1]),
        None => out,
    }
}

/// Returns stride and padding if our own operation supports the convolution: one group, and equal vertically and horizontally.
fn square(conv: &Conv2d) -> Option<[usize; 2]> {
    let PaddingConfig2d::Explicit(top, left, bottom, right) = conv.padding else { return None };
    let is_square = [left, bottom, right] == [top; 3] && conv.stride[0] == conv.stride[1] && conv.dilation == [1, 1];
    (operation::AVAILABLE && conv.groups == 1 && is_square).then_some([conv.stride[0], top])
}

/// Creates a 1-d convolution that preserves the number of steps, also for even kernels.
pub(crate) fn conv1d(channels: [usize; 2], kernel: usize, device: &Device) -> Conv1d {
    let (before, after) = ((kernel - 1) / 2, kernel / 2);
    Conv1dConfig::new(channels[0], channels[1], kernel).with_padding(PaddingConfig1d::Explicit(before, after)).init(device)
}

#[cfg(test)]
mod tests {
    use burn::tensor::Distribution;

    use super::*;
    use crate::testing::close;

    /// Compares with Burn's layers: outputs, all gradients and running statistics in a training step, and outputs in inference.
    #[test]
    fn operations_match_burn_layers_in_training_and_inference() {
        for (rectifier, kernel, stride) in [(Rectifier::Relu, 3, 1), (Rectifier::None, 1, 2), (Rectifier::Relu6, 3, 2)] {
            let device = Device::flex().autodiff();
            let spec = ConvNormSpec::new([3, 5], kernel, stride);
            let ours = spec.init(&device);
            // Copied through a record, since a clone would share the running statistics.
            let theirs = spec.init(&device).load_record(ours.clone().into_record());
            let x = Tensor::<4>::random([4, 3, 9, 7], Distribution::Normal(0.5, 2.0), &device).require_grad();
            let y = x.clone().detach().require_grad();
            let own = ours.forward(x.clone(), rectifier);
            let other = rectifier.apply(theirs.norm.forward(theirs.conv.forward(y.clone())));
            close(own.clone().into_data(), other.clone().into_data());
            let weights = Tensor::<4>::random(own.dims(), Distribution::Normal(0.0, 1.0), &device);
            let (own, other) = ((own * weights.clone()).sum().backward(), (other * weights).sum().backward());
            close(x.grad(&own).unwrap().into_data(), y.grad(&other).unwrap().into_data());
            let [a, b] = [(&ours, &own), (&theirs, &other)].map(|(part, gradients)| {
                let of_vector = |param: &burn::module::Param<Tensor<1>>| param.grad(gradients).unwrap().into_data();
                let kernel = part.conv.weight.grad(gradients).unwrap().into_data();
                [kernel, of_vector(&part.norm.gamma), of_vector(&part.norm.beta)]
            });
            a.into_iter().zip(b).for_each(|(a, b)| close(a, b));
            close(ours.norm.running_mean.value_sync().into_data(), theirs.norm.running_mean.value_sync().into_data());
            close(ours.norm.running_var.value_sync().into_data(), theirs.norm.running_var.value_sync().into_data());
            let (ours, theirs) = (ours.valid(), theirs.valid());
            let x = x.detach().inner();
            let other = rectifier.apply(theirs.norm.forward(theirs.conv.forward(x.clone())));
            close(ours.forward(x.clone(), rectifier).into_data(), other.clone().into_data());
            let residual = Tensor::random(other.dims(), Distribution::Normal(0.0, 1.0), &x.device());
            let other = rectifier.apply(theirs.norm.forward(theirs.conv.forward(x.clone())) + residual.clone());
            close(ours.forward_with_residual(x, residual, rectifier).into_data(), other.into_data());
        }
    }
}
