//! Late fusion: each input makes its own prediction, and learned weights combine the predictions.
//!
//! A linear decoder over the concatenated weighted vectors, `W [w_1 h_1; w_2 h_2] = w_1 W_1 h_1 + w_2 W_2 h_2`, amounts to one
//! head per input and a weighted sum of their logits; the heads are thus column blocks of the decoder's weight matrix.

use burn::module::{Module, Param};
use burn::tensor::{Tensor, activation};
use mbm_config::settings;

use super::{Combine, Combiner, CombinerConfig, Inputs};
use crate::layer::{Activation, Dense, DenseSpec, zeros};
use crate::{Fused, Sequence};

settings! {
    /// Settings of late fusion.
    pub struct LateSettings {
        /// Number of dense layers in each head before its linear output layer.
        num_fc_layers: usize = 1 => 0..=8;
        /// Width of each layer.
        output_size: usize = 128 => 1..=8192;
        /// Dropout after each layer.
        dropout: f64 = 0.0 => 0.0..=0.9;
    }
}

/// Late fusion with one head per input.
#[derive(Module, Debug)]
pub struct Late {
    heads: Vec<Dense>,
    weights: Param<Tensor<2>>,
    #[module(skip)]
    width: usize,
}

impl CombinerConfig for LateSettings {
    fn init(&self, inputs: &Inputs) -> Combiner {
        let spec = DenseSpec {
            n_layers: self.num_fc_layers,
            output_size: self.output_size,
            activation: Activation::Relu,
            dropout: self.dropout,
        };
        let heads: Vec<Dense> = inputs.widths.iter().map(|width| spec.init(*width, inputs.device)).collect();
        let width = heads.iter().map(Dense::width).sum();
        Late { heads, weights: zeros([1, inputs.widths.len()], inputs.device), width }.into()
    }
}

impl Combine for Late {
    fn width(&self) -> usize {
        self.width
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let n = inputs.len();
        let present = Tensor::cat(inputs.iter().map(|input| input.present.clone()).collect(), 1); // [batch, inputs]
        // Absent inputs get no weight, unless all inputs are absent: then all are weighted as usual.
        let votes = self.weights.val().expand(present.dims()) + (present - 1.0) * 1e4;
        let shares = activation::softmax(votes, 1) * n as f32;
        let weighted = self
            .heads
            .iter()
            .zip(&inputs)
            .enumerate()
            .map(|(at, (head, input))| head.forward(input.pooled()) * shares.clone().narrow(1, at, 1));
        Fused::pooled(Tensor::cat(weighted.collect(), 1))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn late_learns_from_one_to_three_inputs_with_absent_rows() {
        crate::testing::check_combiner("{type: late, output_size: 16}");
    }
}
