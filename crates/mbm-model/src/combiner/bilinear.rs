//! Bilinear pooling (Tenenbaum and Freeman 2000; Fukui et al. 2016): all pairwise feature products for every pair of inputs.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, activation};
use mbm_config::settings;

use super::{Combine, Combiner, CombinerConfig, Inputs, project};
use crate::{Fused, Sequence};

settings! {
    /// Settings of bilinear pooling.
    pub struct BilinearSettings {
        /// Width that each input is projected to before multiplication.
        projection_size: usize = 32 => 1..=256;
        /// Width of the output.
        output_size: usize = 256 => 1..=8192;
    }
}

/// Bilinear pooling; the projected inputs are concatenated with their products.
#[derive(Module, Debug)]
pub struct Bilinear {
    projections: Vec<Linear>,
    output: Linear,
    #[module(skip)]
    width: usize,
}

impl CombinerConfig for BilinearSettings {
    fn init(&self, inputs: &Inputs) -> Combiner {
        let n = inputs.widths.len();
        let features = n * self.projection_size + n * (n - 1) / 2 * self.projection_size.pow(2);
        let output = LinearConfig::new(features, self.output_size).init(inputs.device);
        Bilinear { projections: inputs.projections(self.projection_size), output, width: self.output_size }.into()
    }
}

impl Combine for Bilinear {
    fn width(&self) -> usize {
        self.width
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let mut features: Vec<Tensor<2>> = project(&self.projections, &inputs).into_iter().map(activation::tanh).collect();
        let n = features.len();
        for i in 0..n {
            for j in i + 1..n {
                features.push(outer(features[i].clone(), features[j].clone()));
            }
        }
        Fused::pooled(activation::relu(self.output.forward(Tensor::cat(features, 1))))
    }
}

/// Computes the row-wise outer product: `[batch, a]` and `[batch, b]` to `[batch, a * b]`.
pub(super) fn outer(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let products = a.unsqueeze_dim::<3>(2).matmul(b.unsqueeze_dim::<3>(1)); // [batch, a, b]
    products.flatten(1, 2)
}

#[cfg(test)]
mod tests {
    #[test]
    fn bilinear_learns_from_one_to_three_inputs_with_absent_rows() {
        crate::testing::check_combiner("{type: bilinear, output_size: 16}");
    }
}
