//! Regression of normalized numbers: dense layers and a linear output layer whose bias starts at the mean of the target.

use burn::module::{Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mbm_config::settings;

use super::{Decode, Decoder, DecoderConfig, DecoderContext};
use crate::layer::{Activation, Dense, DenseSpec};
use crate::{Fused, Target};

settings! {
    /// Settings of a regressor: dense layers followed by a linear output layer.
    pub struct RegressorSettings {
        /// Number of layers before the linear output layer.
        num_fc_layers: usize = 0 => 0..=16;
        /// Width of each layer.
        output_size: usize = 256 => 1..=8192;
        /// Activation after each layer.
        activation: Activation = Activation::Relu;
        /// Dropout after each layer.
        dropout: f64 = 0.0 => 0.0..=0.9;
    }
}

/// Regressor of normalized numbers.
#[derive(Module, Debug)]
pub struct Regressor {
    dense: Dense,
    linear: Linear,
}

impl RegressorSettings {
    /// Initializes the regressor of vectors `[batch, input]`.
    pub(super) fn regressor(&self, input: usize, output: usize, device: &Device) -> Regressor {
        let spec = DenseSpec {
            n_layers: self.num_fc_layers,
            output_size: self.output_size,
            activation: self.activation,
            dropout: self.dropout,
        };
        let dense = spec.init(input, device);
        let mut linear = LinearConfig::new(dense.width(), output).init(device);
        linear.bias = Some(Param::from_tensor(Tensor::zeros([output], device)));
        Regressor { dense, linear }
    }
}

impl DecoderConfig for RegressorSettings {
    fn init(&self, context: DecoderContext) -> Decoder {
        self.regressor(context.fused, context.output, context.inputs.device).into()
    }
}

impl Regressor {
    /// Maps `[batch, input]` to `[batch, output]`.
    pub(super) fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        self.linear.forward(self.dense.forward(x))
    }
}

impl Decode for Regressor {
    fn decode(&self, fused: &Fused, _target: Option<&Target>) -> Tensor<2> {
        self.forward(fused.pooled.clone())
    }
}
