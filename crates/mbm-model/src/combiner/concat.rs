//! Concatenation: the linear join [x_i; x_t], or with layers behind it the non-linear join f([x_i; x_t]).

use burn::module::Module;
use burn::tensor::Tensor;
use mbm_config::settings;

use super::{Combine, Inputs};
use crate::layer::{Activation, Dense, DenseSpec};
use crate::{Fused, Sequence};

settings! {
    /// Concatenation.
    pub struct ConcatSettings {
        /// Layers behind it; none is the linear join.
        num_fc_layers: usize = 0 => 0..=16;
        /// The width of each.
        output_size: usize = 256 => 1..=8192;
        /// After each.
        activation: Activation = Activation::Relu;
        /// After each.
        dropout: f64 = 0.0 => 0.0..=0.9;
    }
}

/// Concatenation.
#[derive(Module, Debug)]
pub struct Concat {
    dense: Dense,
}

impl ConcatSettings {
    pub(super) fn init(&self, inputs: &Inputs) -> Concat {
        let spec = DenseSpec {
            n_layers: self.num_fc_layers,
            output_size: self.output_size,
            activation: self.activation,
            dropout: self.dropout,
        };
        Concat { dense: spec.init(inputs.widths.iter().sum(), inputs.device) }
    }
}

impl Concat {
    /// Vectors of the inputs, or of several neighbours as one, in the config's order: `[batch, width]` each.
    pub(crate) fn join(&self, mut vectors: Vec<Tensor<2>>) -> Fused {
        let joined = if vectors.len() == 1 { vectors.remove(0) } else { Tensor::cat(vectors, 1) }; // [batch, sum of widths]
        Fused::pooled(self.dense.forward(joined))
    }
}

impl Combine for Concat {
    fn width(&self) -> usize {
        self.dense.width()
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        self.join(inputs.iter().map(Sequence::pooled).collect())
    }
}
