//! Attention bottlenecks (Nagrani et al. 2021): inputs exchange information only through a few shared bottleneck steps.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::Tensor;
use mbm_config::{Mistakes, settings};

use super::cross_attention::{join, project_steps};
use super::transformer::learned_steps;
use super::{Combine, Combiner, CombinerConfig, Inputs};
use crate::encoder::EncoderOutput;
use crate::layer::{Transformer, TransformerSpec, check_heads, learned_parameter};
use crate::{Fused, InputSummary, Sequence, Steps};

settings! {
    /// Settings of attention bottlenecks.
    pub struct BottleneckSettings {
        /// Width of a step; must be a multiple of the number of heads.
        hidden_size: usize = 128 => 8..=4096;
        /// Number of attention heads.
        num_heads: usize = 4 => 1..=64;
        /// Number of layers.
        num_layers: usize = 2 => 1..=64;
        /// Number of shared bottleneck steps.
        num_bottlenecks: usize = 4 => 1..=256;
        /// Hidden width of the feed-forward blocks.
        transformer_output_size: usize = 256 => 8..=16_384;
        /// Dropout probability.
        dropout: f64 = 0.1 => 0.0..=0.9;
    }
}

/// Attention bottlenecks: concatenates the mean of each input's steps and the mean of the shared steps.
#[derive(Module, Debug)]
pub struct Bottleneck {
    projections: Vec<Linear>,
    shared: Param<Tensor<3>>,
    /// `[layers][inputs]`: one transformer layer per input in each layer.
    layers: Vec<Vec<Transformer>>,
    #[module(skip)]
    width: usize,
}

impl CombinerConfig for BottleneckSettings {
    fn init(&self, inputs: &Inputs) -> Combiner {
        let spec = TransformerSpec {
            dropout: self.dropout,
            ..TransformerSpec::usual(self.hidden_size, 1, self.num_heads, self.transformer_output_size)
        };
        let n = inputs.widths.len();
        Bottleneck {
            projections: inputs.projections(self.hidden_size),
            shared: learned_parameter([1, self.num_bottlenecks, self.hidden_size], inputs.device),
            layers: (0..self.num_layers).map(|_| (0..n).map(|_| spec.init(inputs.device)).collect()).collect(),
            width: (n + 1) * self.hidden_size,
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

/// Runs each input together with the shared steps through its own transformer layer, then averages the shared steps over the
/// inputs (equation 9).
fn exchange(layer: &[Transformer], inputs: Vec<Steps>, shared: Steps) -> (Vec<Steps>, Steps) {
    let [_, n_shared, _] = shared.values.dims();
    let n_inputs = inputs.len();
    let mut next = Vec::with_capacity(n_inputs);
    let mut sum: Option<Tensor<3>> = None;
    for (transformer, input) in layer.iter().zip(inputs) {
        let [_, n_steps, _] = input.values.dims();
        let both = transformer.forward(join(&[&input, &shared])).values;
        let own = both.clone().narrow(1, n_steps, n_shared);
        sum = Some(sum.map_or(own.clone(), |sum| sum + own));
        next.push(Steps { values: both.narrow(1, 0, n_steps), mask: input.mask });
    }
    let values = sum.map_or(shared.values, |sum| sum / n_inputs as f32);
    (next, Steps { values, mask: shared.mask })
}

impl Combine for Bottleneck {
    fn width(&self) -> usize {
        self.width
    }

    fn steps_width(&self) -> usize {
        self.shared.dims()[2]
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let [batch, _] = inputs[0].present.dims();
        let steps = project_steps(&self.projections, &inputs);
        let shared = learned_steps(&self.shared, batch);
        let (mut steps, shared) =
            self.layers.iter().fold((steps, shared), |(steps, shared), layer| exchange(layer, steps, shared));
        steps.push(shared);
        let pooled = Tensor::cat(steps.iter().map(Steps::mean).collect(), 1); // [batch, (inputs + 1) * hidden]
        Fused::pooled_steps(pooled, join(&steps.iter().collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn bottleneck_learns_from_one_to_three_inputs_with_absent_rows() {
        crate::testing::check_combiner("{type: bottleneck, hidden_size: 16, num_heads: 2, dropout: 0.0}");
    }
}
