//! Pooling of images.

use burn::module::Module;
use burn::nn::PaddingConfig2d;
use burn::nn::pool::MaxPool2dConfig;
use burn::tensor::Tensor;

use crate::operation;

/// Max pooling over square windows.
#[derive(Module, Debug)]
pub struct MaxPool {
    #[module(skip)]
    kernel: usize,
    #[module(skip)]
    stride: usize,
    #[module(skip)]
    padding: usize,
}

impl MaxPool {
    pub fn new(kernel: usize, stride: usize, padding: usize) -> Self {
        Self { kernel, stride, padding }
    }

    /// Pools `[batch, channels, height, width]` to `[batch, channels, height / stride, width / stride]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let Self { kernel, stride, padding } = *self;
        if operation::AVAILABLE {
            return operation::max_pool(x, kernel, stride, padding);
        }
        let padding = PaddingConfig2d::Explicit(padding, padding, padding, padding);
        MaxPool2dConfig::new([kernel; 2]).with_strides([stride; 2]).with_padding(padding).init().forward(x)
    }
}
