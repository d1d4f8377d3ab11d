//! Combiners fuse the inputs' sequences, in the config's order, into one [`Fused`].
//!
//! To add a combiner, add one file here and one line to each of the two lists below.

mod bilinear;
mod bottleneck;
mod concat;
mod cross_attention;
mod experts;
mod film;
mod gated;
mod late;
mod low_rank_tensor;
mod tensor;
mod transformer;

use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mbm_config::tagged;

pub use bilinear::{Bilinear, BilinearSettings};
pub use bottleneck::{Bottleneck, BottleneckSettings};
pub use concat::{Concat, ConcatSettings};
pub use cross_attention::{CrossAttention, CrossAttentionSettings};
pub use experts::{ProductOfExperts, ProductOfExpertsSettings};
pub use film::{Film, FilmSettings};
pub use gated::{Gated, GatedSettings};
pub use late::{Late, LateSettings};
pub use low_rank_tensor::{LowRankTensor, LowRankTensorSettings};
pub use tensor::{TensorFusion, TensorSettings};
pub use transformer::{TransformerCombiner, TransformerCombinerSettings};

use crate::encoder::EncoderOutput;
use crate::{Fused, Sequence};

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

components! {
    /// Any combiner.
    Combiner: Combine {
        Concat, Gated, Bilinear, TensorFusion, LowRankTensor, Film, CrossAttention, TransformerCombiner, Bottleneck, Late, ProductOfExperts,
    }
}

tagged! {
    /// Settings of a combiner, which fuses the inputs.
    pub enum CombinerSettings: Concat {
        Concat(ConcatSettings) = "concat",
        Gated(GatedSettings) = "gated",
        Bilinear(BilinearSettings) = "bilinear",
        Tensor(TensorSettings) = "tensor",
        LowRankTensor(LowRankTensorSettings) = "low_rank_tensor",
        Film(FilmSettings) = "film",
        CrossAttention(CrossAttentionSettings) = "cross_attention",
        Transformer(TransformerCombinerSettings) = "transformer",
        Bottleneck(BottleneckSettings) = "bottleneck",
        Late(LateSettings) = "late",
        ProductOfExperts(ProductOfExpertsSettings) = "product_of_experts",
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

impl CombinerSettings {
    /// Returns what this combiner reads from each input: one vector per row or all steps.
    pub fn encoder_output(&self) -> EncoderOutput {
        match self {
            Self::CrossAttention(_) | Self::Transformer(_) | Self::Bottleneck(_) => EncoderOutput::Steps,
            Self::Concat(_)
            | Self::Gated(_)
            | Self::Bilinear(_)
            | Self::Tensor(_)
            | Self::LowRankTensor(_)
            | Self::Film(_)
            | Self::Late(_)
            | Self::ProductOfExperts(_) => EncoderOutput::Summary,
        }
    }

    /// Returns what a text generator attends to after this combiner.
    pub fn attention_context(&self) -> AttentionContext {
        match self {
            Self::CrossAttention(_) | Self::Transformer(_) | Self::Bottleneck(_) => AttentionContext::Fused,
            Self::Concat(it) if it.num_fc_layers == 0 => AttentionContext::Inputs,
            Self::Concat(_)
            | Self::Gated(_)
            | Self::Bilinear(_)
            | Self::Tensor(_)
            | Self::LowRankTensor(_)
            | Self::Film(_)
            | Self::Late(_)
            | Self::ProductOfExperts(_) => AttentionContext::InputsAndPooled,
        }
    }

    /// Initializes the combiner for the given inputs.
    pub fn init(&self, inputs: &Inputs) -> Combiner {
        match self {
            Self::Concat(it) => Combiner::Concat(it.init(inputs)),
            Self::Gated(it) => Combiner::Gated(it.init(inputs)),
            Self::Bilinear(it) => Combiner::Bilinear(it.init(inputs)),
            Self::Tensor(it) => Combiner::TensorFusion(it.init(inputs)),
            Self::LowRankTensor(it) => Combiner::LowRankTensor(it.init(inputs)),
            Self::Film(it) => Combiner::Film(it.init(inputs)),
            Self::CrossAttention(it) => Combiner::CrossAttention(it.init(inputs)),
            Self::Transformer(it) => Combiner::TransformerCombiner(it.init(inputs)),
            Self::Bottleneck(it) => Combiner::Bottleneck(it.init(inputs)),
            Self::Late(it) => Combiner::Late(it.init(inputs)),
            Self::ProductOfExperts(it) => Combiner::ProductOfExperts(it.init(inputs)),
        }
    }
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
