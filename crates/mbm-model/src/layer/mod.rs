//! Layers shared by encoders, combiners and decoders.

mod activation;
mod attention;
mod conv;
mod dense;
mod dropout;
mod layer_norm;
mod linear;
mod pool;
mod position;
mod recurrent;
mod transformer;

pub use activation::Activation;
pub(crate) use attention::{Attention, KeysValues, check_heads, check_heads_at};
pub(crate) use conv::{Conv, ConvNorm, ConvNormSpec, Rectifier, conv1d};
pub(crate) use dense::{Dense, DenseSpec};
pub(crate) use dropout::Dropout;
pub use dropout::seed_dropout;
pub(crate) use layer_norm::LayerNorm;
pub(crate) use linear::linear;
pub(crate) use pool::MaxPool;
pub(crate) use position::{rotated, sinusoids};
pub use recurrent::CellType;
pub(crate) use recurrent::{CellState, Recurrent, RecurrentSpec};
pub use transformer::NormPosition;
pub(crate) use transformer::{LayerCache, Transformer, TransformerSpec};

use burn::tensor::{Device, Distribution, Tensor};

/// Creates a learned tensor with normally distributed initial values, standard deviation 0.02.
pub(crate) fn learned_parameter<const D: usize>(dims: [usize; D], device: &Device) -> burn::module::Param<Tensor<D>> {
    burn::module::Param::from_tensor(Tensor::random(dims, Distribution::Normal(0.0, 0.02), device))
}

/// Creates a learned tensor, initialized to zero.
pub(crate) fn zeros<const D: usize>(dims: [usize; D], device: &Device) -> burn::module::Param<Tensor<D>> {
    burn::module::Param::from_tensor(Tensor::zeros(dims, device))
}
