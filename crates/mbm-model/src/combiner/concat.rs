//! Concatenation: the linear fusion [x_i; x_t] or, followed by dense layers, the non-linear fusion f([x_i; x_t]).

use burn::module::Module;
use burn::tensor::Tensor;
use mbm_config::settings;

use super::{AttentionContext, Combine, Combiner, CombinerConfig, Inputs};
use crate::layer::{Activation, Dense, DenseSpec};
use crate::{Fused, Sequence};

settings! {
    /// Settings of concatenation.
    pub struct ConcatSettings {
        /// Number of dense layers after the concatenation; 0 for linear fusion.
        num_fc_layers: usize = 0 => 0..=16;
        /// Width of each layer.
        output_size: usize = 256 => 1..=8192;
        /// Activation after each layer.
        activation: Activation = Activation::Relu;
        /// Dropout after each layer.
        dropout: f64 = 0.0 => 0.0..=0.9;
    }
}

/// Concatenation, optionally followed by dense layers.
#[derive(Module, Debug)]
pub struct Concat {
    dense: Dense,
}

impl CombinerConfig for ConcatSettings {
    fn init(&self, inputs: &Inputs) -> Combiner {
        let spec = DenseSpec {
            n_layers: self.num_fc_layers,
            output_size: self.output_size,
            activation: self.activation,
            dropout: self.dropout,
        };
        Concat { dense: spec.init(inputs.widths.iter().sum(), inputs.device) }.into()
    }

    fn attention_context(&self) -> AttentionContext {
        if self.num_fc_layers == 0 { AttentionContext::Inputs } else { AttentionContext::InputsAndPooled }
    }
}

impl Concat {
    /// Fuses vectors of the inputs, `[batch, width]` each, in the config's order; one vector may hold several adjacent inputs.
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

#[cfg(test)]
mod tests {
    #[test]
    fn concat_learns_from_one_to_three_inputs_with_absent_rows() {
        crate::testing::check_combiner("{type: concat, num_fc_layers: 1, output_size: 16}");
    }
}
