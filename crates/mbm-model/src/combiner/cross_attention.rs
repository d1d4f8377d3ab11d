//! Cross-attention (Tsai et al. 2019; Lu et al. 2019): each input's steps attend to the steps of the others.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::Tensor;
use mbm_config::{Mistakes, settings};

use super::{Combine, Combiner, CombinerConfig, Inputs};
use crate::encoder::EncoderOutput;
use crate::layer::{Attention, LayerNorm, check_heads, linear, sinusoids};
use crate::{Fused, InputSummary, Sequence, Steps};

settings! {
    /// Settings of cross-attention.
    pub struct CrossAttentionSettings {
        /// Width of a step; must be a multiple of the number of heads.
        hidden_size: usize = 128 => 8..=4096;
        /// Number of attention heads.
        num_heads: usize = 4 => 1..=64;
        /// Number of layers.
        num_layers: usize = 1 => 1..=16;
        /// Dropout probability.
        dropout: f64 = 0.1 => 0.0..=0.9;
    }
}

/// Cross-attention between inputs: concatenates the mean of each input's steps.
#[derive(Module, Debug)]
pub struct CrossAttention {
    projections: Vec<Linear>,
    layers: Vec<CrossLayer>,
    #[module(skip)]
    width: usize,
}

/// One attention and one layer norm per input.
#[derive(Module, Debug)]
struct CrossLayer {
    attentions: Vec<Attention>,
    norms: Vec<LayerNorm>,
}

impl CombinerConfig for CrossAttentionSettings {
    fn init(&self, inputs: &Inputs) -> Combiner {
        let n = inputs.widths.len();
        let layers = (0..self.num_layers).map(|_| CrossLayer {
            attentions: (0..n).map(|_| Attention::new(self.hidden_size, self.num_heads, self.dropout, inputs.device)).collect(),
            norms: (0..n).map(|_| LayerNorm::new(self.hidden_size, LayerNorm::EPSILON, inputs.device)).collect(),
        });
        CrossAttention {
            projections: inputs.projections(self.hidden_size),
            layers: layers.collect(),
            width: n * self.hidden_size,
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

impl CrossLayer {
    fn forward(&self, inputs: &[Steps]) -> Vec<Steps> {
        let attended = (0..inputs.len()).map(|at| {
            let others: Vec<&Steps> =
                inputs.iter().enumerate().filter(|(other, _)| *other != at || inputs.len() == 1).map(|(_, it)| it).collect();
            let context = join(&others);
            let x = inputs[at].values.clone();
            let values = self.norms[at].forward(x.clone() + self.attentions[at].forward(x, &context));
            Steps { values, mask: inputs[at].mask.clone() }
        });
        attended.collect()
    }
}

/// Concatenates sequences of steps along the step axis.
pub(super) fn join(parts: &[&Steps]) -> Steps {
    Steps {
        values: Tensor::cat(parts.iter().map(|part| part.values.clone()).collect(), 1),
        mask: Tensor::cat(parts.iter().map(|part| part.mask.clone()).collect(), 1),
    }
}

/// Projects the steps of each input to one width and adds positional encodings, since attention on its own ignores order.
pub(super) fn project_steps(layers: &[Linear], inputs: &[Sequence]) -> Vec<Steps> {
    let projected = layers.iter().zip(inputs).map(|(layer, input)| {
        let values = linear(layer, input.values.clone());
        let [_, n_steps, width] = values.dims();
        let positions = sinusoids(n_steps, width, &values.device());
        Steps { values: values + positions, mask: input.mask.clone() }
    });
    projected.collect()
}

impl Combine for CrossAttention {
    fn width(&self) -> usize {
        self.width
    }

    fn steps_width(&self) -> usize {
        self.width / self.projections.len()
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let steps = project_steps(&self.projections, &inputs);
        let steps = self.layers.iter().fold(steps, |steps, layer| layer.forward(&steps));
        let pooled = Tensor::cat(steps.iter().map(Steps::mean).collect(), 1); // [batch, inputs * hidden]
        Fused::pooled_steps(pooled, join(&steps.iter().collect::<Vec<_>>()))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn cross_attention_learns_from_one_to_three_inputs_with_absent_rows() {
        crate::testing::check_combiner("{type: cross_attention, hidden_size: 16, num_heads: 2, dropout: 0.0}");
    }
}
