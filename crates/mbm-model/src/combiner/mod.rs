//! Combiners fuse the inputs' sequences, in the config's order, into one [`Fused`].
//!
//! To add a combiner, add one file here and one line to the list below: CONTRIBUTING.md shows how.

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mbm_config::{Mistakes, tagged};

use crate::encoder::EncoderOutput;
use crate::{Fused, InputSummary, Sequence};

/// Declares the combiners: file, module and settings of each, with its `type` in the config.
macro_rules! combiners {
    ($( $file:ident: $module:ident($settings:ident) = $word:literal; )+) => {
        $( mod $file; pub use $file::*; )+

        components! {
            /// Any combiner.
            Combiner: Combine { $($module),+ }
        }

        tagged! {
            /// Settings of a combiner, which fuses the inputs.
            pub enum CombinerSettings: Concat => CombinerConfig { $( $module($settings) = $word ),+ }
        }
    };
}

combiners! {
    concat: Concat(ConcatSettings) = "concat";
    gated: Gated(GatedSettings) = "gated";
    bilinear: Bilinear(BilinearSettings) = "bilinear";
    tensor: TensorFusion(TensorSettings) = "tensor";
    low_rank_tensor: LowRankTensor(LowRankTensorSettings) = "low_rank_tensor";
    film: Film(FilmSettings) = "film";
    cross_attention: CrossAttention(CrossAttentionSettings) = "cross_attention";
    transformer: TransformerCombiner(TransformerCombinerSettings) = "transformer";
    bottleneck: Bottleneck(BottleneckSettings) = "bottleneck";
    late: Late(LateSettings) = "late";
    experts: ProductOfExperts(ProductOfExpertsSettings) = "product_of_experts";
}

/// Fuses the inputs.
pub trait Combine {
    /// Returns the width of the fused vector.
    fn width(&self) -> usize;

    /// Returns the width of a fused step.
    fn steps_width(&self) -> usize {
        self.width()
    }

    /// Fuses one sequence per input, given in the config's order.
    fn combine(&self, inputs: Vec<Sequence>) -> Fused;
}

/// The settings of a combiner. Only [`CombinerConfig::init`] is required.
pub trait CombinerConfig {
    /// Initializes the combiner for the given inputs.
    fn init(&self, inputs: &Inputs) -> Combiner;

    /// Checks what involves several keys, or the inputs.
    fn check(&self, _inputs: &[InputSummary], _mistakes: &mut Mistakes) {}

    /// Returns what this combiner reads from each input: one vector per row or all steps.
    fn encoder_output(&self) -> EncoderOutput {
        EncoderOutput::Summary
    }

    /// Returns what a text generator attends to after this combiner: the fused steps of a combiner that reads steps.
    fn attention_context(&self) -> AttentionContext {
        match self.encoder_output() {
            EncoderOutput::Steps => AttentionContext::Fused,
            EncoderOutput::Summary => AttentionContext::InputsAndPooled,
        }
    }
}

/// What a text generator attends to after a combiner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AttentionContext {
    /// The fused steps, which have attended to each other.
    Fused,
    /// The inputs' own steps: the fused vector adds no information to them.
    Inputs,
    /// The inputs' own steps and the fused vector as an additional step.
    InputsAndPooled,
}

/// Description of the inputs that a combiner and the decoders after it are built for.
pub struct Inputs<'a> {
    /// Names of the inputs.
    pub names: &'a [String],
    /// Step width of each input.
    pub widths: &'a [usize],
    /// What a text generator attends to.
    pub attention_context: AttentionContext,
    /// Device that holds the parameters.
    pub device: &'a Device,
}

impl Inputs<'_> {
    /// Creates one linear layer per input, all with the same output width.
    fn projections(&self, width: usize) -> Vec<Linear> {
        self.widths.iter().map(|from| LinearConfig::new(*from, width).init(self.device)).collect()
    }
}

/// Applies to the vector of each input its own layer: `[batch, width]` each.
fn project(layers: &[Linear], inputs: &[Sequence]) -> Vec<Tensor<2>> {
    layers.iter().zip(inputs).map(|(layer, input)| layer.forward(input.pooled())).collect()
}

#[cfg(test)]
mod tests {
    use mbm_config::{Diagnostics, Format, Node, Setting};
    use mbm_data::Shape;

    use super::*;
    use crate::encoder::{EncoderSettings, TextEncoder, VectorEncoder};
    use crate::testing::{check, spec};

    fn inputs(n: usize) -> Vec<(EncoderSettings, Shape)> {
        let vector = (EncoderSettings::Vector(VectorEncoder::Dense(mbm_config::defaults())), Shape::Vector { width: 6 });
        let embed = TextEncoder::read(
            &Node::parse("{type: embed, embedding_size: 8}", Format::Yaml).unwrap(),
            "",
            &mut Diagnostics::default(),
        );
        let text = (EncoderSettings::Text(embed.unwrap()), Shape::Tokens { vocab_size: 12, max_steps: 4 });
        [vector.clone(), text, vector].into_iter().take(n).collect()
    }

    #[test]
    fn combiners_learn_from_one_to_three_inputs_with_absent_rows() {
        for name in CombinerSettings::TYPES {
            let sizes = match *name {
                "cross_attention" | "transformer" | "bottleneck" => "hidden_size: 16, num_heads: 2, dropout: 0.0",
                "tensor" => "projection_size: 5, output_size: 16",
                "concat" => "num_fc_layers: 1, output_size: 16",
                _ => "output_size: 16",
            };
            let node = Node::parse(&format!("{{type: {name}, {sizes}}}"), Format::Yaml).unwrap();
            let settings = CombinerSettings::read(&node, "", &mut Diagnostics::default()).unwrap();
            for n_inputs in 1..=3 {
                // With one input, late fusion has a constant weight and attention a single choice, so their gradients are zero.
                if n_inputs > 1 {
                    check(&format!("{name} of {n_inputs}"), &spec(inputs(n_inputs), settings.clone()));
                } else {
                    let model = spec(inputs(1), settings.clone());
                    let device = crate::device();
                    let logits = model.init(&device, 1).forward(&crate::testing::batch(&model), None, &device).logits[0].dims();
                    assert_eq!(logits, [crate::testing::N_ROWS, 2], "{name}");
                }
            }
        }
    }
}
