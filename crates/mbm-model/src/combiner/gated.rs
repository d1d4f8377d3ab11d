//! Gated multimodal unit (Arevalo et al. 2017): weights each input's features by gates computed from all inputs.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, activation};
use mbm_config::settings;

use super::{Combine, Combiner, CombinerConfig, Inputs, project};
use crate::{Fused, Sequence};

settings! {
    /// Settings of the gated multimodal unit.
    pub struct GatedSettings {
        /// Width of the output.
        output_size: usize = 256 => 1..=8192;
    }
}

/// Gated multimodal unit.
#[derive(Module, Debug)]
pub struct Gated {
    features: Vec<Linear>,
    gates: Vec<Linear>,
    #[module(skip)]
    width: usize,
}

impl CombinerConfig for GatedSettings {
    fn init(&self, inputs: &Inputs) -> Combiner {
        let all: usize = inputs.widths.iter().sum();
        let gates = inputs.widths.iter().map(|_| LinearConfig::new(all, self.output_size).init(inputs.device)).collect();
        Gated { features: inputs.projections(self.output_size), gates, width: self.output_size }.into()
    }
}

impl Combine for Gated {
    fn width(&self) -> usize {
        self.width
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let joined = Tensor::cat(inputs.iter().map(Sequence::pooled).collect(), 1);
        let features = Tensor::stack::<3>(project(&self.features, &inputs), 1); // [batch, inputs, width]
        let gates = self.gates.iter().map(|gate| gate.forward(joined.clone())).collect();
        let gates = activation::softmax(Tensor::stack::<3>(gates, 1), 1);
        Fused::pooled((activation::tanh(features) * gates).sum_dim(1).squeeze_dim(1))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn gated_learns_from_one_to_three_inputs_with_absent_rows() {
        crate::testing::check_combiner("{type: gated, output_size: 16}");
    }
}
