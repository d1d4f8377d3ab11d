//! Scores of classes or labels: dense layers and a linear one.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mbm_config::settings;

use super::Decode;
use crate::layer::{Activation, Dense, DenseSpec};
use crate::{Fused, Target};

settings! {
    /// Dense layers and a linear one.
    pub struct ClassifierSettings {
        /// Layers before the linear one.
        num_fc_layers: usize = 0 => 0..=16;
        /// The width of each.
        output_size: usize = 256 => 1..=8192;
        /// After each.
        activation: Activation = Activation::Relu;
        /// After each.
        dropout: f64 = 0.0 => 0.0..=0.9;
        /// Whether the linear layer starts as the last one of `weights`.
        use_pretrained: bool = false;
        /// A file or folder of weights, from the working folder.
        weights: Option<String> = None;
        /// Whether training changes the parameters; if not, batch norm keeps its statistics too.
        trainable: bool = true;
    }
}

/// Scores of classes or labels.
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
