//! Layer normalization (Ba, Kiros and Hinton 2016).

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::module::layer_norm;
use burn::tensor::{Device, Tensor};

use crate::operation;

/// Normalizes the last dimension to mean 0 and variance 1, then applies a learned scale and shift.
#[derive(Module, Debug)]
pub struct LayerNorm {
    gamma: Param<Tensor<1>>,
    beta: Param<Tensor<1>>,
    #[module(skip)]
    epsilon: f64,
}

impl LayerNorm {
    /// The usual value of `epsilon`, which is added to the variance.
    pub const EPSILON: f64 = 1e-5;

    pub fn new(width: usize, epsilon: f64, device: &Device) -> Self {
        Self { gamma: Initializer::Ones.init([width], device), beta: Initializer::Zeros.init([width], device), epsilon }
    }

    /// Normalizes `[.., width]`, preserving the shape.
    pub fn forward<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        let (gamma, beta) = (self.gamma.val(), self.beta.val());
        if operation::AVAILABLE {
            return operation::layer_norm(x, gamma, beta, self.epsilon);
        }
        layer_norm(x, gamma, Some(beta), self.epsilon)
    }
}
