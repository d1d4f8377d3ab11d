//! Tensor fusion (Zadeh et al. 2017): the outer product of all inputs, each extended by a 1 so that products over every subset of
//! the inputs are included.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, activation};
use mbm_config::{Mistakes, settings};

use super::bilinear::outer;
use super::{Combine, Combiner, CombinerConfig, Inputs, project};
use crate::{Fused, InputSummary, Sequence};

settings! {
    /// Settings of tensor fusion.
    pub struct TensorSettings {
        /// Width that each input is projected to; the product has `(projection_size + 1) ^ inputs` values.
        projection_size: usize = 15 => 1..=128;
        /// Width of the output.
        output_size: usize = 256 => 1..=8192;
    }
}

/// Maximum size of the outer product that a config may request, in values per row.
const MAX_PRODUCT: usize = 1 << 18;

/// Tensor fusion.
#[derive(Module, Debug)]
pub struct TensorFusion {
    projections: Vec<Linear>,
    output: Linear,
    #[module(skip)]
    width: usize,
}

impl TensorSettings {
    /// Returns the size of the outer product for `n_inputs` inputs, or `None` if it exceeds 262,144 values.
    pub fn product_size(&self, n_inputs: usize) -> Option<usize> {
        (self.projection_size + 1).checked_pow(n_inputs as u32).filter(|size| *size <= MAX_PRODUCT)
    }
}

impl CombinerConfig for TensorSettings {
    fn init(&self, inputs: &Inputs) -> Combiner {
        let size = (self.projection_size + 1).pow(inputs.widths.len() as u32);
        let output = LinearConfig::new(size, self.output_size).init(inputs.device);
        TensorFusion { projections: inputs.projections(self.projection_size), output, width: self.output_size }.into()
    }

    fn check(&self, inputs: &[InputSummary], mistakes: &mut Mistakes) {
        let (size, n) = (self.projection_size, inputs.len());
        if self.product_size(n).is_none() {
            let advice = "use a smaller projection_size, or low_rank_tensor";
            mistakes.add("projection_size", format!("({size} + 1) ^ {n} products are too many; {advice}"));
        }
    }
}

impl Combine for TensorFusion {
    fn width(&self) -> usize {
        self.width
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let extended = project(&self.projections, &inputs).into_iter().map(|x| with_one(activation::tanh(x)));
        let product = extended.reduce(outer).expect("a plan has at least one input"); // [batch, (projection + 1) ^ inputs]
        Fused::pooled(activation::relu(self.output.forward(product)))
    }
}

/// Appends a column of ones: `[batch, width]` to `[batch, width + 1]`.
pub(super) fn with_one(x: Tensor<2>) -> Tensor<2> {
    let [batch, _] = x.dims();
    let one = Tensor::ones([batch, 1], &x.device());
    Tensor::cat(vec![x, one], 1)
}

#[cfg(test)]
mod tests {
    #[test]
    fn tensor_learns_from_one_to_three_inputs_with_absent_rows() {
        crate::testing::check_combiner("{type: tensor, projection_size: 5, output_size: 16}");
    }
}
