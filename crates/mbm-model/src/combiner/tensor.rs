//! Tensor fusion (Zadeh et al. 2017): the outer product of all inputs, each extended by a 1, so that products of any subset occur.

use burn::module::Module;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Tensor, activation};
use mbm_config::settings;

use super::bilinear::outer;
use super::{Combine, Inputs, project};
use crate::{Fused, Sequence};

settings! {
    /// The outer product of all inputs.
    pub struct TensorSettings {
        /// The width that each input is brought to; the product grows with its power.
        projection_size: usize = 15 => 1..=128;
        /// The width of what comes out.
        output_size: usize = 256 => 1..=8192;
    }
}

/// The largest outer product that a config may ask for, in values a row.
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
    /// Values of the outer product for a number of inputs; `None` beyond 262,144.
    pub fn product_size(&self, n_inputs: usize) -> Option<usize> {
        (self.projection_size + 1).checked_pow(n_inputs as u32).filter(|size| *size <= MAX_PRODUCT)
    }

    pub(super) fn init(&self, inputs: &Inputs) -> TensorFusion {
        let size = (self.projection_size + 1).pow(inputs.widths.len() as u32);
        let output = LinearConfig::new(size, self.output_size).init(inputs.device);
        TensorFusion { projections: inputs.projections(self.projection_size), output, width: self.output_size }
    }
}

impl Combine for TensorFusion {
    fn width(&self) -> usize {
        self.width
    }

    fn combine(&self, inputs: Vec<Sequence>) -> Fused {
        let extended = project(&self.projections, &inputs).into_iter().map(|x| with_one(activation::tanh(x)));
        let product = extended.reduce(outer).expect("a plan has one input at least"); // [batch, (projection + 1) ^ inputs]
        Fused::pooled(activation::relu(self.output.forward(product)))
    }
}

/// `[batch, width]` to `[batch, width + 1]`, the last column 1.
pub(super) fn with_one(x: Tensor<2>) -> Tensor<2> {
    let [batch, _] = x.dims();
    let one = Tensor::ones([batch, 1], &x.device());
    Tensor::cat(vec![x, one], 1)
}
