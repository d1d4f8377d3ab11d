//! Classification: dense layers and a linear output layer that scores classes or labels.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::Tensor;
use mbm_config::settings;

use super::{Decode, Decoder, DecoderConfig, DecoderContext};
use crate::layer::{Activation, Dense, DenseSpec};
use crate::pretrained::{Family, Origin, Pretrained, classifier};
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
        ..pretrained: Pretrained;
    }
}

/// Classifier that scores classes or labels.
#[derive(Module, Debug)]
pub struct Classifier {
    dense: Dense,
    linear: Linear,
}

impl DecoderConfig for ClassifierSettings {
    fn init(&self, context: DecoderContext) -> Decoder {
        let spec = DenseSpec {
            n_layers: self.num_fc_layers,
            output_size: self.output_size,
            activation: self.activation,
            dropout: self.dropout,
        };
        let device = context.inputs.device;
        let dense = spec.init(context.fused, device);
        Classifier { linear: LinearConfig::new(dense.width(), context.output).init(device), dense }.into()
    }

    fn origin(&self) -> Origin<'_> {
        self.pretrained.origin()
    }
}

impl Decode for Classifier {
    fn decode(&self, fused: &Fused, _target: Option<&Target>) -> Tensor<2> {
        self.linear.forward(self.dense.forward(fused.pooled.clone()))
    }

    fn families(&self) -> &'static [&'static Family] {
        &[&classifier::PYTORCH, &classifier::KERAS]
    }
}
