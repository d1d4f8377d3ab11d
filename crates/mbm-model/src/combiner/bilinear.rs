//! Bilinear pooling (Tenenbaum and Freeman 2000; Fukui et al. 2016): all products of two inputs' features, for every pair.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, activation};
use mbm_config::settings;

use super::{Combine, Inputs, project};
use crate::{Fused, Sequence};

settings! {
    /// Products of pairs.
    pub struct BilinearSettings {
        /// The width that each input is brought to before it is multiplied.
        projection_size: usize = 32 => 1..=256;
        /// The width of what comes out.
        output_size: usize = 256 => 1..=8192;
    }
}

/// Bilinear pooling. The inputs themselves go beside their products.
#[derive(Module, Debug)]
pub struct Bilinear {
    projections: Vec<Linear>,
    output: Linear,
    #[module(skip)]
    width: usize,
}

impl BilinearSettings {
    pub(super) fn init(&self, inputs: &Inputs) -> Bilinear {
        let n = inputs.widths.len();
        let features = n * self.projection_size + n * (n - 1) / 2 * self.projection_size.pow(2);
        let output = LinearConfig::new(features, self.output_size).init(inputs.device);
        Bilinear { projections: inputs.projections(self.projection_size), output, width: self.output_size }
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

/// All products of two rows: `[batch, a]` and `[batch, b]` to `[batch, a * b]`.
pub(super) fn outer(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    let products = a.unsqueeze_dim::<3>(2).matmul(b.unsqueeze_dim::<3>(1)); // [batch, a, b]
    products.flatten(1, 2)
}
