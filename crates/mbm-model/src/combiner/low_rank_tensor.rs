//! Low-rank tensor fusion (Liu et al. 2018): tensor fusion with a factorized weight, which never builds the outer product.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::Tensor;
use mbm_config::settings;

use super::tensor::with_one;
use super::{Combine, Combiner, CombinerConfig, Inputs};
use crate::layer::zeros;
use crate::{Fused, Sequence};

settings! {
    /// Settings of low-rank tensor fusion.
    pub struct LowRankTensorSettings {
        /// Number of factors per input.
        rank: usize = 4 => 1..=64;
        /// Width of the output.
        output_size: usize = 256 => 1..=8192;
    }
}

/// Low-rank tensor fusion: `sum_r w_r prod_m ([x_m; 1] W_m^r) + b`.
#[derive(Module, Debug)]
pub struct LowRankTensor {
    factors: Vec<Param<Tensor<2>>>,
    mix: Param<Tensor<3>>,
    bias: Param<Tensor<2>>,
    #[module(skip)]
    width: usize,
}

impl CombinerConfig for LowRankTensorSettings {
    fn init(&self, inputs: &Inputs) -> Combiner {
        let xavier = Initializer::XavierNormal { gain: 1.0 };
        let factors = inputs.widths.iter().map(|width| {
            let dims = [width + 1, self.rank * self.output_size];
            xavier.init_with(dims, Some(width + 1), Some(self.output_size), inputs.device)
        });
        LowRankTensor {
            factors: factors.collect(),
            mix: Initializer::Constant { value: 1.0 / self.rank as f64 }.init([1, self.rank, 1], inputs.device),
            bias: zeros([1, self.output_size], inputs.device),
            width: self.output_size,
        }
        .into()
    }
}

impl Combine for LowRankTensor {
    fn width(&self) -> usize {
        self.width
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let products = self.factors.iter().zip(&inputs).map(|(factor, input)| with_one(input.pooled()).matmul(factor.val()));
        let product = products.reduce(|a, b| a * b).expect("a plan has at least one input"); // [batch, rank * width]
        let [batch, ranks] = product.dims();
        let ranked = product.reshape([batch, ranks / self.width, self.width]); // [batch, rank, width]
        Fused::pooled((ranked * self.mix.val()).sum_dim(1).squeeze_dim(1) + self.bias.val())
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn low_rank_tensor_learns_from_one_to_three_inputs_with_absent_rows() {
        crate::testing::check_combiner("{type: low_rank_tensor, output_size: 16}");
    }
}
