//! Activation functions by name.

use burn::tensor::{Tensor, activation};
use mbm_config::choices;

use crate::operation;

choices! {
    /// An elementwise activation function.
    pub enum Activation {
        Relu = "relu",
        Gelu = "gelu",
        /// `x sigmoid(1.702 x)`, CLIP's approximation of `gelu`.
        QuickGelu = "quick_gelu",
        Tanh = "tanh",
        Sigmoid = "sigmoid",
        Silu = "silu",
        LeakyRelu = "leaky_relu",
        None = "none",
    }
}

impl Activation {
    /// Applies the function to every value.
    pub fn apply<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Relu => activation::relu(x),
            Self::Gelu if operation::AVAILABLE => operation::gelu(x),
            Self::Gelu => activation::gelu(x),
            Self::QuickGelu => x.clone() * activation::sigmoid(x * 1.702),
            Self::Tanh => activation::tanh(x),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Silu => activation::silu(x),
            Self::LeakyRelu => activation::leaky_relu(x, 0.01),
            Self::None => x,
        }
    }
}
