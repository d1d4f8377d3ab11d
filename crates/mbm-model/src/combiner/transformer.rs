//! A transformer over the steps of all inputs and a learned class token (as in ViLT, Kim et al. 2021).

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Bool, Int, Tensor};
use mbm_config::{Mistakes, settings};

use super::cross_attention::{join, project_steps};
use super::{Combine, Combiner, CombinerConfig, Inputs};
use crate::encoder::EncoderOutput;
use crate::layer::{Transformer, TransformerSpec, check_heads, learned_parameter};
use crate::{Fused, InputSummary, Sequence, Steps};

settings! {
    /// Settings of the transformer combiner.
    pub struct TransformerCombinerSettings {
        /// Width of a step; must be a multiple of the number of heads.
        hidden_size: usize = 128 => 8..=4096;
        /// Number of attention heads.
        num_heads: usize = 4 => 1..=64;
        /// Number of layers.
        num_layers: usize = 1 => 1..=64;
        /// Hidden width of the feed-forward blocks.
        transformer_output_size: usize = 256 => 8..=16_384;
        /// Dropout probability.
        dropout: f64 = 0.1 => 0.0..=0.9;
    }
}

/// A transformer over all steps, each with a learned embedding of the input that it comes from.
#[derive(Module, Debug)]
pub struct TransformerCombiner {
    projections: Vec<Linear>,
    origins: Vec<Param<Tensor<3>>>,
    gathering: Param<Tensor<3>>,
    transformer: Transformer,
    #[module(skip)]
    width: usize,
}

impl CombinerConfig for TransformerCombinerSettings {
    fn init(&self, inputs: &Inputs) -> Combiner {
        let spec = TransformerSpec {
            dropout: self.dropout,
            ..TransformerSpec::usual(self.hidden_size, self.num_layers, self.num_heads, self.transformer_output_size)
        };
        TransformerCombiner {
            projections: inputs.projections(self.hidden_size),
            origins: inputs.widths.iter().map(|_| learned_parameter([1, 1, self.hidden_size], inputs.device)).collect(),
            gathering: learned_parameter([1, 1, self.hidden_size], inputs.device),
            transformer: spec.init(inputs.device),
            width: self.hidden_size,
        }
        .into()
    }

    fn encoder_output(&self) -> EncoderOutput {
        EncoderOutput::Steps
    }

    fn check(&self, _inputs: &[InputSummary], mistakes: &mut Mistakes) {
        check_heads(self.hidden_size, self.num_heads, mistakes);
    }
}

/// Expands learned steps to a batch: `[1, n, width]` to `[batch, n, width]`.
pub(super) fn learned_steps(step: &Param<Tensor<3>>, batch: usize) -> Steps {
    let [_, n, width] = step.dims();
    let mask: Tensor<2, Bool> = Tensor::<2, Int>::ones([batch, n], &step.val().device()).equal_scalar(1);
    Steps { values: step.val().expand([batch, n, width]), mask }
}

impl Combine for TransformerCombiner {
    fn width(&self) -> usize {
        self.width
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let [batch, _] = inputs[0].present.dims();
        let mut parts = vec![learned_steps(&self.gathering, batch)];
        for (steps, origin) in project_steps(&self.projections, &inputs).into_iter().zip(&self.origins) {
            parts.push(Steps { values: steps.values + origin.val(), mask: steps.mask });
        }
        let steps = self.transformer.forward(join(&parts.iter().collect::<Vec<_>>()));
        let pooled = steps.values.clone().narrow(1, 0, 1).squeeze_dim(1); // [batch, width]
        Fused::pooled_steps(pooled, steps)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn transformer_learns_from_one_to_three_inputs_with_absent_rows() {
        crate::testing::check_combiner("{type: transformer, hidden_size: 16, num_heads: 2, dropout: 0.0}");
    }
}
