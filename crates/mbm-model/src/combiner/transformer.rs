//! A transformer over the steps of all inputs and one gathering step (as in ViLT, Kim et al. 2021).

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Bool, Int, Tensor};
use mbm_config::settings;

use super::cross_attention::{join, project_steps};
use super::{Combine, Inputs};
use crate::layer::{Transformer, TransformerSpec, learnt};
use crate::{Fused, Sequence, Steps};

settings! {
    /// A transformer over all steps.
    pub struct TransformerCombinerSettings {
        /// The width of a step; a multiple of the heads.
        hidden_size: usize = 128 => 8..=4096;
        /// Attention heads.
        num_heads: usize = 4 => 1..=64;
        /// Layers.
        num_layers: usize = 1 => 1..=64;
        /// The width inside the feed-forward parts.
        transformer_output_size: usize = 256 => 8..=16_384;
        /// Dropout.
        dropout: f64 = 0.1 => 0.0..=0.9;
    }
}

/// A transformer over all steps, each marked by the input that it comes from.
#[derive(Module, Debug)]
pub struct TransformerCombiner {
    projections: Vec<Linear>,
    origins: Vec<Param<Tensor<3>>>,
    gathering: Param<Tensor<3>>,
    transformer: Transformer,
    #[module(skip)]
    width: usize,
}

impl TransformerCombinerSettings {
    pub(super) fn init(&self, inputs: &Inputs) -> TransformerCombiner {
        let spec = TransformerSpec {
            dropout: self.dropout,
            ..TransformerSpec::usual(self.hidden_size, self.num_layers, self.num_heads, self.transformer_output_size)
        };
        TransformerCombiner {
            projections: inputs.projections(self.hidden_size),
            origins: inputs.widths.iter().map(|_| learnt([1, 1, self.hidden_size], inputs.device)).collect(),
            gathering: learnt([1, 1, self.hidden_size], inputs.device),
            transformer: spec.init(inputs.device),
            width: self.hidden_size,
        }
    }
}

/// A learnt step in front of every row.
pub(super) fn learnt_steps(step: &Param<Tensor<3>>, batch: usize) -> Steps {
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
        let mut parts = vec![learnt_steps(&self.gathering, batch)];
        for (steps, origin) in project_steps(&self.projections, &inputs).into_iter().zip(&self.origins) {
            parts.push(Steps { values: steps.values + origin.val(), mask: steps.mask });
        }
        let steps = self.transformer.forward(join(&parts.iter().collect::<Vec<_>>()));
        let pooled = steps.values.clone().narrow(1, 0, 1).squeeze_dim(1); // [batch, width]
        Fused::pooled_steps(pooled, steps)
    }
}
