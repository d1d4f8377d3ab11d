//! Product of experts (Hinton 2002; Wu and Goodman 2018): each input predicts a Gaussian; the product of the Gaussians of all
//! present inputs and a standard normal prior is again Gaussian.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Tensor, activation};
use mbm_config::settings;

use super::{Combine, Combiner, CombinerConfig, Inputs, project};
use crate::{Fused, Sequence};

settings! {
    /// Settings of the product of experts.
    pub struct ProductOfExpertsSettings {
        /// Width of the output.
        output_size: usize = 256 => 1..=8192;
    }
}

/// Product of Gaussian experts; the fused vector is its mean. Absent inputs do not contribute.
#[derive(Module, Debug)]
pub struct ProductOfExperts {
    means: Vec<Linear>,
    precisions: Vec<Linear>,
    #[module(skip)]
    width: usize,
}

impl CombinerConfig for ProductOfExpertsSettings {
    fn init(&self, inputs: &Inputs) -> Combiner {
        let (means, precisions) = (inputs.projections(self.output_size), inputs.projections(self.output_size));
        ProductOfExperts { means, precisions, width: self.output_size }.into()
    }
}

impl Combine for ProductOfExperts {
    fn width(&self) -> usize {
        self.width
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let means = project(&self.means, &inputs);
        let precisions = project(&self.precisions, &inputs);
        let [batch, _] = inputs[0].present.dims();
        let device = inputs[0].present.device();
        let mut weighted = Tensor::<2>::zeros([batch, self.width], &device);
        let mut total = Tensor::<2>::ones([batch, self.width], &device); // the prior
        for ((mean, precision), input) in means.into_iter().zip(precisions).zip(&inputs) {
            let precision = activation::softplus(precision, 1.0) * input.present.clone();
            weighted = weighted + mean * precision.clone();
            total = total + precision;
        }
        Fused::pooled(weighted / total)
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn product_of_experts_learns_from_one_to_three_inputs_with_absent_rows() {
        crate::testing::check_combiner("{type: product_of_experts, output_size: 16}");
    }
}
