//! Classification: dense layers and a linear output layer that scores classes or labels.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mbm_config::settings;

use super::Decode;
use crate::layer::{Activation, Dense, DenseSpec};
use crate::{Fused, Target};

settings! {
    /// Settings of a classifier: dense layers followed by a linear output layer.
    pub struct ClassifierSettings {
        /// Number of layers before the linear output layer.
        num_fc_layers: usize = 0 => 0..=16;
        /// Width of each layer.
        output_size: usize = 256 => 1..=8192;
        /// Activation after each layer.
        activation: Activation = Activation::Relu;
        /// Dropout after each layer.
        dropout: f64 = 0.0 => 0.0..=0.9;
        /// Whether to initialize the output layer from the last layer of `weights`.
        use_pretrained: bool = false;
        /// File or folder of weights, relative to the working directory.
        weights: Option<String> = None;
        /// Whether training updates the parameters; if not, batch-norm statistics stay fixed as well.
        trainable: bool = true;
    }
}

/// Classifier that scores classes or labels.
#[derive(Module, Debug)]
pub struct Classifier {
    dense: Dense,
    linear: Linear,
}

impl ClassifierSettings {
    pub(super) fn init(&self, input: usize, output: usize, device: &Device) -> Classifier {
        let spec = DenseSpec {
            n_layers: self.num_fc_layers,
            output_size: self.output_size,
            activation: self.activation,
            dropout: self.dropout,
        };
        let dense = spec.init(input, device);
        Classifier { linear: LinearConfig::new(dense.width(), output).init(device), dense }
    }
}

impl Decode for Classifier {
    fn decode(&self, fused: &Fused, _target: Option<&Target>) -> Tensor<2> {
        self.linear.forward(self.dense.forward(fused.pooled.clone()))
    }
}
