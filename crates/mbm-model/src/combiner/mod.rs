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
